//! Migrations, on the real database.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use postrider_cql::schema::{self, Dialect};
use postrider_cql::{Config, Error, Session, Statement, testing};

/// Settings with a keyspace of this test's own, which does not exist.
async fn fresh(name: &str) -> Config {
    let name = format!("schema_{name}_{}", std::process::id());
    let config = testing::config(&name).await.unwrap();
    testing::drop_keyspace(&config).await.unwrap();
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_made_by_two_at_once_and_used_by_who_waits_for_it() {
    let config = fresh("twice").await;
    let before = schema::status(&config).await.unwrap();
    assert_eq!((before.keyspace, before.version), (false, 0));
    assert_eq!(before.dialect, Dialect::Cassandra);
    assert!(
        matches!(schema::migrate(&config).await, Err(Error::Unavailable(text)) if text.contains("cluster init"))
    );

    // A role that was started too early.
    let early = Session::open(&config).unwrap();
    let not_yet = early.connected(Duration::from_secs(2)).await;
    assert!(matches!(not_yet, Err(Error::Unavailable(text)) if text.contains("cluster init")));

    let (left, right) = tokio::join!(schema::init(&config), schema::init(&config));
    let (left, right) = (left.unwrap(), right.unwrap());
    assert_eq!(left, right);
    assert_eq!((left.version, left.missing.len()), (schema::needed(), 0));
    assert_eq!(schema::init(&config).await.unwrap(), left);
    assert_eq!(schema::migrate(&config).await.unwrap(), left);
    assert_eq!(schema::status(&config).await.unwrap(), left);

    early.connected(Duration::from_secs(30)).await.unwrap();
    early.ready().await.unwrap();
    let rows = early
        .read(
            Statement::read("SELECT value FROM progress WHERE name = ?"),
            ("nothing",),
        )
        .await
        .unwrap();
    assert!(rows.is_empty());
    testing::drop_keyspace(&config).await.unwrap();
}

const NEWER: Statement = Statement::write(
    "INSERT INTO schema_migration (component, version, name, applied) VALUES (?, ?, 'future', 0)",
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_that_only_adds_is_worked_with() {
    let config = fresh("adds").await;
    let status = schema::init(&config).await.unwrap();
    assert_eq!(status.oldest, schema::needed());
    let session = Session::open(&config).unwrap();
    session.connected(Duration::from_secs(30)).await.unwrap();
    session.write(NEWER, ("postrider", 99)).await.unwrap();
    session.ready().await.unwrap();
    let late = Session::open(&config).unwrap();
    late.connected(Duration::from_secs(30)).await.unwrap();
    for status in [schema::status(&config).await, schema::migrate(&config).await] {
        let status = status.unwrap();
        assert!(status.is_well(), "{status:?}");
        assert_eq!(
            (status.version, status.needed, status.oldest),
            (99, schema::needed(), schema::needed())
        );
    }
    testing::drop_keyspace(&config).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused() {
    let config = fresh("newer").await;
    schema::init(&config).await.unwrap();
    let session = Session::open(&config).unwrap();
    session.connected(Duration::from_secs(30)).await.unwrap();
    session.write(NEWER, ("postrider", 99)).await.unwrap();
    session.write(NEWER, ("oldest program", 99)).await.unwrap();
    let refused = |error: &Error| {
        let text = error.to_string();
        text.contains("version 99") && text.contains("newer program")
    };
    assert!(matches!(schema::migrate(&config).await, Err(error @ Error::Refused(_)) if refused(&error)));
    assert!(matches!(schema::init(&config).await, Err(error @ Error::Refused(_)) if refused(&error)));
    // Who runs already is no longer ready; who starts does not become so, and says why.
    assert!(matches!(session.ready().await, Err(error) if refused(&error)));
    let late = Session::open(&config).unwrap();
    assert!(matches!(late.connected(Duration::from_secs(3)).await, Err(error) if refused(&error)));
    testing::drop_keyspace(&config).await.unwrap();
}
