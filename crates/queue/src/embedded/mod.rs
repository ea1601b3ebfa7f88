//! The embedded engine: rows in the node's SQLite database, claims and the near future in memory.
//!
//! A message that is delivered at its first attempt costs two row writes: its unit is inserted, and removed. Wake-ups are read from
//! an index on the time of the next attempt, a window at a time, so that opening a queue of any length costs the same.
//!
//! A unit's claim is taken, and its row changed, under a lock of that unit (one of [`LOCKS`], by its id). A row is changed by a task
//! of its own, so that a caller who goes away does not give the lock back before the change is durable; that is what makes
//! "cancelled" and "claimed" exclude each other although readers do not see the writer's transaction.

mod claims;
mod recent;
mod rows;
mod wake;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use postrider_embedded::{Database, Error as Substrate, Holder, Transaction};
use postrider_types::{Domain, UnitId};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{OwnedMutexGuard, oneshot, watch};

use self::claims::Claims;
use self::recent::Recent;
use self::rows::{int, number};
use crate::engine::{Change, Counts, Cursor, Page, Suspension, Units, WakeUp, WakeUps, Written};
use crate::queue::Clock;
use crate::timer::{Place, Timer};
use crate::{Error, Result, Unit};

/// Locks that the units share. Many more than changes under way: each is held until its change is durable.
const LOCKS: usize = 4096;
/// Wake-ups that each lane keeps in memory at most: about 5 MB.
const WINDOW: usize = 100_000;
/// Ids of removed units that are remembered at least, for callers that repeat an insertion.
const REMEMBERED_IDS: usize = 16_384;

/// The engine. Cheap to clone; both traits are on it.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    db: Database,
    clock: Clock,
    claims: Mutex<Claims>,
    recent: Arc<Recent>,
    locks: Vec<Arc<tokio::sync::Mutex<()>>>,
    removed: Arc<Mutex<Removed>>,
    timer: Timer,
    loading: tokio::sync::Mutex<()>,
    /// Rows queued and held when the engine was opened, once they have been counted.
    found: watch::Receiver<Option<Tally>>,
    /// How the numbers of rows have changed since.
    moved: Mutex<Tally>,
}

/// Numbers of rows.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    queued: i64,
    held: i64,
}

/// Ids removed lately, in two generations.
#[derive(Default)]
struct Removed {
    young: std::collections::HashSet<UnitId>,
    old: std::collections::HashSet<UnitId>,
}

impl Embedded {
    /// Opens the queue's tables in the database. Takes the same time however long the queue is.
    pub async fn open(db: Database, clock: Clock) -> Result<Self> {
        db.migrate("unit", rows::STEPS).await?;
        let found = count(&db).await?;
        let inner = Inner {
            db,
            clock,
            claims: Mutex::default(),
            recent: Arc::default(),
            locks: (0..LOCKS).map(|_| Arc::default()).collect(),
            removed: Arc::default(),
            timer: Timer::new(WINDOW, Place::default()),
            loading: tokio::sync::Mutex::default(),
            found,
            moved: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    async fn lock(&self, id: UnitId) -> OwnedMutexGuard<()> {
        // The last bytes are random in generated and in derived ids.
        let [.., high, low] = *id.as_bytes();
        let at = usize::from(u16::from_be_bytes([high, low])) % LOCKS;
        Arc::clone(&self.inner.locks[at]).lock_owned().await
    }

    async fn row(&self, id: UnitId) -> Result<Option<Unit>> {
        if let Some(unit) = self.inner.recent.get(id) {
            return Ok(Some(unit));
        }
        let row = self.inner.db.read(move |connection| {
            let mut select = connection.prepare_cached(&rows::select("WHERE id = ?1"))?;
            let mut found = select.query([id.as_bytes()])?;
            found.next()?.map(rows::read).transpose()
        });
        Ok(row.await?)
    }

    /// Changes a row while its lock is held, even if the caller goes away.
    async fn change(&self, change: Change, lock: OwnedMutexGuard<()>) -> Result<Written> {
        let engine = self.clone();
        let task = tokio::spawn(async move {
            let _lock = lock;
            engine.change_locked(change).await
        });
        task.await
            .map_err(|error| Error::Unknown(format!("the change was cut off: {error}")))?
    }

    async fn change_locked(&self, change: Change) -> Result<Written> {
        let inner = &self.inner;
        let held = inner.claims.lock().get(change.id);
        let row = match held {
            Some(held) if held.generation == change.expected => held.row,
            // Whoever does not hold the claim sees the unit as claimed, and so does not know its generation.
            Some(held) if held.generation > change.expected => return Ok(Written::No),
            _ => change.expected,
        };
        let (id, expected) = (change.id, change.expected);
        let removed = Arc::clone(&inner.removed);
        inner.recent.forget(id);
        let moved = inner
            .db
            .write(Vec::new(), move |tx| apply(tx, &change, row, &removed))
            .await?;
        let Some(moved) = moved else {
            return Ok(Written::No);
        };
        inner.claims.lock().end(id, expected);
        self.count_in(moved);
        Ok(Written::Yes)
    }

    fn count_in(&self, moved: Tally) {
        let mut sum = self.inner.moved.lock();
        sum.queued += moved.queued;
        sum.held += moved.held;
    }
}

#[async_trait]
impl Units for Embedded {
    async fn insert(&self, units: Vec<Unit>, body: Option<Bytes>) -> Result<()> {
        let removed = Arc::clone(&self.inner.removed);
        let coming = self.inner.recent.begin(&units, (self.inner.clock)());
        let contents = match (&body, units.first()) {
            (Some(body), Some(first)) => vec![(first.new.content, body.clone())],
            _ => Vec::new(),
        };
        let units = Arc::new(units);
        let rows = Arc::clone(&units);
        let (moved, inserted) = self
            .inner
            .db
            .write(contents, move |tx| insert(tx, &rows, &removed))
            .await?;
        self.count_in(moved);
        let units = Arc::try_unwrap(units).unwrap_or_else(|units| (*units).clone());
        coming.arrived(units, &inserted, body.as_ref());
        Ok(())
    }

    async fn get(&self, id: UnitId) -> Result<Option<Unit>> {
        let mut unit = self.row(id).await?;
        if let Some(unit) = &mut unit {
            self.inner.claims.lock().show(unit);
        }
        Ok(unit)
    }

    async fn get_all(&self, ids: Vec<UnitId>) -> Result<Vec<Unit>> {
        let (mut units, mut missing) = (Vec::with_capacity(ids.len()), Vec::new());
        for id in ids {
            match self.inner.recent.get(id) {
                Some(unit) => units.push(unit),
                None => missing.push(id),
            }
        }
        if !missing.is_empty() {
            let read = self.inner.db.read(move |connection| {
                let mut select = connection.prepare_cached(&rows::select("WHERE id = ?1"))?;
                let mut units = Vec::with_capacity(missing.len());
                for id in missing {
                    let mut found = select.query([id.as_bytes()])?;
                    units.extend(found.next()?.map(rows::read).transpose()?);
                }
                Ok(units)
            });
            units.extend(read.await?);
        }
        let claims = self.inner.claims.lock();
        units.iter_mut().for_each(|unit| claims.show(unit));
        Ok(units)
    }

    fn body(&self, id: UnitId) -> Option<Bytes> {
        self.inner.recent.body(id)
    }

    async fn claim(&self, id: UnitId, generation: u64, now: u64, lease: u64) -> Result<Option<Unit>> {
        let _lock = self.lock(id).await;
        let Some(mut unit) = self.row(id).await? else {
            return Ok(None);
        };
        let taken = self.inner.claims.lock().take(&mut unit, generation, now, lease);
        Ok(taken.then_some(unit))
    }

    async fn renew(&self, id: UnitId, generation: u64, lease: u64) -> Result<Written> {
        let renewed = self.inner.claims.lock().renew(id, generation, lease);
        Ok(if renewed { Written::Yes } else { Written::No })
    }

    async fn unclaim(&self, id: UnitId, generation: u64, due: u64) -> Result<Option<u64>> {
        let lock = self.lock(id).await;
        let Some(held) = self
            .inner
            .claims
            .lock()
            .get(id)
            .filter(|held| held.generation == generation)
        else {
            return Ok(None);
        };
        if due <= (self.inner.clock)() {
            self.inner.claims.lock().end(id, generation);
            return Ok(Some(held.row));
        }
        let Some(unit) = self.row(id).await? else {
            return Ok(None);
        };
        let next = Unit {
            next_attempt: due,
            generation: generation + 1,
            ..unit
        };
        let content = next.new.content;
        let change = Change {
            id,
            expected: generation,
            content,
            due: 0,
            row: Some(next),
            inserts: Vec::new(),
        };
        let written = self.change(change, lock).await?;
        Ok((written == Written::Yes).then_some(generation + 1))
    }

    async fn apply(&self, change: Change) -> Result<Written> {
        let lock = self.lock(change.id).await;
        self.change(change, lock).await
    }

    fn applies_atomically(&self) -> bool {
        true
    }

    async fn page(&self, after: Option<Cursor>, limit: usize) -> Result<Page<Unit>> {
        let after = after.map(|cursor| cursor.0).unwrap_or_default();
        let limit_column = int(limit as u64);
        let items = self.inner.db.read(move |connection| {
            let mut select =
                connection.prepare_cached(&rows::select("WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
            let mut found = select.query(params![after, limit_column])?;
            let mut units = Vec::new();
            while let Some(row) = found.next()? {
                units.push(rows::read(row)?);
            }
            Ok(units)
        });
        let mut items = items.await?;
        let claims = self.inner.claims.lock();
        items.iter_mut().for_each(|unit| claims.show(unit));
        let more = items.len() == limit;
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| Cursor(last.new.id.as_bytes().to_vec()));
        Ok(Page { items, next })
    }

    async fn overdue(&self, before: u64, after: Option<Cursor>, limit: usize) -> Result<Page<WakeUp>> {
        self.overdue_page(before, after, limit).await
    }

    async fn counts(&self) -> Result<Counts> {
        let mut found = self.inner.found.clone();
        let counted = found.wait_for(Option::is_some).await;
        let Some(found) = counted.ok().and_then(|found| *found) else {
            return Err(Error::Unavailable("the queue could not be counted".into()));
        };
        let oldest = self.inner.db.read(|connection| {
            let mut select = connection.prepare_cached("SELECT created FROM unit ORDER BY id LIMIT 1")?;
            let oldest = select.query_row([], |row| row.get::<_, i64>(0)).optional()?;
            Ok(oldest.and_then(|oldest| u64::try_from(oldest).ok()).unwrap_or(0))
        });
        let oldest = oldest.await?;
        let sending = self.inner.claims.lock().count();
        let moved = *self.inner.moved.lock();
        let sum = |found: i64, moved: i64| u64::try_from(found + moved).unwrap_or(0);
        let queued = sum(found.queued, moved.queued).saturating_sub(sending);
        Ok(Counts {
            queued,
            sending,
            held: sum(found.held, moved.held),
            oldest,
        })
    }

    async fn suspend(&self, domain: Domain, suspension: Option<Suspension>) -> Result<()> {
        let write = self.inner.db.write(Vec::new(), move |tx| {
            match &suspension {
                Some(Suspension { reason, since }) => tx
                    .prepare_cached(
                        "REPLACE INTO unit_suspension (domain, reason, since) VALUES (?1, ?2, ?3)",
                    )?
                    .execute(params![domain.as_str(), reason, int(*since)])?,
                None => tx
                    .prepare_cached("DELETE FROM unit_suspension WHERE domain = ?1")?
                    .execute([domain.as_str()])?,
            };
            Ok(())
        });
        Ok(write.await?)
    }

    async fn suspensions(&self) -> Result<Vec<(Domain, Suspension)>> {
        let read = self.inner.db.read(|connection| {
            let sql = "SELECT domain, reason, since FROM unit_suspension ORDER BY domain";
            let mut select = connection.prepare_cached(sql)?;
            let mut found = select.query([])?;
            let mut suspensions = Vec::new();
            while let Some(row) = found.next()? {
                let domain: String = row.get(0)?;
                let domain = Domain::new(&domain).map_err(|_| {
                    Substrate::Damaged(format!("suspended domain `{domain}` is not a domain"))
                })?;
                suspensions.push((
                    domain,
                    Suspension {
                        reason: row.get(1)?,
                        since: number(row, 2)?,
                    },
                ));
            }
            Ok(suspensions)
        });
        Ok(read.await?)
    }
}

#[async_trait]
impl WakeUps for Embedded {
    async fn schedule(&self, wake_ups: Vec<WakeUp>) -> Result<()> {
        self.inner.timer.add(&wake_ups, (self.inner.clock)());
        Ok(())
    }

    async fn take(&self, limit: usize) -> Result<Vec<WakeUp>> {
        self.take_due(limit).await
    }

    async fn done(&self, _wake_up: WakeUp) {}

    fn reread(&self) -> bool {
        self.inner.claims.lock().forget_lapsed((self.inner.clock)());
        self.inner.timer.reset();
        true
    }
}

impl Removed {
    fn add(&mut self, id: UnitId) {
        if self.young.len() >= REMEMBERED_IDS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id);
    }

    fn contains(&self, id: UnitId) -> bool {
        self.young.contains(&id) || self.old.contains(&id)
    }
}

impl From<Substrate> for Error {
    fn from(error: Substrate) -> Self {
        let text = error.to_string();
        match error {
            Substrate::Unknown(_) => Error::Unknown(text),
            Substrate::Damaged(_) => Error::Damaged(text),
            Substrate::Invalid(_) | Substrate::NotFound(_) => Error::Invalid(text),
            _ => Error::Unavailable(text),
        }
    }
}

/// Counts the rows there are now, while the caller goes on: the snapshot is taken before this returns.
async fn count(db: &Database) -> Result<watch::Receiver<Option<Tally>>> {
    let (answer, counted) = watch::channel(None);
    let (begun, begin) = oneshot::channel();
    let db = db.clone();
    tokio::spawn(async move {
        let tally = db.read(move |connection| {
            let snapshot = connection.unchecked_transaction()?;
            snapshot
                .prepare_cached("SELECT 1 FROM unit LIMIT 1")?
                .exists([])?;
            let _ = begun.send(());
            let one = |sql: &str| snapshot.query_row(sql, [], |row| row.get::<_, i64>(0));
            Ok(Tally {
                queued: one("SELECT count(*) FROM unit INDEXED BY unit_due WHERE state = 0")?,
                held: one("SELECT count(*) FROM unit INDEXED BY unit_held WHERE state = 1")?,
            })
        });
        match tally.await {
            Ok(tally) => drop(answer.send(Some(tally))),
            Err(error) => tracing::error!(%error, "the queue could not be counted"),
        }
    });
    begin
        .await
        .map_err(|_| Error::Unavailable("the queue could not be read".into()))?;
    Ok(counted)
}

/// Inserts the units that are not there and were not lately; how the numbers of rows moved, and which they are.
fn insert(
    tx: &mut Transaction<'_>,
    units: &[Unit],
    removed: &Mutex<Removed>,
) -> postrider_embedded::Result<(Tally, Vec<UnitId>)> {
    let mut there = None;
    for content in units.iter().map(|unit| unit.new.content) {
        if there != Some(content) && !tx.has_content(content)? {
            return Err(Substrate::NotFound(format!("content {content}")));
        }
        there = Some(content);
    }
    let (mut moved, mut inserted) = (Tally::default(), Vec::with_capacity(units.len()));
    for unit in units {
        if !removed.lock().contains(unit.new.id) && rows::insert(tx, unit)? {
            tx.hold(unit.new.content, Holder::Unit(unit.new.id))?;
            moved.queued += 1;
            inserted.push(unit.new.id);
        }
    }
    Ok((moved, inserted))
}

/// Changes the row if it has this generation; how the numbers of rows moved, `None` if it has not.
fn apply(
    tx: &mut Transaction<'_>,
    change: &Change,
    generation: u64,
    removed: &Mutex<Removed>,
) -> postrider_embedded::Result<Option<Tally>> {
    let Some(held) = held_at(tx, change.id, generation)? else {
        return Ok(None);
    };
    let (mut moved, _) = insert(tx, &change.inserts, removed)?;
    let mut add =
        |held: bool, number: i64| *(if held { &mut moved.held } else { &mut moved.queued }) += number;
    add(held, -1);
    match &change.row {
        Some(row) => {
            rows::replace(tx, row)?;
            add(rows::state_column(row.state) == rows::HELD, 1);
        }
        None => {
            tx.prepare_cached("DELETE FROM unit WHERE id = ?1")?
                .execute([change.id.as_bytes()])?;
            tx.release(change.content, Holder::Unit(change.id))?;
            removed.lock().add(change.id);
        }
    }
    Ok(Some(moved))
}

/// Whether the row is held, if it is there and has this generation.
fn held_at(connection: &Connection, id: UnitId, generation: u64) -> postrider_embedded::Result<Option<bool>> {
    let mut select = connection.prepare_cached("SELECT state FROM unit WHERE id = ?1 AND generation = ?2")?;
    let state = select
        .query_row(params![id.as_bytes(), int(generation)], |row| {
            row.get::<_, i64>(0)
        })
        .optional()?;
    Ok(state.map(|state| state == rows::HELD))
}
