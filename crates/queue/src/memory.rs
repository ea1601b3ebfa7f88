//! The memory engine: for tests, and for a node that may forget its queue.
//!
//! Tests can make any call fail, or leave its outcome unknown, and can have it work in separate steps as a distributed engine
//! does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use postrider_types::{Domain, UnitId};

use crate::engine::{
    Change, Counts, Cursor, Holds, Page, REMEMBERED, Suspension, Units, WakeUp, WakeUps, Written,
};
use crate::queue::Clock;
use crate::timer::{END, Timer};
use crate::{Error, Result, State, Unit};

/// The longest sleep between two looks at the clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// What a test does to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and has done nothing.
    Fail,
    /// It has done nothing, but the caller cannot know.
    UnknownUndone,
    /// It is done, but the caller cannot know.
    UnknownDone,
}

/// Decides, by the name of the call (`insert`, `claim`, `renew`, `unclaim`, `apply`, `schedule`), what happens to it. `settle` stands
/// between the two steps of an `apply` that is not atomic: failing there is a crash in between.
pub type Faults = Arc<dyn Fn(&'static str) -> Option<Fault> + Send + Sync>;

/// The engine. Both traits are on it.
pub struct Memory {
    rows: Mutex<Rows>,
    timer: Timer,
    holds: Arc<dyn Holds>,
    clock: Clock,
    faults: Faults,
    atomic: bool,
}

#[derive(Default)]
struct Rows {
    units: BTreeMap<UnitId, Unit>,
    removed: BTreeMap<UnitId, u64>,
    suspended: BTreeMap<Domain, Suspension>,
}

impl Memory {
    /// An empty queue whose units hold their contents through `holds`.
    pub fn new(holds: Arc<dyn Holds>, clock: Clock) -> Self {
        Self {
            rows: Mutex::default(),
            timer: Timer::new(usize::MAX, END),
            holds,
            clock,
            faults: Arc::new(|_| None),
            atomic: true,
        }
    }

    /// With faults, and with rows and notices written one after the other.
    #[must_use]
    pub fn with_faults(self, faults: Faults) -> Self {
        Self {
            faults,
            atomic: false,
            ..self
        }
    }

    /// With rows and notices written in one step, faults or not.
    #[must_use]
    pub fn atomic(self) -> Self {
        Self { atomic: true, ..self }
    }

    fn before(&self, call: &'static str) -> Result<Option<Fault>> {
        match (self.faults)(call) {
            Some(Fault::Fail) => Err(Error::Unavailable(format!("{call} was made to fail"))),
            Some(Fault::UnknownUndone) => Err(Error::Unknown(format!("{call} was cut off before"))),
            other => Ok(other),
        }
    }

    fn after<T>(fault: Option<Fault>, call: &'static str, done: T) -> Result<T> {
        match fault {
            Some(_) => Err(Error::Unknown(format!("{call} was cut off behind"))),
            None => Ok(done),
        }
    }

    async fn put(&self, units: Vec<Unit>) -> Result<()> {
        for unit in &units {
            self.holds.hold(unit.new.content, unit.new.id).await?;
        }
        let now = (self.clock)();
        let mut superfluous = Vec::new();
        {
            let mut rows = self.rows.lock();
            rows.removed
                .retain(|_, when| when.saturating_add(REMEMBERED) > now);
            for unit in units {
                let (content, id) = (unit.new.content, unit.new.id);
                let kept = match rows.removed.contains_key(&id) {
                    true => None,
                    false => Some(rows.units.entry(id).or_insert(unit).new.content),
                };
                // What is inserted again may have come with a content of its own.
                if kept != Some(content) {
                    superfluous.push((content, id));
                }
            }
        }
        for (content, unit) in superfluous {
            self.holds.release(content, unit).await?;
        }
        Ok(())
    }
}

impl Rows {
    /// The row, if it has this generation.
    fn at(&mut self, id: UnitId, generation: u64) -> Option<&mut Unit> {
        self.units
            .get_mut(&id)
            .filter(|unit| unit.generation == generation)
    }
}

#[async_trait]
impl Units for Memory {
    async fn insert(&self, units: Vec<Unit>, body: Option<Bytes>) -> Result<()> {
        let fault = self.before("insert")?;
        if let (Some(body), Some(first)) = (body, units.first()) {
            self.holds.put(first.new.content, body).await?;
        }
        self.put(units).await?;
        Self::after(fault, "insert", ())
    }

    async fn get(&self, id: UnitId) -> Result<Option<Unit>> {
        Ok(self.rows.lock().units.get(&id).cloned())
    }

    async fn claim(&self, id: UnitId, generation: u64, now: u64, lease: u64) -> Result<Option<Unit>> {
        let fault = self.before("claim")?;
        let claimed = self.rows.lock().at(id, generation).and_then(|unit| {
            let free = unit.state == State::Queued || unit.state == State::Sending && unit.lease < now;
            free.then(|| {
                unit.generation += 1;
                (unit.state, unit.lease) = (State::Sending, lease);
                unit.clone()
            })
        });
        Self::after(fault, "claim", claimed)
    }

    async fn renew(&self, id: UnitId, generation: u64, lease: u64) -> Result<Written> {
        let fault = self.before("renew")?;
        let written = match self
            .rows
            .lock()
            .at(id, generation)
            .filter(|unit| unit.state == State::Sending)
        {
            Some(unit) => {
                unit.lease = lease;
                Written::Yes
            }
            None => Written::No,
        };
        Self::after(fault, "renew", written)
    }

    async fn unclaim(&self, id: UnitId, generation: u64, due: u64) -> Result<Option<u64>> {
        let fault = self.before("unclaim")?;
        let generation = self.rows.lock().at(id, generation).map(|unit| {
            unit.generation += 1;
            (unit.state, unit.lease, unit.next_attempt) = (State::Queued, 0, due);
            unit.generation
        });
        Self::after(fault, "unclaim", generation)
    }

    async fn apply(&self, change: Change) -> Result<Written> {
        let fault = self.before("apply")?;
        if self.rows.lock().at(change.id, change.expected).is_none() {
            return Self::after(fault, "apply", Written::No);
        }
        let notices = !change.inserts.is_empty();
        self.put(change.inserts).await?;
        if notices && !self.atomic {
            self.before("settle")?;
        }
        let removed = {
            let now = (self.clock)();
            let mut rows = self.rows.lock();
            if rows.at(change.id, change.expected).is_none() {
                return Self::after(fault, "apply", Written::No);
            }
            match change.row {
                Some(row) => {
                    rows.units.insert(change.id, row);
                    false
                }
                None => {
                    rows.units.remove(&change.id);
                    rows.removed.insert(change.id, now);
                    true
                }
            }
        };
        if removed {
            self.holds.release(change.content, change.id).await?;
        }
        Self::after(fault, "apply", Written::Yes)
    }

    fn applies_atomically(&self) -> bool {
        self.atomic
    }

    async fn page(&self, after: Option<Cursor>, limit: usize) -> Result<Page<Unit>> {
        let rows = self.rows.lock();
        let after = after.and_then(|cursor| UnitId::from_slice(&cursor.0));
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let items: Vec<Unit> = rows
            .units
            .range((from, std::ops::Bound::Unbounded))
            .take(limit)
            .map(|(_, unit)| unit.clone())
            .collect();
        let more = items.len() == limit;
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| Cursor(last.new.id.as_bytes().to_vec()));
        Ok(Page { items, next })
    }

    async fn overdue(&self, before: u64, after: Option<Cursor>, limit: usize) -> Result<Page<WakeUp>> {
        let page = self.page(after, limit).await?;
        let overdue = |unit: &Unit| match unit.state {
            State::Queued => unit.next_attempt < before,
            State::Sending => unit.lease < before,
            _ => false,
        };
        Ok(Page {
            items: page
                .items
                .iter()
                .filter(|unit| overdue(unit))
                .map(WakeUp::of)
                .collect(),
            next: page.next,
        })
    }

    async fn counts(&self) -> Result<Counts> {
        let rows = self.rows.lock();
        let mut counts = Counts::default();
        for unit in rows.units.values() {
            match unit.state {
                State::Queued => counts.queued += 1,
                State::Sending => counts.sending += 1,
                State::Held => counts.held += 1,
                _ => {}
            }
        }
        counts.oldest = rows.units.values().map(|unit| unit.created).min().unwrap_or(0);
        Ok(counts)
    }

    async fn suspend(&self, domain: Domain, suspension: Option<Suspension>) -> Result<()> {
        let mut rows = self.rows.lock();
        match suspension {
            Some(suspension) => rows.suspended.insert(domain, suspension),
            None => rows.suspended.remove(&domain),
        };
        Ok(())
    }

    async fn suspensions(&self) -> Result<Vec<(Domain, Suspension)>> {
        Ok(self.rows.lock().suspended.clone().into_iter().collect())
    }
}

#[async_trait]
impl WakeUps for Memory {
    async fn schedule(&self, wake_ups: Vec<WakeUp>) -> Result<()> {
        let fault = self.before("schedule")?;
        self.timer.add(&wake_ups, (self.clock)());
        Self::after(fault, "schedule", ())
    }

    async fn take(&self, limit: usize) -> Result<Vec<WakeUp>> {
        loop {
            let now = (self.clock)();
            let due = self.timer.pop(now, limit.max(1));
            if !due.is_empty() {
                return Ok(due);
            }
            let wait = self
                .timer
                .next_due()
                .map_or(u64::MAX, |due| due.saturating_sub(now));
            let wait = Duration::from_millis(wait).min(LONGEST_SLEEP);
            let _ = tokio::time::timeout(wait, self.timer.changed.notified()).await;
        }
    }

    async fn done(&self, _wake_up: WakeUp) {}
}
