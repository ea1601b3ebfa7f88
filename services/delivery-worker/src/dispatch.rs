//! From due units to sites: the loop that takes work, and the connections it leads to.
//!
//! A unit that is due is read (not claimed), its destination is looked up, and it waits at its site. It is claimed when a
//! connection is about to be made for it, or is free. The loop never waits for a destination: lookups run beside it, and a
//! destination that already has its share of waiting units has further ones put off.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::{self, FuturesUnordered};
use opentelemetry::KeyValue;
use parking_lot::Mutex;
use postrider_queue::engine::WakeUp;
use postrider_queue::{Destination, Unit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::resolve::{Exchangers, Trouble};
use crate::routes::{Host, parse_host};
use crate::shared::{ASK_AGAIN, Shared};
use crate::site::{Added, Site};
use crate::{connect, local};

/// Wake-ups taken at a time, and batches of them that are being placed: one that has to write rows holds up no other.
const BATCH: usize = 256;
const BATCHES: usize = 4;
/// How long the loop waits when the queue cannot be read.
const PAUSE: Duration = Duration::from_secs(1);
/// How often sites and answers nobody uses are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// Units whose failure for one reason is recorded at a time.
const FAILING: usize = 64;
/// The longest time for which a site that could not be reached is left alone.
const MOST_AVOIDED: Duration = Duration::from_secs(60);
/// When a unit is looked at again whose destination is just being looked up, or which waits for an account of ours.
const CROWDED: Duration = Duration::from_secs(5);
/// A unit that is put off is not looked at again before this.
const SOONEST: Duration = Duration::from_secs(1);
/// What every destination may have waiting, however many destinations there are.
const LEAST_SHARE: usize = 16;

/// Sites by their hosts, and what is known of destinations.
#[derive(Default)]
struct Map {
    sites: HashMap<Vec<Host>, Arc<Site>>,
    /// Units that wait at all of them together.
    waiting: Arc<AtomicUsize>,
    destinations: HashMap<String, Lookup>,
}

/// What is known of a destination.
enum Lookup {
    /// Being looked up; these wait for the answer.
    Pending(Vec<(u64, WakeUp)>),
    /// Its site, and until when the answer may be used.
    Known(Arc<Site>, Instant),
}

/// The dispatcher.
#[derive(Clone)]
pub struct Dispatcher {
    shared: Arc<Shared>,
    map: Arc<Mutex<Map>>,
    local: Arc<Semaphore>,
    /// Local units that may wait for their turn.
    local_waiting: Arc<Semaphore>,
}

impl Dispatcher {
    /// A dispatcher that knows nothing yet.
    pub fn new(shared: Arc<Shared>) -> Self {
        let limits = &shared.settings.limits;
        let local = Arc::new(Semaphore::new(limits.local.max(1)));
        let local_waiting = Arc::new(Semaphore::new(limits.waiting_per_destination.max(LEAST_SHARE)));
        Self {
            shared,
            map: Arc::default(),
            local,
            local_waiting,
        }
    }

    /// Takes work until the worker drains.
    pub async fn run(self, mut growing: mpsc::Receiver<Arc<Site>>) {
        let drain = self.shared.drain.clone();
        let mut placing = FuturesUnordered::new();
        let mut forgotten = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = drain.cancelled() => return,
                Some(()) = placing.next() => {}
                Some(site) = growing.recv() => self.connect(site),
                taken = self.shared.queue.take(BATCH), if placing.len() < BATCHES => {
                    match taken {
                        Ok(wake_ups) => placing.push(self.place_all(wake_ups)),
                        Err(error) => {
                            tracing::warn!(%error, "due units cannot be read");
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                }
            }
            if forgotten.elapsed() > FORGET_EVERY {
                self.forget();
                forgotten = Instant::now();
            }
        }
    }

    /// Reads due units together, and brings each to where it waits.
    async fn place_all(&self, wake_ups: Vec<WakeUp>) {
        match self.shared.queue.peek_all(wake_ups.clone()).await {
            Ok(units) => {
                let placed = units.into_iter().map(|(wake_up, unit)| self.place(wake_up, unit));
                join_all(placed).await;
            }
            Err(error) => {
                tracing::warn!(%error, "due units cannot be read; they are tried again");
                let queue = &self.shared.queue;
                join_all(
                    wake_ups
                        .into_iter()
                        .map(|wake_up| queue.again(wake_up, ASK_AGAIN)),
                )
                .await;
            }
        }
    }

    async fn place(&self, wake_up: WakeUp, unit: Unit) {
        if self.shared.queue.is_suspended(&unit.new.destination) || !unit.owed.is_empty() {
            // The claim finds out the same, and does what is to be done.
            let shared = self.shared.clone();
            self.shared.tasks.spawn(async move {
                if let Some(claim) = shared.claim(wake_up).await {
                    shared.give_back(claim).await;
                }
            });
            return;
        }
        match &unit.new.destination {
            Destination::Local => self.deliver_locally(wake_up, unit).await,
            Destination::Remote(_) => self.send(unit, wake_up).await,
        }
    }

    async fn deliver_locally(&self, wake_up: WakeUp, unit: Unit) {
        let Ok(place) = self.local_waiting.clone().try_acquire_owned() else {
            return self.postpone(wake_up, Some(unit), CROWDED).await;
        };
        let (shared, turns) = (self.shared.clone(), self.local.clone());
        self.shared.tasks.spawn(async move {
            let turn = tokio::select! {
                turn = turns.acquire_owned() => turn,
                () = shared.drain.cancelled() => return,
            };
            drop(place);
            if let (Ok(_turn), Some(claim)) = (turn, shared.claim(wake_up).await) {
                local::deliver(&shared, claim).await;
            }
        });
    }

    async fn send(&self, unit: Unit, wake_up: WakeUp) {
        let sender = sender_of(&unit);
        let route = self.route(&unit);
        let key = match &route {
            Some(host) => format!("{}:{}", host.name, host.port),
            None => unit.new.destination.as_str().to_owned(),
        };
        let known = {
            let mut map = self.map.lock();
            let share = map.share(&self.shared);
            match map.destinations.get_mut(&key) {
                Some(Lookup::Known(site, until)) if *until > Instant::now() => Some(site.clone()),
                Some(Lookup::Pending(waiting)) if waiting.len() < share => {
                    return waiting.push((sender, wake_up));
                }
                Some(Lookup::Pending(_)) => None,
                Some(Lookup::Known(..)) | None => {
                    map.destinations
                        .insert(key.clone(), Lookup::Pending(vec![(sender, wake_up)]));
                    drop(map);
                    return self.look_up(key, unit.new.destination.clone(), route);
                }
            }
        };
        match known {
            Some(site) => self.add(&site, sender, wake_up, Some(unit)).await,
            None => self.postpone(wake_up, Some(unit), CROWDED).await,
        }
    }

    /// The host an operator or the configuration names.
    fn route(&self, unit: &Unit) -> Option<Host> {
        if let Some(host) = parse_host(&unit.reroute) {
            return Some(host);
        }
        match &unit.new.destination {
            Destination::Remote(domain) => self.shared.settings.routes.get(domain).cloned(),
            Destination::Local => None,
        }
    }

    fn look_up(&self, key: String, destination: Destination, route: Option<Host>) {
        let this = self.clone();
        self.shared.tasks.spawn(async move {
            let found = match (route, &destination) {
                (Some(host), _) => Ok(Exchangers {
                    hosts: vec![host],
                    until: Instant::now() + FORGET_EVERY,
                }),
                (None, Destination::Remote(domain)) => this.shared.resolver.exchangers(domain).await,
                (None, Destination::Local) => return,
            };
            match found {
                Ok(exchangers) => this.found(key, exchangers).await,
                Err(trouble) => this.not_found(key, trouble).await,
            }
        });
    }

    async fn found(&self, key: String, exchangers: Exchangers) {
        let (site, waiting) = {
            let mut map = self.map.lock();
            let most = self.shared.settings.limits.per_destination;
            let Exchangers { hosts, until } = exchangers;
            let total = map.waiting.clone();
            let site = map
                .sites
                .entry(hosts.clone())
                .or_insert_with(|| Arc::new(Site::new(hosts, most, total)))
                .clone();
            let waiting = match map.destinations.insert(key, Lookup::Known(site.clone(), until)) {
                Some(Lookup::Pending(waiting)) => waiting,
                _ => Vec::new(),
            };
            (site, waiting)
        };
        for (sender, wake_up) in waiting {
            self.add(&site, sender, wake_up, None).await;
        }
    }

    async fn not_found(&self, key: String, trouble: Trouble) {
        let waiting = match self.map.lock().destinations.remove(&key) {
            Some(Lookup::Pending(waiting)) => waiting,
            _ => return,
        };
        self.fail_all(waiting.into_iter().map(|(_, wake_up)| wake_up), &trouble)
            .await;
    }

    /// `seen`: its row, when it has just been read.
    async fn add(&self, site: &Arc<Site>, sender: u64, wake_up: WakeUp, seen: Option<Unit>) {
        let share = self.map.lock().share(&self.shared);
        match site.add(sender, wake_up.clone(), share) {
            Added::Waits => {}
            Added::Known => self.shared.queue.dismiss(wake_up).await,
            Added::Connect => self.connect(site.clone()),
            Added::Full => self.postpone(wake_up, seen, site.backlog()).await,
            Added::Avoided(trouble) => self.fail(wake_up, &trouble).await,
        }
    }

    /// Makes a connection that the site has counted.
    fn connect(&self, site: Arc<Site>) {
        let this = self.clone();
        self.shared.tasks.spawn(async move {
            let permit = this.shared.connections.clone().acquire_owned().await;
            if let Ok(permit) = permit {
                this.serve(&site, permit).await;
            }
            if site.disconnected() && !this.shared.drain.is_cancelled() {
                this.connect(site);
            }
        });
    }

    /// Serves a site's units over one connection.
    async fn serve(&self, site: &Arc<Site>, permit: OwnedSemaphorePermit) {
        let claim = loop {
            let Some(wake_up) = site.pop().filter(|_| !self.shared.drain.is_cancelled()) else {
                return;
            };
            if let Some(claim) = self.shared.claim(wake_up).await {
                break claim;
            }
        };
        let began = self.shared.queue.now();
        let outcome = connect::serve(&self.shared, site, claim).await;
        drop(permit);
        let Err((claim, trouble)) = outcome else { return };
        if self.shared.drain.is_cancelled() {
            return self.shared.give_back(claim).await;
        }
        self.shared
            .record
            .metrics
            .attempts
            .add(1, &[KeyValue::new("outcome", "unreachable")]);
        self.shared.record.attempt(claim.unit(), trouble.reply.clone());
        // Whoever comes back for a second try is not turned away for what the first one found.
        let avoided = MOST_AVOIDED.min(self.shared.queue.settings().retry.first / 2);
        site.unreachable(trouble.clone(), avoided);
        self.shared.finish_all(claim, began, &trouble).await;
        // Whoever waits behind it would find the same.
        self.fail_all(std::iter::from_fn(|| site.pop()), &trouble).await;
    }

    /// Records an attempt that ended before it could begin.
    async fn fail(&self, wake_up: WakeUp, trouble: &Trouble) {
        if let Some(claim) = self.shared.claim(wake_up).await {
            let began = self.shared.queue.now();
            self.shared.record.attempt(claim.unit(), trouble.reply.clone());
            self.shared.finish_all(claim, began, trouble).await;
        }
    }

    /// Some at a time, so that they share the syncs of the disk.
    async fn fail_all(&self, wake_ups: impl Iterator<Item = WakeUp>, trouble: &Trouble) {
        stream::iter(wake_ups)
            .for_each_concurrent(FAILING, |wake_up| self.fail(wake_up, trouble))
            .await;
    }

    /// Its destination has more waiting than it can take: when that may be done (`backlog`), but not later than a retry
    /// would be.
    async fn postpone(&self, wake_up: WakeUp, seen: Option<Unit>, backlog: Duration) {
        let most = self.shared.queue.settings().retry.max;
        let wait = backlog
            .clamp(SOONEST.min(most), most)
            .mul_f64(0.5 + rand::random::<f64>() / 2.0);
        self.shared.record.metrics.postponed.add(1, &[]);
        if let Err(error) = self.shared.queue.postpone(wake_up, seen, wait).await {
            tracing::warn!(%error, "a unit could not be put off; the reconciler finds it again");
        }
    }

    fn forget(&self) {
        let mut map = self.map.lock();
        let now = Instant::now();
        map.destinations
            .retain(|_, lookup| !matches!(lookup, Lookup::Known(_, until) if *until <= now));
        map.sites
            .retain(|_, site| Arc::strong_count(site) > 1 || !site.is_forgotten());
    }
}

impl Map {
    /// How many units of one destination may wait: as many as there is room left for, so that whoever has most leaves as
    /// much to the others.
    fn share(&self, shared: &Shared) -> usize {
        let limits = &shared.settings.limits;
        let room = limits
            .waiting
            .saturating_sub(self.waiting.load(Ordering::Relaxed));
        room.clamp(LEAST_SHARE, limits.waiting_per_destination.max(LEAST_SHARE))
    }
}

/// Whose turn a unit takes: the submitting account's, or the reverse-path's.
fn sender_of(unit: &Unit) -> u64 {
    let mut hash = DefaultHasher::new();
    match (&unit.new.submitter, &unit.new.sender.0) {
        (Some(account), _) => account.hash(&mut hash),
        (None, Some(sender)) => sender.hash(&mut hash),
        (None, None) => {}
    }
    hash.finish()
}
