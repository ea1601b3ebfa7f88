//! Cases about reads: ranges, pages, keys.

use bytes::Bytes;
use postrider_types::{AccountId, ContentId, DeliveryId, FolderId, ThreadId, Uid, Version};

use super::{Engine, commit, delivery, message, must};
use crate::account::{DescriptionRow, MessageRow, Receipt, Reference, Rows, SnapshotRow};
use crate::{Error, unix_millis};

const ACCOUNT: AccountId = AccountId::new(11);

fn uids(rows: &[MessageRow]) -> Vec<u32> {
    rows.iter().map(|row| row.uid.0).collect()
}

/// An account with messages of these UIDs in folder 2, and one in the folders beside it.
async fn filled(engine: &dyn Engine, uids: &[u32]) -> Vec<MessageRow> {
    let mut rows: Vec<MessageRow> = uids
        .iter()
        .map(|uid| message(FolderId(2), Uid(*uid), Version(1)))
        .collect();
    rows.push(message(FolderId(1), Uid(3), Version(1)));
    rows.push(message(FolderId(3), Uid(3), Version(1)));
    let put = Rows {
        put_messages: rows.clone(),
        ..Rows::default()
    };
    must(engine, commit(ACCOUNT, Version(0), put)).await;
    rows
}

pub async fn ranges_are_inclusive_and_paged(engine: &dyn Engine) {
    filled(engine, &[u32::MAX, 5, 1, 9, 7]).await;
    let read = async |from, to, limit| {
        let range = Uid(from)..=Uid(to);
        uids(&engine.messages(ACCOUNT, FolderId(2), range, limit).await.unwrap())
    };
    assert_eq!(read(0, u32::MAX, 100).await, [1, 5, 7, 9, u32::MAX]);
    assert_eq!(read(5, 9, 100).await, [5, 7, 9]);
    assert_eq!(read(6, 6, 100).await, [0; 0]);
    assert_eq!(read(9, 5, 100).await, [0; 0]);
    assert_eq!(read(1, u32::MAX, 2).await, [1, 5]);
    assert_eq!(read(6, u32::MAX, 2).await, [7, 9]);
    assert_eq!(read(10, u32::MAX, 2).await, [u32::MAX]);
    for (first, last, limit) in [(0, u32::MAX, 100), (5, 9, 2), (9, 5, 100)] {
        let range = Uid(first)..=Uid(last);
        let rows = engine
            .messages(ACCOUNT, FolderId(2), range.clone(), limit)
            .await
            .unwrap();
        let sizes = engine.sizes(ACCOUNT, FolderId(2), range, limit).await.unwrap();
        assert_eq!(
            sizes,
            rows.iter().map(|row| (row.uid, row.size)).collect::<Vec<_>>()
        );
    }
}

pub async fn described_messages_carry_their_descriptions(engine: &dyn Engine) {
    let rows = filled(engine, &[1, 2, 3]).await;
    let description = |row: &MessageRow| DescriptionRow {
        content: row.content,
        data: Bytes::from(format!("description of {}", row.uid)),
    };
    let put = Rows {
        put_descriptions: rows[..2].iter().map(description).collect(),
        ..Rows::default()
    };
    for row in &put.put_descriptions {
        engine
            .put(row.content, Bytes::from_static(b"body"))
            .await
            .unwrap();
    }
    must(engine, commit(ACCOUNT, Version(1), put)).await;
    let read = engine
        .described_messages(ACCOUNT, FolderId(2), Uid(2)..=Uid(9), 9, usize::MAX)
        .await
        .unwrap();
    assert_eq!(
        read,
        [
            (rows[1].clone(), Bytes::from("description of 2")),
            (rows[2].clone(), Bytes::new())
        ]
    );
    let sieve = |uid: Uid, description: &[u8]| match uid.0 {
        1 => Some(description != b"description of 1"),
        2 => Some(description == b"description of 2"),
        _ => (!description.is_empty()).then_some(false),
    };
    let sifted = engine
        .sift(ACCOUNT, FolderId(2), Uid(0)..=Uid(9), Box::new(sieve))
        .await;
    assert_eq!(sifted.unwrap(), [(Uid(2), Some(true)), (Uid(3), None)]);
    let all = engine
        .sift(ACCOUNT, FolderId(2), Uid(2)..=Uid(2), Box::new(|_, _| None))
        .await;
    assert_eq!(all.unwrap(), [(Uid(2), None)]);
    let page = engine
        .described_messages(ACCOUNT, FolderId(2), Uid(0)..=Uid(9), 1, usize::MAX)
        .await
        .unwrap();
    assert_eq!(page.len(), 1);
    let named = [9, 3, 2, 2].map(Uid);
    let found = engine
        .described_by_uid(ACCOUNT, FolderId(2), &named, usize::MAX)
        .await;
    assert_eq!(found.unwrap(), read);
    let (all, named) = (Uid(1)..=Uid(9), [1, 2, 3].map(Uid));
    // How many bytes are enough, and how many rows have them: each description has 16.
    for (most, count) in [(0, 1), (1, 1), (16, 1), (17, 2), (32, 2), (33, 3)] {
        let page = engine
            .described_messages(ACCOUNT, FolderId(2), all.clone(), 9, most)
            .await;
        assert_eq!(page.unwrap().len(), count, "{most}");
        let found = engine.described_by_uid(ACCOUNT, FolderId(2), &named, most).await;
        assert_eq!(found.unwrap().len(), count, "{most}");
    }
}

pub async fn messages_are_found_by_uid(engine: &dyn Engine) {
    filled(engine, &[1, 2, 3, u32::MAX]).await;
    let find = async |wanted: &[u32]| {
        let wanted: Vec<Uid> = wanted.iter().copied().map(Uid).collect();
        engine.messages_by_uid(ACCOUNT, FolderId(2), &wanted).await
    };
    assert_eq!(
        uids(&find(&[u32::MAX, 2, 7, 1, 2]).await.unwrap()),
        [1, 2, u32::MAX]
    );
    assert_eq!(uids(&find(&[]).await.unwrap()), [0; 0]);
    let thousand: Vec<u32> = (1..=1000).collect();
    assert_eq!(uids(&find(&thousand).await.unwrap()), [1, 2, 3]);
    let many: Vec<u32> = (1..=1001).collect();
    assert!(matches!(find(&many).await, Err(Error::Invalid(_))));
}

pub async fn places_name_every_copy(engine: &dyn Engine) {
    let rows = filled(engine, &[1, 2]).await;
    let copy = MessageRow {
        folder: FolderId(5),
        uid: Uid(8),
        ..rows[1].clone()
    };
    let put = Rows {
        put_messages: vec![copy],
        ..Rows::default()
    };
    must(engine, commit(ACCOUNT, Version(1), put)).await;
    let (one, two) = (rows[0].content, rows[1].content);
    let found = engine
        .places(ACCOUNT, &[two, ContentId::generate(), one])
        .await
        .unwrap();
    let mut expected = [
        (one, FolderId(2), Uid(1)),
        (two, FolderId(2), Uid(2)),
        (two, FolderId(5), Uid(8)),
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
}

pub async fn changes_are_paged_by_version(engine: &dyn Engine) {
    let mut all = Vec::new();
    for version in 0..7 {
        let next = delivery(ACCOUNT, Version(version), b"x");
        all.push(next.change.clone());
        must(engine, next).await;
    }
    assert_eq!(engine.changes(ACCOUNT, Version(0), 100).await.unwrap(), all);
    assert_eq!(engine.changes(ACCOUNT, Version(2), 3).await.unwrap(), all[2..5]);
    assert_eq!(engine.changes(ACCOUNT, Version(5), 3).await.unwrap(), all[5..]);
    assert_eq!(engine.changes(ACCOUNT, Version(7), 3).await.unwrap(), []);
}

pub async fn references_are_found_by_hash(engine: &dyn Engine) {
    let reference = |hash| Reference {
        hash,
        thread: ThreadId::generate(),
    };
    let rows = [0, 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX].map(reference);
    let put = Rows {
        put_references: rows.to_vec(),
        ..Rows::default()
    };
    must(engine, commit(ACCOUNT, Version(0), put)).await;
    let mut found = engine
        .references(ACCOUNT, &[u64::MAX, 0, 1, 1 << 63, 77, i64::MAX as u64])
        .await
        .unwrap();
    found.sort_unstable_by_key(|row| row.hash);
    assert_eq!(found, rows);
}

pub async fn receipts_are_found_until_they_expire(engine: &dyn Engine) {
    let now = unix_millis();
    let receipt = |expires| Receipt {
        delivery: DeliveryId::generate(),
        version: Version(1),
        folder: FolderId::INBOX,
        uid: Uid(1),
        expires,
    };
    let (young, old) = (receipt(now + 600_000), receipt(now - 600_000));
    let put = Rows {
        put_receipts: vec![young, old],
        ..Rows::default()
    };
    must(engine, commit(ACCOUNT, Version(0), put)).await;
    let wanted = [old.delivery, young.delivery, DeliveryId::generate()];
    assert_eq!(engine.receipts(ACCOUNT, &wanted).await.unwrap(), [young]);
    while engine.expire(0, now).await.unwrap() {}
    assert_eq!(engine.receipts(ACCOUNT, &wanted).await.unwrap(), [young]);
}

pub async fn snapshots_are_replaced_by_later_ones(engine: &dyn Engine) {
    must(engine, delivery(ACCOUNT, Version(0), b"x")).await;
    for version in [1, 5] {
        let data = Bytes::from(vec![version as u8; 100_000]);
        let row = SnapshotRow {
            folder: FolderId::INBOX,
            version: Version(version),
            data,
        };
        engine.put_snapshot(ACCOUNT, row.clone()).await.unwrap();
        assert_eq!(
            engine.snapshot(ACCOUNT, FolderId::INBOX).await.unwrap(),
            Some(row)
        );
    }
    assert_eq!(engine.snapshot(ACCOUNT, FolderId(2)).await.unwrap(), None);
}

pub async fn accounts_are_listed_in_order(engine: &dyn Engine) {
    let ids = [u64::MAX, 3, 1 << 40, 0].map(AccountId::new);
    for id in ids {
        must(engine, delivery(id, Version(0), b"x")).await;
    }
    let mut sorted = ids;
    sorted.sort_unstable();
    let mut listed = Vec::new();
    loop {
        let page = engine.accounts(listed.last().copied(), 3).await.unwrap();
        assert!(page.len() <= 3);
        listed.extend_from_slice(&page);
        if page.len() < 3 {
            break;
        }
    }
    assert_eq!(listed, sorted);
}
