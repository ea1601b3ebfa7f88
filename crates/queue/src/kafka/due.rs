//! The table `unit_due`: where the reconciler looks, so that nobody has to walk over all units.
//!
//! Units are removed as fast as they come, and each removed one stays in its table's files for a while: a walk over them reads far more of
//! those than of the others. So each unit is noted in a small partition for the minute in which somebody has to look whether it was
//! forgotten, spread over [`SHARDS`]. What runs as it should takes its note away again and is never looked at.
//!
//! What holds:
//! * A unit that is not removed has a note with its `next_attempt` in a minute that has not been looked through, or in the one of held units. The note is written
//!   before the row it is about, and taken away after the row that makes it superfluous.
//! * A note may be about a unit that is gone, or that is due at another time by now: then it is superfluous, and whoever finds it takes it
//!   away.
//! * Minutes are looked through [`KafkaConfig::find_lost`](super::KafkaConfig::find_lost) after they have passed, and notes are written at
//!   most two fifths of that in the past: the clocks of all processes must agree to within a fifth of it.
//! * What is written bears the generation of its row as its timestamp, and what is taken away one between two generations: a late write
//!   cannot hide a newer note.

use postrider_cql::{PageState, Rows, Statement};
use postrider_types::UnitId;

use super::rows::{self, Note, int};
use super::units::{Table, each};
use crate::engine::{Counts, Cursor, Page, WakeUp};
use crate::{Error, Result, State, Unit};

/// Partitions of a minute.
pub(super) const SHARDS: u8 = 16;
/// The minute of held units.
const HELD: i64 = -1;
const MINUTE: u64 = 60_000;
/// How far ahead units are noted at most: longer than the longest wait between two attempts. What is due later is noted again.
const AHEAD: u64 = 40 * MINUTE;
/// Rows that counting reads at most; what is due beyond them counts as waiting.
const COUNTED: usize = 10_000;
/// Name of the row of `progress` that says where notes begin; with a shard behind it: how far that one was looked through.
const PROGRESS: &str = "queue.due";

impl Table {
    /// In which minute a unit is noted.
    fn minute(&self, unit: &Unit) -> i64 {
        match unit.state {
            State::Held => HELD,
            _ => self.minute_at(unit.next_attempt),
        }
    }

    fn minute_at(&self, time: u64) -> i64 {
        let now = self.now();
        int(time.clamp(now.saturating_sub(self.late()), now + AHEAD) / MINUTE)
    }

    /// How far back a note may be written.
    fn late(&self) -> u64 {
        self.grace / 5 * 2
    }

    /// When it is looked again after a unit that was found overdue and woken.
    fn again(&self) -> u64 {
        self.grace * 4
    }

    /// Writes the note of a row that is about to be.
    pub(super) async fn note(&self, unit: &Unit) -> Result<()> {
        self.note_in(self.minute(unit), unit).await
    }

    async fn note_in(&self, minute: i64, unit: &Unit) -> Result<()> {
        let id = unit.new.id;
        let values = (
            minute,
            shard(id),
            id.as_bytes().to_vec(),
            int(unit.next_attempt),
            int(unit.created),
            int(unit.generation * 2),
        );
        Ok(self.session.write(rows::NOTE, values).await?)
    }

    /// Takes away the note of the row that had this generation and next attempt, unless that of `next` is the same. Where this fails or
    /// is not exact, whoever finds the note takes it away.
    pub(super) async fn unnote(&self, id: UnitId, generation: u64, due: u64, next: Option<&Unit>) {
        let minute = if due == 0 { HELD } else { int(due / MINUTE) };
        if next.is_some_and(|next| self.minute(next) == minute) {
            return;
        }
        if let Err(error) = self.unnote_in(minute, id, generation).await {
            tracing::debug!(unit = %id, %error, "a note stays until somebody finds it");
        }
    }

    async fn unnote_in(&self, minute: i64, id: UnitId, generation: u64) -> Result<()> {
        let stamp = int(generation * 2 + 1);
        let values = (stamp, minute, shard(id), id.as_bytes().to_vec());
        Ok(self.session.write(rows::UNNOTE, values).await?)
    }

    /// Says once where notes begin. Before the first one.
    pub(super) async fn begin(&self) -> Result<()> {
        let begun = self.begun.get_or_try_init(|| async {
            let minute = int(self.now().saturating_sub(self.grace) / MINUTE);
            for _ in 0..3 {
                match self.session.conditional(rows::BEGIN, (PROGRESS, minute)).await? {
                    postrider_cql::Conditional::Unknown(_) => {}
                    _ => return Ok(()),
                }
            }
            Err(Error::Unavailable(
                "where the queue begins could not be written".into(),
            ))
        });
        begun.await.copied()
    }

    async fn progress(&self, name: &str) -> Result<Option<i64>> {
        let rows = self.session.read(rows::PROGRESS, (name,)).await?;
        Ok(rows.first::<(i64,)>()?.map(|row| row.0))
    }

    /// The first minute of a shard that has not been looked through; `None`: there never was a note.
    async fn first_minute(&self, shard: u8) -> Result<Option<i64>> {
        match self.progress(&format!("{PROGRESS}.{shard}")).await? {
            Some(minute) => Ok(Some(minute)),
            None => self.progress(PROGRESS).await,
        }
    }

    /// The first minute in which there may be notes, held units apart.
    async fn first(&self) -> Result<Option<i64>> {
        let reads = (0..SHARDS).map(|shard| self.first_minute(shard));
        let found = each(reads.collect()).await;
        let found: Result<Vec<Option<i64>>> = found.into_iter().collect();
        Ok(found?.into_iter().flatten().min())
    }

    /// One page of notes of all shards behind a place: at most `size`; and the next place.
    async fn notes(&self, at: Place, size: usize, last: i64) -> Result<(Vec<Note>, Option<Place>)> {
        let state = (!at.state.is_empty()).then(|| PageState::from_bytes(&at.state));
        let (rows, more) = self
            .session
            .page(rows::NOTED_MINUTE, (at.minute,), size, state)
            .await?;
        let next = match more {
            Some(state) => Some(Place {
                minute: at.minute,
                state: state.to_bytes(),
                ..at
            }),
            None if at.minute == HELD => Some(Place {
                minute: at.first,
                state: Vec::new(),
                ..at
            }),
            None if at.minute < last => Some(Place {
                minute: at.minute + 1,
                state: Vec::new(),
                ..at
            }),
            None => None,
        };
        Ok((rows.all()?, next))
    }

    /// The rows that notes are about, in the same order.
    async fn noted(&self, notes: Vec<Note>, statement: Statement) -> Result<Vec<(Note, Option<Unit>)>> {
        let read = |note: Note| async move {
            let unit = self.unit(note_id(&note)?, statement).await?;
            Ok((note, unit))
        };
        each(notes.into_iter().map(read).collect())
            .await
            .into_iter()
            .collect()
    }

    async fn place(&self, cursor: Option<Cursor>, held: bool) -> Result<(Place, i64)> {
        let last = int((self.now() + AHEAD) / MINUTE + 2);
        if let Some(cursor) = cursor {
            let place = Place::from_bytes(&cursor.0);
            let place = place.ok_or_else(|| Error::Invalid("this is no place in the queue".into()))?;
            return Ok((place, last));
        }
        let first = self.first().await?.unwrap_or(last);
        let place = Place {
            first,
            minute: if held { HELD } else { first },
            state: Vec::new(),
        };
        Ok((place, last))
    }

    /// All units, a page at a time.
    pub(super) async fn page(&self, after: Option<Cursor>, limit: usize) -> Result<Page<Unit>> {
        let start = self.place(after, true).await?;
        let take = |note: &Note, unit: Unit| is_current(note, &unit).then_some(unit);
        self.walk(start, limit, rows::GET, |_| true, take).await
    }

    /// Everything overdue, whoever looks after it.
    pub(super) async fn overdue(
        &self,
        before: u64,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<WakeUp>> {
        let start = self.place(after, false).await?;
        let is_due = |note: &Note| note.due.unwrap_or(0) < int(before);
        let take = |_: &Note, unit: Unit| is_overdue(&unit, before).then(|| WakeUp::of(&unit));
        self.walk(start, limit, rows::GET_SERIAL, is_due, take).await
    }

    /// A page of what `take` makes of the units behind notes that are `worth` a read.
    async fn walk<T>(
        &self,
        (mut place, last): (Place, i64),
        limit: usize,
        read: Statement,
        worth: impl Fn(&Note) -> bool,
        take: impl Fn(&Note, Unit) -> Option<T>,
    ) -> Result<Page<T>> {
        let mut items = Vec::new();
        loop {
            let (mut notes, next) = self.notes(place, limit - items.len(), last).await?;
            notes.retain(&worth);
            for (note, unit) in self.noted(notes, read).await? {
                items.extend(unit.and_then(|unit| take(&note, unit)));
            }
            let Some(next) = next else {
                return Ok(Page { items, next: None });
            };
            if items.len() >= limit {
                return Ok(Page {
                    items,
                    next: Some(next.cursor()),
                });
            }
            place = next;
        }
    }

    /// Looks through the minutes of some shards that passed long enough ago: puts notes right, and finds what was forgotten.
    pub(super) async fn forgotten(
        &self,
        before: u64,
        after: Option<Cursor>,
        limit: usize,
        ours: impl Fn(u8) -> bool + Send,
    ) -> Result<Page<WakeUp>> {
        let mut at = match after {
            Some(cursor) => Shard::from_bytes(&cursor.0)
                .ok_or_else(|| Error::Invalid("this is no place in the queue".into()))?,
            None => Shard::default(),
        };
        let passed = int(before.saturating_sub(self.grace) / MINUTE);
        let mut items = Vec::new();
        while at.shard < SHARDS {
            let minute = match at.minute {
                Some(minute) => Some(minute),
                None if ours(at.shard) => self.first_minute(at.shard).await?,
                None => None,
            };
            let Some(mut minute) = minute.filter(|minute| *minute < passed) else {
                at = Shard::of(at.shard + 1);
                continue;
            };
            while minute < passed {
                let state = (!at.state.is_empty()).then(|| PageState::from_bytes(&at.state));
                let key = (minute, at.shard as i8);
                let (rows, more): (Rows, _) = self.session.page(rows::NOTED, key, limit, state).await?;
                for (note, unit) in self.noted(rows.all()?, rows::GET_SERIAL).await? {
                    items.extend(self.look(&note, unit, before).await?);
                }
                at.state = more.map(|state| state.to_bytes()).unwrap_or_default();
                minute += i64::from(at.state.is_empty());
                if minute < passed && items.len() >= limit / 2 {
                    at.minute = Some(minute);
                    let next = Some(at.cursor());
                    return Ok(Page { items, next });
                }
            }
            let name = format!("{PROGRESS}.{}", at.shard);
            self.session.write(rows::ADVANCE, (name, passed)).await?;
            at = Shard::of(at.shard + 1);
        }
        Ok(Page { items, next: None })
    }

    /// Puts a note right: to where its unit has to be looked after next, or away. The wake-up, if the unit was forgotten.
    async fn look(&self, note: &Note, unit: Option<Unit>, before: u64) -> Result<Option<WakeUp>> {
        let id = note_id(note)?;
        let Some(unit) = unit else {
            // Ids are not used again, but whoever took a unit back may have put it in anew, under another minute.
            self.unnote_in(note.minute, id, 1 << 40).await?;
            return Ok(None);
        };
        if !is_current(note, &unit) {
            // Whoever changed the row had noted it anew before.
            self.unnote_in(note.minute, id, unit.generation).await?;
            return Ok(None);
        }
        let overdue = is_overdue(&unit, before.saturating_sub(self.grace));
        let minute = match unit.state {
            _ if overdue => self.minute_at(self.now() + self.again()),
            State::Sending => self.minute_at(unit.lease.max(self.now())),
            _ => self.minute(&unit),
        };
        if minute != note.minute {
            self.note_in(minute, &unit).await?;
            self.unnote_in(note.minute, id, unit.generation).await?;
        }
        Ok(overdue.then(|| WakeUp::of(&unit)))
    }

    /// Counts by walking over the notes; reads the rows of those that are due, which may be claimed.
    pub(super) async fn count(&self) -> Result<Counts> {
        let (place, last) = self.place(None, true).await?;
        let (mut place, mut counts, mut read) = (Some(place), Counts::default(), 0);
        while let Some(at) = place {
            let (notes, next) = self.notes(at, 5_000, last).await?;
            place = next;
            let now = int(self.now());
            let sure = |note: &Note| note.minute != HELD && note.due.unwrap_or(0) > now;
            let (waiting, doubtful): (Vec<Note>, Vec<Note>) =
                notes.into_iter().partition(|note| sure(note) || read > COUNTED);
            read += doubtful.len();
            counts.queued += waiting.len() as u64;
            waiting.iter().for_each(|note| older(&mut counts, note));
            for (note, unit) in self.noted(doubtful, rows::GET).await? {
                let Some(unit) = unit.filter(|unit| is_current(&note, unit)) else {
                    continue;
                };
                older(&mut counts, &note);
                match unit.state {
                    State::Sending => counts.sending += 1,
                    State::Held => counts.held += 1,
                    _ => counts.queued += 1,
                }
            }
        }
        Ok(counts)
    }
}

/// A place in the walk over all notes.
struct Place {
    /// The first minute that is no held one, as of the beginning.
    first: i64,
    minute: i64,
    /// The database's place in the minute; empty: its beginning.
    state: Vec<u8>,
}

impl Place {
    fn cursor(&self) -> Cursor {
        let mut bytes = self.first.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.minute.to_be_bytes());
        bytes.extend_from_slice(&self.state);
        Cursor(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first_chunk::<8>()?;
        let (minute, state) = rest.split_first_chunk::<8>()?;
        Some(Self {
            first: i64::from_be_bytes(*first),
            minute: i64::from_be_bytes(*minute),
            state: state.to_vec(),
        })
    }
}

/// A place in the walk of the reconciler.
#[derive(Default)]
struct Shard {
    shard: u8,
    /// `None`: from where it was looked through.
    minute: Option<i64>,
    state: Vec<u8>,
}

impl Shard {
    fn of(shard: u8) -> Self {
        Self {
            shard,
            ..Self::default()
        }
    }

    fn cursor(&self) -> Cursor {
        let mut bytes = vec![self.shard];
        bytes.extend_from_slice(&self.minute.unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(&self.state);
        Cursor(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (shard, rest) = bytes.split_first()?;
        let (minute, state) = rest.split_first_chunk::<8>()?;
        Some(Self {
            shard: *shard,
            minute: Some(i64::from_be_bytes(*minute)),
            state: state.to_vec(),
        })
    }
}

fn note_id(note: &Note) -> Result<UnitId> {
    UnitId::from_slice(&note.id).ok_or_else(|| Error::Damaged("a noted unit's id has not 16 bytes".into()))
}

/// By its last byte: ids are random there.
fn shard(id: UnitId) -> i8 {
    let [.., last] = *id.as_bytes();
    (last % SHARDS) as i8
}

/// Whether a note is about the row as it is: of several notes of a unit, one is.
fn is_current(note: &Note, unit: &Unit) -> bool {
    match unit.state {
        State::Held => note.minute == HELD,
        _ => note.minute != HELD && note.due == Some(int(unit.next_attempt)),
    }
}

fn is_overdue(unit: &Unit, before: u64) -> bool {
    match unit.state {
        State::Queued => unit.next_attempt < before,
        State::Sending => unit.lease < before,
        _ => false,
    }
}

fn older(counts: &mut Counts, note: &Note) {
    let created = u64::try_from(note.created.unwrap_or(0)).unwrap_or(0);
    if counts.oldest == 0 || created < counts.oldest {
        counts.oldest = created;
    }
}
