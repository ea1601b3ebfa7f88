//! The link to Redis: kept up in the background, given to callers at once or not at all.
//!
//! ```text
//!              connected             a socket broke, or FAILURES calls in a row failed
//! Beginning ───────────────▶ Up ─────────────────────────────────────────────────────▶ Down ──┐
//!     │                       ▲                                                         ▲ │   │ calls fail at once,
//!     │ not connected         └────────────── connected again ──────────────────────────┼─┘ ◀─┘ pauses grow
//!     └─────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A connection that never carried a successful call (a `PING` is none) does not reset the pauses, so that a server which answers
//! `PING` and nothing else (a replica, say) is not stormed.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ::redis::{ErrorKind, PushInfo, PushKind, RedisError, RedisResult, ServerErrorKind};
use postrider_types::{AccountId, Version};
use tokio::sync::{Mutex, broadcast, watch};
use tokio::time::{sleep, timeout};

use super::config::{Config, Target};
use super::connection::{Connection, jittered};
use super::metrics::METRICS;
use super::payload;
use crate::Unavailable;

/// Calls that may fail one after another before the connection is given up.
const FAILURES: u32 = 3;
/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How often a quiet connection is asked whether it is alive, and a refused subscription is tried again.
const LOOK: Duration = Duration::from_secs(5);
/// The same after no answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What that question is called in the metrics.
const PING: &str = "ping";
/// Hints a listener may lag behind before it is told to look at everything.
const HINTS_KEPT: usize = 4096;

/// What a listener hears: a hint, or none for "look at everything you watch".
pub type Heard = Option<(AccountId, Version)>;

/// A call that brought no answer.
pub struct NoAnswer {
    /// Why, for the caller.
    pub why: Unavailable,
    /// Whether Redis may have done what was asked all the same.
    pub unknown: bool,
}

/// The link and all that its callers share.
pub struct Link {
    target: Target,
    config: Config,
    /// Where hints are published.
    pub channel: String,
    state: watch::Sender<State>,
    /// Calls that failed since the last one that succeeded.
    failures: AtomicU32,
    /// Whether any call but a `PING` succeeded on this connection.
    proved: AtomicBool,
    /// Whether any call succeeded since it was last looked.
    answered: AtomicBool,
    connections: AtomicU64,
    listened: AtomicBool,
    /// The connection that is subscribed to the hints; 0: none yet.
    subscribed: AtomicU64,
    /// One subscribes at a time.
    subscribing: Mutex<()>,
    /// What arrives on the channel of hints.
    pub hints: broadcast::Sender<Heard>,
}

#[derive(Clone)]
enum State {
    Beginning,
    Up(Connection, u64),
    Down(Arc<str>),
    Closed,
}

impl Link {
    /// Nothing is connected yet: [`Self::supervise`] does.
    pub fn new(config: Config, target: Target) -> Self {
        Self {
            target,
            channel: format!("{}:hints", config.prefix),
            config,
            state: watch::Sender::new(State::Beginning),
            failures: AtomicU32::new(0),
            proved: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            listened: AtomicBool::new(false),
            subscribed: AtomicU64::new(0),
            subscribing: Mutex::new(()),
            hints: broadcast::Sender::new(HINTS_KEPT),
        }
    }

    /// Connects, and connects again whenever the connection is lost, for as long as it is polled.
    pub async fn supervise(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        let mut outage = Outage::default();
        loop {
            let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
            match self.connect(number).await {
                Ok(connection) => {
                    self.failures.store(0, Ordering::Relaxed);
                    self.proved.store(false, Ordering::Relaxed);
                    self.state.send_replace(State::Up(connection, number));
                    outage.is_over(&self.target);
                    let up = CountedUp::new();
                    self.while_up().await;
                    drop(up);
                    if self.proved.load(Ordering::Relaxed) {
                        pause = FIRST_PAUSE;
                    }
                }
                Err(error) => self.could_not_connect(&error),
            }
            match &*self.state.borrow() {
                State::Down(why) => outage.goes_on(why),
                State::Closed => return,
                State::Beginning | State::Up(..) => {}
            }
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(self.config.retry);
        }
    }

    /// Waits until the first attempt to connect is over, whichever way.
    pub async fn begun(&self) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| !matches!(state, State::Beginning)).await;
    }

    /// Waits until Redis is there.
    pub async fn is_back(&self) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| matches!(state, State::Up(..))).await;
    }

    /// Whether calls are tried.
    pub fn is_up(&self) -> bool {
        matches!(&*self.state.borrow(), State::Up(..))
    }

    /// Whether the connection that is up is subscribed to the hints.
    pub fn hears(&self) -> bool {
        let subscribed = self.subscribed.load(Ordering::Acquire);
        matches!(&*self.state.borrow(), State::Up(_, number) if *number == subscribed)
    }

    /// Why calls are not tried.
    pub fn trouble(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Up(..) => None,
            State::Down(why) => Some(why.to_string()),
            State::Beginning => Some(format!("redis at {} does not answer yet", self.target.name())),
            State::Closed => Some("coordination was closed".into()),
        }
    }

    /// Ends: callers fail from now on, the connection closes.
    pub fn close(&self) {
        self.state.send_replace(State::Closed);
    }

    /// Does `work` on the connection within the deadline. While Redis is away it fails at once. `kind` is for the metrics.
    pub async fn call<T, F>(
        &self,
        kind: &'static str,
        work: impl FnOnce(Connection) -> F,
    ) -> Result<T, NoAnswer>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let (connection, number) = match &*self.state.borrow() {
            State::Up(connection, number) => (connection.clone(), *number),
            State::Down(why) => return Err(not_sent(kind, why)),
            State::Beginning => return Err(not_sent(kind, "redis is not connected yet")),
            State::Closed => return Err(not_sent(kind, "coordination was closed")),
        };
        METRICS.command(kind);
        let done = timeout(self.config.deadline, work(connection)).await;
        let (why, lost) = match done {
            Ok(Ok(value)) => {
                self.failures.store(0, Ordering::Relaxed);
                self.proved.fetch_or(kind != PING, Ordering::Relaxed);
                self.answered.store(true, Ordering::Relaxed);
                return Ok(value);
            }
            Ok(Err(error)) if is_an_answer(&error) => {
                METRICS.unavailable(kind);
                return Err(NoAnswer {
                    why: Unavailable(format!("redis refuses: {error}")),
                    unknown: false,
                });
            }
            Ok(Err(error)) => {
                // A cluster's connection looks for lost nodes by itself.
                let lost = !error.is_timeout() && has_one_socket(&self.state);
                (self.away(&error), lost)
            }
            Err(_) => {
                let why = format!(
                    "redis at {} does not answer within {:?}",
                    self.target.name(),
                    self.config.deadline
                );
                (why.into(), false)
            }
        };
        METRICS.unavailable(kind);
        if lost || self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
            self.lose(number, &why);
        }
        Err(NoAnswer {
            why: Unavailable(why.to_string()),
            unknown: true,
        })
    }

    /// From now on hints are heard: subscribes now if Redis is there, else when it is. Takes no longer than a call.
    pub async fn begin_listening(&self) {
        self.listened.store(true, Ordering::SeqCst);
        let _ = self.subscribe().await;
    }

    async fn connect(self: &Arc<Self>, number: u64) -> RedisResult<Connection> {
        let link = Arc::downgrade(self);
        let pushed = move |push| heard(&link, number, push);
        let opening = Connection::open(&self.target, &self.config, pushed);
        match timeout(self.config.connect, opening).await {
            Ok(outcome) => outcome,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }

    /// Returns when the connection is lost. Subscribes meanwhile if somebody listens, and sees to it that the loss of a quiet connection
    /// is noticed.
    async fn while_up(&self) {
        let mut state = self.state.subscribe();
        let mut refused = false;
        loop {
            if let Err(no_answer) = self.subscribe().await
                && !refused
            {
                refused = true;
                tracing::warn!(
                    channel = self.channel,
                    "hints of account changes cannot be heard, watchers poll instead: {}",
                    no_answer.why.0
                );
            }
            let quiet = !self.answered.swap(false, Ordering::Relaxed);
            // A cluster's connection looks after its own sockets.
            let alive = !quiet || !has_one_socket(&self.state) || self.is_alive().await;
            let look = if alive { LOOK } else { LOOK_AGAIN };
            let lost = state.wait_for(|state| !matches!(state, State::Up(..)));
            if timeout(look, lost).await.is_ok() {
                return;
            }
        }
    }

    async fn is_alive(&self) -> bool {
        let asked = self.call(PING, |mut connection| async move {
            ::redis::cmd("PING").exec_async(&mut connection).await
        });
        asked.await.is_ok()
    }

    /// Subscribes unless this connection is subscribed already, or nobody listens.
    async fn subscribe(&self) -> Result<(), NoAnswer> {
        let _alone = self.subscribing.lock().await;
        let number = match &*self.state.borrow() {
            State::Up(_, number) => *number,
            _ => return Ok(()),
        };
        if self.subscribed.load(Ordering::Acquire) == number || !self.listened.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.call("subscribe", |mut connection| async move {
            connection.subscribe(&self.channel).await
        })
        .await?;
        self.subscribed.store(number, Ordering::Release);
        Ok(())
    }

    fn could_not_connect(&self, error: &RedisError) {
        let why = self.away(error);
        self.state.send_if_modified(|state| {
            let open = !matches!(state, State::Closed);
            if open {
                *state = State::Down(why);
            }
            open
        });
    }

    /// Gives up the connection with this number, if it is still the one in use.
    fn lose(&self, number: u64, why: &Arc<str>) {
        self.state.send_if_modified(|state| {
            let current = matches!(state, State::Up(_, of) if *of == number);
            if current {
                *state = State::Down(why.clone());
            }
            current
        });
    }

    fn away(&self, error: &RedisError) -> Arc<str> {
        format!("redis at {} is away: {error}", self.target.name()).into()
    }
}

/// Counts a connection as up until it is dropped.
struct CountedUp;

impl CountedUp {
    fn new() -> Self {
        METRICS.up.add(1, &[]);
        Self
    }
}

impl Drop for CountedUp {
    fn drop(&mut self) {
        METRICS.up.add(-1, &[]);
    }
}

/// What the log has been told of an outage: one line when it begins, another only when the reason becomes one that a person has to
/// mend, one when it is over.
#[derive(Default)]
struct Outage {
    said: bool,
    said_refused: bool,
}

impl Outage {
    fn goes_on(&mut self, why: &str) {
        let refused = [
            "WRONGPASS",
            "NOAUTH",
            "NOPERM",
            "AuthenticationFailed",
            "Password authentication",
        ]
        .iter()
        .any(|sign| why.contains(sign));
        if !self.said {
            METRICS.lost.add(1, &[]);
        }
        if !self.said || (refused && !self.said_refused) {
            let advice = if refused {
                "check user and password in the configuration; until then"
            } else {
                "until it is back,"
            };
            tracing::warn!("{why}; {advice} limits are relaxed, mail is noticed later and no lease is given");
        }
        self.said = true;
        self.said_refused |= refused;
    }

    fn is_over(&mut self, target: &Target) {
        if self.said {
            METRICS.recovered.add(1, &[]);
            tracing::info!("redis at {} is back", target.name());
        }
        *self = Self::default();
    }
}

/// What Redis sends unasked: hints, the confirmation of a subscription, and (from the driver) the end of the connection.
fn heard(link: &Weak<Link>, number: u64, push: PushInfo) -> Result<(), ()> {
    let link = link.upgrade().ok_or(())?;
    match push.kind {
        PushKind::Message => {
            let payload = match push.data.get(1) {
                Some(::redis::Value::BulkString(bytes)) => bytes.as_slice(),
                _ => &[],
            };
            payload::decode(payload, |hint| {
                // Nobody listening is fine.
                let _ = link.hints.send(hint);
            });
        }
        // Before it hints may have been missed.
        PushKind::Subscribe => {
            let _ = link.hints.send(None);
        }
        PushKind::Disconnection if has_one_socket(&link.state) => {
            let why = format!("redis at {} is away: the connection broke", link.target.name());
            link.lose(number, &why.into());
        }
        _ => {}
    }
    Ok(())
}

fn has_one_socket(state: &watch::Sender<State>) -> bool {
    matches!(&*state.borrow(), State::Up(connection, _) if connection.has_one_socket())
}

/// Whether Redis is there and has refused this one command, as it does when its memory is full; anything else puts the connection
/// in doubt.
fn is_an_answer(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => !matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
        ),
        ErrorKind::Extension | ErrorKind::UnexpectedReturnType => true,
        _ => false,
    }
}

fn not_sent(kind: &'static str, why: &str) -> NoAnswer {
    METRICS.unavailable(kind);
    NoAnswer {
        why: Unavailable(why.into()),
        unknown: false,
    }
}
