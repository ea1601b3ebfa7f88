//! What every engine must pass. Stamp the cases out with [`coordination_suite!`](crate::coordination_suite).
//!
//! Cases use keys of their own, so that they can share a server and run at the same time. They take real time, short.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use postrider_types::{AccountId, Version};

use crate::{Counters, Hints, Leases};

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(60);

/// Makes one test of every case, each with an engine of its own: `coordination_suite!(async { Memory::new() });`
#[macro_export]
macro_rules! coordination_suite {
    ($engine:expr) => {
        $crate::coordination_suite! {
            $engine;
            announcements_reach_every_listener
            announcements_before_listening_are_not_heard
            counts_add_up
            counts_forget_when_their_window_ends
            a_window_begins_with_its_first_addition
            keys_do_not_touch_each_other
            additions_at_the_same_time_all_count
            a_lease_has_one_holder
            a_lease_given_back_is_free
            a_lease_that_ended_is_free_and_its_token_worthless
            a_renewed_lease_lasts
            tokens_rise
            of_many_takers_one_wins
        }
    };
    ($engine:expr; $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let engine = $engine.await;
                $crate::suite::$case(&engine).await;
            }
        )*
    };
}

/// A key nobody else uses.
fn fresh(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    format!(
        "suite:{what}:{now}:{}:{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Every listener hears of an account's version.
pub async fn announcements_reach_every_listener(engine: &impl Hints) {
    let account = AccountId::new(0x5eed_0001);
    let mut listeners = [engine.listen().await, engine.listen().await];
    for listener in &mut listeners {
        // Announcements may be lost, so they are repeated until one is heard.
        let heard = async {
            loop {
                engine.announce(account, Version(7)).await;
                let next = tokio::time::timeout(SHORT, listener.next()).await;
                match next {
                    Ok(Some(Some((heard, version)))) if heard == account => break version,
                    Ok(None) => panic!("the stream of hints ended"),
                    _ => {}
                }
            }
        };
        let version = tokio::time::timeout(Duration::from_secs(10), heard)
            .await
            .expect("no hint in 10 seconds");
        assert_eq!(version, Version(7));
    }
}

/// A listener hears what is announced from then on.
pub async fn announcements_before_listening_are_not_heard(engine: &impl Hints) {
    let account = AccountId::new(0x5eed_0002);
    engine.announce(account, Version(1)).await;
    tokio::time::sleep(SHORT).await;
    let mut hints = engine.listen().await;
    let mut heard = Vec::new();
    while let Ok(Some(hint)) = tokio::time::timeout(SHORT, hints.next()).await {
        heard.extend(hint.filter(|(of, _)| *of == account));
    }
    assert_eq!(heard, []);
}

/// Additions return the sum; reading changes nothing.
pub async fn counts_add_up(engine: &impl Counters) {
    let key = fresh("sum");
    assert_eq!(engine.get(&key).await.unwrap(), 0);
    assert_eq!(engine.add(&key, 1, LONG).await.unwrap(), 1);
    assert_eq!(engine.add(&key, 41, LONG).await.unwrap(), 42);
    assert_eq!(engine.get(&key).await.unwrap(), 42);
    assert_eq!(engine.get(&key).await.unwrap(), 42);
}

/// After its window, a count begins again.
pub async fn counts_forget_when_their_window_ends(engine: &impl Counters) {
    let key = fresh("window");
    assert_eq!(engine.add(&key, 3, SHORT).await.unwrap(), 3);
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(engine.get(&key).await.unwrap(), 0);
    assert_eq!(engine.add(&key, 1, SHORT).await.unwrap(), 1);
}

/// Later additions do not prolong the window.
pub async fn a_window_begins_with_its_first_addition(engine: &impl Counters) {
    let key = fresh("fixed");
    engine.add(&key, 1, SHORT * 2).await.unwrap();
    tokio::time::sleep(SHORT).await;
    engine.add(&key, 1, LONG).await.unwrap();
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(engine.get(&key).await.unwrap(), 0);
}

/// One key's count is its own.
pub async fn keys_do_not_touch_each_other(engine: &impl Counters) {
    let (one, other) = (fresh("one"), fresh("one"));
    engine.add(&one, 5, LONG).await.unwrap();
    assert_eq!(engine.get(&other).await.unwrap(), 0);
}

/// No addition is lost.
pub async fn additions_at_the_same_time_all_count(engine: &impl Counters) {
    let key = fresh("race");
    let mut sums = futures::future::join_all((0..50).map(|_| engine.add(&key, 1, LONG)))
        .await
        .into_iter()
        .map(|sum| sum.expect("a count"))
        .collect::<Vec<_>>();
    sums.sort_unstable();
    assert_eq!(sums, (1..=50).collect::<Vec<_>>());
}

/// While it is held, nobody else gets it.
pub async fn a_lease_has_one_holder(engine: &impl Leases) {
    let key = fresh("lease");
    assert!(engine.take(&key, LONG).await.unwrap().is_some());
    assert_eq!(engine.take(&key, LONG).await.unwrap(), None);
    assert!(engine.take(&fresh("lease"), LONG).await.unwrap().is_some());
}

/// Its holder can give it back; nobody else can.
pub async fn a_lease_given_back_is_free(engine: &impl Leases) {
    let key = fresh("back");
    let token = engine.take(&key, LONG).await.unwrap().expect("free");
    engine.release(&key, crate::LeaseToken(token.0 + 1)).await;
    assert_eq!(
        engine.take(&key, LONG).await.unwrap(),
        None,
        "released by a stranger"
    );
    engine.release(&key, token).await;
    assert!(engine.take(&key, LONG).await.unwrap().is_some());
}

/// A lease ends by itself, and whoever had it cannot renew or release the next holder's.
pub async fn a_lease_that_ended_is_free_and_its_token_worthless(engine: &impl Leases) {
    let key = fresh("ended");
    let old = engine.take(&key, SHORT).await.unwrap().expect("free");
    tokio::time::sleep(SHORT * 2).await;
    assert!(!engine.renew(&key, old, LONG).await.unwrap());
    let new = engine.take(&key, LONG).await.unwrap().expect("free again");
    assert!(!engine.renew(&key, old, LONG).await.unwrap());
    engine.release(&key, old).await;
    assert!(engine.renew(&key, new, LONG).await.unwrap());
}

/// Renewing moves the end.
pub async fn a_renewed_lease_lasts(engine: &impl Leases) {
    let key = fresh("renewed");
    let token = engine.take(&key, SHORT).await.unwrap().expect("free");
    assert!(engine.renew(&key, token, LONG).await.unwrap());
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(engine.take(&key, LONG).await.unwrap(), None);
    assert!(engine.renew(&key, token, LONG).await.unwrap());
}

/// A later holder's token is larger.
pub async fn tokens_rise(engine: &impl Leases) {
    let key = fresh("rise");
    let mut last = None;
    for _ in 0..5 {
        let token = engine.take(&key, LONG).await.unwrap().expect("free");
        assert!(Some(token) > last);
        engine.release(&key, token).await;
        last = Some(token);
    }
}

/// Taking is atomic.
pub async fn of_many_takers_one_wins(engine: &impl Leases) {
    let key = fresh("many");
    let taken = futures::future::join_all((0..50).map(|_| engine.take(&key, LONG))).await;
    assert_eq!(
        taken
            .into_iter()
            .filter(|token| matches!(token, Ok(Some(_))))
            .count(),
        1
    );
}
