//! The contract suite and what is this engine's own, on the real database.

use std::ops::Deref;

use postrider_cql::Config;
use postrider_cql::testing::{Fresh, Mode, proxy};
use postrider_types::{ContentId, Flags, FolderId, Uid, UnitId, Version};

use super::*;
use crate::account::{Commit, FlagState, MessageRow, Outcome, Rows};
use crate::content::Sweep;
use crate::suite::delivery;
use crate::{AccountEngine, ContentEngine, unix_millis};

/// An engine whose keyspace is free again when it goes.
struct Opened {
    engine: Cql,
    _fresh: Fresh,
}

impl Deref for Opened {
    type Target = Cql;
    fn deref(&self) -> &Cql {
        &self.engine
    }
}

async fn open() -> Opened {
    let fresh = Fresh::open().await.unwrap();
    Opened {
        engine: Cql::new(fresh.session.clone(), Options::default()),
        _fresh: fresh,
    }
}

crate::engine_suite!(open);

const ACCOUNT: AccountId = AccountId::new(77);

/// A commit of no rows but its change.
fn plain(expected: u64) -> Commit {
    let mut commit = delivery(ACCOUNT, Version(expected), b"");
    (commit.rows, commit.contents) = (Rows::default(), Vec::new());
    commit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_delivery_is_one_content_write_and_one_conditional_batch() {
    let opened = open().await;
    let first = delivery(ACCOUNT, Version(0), b"first");
    assert_eq!(opened.commit(first).await.unwrap(), Outcome::Committed);
    let count = || {
        let all = opened.session().statistics();
        [all.reads, all.serial_reads, all.writes, all.conditional].map(|kind| kind.requests)
    };
    let before = count();
    let second = delivery(ACCOUNT, Version(1), b"second");
    assert_eq!(opened.commit(second).await.unwrap(), Outcome::Committed);
    let after = count();
    let cost: Vec<u64> = after
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .collect();
    assert_eq!(cost, [0, 0, 1, 1]);
}

/// The connection is lost in the middle of a commit, after the request has passed or before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_unknown_outcome_is_found_or_sent_again() {
    let opened = open().await;
    let proxy = proxy().await.unwrap();
    let config = Config {
        contact_points: vec![proxy.address().to_string()],
        conditional_deadline: Duration::from_secs(6),
        ..opened._fresh.config.clone()
    };
    let session = Session::open(&config).unwrap();
    session.connected(Duration::from_secs(30)).await.unwrap();
    let engine = Cql::new(session, Options::default());
    assert_eq!(engine.commit(plain(0)).await.unwrap(), Outcome::Committed);
    for (expected, mode) in [(1, Mode::Deaf), (2, Mode::Dead), (3, Mode::Deaf), (4, Mode::Dead)] {
        let commit = plain(expected);
        let id = commit.head.last_commit;
        proxy.set(mode);
        let repair = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            // What the database knows meanwhile.
            let head = opened.head(ACCOUNT).await.unwrap().unwrap();
            assert_eq!(head.last_commit == id, mode == Mode::Deaf);
            proxy.set(Mode::Cut);
            tokio::time::sleep(Duration::from_millis(50)).await;
            proxy.set(Mode::Pass);
        };
        let (outcome, ()) = tokio::join!(engine.commit(commit), repair);
        assert_eq!(outcome.unwrap(), Outcome::Committed);
        let head = engine.head(ACCOUNT).await.unwrap().unwrap();
        assert_eq!((head.version, head.last_commit), (Version(expected + 1), id));
        assert!(engine.is_in_doubt(ACCOUNT));
    }
    assert_eq!(engine.changes(ACCOUNT, Version(0), 10).await.unwrap().len(), 5);
    let counts = engine.session().statistics();
    assert!(counts.conditional.unknown >= 4, "{counts:?}");
}

/// Another one has committed on top before we look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_found_beneath_later_ones() {
    let opened = open().await;
    let commits: Vec<Commit> = (0..4).map(plain).collect();
    for commit in &commits {
        assert_eq!(opened.commit(commit.clone()).await.unwrap(), Outcome::Committed);
    }
    // As if its answer had been lost: the same commit again.
    for commit in &commits {
        assert_eq!(opened.commit(commit.clone()).await.unwrap(), Outcome::Committed);
    }
    assert_eq!(opened.commit(plain(1)).await.unwrap(), Outcome::Conflict);
    assert_eq!(opened.head(ACCOUNT).await.unwrap().unwrap().version, Version(4));
}

/// Two processes, each with its own connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_instances_one_wins_each_version_and_both_come_through() {
    const VERSIONS: u64 = 60;
    let opened = open().await;
    let session = Session::open(&opened._fresh.config).unwrap();
    session.connected(Duration::from_secs(30)).await.unwrap();
    let other = Cql::new(session, Options::default());
    let writer = async |engine: &Cql| {
        let (mut wins, mut conflicts) = (Vec::new(), 0);
        loop {
            let head = engine.head(ACCOUNT).await.unwrap();
            let version = head.map_or(Version(0), |head| head.version);
            if version.0 >= VERSIONS {
                return (wins, conflicts);
            }
            let commit = delivery(ACCOUNT, version, b"mine");
            match engine.commit(commit).await.unwrap() {
                Outcome::Committed => wins.push(version.0 + 1),
                Outcome::Conflict => conflicts += 1,
                Outcome::Known => panic!("every delivery is new"),
            }
        }
    };
    let both = async { tokio::join!(writer(&opened), writer(&other)) };
    let ((mut wins, lost), (others, also_lost)) =
        tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    // That they met is what makes this a test. Shares are not promised, but nobody may be kept waiting for ever.
    assert!(lost + also_lost > 0, "they never met");
    let least = wins.len().min(others.len());
    assert!(
        least >= VERSIONS as usize / 20,
        "one of the two came through {least} times only"
    );
    wins.extend(others);
    wins.sort_unstable();
    assert_eq!(wins, (1..=wins.len() as u64).collect::<Vec<_>>());
    let rows = opened
        .messages(ACCOUNT, FolderId::INBOX, Uid(0)..=Uid(u32::MAX), 1000)
        .await
        .unwrap();
    assert_eq!(rows.len(), wins.len());
}

/// What is put and deleted in one commit is not there afterwards; what is put twice is as it was put last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_has_its_net_effect() {
    let opened = open().await;
    let mut commit = delivery(ACCOUNT, Version(0), b"x");
    let row = commit.rows.put_messages[0].clone();
    let second = MessageRow {
        uid: Uid(2),
        ..row.clone()
    };
    let replaced = MessageRow {
        size: 99,
        ..row.clone()
    };
    commit.rows.put_messages.extend([second, replaced]);
    commit.rows.delete_messages = vec![(FolderId::INBOX, Uid(2))];
    let seen = Flags::from_bits(1);
    let state = FlagState {
        uid: Uid(1),
        flags: seen,
        keywords: Vec::new(),
    };
    let gone = FlagState {
        uid: Uid(2),
        ..state.clone()
    };
    commit.rows.update_messages = vec![(FolderId::INBOX, state), (FolderId::INBOX, gone)];
    assert_eq!(opened.commit(commit).await.unwrap(), Outcome::Committed);
    let found = opened
        .messages(ACCOUNT, FolderId::INBOX, Uid(0)..=Uid(9), 10)
        .await
        .unwrap();
    let expected = MessageRow {
        size: 99,
        flags: seen,
        keywords: Vec::new(),
        modseq: Version(1),
        ..row.clone()
    };
    assert_eq!(found, [expected]);
    let places = opened.places(ACCOUNT, &[row.content]).await.unwrap();
    assert_eq!(places, [(row.content, FolderId::INBOX, Uid(1))]);
}

/// A holder that comes between the sweeper's two looks keeps the content; one that comes after is told that it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doomed_content_is_given_to_nobody_before_the_sweeper_has_looked_again() {
    let opened = open().await;
    let (id, unit) = (ContentId::generate(), UnitId::generate());
    opened.put(id, "wanted".into()).await.unwrap();
    let doom = Statement::write("UPDATE content USING TIMESTAMP 1 SET doomed = 1 WHERE content = ?");
    opened
        .session()
        .write(doom, (id.as_bytes().to_vec(),))
        .await
        .unwrap();
    let sweep = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        opened.sweep(unix_millis() + 60_000).await.unwrap()
    };
    let (held, swept) = tokio::join!(opened.hold(id, unit), sweep);
    held.unwrap();
    assert_eq!(swept.deleted, 0);
    assert_eq!(opened.read(id, 0, 9).await.unwrap(), "wanted");
    opened.release(id, unit).await.unwrap();
    assert_eq!(opened.sweep(unix_millis() + 60_000).await.unwrap().deleted, 1);
    assert!(matches!(opened.hold(id, unit).await, Err(Error::NotFound(_))));
}

/// A process that dies between content and commit leaves what no candidate names. Several walk on from where the last one was; once
/// round, they rest for a day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_that_no_candidate_names_are_found_by_the_walk() {
    const MINUTE: u64 = 60_000;
    const DAY: u64 = 24 * 60 * MINUTE;
    let opened = open().await;
    let few = Options {
        walk_step: 16,
        ..Options::default()
    };
    let walkers = [0; 2].map(|_| Cql::new(opened.session().clone(), few.clone()));
    let lose = async || {
        let id = ContentId::generate();
        let holder = rows::account_holder(ACCOUNT);
        opened.put_held(id, "lost".into(), holder).await.unwrap();
        id
    };
    let mut lost = Vec::new();
    for _ in 0..40 {
        lost.push(lose().await);
    }
    let delivery = delivery(ACCOUNT, Version(0), b"kept");
    let delivered = delivery.contents[0].0;
    assert_eq!(opened.commit(delivery).await.unwrap(), Outcome::Committed);
    let (written, body) = (ContentId::generate(), vec![7; 3 * PIECE]);
    let mut writer = opened.writer(written).await.unwrap();
    writer.write(body.clone().into()).await.unwrap();

    let now = unix_millis();
    // Everything is too young, what is being written included.
    assert_eq!(opened.sweep(now - DAY).await.unwrap(), Sweep::default());
    writer.finish().await.unwrap();
    opened.hold(written, UnitId::generate()).await.unwrap();
    assert_eq!(opened.sweep(now - MINUTE).await.unwrap().deleted, 0, "it rests");
    let mut deleted = Vec::new();
    for at in 0..3 {
        let swept = walkers[at % 2].sweep(now + MINUTE).await.unwrap();
        assert!((1..=16).contains(&swept.deleted), "{swept:?}");
        assert_eq!(swept.bytes, 4 * swept.deleted);
        deleted.push(swept.deleted);
    }
    assert_eq!(deleted.iter().sum::<u64>(), 40, "{deleted:?}");
    for id in lost {
        assert_eq!(opened.length(id).await.unwrap(), None);
    }
    let late = lose().await;
    assert_eq!(opened.sweep(now + MINUTE).await.unwrap().deleted, 0, "it rests");
    assert_eq!(opened.length(late).await.unwrap(), Some(4));
    assert_eq!(opened.sweep(now + MINUTE + DAY).await.unwrap().deleted, 1);
    assert_eq!(opened.length(late).await.unwrap(), None);
    assert_eq!(opened.read(delivered, 0, 9).await.unwrap(), "kept");
    assert_eq!(opened.read(written, 0, u64::MAX).await.unwrap(), body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_content_is_reported() {
    let opened = open().await;
    let id = ContentId::generate();
    let body = vec![7; 3 * PIECE];
    opened.put(id, body.into()).await.unwrap();
    let key = id.as_bytes().to_vec();
    let alter = Statement::write("UPDATE content SET data = 0x07 WHERE content = ? AND piece = 1");
    opened.session().write(alter, (key.clone(),)).await.unwrap();
    assert!(matches!(
        opened.read(id, 0, u64::MAX).await,
        Err(Error::Damaged(_))
    ));
    assert_eq!(opened.read(id, 0, 10).await.unwrap(), [7; 10].as_slice());
    let lose = Statement::write("DELETE FROM content WHERE content = ? AND piece = 1");
    opened.session().write(lose, (key,)).await.unwrap();
    assert!(matches!(
        opened.read(id, PIECE as u64, 10).await,
        Err(Error::Damaged(_))
    ));
    assert!(matches!(
        opened.read(id, 0, u64::MAX).await,
        Err(Error::Damaged(_))
    ));
}
