//! Units over CQL: one row each, changed by conditional writes on its generation.
//!
//! The order of writes, so that a process may end anywhere: content, holder, note (see [`super::due`]), row; and the other way round when a
//! unit is removed. What is left over by a crash is a holder of no unit, or a note about none.
//!
//! An unknown outcome is resolved here: a serial read ends what is under way and shows whose write was the last, and what is not done is
//! done again. Only when the database does not answer that either, the caller hears of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use postrider_cql::{Conditional, CqlValue, Session, Statement};
use postrider_types::{ContentId, Domain, UnitId};
use tokio::sync::{Mutex, OnceCell};

use super::config::KafkaConfig;
use super::rows::{self, Row, bigint, id as id_value};
use crate::engine::{Change, Counts, Holds, Suspension, Written};
use crate::queue::Clock;
use crate::{Error, Result, State, Unit};

/// How often a write whose outcome is unknown is tried.
const TRIES: usize = 3;
/// Rows written or read at the same time for one call.
const AT_ONCE: usize = 16;
/// Tries to take away a holder of a unit that is removed, and the first pause between two.
const RELEASES: u32 = 8;
const RELEASE_PAUSE: Duration = Duration::from_millis(500);
/// Counting takes at most this part of the time.
const COUNTING: u32 = 10;

/// The rows.
pub(super) struct Table {
    pub session: Session,
    pub begun: OnceCell<()>,
    holds: Arc<dyn Holds>,
    clock: Clock,
    counted: Mutex<Option<Counted>>,
    count_every: Duration,
    /// How long after its time a wake-up counts as lost, milliseconds.
    pub grace: u64,
}

struct Counted {
    counts: Counts,
    when: Instant,
    took: Duration,
}

/// What became of one row of an insertion.
enum Inserted {
    Yes,
    /// A unit of that id was there, or was removed lately. With what it holds.
    There(Option<ContentId>),
    Failed(Error),
}

impl Table {
    pub fn new(session: Session, holds: Arc<dyn Holds>, clock: Clock, config: &KafkaConfig) -> Self {
        Self {
            session,
            begun: OnceCell::new(),
            holds,
            clock,
            counted: Mutex::default(),
            count_every: config.count_every,
            grace: crate::machine::millis(config.find_lost),
        }
    }

    pub fn now(&self) -> u64 {
        (self.clock)()
    }

    pub async fn unit(&self, id: UnitId, statement: Statement) -> Result<Option<Unit>> {
        match self.row(id, statement).await? {
            Some(row) => row.unit(),
            None => Ok(None),
        }
    }

    async fn row(&self, id: UnitId, statement: Statement) -> Result<Option<Row>> {
        let rows = self.session.read(statement, (id.as_bytes().to_vec(),)).await?;
        Ok(rows.first()?)
    }

    pub async fn get_all(&self, ids: Vec<UnitId>) -> Result<Vec<Unit>> {
        let reads = ids.into_iter().map(|id| self.unit(id, rows::GET));
        let found = each(reads.collect()).await;
        let found: Result<Vec<Option<Unit>>> = found.into_iter().collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// A conditional write of a row, with the value that its column `writer` gets. Tells by that, when an outcome is unknown, whether it
    /// was this write.
    async fn write(
        &self,
        id: UnitId,
        statement: Statement,
        values: Vec<CqlValue>,
        writer: i64,
    ) -> Result<Written> {
        let mut doubt = None;
        for _ in 0..TRIES {
            let outcome = match (self.session.conditional(statement, values.clone()).await, &doubt) {
                (Err(error), Some(why)) if error.is_temporary() => {
                    return Err(Error::Unknown(format!("{why}; then {error}")));
                }
                (outcome, _) => outcome?,
            };
            let refused = matches!(outcome, Conditional::NotApplied(_));
            match outcome {
                Conditional::Applied => return Ok(Written::Yes),
                Conditional::NotApplied(_) if doubt.is_none() => return Ok(Written::No),
                Conditional::NotApplied(_) => {}
                Conditional::Unknown(why) => doubt = Some(why),
            }
            let row = self.row(id, rows::GET_SERIAL).await;
            let row = row.map_err(|error| Error::Unknown(error.to_string()))?;
            if row.and_then(|row| row.writer) == Some(writer) {
                return Ok(Written::Yes);
            }
            if refused {
                return Ok(Written::No);
            }
        }
        Err(Error::Unknown(doubt.unwrap_or_default()))
    }

    /// Inserts all, or none; see the trait.
    pub async fn insert(&self, units: &[Unit]) -> Result<()> {
        self.begin().await?;
        let prepared = units.iter().map(|unit| async move {
            self.holds.hold(unit.new.content, unit.new.id).await?;
            self.note(unit).await
        });
        if let Some(error) = each(prepared.collect()).await.into_iter().find_map(Result::err) {
            // Nothing was inserted. A holder may be there from an earlier insertion of the same unit: then it has to stay.
            for unit in units {
                if matches!(self.row(unit.new.id, rows::GET).await, Ok(None)) {
                    let _ = self.holds.release(unit.new.content, unit.new.id).await;
                }
            }
            return Err(error);
        }
        let pairs: Vec<(&Unit, i64)> = units.iter().map(|unit| (unit, rand::random())).collect();
        let rows = pairs.iter().map(|(unit, writer)| self.insert_row(unit, *writer));
        let inserted = each(rows.collect()).await;
        if inserted.iter().any(|one| matches!(one, Inserted::Failed(_))) {
            return Err(self.take_back(&pairs, inserted).await);
        }
        for ((unit, _), one) in pairs.iter().zip(inserted) {
            // What is inserted again may have come with a content of its own.
            if let Inserted::There(held) = one
                && held != Some(unit.new.content)
            {
                self.release(unit.new.content, unit.new.id).await;
            }
        }
        Ok(())
    }

    async fn insert_row(&self, unit: &Unit, writer: i64) -> Inserted {
        let id = unit.new.id;
        match self
            .write(id, rows::INSERT, rows::values(unit, writer), writer)
            .await
        {
            Ok(Written::Yes) => Inserted::Yes,
            Ok(Written::No) => match self.row(id, rows::GET_SERIAL).await {
                Ok(row) => Inserted::There(row.and_then(|row| ContentId::from_slice(&row.content?))),
                Err(error) => Inserted::Failed(error),
            },
            Err(error) => Inserted::Failed(error),
        }
    }

    /// Takes back what was inserted of an insertion that failed in part. Nobody was woken for it yet. The error that describes what is
    /// left: `Unavailable`: nothing; `Unknown`: perhaps something, and the same call again makes it whole.
    async fn take_back(&self, pairs: &[(&Unit, i64)], inserted: Vec<Inserted>) -> Error {
        let mut why = String::new();
        let mut undoing = Vec::new();
        for ((unit, writer), one) in pairs.iter().zip(inserted) {
            let there = matches!(one, Inserted::There(_));
            let failed = matches!(one, Inserted::Failed(_));
            if let Inserted::Failed(error) = one {
                why = error.to_string();
            }
            undoing.push(self.undo(unit, *writer, failed, there));
        }
        match each(undoing).await.into_iter().all(|undone| undone) {
            true => Error::Unavailable(why),
            false => Error::Unknown(why),
        }
    }

    /// Whether nothing is left of an insertion. `failed`: perhaps there was nothing. `there`: there was, but it is not ours.
    async fn undo(&self, unit: &Unit, writer: i64, failed: bool, there: bool) -> bool {
        if there {
            return true;
        }
        let values = vec![
            id_value(unit.new.id),
            bigint(unit.generation),
            CqlValue::BigInt(writer),
        ];
        let gone = match self.session.conditional(rows::UNDO, values).await {
            Ok(Conditional::Applied) => true,
            // It was never there; or somebody has changed it since.
            Ok(Conditional::NotApplied(existing)) => failed && existing.bigint("generation").is_none(),
            _ => false,
        };
        if gone {
            self.release(unit.new.content, unit.new.id).await;
        }
        gone
    }

    pub async fn claim(&self, id: UnitId, generation: u64, now: u64, lease: u64) -> Result<Option<Unit>> {
        let writer = rand::random();
        let values = vec![
            bigint(generation + 1),
            bigint(lease),
            CqlValue::BigInt(writer),
            id_value(id),
            bigint(generation),
            bigint(now),
        ];
        if self.write(id, rows::CLAIM, values, writer).await? == Written::No {
            return Ok(None);
        }
        // Nobody changes it while it is claimed.
        let unit = self.unit(id, rows::GET).await?;
        Ok(unit.filter(|unit| unit.generation == generation + 1))
    }

    pub async fn renew(&self, id: UnitId, generation: u64, lease: u64) -> Result<Written> {
        let writer = rand::random();
        let values = vec![
            bigint(lease),
            CqlValue::BigInt(writer),
            id_value(id),
            bigint(generation),
        ];
        self.write(id, rows::RENEW, values, writer).await
    }

    pub async fn unclaim(&self, id: UnitId, generation: u64, due: u64) -> Result<Option<u64>> {
        let Some(unit) = self.unit(id, rows::GET).await? else {
            return Ok(None);
        };
        if unit.generation != generation {
            return Ok(None);
        }
        let was = unit.next_attempt;
        let next = Unit {
            state: State::Queued,
            generation: generation + 1,
            next_attempt: due,
            ..unit
        };
        self.note(&next).await?;
        let writer = rand::random();
        let values = vec![
            bigint(next.generation),
            bigint(due),
            CqlValue::BigInt(writer),
            id_value(id),
            bigint(generation),
        ];
        let written = self.write(id, rows::UNCLAIM, values, writer).await?;
        if written == Written::No {
            return Ok(None);
        }
        self.unnote(id, generation, was, Some(&next)).await;
        Ok(Some(next.generation))
    }

    pub async fn apply(self: &Arc<Self>, change: &Change) -> Result<Written> {
        if !change.inserts.is_empty() {
            let row = self.row(change.id, rows::GET_SERIAL).await?;
            let generation = row.filter(|row| !row.is_removed()).and_then(|row| row.generation);
            if generation != Some(rows::int(change.expected)) {
                return Ok(Written::No);
            }
            self.insert(&change.inserts).await?;
        }
        let writer = rand::random();
        let (statement, values) = match &change.row {
            Some(row) => {
                self.note(row).await?;
                let mut values = rows::values(row, writer);
                values.push(bigint(change.expected));
                (rows::REPLACE, values)
            }
            None => {
                let values = vec![
                    bigint(change.expected + 1),
                    CqlValue::BigInt(writer),
                    id_value(change.id),
                    bigint(change.expected),
                ];
                (rows::REMOVE, values)
            }
        };
        let written = self.write(change.id, statement, values, writer).await?;
        if written == Written::No {
            return Ok(written);
        }
        let unnote = self.unnote(change.id, change.expected, change.due, change.row.as_ref());
        let release = async {
            if change.row.is_none() {
                self.release_in_the_end(change.content, change.id).await;
            }
        };
        tokio::join!(unnote, release);
        Ok(written)
    }

    /// Stores a content for units that are about to be inserted.
    pub async fn put(&self, content: ContentId, body: bytes::Bytes) -> Result<()> {
        self.holds.put(content, body).await
    }

    async fn release(&self, content: ContentId, unit: UnitId) {
        if let Err(error) = self.holds.release(content, unit).await {
            tracing::warn!(%content, %unit, %error, "a content stays held by a unit that is not there");
        }
    }

    /// As `release`; where that fails at first, it is tried on while the caller goes on: the unit is removed, and there is no way back.
    async fn release_in_the_end(self: &Arc<Self>, content: ContentId, unit: UnitId) {
        if self.holds.release(content, unit).await.is_ok() {
            return;
        }
        let table = self.clone();
        tokio::spawn(async move {
            for pause in 0..RELEASES {
                tokio::time::sleep(RELEASE_PAUSE * (1 << pause)).await;
                if table.holds.release(content, unit).await.is_ok() {
                    return;
                }
            }
            table.release(content, unit).await;
        });
    }

    /// Writes a suspension, or that there is none.
    pub async fn suspend(&self, domain: &Domain, suspension: Option<Suspension>) -> Result<()> {
        let written = match suspension {
            Some(Suspension { reason, since }) => {
                let values = (domain.as_str(), reason, since as i64);
                self.session.write(rows::SUSPEND, values).await
            }
            None => self.session.write(rows::RESUME, (domain.as_str(),)).await,
        };
        Ok(written?)
    }

    /// All suspensions, by domain. One that cannot be read is passed over: nothing is claimed without them.
    pub async fn suspensions(&self) -> Result<Vec<(Domain, Suspension)>> {
        let rows = self.session.read(rows::SUSPENSIONS, ()).await?;
        let rows: Vec<(String, Option<String>, Option<i64>)> = rows.all()?;
        let suspension = |(domain, reason, since): (String, Option<String>, Option<i64>)| {
            let known = Domain::new(&domain).inspect_err(
                |error| tracing::warn!(domain, %error, "a suspension is of no domain; it is passed over"),
            );
            let suspension = Suspension {
                reason: reason.unwrap_or_default(),
                since: since.unwrap_or_default() as u64,
            };
            Some((known.ok()?, suspension))
        };
        Ok(rows.into_iter().filter_map(suspension).collect())
    }

    /// How many there are, counted lately. One caller counts, the others wait for it.
    pub async fn counts(&self) -> Result<Counts> {
        let mut counted = self.counted.lock().await;
        if let Some(last) = counted.as_ref()
            && last.when.elapsed() < self.count_every.max(last.took * COUNTING)
            && !self.count_every.is_zero()
        {
            return Ok(last.counts);
        }
        let when = Instant::now();
        let counts = self.count().await?;
        *counted = Some(Counted {
            counts,
            when,
            took: when.elapsed(),
        });
        Ok(counts)
    }
}

/// Awaits all, several at a time; the results in the same order.
pub(super) async fn each<F: Future>(work: Vec<F>) -> Vec<F::Output> {
    stream::iter(work).buffered(AT_ONCE).collect().await
}
