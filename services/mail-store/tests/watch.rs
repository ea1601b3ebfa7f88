//! Watching accounts.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use std::sync::Arc;
use std::time::Duration;

use harness::*;
use postrider_coordination::Memory as Coordination;
use postrider_proto::mailstore::*;
use postrider_store::memory::Memory;
use tokio::sync::mpsc;
use tonic::Streaming;

struct Watcher {
    ask: mpsc::Sender<WatchRequest>,
    told: Streaming<WatchResponse>,
}

impl Watcher {
    async fn new(client: &mut Client) -> Self {
        let (ask, mut asked) = mpsc::channel(16);
        let requests = futures::stream::poll_fn(move |cx| asked.poll_recv(cx));
        Self {
            ask,
            told: client.watch(requests).await.unwrap().into_inner(),
        }
    }

    async fn watch(&self, account: u64, since: u64) {
        self.ask
            .send(WatchRequest {
                account,
                since,
                stop: false,
            })
            .await
            .unwrap();
    }

    async fn next(&mut self) -> Option<(u64, u64)> {
        let news = tokio::time::timeout(Duration::from_secs(5), self.told.message())
            .await
            .expect("news in time");
        news.unwrap().map(|news| (news.account, news.version))
    }

    async fn silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(50), self.told.message())
            .await
            .is_err()
    }
}

#[tokio::test]
async fn one_stream_tells_of_many_accounts() {
    let (_, mut client) = fresh();
    let mut watcher = Watcher::new(&mut client).await;
    watcher.watch(7, 0).await;
    watcher.watch(8, 0).await;
    // New accounts are at version 0: nothing to tell, and watching does not make them.
    assert!(watcher.silent().await);
    deliver(&mut client, 7, letter("1@a", "s", "", "b")).await;
    assert_eq!(watcher.next().await, Some((7, 1)));
    deliver(&mut client, 8, letter("1@a", "s", "", "b")).await;
    assert_eq!(watcher.next().await, Some((8, 1)));
    deliver(&mut client, 9, letter("1@a", "s", "", "b")).await;
    assert!(watcher.silent().await);
}

#[tokio::test]
async fn what_was_missed_is_told_on_arrival_and_a_storm_is_one_piece_of_news() {
    let (_, mut client) = fresh();
    for _ in 0..5 {
        deliver(&mut client, 7, letter("1@a", "s", "", "b")).await;
    }
    let mut watcher = Watcher::new(&mut client).await;
    watcher.watch(7, 2).await;
    assert_eq!(watcher.next().await, Some((7, 5)));
    watcher.watch(7, 5).await;
    assert!(watcher.silent().await);
    watcher
        .ask
        .send(WatchRequest {
            account: 7,
            since: 0,
            stop: true,
        })
        .await
        .unwrap();
    assert!(watcher.silent().await);
    deliver(&mut client, 7, letter("1@a", "s", "", "b")).await;
    assert!(watcher.silent().await);
}

#[tokio::test]
async fn the_stream_ends_with_its_requests() {
    let (_, mut client) = fresh();
    let mut watcher = Watcher::new(&mut client).await;
    watcher.watch(7, 0).await;
    let (gone, _) = mpsc::channel(1);
    watcher.ask = gone;
    assert_eq!(watcher.next().await, None);
}

#[tokio::test]
async fn hints_carry_news_between_instances() {
    let (engine, hints) = (Memory::new(), Arc::new(Coordination::new()));
    let (here, there) = (instance_over(&engine, &hints), instance_over(&engine, &hints));
    let background = tokio::spawn(here.background());
    let mut watcher = Watcher::new(&mut client(&here)).await;
    watcher.watch(7, 0).await;
    assert!(watcher.silent().await);
    deliver(&mut client(&there), 7, letter("1@a", "s", "", "b")).await;
    assert_eq!(watcher.next().await, Some((7, 1)));
    background.abort();
}

#[tokio::test]
async fn a_hint_between_a_look_and_the_watch_is_not_lost() {
    let (engine, hints) = (Memory::new(), Arc::new(Coordination::new()));
    let (here, there) = (instance_over(&engine, &hints), instance_over(&engine, &hints));
    let background = tokio::spawn(here.background());
    tokio::time::sleep(Duration::from_millis(50)).await;
    deliver(&mut client(&here), 7, letter("1@a", "s", "", "b")).await;
    let (version, _, _) = open(&mut client(&here), 7, 1).await;
    deliver(&mut client(&there), 7, letter("2@a", "s", "", "b")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut watcher = Watcher::new(&mut client(&here)).await;
    watcher.watch(7, version).await;
    assert_eq!(watcher.next().await, Some((7, version + 1)));
    background.abort();
}
