//! Cases about many at the same time.

use bytes::Bytes;
use futures::future::join_all;
use postrider_types::{AccountId, ContentId, FolderId, Uid, UnitId, Version};

use super::{Engine, delivery, later, must};
use crate::Error;
use crate::account::Outcome;

const ACCOUNT: AccountId = AccountId::new(17);

pub async fn one_of_many_writers_wins_each_version(engine: &dyn Engine) {
    const VERSIONS: u64 = 40;
    let writer = async |_| {
        let mut wins = Vec::new();
        loop {
            let version = engine
                .head(ACCOUNT)
                .await
                .unwrap()
                .map_or(Version(0), |head| head.version);
            if version.0 >= VERSIONS {
                return wins;
            }
            let next = delivery(ACCOUNT, version, b"mine");
            let id = next.head.last_commit;
            if engine.commit(next).await.unwrap() == Outcome::Committed {
                wins.push((version.next(), id));
            }
        }
    };
    let mut wins = join_all((0..16).map(writer)).await.concat();
    wins.sort_unstable();
    let versions: Vec<u64> = wins.iter().map(|(version, _)| version.0).collect();
    assert_eq!(versions, (1..=wins.len() as u64).collect::<Vec<_>>());
    let head = engine.head(ACCOUNT).await.unwrap().unwrap();
    assert_eq!(wins.last(), Some(&(head.version, head.last_commit)));
    let rows = engine
        .messages(ACCOUNT, FolderId::INBOX, Uid(0)..=Uid(u32::MAX), 1000)
        .await
        .unwrap();
    assert_eq!(rows.len(), wins.len());
    let changes = engine.changes(ACCOUNT, Version(0), 1000).await.unwrap();
    assert_eq!(changes.len(), wins.len());
}

pub async fn different_accounts_do_not_conflict(engine: &dyn Engine) {
    let writer = async |number| {
        let account = AccountId::new(number);
        for version in 0..5 {
            must(engine, delivery(account, Version(version), b"x")).await;
        }
    };
    join_all((0..20).map(writer)).await;
    assert_eq!(engine.accounts(None, 100).await.unwrap().len(), 20);
}

pub async fn readers_see_head_and_folders_of_one_version(engine: &dyn Engine) {
    let writer = async {
        for version in 0..60 {
            must(engine, delivery(ACCOUNT, Version(version), b"x")).await;
        }
    };
    let reader = async |_| {
        let mut last = Version(0);
        while last.0 < 60 {
            let Some((head, folders)) = engine.folders(ACCOUNT).await.unwrap() else {
                tokio::task::yield_now().await;
                continue;
            };
            assert_eq!(folders[0].changed, head.version);
            assert!(head.version >= last, "the head went back");
            last = head.version;
            // A message row is there no later than the head that counts it.
            let rows = engine
                .messages(ACCOUNT, FolderId::INBOX, Uid(0)..=Uid(u32::MAX), 1000)
                .await
                .unwrap();
            assert!(rows.len() as u64 >= head.messages);
            tokio::task::yield_now().await;
        }
    };
    futures::join!(writer, join_all((0..4).map(reader)));
}

pub async fn acknowledged_commits_are_seen_at_once(engine: &dyn Engine) {
    let writer = async |number| {
        let account = AccountId::new(number);
        for version in 0..10 {
            let next = delivery(account, Version(version), b"x");
            let (content, receipt) = (next.contents[0].0, next.rows.put_receipts[0]);
            must(engine, next).await;
            assert_eq!(
                engine.head(account).await.unwrap().unwrap().version,
                Version(version + 1)
            );
            assert_eq!(
                engine.receipts(account, &[receipt.delivery]).await.unwrap(),
                [receipt]
            );
            assert_eq!(engine.read(content, 0, 9).await.unwrap(), "x");
        }
    };
    join_all((0..8).map(writer)).await;
}

pub async fn a_held_content_survives_every_sweep(engine: &dyn Engine) {
    let holder = async |_| {
        for _ in 0..10 {
            let (id, unit) = (ContentId::generate(), UnitId::generate());
            engine.put(id, Bytes::from_static(b"precious")).await.unwrap();
            match engine.hold(id, unit).await {
                Ok(()) => {
                    for _ in 0..3 {
                        assert_eq!(engine.read(id, 0, 99).await.unwrap(), "precious");
                        tokio::task::yield_now().await;
                    }
                    engine.release(id, unit).await.unwrap();
                }
                // The sweeper was first, and says so.
                Err(Error::NotFound(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    let sweeper = async {
        for _ in 0..30 {
            engine.sweep(later()).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    futures::join!(join_all((0..8).map(holder)), sweeper);
}

pub async fn many_contents_at_once_are_all_there(engine: &dyn Engine) {
    let put = async |number: usize| {
        let id = ContentId::generate();
        let body = Bytes::from(number.to_string().repeat(number));
        engine.put(id, body.clone()).await.unwrap();
        (id, body)
    };
    for (id, body) in join_all((0..300).map(put)).await {
        assert!(engine.read(id, 0, u64::MAX).await.unwrap() == body);
    }
}
