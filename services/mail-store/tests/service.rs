//! The contract, rpc by rpc, through the generated client over the memory engine.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use bytes::Bytes;
use harness::*;
use postrider_index::FolderIndex;
use postrider_proto::mailstore::deliver_result::Outcome;
use postrider_proto::mailstore::search_key::Key;
use postrider_proto::mailstore::*;
use postrider_store::{AccountEngine, ContentEngine};
use postrider_types::{AccountId, ContentId, FolderId, SystemFlag};
use tonic::Code;

const SEEN: u32 = SystemFlag::Seen as u32;
const DELETED: u32 = SystemFlag::Deleted as u32;

#[tokio::test]
async fn an_account_begins_with_its_folders() {
    let (_, mut client) = fresh();
    let folders = folders(&mut client, 7).await;
    let named: Vec<_> = folders
        .iter()
        .map(|it| (it.name.as_str(), it.role.as_str()))
        .collect();
    let expected = [
        ("Archive", "archive"),
        ("Drafts", "drafts"),
        ("INBOX", "inbox"),
        ("Junk", "junk"),
        ("Sent", "sent"),
        ("Trash", "trash"),
    ];
    assert_eq!(named, expected);
    assert!(
        folders
            .iter()
            .all(|it| it.exists && it.subscribed && it.uid_next == 1 && it.uid_validity > 1_600_000_000)
    );
    let account = client
        .get_account(GetAccountRequest { account: 7 })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((account.version, account.used_bytes, account.messages), (1, 0, 0));
}

#[tokio::test]
async fn a_delivery_is_seen_everywhere_at_once() {
    let (_, mut client) = fresh();
    let data = letter("1@crepes.fr", "ketchup", "", "Do you like ketchup?");
    assert_eq!(deliver(&mut client, 7, data.clone()).await, 1);
    let (version, inbox, index) = open(&mut client, 7, INBOX).await;
    assert_eq!((inbox.messages, inbox.unseen, inbox.uid_next), (1, 1, 2));
    assert_eq!((index.len(), index.unseen(), index.version().0), (1, 1, version));
    let rows = rows(
        &mut client,
        ListMessagesRequest {
            account: 7,
            folder: INBOX,
            with_description: true,
            ..Default::default()
        },
    )
    .await;
    assert_eq!(
        (rows[0].uid, rows[0].size, rows[0].received),
        (1, data.len() as u64, 1_700_000_000_000)
    );
    let description = postrider_message::Description::decode(&rows[0].description).unwrap();
    assert_eq!(description.envelope.subject.as_deref(), Some("ketchup"));
    let request = ReadContentRequest {
        content_id: rows[0].content_id.clone(),
        offset: 4,
        length: 10,
    };
    let read = client.read_content(request).await.unwrap().into_inner();
    assert_eq!(
        (&read.data[..], read.total_size),
        (&data[4..14], data.len() as u64)
    );
    let account = client
        .get_account(GetAccountRequest { account: 7 })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((account.used_bytes, account.messages), (data.len() as u64, 1));
}

#[tokio::test]
async fn a_retry_delivers_nothing() {
    let (_, mut client) = fresh();
    let request = delivery(letter("1@a", "s", "", "b"), vec![recipient(7)]);
    let first = client
        .deliver(request.clone())
        .await
        .unwrap()
        .into_inner()
        .results
        .remove(0);
    let again = client
        .deliver(request)
        .await
        .unwrap()
        .into_inner()
        .results
        .remove(0);
    assert_eq!(again.outcome(), Outcome::AlreadyDelivered);
    assert_eq!(
        (first.folder, first.uid, first.version),
        (again.folder, again.uid, again.version)
    );
    assert_eq!(list(&mut client, 7, INBOX).await.len(), 1);
}

#[tokio::test]
async fn a_retry_is_told_that_it_was_delivered_though_there_is_no_more_room() {
    let (_, mut client) = fresh();
    let data = letter("1@a", "s", "", "b");
    let quota = data.len() as u64;
    let just = DeliverRecipient {
        quota,
        ..recipient(7)
    };
    let request = delivery(data, vec![just]);
    for outcome in [Outcome::Delivered, Outcome::AlreadyDelivered] {
        let response = client.deliver(request.clone()).await.unwrap().into_inner();
        assert_eq!(response.results[0].outcome(), outcome);
    }
}

#[tokio::test]
async fn each_recipient_has_a_result_of_its_own() {
    let (engine, mut client) = fresh();
    let full = DeliverRecipient {
        quota: 10,
        ..recipient(8)
    };
    let filed = DeliverRecipient {
        folder: "Archive".into(),
        flags: SEEN,
        keywords: vec!["$x".into()],
        ..recipient(9)
    };
    let lost = DeliverRecipient {
        folder: "No/Such".into(),
        ..recipient(10)
    };
    let request = delivery(letter("1@a", "s", "", "b"), vec![recipient(7), full, filed, lost]);
    let response = client.deliver(request).await.unwrap().into_inner();
    let outcomes: Vec<_> = response.results.iter().map(|it| it.outcome()).collect();
    assert_eq!(
        outcomes,
        [
            Outcome::Delivered,
            Outcome::OverQuota,
            Outcome::Delivered,
            Outcome::Delivered
        ]
    );
    let archive = folder(&mut client, 9, "Archive").await;
    assert_eq!(
        (response.results[2].folder, archive.messages, archive.unseen),
        (archive.id, 1, 0)
    );
    assert_eq!(response.results[3].folder, INBOX);
    assert_eq!(folder(&mut client, 8, "INBOX").await.messages, 0);
    let id = ContentId::from_slice(&response.content_id).unwrap();
    assert!(engine.length(id).await.unwrap().is_some());
}

#[tokio::test]
async fn replies_find_their_conversation_whatever_comes_first() {
    let (_, mut client) = fresh();
    deliver(&mut client, 7, letter("reply@a", "Re: s", "<root@a>", "b")).await;
    deliver(&mut client, 7, letter("root@a", "s", "", "b")).await;
    deliver(
        &mut client,
        7,
        letter("late@a", "Re: s", "<root@a> <lost@a> <reply@a>", "b"),
    )
    .await;
    deliver(&mut client, 7, letter("other@a", "s", "", "b")).await;
    let rows = list(&mut client, 7, INBOX).await;
    assert_eq!(rows[0].thread_id, rows[1].thread_id);
    assert_eq!(rows[0].thread_id, rows[2].thread_id);
    assert_eq!(rows[0].thread_id, rows[0].content_id);
    assert_ne!(rows[0].thread_id, rows[3].thread_id);
}

#[tokio::test]
async fn a_message_can_be_put_in_pieces_and_delivered_by_id() {
    let (_, mut client) = fresh();
    let body = "0123456789".repeat(60_000);
    let data = letter("1@a", "large", "", &body);
    let options = put_message_request::Part::Options(PutMessageOptions { max_size: 0 });
    let chunks = data
        .chunks(50_000)
        .map(|it| put_message_request::Part::Chunk(Bytes::copy_from_slice(it)));
    let parts: Vec<_> = std::iter::once(options)
        .chain(chunks)
        .map(|part| PutMessageRequest { part: Some(part) })
        .collect();
    let put = client
        .put_message(futures::stream::iter(parts))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(put.size, data.len() as u64);
    let request = DeliverRequest {
        content: Some(deliver_request::Content::ContentId(put.content_id.clone())),
        recipients: vec![recipient(7), recipient(8)],
        ..Default::default()
    };
    assert!(
        client
            .deliver(request)
            .await
            .unwrap()
            .into_inner()
            .results
            .iter()
            .all(|it| it.uid == 1)
    );
    let request = ReadContentRequest {
        content_id: put.content_id,
        offset: put.size - 3,
        length: 100,
    };
    assert_eq!(
        client.read_content(request).await.unwrap().into_inner().data,
        data.slice(data.len() - 3..)
    );
}

#[tokio::test]
async fn too_large_a_message_is_refused() {
    let (_, mut client) = fresh();
    let parts = [
        put_message_request::Part::Options(PutMessageOptions { max_size: 10 }),
        put_message_request::Part::Chunk(Bytes::from_static(b"hello")),
        put_message_request::Part::Chunk(Bytes::from_static(b"world!")),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .map(|part| PutMessageRequest { part: Some(part) })
        .collect();
    let refused = client
        .put_message(futures::stream::iter(parts))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn appended_messages_come_together_or_not_at_all() {
    let (_, mut client) = fresh();
    let message = |body: &str| AppendMessage {
        content: Some(append_message::Content::Inline(letter("1@a", "s", "", body))),
        flags: SEEN,
        ..Default::default()
    };
    let drafts = folder(&mut client, 7, "Drafts").await.id;
    let request = AppendMessagesRequest {
        account: 7,
        folder: drafts,
        quota: 0,
        messages: vec![message("a"), message("b")],
    };
    let appended = client
        .append_messages(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(appended.uids, [1, 2]);
    let full = AppendMessagesRequest {
        quota: 400,
        ..request.clone()
    };
    assert_eq!(
        client.append_messages(full).await.unwrap_err().code(),
        Code::ResourceExhausted
    );
    let lost = AppendMessagesRequest {
        folder: 99,
        ..request
    };
    assert_eq!(
        client.append_messages(lost).await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(list(&mut client, 7, drafts).await.len(), 2);
}

#[tokio::test]
async fn flags_change_and_conditions_are_honoured() {
    let (_, mut client) = fresh();
    for _ in 0..3 {
        deliver(&mut client, 7, letter("1@a", "s", "", "b")).await;
    }
    let before = client
        .get_account(GetAccountRequest { account: 7 })
        .await
        .unwrap()
        .into_inner()
        .version;
    let stored = store(&mut client, 7, INBOX, uids(&[2, 9]), SEEN).await;
    assert_eq!(
        stored
            .messages
            .iter()
            .map(|it| (it.uid, it.flags))
            .collect::<Vec<_>>(),
        [(2, SEEN)]
    );
    assert_eq!(stored.version, before + 1);
    // Nothing changes: no commit, the message is still reported.
    let again = store(&mut client, 7, INBOX, uids(&[2]), SEEN).await;
    assert_eq!(
        (again.version, again.messages.len(), again.messages[0].modseq),
        (before + 1, 1, before + 1)
    );
    let request = StoreFlagsRequest {
        account: 7,
        folder: INBOX,
        uids: uids(&[1, 2]),
        operation: store_flags_request::Operation::Replace.into(),
        flags: DELETED,
        keywords: vec!["$Forwarded".into()],
        unchanged_since: Some(before),
    };
    let stored = client.store_flags(request).await.unwrap().into_inner();
    assert_eq!(members(&stored.modified), [2]);
    assert_eq!(stored.messages.iter().map(|it| it.uid).collect::<Vec<_>>(), [1]);
    let (_, inbox, index) = open(&mut client, 7, INBOX).await;
    assert_eq!(
        (
            inbox.unseen,
            inbox.deleted,
            index.with_flag(SystemFlag::Deleted).len()
        ),
        (2, 1, 1)
    );
    assert_eq!(inbox.highest_modseq, stored.version);
    assert_eq!(
        search(&mut client, 7, INBOX, Key::Keyword("$FORWARDED".into())).await,
        [1]
    );
}

#[tokio::test]
async fn copies_share_their_content_and_moves_are_one_commit() {
    let (_, mut client) = fresh();
    for body in ["a", "b", "c"] {
        deliver(&mut client, 7, letter(body, "s", "", body)).await;
    }
    let archive = folder(&mut client, 7, "Archive").await;
    let copy = CopyMessagesRequest {
        account: 7,
        folder: INBOX,
        uids: uids(&[1, 3]),
        destination: archive.id,
        ..Default::default()
    };
    let copied = client.copy_messages(copy.clone()).await.unwrap().into_inner();
    assert_eq!(
        (copied.source_uids, copied.destination_uids),
        (vec![1, 3], vec![1, 2])
    );
    assert_eq!(copied.uid_validity, archive.uid_validity);
    let (inbox, there) = (
        list(&mut client, 7, INBOX).await,
        list(&mut client, 7, archive.id).await,
    );
    assert_eq!(inbox[0].content_id, there[0].content_id);
    let account = client
        .get_account(GetAccountRequest { account: 7 })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(account.messages, 5);
    let full = CopyMessagesRequest {
        quota: account.used_bytes,
        ..copy.clone()
    };
    assert_eq!(
        client.copy_messages(full).await.unwrap_err().code(),
        Code::ResourceExhausted
    );
    let r#move = CopyMessagesRequest {
        r#move: true,
        quota: account.used_bytes,
        ..copy
    };
    let moved = client.copy_messages(r#move).await.unwrap().into_inner();
    assert_eq!(moved.destination_uids, [3, 4]);
    assert_eq!(list(&mut client, 7, INBOX).await.len(), 1);
    let commits = changes(&mut client, 7, account.version, 0).await.unwrap();
    assert_eq!(commits.len(), 1);
    let kinds: Vec<_> = commits[0]
        .changes
        .iter()
        .map(|it| (it.kind(), it.folder))
        .collect();
    assert_eq!(
        kinds,
        [(change::Kind::Removed, INBOX), (change::Kind::Added, archive.id)]
    );
}

#[tokio::test]
async fn content_lives_as_long_as_its_last_row() {
    let (engine, mut client) = fresh();
    deliver(&mut client, 7, letter("1@a", "s", "", "b")).await;
    let archive = folder(&mut client, 7, "Archive").await.id;
    let copy = CopyMessagesRequest {
        account: 7,
        folder: INBOX,
        uids: uids(&[1]),
        destination: archive,
        ..Default::default()
    };
    client.copy_messages(copy).await.unwrap();
    let content = ContentId::from_slice(&list(&mut client, 7, INBOX).await[0].content_id).unwrap();
    let expunge = |folder| ExpungeMessagesRequest {
        account: 7,
        folder,
        uids: Bytes::new(),
        force: true,
    };
    client.expunge_messages(expunge(INBOX)).await.unwrap();
    while engine.sweep(u64::MAX / 4).await.unwrap().more {}
    assert!(engine.length(content).await.unwrap().is_some());
    client.expunge_messages(expunge(archive)).await.unwrap();
    while engine.sweep(u64::MAX / 4).await.unwrap().more {}
    assert!(engine.length(content).await.unwrap().is_none());
}

#[tokio::test]
async fn expunge_takes_what_is_deleted_unless_forced() {
    let (_, mut client) = fresh();
    for _ in 0..4 {
        deliver(&mut client, 7, letter("1@a", "s", "", "b")).await;
    }
    store(&mut client, 7, INBOX, uids(&[1, 3]), DELETED).await;
    let expunge = |some: Bytes, force| ExpungeMessagesRequest {
        account: 7,
        folder: INBOX,
        uids: some,
        force,
    };
    let gone = client
        .expunge_messages(expunge(uids(&[2, 3]), false))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(members(&gone.expunged), [3]);
    let gone = client
        .expunge_messages(expunge(uids(&[2]), true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(members(&gone.expunged), [2]);
    let gone = client
        .expunge_messages(expunge(Bytes::new(), false))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(members(&gone.expunged), [1]);
    let (_, inbox, index) = open(&mut client, 7, INBOX).await;
    assert_eq!(
        (inbox.messages, inbox.deleted, inbox.uid_next, index.len()),
        (1, 0, 5, 1)
    );
}

#[tokio::test]
async fn folders_are_made_renamed_and_removed() {
    let (_, mut client) = fresh();
    let create = |name: &str| CreateFolderRequest {
        account: 7,
        name: name.into(),
        role: String::new(),
    };
    let made = client
        .create_folder(create("a/b/c"))
        .await
        .unwrap()
        .into_inner()
        .folder
        .unwrap();
    assert_eq!(
        client.create_folder(create("a/b")).await.unwrap_err().code(),
        Code::AlreadyExists
    );
    assert_eq!(
        client.create_folder(create("inbox")).await.unwrap_err().code(),
        Code::AlreadyExists
    );
    assert_eq!(
        client.create_folder(create("a//b")).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let taken = CreateFolderRequest {
        role: "sent".into(),
        ..create("x")
    };
    assert_eq!(
        client.create_folder(taken).await.unwrap_err().code(),
        Code::AlreadyExists
    );
    let rename = |from: &str, to: &str| RenameFolderRequest {
        account: 7,
        from: from.into(),
        to: to.into(),
    };
    client.rename_folder(rename("a/b", "x/y")).await.unwrap();
    assert_eq!(folder(&mut client, 7, "x/y/c").await.id, made.id);
    assert_eq!(
        client
            .rename_folder(rename("x", "x/y/z"))
            .await
            .unwrap_err()
            .code(),
        Code::InvalidArgument
    );
    assert_eq!(
        client
            .rename_folder(rename("x", "Sent"))
            .await
            .unwrap_err()
            .code(),
        Code::AlreadyExists
    );
    assert_eq!(
        client.rename_folder(rename("nix", "y")).await.unwrap_err().code(),
        Code::NotFound
    );
    let delete = |name: &str| DeleteFolderRequest {
        account: 7,
        name: name.into(),
    };
    assert_eq!(
        client.delete_folder(delete("x")).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    assert_eq!(
        client.delete_folder(delete("INBOX")).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    client.delete_folder(delete("x/y/c")).await.unwrap();
    assert_eq!(
        client.delete_folder(delete("x/y/c")).await.unwrap_err().code(),
        Code::NotFound
    );
    let again = client
        .create_folder(create("x/y/c"))
        .await
        .unwrap()
        .into_inner()
        .folder
        .unwrap();
    assert!(again.id > made.id && again.uid_validity > made.uid_validity);
    let names: Vec<_> = folders(&mut client, 7)
        .await
        .into_iter()
        .map(|it| it.name)
        .collect();
    assert_eq!(
        names,
        [
            "Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash", "a", "x", "x/y", "x/y/c"
        ]
    );
}

#[tokio::test]
async fn renaming_inbox_leaves_it_empty() {
    let (_, mut client) = fresh();
    for _ in 0..3 {
        deliver(&mut client, 7, letter("1@a", "s", "", "b")).await;
    }
    let rename = RenameFolderRequest {
        account: 7,
        from: "inbox".into(),
        to: "old/mail".into(),
    };
    client.rename_folder(rename).await.unwrap();
    assert_eq!(folder(&mut client, 7, "INBOX").await.messages, 0);
    let old = folder(&mut client, 7, "old/mail").await;
    assert_eq!((old.messages, list(&mut client, 7, old.id).await.len()), (3, 3));
    assert_eq!(deliver(&mut client, 7, letter("1@a", "s", "", "b")).await, 4);
}

#[tokio::test]
async fn a_subscription_outlives_its_folder() {
    let (_, mut client) = fresh();
    let subscribe = |name: &str, subscribed| SetSubscriptionRequest {
        account: 7,
        name: name.into(),
        subscribed,
    };
    client.set_subscription(subscribe("news", true)).await.unwrap();
    let news = folder(&mut client, 7, "news").await;
    assert_eq!((news.exists, news.subscribed, news.id), (false, true, 0));
    let create = CreateFolderRequest {
        account: 7,
        name: "news".into(),
        role: String::new(),
    };
    assert!(
        client
            .create_folder(create)
            .await
            .unwrap()
            .into_inner()
            .folder
            .unwrap()
            .subscribed
    );
    client
        .delete_folder(DeleteFolderRequest {
            account: 7,
            name: "news".into(),
        })
        .await
        .unwrap();
    let news = folder(&mut client, 7, "news").await;
    assert_eq!((news.exists, news.subscribed), (false, true));
    client.set_subscription(subscribe("news", false)).await.unwrap();
    assert!(folders(&mut client, 7).await.iter().all(|it| it.name != "news"));
    let none = client
        .set_subscription(subscribe("news", false))
        .await
        .unwrap_err();
    assert_eq!(none.code(), Code::NotFound);
}

#[tokio::test]
async fn an_unchanged_folder_is_not_sent_again() {
    let (_, mut client) = fresh();
    deliver(&mut client, 7, letter("1@a", "s", "", "b")).await;
    let (version, _, _) = open(&mut client, 7, INBOX).await;
    let known = |known_version| OpenFolderRequest {
        account: 7,
        folder: Some(open_folder_request::Folder::Name("inbox".into())),
        known_version,
    };
    let archive = folder(&mut client, 7, "Archive").await.id;
    let copy = CopyMessagesRequest {
        account: 7,
        folder: INBOX,
        uids: uids(&[1]),
        destination: archive,
        ..Default::default()
    };
    client.copy_messages(copy).await.unwrap();
    let opened = client.open_folder(known(version)).await.unwrap().into_inner();
    assert_eq!((opened.version, opened.index.len()), (version + 1, 0));
    deliver(&mut client, 7, letter("1@a", "s", "", "b")).await;
    assert!(
        !client
            .open_folder(known(version))
            .await
            .unwrap()
            .into_inner()
            .index
            .is_empty()
    );
}

#[tokio::test]
async fn changes_tell_only_what_is_asked() {
    let (_, mut client) = fresh();
    deliver(&mut client, 7, letter("1@a", "s", "", "b")).await;
    let (version, _, _) = open(&mut client, 7, INBOX).await;
    deliver(&mut client, 7, letter("1@a", "s", "", "b")).await;
    client
        .create_folder(CreateFolderRequest {
            account: 7,
            name: "x".into(),
            role: String::new(),
        })
        .await
        .unwrap();
    let inbox = changes(&mut client, 7, version, INBOX).await.unwrap();
    // The delivery, and an empty one that says how far the account is.
    assert_eq!(
        inbox
            .iter()
            .map(|it| (it.version, it.changes.len()))
            .collect::<Vec<_>>(),
        [(version + 1, 1), (version + 2, 0)]
    );
    assert_eq!(inbox[0].changes[0].messages[0].uid, 2);
    assert_eq!(changes(&mut client, 7, version, 0).await.unwrap().len(), 2);
    assert_eq!(changes(&mut client, 7, version + 2, 0).await.unwrap().len(), 0);
    assert_eq!(changes(&mut client, 7, version + 3, 0).await, None);
    let changed = rows(
        &mut client,
        ListMessagesRequest {
            account: 7,
            folder: INBOX,
            changed_since: version,
            ..Default::default()
        },
    )
    .await;
    assert_eq!(changed.iter().map(|it| it.uid).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn large_operations_are_sequences_of_whole_commits() {
    let (_, mut client) = fresh();
    let message = AppendMessage {
        content: Some(append_message::Content::Inline(letter("1@a", "s", "", "b"))),
        ..Default::default()
    };
    let append = AppendMessagesRequest {
        account: 7,
        folder: INBOX,
        quota: 0,
        messages: vec![message; 1000],
    };
    for _ in 0..2 {
        client.append_messages(append.clone()).await.unwrap();
    }
    let archive = folder(&mut client, 7, "Archive").await.id;
    let all: Vec<u32> = (1..=3000).collect();
    let before = client
        .get_account(GetAccountRequest { account: 7 })
        .await
        .unwrap()
        .into_inner()
        .version;
    let copy = CopyMessagesRequest {
        account: 7,
        folder: INBOX,
        uids: uids(&all),
        destination: archive,
        r#move: true,
        quota: 0,
    };
    let copied = client.copy_messages(copy).await.unwrap().into_inner();
    assert_eq!((copied.source_uids.len(), copied.version), (2000, before + 2));
    assert_eq!(copied.source_uids, copied.destination_uids);
    assert_eq!(folder(&mut client, 7, "INBOX").await.messages, 0);
    client
        .delete_folder(DeleteFolderRequest {
            account: 7,
            name: "Archive".into(),
        })
        .await
        .unwrap();
    let account = client
        .get_account(GetAccountRequest { account: 7 })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((account.used_bytes, account.messages), (0, 0));
}

#[tokio::test]
async fn a_removed_account_begins_anew() {
    let (_, mut client) = fresh();
    deliver(&mut client, 7, letter("1@a", "s", "", "b")).await;
    client
        .remove_account(RemoveAccountRequest { account: 7 })
        .await
        .unwrap();
    client
        .remove_account(RemoveAccountRequest { account: 7 })
        .await
        .unwrap();
    let account = client
        .get_account(GetAccountRequest { account: 7 })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((account.version, account.messages), (1, 0));
}

#[tokio::test]
async fn nonsense_is_refused() {
    let (_, mut client) = fresh();
    let code = |status: tonic::Status| status.code();
    assert_eq!(
        code(
            client
                .get_account(GetAccountRequest { account: 1 << 63 })
                .await
                .unwrap_err()
        ),
        Code::InvalidArgument
    );
    assert_eq!(
        code(client.deliver(DeliverRequest::default()).await.unwrap_err()),
        Code::InvalidArgument
    );
    let none = delivery(letter("1@a", "s", "", "b"), Vec::new());
    assert_eq!(
        code(client.deliver(none).await.unwrap_err()),
        Code::InvalidArgument
    );
    let unnamed = delivery(
        letter("1@a", "s", "", "b"),
        vec![DeliverRecipient {
            account: 7,
            ..Default::default()
        }],
    );
    assert_eq!(
        code(client.deliver(unnamed).await.unwrap_err()),
        Code::InvalidArgument
    );
    let junk = CopyMessagesRequest {
        account: 7,
        folder: 1,
        uids: Bytes::from_static(b"junk"),
        destination: 2,
        ..Default::default()
    };
    assert_eq!(
        code(client.copy_messages(junk).await.unwrap_err()),
        Code::InvalidArgument
    );
    let missing = ReadContentRequest {
        content_id: Bytes::from_static(&[0; 16]),
        ..Default::default()
    };
    assert_eq!(
        code(client.read_content(missing).await.unwrap_err()),
        Code::NotFound
    );
    let nothing = SearchMessagesRequest {
        account: 7,
        folder: 1,
        key: Some(SearchKey { key: None }),
    };
    assert_eq!(
        code(client.search_messages(nothing).await.unwrap_err()),
        Code::InvalidArgument
    );
    let mut deep = SearchKey {
        key: Some(Key::All(true)),
    };
    for _ in 0..60 {
        deep = SearchKey {
            key: Some(Key::Not(Box::new(deep))),
        };
    }
    let deep = SearchMessagesRequest {
        account: 7,
        folder: 1,
        key: Some(deep),
    };
    assert_eq!(
        code(client.search_messages(deep).await.unwrap_err()),
        Code::InvalidArgument
    );
}

/// A sender can make descriptions large, and a user can make changes large: no answer may outgrow the transport.
#[tokio::test]
async fn large_rows_come_in_more_answers() {
    let (_, mut client) = fresh();
    let to: Vec<String> = (0..1000)
        .map(|at| format!("somebody-with-a-long-name-{at}@hamburger.edu"))
        .collect();
    let letter = Bytes::from(format!("Subject: s\r\nTo: {}\r\n\r\nbody\r\n", to.join(",\r\n ")));
    for _ in 0..100 {
        deliver(&mut client, 7, letter.clone()).await;
    }
    let request = ListMessagesRequest {
        account: 7,
        folder: INBOX,
        with_description: true,
        ..Default::default()
    };
    let listed = rows(&mut client, request).await;
    assert_eq!(
        listed.iter().map(|row| row.uid).collect::<Vec<_>>(),
        Vec::from_iter(1..=100)
    );
    let bytes: usize = listed.iter().map(|row| row.description.len()).sum();
    assert!(bytes > postrider_proto::MAX_MESSAGE_BYTES, "{bytes} bytes");

    let keywords: Vec<String> = (0..64).map(|at| format!("{at:0>200}")).collect();
    for flags in [SEEN, DELETED, SEEN, DELETED, SEEN] {
        let request = StoreFlagsRequest {
            account: 7,
            folder: INBOX,
            uids: uids(&Vec::from_iter(1..=100)),
            operation: store_flags_request::Operation::Replace.into(),
            flags,
            keywords: keywords.clone(),
            ..Default::default()
        };
        client.store_flags(request).await.unwrap();
    }
    let commits = changes(&mut client, 7, 1, 0).await.unwrap();
    assert_eq!(
        commits.iter().map(|commit| commit.version).collect::<Vec<_>>(),
        Vec::from_iter(2..=105)
    );
}

/// Whoever opens a folder keeps its index: it must be small however it came to be.
#[tokio::test]
async fn an_index_that_grew_in_memory_is_sent_in_its_smallest_form() {
    let (_, mut client) = fresh();
    deliver(&mut client, 7, letter("1@a", "s", "", "b")).await;
    let mut messages = 1;
    while messages < 8192 {
        let (_, folder, _) = open(&mut client, 7, INBOX).await;
        assert_eq!(folder.messages, messages);
        let copy = CopyMessagesRequest {
            account: 7,
            folder: INBOX,
            uids: uids(&Vec::from_iter(1..=messages)),
            destination: INBOX,
            ..Default::default()
        };
        client.copy_messages(copy).await.unwrap();
        messages *= 2;
    }
    let request = OpenFolderRequest {
        account: 7,
        folder: Some(open_folder_request::Folder::Id(INBOX)),
        known_version: 0,
    };
    let opened = client.open_folder(request).await.unwrap().into_inner();
    assert!(opened.index.len() < 200, "{} bytes", opened.index.len());
}

/// Whoever opens a folder follows the changes since its index was saved: they must stay few, however large each is.
#[tokio::test]
async fn large_commits_have_the_index_saved_soon() {
    let (engine, mut client) = fresh();
    open(&mut client, 7, INBOX).await;
    let message = AppendMessage {
        content: Some(append_message::Content::Inline(letter("1@a", "s", "", "b"))),
        ..Default::default()
    };
    for _ in 0..20 {
        let append = AppendMessagesRequest {
            account: 7,
            folder: INBOX,
            quota: 0,
            messages: vec![message.clone(); 1000],
        };
        client.append_messages(append).await.unwrap();
    }
    let saved = async || {
        let saved = AccountEngine::snapshot(&engine, AccountId::new(7), FolderId(INBOX)).await;
        saved
            .unwrap()
            .map(|row| FolderIndex::from_bytes(&row.data).unwrap().len())
    };
    for _ in 0..100 {
        if saved().await.is_some_and(|messages| messages >= 10_000) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{:?} messages of 20,000 are in the saved index", saved().await);
}
