//! What the queue asks of an engine: rows changed by compare-and-set, and wake-ups.

use async_trait::async_trait;
use bytes::Bytes;
use postrider_types::{ContentId, Domain, UnitId};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Result, Unit};

/// How long an engine whose [`Units::apply`] is not atomic remembers the ids of removed units, in milliseconds: a day.
pub const REMEMBERED: u64 = 24 * 3600 * 1000;

/// The rows of the queue.
///
/// # What every engine does (the suite checks each)
/// * Whatever has been answered with `Ok` survives a crash (memory engine apart); an `Err` other than `Unknown` did nothing.
/// * `insert` inserts all or none, and with a body stores that before, or in the same step, as the content of all of them
///   (the same bytes again are no error). A unit whose id is there already is left as it is; so is one that was removed lately, as
///   far back as a caller can still repeat its call. Each inserted unit becomes a holder of its content; a removed one no longer is.
/// * `apply` changes a row only if its generation is the expected one, and the row it leaves has a larger generation.
/// * Of claims of one unit at the same generation, one is given. A claimed unit is `Sending`, with a lease and a new generation; when
///   the lease has passed it can be claimed again, under the generation it has then. An engine that dies with all its workers
///   may keep claims in memory: a restart frees them.
/// * No call reads or holds more than it answers with.
#[async_trait]
pub trait Units: Send + Sync + 'static {
    /// Inserts units whose contents are stored, or who share one that is given here.
    async fn insert(&self, units: Vec<Unit>, body: Option<Bytes>) -> Result<()>;
    /// One unit as it is now, claim included.
    async fn get(&self, id: UnitId) -> Result<Option<Unit>>;
    /// Several units as [`Units::get`] gives them, in any order; those that are not there are left out.
    async fn get_all(&self, ids: Vec<UnitId>) -> Result<Vec<Unit>> {
        let mut units = Vec::with_capacity(ids.len());
        for id in ids {
            units.extend(self.get(id).await?);
        }
        Ok(units)
    }
    /// The content of a unit that was inserted with it a moment ago, if it happens to be at hand.
    fn body(&self, id: UnitId) -> Option<Bytes> {
        let _ = id;
        None
    }
    /// Claims a unit that is `Queued`, or `Sending` under a lease that passed before `now`, if it has this generation.
    async fn claim(&self, id: UnitId, generation: u64, now: u64, lease: u64) -> Result<Option<Unit>>;
    /// Prolongs the claim that has this generation.
    async fn renew(&self, id: UnitId, generation: u64, lease: u64) -> Result<Written>;
    /// Gives back the claim that has this generation, without an attempt: `Queued`, next attempt at `due`. The generation a
    /// wake-up must have from now on.
    async fn unclaim(&self, id: UnitId, generation: u64, due: u64) -> Result<Option<u64>>;
    /// One step of the state machine.
    async fn apply(&self, change: Change) -> Result<Written>;
    /// Whether `apply` changes the row and inserts the notices in one atomic step. Otherwise it inserts first, and the
    /// engine remembers removed ids for [`REMEMBERED`].
    fn applies_atomically(&self) -> bool;
    /// All units, a page at a time, in order of id where the engine can.
    async fn page(&self, after: Option<Cursor>, limit: usize) -> Result<Page<Unit>>;
    /// Wake-ups of the units that should have been woken before `before`: `Queued` and due, or `Sending` under a passed lease.
    async fn overdue(&self, before: u64, after: Option<Cursor>, limit: usize) -> Result<Page<WakeUp>>;
    /// As [`Units::overdue`], where that costs much: may leave out units whose wake-up is probably on its way, those that were answered
    /// here lately, and those that another process looks after. Every overdue unit comes in the end, as long as this is called.
    async fn forgotten(&self, before: u64, after: Option<Cursor>, limit: usize) -> Result<Page<WakeUp>> {
        self.overdue(before, after, limit).await
    }
    /// How many there are. May be a minute old where many processes share the queue.
    async fn counts(&self) -> Result<Counts>;
    /// Records a suspension, or takes it back. Idempotent.
    async fn suspend(&self, domain: Domain, suspension: Option<Suspension>) -> Result<()>;
    /// All suspensions, by domain.
    async fn suspensions(&self) -> Result<Vec<(Domain, Suspension)>>;
    /// Moves when the suspensions may have changed, if the engine hears of it by itself.
    fn suspensions_version(&self) -> u64 {
        0
    }
}

/// "Unit u, generation g, is due at t." May be lost, late or doubled: the rows are the truth.
///
/// # What every engine does
/// * `take` answers no wake-up before it is due, and waits while there is none; dropping its future loses none.
/// * First attempts do not wait behind retries.
#[async_trait]
pub trait WakeUps: Send + Sync + 'static {
    /// Says it.
    async fn schedule(&self, wake_ups: Vec<WakeUp>) -> Result<()>;
    /// The next due ones, at least one and at most `limit`.
    async fn take(&self, limit: usize) -> Result<Vec<WakeUp>>;
    /// The wake-up led to a durable outcome, or is stale.
    async fn done(&self, wake_up: WakeUp);
    /// Reads the rows for due units from the start again, if wake-ups come from the rows here. False: they do not, and
    /// the caller has to walk the overdue units.
    fn reread(&self) -> bool {
        false
    }
}

/// What an engine without content of its own is given to store contents and keep them alive.
#[async_trait]
pub trait Holds: Send + Sync + 'static {
    /// Stores a content. The same bytes again are no error.
    async fn put(&self, content: ContentId, body: Bytes) -> Result<()>;
    /// Makes a unit a holder of a content. Idempotent.
    async fn hold(&self, content: ContentId, unit: UnitId) -> Result<()>;
    /// The unit holds it no longer. Idempotent.
    async fn release(&self, content: ContentId, unit: UnitId) -> Result<()>;
}

/// A wake-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakeUp {
    /// Which unit.
    pub unit: UnitId,
    /// The generation it had; a wake-up for an earlier one is stale.
    pub generation: u64,
    /// Milliseconds since the Unix epoch.
    pub due: u64,
    /// In which lane it waits.
    pub lane: Lane,
    /// The engine's own mark (where it was read).
    pub token: u64,
    /// What has the same key is woken in the same process, where wake-ups are spread over several: a hash of the destination.
    pub key: u32,
    /// The message's trace (W3C traceparent), or empty.
    pub trace: String,
}

impl WakeUp {
    /// The wake-up a queued unit needs.
    pub fn of(unit: &Unit) -> Self {
        Self {
            unit: unit.new.id,
            generation: unit.generation,
            due: unit.next_attempt,
            lane: Lane::of(unit),
            token: 0,
            key: xxh3_64(unit.new.destination.as_str().as_bytes()) as u32,
            trace: unit.new.trace.clone(),
        }
    }
}

/// What waits together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// First attempts of what people sent.
    Fresh = 0,
    /// Everything else.
    Later = 1,
}

impl Lane {
    /// All of them.
    pub const ALL: [Lane; 2] = [Lane::Fresh, Lane::Later];

    /// The lane of a unit.
    pub fn of(unit: &Unit) -> Self {
        match (unit.attempts, unit.new.priority) {
            (0, crate::Priority::Normal) => Lane::Fresh,
            _ => Lane::Later,
        }
    }
}

/// One step of a unit.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which unit.
    pub id: UnitId,
    /// The generation its row must have.
    pub expected: u64,
    /// What it holds.
    pub content: ContentId,
    /// The next attempt of the row there was, as far as it is known: where an engine may have noted it.
    pub due: u64,
    /// The new row; `None`: the unit is final and its row is removed.
    pub row: Option<Unit>,
    /// Units to insert with it.
    pub inserts: Vec<Unit>,
}

/// How a conditional write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Durable.
    Yes,
    /// The row is gone or has another generation.
    No,
}

/// Where a page ended, in the engine's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub Vec<u8>);

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What it holds; may be empty although more follows.
    pub items: Vec<T>,
    /// From where to go on; `None`: that was all.
    pub next: Option<Cursor>,
}

/// How many units there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Waiting for an attempt.
    pub queued: u64,
    /// Claimed.
    pub sending: u64,
    /// Waiting for an operator.
    pub held: u64,
    /// When the oldest was put in, milliseconds since the Unix epoch; 0: the queue is empty.
    pub oldest: u64,
}

/// Why and since when nothing is delivered to a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// An operator's words.
    pub reason: String,
    /// Milliseconds since the Unix epoch.
    pub since: u64,
}
