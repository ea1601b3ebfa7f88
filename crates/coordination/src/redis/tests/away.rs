//! Redis gone, stopped, empty, full, and with another password.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// Longer than the deadline of a call, on a busy machine.
const SOON: Duration = Duration::from_secs(1);

/// Every kind of call fails, and soon.
async fn nothing_works(redis: &Redis) {
    let begin = Instant::now();
    assert!(redis.add("a", 1, LONG).await.is_err());
    assert!(redis.get("a").await.is_err());
    assert!(redis.take("a", LONG).await.is_err());
    assert!(redis.renew("a", LeaseToken(1), LONG).await.is_err());
    redis.release("a", LeaseToken(1)).await;
    redis.announce(AccountId::new(1), Version(1)).await;
    assert!(begin.elapsed() < 5 * SOON, "{:?}", begin.elapsed());
}

/// Once it is known that Redis is away, thousands of calls cost next to nothing.
async fn calls_are_free(redis: &Redis) {
    assert!(!redis.is_up());
    let begin = Instant::now();
    for _ in 0..5000 {
        assert!(redis.add("a", 1, LONG).await.is_err());
        redis.announce(AccountId::new(1), Version(1)).await;
    }
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
}

/// The log of this thread, from now on.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_ansi(false)
            .without_time()
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn killed_and_back() {
    let (log, _guard) = Log::begin();
    let mut server = Server::start(&[]);
    let redis = open(with_own_keys(&server.url())).await;
    let mut hints = redis.listen().await;
    redis.add("a", 1, LONG).await.unwrap();
    let held = redis.take("b", LONG).await.unwrap().unwrap();
    for round in 1..=2 {
        server.kill();
        until("the loss is noticed without a call", async || !redis.is_up()).await;
        nothing_works(&redis).await;
        calls_are_free(&redis).await;
        // Longer than some attempts to connect.
        tokio::time::sleep(SOON).await;
        server.start_again();
        until("back by itself", async || redis.is_up()).await;
        assert_eq!(redis.add("a", 1, LONG).await.unwrap(), 1, "nothing was kept");
        let lines = log.lines();
        assert_eq!(
            lines.len(),
            2 * round,
            "a line when lost, a line when back: {lines:#?}"
        );
        assert!(lines[2 * round - 2].contains("is away"), "{lines:#?}");
        assert!(lines[2 * round - 1].contains("is back"), "{lines:#?}");
        until("hints were missed", async || {
            hints.next().await.unwrap().is_none()
        })
        .await;
        redis.announce(AccountId::new(7), Version(round as u64)).await;
        let expected = Some((AccountId::new(7), Version(round as u64)));
        until("hints arrive again", async || {
            hints.next().await.unwrap() == expected
        })
        .await;
    }
    assert!(
        !redis.renew("b", held, LONG).await.unwrap(),
        "it went with the server"
    );
    assert!(
        redis.take("b", LONG).await.unwrap() > Some(held),
        "tokens rise all the same"
    );
}

#[tokio::test]
async fn away_at_the_start() {
    let (log, _guard) = Log::begin();
    let mut server = Server::prepared(&[]);
    let begin = Instant::now();
    let redis = Redis::open(with_own_keys(&server.url())).await.unwrap();
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    nothing_works(&redis).await;
    let mut hints = tokio::time::timeout(SOON, redis.listen()).await.unwrap();
    server.start_again();
    until("there", async || redis.is_up()).await;
    redis.add("a", 1, LONG).await.unwrap();
    until("listening", async || hints.next().await.unwrap().is_none()).await;
    assert_eq!(log.lines().len(), 2, "{:#?}", log.lines());
}

#[tokio::test]
async fn nobody_answers_a_connection_attempt() {
    // Packets to this address go nowhere (RFC 5737).
    let config = Config {
        connect: Duration::from_millis(300),
        ..with_own_keys("redis://192.0.2.1")
    };
    let begin = Instant::now();
    let redis = Redis::open(config).await.unwrap();
    nothing_works(&redis).await;
    assert!(begin.elapsed() < 2 * SOON, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn stopped_and_continued() {
    let server = Server::start(&[]);
    let config = with_own_keys(&server.url());
    let (redis, other) = (open(config.clone()).await, open(config).await);
    server.pause();
    let begin = Instant::now();
    assert!(redis.take("maildrop", LONG).await.is_err());
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert!(redis.is_up(), "one call without an answer is no outage");
    nothing_works(&redis).await;
    calls_are_free(&redis).await;
    server.resume();
    until("back by itself", async || redis.is_up()).await;
    redis.add("a", 1, LONG).await.unwrap();
    // The server may have carried out the first call after all: its lease is given back, long before its time is over.
    until("the lease is free", async || {
        matches!(other.take("maildrop", LONG).await, Ok(Some(_)))
    })
    .await;
}

#[tokio::test]
async fn a_lease_taken_without_our_hearing_of_it_is_given_back() {
    let server = Server::start(&[]);
    let config = Config {
        deadline: Duration::from_millis(100),
        ..with_own_keys(&server.url())
    };
    let redis = open(config).await;
    // The server knows the scripts.
    let token = redis.take("maildrop", LONG).await.unwrap().unwrap();
    redis.release("maildrop", token).await;
    server.pause();
    assert!(redis.take("maildrop", LONG).await.is_err());
    server.resume();
    // The connection is still the same, so what was sent on it is carried out before anything else.
    until("taken", async || !server.say(&["KEYS", "*:lease:*"]).is_empty()).await;
    until("given back", async || {
        server.say(&["KEYS", "*:lease:*"]).is_empty()
    })
    .await;
}

#[tokio::test]
async fn flushed() {
    let server = Server::start(&[]);
    let config = with_own_keys(&server.url());
    let (redis, other) = (open(config.clone()).await, open(config).await);
    redis.add("a", 5, LONG).await.unwrap();
    let first = redis.take("maildrop", LONG).await.unwrap().unwrap();
    assert_eq!(server.say(&["FLUSHALL"]), "OK");
    assert_eq!(redis.get("a").await.unwrap(), 0);
    let second = other.take("maildrop", LONG).await.unwrap().unwrap();
    assert!(second > first, "the second holder has the larger token");
    assert!(
        !redis.renew("maildrop", first, LONG).await.unwrap(),
        "the first hears of it"
    );
    redis.release("maildrop", first).await;
    assert!(other.renew("maildrop", second, LONG).await.unwrap());
}

#[tokio::test]
async fn wrong_password() {
    let (log, _guard) = Log::begin();
    let server = Server::start(&["--requirepass", "hungry"]);
    let host = server.address();
    let url = |password: &str| format!("redis://:{password}@{host}");
    let right = open(with_own_keys(&url("hungry"))).await;
    right.add("a", 1, LONG).await.unwrap();

    let wrong = Redis::open(with_own_keys(&url("sated"))).await.unwrap();
    nothing_works(&wrong).await;
    tokio::time::sleep(SOON).await;
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "one line, however often it is tried: {lines:#?}");
    assert!(
        lines[0].contains("password") && !lines[0].contains("sated"),
        "{lines:#?}"
    );

    let said = server.say(&["-a", "hungry", "CONFIG", "SET", "requirepass", "sated"]);
    assert_eq!(said, "OK");
    until("right after all", async || wrong.is_up()).await;
    wrong.add("a", 1, LONG).await.unwrap();

    let without = Redis::open(with_own_keys(&server.url())).await.unwrap();
    nothing_works(&without).await;
}

#[tokio::test]
async fn a_full_server_refuses_and_stays() {
    let server = Server::start(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    let redis = open(with_own_keys(&server.url())).await;
    for _ in 0..10 {
        let refused = redis.add("a", 1, LONG).await.unwrap_err();
        assert!(refused.0.contains("OOM"), "{refused}");
    }
    assert!(redis.is_up());
    assert_eq!(redis.get("a").await.unwrap(), 0);
}

#[tokio::test]
async fn who_listens_is_told_that_hints_were_dropped() {
    let server = Server::start(&[]);
    let said = server.say(&[
        "ACL", "SETUSER", "mute", "on", "nopass", "~*", "&*", "+@all", "-publish",
    ]);
    assert_eq!(said, "OK");
    let config = with_own_keys(&server.url());
    let mute = Config {
        prefix: config.prefix.clone(),
        ..Config::new(server.url().replace("redis://", "redis://mute:any@"))
    };
    let (here, there) = (open(mute).await, open(config).await);
    let mut hints = there.listen().await;
    until("hints are heard", async || there.are_heard()).await;
    while tokio::time::timeout(SOON, hints.next()).await.is_ok() {}

    here.announce(AccountId::new(7), Version(1)).await;
    let heard = tokio::time::timeout(2 * SOON, hints.next()).await;
    assert!(heard.is_err(), "it may not publish: {heard:?}");
    assert_eq!(server.say(&["ACL", "SETUSER", "mute", "+publish"]), "OK");
    let heard = tokio::time::timeout(Duration::from_secs(20), hints.next()).await;
    assert_eq!(heard.unwrap(), Some(None), "look at everything");
}
