//! The contract on the real Redis of `cargo xtask engines`, and what happens when Redis is away, on servers of the tests' own.

mod away;
mod cluster;
mod server;

use std::time::{Duration, Instant};

use futures::StreamExt;
use postrider_testbed::{Kind, Testbed};
use postrider_types::{AccountId, Version};

use self::server::Server;
use super::{Config, Redis, payload};
use crate::{Counters, Hints, LeaseToken, Leases};

const LONG: Duration = Duration::from_secs(60);

crate::coordination_suite!(async { open(config()).await });

/// The Redis that tests share, with keys of one's own.
fn config() -> Config {
    let redis = Testbed::new().and_then(|testbed| testbed.addresses(Kind::Redis));
    let address = match redis {
        Ok(addresses) => addresses[0],
        Err(why) => panic!("{why}"),
    };
    with_own_keys(&format!("redis://{address}"))
}

fn with_own_keys(url: &str) -> Config {
    Config {
        prefix: format!("test:{:x}", rand::random::<u64>()),
        ..Config::new(url)
    }
}

async fn open(config: Config) -> Redis {
    let redis = Redis::open(config).await.unwrap();
    assert!(
        redis.is_up(),
        "redis does not answer: start it with `cargo xtask engines up`"
    );
    redis
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let all = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), all).await;
    assert!(waited.is_ok(), "not within 20 s: {what}");
}

#[tokio::test]
async fn processes_meet() {
    let config = config();
    let (here, there) = (open(config.clone()).await, open(config).await);
    assert_eq!(here.add("logins", 2, LONG).await.unwrap(), 2);
    assert_eq!(there.add("logins", 3, LONG).await.unwrap(), 5);
    assert_eq!(here.get("logins").await.unwrap(), 5);

    let token = here.take("maildrop", LONG).await.unwrap().unwrap();
    assert_eq!(there.take("maildrop", LONG).await.unwrap(), None);
    assert!(
        !there
            .renew("maildrop", LeaseToken(token.0 + 1), LONG)
            .await
            .unwrap()
    );
    here.release("maildrop", token).await;
    assert!(there.take("maildrop", LONG).await.unwrap() > Some(token));

    let mut hints = there.listen().await;
    here.announce(AccountId::new(7), Version(9)).await;
    let heard = tokio::time::timeout(Duration::from_secs(5), hints.next()).await;
    assert_eq!(heard.unwrap(), Some(Some((AccountId::new(7), Version(9)))));
}

#[tokio::test]
async fn many_hints_arrive_folded_to_the_newest() {
    let config = config();
    let (here, there) = (open(config.clone()).await, open(config).await);
    let mut hints = there.listen().await;
    for version in 1..=100 {
        for account in 0..3000 {
            here.announce(AccountId::new(account), Version(version)).await;
        }
    }
    let mut newest = std::collections::HashMap::new();
    let all = async {
        while newest.len() < 3000 || newest.values().any(|version| *version < 100) {
            if let Some((account, version)) = hints.next().await.unwrap() {
                newest.insert(account, version.0);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all).await.unwrap();
}

#[tokio::test]
async fn hints_of_a_busy_moment_share_messages() {
    const HINTS: usize = 400;
    let config = config();
    let client = ::redis::Client::open(config.url.expose_str().unwrap()).unwrap();
    let mut listener = client.get_async_pubsub().await.unwrap();
    let channel = format!("{}:hints", config.prefix);
    listener.subscribe(channel).await.unwrap();
    let here = open(config).await;
    let begun = Instant::now();
    for account in 0..HINTS as u64 {
        here.announce(AccountId::new(account), Version(1)).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = begun.elapsed();
    let (mut hints, mut messages) = (0, 0);
    let mut stream = listener.into_on_message();
    while hints < HINTS {
        let message = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
        payload::decode(message.unwrap().unwrap().get_payload_bytes(), |_| hints += 1);
        messages += 1;
    }
    // One in 20 ms, the first at once, the last after its wait.
    let most = took.as_millis() / 20 + 2;
    assert!(messages <= most, "{messages} messages in {took:?}");
}

#[tokio::test]
async fn nothing_stays_for_ever() {
    let server = Server::start(&[]);
    let redis = open(with_own_keys(&server.url())).await;
    redis.add("a", 1, LONG).await.unwrap();
    let token = redis.take("b", LONG).await.unwrap().unwrap();
    redis.renew("b", token, LONG).await.unwrap();
    let keys = server.say(&["KEYS", "*"]);
    assert_eq!(keys.lines().count(), 3, "{keys}");
    for key in keys.lines() {
        let left: i64 = server.say(&["PTTL", key]).parse().unwrap();
        assert!((1..=660_000).contains(&left), "{key}: {left}");
    }
}

#[tokio::test]
async fn tokens_rise_even_when_the_clock_steps_back() {
    let server = Server::start(&[]);
    let redis = open(with_own_keys(&server.url())).await;
    let token = redis.take("a", LONG).await.unwrap().unwrap();
    redis.release("a", token).await;
    // As if the last token had been given an hour ahead of the clock.
    let future = token.0 + 3_600_000_000;
    let key = server.say(&["KEYS", "*:token:*"]);
    assert_eq!(server.say(&["SET", &key, &future.to_string()]), "OK");
    assert_eq!(redis.take("a", LONG).await.unwrap(), Some(LeaseToken(future + 1)));
}

#[tokio::test]
async fn a_script_that_the_server_forgot_is_sent_again() {
    let server = Server::start(&[]);
    let redis = open(with_own_keys(&server.url())).await;
    for sum in 1..=3 {
        assert_eq!(redis.add("a", 1, LONG).await.unwrap(), sum);
        assert_eq!(server.say(&["SCRIPT", "FLUSH"]), "OK");
    }
}

#[tokio::test]
async fn times_and_amounts_beyond_reason_are_taken() {
    let redis = open(config()).await;
    assert!(redis.add("a", u64::MAX, Duration::MAX).await.unwrap() > 1 << 50);
    assert!(redis.add("a", u64::MAX, Duration::MAX).await.unwrap() > 1 << 50);
    let token = redis.take("b", Duration::MAX).await.unwrap().unwrap();
    assert!(redis.renew("b", token, Duration::MAX).await.unwrap());
    redis.add("c", 1, Duration::ZERO).await.unwrap();
    redis.take("d", Duration::ZERO).await.unwrap().unwrap();
    let odd = "}{ \n\0ä";
    redis.add(odd, 1, LONG).await.unwrap();
    let token = redis.take(odd, LONG).await.unwrap().unwrap();
    assert!(redis.renew(odd, token, LONG).await.unwrap());
}
