//! The queue: the state machine over an engine's rows and wake-ups.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::RwLock;
use postrider_types::{DeliveryId, Domain, UnitId};

use crate::engine::{Change, Counts, Cursor, Page, Suspension, Units, WakeUp, WakeUps, Written};
use crate::machine::{self, Report, Verb, Verdict, millis};
use crate::{Destination, Error, NewUnit, Result, RetryPolicy, State, Unit};

/// How often a compare-and-set that lost is tried again with a fresh row.
const TRIES: usize = 8;
/// How long after a lease it is looked whether its worker has died.
const BEHIND_LEASE: Duration = Duration::from_secs(1);
/// Wake-ups a reconciler reads at a time.
const RECONCILE_PAGE: usize = 1000;

/// What time it is, in milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis))
}

/// How the queue behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// When to try again, when to warn, when to give up.
    pub retry: RetryPolicy,
    /// How long a claim holds unless it is renewed. Default 2 minutes.
    pub lease: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            lease: Duration::from_secs(120),
        }
    }
}

/// The outbound queue. Cheap to clone; all clones are one queue.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    units: Arc<dyn Units>,
    wake_ups: Arc<dyn WakeUps>,
    settings: Settings,
    clock: Clock,
    /// The suspended domains, as last read.
    suspended: RwLock<Vec<Domain>>,
    /// The version they had then.
    seen: AtomicU64,
}

/// A unit that is ours to send until its lease passes. Ends in [`Queue::finish`] or [`Queue::give_back`]; when it is
/// dropped, the unit is taken up again after the lease.
#[derive(Debug)]
pub struct Claim {
    unit: Box<Unit>,
    body: Option<Bytes>,
    wake_up: WakeUp,
}

impl Claim {
    /// The unit as it was claimed.
    pub fn unit(&self) -> &Unit {
        &self.unit
    }

    /// The whole content, when it came with the unit a moment ago and is still at hand. Otherwise it is in the store, as it
    /// is in any case.
    pub fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// What prolongs it, from wherever the time is kept.
    pub fn ticket(&self) -> Ticket {
        Ticket {
            unit: self.unit.new.id,
            generation: self.unit.generation,
        }
    }

    /// Nothing is to be sent: the sender is still to be told of what is recorded. Judge an empty report.
    pub fn only_tells(&self) -> bool {
        !self.unit.owed.is_empty()
    }
}

/// What prolongs a claim; see [`Queue::renew`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    unit: UnitId,
    generation: u64,
}

/// What came of asking for a claim.
#[derive(Debug)]
pub enum Claimed {
    /// It is ours.
    Yes(Claim),
    /// The wake-up was stale: somebody else has it, or it changed, or is final.
    Stale,
    /// Its domain is suspended. It waits until the domain is resumed.
    Suspended,
}

/// The row that is to be changed.
#[derive(Clone, Copy)]
struct Was {
    generation: u64,
    due: u64,
}

impl Was {
    fn of(unit: &Unit) -> Self {
        Self {
            generation: unit.generation,
            due: unit.next_attempt,
        }
    }
}

/// How [`Queue::settle_local`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// These recipients are not tried again.
    Yes,
    /// A worker has the unit; it will find the receipts of these deliveries. Nothing is lost or doubled.
    Taken,
}

impl Queue {
    /// A queue over an engine. Call [`Queue::refresh`] before the first claim, and now and then where other processes
    /// may suspend domains.
    pub fn new(units: Arc<dyn Units>, wake_ups: Arc<dyn WakeUps>, settings: Settings, clock: Clock) -> Self {
        let suspended = RwLock::new(Vec::new());
        Self {
            inner: Arc::new(Inner {
                units,
                wake_ups,
                settings,
                clock,
                suspended,
                seen: AtomicU64::new(0),
            }),
        }
    }

    /// What time the queue thinks it is, in milliseconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        (self.inner.clock)()
    }

    /// How it behaves.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Puts units in: all of them or none, durable when it returns `Ok`. Idempotent by unit id, so after `Unknown` the
    /// same call may be repeated. Each unit becomes a holder of its content, which is stored already.
    pub async fn enqueue(&self, units: Vec<NewUnit>) -> Result<()> {
        self.put(units, None).await
    }

    /// As [`Queue::enqueue`], with the content that all of them share and that is not stored yet.
    pub async fn enqueue_with(&self, units: Vec<NewUnit>, body: Bytes) -> Result<()> {
        self.put(units, Some(body)).await
    }

    async fn put(&self, units: Vec<NewUnit>, body: Option<Bytes>) -> Result<()> {
        let now = self.now();
        let fresh = |new| machine::fresh(new, &self.inner.settings.retry, now);
        let units = units.into_iter().map(fresh).collect::<Result<Vec<Unit>>>()?;
        let wake_ups = units.iter().map(WakeUp::of).collect();
        self.inner.units.insert(units, body).await?;
        self.wake(wake_ups).await;
        Ok(())
    }

    /// Takes out recipients of a [`Destination::Local`] unit to whom the caller has delivered under these ids.
    pub async fn settle_local(&self, id: UnitId, delivered: &[DeliveryId]) -> Result<Settled> {
        for _ in 0..TRIES {
            let now = self.now();
            let Some(unit) = self.inner.units.get(id).await? else {
                return Ok(Settled::Yes);
            };
            if unit.state == State::Sending && unit.lease > now {
                return Ok(Settled::Taken);
            }
            let Some(next) = machine::settle_local(&unit, delivered, now) else {
                return Ok(Settled::Yes);
            };
            if self.replace(&unit, next).await? {
                return Ok(Settled::Yes);
            }
        }
        Ok(Settled::Taken)
    }

    /// Waits for due work: at least one wake-up, at most `limit`. Each is to be given to [`Queue::claim`] or
    /// [`Queue::postpone`], or put back when the process ends before. Cancel-safe.
    pub async fn take(&self, limit: usize) -> Result<Vec<WakeUp>> {
        self.inner.wake_ups.take(limit).await
    }

    /// The row a wake-up is about, without claiming it. `None`: the wake-up is stale, and has been dropped.
    async fn peek(&self, wake_up: &WakeUp) -> Result<Option<Unit>> {
        let unit = self.inner.units.get(wake_up.unit).await?;
        match unit {
            Some(unit) if unit.generation == wake_up.generation => Ok(Some(unit)),
            unit => {
                self.drop_stale(wake_up.clone(), unit.as_ref()).await;
                Ok(None)
            }
        }
    }

    /// A wake-up that came to nothing is done. When the unit is claimed, that claim's worker may be dead, and this wake-up the last one
    /// there is: then it is looked again when the lease has passed.
    async fn drop_stale(&self, wake_up: WakeUp, unit: Option<&Unit>) {
        let claimed = unit.filter(|unit| {
            let last = [wake_up.generation, wake_up.generation + 1].contains(&unit.generation);
            last && unit.state == State::Sending && unit.lease > self.now()
        });
        if let Some(unit) = claimed {
            let due = unit.lease + millis(BEHIND_LEASE);
            self.wake(vec![WakeUp {
                due,
                ..WakeUp::of(unit)
            }])
            .await;
        }
        self.inner.wake_ups.done(wake_up).await;
    }

    /// The rows that wake-ups are about, without claiming them. Stale wake-ups have been dropped.
    pub async fn peek_all(&self, wake_ups: Vec<WakeUp>) -> Result<Vec<(WakeUp, Unit)>> {
        let ids = wake_ups.iter().map(|wake_up| wake_up.unit).collect();
        let units = self.inner.units.get_all(ids).await?;
        let mut units: HashMap<UnitId, Unit> = units.into_iter().map(|unit| (unit.new.id, unit)).collect();
        let mut found = Vec::with_capacity(wake_ups.len());
        for wake_up in wake_ups {
            match units.remove(&wake_up.unit) {
                Some(unit) if unit.generation == wake_up.generation => found.push((wake_up, unit)),
                unit => self.drop_stale(wake_up, unit.as_ref()).await,
            }
        }
        Ok(found)
    }

    /// A wake-up that could not be looked at, since the rows did not answer, comes again.
    pub async fn again(&self, wake_up: WakeUp, after: Duration) {
        let due = self.now().saturating_add(millis(after));
        let later = WakeUp {
            due,
            ..wake_up.clone()
        };
        self.wake(vec![later]).await;
        self.inner.wake_ups.done(wake_up).await;
    }

    /// Claims the unit of a wake-up: to be done before connecting anywhere. A wake-up that is stale is dropped.
    pub async fn claim(&self, wake_up: WakeUp) -> Result<Claimed> {
        if self.inner.units.suspensions_version() != self.inner.seen.load(Ordering::Acquire) {
            self.refresh().await?;
        }
        if !self.inner.suspended.read().is_empty() {
            match self.peek(&wake_up).await? {
                None => return Ok(Claimed::Stale),
                Some(unit) if self.is_suspended(&unit.new.destination) => {
                    self.inner.wake_ups.done(wake_up).await;
                    return Ok(Claimed::Suspended);
                }
                Some(_) => {}
            }
        }
        let now = self.now();
        let units = &self.inner.units;
        match units
            .claim(wake_up.unit, wake_up.generation, now, self.lease(now))
            .await?
        {
            Some(unit) => Ok(Claimed::Yes(Claim {
                unit: Box::new(unit),
                body: units.body(wake_up.unit),
                wake_up,
            })),
            None => {
                let unit = self.inner.units.get(wake_up.unit).await?;
                self.drop_stale(wake_up, unit.as_ref()).await;
                Ok(Claimed::Stale)
            }
        }
    }

    /// Prolongs a claim by the lease. False: it is no longer ours, and what is being sent should be stopped.
    pub async fn renew(&self, ticket: Ticket) -> Result<bool> {
        let lease = self.lease(self.now());
        let written = self
            .inner
            .units
            .renew(ticket.unit, ticket.generation, lease)
            .await?;
        Ok(written == Written::Yes)
    }

    /// What follows from an attempt. Make the notifications it names, then call [`Queue::finish`].
    pub fn judge(&self, claim: &Claim, report: &Report) -> Verdict {
        machine::judge(
            &claim.unit,
            report,
            &self.inner.settings.retry,
            self.now(),
            rand::random(),
        )
    }

    /// Records a verdict and puts the notifications made for it into the queue; a notice for which none is given is
    /// forgiven. False: the claim had been lost, and nothing was recorded. After a temporary error the claim is still ours, and
    /// the same call is to be repeated: whoever gives up has the unit sent again.
    pub async fn finish(&self, claim: &Claim, verdict: &Verdict, notifications: &[NewUnit]) -> Result<bool> {
        let Claim {
            unit: claimed,
            wake_up,
            ..
        } = claim;
        let (now, mut next) = (self.now(), verdict.unit.clone());
        let fresh = |new: &NewUnit| machine::fresh(new.clone(), &self.inner.settings.retry, now);
        let inserts = notifications.iter().map(fresh).collect::<Result<Vec<Unit>>>()?;
        let mut was = Was::of(claimed);
        if !inserts.is_empty() && !self.inner.units.applies_atomically() {
            // Recorded with the debt first, so that what is told cannot change any more.
            let mut debt = next.clone();
            (debt.state, debt.generation, debt.lease) = (State::Sending, was.generation + 1, self.lease(now));
            debt.warned = claimed.warned;
            if !self.apply(was, &debt, Some(debt.clone()), Vec::new()).await? {
                self.inner.wake_ups.done(wake_up.clone()).await;
                return Ok(false);
            }
            was = Was::of(&debt);
        }
        next.owed.clear();
        let wake_ups: Vec<WakeUp> = inserts.iter().map(WakeUp::of).collect();
        let done = self.step(was, next, inserts).await?;
        self.wake(wake_ups).await;
        self.inner.wake_ups.done(wake_up.clone()).await;
        Ok(done)
    }

    /// Records a verdict whose notifications could not be made now: they stay owed, and the unit is woken for them in `wait`.
    pub async fn finish_owing(&self, claim: &Claim, verdict: &Verdict, wait: Duration) -> Result<bool> {
        let Claim {
            unit: claimed,
            wake_up,
            ..
        } = claim;
        let mut next = verdict.unit.clone();
        next.warned = claimed.warned;
        if !next.owed.is_empty() {
            next.state = State::Queued;
            next.next_attempt = self.now().saturating_add(millis(wait));
        }
        let done = self.step(Was::of(claimed), next, Vec::new()).await?;
        self.inner.wake_ups.done(wake_up.clone()).await;
        Ok(done)
    }

    /// Gives a claim back without an attempt; the unit is due again after `wait`.
    pub async fn give_back(&self, claim: Claim, wait: Duration) -> Result<()> {
        let Claim { unit, wake_up, .. } = claim;
        let due = self.now().saturating_add(millis(wait));
        if let Some(generation) = self
            .inner
            .units
            .unclaim(unit.new.id, unit.generation, due)
            .await?
        {
            self.wake(vec![WakeUp {
                generation,
                due,
                ..wake_up.clone()
            }])
            .await;
        }
        self.inner.wake_ups.done(wake_up).await;
        Ok(())
    }

    /// Puts off a unit that was not claimed because its destination has more than it can take. `seen`: its row, when the
    /// caller has just read it.
    pub async fn postpone(&self, wake_up: WakeUp, seen: Option<Unit>, wait: Duration) -> Result<()> {
        let unit = match seen {
            Some(unit) => unit,
            None => match self.peek(&wake_up).await? {
                Some(unit) => unit,
                None => return Ok(()),
            },
        };
        let was = Was::of(&unit);
        let next = Unit {
            next_attempt: self.now().saturating_add(millis(wait)),
            ..unit
        };
        self.step(was, next, Vec::new()).await?;
        self.inner.wake_ups.done(wake_up).await;
        Ok(())
    }

    /// Drops a wake-up whose double is waiting to be claimed already.
    pub async fn dismiss(&self, wake_up: WakeUp) {
        self.inner.wake_ups.done(wake_up).await;
    }

    /// One unit. Final units are not in the queue any more.
    pub async fn get(&self, id: UnitId) -> Result<Unit> {
        self.inner.units.get(id).await?.ok_or(Error::NotFound(id))
    }

    /// All units, at most `limit` at a time, oldest first where the engine can.
    pub async fn list(&self, after: Option<Cursor>, limit: usize) -> Result<Page<Unit>> {
        self.inner.units.page(after, limit).await
    }

    /// How many units there are.
    pub async fn statistics(&self) -> Result<Counts> {
        self.inner.units.counts().await
    }

    /// Applies an operator's verb; the row as it was left. `Refused` says why not. A cancelled unit is never sent.
    pub async fn act(&self, id: UnitId, verb: &Verb) -> Result<Unit> {
        for _ in 0..TRIES {
            let unit = self.get(id).await?;
            let next = machine::act(&unit, verb, self.now())?;
            if self.replace(&unit, next.clone()).await? {
                return Ok(next);
            }
        }
        Err(Error::Unavailable("the unit changes all the time".into()))
    }

    /// Stops all delivery to a domain. Attempts that have begun end as they end.
    pub async fn suspend(&self, domain: Domain, reason: &str) -> Result<()> {
        let suspension = Suspension {
            reason: reason.into(),
            since: self.now(),
        };
        self.inner.units.suspend(domain, Some(suspension)).await?;
        self.refresh().await
    }

    /// Delivers to a domain again, beginning now.
    pub async fn resume(&self, domain: Domain) -> Result<()> {
        self.inner.units.suspend(domain, None).await?;
        self.refresh().await?;
        self.wake_overdue(true).await
    }

    /// All suspensions, by domain.
    pub async fn suspensions(&self) -> Result<Vec<(Domain, Suspension)>> {
        self.inner.units.suspensions().await
    }

    /// Reads the suspended domains anew.
    pub async fn refresh(&self) -> Result<()> {
        let version = self.inner.units.suspensions_version();
        let suspended = self.inner.units.suspensions().await?;
        *self.inner.suspended.write() = suspended.into_iter().map(|(domain, _)| domain).collect();
        self.inner.seen.store(version, Ordering::Release);
        Ok(())
    }

    /// Whether delivery there is stopped.
    pub fn is_suspended(&self, destination: &Destination) -> bool {
        let suspended = self.inner.suspended.read();
        matches!(destination, Destination::Remote(domain) if suspended.binary_search(domain).is_ok())
    }

    /// Finds units whose wake-up was lost, and wakes them. To be called now and then.
    pub async fn reconcile(&self) -> Result<()> {
        self.wake_overdue(false).await
    }

    /// `all`: at once, whatever it costs.
    async fn wake_overdue(&self, all: bool) -> Result<()> {
        if self.inner.wake_ups.reread() {
            return Ok(());
        }
        let (now, mut cursor) = (self.now(), None);
        let units = &self.inner.units;
        loop {
            let page = match all {
                true => units.overdue(now, cursor, RECONCILE_PAGE).await?,
                false => units.forgotten(now, cursor, RECONCILE_PAGE).await?,
            };
            self.inner.wake_ups.schedule(page.items).await?;
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Writes the next row of a unit, or removes it when it is final, if the row is still `unit`; and wakes it when due.
    async fn replace(&self, unit: &Unit, next: Unit) -> Result<bool> {
        self.step(Was::of(unit), next, Vec::new()).await
    }

    async fn step(&self, was: Was, mut next: Unit, inserts: Vec<Unit>) -> Result<bool> {
        next.generation = was.generation + 1;
        let wake_up = (next.state == State::Queued).then(|| WakeUp::of(&next));
        let row = (!next.state.is_final()).then(|| next.clone());
        let done = self.apply(was, &next, row, inserts).await?;
        if let (true, Some(wake_up)) = (done, wake_up) {
            self.wake(vec![wake_up]).await;
        }
        Ok(done)
    }

    /// Applies a change; an unknown outcome is resolved by reading the row back.
    async fn apply(&self, was: Was, next: &Unit, row: Option<Unit>, inserts: Vec<Unit>) -> Result<bool> {
        let change = Change {
            id: next.new.id,
            expected: was.generation,
            content: next.new.content,
            due: was.due,
            row,
            inserts,
        };
        for _ in 0..TRIES {
            match self.inner.units.apply(change.clone()).await {
                Ok(written) => return Ok(written == Written::Yes),
                Err(Error::Unknown(why)) => {
                    tracing::debug!(unit = %change.id, why, "reading a unit back after an unknown outcome");
                    let there = self.inner.units.get(change.id).await?;
                    if there == change.row {
                        return Ok(true);
                    }
                    if there.is_none_or(|there| there.generation != was.generation) {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Unknown("the row could not be written".into()))
    }

    /// A wake-up that cannot be said is found by the reconciler: the rows are durable.
    async fn wake(&self, wake_ups: Vec<WakeUp>) {
        if wake_ups.is_empty() {
            return;
        }
        if let Err(error) = self.inner.wake_ups.schedule(wake_ups).await {
            tracing::warn!(%error, "wake-ups could not be scheduled; the reconciler will find the units");
        }
    }

    fn lease(&self, now: u64) -> u64 {
        now.saturating_add(millis(self.inner.settings.lease))
    }
}
