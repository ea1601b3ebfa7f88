//! A destination site: who waits for it, and how many connections it gets.
//!
//! A site is one set of mail exchangers; domains that share theirs share a site, its connections and its limits. Whoever sends
//! much waits behind himself, not before others: senders take turns.
//!
//! Concurrency begins small, grows by one for each round of messages that went well, and is halved when the site says 421,
//! falls silent or cannot be reached.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use postrider_queue::engine::WakeUp;
use postrider_types::UnitId;
use tokio::sync::Notify;

use crate::resolve::Trouble;
use crate::routes::Host;

/// Connections a site begins with.
const BEGIN: f64 = 2.0;
/// Between two units of a site, as long as nothing is known of it.
const FIRST_PACE: Duration = Duration::from_millis(5);
/// A silence this many times the pace says that the pace is no longer true.
const SILENCE: u32 = 8;
/// How long a site that nobody needs is remembered.
const REMEMBERED: Duration = Duration::from_secs(120);

/// A destination site.
pub struct Site {
    /// Its exchangers, by preference.
    pub hosts: Vec<Host>,
    most_connections: usize,
    /// Units that wait at all sites together.
    total: Arc<AtomicUsize>,
    state: Mutex<State>,
    /// Somebody has come to wait.
    arrived: Notify,
}

struct State {
    senders: HashMap<u64, VecDeque<WakeUp>>,
    turns: VecDeque<u64>,
    /// The rows that wait, by unit and generation: the reconciler finds them again and again.
    known: HashSet<(UnitId, u64)>,
    waiting: usize,
    connections: usize,
    /// Connections that have nothing to do right now.
    idle: usize,
    allowed: f64,
    avoided: Option<(Instant, Trouble)>,
    used: Instant,
    /// When a unit was last taken, and the time between two of them (a sliding mean).
    taken: Instant,
    pace: Duration,
}

/// What came of adding a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// It waits; a connection will take it.
    Waits,
    /// It waits, and one more connection is to be made. It is counted already.
    Connect,
    /// It waits already.
    Known,
    /// Too many wait already.
    Full,
    /// The site could not be reached a moment ago: do not try.
    Avoided(Trouble),
}

impl Site {
    /// A site nobody waits for yet. `total` counts those who wait anywhere.
    pub fn new(hosts: Vec<Host>, most_connections: usize, total: Arc<AtomicUsize>) -> Self {
        let state = State {
            senders: HashMap::new(),
            turns: VecDeque::new(),
            known: HashSet::new(),
            waiting: 0,
            connections: 0,
            idle: 0,
            allowed: BEGIN,
            avoided: None,
            used: Instant::now(),
            taken: Instant::now(),
            pace: FIRST_PACE,
        };
        Self {
            hosts,
            most_connections: most_connections.max(1),
            total,
            state: Mutex::new(state),
            arrived: Notify::new(),
        }
    }

    /// Lets a unit of a sender wait, unless `most` wait already.
    pub fn add(&self, sender: u64, wake_up: WakeUp, most: usize) -> Added {
        let mut state = self.state.lock();
        state.used = Instant::now();
        let row = (wake_up.unit, wake_up.generation);
        if state.known.contains(&row) {
            return Added::Known;
        }
        match &state.avoided {
            Some((until, trouble)) if *until > state.used => return Added::Avoided(trouble.clone()),
            _ => state.avoided = None,
        }
        if state.waiting >= most {
            return Added::Full;
        }
        state.known.insert(row);
        let queue = state.senders.entry(sender).or_default();
        queue.push_back(wake_up);
        if queue.len() == 1 {
            state.turns.push_back(sender);
        }
        state.waiting += 1;
        self.total.fetch_add(1, Ordering::Relaxed);
        let connect = self.grows(&mut state);
        drop(state);
        self.arrived.notify_one();
        if connect { Added::Connect } else { Added::Waits }
    }

    /// The next unit: one of the sender whose turn it is.
    pub fn pop(&self) -> Option<WakeUp> {
        let mut state = self.state.lock();
        let sender = state.turns.pop_front()?;
        let queue = state.senders.get_mut(&sender)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            state.senders.remove(&sender);
        } else {
            state.turns.push_back(sender);
        }
        if let Some(next) = &next {
            state.known.remove(&(next.unit, next.generation));
            state.waiting -= 1;
            self.total.fetch_sub(1, Ordering::Relaxed);
            state.pace = (state.pace * 15 + state.taken.elapsed()) / 16;
            state.taken = Instant::now();
        }
        if state.waiting > 0 {
            self.arrived.notify_one();
        }
        next
    }

    /// How long what waits now will take, at the pace of late.
    pub fn backlog(&self) -> Duration {
        let state = self.state.lock();
        let pace = state.pace.max(state.taken.elapsed() / SILENCE);
        pace.saturating_mul(u32::try_from(state.waiting).unwrap_or(u32::MAX))
    }

    /// Waits for the next unit, as a connection with nothing to do. Cancel-safe.
    pub async fn next(&self) -> WakeUp {
        let _idle = Idle::of(self);
        loop {
            match self.pop() {
                Some(wake_up) => return wake_up,
                None => self.arrived.notified().await,
            }
        }
    }

    /// Whether a connection that has ended its message should go on: false when there are more than allowed.
    pub fn may_go_on(&self) -> bool {
        let state = self.state.lock();
        state.connections <= self.allowed(&state)
    }

    /// A message went well. True: one more connection is to be made for those that wait; it is counted already.
    pub fn succeeded(&self) -> bool {
        let mut state = self.state.lock();
        state.allowed = (state.allowed + 1.0 / state.allowed).min(self.most_connections as f64);
        self.grows(&mut state)
    }

    /// The site said 421, or fell silent.
    pub fn overloaded(&self) {
        let mut state = self.state.lock();
        state.allowed = (state.allowed / 2.0).max(1.0);
    }

    /// The site could not be reached: nobody tries for a while.
    pub fn unreachable(&self, trouble: Trouble, avoided: Duration) {
        let mut state = self.state.lock();
        state.allowed = 1.0;
        state.avoided = Some((Instant::now() + avoided, trouble));
    }

    /// A connection has ended. True: another one is to be made for those that wait; it is counted already.
    pub fn disconnected(&self) -> bool {
        let mut state = self.state.lock();
        state.connections -= 1;
        self.grows(&mut state)
    }

    /// A connection that was counted is not made.
    pub fn forgo(&self) {
        self.state.lock().connections -= 1;
    }

    /// Whether nothing has happened here for a while, so that the site can be forgotten.
    pub fn is_forgotten(&self) -> bool {
        let state = self.state.lock();
        state.waiting == 0 && state.connections == 0 && state.used.elapsed() > REMEMBERED
    }

    /// Whether one more connection is to be made; it is counted then.
    fn grows(&self, state: &mut State) -> bool {
        let more = state.waiting > state.idle && state.connections < self.allowed(state);
        state.connections += usize::from(more);
        more
    }

    fn allowed(&self, state: &State) -> usize {
        // At least one, and small: the conversion is exact.
        (state.allowed as usize).clamp(1, self.most_connections)
    }
}

/// Counts a connection as idle while it waits.
struct Idle<'a>(&'a Site);

impl<'a> Idle<'a> {
    fn of(site: &'a Site) -> Self {
        site.state.lock().idle += 1;
        Self(site)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.state.lock().idle -= 1;
    }
}

#[cfg(test)]
mod tests {
    use postrider_queue::engine::Lane;

    use super::*;

    fn wake_up() -> WakeUp {
        WakeUp {
            unit: UnitId::generate(),
            generation: 1,
            due: 0,
            lane: Lane::Fresh,
            token: 0,
            key: 0,
            trace: String::new(),
        }
    }

    #[test]
    fn senders_take_turns() {
        let site = Site::new(Vec::new(), 4, Arc::default());
        let bulk: Vec<WakeUp> = (0..3).map(|_| wake_up()).collect();
        let single = wake_up();
        bulk.iter().for_each(|unit| drop(site.add(1, unit.clone(), 10)));
        site.add(2, single.clone(), 10);
        let order: Vec<WakeUp> = std::iter::from_fn(|| site.pop()).collect();
        assert_eq!(order, [bulk[0].clone(), single, bulk[1].clone(), bulk[2].clone()]);
        assert!(site.pop().is_none());
    }

    #[test]
    fn a_unit_that_is_found_again_waits_once() {
        let site = Site::new(Vec::new(), 4, Arc::default());
        let unit = wake_up();
        site.add(1, unit.clone(), 1);
        assert_eq!(site.add(1, unit.clone(), 1), Added::Known, "and is not put off");
        let changed = WakeUp {
            generation: 2,
            ..unit.clone()
        };
        assert_eq!(site.add(1, changed, 1), Added::Full);
        assert_eq!(site.pop(), Some(unit.clone()));
        assert_eq!(site.pop(), None);
        assert_ne!(site.add(1, unit, 1), Added::Known);
    }

    #[test]
    fn concurrency_grows_with_success_and_is_halved_by_trouble() {
        let site = Site::new(Vec::new(), 6, Arc::default());
        let connects = |count: usize| {
            (0..count)
                .filter(|_| site.add(1, wake_up(), 99) == Added::Connect)
                .count()
        };
        assert_eq!(connects(10), 2);
        assert_eq!(
            (0..40).filter(|_| site.succeeded()).count(),
            4,
            "those that wait get more connections"
        );
        assert_eq!(connects(10), 0);
        site.overloaded();
        assert!(!site.may_go_on());
        (0..3).for_each(|_| assert!(!site.disconnected()));
        assert!(site.may_go_on());
        assert!(site.disconnected(), "those that still wait get another");
    }

    #[test]
    fn a_full_or_unreachable_site_takes_nobody() {
        let site = Site::new(Vec::new(), 6, Arc::default());
        site.add(1, wake_up(), 1);
        assert_eq!(site.add(1, wake_up(), 1), Added::Full);
        let trouble = Trouble::temporary("4.4.1 no answer");
        site.unreachable(trouble.clone(), Duration::from_secs(60));
        assert_eq!(site.add(1, wake_up(), 9), Added::Avoided(trouble));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let site = Arc::new(Site::new(Vec::new(), 6, Arc::default()));
        let unit = wake_up();
        let waiting = {
            let site = site.clone();
            tokio::spawn(async move { site.next().await })
        };
        tokio::task::yield_now().await;
        assert_eq!(
            site.add(1, unit.clone(), 9),
            Added::Waits,
            "an idle connection is there"
        );
        assert_eq!(waiting.await.unwrap(), unit);
    }

    #[test]
    fn the_backlog_is_told_by_the_pace() {
        let site = Site::new(Vec::new(), 1, Arc::default());
        for _ in 0..1000 {
            site.add(1, wake_up(), 1000);
        }
        assert!(site.backlog() >= FIRST_PACE * 1000, "nothing is known yet");
        for _ in 0..200 {
            site.pop();
        }
        assert!(
            site.backlog() < Duration::from_secs(2),
            "a quick site: {:?}",
            site.backlog()
        );
        site.state.lock().taken = Instant::now() - Duration::from_secs(80);
        assert!(
            site.backlog() >= Duration::from_secs(8000),
            "a site that has fallen silent: {:?}",
            site.backlog()
        );
    }
}
