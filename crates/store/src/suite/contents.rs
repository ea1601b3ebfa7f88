//! Cases about content: exactly the bytes that were put, kept while held.

use bytes::Bytes;
use postrider_types::{AccountId, ContentId, UnitId, Version};

use super::{Engine, commit, delivery, later, must, sweep_all};
use crate::account::{DescriptionRow, Outcome, Rows};
use crate::content::{ContentPiece, ContentRange};
use crate::{Error, unix_millis};

const ACCOUNT: AccountId = AccountId::new(13);

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 131 % 251) as u8).collect()
}

pub async fn what_was_put_is_read_at_any_offset(engine: &dyn Engine) {
    const BLOCK: usize = 64 << 10;
    for length in [0, 1, 4096, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 77, 3 << 20] {
        let (id, body) = (ContentId::generate(), body(length));
        engine.put(id, body.clone().into()).await.unwrap();
        assert_eq!(engine.length(id).await.unwrap(), Some(length as u64));
        assert!(
            engine.read(id, 0, u64::MAX).await.unwrap() == body,
            "{length} bytes"
        );
        for (offset, count) in [
            (0, 1),
            (length / 2, 10),
            (length.saturating_sub(1), 5),
            (length, 5),
            (length + 5, 5),
            (BLOCK - 3, 6),
            (100, BLOCK * 2),
            (7, 0),
        ] {
            let read = engine.read(id, offset as u64, count as u64).await.unwrap();
            let from = offset.min(length);
            assert!(
                read == body[from..(offset + count).clamp(from, length)],
                "{length} at {offset}, {count}"
            );
        }
    }
}

pub async fn several_are_read_at_once(engine: &dyn Engine) {
    let bodies: Vec<Vec<u8>> = [10, 0, 100_000, 300].into_iter().map(body).collect();
    let mut ids = Vec::new();
    for body in &bodies {
        ids.push(ContentId::generate());
        engine.put(ids[ids.len() - 1], body.clone().into()).await.unwrap();
    }
    let range = |at: usize, offset, length| ContentRange {
        content: ids[at],
        offset,
        length,
    };
    let piece = |at: usize, range: std::ops::Range<usize>| ContentPiece {
        data: Bytes::copy_from_slice(&bodies[at][range]),
        total: bodies[at].len() as u64,
    };
    let ranges = [
        range(0, 3, 100),
        range(1, 0, 100),
        range(2, 65_000, 2000),
        range(3, 400, 1),
        range(0, 0, 10),
    ];
    let pieces = [
        piece(0, 3..10),
        piece(1, 0..0),
        piece(2, 65_000..67_000),
        piece(3, 300..300),
        piece(0, 0..10),
    ];
    // The bytes that are allowed, and how many ranges that makes.
    for (most, count) in [
        (u64::MAX, 5),
        (2017, 5),
        (2016, 4),
        (2006, 2),
        (7, 2),
        (6, 1),
        (0, 1),
    ] {
        assert!(
            engine.read_many(&ranges, most).await.unwrap() == pieces[..count],
            "{most}"
        );
    }
    assert_eq!(engine.read_many(&[], 9).await.unwrap(), []);
    let missing = ContentRange {
        content: ContentId::generate(),
        ..ranges[0]
    };
    assert!(
        engine
            .read_many(&[ranges[0], missing, ranges[1]], 1000)
            .await
            .unwrap()
            == pieces[..1]
    );
    let none = engine.read_many(&[missing, ranges[0]], 1000).await;
    assert!(matches!(none, Err(Error::NotFound(_))));
}

pub async fn missing_contents_are_not_found(engine: &dyn Engine) {
    let id = ContentId::generate();
    assert!(matches!(engine.read(id, 0, 1).await, Err(Error::NotFound(_))));
    assert_eq!(engine.length(id).await.unwrap(), None);
    assert!(matches!(
        engine.hold(id, UnitId::generate()).await,
        Err(Error::NotFound(_))
    ));
    engine.release(id, UnitId::generate()).await.unwrap();
}

pub async fn putting_the_same_again_succeeds(engine: &dyn Engine) {
    let id = ContentId::generate();
    for _ in 0..3 {
        engine.put(id, Bytes::from_static(b"same")).await.unwrap();
    }
    assert_eq!(engine.read(id, 0, 9).await.unwrap(), "same");
    // As a retried delivery does, whose first commit was not heard of.
    let mut again = delivery(ACCOUNT, Version(0), b"same");
    (again.contents[0].0, again.rows.put_descriptions[0].content) = (id, id);
    must(engine, again).await;
    assert_eq!(sweep_all(engine, later()).await, 0);
    assert_eq!(engine.read(id, 0, 9).await.unwrap(), "same");
}

pub async fn a_writer_shows_nothing_before_it_finishes(engine: &dyn Engine) {
    for length in [0, 10, 200_000, 5 << 20] {
        let (id, body) = (ContentId::generate(), body(length));
        let mut writer = engine.writer(id).await.unwrap();
        for piece in body.chunks(70_001) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        assert_eq!(engine.length(id).await.unwrap(), None);
        assert!(matches!(engine.read(id, 0, 1).await, Err(Error::NotFound(_))));
        assert_eq!(writer.finish().await.unwrap(), length as u64);
        assert!(engine.read(id, 0, u64::MAX).await.unwrap() == body);
    }
}

pub async fn a_dropped_writer_leaves_nothing(engine: &dyn Engine) {
    for length in [10, 5 << 20] {
        let id = ContentId::generate();
        let mut writer = engine.writer(id).await.unwrap();
        writer.write(body(length).into()).await.unwrap();
        drop(writer);
        assert_eq!(engine.length(id).await.unwrap(), None);
        engine.put(id, Bytes::from_static(b"another try")).await.unwrap();
        assert_eq!(engine.read(id, 0, 99).await.unwrap(), "another try");
    }
}

pub async fn a_sweep_deletes_what_nobody_holds(engine: &dyn Engine) {
    let (held, free, large) = (
        ContentId::generate(),
        ContentId::generate(),
        ContentId::generate(),
    );
    let unit = UnitId::generate();
    engine.put(held, Bytes::from_static(b"held")).await.unwrap();
    engine.put(free, Bytes::from_static(b"free")).await.unwrap();
    engine.put(large, body(2 << 20).into()).await.unwrap();
    engine.hold(held, unit).await.unwrap();
    assert_eq!(sweep_all(engine, later()).await, 2);
    for gone in [free, large] {
        assert!(matches!(engine.read(gone, 0, 9).await, Err(Error::NotFound(_))));
        assert_eq!(engine.length(gone).await.unwrap(), None);
        assert!(matches!(engine.hold(gone, unit).await, Err(Error::NotFound(_))));
    }
    assert_eq!(engine.read(held, 0, 9).await.unwrap(), "held");
    engine.release(held, unit).await.unwrap();
    assert_eq!(sweep_all(engine, later()).await, 1);
    assert_eq!(engine.length(held).await.unwrap(), None);
    assert_eq!(sweep_all(engine, later()).await, 0);
}

pub async fn the_grace_period_counts_from_the_put(engine: &dyn Engine) {
    let before = unix_millis();
    let (id, unit) = (ContentId::generate(), UnitId::generate());
    engine.put(id, Bytes::from_static(b"young")).await.unwrap();
    assert_eq!(sweep_all(engine, before).await, 0);
    engine.hold(id, unit).await.unwrap();
    assert_eq!(sweep_all(engine, later()).await, 0);
    engine.release(id, unit).await.unwrap();
    assert_eq!(sweep_all(engine, before).await, 0);
    assert_eq!(engine.read(id, 0, 9).await.unwrap(), "young");
    assert_eq!(sweep_all(engine, later()).await, 1);
}

pub async fn holders_are_counted_once_each(engine: &dyn Engine) {
    let id = ContentId::generate();
    let units = [UnitId::generate(), UnitId::generate()];
    engine.put(id, Bytes::from_static(b"x")).await.unwrap();
    for unit in [units[0], units[0], units[1]] {
        engine.hold(id, unit).await.unwrap();
    }
    engine.release(id, units[0]).await.unwrap();
    engine.release(id, units[0]).await.unwrap();
    engine.release(id, UnitId::generate()).await.unwrap();
    assert_eq!(sweep_all(engine, later()).await, 0);
    engine.release(id, units[1]).await.unwrap();
    assert_eq!(sweep_all(engine, later()).await, 1);
}

pub async fn an_account_holds_what_it_describes(engine: &dyn Engine) {
    let sent = delivery(ACCOUNT, Version(0), b"to two");
    let id = sent.contents[0].0;
    must(engine, sent.clone()).await;
    let other = AccountId::new(14);
    let rows = Rows {
        put_descriptions: vec![DescriptionRow {
            content: id,
            data: Bytes::from_static(b"d"),
        }],
        ..Rows::default()
    };
    must(engine, commit(other, Version(0), rows)).await;
    let drop_it = || Rows {
        drop_descriptions: vec![id],
        ..Rows::default()
    };
    must(engine, commit(ACCOUNT, Version(1), drop_it())).await;
    assert_eq!(sweep_all(engine, later()).await, 0);
    assert_eq!(engine.read(id, 0, 9).await.unwrap(), "to two");
    must(engine, commit(other, Version(1), drop_it())).await;
    assert_eq!(sweep_all(engine, later()).await, 1);
}

pub async fn a_lost_commit_leaves_content_to_the_sweeper(engine: &dyn Engine) {
    let lost = delivery(ACCOUNT, Version(3), b"lost");
    let id = lost.contents[0].0;
    assert_eq!(engine.commit(lost).await.unwrap(), Outcome::Conflict);
    // Whether its bytes were stored is the engine's business; after a sweep they are not.
    sweep_all(engine, later()).await;
    assert_eq!(engine.length(id).await.unwrap(), None);
}
