//! What every engine of accounts and content must do: one case per behaviour the traits promise.
//!
//! An engine's tests stamp all cases out with [`engine_suite!`](crate::engine_suite), given an async closure that opens a fresh, empty
//! engine.

// A case fails by panicking: that is its purpose.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

pub mod commits;
pub mod concurrency;
pub mod contents;
pub mod reads;

use bytes::Bytes;
use postrider_types::{
    AccountId, CommitId, ContentId, DeliveryId, Flags, FolderId, Keyword, SystemFlag, ThreadId, Uid, Version,
};

use crate::account::{
    Change, ChangeRow, Commit, DescriptionRow, FlagState, FolderRow, Head, MessageRow, Outcome, Receipt,
    Reference, Rows,
};
use crate::{AccountEngine, ContentEngine, unix_millis};

/// An engine of both traits.
pub trait Engine: AccountEngine + ContentEngine {}

impl<E: AccountEngine + ContentEngine> Engine for E {}

/// Makes one test of every case; `$open` is an async function that returns a fresh engine, or a guard that dereferences to one (and takes
/// its directory or keyspace away when dropped).
#[macro_export]
macro_rules! engine_suite {
    ($open:expr) => {
        $crate::engine_suite!(@ $open;
            commits::a_missing_account_is_at_version_zero_without_rows,
            commits::a_commit_is_all_of_its_rows,
            commits::a_conflict_does_nothing,
            commits::the_head_tells_which_commit_was_last,
            commits::malformed_commits_are_refused,
            commits::a_row_never_refers_to_content_that_is_not_there,
            commits::putting_a_row_replaces_it,
            commits::what_is_known_is_not_put_again,
            commits::an_expired_receipt_is_replaced,
            commits::updates_change_flags_keywords_and_modseq_only,
            commits::deleted_rows_are_gone,
            commits::a_move_is_one_commit,
            commits::accounts_are_apart,
            commits::removed_accounts_leave_nothing,
            commits::expiry_drops_old_changes_from_the_front_only,
            reads::ranges_are_inclusive_and_paged,
            reads::described_messages_carry_their_descriptions,
            reads::messages_are_found_by_uid,
            reads::places_name_every_copy,
            reads::changes_are_paged_by_version,
            reads::references_are_found_by_hash,
            reads::receipts_are_found_until_they_expire,
            reads::snapshots_are_replaced_by_later_ones,
            reads::accounts_are_listed_in_order,
            contents::what_was_put_is_read_at_any_offset,
            contents::several_are_read_at_once,
            contents::missing_contents_are_not_found,
            contents::putting_the_same_again_succeeds,
            contents::a_writer_shows_nothing_before_it_finishes,
            contents::a_dropped_writer_leaves_nothing,
            contents::a_sweep_deletes_what_nobody_holds,
            contents::the_grace_period_counts_from_the_put,
            contents::holders_are_counted_once_each,
            contents::an_account_holds_what_it_describes,
            contents::a_lost_commit_leaves_content_to_the_sweeper,
            concurrency::one_of_many_writers_wins_each_version,
            concurrency::different_accounts_do_not_conflict,
            concurrency::readers_see_head_and_folders_of_one_version,
            concurrency::acknowledged_commits_are_seen_at_once,
            concurrency::a_held_content_survives_every_sweep,
            concurrency::many_contents_at_once_are_all_there,
        );
    };
    (@ $open:expr; $($module:ident::$case:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let open = $open;
                let engine = open().await;
                $crate::suite::$module::$case(&*engine).await;
            }
        )*
    };
}

/// A commit as a common delivery makes it: one new message in INBOX, whose UID is the new version, with content, description, reference
/// and receipt.
pub fn delivery(account: AccountId, expected: Version, body: &[u8]) -> Commit {
    let version = expected.next();
    let uid = Uid(version.0 as u32);
    let content = ContentId::generate();
    let thread = ThreadId::from_bytes(*content.as_bytes());
    let size = body.len() as u64;
    let now = unix_millis();
    let state = FlagState {
        uid,
        flags: Flags::EMPTY,
        keywords: Vec::new(),
    };
    let mut inbox = folder(FolderId::INBOX, "INBOX", version);
    (inbox.uid_next, inbox.messages, inbox.unseen) = (Uid(uid.0 + 1), uid.0, uid.0);
    Commit {
        account,
        expected,
        head: head(version),
        change: ChangeRow {
            version,
            time: now,
            changes: vec![Change::Added(FolderId::INBOX, vec![state])],
        },
        rows: Rows {
            put_folders: vec![inbox],
            put_messages: vec![MessageRow {
                content,
                thread,
                size,
                received: now,
                saved: now,
                ..message(FolderId::INBOX, uid, version)
            }],
            put_descriptions: vec![DescriptionRow {
                content,
                data: Bytes::from(format!("describes {content}")),
            }],
            put_references: vec![Reference {
                hash: u64::MAX - version.0,
                thread,
            }],
            put_receipts: vec![Receipt {
                delivery: DeliveryId::from_bytes(*content.as_bytes()),
                version,
                folder: FolderId::INBOX,
                uid,
                expires: now + 600_000,
            }],
            ..Rows::default()
        },
        contents: vec![(content, Bytes::copy_from_slice(body))],
    }
}

fn head(version: Version) -> Head {
    let used = u64::from(u32::MAX) + version.0;
    Head {
        version,
        last_commit: CommitId::generate(),
        used,
        messages: version.0,
        next_folder: FolderId(2),
    }
}

fn folder(id: FolderId, name: &str, version: Version) -> FolderRow {
    FolderRow {
        id,
        name: name.into(),
        uid_validity: 0xFFFF_FFFE,
        uid_next: Uid(u32::MAX),
        role: "archive".into(),
        subscribed: true,
        exists: true,
        messages: 1,
        unseen: 2,
        deleted: 3,
        size: u64::from(u32::MAX) + 4,
        deleted_size: 5,
        keywords: keywords(&["$Forwarded", "work"]),
        created: Version(1),
        changed: version,
    }
}

fn message(folder: FolderId, uid: Uid, version: Version) -> MessageRow {
    MessageRow {
        folder,
        uid,
        content: ContentId::generate(),
        thread: ThreadId::generate(),
        size: 4096,
        received: 1_700_000_000_123,
        saved: 1_700_000_000_456,
        flags: [SystemFlag::Seen, SystemFlag::Draft].into_iter().collect(),
        keywords: keywords(&["$Junk", "later"]),
        modseq: version,
    }
}

fn keywords(words: &[&str]) -> Vec<Keyword> {
    words.iter().map(|word| Keyword::new(word).unwrap()).collect()
}

/// A commit with these rows and nothing else.
fn commit(account: AccountId, expected: Version, rows: Rows) -> Commit {
    let version = expected.next();
    Commit {
        account,
        expected,
        head: head(version),
        change: ChangeRow {
            version,
            time: unix_millis(),
            changes: vec![Change::Folder(FolderId(9))],
        },
        rows,
        contents: Vec::new(),
    }
}

/// Commits, and must win.
async fn must(engine: &dyn Engine, commit: Commit) {
    assert_eq!(engine.commit(commit).await.unwrap(), Outcome::Committed);
}

/// Sweeps until nothing is left to do; contents deleted.
async fn sweep_all(engine: &dyn Engine, before: u64) -> u64 {
    let mut deleted = 0;
    for _ in 0..1000 {
        let sweep = engine.sweep(before).await.unwrap();
        deleted += sweep.deleted;
        if !sweep.more {
            return deleted;
        }
    }
    panic!("a thousand sweeps did not come to an end");
}

/// A time by which everything put so far is past its grace period.
fn later() -> u64 {
    unix_millis() + 60_000
}
