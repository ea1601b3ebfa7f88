//! What a session promises, on the real database.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use postrider_cql::testing::{Fresh, Mode, proxy};
use postrider_cql::{Batch, Conditional, Config, Error, PageState, Session, Statement};

const READ: Statement = Statement::read("SELECT value FROM progress WHERE name = ?");
const SERIAL: Statement = Statement::serial_read("SELECT value FROM progress WHERE name = ?");
const WRITE: Statement = Statement::write("INSERT INTO progress (name, value) VALUES (?, ?)");
const NEW: Statement =
    Statement::conditional("INSERT INTO progress (name, value) VALUES (?, ?) IF NOT EXISTS");
const MOVE: Statement = Statement::conditional("UPDATE progress SET value = ? WHERE name = ? IF value = ?");

const HEAD: Statement =
    Statement::conditional("UPDATE account SET version = ? WHERE account = ? IF version = ?");
const HEAD_READ: Statement = Statement::read("SELECT version FROM account WHERE account = ? LIMIT 1");
const RECEIPT: Statement = Statement::conditional(
    "INSERT INTO account (account, kind, id, number, uid, message) VALUES (?, 7, ?, 0, 0, 1) IF NOT EXISTS USING TTL ?",
);
const REFERENCE: Statement = Statement::write(
    "INSERT INTO account (account, kind, id, number, uid, thread) VALUES (?, 6, 0x, ?, 0, 0x00)",
);
const REFERENCES: Statement =
    Statement::read("SELECT number FROM account WHERE account = ? AND kind = 6 AND id = 0x");

async fn open() -> Fresh {
    Fresh::open().await.unwrap()
}

async fn value(session: &Session, statement: Statement, name: &str) -> Option<i64> {
    let rows = session.read(statement, (name,)).await.unwrap();
    rows.first::<(i64,)>().unwrap().map(|(value,)| value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_see_writes_and_conditions_are_kept() {
    let fresh = open().await;
    let session = &fresh.session;
    assert_eq!(value(session, READ, "a").await, None);
    session.write(WRITE, ("a", 1_i64)).await.unwrap();
    assert_eq!(value(session, READ, "a").await, Some(1));
    assert_eq!(value(session, SERIAL, "a").await, Some(1));
    assert_eq!(
        session.conditional(NEW, ("b", 2_i64)).await.unwrap(),
        Conditional::Applied
    );
    match session.conditional(NEW, ("b", 3_i64)).await.unwrap() {
        Conditional::NotApplied(existing) => {
            assert_eq!(existing.bigint("value"), Some(2));
            assert_eq!(existing.text("name"), Some("b"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        session.conditional(MOVE, (9_i64, "b", 2_i64)).await.unwrap(),
        Conditional::Applied
    );
    match session.conditional(MOVE, (10_i64, "b", 2_i64)).await.unwrap() {
        Conditional::NotApplied(existing) => assert_eq!(existing.bigint("value"), Some(9)),
        other => panic!("{other:?}"),
    }
    assert_eq!(value(session, SERIAL, "b").await, Some(9));
    let counts = session.statistics();
    assert_eq!(
        [
            counts.reads,
            counts.serial_reads,
            counts.writes,
            counts.conditional
        ]
        .map(|kind| kind.requests),
        [2, 2, 1, 4]
    );
}

/// What a commit of the store rests on: a condition on the head and on new rows, all or nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conditional_batch_is_all_or_nothing() {
    let fresh = open().await;
    let session = &fresh.session;
    let commit = async |expected: Option<i64>, receipt: u8, reference: i64| {
        let mut batch = Batch::new();
        batch.push(HEAD, (expected.unwrap_or(0) + 1, 5_i64, expected));
        batch.push(RECEIPT, (5_i64, vec![receipt], 1000_i32));
        batch.push(REFERENCE, (5_i64, reference));
        session.conditional_batch(&batch).await.unwrap()
    };
    let state = async || {
        let head = session.read(HEAD_READ, (5_i64,)).await.unwrap();
        let references = session.read(REFERENCES, (5_i64,)).await.unwrap();
        let references: Vec<(i64,)> = references.all().unwrap();
        (
            head.first::<(i64,)>().unwrap().map(|(version,)| version),
            references.len(),
        )
    };
    // A partition that is not there has a null version.
    assert!(matches!(commit(Some(1), 1, 1).await, Conditional::NotApplied(_)));
    assert_eq!(state().await, (None, 0));
    assert_eq!(commit(None, 1, 1).await, Conditional::Applied);
    assert_eq!(state().await, (Some(1), 1));
    // Late, known, both; then neither.
    assert!(matches!(commit(None, 2, 2).await, Conditional::NotApplied(_)));
    assert!(matches!(commit(Some(1), 1, 2).await, Conditional::NotApplied(_)));
    assert!(matches!(commit(Some(7), 1, 2).await, Conditional::NotApplied(_)));
    assert_eq!(state().await, (Some(1), 1));
    assert_eq!(commit(Some(1), 2, 2).await, Conditional::Applied);
    assert_eq!(state().await, (Some(2), 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_what_they_may_and_go_on() {
    const ALL: Statement = Statement::read("SELECT name FROM progress");
    let fresh = open().await;
    for number in 0..25 {
        fresh
            .session
            .write(WRITE, (format!("n{number}"), 0_i64))
            .await
            .unwrap();
    }
    let mut names = Vec::new();
    let mut state = None;
    loop {
        let (rows, next) = fresh.session.page(ALL, (), 10, state).await.unwrap();
        assert!(rows.len() <= 10);
        names.extend(rows.all::<(String,)>().unwrap());
        // As somebody does who keeps it elsewhere meanwhile.
        state = next.map(|next| PageState::from_bytes(&next.to_bytes()));
        if state.is_none() {
            break;
        }
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 25);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_permanent() {
    let fresh = open().await;
    let wrong = Statement::read("SELECT nothing FROM progress WHERE name = ?");
    let error = fresh.session.read(wrong, ("a",)).await.unwrap_err();
    assert!(matches!(&error, Error::Refused(_)), "{error:?}");
    assert!(!error.is_temporary());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_unknown_and_reads_come_back_after_it() {
    let fresh = open().await;
    let proxy = proxy().await.unwrap();
    let config = Config {
        contact_points: vec![proxy.address().to_string()],
        read_deadline: Duration::from_secs(2),
        write_deadline: Duration::from_secs(2),
        conditional_deadline: Duration::from_secs(2),
        ..fresh.config.clone()
    };
    let session = Session::open(&config).unwrap();
    session.connected(Duration::from_secs(30)).await.unwrap();
    assert_eq!(
        session.conditional(NEW, ("a", 1_i64)).await.unwrap(),
        Conditional::Applied
    );
    assert_eq!(value(&session, READ, "a").await, Some(1));
    session.write(WRITE, ("c", 1_i64)).await.unwrap();

    proxy.set(Mode::Deaf);
    let began = Instant::now();
    let lost = session.conditional(NEW, ("b", 2_i64)).await.unwrap();
    assert!(matches!(lost, Conditional::Unknown(_)), "{lost:?}");
    assert!(began.elapsed() < Duration::from_secs(4));
    // It happened, though.
    assert_eq!(value(&fresh.session, SERIAL, "b").await, Some(2));
    let lost = session.write(WRITE, ("c", 2_i64)).await;
    assert!(matches!(lost, Err(Error::Unknown(_))), "{lost:?}");
    let lost = session.read(READ, ("a",)).await;
    assert!(matches!(lost, Err(Error::Unavailable(_))), "{lost:?}");
    assert!(session.ready().await.is_err());
    let counts = session.statistics();
    assert_eq!(
        (
            counts.conditional.unknown,
            counts.writes.unknown,
            counts.reads.failed
        ),
        (1, 1, 1)
    );

    proxy.set(Mode::Cut);
    tokio::time::sleep(Duration::from_millis(50)).await;
    proxy.set(Mode::Pass);
    let until = Instant::now() + Duration::from_secs(30);
    while let Err(error) = session.ready().await {
        assert!(Instant::now() < until, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(value(&session, SERIAL, "b").await, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_database_has_few_callers_under_way_and_all_hear_in_time() {
    let fresh = open().await;
    let proxy = proxy().await.unwrap();
    let config = Config {
        contact_points: vec![proxy.address().to_string()],
        read_deadline: Duration::from_secs(2),
        concurrency: 4,
        ..fresh.config.clone()
    };
    let session = Session::open(&config).unwrap();
    session.connected(Duration::from_secs(30)).await.unwrap();
    value(&session, READ, "a").await;
    proxy.set(Mode::Dead);
    let began = Instant::now();
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.read(READ, ("a",)).await.map(|_| ()) })
        })
        .collect();
    let (mut silent, mut turned_away) = (0, 0);
    for caller in callers {
        match caller.await.unwrap() {
            Err(Error::Unavailable(text)) if text.contains("too many requests wait") => turned_away += 1,
            Err(Error::Unavailable(_)) => silent += 1,
            other => panic!("{other:?}"),
        }
    }
    // Two seconds, and some for the slowest of the paced answers and a busy machine.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    // Those under way when the deadline came, and those that had a turn in the last moment.
    assert!(
        turned_away >= 150,
        "{silent} were under way, {turned_away} were turned away"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_waits_for_its_database_and_says_what_is_missing() {
    let fresh = open().await;
    let proxy = proxy().await.unwrap();
    proxy.set(Mode::Cut);
    let config = Config {
        contact_points: vec![proxy.address().to_string()],
        read_deadline: Duration::from_millis(300),
        ..fresh.config.clone()
    };
    let session = Session::open(&config).unwrap();
    assert!(matches!(session.ready().await, Err(Error::Unavailable(_))));
    assert!(matches!(
        session.read(READ, ("a",)).await,
        Err(Error::Unavailable(_))
    ));
    proxy.set(Mode::Pass);
    session.connected(Duration::from_secs(60)).await.unwrap();
    assert_eq!(value(&session, READ, "a").await, None);
    // A loop of failures does not spin.
    proxy.set(Mode::Cut);
    let began = Instant::now();
    let mut failures = 0;
    while began.elapsed() < Duration::from_secs(2) {
        failures += u32::from(session.read(READ, ("a",)).await.is_err());
    }
    assert!((1..100).contains(&failures), "{failures} failures in two seconds");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let wrong = [
        Config {
            contact_points: Vec::new(),
            ..Config::default()
        },
        Config {
            keyspace: "Post; DROP".into(),
            ..Config::default()
        },
        Config {
            replication_factor: 0,
            ..Config::default()
        },
        Config {
            concurrency: 0,
            ..Config::default()
        },
        Config {
            datacenter: "a'b".into(),
            ..Config::default()
        },
    ];
    for config in wrong {
        assert!(matches!(config.validate(), Err(Error::Refused(_))), "{config:?}");
    }
    Config::default().validate().unwrap();
}
