//! What the engine does while it is watched: deliveries, contents, holders, large streams, deletions, sweeps with compaction, and a reopening.
//!
//! It tells on its standard output what was acknowledged, right after it was, and what it is about to take back, right before it does.

use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use postrider_embedded::{Database, Options};
use postrider_store::account::{Outcome, Rows};
use postrider_store::embedded::Embedded;
use postrider_store::suite::delivery;
use postrider_store::{AccountEngine, ContentEngine};
use postrider_types::{AccountId, ContentId, FolderId, Uid, UnitId, Version};

const TASKS: u64 = 4;
const ROUNDS: u64 = 4;

/// Small limits, so that a short run rolls segments, streams, checkpoints and compacts.
pub fn options() -> Options {
    Options {
        segment_bytes: 48 << 10,
        stream_bytes: 24 << 10,
        readers: 1,
        checkpoint_pages: 60,
        ..Options::default()
    }
}

/// The bytes of a content: they follow from its id, so that a checker needs no copy of them.
pub fn body(id: ContentId, length: usize) -> Bytes {
    let mut state = u64::from_le_bytes(id.as_bytes()[8..].try_into().unwrap()) | 1;
    let word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(word)
        .flatten()
        .take(length)
        .collect::<Vec<u8>>()
        .into()
}

/// A commit of one new message whose content has this many bytes.
pub fn letter(account: AccountId, expected: Version, length: usize) -> postrider_store::account::Commit {
    let mut commit = delivery(account, expected, &[]);
    let id = commit.contents[0].0;
    commit.contents[0].1 = body(id, length);
    commit.rows.put_messages[0].size = length as u64;
    commit
}

/// Runs it all in `dir`.
pub async fn run(dir: &Path) {
    for half in 0..2 {
        let db = Database::open(dir, options()).unwrap();
        let engine = Embedded::open(db).await.unwrap();
        for round in half * ROUNDS / 2..(half + 1) * ROUNDS / 2 {
            futures::future::join_all((0..TASKS).map(|task| one_round(&engine, task, round))).await;
            say(format_args!("sweeping"));
            let before = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_millis();
            for _ in 0..50 {
                if !engine.sweep(before as u64).await.unwrap().more {
                    break;
                }
            }
        }
    }
    say(format_args!("done"));
}

async fn one_round(engine: &Embedded, task: u64, round: u64) {
    const LETTERS: u64 = 5;
    let account = AccountId::new(task + 1);
    let first = round * (LETTERS + 1);
    for number in 0..LETTERS {
        let length = (task * 977 + round * 313 + number * 2741) as usize % 9000;
        let commit = letter(account, Version(first + number), length);
        let id = commit.contents[0].0;
        assert_eq!(engine.commit(commit).await.unwrap(), Outcome::Committed);
        say(format_args!(
            "delivered {account} {} {id} {length}",
            first + number + 1
        ));
    }
    let (id, unit, length) = (
        ContentId::generate(),
        UnitId::generate(),
        3000 + task as usize * 800,
    );
    engine.put(id, body(id, length)).await.unwrap();
    say(format_args!("put {id} {length}"));
    engine.hold(id, unit).await.unwrap();
    say(format_args!("held {id} {length}"));

    let (large, length) = (
        ContentId::generate(),
        70_000 + (task * 9973 + round * 20_011) as usize,
    );
    let mut writer = engine.writer(large).await.unwrap();
    for piece in body(large, length).chunks(11_003) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.finish().await.unwrap();
    say(format_args!("put {large} {length}"));
    if task.is_multiple_of(2) {
        engine.hold(large, unit).await.unwrap();
        say(format_args!("held {large} {length}"));
        say(format_args!("releasing {id}"));
        engine.release(id, unit).await.unwrap();
    }
    forget(engine, account, Version(first + LETTERS)).await;
}

/// Deletes all but the newest letter of an account.
async fn forget(engine: &Embedded, account: AccountId, version: Version) {
    let rows = engine
        .messages(account, FolderId::INBOX, Uid(0)..=Uid(version.0 as u32 - 1), 100)
        .await
        .unwrap();
    let mut commit = delivery(account, version, &[]);
    commit.contents.clear();
    commit.rows = Rows {
        delete_messages: rows.iter().map(|row| (row.folder, row.uid)).collect(),
        drop_descriptions: rows.iter().map(|row| row.content).collect(),
        ..Rows::default()
    };
    for row in &rows {
        say(format_args!("forgetting {account} {} {}", row.uid, row.content));
    }
    assert_eq!(engine.commit(commit).await.unwrap(), Outcome::Committed);
    say(format_args!("reached {account} {}", version.0 + 1));
}

/// One line, in one call of the system.
fn say(line: std::fmt::Arguments<'_>) {
    let line = format!("ack {line}\n");
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}
