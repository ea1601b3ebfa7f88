//! The embedded engine passes the suite, and does what only it promises.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::{Units, WakeUps};
use crate::suite::{Fixture, TestClock, new_unit};
use crate::{Claimed, Embedded, Outcome, Queue, Report, Settings, Verb};
use bytes::Bytes;
use postrider_embedded::{Database, Options};
use postrider_types::{ContentId, Domain};

async fn put(db: &Database) -> ContentId {
    let content = ContentId::generate();
    db.write(
        vec![(content, Bytes::from_static(b"Do you like ketchup?\r\n"))],
        |_| Ok(()),
    )
    .await
    .unwrap();
    content
}

async fn make() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(dir.path(), Options::default()).unwrap();
    let clock = TestClock::default();
    let engine = Arc::new(Embedded::open(db.clone(), clock.clock()).await.unwrap());
    let (putting, counting) = (db.clone(), db);
    Fixture {
        units: engine.clone(),
        wake_ups: engine,
        clock,
        put_content: Box::new(move || {
            let db = putting.clone();
            Box::pin(async move { put(&db).await })
        }),
        holders: Box::new(move |content| {
            let db = counting.clone();
            Box::pin(async move { holders(&db, content).await })
        }),
        settle: std::time::Duration::ZERO,
        keep: Box::new(dir),
    }
}

async fn holders(db: &Database, content: ContentId) -> usize {
    let count = db.read(move |rows| {
        let sql = "SELECT count(*) FROM content_holder WHERE content = ?1";
        Ok(rows.query_row(sql, [content.as_bytes()], |row| row.get::<_, i64>(0))?)
    });
    usize::try_from(count.await.unwrap()).unwrap()
}

crate::queue_suite!(make);

struct Node {
    db: Database,
    engine: Arc<Embedded>,
    queue: Queue,
}

async fn open(dir: &std::path::Path, clock: &TestClock) -> Node {
    let db = Database::open(dir, Options::default()).unwrap();
    let engine = Arc::new(Embedded::open(db.clone(), clock.clock()).await.unwrap());
    let queue = Queue::new(engine.clone(), engine.clone(), Settings::default(), clock.clock());
    queue.refresh().await.unwrap();
    Node { db, engine, queue }
}

async fn take(node: &Node, limit: usize) -> Vec<crate::engine::WakeUp> {
    tokio::time::timeout(Duration::from_secs(5), node.queue.take(limit))
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn a_restart_frees_claims_and_keeps_the_rest() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let node = open(dir.path(), &clock).await;
    let content = put(&node.db).await;
    let (claimed, held) = (
        new_unit(content, "a.example", 1),
        new_unit(content, "b.example", 1),
    );
    let ids = (claimed.id, held.id);
    node.queue.enqueue(vec![claimed, held]).await.unwrap();
    node.queue.act(ids.1, &Verb::Hold).await.unwrap();
    node.queue
        .suspend(Domain::new("c.example").unwrap(), "why")
        .await
        .unwrap();
    let mut sending = false;
    for wake_up in take(&node, 2).await {
        sending |= matches!(node.queue.claim(wake_up).await.unwrap(), Claimed::Yes(_));
    }
    assert!(sending);
    assert_eq!(node.queue.statistics().await.unwrap().sending, 1);
    drop(node);

    let node = open(dir.path(), &clock).await;
    let counts = node.queue.statistics().await.unwrap();
    assert_eq!((counts.queued, counts.sending, counts.held), (1, 0, 1));
    assert_eq!(node.queue.suspensions().await.unwrap().len(), 1);
    let wake_ups = take(&node, 10).await;
    assert_eq!(
        wake_ups.iter().map(|wake_up| wake_up.unit).collect::<Vec<_>>(),
        [ids.0]
    );
    assert!(matches!(
        node.queue.claim(wake_ups[0].clone()).await.unwrap(),
        Claimed::Yes(_)
    ));
}

#[tokio::test]
async fn a_message_delivered_at_once_costs_two_row_writes() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let node = open(dir.path(), &clock).await;
    let count = "CREATE TABLE t_writes (n INTEGER);
        CREATE TRIGGER t_i AFTER INSERT ON unit BEGIN INSERT INTO t_writes VALUES (1); END;
        CREATE TRIGGER t_u AFTER UPDATE ON unit BEGIN INSERT INTO t_writes VALUES (1); END;
        CREATE TRIGGER t_d AFTER DELETE ON unit BEGIN INSERT INTO t_writes VALUES (1); END;";
    node.db
        .write(Vec::new(), move |tx| Ok(tx.execute_batch(count)?))
        .await
        .unwrap();
    let content = put(&node.db).await;
    node.queue
        .enqueue(vec![new_unit(content, "a.example", 1)])
        .await
        .unwrap();
    let wake_up = take(&node, 1).await.remove(0);
    let Claimed::Yes(claim) = node.queue.claim(wake_up).await.unwrap() else {
        panic!()
    };
    let report = Report {
        began: node.queue.now(),
        reply: "250 ok".into(),
        recipients: vec![(0, Outcome::Delivered, "250 ok".into())],
        rest_at_once: false,
    };
    let verdict = node.queue.judge(&claim, &report);
    assert!(node.queue.finish(&claim, &verdict, &[]).await.unwrap());
    let writes = node
        .db
        .read(|rows| Ok(rows.query_row("SELECT count(*) FROM t_writes", [], |row| row.get::<_, i64>(0))?));
    assert_eq!(writes.await.unwrap(), 2);
}

/// Every unit is due some time in a day; what is due is found in order, although memory holds only the near future.
#[tokio::test]
async fn a_long_queue_is_read_as_time_comes() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let node = open(dir.path(), &clock).await;
    let content = put(&node.db).await;
    const UNITS: u64 = 6000;
    for part in 0..6u64 {
        let unit = |at: u64| {
            let mut unit = new_unit(content, "a.example", 1);
            unit.not_before = clock.now() + (at * 7919 % UNITS) * 14_400 + 1;
            unit
        };
        node.queue
            .enqueue((part * 1000..(part + 1) * 1000).map(unit).collect())
            .await
            .unwrap();
    }
    drop(node);
    let begun = Instant::now();
    let node = open(dir.path(), &clock).await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(node.queue.statistics().await.unwrap().queued, UNITS);
    let mut found = 0;
    for _ in 0..24 {
        clock.advance(Duration::from_secs(3600));
        node.engine.schedule(Vec::new()).await.unwrap();
        while let Ok(wake_ups) = tokio::time::timeout(Duration::from_millis(100), node.queue.take(500)).await
        {
            let wake_ups = wake_ups.unwrap();
            assert!(wake_ups.iter().all(|wake_up| wake_up.due <= clock.now()));
            found += wake_ups.len();
        }
    }
    assert_eq!(found as u64, UNITS);
    assert_eq!(node.engine.counts().await.unwrap().queued, UNITS);
}
