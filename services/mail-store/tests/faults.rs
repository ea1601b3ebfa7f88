//! Engines that fail, and instances that meet.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use std::sync::Arc;

use futures::future::join_all;
use harness::*;
use postrider_coordination::Memory as Coordination;
use postrider_proto::mailstore::deliver_result::Outcome;
use postrider_proto::mailstore::*;
use postrider_store::memory::{Fault, Memory, Operation};
use postrider_store::{AccountEngine, ContentEngine};
use postrider_types::{AccountId, SystemFlag, Version};
use tonic::Code;

#[tokio::test]
async fn conflicts_and_unknown_outcomes_are_settled() {
    let (engine, mut client) = fresh();
    let faults = [
        Fault::Conflict,
        Fault::UnknownApplied,
        Fault::UnknownNotApplied,
        Fault::Conflict,
    ];
    for (at, fault) in faults.into_iter().enumerate() {
        engine.inject(Operation::Commit, fault);
        assert_eq!(
            deliver(&mut client, 7, letter("1@a", "s", "", "b")).await,
            at as u32 + 1
        );
    }
    engine.inject(Operation::Commit, Fault::UnknownApplied);
    let archive = folder(&mut client, 7, "Archive").await.id;
    let copy = CopyMessagesRequest {
        account: 7,
        folder: INBOX,
        uids: uids(&[1, 2]),
        destination: archive,
        ..Default::default()
    };
    client.copy_messages(copy).await.unwrap();
    assert_eq!(list(&mut client, 7, archive).await.len(), 2);
    let account = client
        .get_account(GetAccountRequest { account: 7 })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((account.version, account.messages), (5, 6));
}

#[tokio::test]
async fn what_cannot_be_done_now_is_temporary_and_can_be_tried_again() {
    let (engine, mut client) = fresh();
    let request = delivery(letter("1@a", "s", "", "b"), vec![recipient(7)]);
    for fault in [Fault::Unavailable, Fault::Full] {
        engine.inject(Operation::Commit, fault);
        let result = client
            .deliver(request.clone())
            .await
            .unwrap()
            .into_inner()
            .results
            .remove(0);
        assert_eq!(result.outcome(), Outcome::Temporary);
    }
    engine.crash();
    let away = client
        .list_folders(ListFoldersRequest { account: 7 })
        .await
        .unwrap_err();
    assert_eq!(away.code(), Code::Unavailable);
    engine.restart();
    let result = client
        .deliver(request.clone())
        .await
        .unwrap()
        .into_inner()
        .results
        .remove(0);
    assert_eq!((result.outcome(), result.uid), (Outcome::Delivered, 1));
    assert_eq!(
        client.deliver(request).await.unwrap().into_inner().results[0].outcome(),
        Outcome::AlreadyDelivered
    );
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_said_to_be_and_a_retry_does_not_double() {
    let (engine, mut client) = fresh();
    let request = delivery(letter("1@a", "s", "", "b"), vec![recipient(7)]);
    engine.inject(Operation::Commit, Fault::UnknownApplied);
    // The account is read first, then every question for the head.
    engine.inject(Operation::Read, Fault::Delay(std::time::Duration::ZERO));
    for _ in 0..9 {
        engine.inject(Operation::Read, Fault::Unavailable);
    }
    let result = client
        .deliver(request.clone())
        .await
        .unwrap()
        .into_inner()
        .results
        .remove(0);
    assert_eq!(result.outcome(), Outcome::Unknown, "{result:?}");
    let result = client
        .deliver(request)
        .await
        .unwrap()
        .into_inner()
        .results
        .remove(0);
    assert_eq!((result.outcome(), result.uid), (Outcome::AlreadyDelivered, 1));
}

/// While one commit is under way, all that waits becomes the next.
#[tokio::test]
async fn a_storm_on_one_account_is_few_commits() {
    let (engine, mut client) = fresh();
    deliver(&mut client, 7, letter("0@a", "s", "", "b")).await;
    engine.inject(
        Operation::Commit,
        Fault::Delay(std::time::Duration::from_millis(50)),
    );
    let storm = (0..200).map(|at| {
        let mut client = client.clone();
        async move { deliver(&mut client, 7, letter(&format!("{at}@a"), "s", "", "b")).await }
    });
    let mut given = join_all(storm).await;
    given.sort_unstable();
    assert_eq!(given, (2..=201).collect::<Vec<_>>());
    let head = engine.head(AccountId::new(7)).await.unwrap().unwrap();
    assert!(head.version.0 <= 4, "{} commits", head.version);
}

/// A delivery of content that was swept meanwhile can never be committed; those that share its commit can.
#[tokio::test]
async fn what_cannot_be_committed_fails_alone() {
    let (engine, mut client) = fresh();
    deliver(&mut client, 7, letter("0@a", "s", "", "b")).await;
    let parts = [
        put_message_request::Part::Options(PutMessageOptions { max_size: 0 }),
        put_message_request::Part::Chunk(letter("1@a", "s", "", "b")),
    ];
    let requests = parts.map(|part| PutMessageRequest { part: Some(part) });
    let put = client.put_message(futures::stream::iter(requests)).await;
    let content_id = put.unwrap().into_inner().content_id;
    assert_eq!(engine.sweep(i64::MAX as u64).await.unwrap().deleted, 1);
    let gone = DeliverRequest {
        content: Some(deliver_request::Content::ContentId(content_id)),
        recipients: vec![recipient(7)],
        ..Default::default()
    };
    engine.inject(
        Operation::Commit,
        Fault::Delay(std::time::Duration::from_millis(50)),
    );
    let send = |request: DeliverRequest| {
        let mut client = client.clone();
        async move {
            let answer = client.deliver(request).await.unwrap().into_inner();
            (answer.results[0].outcome(), answer.results[0].uid)
        }
    };
    let good = |id| delivery(letter(id, "s", "", "b"), vec![recipient(7)]);
    // The first is under way while the others come to wait together.
    let outcomes = join_all([good("2@a"), good("3@a"), gone, good("4@a")].map(send)).await;
    assert_eq!(
        outcomes,
        [
            (Outcome::Delivered, 2),
            (Outcome::Delivered, 3),
            (Outcome::Temporary, 0),
            (Outcome::Delivered, 4)
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_meet_on_one_account_in_memory() {
    two_instances(Memory::new(), 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_meet_on_one_account_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let database =
        postrider_embedded::Database::open(dir.path(), postrider_embedded::Options::default()).unwrap();
    two_instances(
        postrider_store::embedded::Embedded::open(database).await.unwrap(),
        20,
    )
    .await;
}

/// Deliveries, retried through the other instance, and copies, all at once and within a quota: exactly once each, UIDs and
/// versions without gaps, counts and quota exact.
async fn two_instances<E: AccountEngine + ContentEngine + Clone>(engine: E, count: u32) {
    let hints = Arc::new(Coordination::new());
    let clients = [
        client(&instance_over(&engine, &hints)),
        client(&instance_over(&engine, &hints)),
    ];
    let data = letter("1@a", "s", "", "b");
    // Room for all but five of them.
    let quota = data.len() as u64 * u64::from(count - 5);
    let work = (0..count).map(|at| {
        let [mut first, mut second] = [
            clients[at as usize % 2].clone(),
            clients[(at as usize + 1) % 2].clone(),
        ];
        let request = delivery(
            data.clone(),
            vec![DeliverRecipient {
                quota,
                ..recipient(7)
            }],
        );
        tokio::spawn(async move {
            let (one, two) = tokio::join!(first.deliver(request.clone()), second.deliver(request));
            [one, two].map(|it| it.unwrap().into_inner().results.remove(0))
        })
    });
    let mut given = Vec::new();
    let mut refused = 0;
    for pair in join_all(work).await {
        let pair = pair.unwrap();
        let mut outcomes = pair.each_ref().map(|it| it.outcome());
        outcomes.sort_unstable();
        match outcomes {
            [Outcome::Delivered, Outcome::AlreadyDelivered] => {
                assert_eq!(pair[0].uid, pair[1].uid);
                given.push(pair[0].uid);
            }
            [Outcome::OverQuota, Outcome::OverQuota] => refused += 1,
            other => panic!("{other:?}: {pair:?}"),
        }
    }
    given.sort_unstable();
    assert_eq!((given, refused), ((1..=count - 5).collect(), 5));
    let [mut one, mut two] = clients;
    let account = one
        .get_account(GetAccountRequest { account: 7 })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (account.used_bytes, account.messages),
        (quota, u64::from(count) - 5)
    );
    let log = changes(&mut two, 7, 0, 0).await.unwrap();
    assert_eq!(
        log.iter().map(|it| it.version).collect::<Vec<_>>(),
        (1..=account.version).collect::<Vec<_>>()
    );
    // Both see the same folder, and what one changes the other sees next.
    let (left, right) = (open(&mut one, 7, INBOX).await, open(&mut two, 7, INBOX).await);
    assert_eq!((&left.1, &left.2), (&right.1, &right.2));
    store(&mut one, 7, INBOX, uids(&[1]), SystemFlag::Seen as u32).await;
    assert_eq!(open(&mut two, 7, INBOX).await.2.unseen(), left.2.unseen() - 1);
}

#[tokio::test]
async fn a_large_folder_is_opened_without_reading_its_messages() {
    let (engine, mut first) = fresh();
    let message = AppendMessage {
        content: Some(append_message::Content::Inline(letter("1@a", "s", "", "b"))),
        ..Default::default()
    };
    for _ in 0..3 {
        let append = AppendMessagesRequest {
            account: 7,
            folder: INBOX,
            quota: 0,
            messages: vec![message.clone(); 500],
        };
        first.append_messages(append).await.unwrap();
    }
    let other = || client(&instance_over(&engine, &Arc::default()));
    // Built from rows, and saved in the background.
    let built = open(&mut other(), 7, INBOX).await.2;
    let account = AccountId::new(7);
    for _ in 0..100 {
        if engine
            .snapshot(account, postrider_types::FolderId::INBOX)
            .await
            .unwrap()
            .is_some()
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    store(&mut first, 7, INBOX, uids(&[3]), SystemFlag::Seen as u32).await;
    deliver(&mut first, 7, letter("2@a", "s", "", "b")).await;
    // A cold instance: head and folders, snapshot, changes; message rows would be a fourth read.
    for fault in [Fault::Delay(std::time::Duration::ZERO); 3] {
        engine.inject(Operation::Read, fault);
    }
    for _ in 0..8 {
        engine.inject(Operation::Read, Fault::Unavailable);
    }
    let folder = Some(open_folder_request::Folder::Id(INBOX));
    let cold = other()
        .open_folder(OpenFolderRequest {
            account: 7,
            folder,
            known_version: 0,
        })
        .await;
    let cold = cold.unwrap().into_inner().index;
    let cold = postrider_index::FolderIndex::from_bytes(&cold).unwrap();
    assert_eq!((cold.len(), cold.unseen()), (built.len() + 1, built.unseen()));
    assert_eq!(cold.version(), Version(built.version().0 + 2));
}

/// A STORE that changes nothing, since another one of the same commit has done so, tells that commit's mod-sequence: its answer
/// must be true at that commit, or the reader believes itself further back than what it was told.
#[tokio::test]
async fn an_answer_is_as_late_as_the_rows_in_it() {
    let (engine, client) = fresh();
    deliver(&mut client.clone(), 7, letter("1@a", "s", "", "b")).await;
    let store = || {
        let mut client = client.clone();
        let request = StoreFlagsRequest {
            account: 7,
            folder: INBOX,
            uids: uids(&[1]),
            operation: store_flags_request::Operation::Add.into(),
            flags: 1 << SystemFlag::Seen as u32,
            ..Default::default()
        };
        async move { client.store_flags(request).await.unwrap().into_inner() }
    };
    // While a commit of an account takes its time, what comes becomes one commit behind it.
    engine.inject(
        Operation::Commit,
        Fault::Delay(std::time::Duration::from_millis(50)),
    );
    let mut first = client.clone();
    let busy = async move { deliver(&mut first, 7, letter("2@a", "s", "", "b")).await };
    let (_, one, two) = tokio::join!(busy, store(), store());
    for stored in [&one, &two] {
        assert_eq!(stored.messages[0].modseq, stored.version, "{one:?} {two:?}");
    }
    assert_eq!(one.version, two.version, "they were one commit");
    assert_ne!(one.changed, two.changed, "one of them changed nothing");
}
