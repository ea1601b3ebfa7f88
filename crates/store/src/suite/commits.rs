//! Cases about commits: atomic, one winner, nothing half done.

use bytes::Bytes;
use postrider_types::{AccountId, CommitId, ContentId, Flags, FolderId, Uid, Version};

use super::{Engine, commit, delivery, folder, head, keywords, later, message, must, sweep_all};
use crate::Error;
use crate::account::{
    Change, ChangeRow, DescriptionRow, FlagState, MessageRow, Outcome, Reference, Rows, SnapshotRow,
};

const ACCOUNT: AccountId = AccountId::new(7);
const ALL: std::ops::RangeInclusive<Uid> = Uid(0)..=Uid(u32::MAX);

pub async fn a_missing_account_is_at_version_zero_without_rows(engine: &dyn Engine) {
    let id = ContentId::generate();
    assert_eq!(engine.head(ACCOUNT).await.unwrap(), None);
    assert_eq!(engine.folders(ACCOUNT).await.unwrap(), None);
    assert_eq!(
        engine.messages(ACCOUNT, FolderId::INBOX, ALL, 10).await.unwrap(),
        []
    );
    assert_eq!(
        engine
            .described_messages(ACCOUNT, FolderId::INBOX, ALL, 10, 1)
            .await
            .unwrap(),
        []
    );
    assert_eq!(
        engine
            .messages_by_uid(ACCOUNT, FolderId::INBOX, &[Uid(1)])
            .await
            .unwrap(),
        []
    );
    assert_eq!(engine.places(ACCOUNT, &[id]).await.unwrap(), []);
    assert_eq!(engine.description(ACCOUNT, id).await.unwrap(), None);
    assert_eq!(engine.changes(ACCOUNT, Version(0), 10).await.unwrap(), []);
    assert_eq!(engine.references(ACCOUNT, &[1]).await.unwrap(), []);
    assert_eq!(engine.receipts(ACCOUNT, &[Default::default()]).await.unwrap(), []);
    assert_eq!(engine.snapshot(ACCOUNT, FolderId::INBOX).await.unwrap(), None);
    let late = commit(ACCOUNT, Version(1), Rows::default());
    assert_eq!(engine.commit(late).await.unwrap(), Outcome::Conflict);
}

pub async fn a_commit_is_all_of_its_rows(engine: &dyn Engine) {
    let sent = delivery(ACCOUNT, Version(0), b"Do you like ketchup?");
    let rows = sent.rows.clone();
    must(engine, sent.clone()).await;
    let (content, thread) = (rows.put_messages[0].content, rows.put_messages[0].thread);
    assert_eq!(engine.head(ACCOUNT).await.unwrap(), Some(sent.head.clone()));
    assert_eq!(
        engine.folders(ACCOUNT).await.unwrap(),
        Some((sent.head, rows.put_folders))
    );
    assert_eq!(
        engine.messages(ACCOUNT, FolderId::INBOX, ALL, 10).await.unwrap(),
        rows.put_messages
    );
    assert_eq!(
        engine.places(ACCOUNT, &[content]).await.unwrap(),
        [(content, FolderId::INBOX, Uid(1))]
    );
    assert_eq!(
        engine.description(ACCOUNT, content).await.unwrap(),
        Some(rows.put_descriptions[0].data.clone())
    );
    assert_eq!(
        engine.changes(ACCOUNT, Version(0), 10).await.unwrap(),
        [sent.change]
    );
    let hash = rows.put_references[0].hash;
    assert_eq!(
        engine.references(ACCOUNT, &[hash]).await.unwrap(),
        [Reference { hash, thread }]
    );
    let receipt = rows.put_receipts[0];
    assert_eq!(
        engine.receipts(ACCOUNT, &[receipt.delivery]).await.unwrap(),
        [receipt]
    );
    assert_eq!(
        engine.read(content, 0, 100).await.unwrap(),
        "Do you like ketchup?"
    );
}

pub async fn a_conflict_does_nothing(engine: &dyn Engine) {
    let first = delivery(ACCOUNT, Version(0), b"first");
    must(engine, first.clone()).await;
    for expected in [Version(0), Version(2)] {
        let mut lost = delivery(ACCOUNT, expected, b"lost");
        lost.rows.delete_messages = vec![(FolderId::INBOX, Uid(1))];
        lost.rows.drop_descriptions = vec![first.contents[0].0];
        let content = lost.contents[0].0;
        assert_eq!(engine.commit(lost).await.unwrap(), Outcome::Conflict);
        assert_eq!(engine.description(ACCOUNT, content).await.unwrap(), None);
    }
    assert_eq!(engine.head(ACCOUNT).await.unwrap(), Some(first.head));
    assert_eq!(
        engine.messages(ACCOUNT, FolderId::INBOX, ALL, 10).await.unwrap(),
        first.rows.put_messages
    );
    assert_eq!(
        engine.changes(ACCOUNT, Version(0), 10).await.unwrap(),
        [first.change]
    );
    sweep_all(engine, later()).await;
    assert_eq!(engine.read(first.contents[0].0, 0, 10).await.unwrap(), "first");
}

pub async fn the_head_tells_which_commit_was_last(engine: &dyn Engine) {
    for version in 0..5 {
        let next = delivery(ACCOUNT, Version(version), b"x");
        let id = next.head.last_commit;
        must(engine, next).await;
        let head = engine.head(ACCOUNT).await.unwrap().unwrap();
        assert_eq!((head.version, head.last_commit), (Version(version + 1), id));
    }
}

pub async fn malformed_commits_are_refused(engine: &dyn Engine) {
    let good = delivery(ACCOUNT, Version(0), b"x");
    let mut bad = [good.clone(), good.clone(), good.clone()];
    bad[0].head.version = Version(2);
    bad[1].change.version = Version(0);
    bad[2].rows.put_descriptions.clear();
    for bad in bad {
        assert!(matches!(engine.commit(bad).await, Err(Error::Invalid(_))));
    }
    assert_eq!(engine.head(ACCOUNT).await.unwrap(), None);
}

pub async fn a_row_never_refers_to_content_that_is_not_there(engine: &dyn Engine) {
    must(engine, delivery(ACCOUNT, Version(0), b"x")).await;
    let mut dangling = delivery(ACCOUNT, Version(1), b"y");
    dangling.contents.clear();
    let content = dangling.rows.put_descriptions[0].content;
    assert!(matches!(
        engine.commit(dangling.clone()).await,
        Err(Error::NotFound(_))
    ));
    assert_eq!(engine.head(ACCOUNT).await.unwrap().unwrap().version, Version(1));
    assert_eq!(engine.places(ACCOUNT, &[content]).await.unwrap(), []);
    assert_eq!(engine.changes(ACCOUNT, Version(1), 10).await.unwrap(), []);
    // Once the content is there, the same commit is good.
    engine.put(content, Bytes::from_static(b"y")).await.unwrap();
    must(engine, dangling).await;
}

pub async fn putting_a_row_replaces_it(engine: &dyn Engine) {
    let first = delivery(ACCOUNT, Version(0), b"x");
    let content = first.contents[0].0;
    must(engine, first).await;
    let mut archive = folder(FolderId::INBOX, "Archive/2026 “ö”", Version(2));
    (archive.subscribed, archive.exists, archive.keywords) = (false, false, Vec::new());
    let row = message(FolderId::INBOX, Uid(1), Version(2));
    let rows = Rows {
        put_folders: vec![archive.clone()],
        put_messages: vec![row.clone()],
        put_descriptions: vec![DescriptionRow {
            content,
            data: Bytes::from_static(b"new"),
        }],
        ..Rows::default()
    };
    must(engine, commit(ACCOUNT, Version(1), rows)).await;
    assert_eq!(engine.folders(ACCOUNT).await.unwrap().unwrap().1, [archive]);
    assert_eq!(
        engine.messages(ACCOUNT, FolderId::INBOX, ALL, 10).await.unwrap(),
        std::slice::from_ref(&row)
    );
    assert_eq!(engine.places(ACCOUNT, &[content]).await.unwrap(), []);
    assert_eq!(engine.places(ACCOUNT, &[row.content]).await.unwrap().len(), 1);
    assert_eq!(
        engine.description(ACCOUNT, content).await.unwrap().unwrap(),
        "new"
    );
}

pub async fn what_is_known_is_not_put_again(engine: &dyn Engine) {
    let first = delivery(ACCOUNT, Version(0), b"x");
    let (receipt, reference) = (first.rows.put_receipts[0], first.rows.put_references[0]);
    must(engine, first.clone()).await;
    for (receipts, references) in [(vec![receipt], vec![]), (vec![], vec![reference])] {
        let mut again = delivery(ACCOUNT, Version(1), b"y");
        again.rows.put_receipts.extend(receipts);
        again.rows.put_references.extend(references);
        let content = again.contents[0].0;
        assert_eq!(engine.commit(again).await.unwrap(), Outcome::Known);
        assert_eq!(engine.description(ACCOUNT, content).await.unwrap(), None);
    }
    assert_eq!(engine.head(ACCOUNT).await.unwrap(), Some(first.head));
    let (delivery_id, hash) = (receipt.delivery, reference.hash);
    let found = engine
        .arrivals(ACCOUNT, &[delivery_id, Default::default()], &[hash, hash ^ 1])
        .await
        .unwrap();
    assert_eq!(found, (vec![receipt], vec![reference]));
    // It is the account that knows.
    let other = AccountId::new(8);
    let mut same = delivery(other, Version(0), b"z");
    (same.rows.put_receipts, same.rows.put_references) = (vec![receipt], vec![reference]);
    must(engine, same).await;
}

pub async fn an_expired_receipt_is_replaced(engine: &dyn Engine) {
    let mut old = delivery(ACCOUNT, Version(0), b"x");
    old.rows.put_receipts[0].expires = 1;
    let mut new = delivery(ACCOUNT, Version(1), b"y");
    new.rows.put_receipts[0].delivery = old.rows.put_receipts[0].delivery;
    let receipt = new.rows.put_receipts[0];
    must(engine, old).await;
    must(engine, new).await;
    assert_eq!(
        engine.receipts(ACCOUNT, &[receipt.delivery]).await.unwrap(),
        [receipt]
    );
}

pub async fn updates_change_flags_keywords_and_modseq_only(engine: &dyn Engine) {
    let first = delivery(ACCOUNT, Version(0), b"x");
    let before = first.rows.put_messages[0].clone();
    must(engine, first).await;
    let state = FlagState {
        uid: Uid(1),
        flags: Flags::from_bits(31),
        keywords: keywords(&["$MDNSent", "a", "b"]),
    };
    let rows = Rows {
        update_messages: vec![(FolderId::INBOX, state.clone())],
        ..Rows::default()
    };
    let mut update = commit(ACCOUNT, Version(1), rows);
    update.change.changes = vec![
        Change::Flags(FolderId::INBOX, vec![state.clone()]),
        Change::Removed(FolderId(8), vec![Uid(3), Uid(u32::MAX)]),
        Change::Folder(FolderId(u32::MAX)),
        Change::FolderRemoved(FolderId(4)),
    ];
    must(engine, update.clone()).await;
    let after = MessageRow {
        flags: state.flags,
        keywords: state.keywords,
        modseq: Version(2),
        ..before
    };
    assert_eq!(
        engine.messages(ACCOUNT, FolderId::INBOX, ALL, 10).await.unwrap(),
        [after]
    );
    assert_eq!(
        engine.changes(ACCOUNT, Version(1), 10).await.unwrap(),
        [update.change]
    );
}

pub async fn deleted_rows_are_gone(engine: &dyn Engine) {
    let first = delivery(ACCOUNT, Version(0), b"x");
    let content = first.contents[0].0;
    must(engine, first).await;
    let snapshot = SnapshotRow {
        folder: FolderId::INBOX,
        version: Version(1),
        data: Bytes::from_static(b"index"),
    };
    engine.put_snapshot(ACCOUNT, snapshot).await.unwrap();
    let rows = Rows {
        delete_folders: vec![FolderId::INBOX],
        delete_messages: vec![(FolderId::INBOX, Uid(1)), (FolderId::INBOX, Uid(2))],
        drop_descriptions: vec![content],
        ..Rows::default()
    };
    must(engine, commit(ACCOUNT, Version(1), rows)).await;
    assert_eq!(engine.folders(ACCOUNT).await.unwrap().unwrap().1, []);
    assert_eq!(
        engine.messages(ACCOUNT, FolderId::INBOX, ALL, 10).await.unwrap(),
        []
    );
    assert_eq!(engine.places(ACCOUNT, &[content]).await.unwrap(), []);
    assert_eq!(engine.description(ACCOUNT, content).await.unwrap(), None);
    assert_eq!(sweep_all(engine, later()).await, 1);
    assert_eq!(engine.length(content).await.unwrap(), None);
}

pub async fn a_move_is_one_commit(engine: &dyn Engine) {
    let first = delivery(ACCOUNT, Version(0), b"x");
    let row = first.rows.put_messages[0].clone();
    must(engine, first).await;
    let moved = MessageRow {
        folder: FolderId(2),
        uid: Uid(9),
        modseq: Version(2),
        ..row.clone()
    };
    let rows = Rows {
        put_folders: vec![folder(FolderId(2), "Trash", Version(2))],
        put_messages: vec![moved.clone()],
        delete_messages: vec![(FolderId::INBOX, Uid(1))],
        ..Rows::default()
    };
    must(engine, commit(ACCOUNT, Version(1), rows)).await;
    assert_eq!(
        engine.messages(ACCOUNT, FolderId::INBOX, ALL, 10).await.unwrap(),
        []
    );
    assert_eq!(
        engine.messages(ACCOUNT, FolderId(2), ALL, 10).await.unwrap(),
        [moved]
    );
    assert_eq!(
        engine.places(ACCOUNT, &[row.content]).await.unwrap(),
        [(row.content, FolderId(2), Uid(9))]
    );
    let described = engine
        .described_messages(ACCOUNT, FolderId(2), ALL, 10, 1)
        .await
        .unwrap();
    assert!(!described[0].1.is_empty());
    assert_eq!(sweep_all(engine, later()).await, 0);
}

pub async fn accounts_are_apart(engine: &dyn Engine) {
    let accounts = [AccountId::new(0), AccountId::new(1), AccountId::new(u64::MAX)];
    let mut sent = Vec::new();
    for account in accounts {
        let commit = delivery(account, Version(0), account.to_string().as_bytes());
        must(engine, commit.clone()).await;
        sent.push(commit);
    }
    for commit in &sent {
        let rows = engine
            .messages(commit.account, FolderId::INBOX, ALL, 10)
            .await
            .unwrap();
        assert_eq!(rows, commit.rows.put_messages);
        let other = sent.iter().find(|other| other.account != commit.account).unwrap();
        assert_eq!(
            engine
                .description(commit.account, other.contents[0].0)
                .await
                .unwrap(),
            None
        );
        assert_eq!(
            engine
                .receipts(commit.account, &[other.rows.put_receipts[0].delivery])
                .await
                .unwrap(),
            []
        );
    }
}

pub async fn removed_accounts_leave_nothing(engine: &dyn Engine) {
    let other = delivery(AccountId::new(8), Version(0), b"other");
    must(engine, other.clone()).await;
    let mut contents = Vec::new();
    let mut receipts = Vec::new();
    for version in 0..3 {
        let commit = delivery(ACCOUNT, Version(version), b"x");
        contents.push(commit.contents[0].0);
        receipts.push(commit.rows.put_receipts[0].delivery);
        must(engine, commit).await;
    }
    // A content that both hold stays with the other.
    let shared = Rows {
        put_descriptions: vec![DescriptionRow {
            content: other.contents[0].0,
            data: Bytes::new(),
        }],
        ..Rows::default()
    };
    must(engine, commit(ACCOUNT, Version(3), shared)).await;
    for _ in 0..2 {
        engine.remove(ACCOUNT).await.unwrap();
        assert_eq!(engine.head(ACCOUNT).await.unwrap(), None);
        assert_eq!(
            engine.messages(ACCOUNT, FolderId::INBOX, ALL, 10).await.unwrap(),
            []
        );
        assert_eq!(engine.changes(ACCOUNT, Version(0), 10).await.unwrap(), []);
        assert_eq!(engine.receipts(ACCOUNT, &receipts).await.unwrap(), []);
        assert_eq!(engine.description(ACCOUNT, contents[0]).await.unwrap(), None);
    }
    assert_eq!(sweep_all(engine, later()).await, 3);
    assert_eq!(engine.head(other.account).await.unwrap(), Some(other.head));
    assert_eq!(engine.read(other.contents[0].0, 0, 9).await.unwrap(), "other");
    must(engine, delivery(ACCOUNT, Version(0), b"again")).await;
}

pub async fn expiry_drops_old_changes_from_the_front_only(engine: &dyn Engine) {
    // The clock went back once: what is behind a young row stays, so that the log has no hole.
    for (version, time) in (1..).zip([10, 20, 90, 15, 95]) {
        let mut next = commit(ACCOUNT, Version(version - 1), Rows::default());
        next.head = crate::account::Head {
            last_commit: CommitId::generate(),
            ..head(Version(version))
        };
        next.change = ChangeRow {
            version: Version(version),
            time,
            changes: Vec::new(),
        };
        must(engine, next).await;
    }
    for _ in 0..100 {
        if !engine.expire(50, 0).await.unwrap() {
            break;
        }
    }
    let left: Vec<u64> = engine
        .changes(ACCOUNT, Version(0), 10)
        .await
        .unwrap()
        .iter()
        .map(|row| row.version.0)
        .collect();
    // An engine whose rows expire by themselves keeps them here: their time to live has not come.
    assert!(left == [3, 4, 5] || left == [1, 2, 3, 4, 5], "{left:?}");
    assert_eq!(engine.head(ACCOUNT).await.unwrap().unwrap().version, Version(5));
}
