//! The sink: the rest of the Internet, as a mail server under load sees it.
//!
//! **Duty:** takes mail on any number of addresses, answers as the [`Rules`] say (slowly, later, not at all, with the words of
//! large providers), and writes down what it received, for [`crate::ledger`] to reconcile.
//!
//! **Output:** the record, a line for every message × recipient, written before the client is answered. A message whose sender
//! got no answer (dropped behind the final dot, or gone before it could have read the 250) is written down as unanswered: it
//! may come again. Recipients refused for good are written down, too: they are owed a notification, not a delivery.
//!
//! **Limits:** [`MOST_CONNECTIONS`] at once, more wait in the kernel; a message of 50 MiB; messages are not kept, but for relays
//! that are made to convert them (256 MiB for all together).
//!
//! **X does not know Y:** it does not know the server under load, and decides nothing by what a message says.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use postrider_runtime::tls::Identity;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod accept;
pub mod command;
mod greylist;
mod hello;
mod letter;
mod plan;
mod record;
mod replies;
mod rules;
#[cfg(test)]
mod tests;
mod visit;
mod wire;

pub use record::{Counts, Received};
pub use replies::Replies;
pub use rules::{
    Actions, Delay, Drop, DropAt, Extension, Greylist, Pattern, Rate, Refuse, Rule, Rules, Span, Stage,
    TlsMode,
};

use greylist::Greylist as Greylisted;
use plan::Plan;
use record::{Counters, Record};

/// Connections at once; more wait until the kernel's line is full.
pub const MOST_CONNECTIONS: usize = 10_000;

/// How long visits may take to end when the sink is stopped.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Called for every message received, before its sender is answered; it must be quick.
pub type Watch = Arc<dyn Fn(&Received) + Send + Sync>;

/// What a sink is to be.
#[derive(Clone)]
pub struct Options {
    /// Where it listens; port 0 is any.
    pub listen: Vec<SocketAddr>,
    /// How it answers.
    pub rules: Rules,
    /// Where it writes down what it received; a record that is there is continued.
    pub record: Option<PathBuf>,
    /// Who is told as well.
    pub watch: Option<Watch>,
}

/// A sink that runs until it is stopped; dropping it stops it, too, without waiting.
#[derive(Debug)]
pub struct Sink {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    visits: TaskTracker,
}

/// What all visits share.
pub(crate) struct Shared {
    plan: Plan,
    record: Record,
    counters: Counters,
    greylist: Greylisted,
    identity: Option<Identity>,
    watch: Option<Watch>,
    /// Octets of messages that are kept.
    kept: AtomicU64,
    /// Connections by address of the client.
    clients: Mutex<HashMap<IpAddr, u32>>,
    stop: CancellationToken,
    /// Stopping has taken too long.
    abort: CancellationToken,
}

impl Sink {
    /// Listens, with all addresses or none.
    pub async fn start(options: Options) -> io::Result<Self> {
        let speaks_tls = options.rules.rules.iter().any(|rule| {
            let mode = rule.actions.tls.unwrap_or_default();
            mode != TlsMode::None
        });
        let shared = Arc::new(Shared {
            record: Record::open(options.record.as_deref())?,
            identity: speaks_tls
                .then(|| identity(&options.rules.hostname))
                .transpose()?,
            plan: Plan::new(Arc::new(options.rules), Instant::now()),
            counters: Counters::default(),
            greylist: Greylisted::default(),
            watch: options.watch,
            kept: AtomicU64::new(0),
            clients: Mutex::default(),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
        });
        let listeners = options.listen.into_iter().map(accept::Listener::open);
        let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
        let visits = TaskTracker::new();
        let room = Arc::new(tokio::sync::Semaphore::new(MOST_CONNECTIONS));
        let mut addresses = Vec::new();
        for listener in listeners {
            addresses.push(listener.address());
            let (visits_of, room) = (visits.clone(), room.clone());
            visits.spawn(listener.serve(shared.clone(), visits_of, room));
        }
        Ok(Self {
            addresses,
            shared,
            visits,
        })
    }

    /// Where it listens, in the order of [`Options::listen`].
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How much there was so far.
    pub fn counts(&self) -> Counts {
        self.shared.counters.now()
    }

    /// Stops listening and lets transactions end, for five seconds at most.
    pub async fn stop(self) -> Counts {
        self.shared.stop.cancel();
        self.visits.close();
        if tokio::time::timeout(LAST_WORDS, self.visits.wait())
            .await
            .is_err()
        {
            self.shared.abort.cancel();
            self.visits.wait().await;
        }
        self.counts()
    }
}

impl std::ops::Drop for Sink {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// A certificate that nobody has signed, for the sink's own name.
fn identity(hostname: &str) -> io::Result<Identity> {
    let directory = tempfile::tempdir()?;
    Identity::self_signed(directory.path(), hostname).map_err(io::Error::other)
}
