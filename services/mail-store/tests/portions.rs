//! Over an engine that takes small commits only, what touches many messages is a sequence of commits, and the account is whole after each.

#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use std::collections::BTreeSet;

use harness::*;
use postrider_cql::testing::Fresh;
use postrider_index::UidSet;
use postrider_proto::mailstore::*;
use postrider_store::AccountEngine;
use postrider_store::account::{Change, CommitLimits};
use postrider_store::cql::Cql;
use postrider_store::memory::{Fault, Memory, Operation};
use postrider_types::{AccountId, FolderId, SystemFlag, Uid, Version};

const LIMITS: CommitLimits = CommitLimits {
    rows: 100,
    bytes: 32 << 10,
};
const ACCOUNT: u64 = 7;
const MESSAGES: u32 = 1000;
const SEEN: u32 = SystemFlag::Seen as u32;

/// An engine that refuses what is above its limits, and an account with so many messages in its INBOX.
async fn filled(messages: u32) -> (Memory, Client) {
    let engine = Memory::with_limits(LIMITS);
    let mut client = client(&instance_over(&engine, &Default::default()));
    fill(&mut client, messages).await;
    (engine, client)
}

async fn fill(client: &mut Client, messages: u32) {
    for first in (0..messages).step_by(20) {
        let message = |at| AppendMessage {
            content: Some(append_message::Content::Inline(letter(
                "same@example.org",
                &format!("{at}"),
                "",
                "text",
            ))),
            ..Default::default()
        };
        let append = AppendMessagesRequest {
            account: ACCOUNT,
            folder: INBOX,
            quota: 0,
            messages: (first..messages.min(first + 20)).map(message).collect(),
        };
        client.append_messages(append).await.unwrap();
    }
}

fn copy(to: u32, remove: bool) -> CopyMessagesRequest {
    CopyMessagesRequest {
        account: ACCOUNT,
        folder: INBOX,
        uids: uids(&(1..=MESSAGES).collect::<Vec<_>>()),
        destination: to,
        r#move: remove,
        quota: 0,
    }
}

async fn version(client: &mut Client) -> u64 {
    let request = GetAccountRequest { account: ACCOUNT };
    client.get_account(request).await.unwrap().into_inner().version
}

/// Folders, messages and head agree with each other; says how many messages each folder has.
async fn whole(engine: &impl AccountEngine) -> Vec<(FolderId, u32)> {
    let account = AccountId::new(ACCOUNT);
    let (head, folders) = engine.folders(account).await.unwrap().unwrap();
    let (mut used, mut all) = (0, 0);
    let mut found = Vec::new();
    for folder in folders {
        let rows = engine.messages(account, folder.id, Uid(0)..=Uid(u32::MAX), usize::MAX);
        let rows = rows.await.unwrap();
        let size: u64 = rows.iter().map(|row| row.size).sum();
        let unseen = rows.iter().filter(|row| !row.flags.contains(SystemFlag::Seen));
        assert_eq!((folder.messages, folder.size), (rows.len() as u32, size));
        assert_eq!(folder.unseen, unseen.count() as u32);
        assert!(
            rows.iter()
                .all(|row| row.uid < folder.uid_next && row.modseq <= head.version)
        );
        for row in &rows {
            assert!(engine.description(account, row.content).await.unwrap().is_some());
        }
        (used, all) = (used + size, all + rows.len() as u64);
        found.push((folder.id, folder.messages));
    }
    assert_eq!((head.used, head.messages), (used, all));
    found.retain(|(_, messages)| *messages > 0);
    found
}

#[tokio::test]
async fn a_copy_of_a_thousand_is_a_sequence_of_commits() {
    let (engine, mut client) = filled(MESSAGES).await;
    let archive = folder(&mut client, ACCOUNT, "Archive").await.id;
    let before = version(&mut client).await;
    let copied = client
        .copy_messages(copy(archive, false))
        .await
        .unwrap()
        .into_inner();
    // 100 rows, less some for folders, at two rows a message.
    assert_eq!(copied.version, before + 21);
    let all: Vec<u32> = (1..=MESSAGES).collect();
    assert_eq!(copied.source_uids, all);
    assert_eq!(copied.destination_uids, all);
    assert_eq!(
        whole(&engine).await,
        [(FolderId(INBOX), MESSAGES), (FolderId(archive), MESSAGES)]
    );

    // Each commit says which messages it brought: the next ones, none twice, none left out, with their own version.
    let log = engine
        .changes(AccountId::new(ACCOUNT), Version(before), 100)
        .await
        .unwrap();
    let mut next = 1;
    for row in &log {
        let [Change::Added(folder, messages)] = row.changes.as_slice() else {
            panic!("{:?}", row.changes);
        };
        assert_eq!(*folder, FolderId(archive));
        assert!((1..=48).contains(&messages.len()));
        for message in messages {
            assert_eq!(message.uid, Uid(next));
            next += 1;
        }
    }
    assert_eq!((log.len(), next), (21, MESSAGES + 1));
    let sources = list(&mut client, ACCOUNT, INBOX).await;
    let copies = list(&mut client, ACCOUNT, archive).await;
    for (source, copy) in sources.iter().zip(&copies) {
        assert_eq!((&source.content_id, source.size), (&copy.content_id, copy.size));
    }
    let (_, _, index) = open(&mut client, ACCOUNT, archive).await;
    assert_eq!(index.uids().len(), MESSAGES);
}

/// The same on the real database, where each commit is one conditional batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_are_copied_moved_and_removed_in_the_database() {
    let fresh = Fresh::open().await.unwrap();
    let engine = Cql::new(fresh.session.clone(), Default::default());
    assert_eq!(engine.commit_limits(), LIMITS);
    let mut client = client(&instance_over(&engine, &Default::default()));
    fill(&mut client, MESSAGES).await;
    let archive = folder(&mut client, ACCOUNT, "Archive").await.id;
    let trash = folder(&mut client, ACCOUNT, "Trash").await.id;
    let before = version(&mut client).await;
    let copied = client
        .copy_messages(copy(archive, false))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((copied.version, copied.source_uids.len()), (before + 21, 1000));
    assert_eq!(copied.source_uids, copied.destination_uids);
    let moved = client
        .copy_messages(copy(trash, true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((moved.version, moved.source_uids.len()), (before + 21 + 32, 1000));
    let delete = DeleteFolderRequest {
        account: ACCOUNT,
        name: "Trash".into(),
    };
    client.delete_folder(delete).await.unwrap();
    assert_eq!(whole(&engine).await, [(FolderId(archive), MESSAGES)]);
}

/// It stops in the middle: what is done is done, the rest is where it was, and the same request does the rest.
#[tokio::test]
async fn a_move_that_stops_half_way_leaves_the_account_whole() {
    let (engine, mut client) = filled(MESSAGES).await;
    let archive = folder(&mut client, ACCOUNT, "Archive").await.id;
    for _ in 0..3 {
        engine.inject(Operation::Commit, Fault::Delay(Default::default()));
    }
    engine.inject(Operation::Commit, Fault::Unavailable);
    client.copy_messages(copy(archive, true)).await.unwrap_err();
    let moved = 3 * 32;
    assert_eq!(
        whole(&engine).await,
        [(FolderId(INBOX), MESSAGES - moved), (FolderId(archive), moved)]
    );
    let rest = client
        .copy_messages(copy(archive, true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(rest.source_uids, (moved + 1..=MESSAGES).collect::<Vec<_>>());
    assert_eq!(whole(&engine).await, [(FolderId(archive), MESSAGES)]);
}

#[tokio::test]
async fn flags_expunges_and_folders_keep_to_the_limits_too() {
    let (engine, mut client) = filled(300).await;
    let all: Vec<u32> = (1..=300).collect();
    let before = version(&mut client).await;
    let stored = store(&mut client, ACCOUNT, INBOX, uids(&all), SEEN).await;
    assert_eq!(stored.version, before + 4);
    let some = ExpungeMessagesRequest {
        account: ACCOUNT,
        folder: INBOX,
        uids: uids(&all[..100]),
        force: true,
    };
    let gone = client.expunge_messages(some).await.unwrap().into_inner();
    assert_eq!(gone.version, before + 4 + 4);
    assert_eq!(whole(&engine).await, [(FolderId(INBOX), 200)]);
    let rename = RenameFolderRequest {
        account: ACCOUNT,
        from: "INBOX".into(),
        to: "Old".into(),
    };
    client.rename_folder(rename).await.unwrap();
    let old = folder(&mut client, ACCOUNT, "Old").await;
    assert_eq!(whole(&engine).await, [(FolderId(old.id), 200)]);
    let delete = DeleteFolderRequest {
        account: ACCOUNT,
        name: "Old".into(),
    };
    client.delete_folder(delete).await.unwrap();
    assert_eq!(whole(&engine).await, []);
}

/// Deliveries that wait for each other share commits, none of them too large.
#[tokio::test]
async fn merged_deliveries_keep_to_the_limits() {
    let (engine, mut client) = filled(1).await;
    let before = version(&mut client).await;
    engine.inject(
        Operation::Commit,
        Fault::Delay(std::time::Duration::from_millis(200)),
    );
    let deliveries = (0..200).map(|at| {
        let mut client = client.clone();
        async move { deliver(&mut client, ACCOUNT, letter(&format!("{at}@a"), "s", "", "b")).await }
    });
    let uids: BTreeSet<u32> = futures::future::join_all(deliveries).await.into_iter().collect();
    assert_eq!(uids, (2..=201).collect());
    let commits = version(&mut client).await - before;
    // Five rows each.
    assert!((11..=30).contains(&commits), "{commits}");
    assert_eq!(whole(&engine).await, [(FolderId(INBOX), 201)]);
    assert_eq!(
        open(&mut client, ACCOUNT, INBOX).await.2.uids(),
        &(1..=201).map(Uid).collect::<UidSet>()
    );
}
