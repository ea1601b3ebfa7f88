//! What a worker has read from its partitions and not yet finished: pure bookkeeping, no client in it.
//!
//! ```text
//!  ready topics ──▶ lane ──take──▶ taken ──done──▶ finished          (taken too long: moved to a delay topic)
//!                    ▲
//!  delay topics ──▶ held until due ──moved to its ready topic──▶ finished
//!            └───▶ parked: leaves later, its partition pauses ──▶ moved to the next delay topic, or held
//! ```
//!
//! A partition's offset may be committed up to its first record that is not finished. A record is finished when its wake-up is done or
//! when another topic has it. So nothing waits for the slowest: whatever is not done in time is moved.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::record::Record;
use super::topics::Topic;
use crate::engine::{Lane, WakeUp};

/// What is due within this is held in memory until then instead of in the next delay topic, milliseconds.
pub(super) const HOLD: u64 = 60_000;
/// Records in memory at most; about 200 bytes each.
const MOST: usize = 50_000;
/// Untaken wake-ups of a lane at which its partitions pause, and at which they go on.
const LANE_FULL: usize = 2_000;
const LANE_LOW: usize = 500;
/// A wake-up that was taken and not done in this time is put on a delay topic.
const PATIENCE: Duration = Duration::from_secs(120);
/// When such a wake-up is due again, milliseconds. If it was done meanwhile, its generation is old.
const AGAIN: u64 = 240_000;
/// After this a record that could not be moved is tried again, milliseconds.
const RETRY: u64 = 1_000;

/// A partition of a topic.
pub(super) type Place = (Topic, i32);

/// A record to be put into another topic; then [`Flight::finish`] its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub token: u64,
    pub topic: Topic,
    pub record: Record,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Flight {
    partitions: BTreeMap<Place, Partition>,
    items: HashMap<u64, Item>,
    /// Held until due: time and token.
    held: BTreeSet<(u64, u64)>,
    /// Due and not taken, by lane.
    lanes: [VecDeque<u64>; 2],
    /// Which were taken when; those that are done meanwhile are still in it.
    taken: VecDeque<(Instant, u64)>,
    tokens: u64,
}

#[derive(Debug, Default)]
struct Partition {
    /// Behind the last record read; `None`: none was read yet.
    next: Option<i64>,
    /// Offsets of records that are not finished.
    open: BTreeSet<i64>,
    committed: Option<i64>,
    /// Its first record does not leave before this.
    parked: Option<(u64, u64)>,
    paused: bool,
}

#[derive(Debug)]
struct Item {
    place: Place,
    offset: i64,
    record: Record,
    moving: bool,
}

impl Flight {
    /// A partition is ours from now on.
    pub fn assign(&mut self, place: Place) {
        let partition = Partition {
            // Whether it was paused when we had it before is not known: it is told to go on.
            paused: true,
            ..Partition::default()
        };
        self.partitions.insert(place, partition);
    }

    /// A partition is no longer ours; the offset to commit, if it moved.
    pub fn revoke(&mut self, place: Place) -> Option<i64> {
        let partition = self.partitions.remove(&place)?;
        let held = &mut self.held;
        self.items.retain(|token, item| {
            let stays = item.place != place;
            if !stays {
                held.remove(&(item.record.wake_up.due, *token));
            }
            stays
        });
        let items = &self.items;
        for lane in &mut self.lanes {
            lane.retain(|token| items.contains_key(token));
        }
        partition.to_commit()
    }

    /// Partitions of a topic that are ours.
    pub fn of_topic(&self, topic: Topic) -> Vec<i32> {
        let places = self.partitions.keys().filter(|place| place.0 == topic);
        places.map(|place| place.1).collect()
    }

    /// A record was read. It may have to be moved at once.
    pub fn read(&mut self, place: Place, offset: i64, record: Record, now: u64) -> Option<Move> {
        let token = self.open(place, offset, record)?;
        self.settle(token, now)
    }

    /// A record that is no wake-up was read; it is finished when it is in the topic of dead ones.
    pub fn read_dead(&mut self, place: Place, offset: i64) -> Option<u64> {
        let wake_up = WakeUp {
            unit: postrider_types::UnitId::default(),
            generation: 0,
            due: u64::MAX,
            lane: Lane::Later,
            token: 0,
            key: 0,
            trace: String::new(),
        };
        let token = self.open(place, offset, Record { wake_up, leaves: 0 })?;
        self.items.get_mut(&token)?.moving = true;
        Some(token)
    }

    fn open(&mut self, place: Place, offset: i64, mut record: Record) -> Option<u64> {
        // Read before the partition was taken away.
        let partition = self.partitions.get_mut(&place)?;
        if partition.next.is_some_and(|next| offset < next) {
            return None;
        }
        partition.next = Some(offset + 1);
        partition.committed.get_or_insert(offset);
        partition.open.insert(offset);
        self.tokens += 1;
        let token = self.tokens;
        record.wake_up.token = token;
        let item = Item {
            place,
            offset,
            record,
            moving: false,
        };
        self.items.insert(token, item);
        Some(token)
    }

    /// Where a record goes that nobody has taken yet.
    fn settle(&mut self, token: u64, now: u64) -> Option<Move> {
        let crowded = self.items.len() >= MOST;
        let item = self.items.get_mut(&token)?;
        let (due, lane) = (item.record.wake_up.due, item.record.wake_up.lane);
        let waits = due.saturating_sub(now);
        match item.place.0 {
            Topic::Ready(_) if waits == 0 => self.lanes[lane as usize].push_back(token),
            Topic::Delay(_) if waits == 0 => return self.moved(token, now),
            _ if waits <= HOLD && !crowded => drop(self.held.insert((due, token))),
            Topic::Delay(_) if item.record.leaves > now => {
                let (place, leaves) = (item.place, item.record.leaves);
                if let Some(partition) = self.partitions.get_mut(&place) {
                    partition.parked = Some((leaves, token));
                }
            }
            _ => return self.moved(token, now),
        }
        None
    }

    fn moved(&mut self, token: u64, now: u64) -> Option<Move> {
        let item = self.items.get_mut(&token)?;
        item.moving = true;
        let (topic, record) = Record::of(&item.record.wake_up, now);
        Some(Move { token, topic, record })
    }

    /// What is to be moved now.
    pub fn tick(&mut self, now: u64, instant: Instant) -> Vec<Move> {
        let mut moves = Vec::new();
        while let Some((due, token)) = self.held.first().copied().filter(|(due, _)| *due <= now) {
            self.held.remove(&(due, token));
            if let Some(item) = self.items.get_mut(&token) {
                // What could not be moved and was put here with a later time.
                item.moving = false;
            }
            moves.extend(self.settle(token, now));
        }
        let leaving = |partition: &mut Partition| match partition.parked {
            Some((leaves, token)) if leaves <= now => {
                partition.parked = None;
                Some(token)
            }
            _ => None,
        };
        let leaving: Vec<u64> = self.partitions.values_mut().filter_map(leaving).collect();
        for token in leaving {
            moves.extend(self.settle(token, now));
        }
        while let Some((when, token)) = self.taken.front().copied() {
            if instant.saturating_duration_since(when) < PATIENCE {
                break;
            }
            self.taken.pop_front();
            let Some(item) = self.items.get_mut(&token).filter(|item| !item.moving) else {
                continue;
            };
            item.record.wake_up.due = now.saturating_add(AGAIN);
            moves.extend(self.moved(token, now));
        }
        moves
    }

    /// The next due ones, at most `limit`: first attempts first, but never retries not at all.
    pub fn take(&mut self, limit: usize, instant: Instant) -> Vec<WakeUp> {
        let mut taken = Vec::new();
        let share = limit.div_ceil(4);
        self.pop(Lane::Later, share, instant, &mut taken);
        self.pop(Lane::Fresh, limit - taken.len(), instant, &mut taken);
        self.pop(Lane::Later, limit - taken.len(), instant, &mut taken);
        taken
    }

    fn pop(&mut self, lane: Lane, limit: usize, instant: Instant, taken: &mut Vec<WakeUp>) {
        for _ in 0..limit {
            let Some(token) = self.lanes[lane as usize].pop_front() else {
                return;
            };
            if let Some(item) = self.items.get(&token) {
                taken.push(item.record.wake_up.clone());
                self.taken.push_back((instant, token));
            }
        }
    }

    /// A record is done, or another topic has it.
    pub fn finish(&mut self, token: u64) {
        let Some(item) = self.items.remove(&token) else {
            return;
        };
        self.held.remove(&(item.record.wake_up.due, token));
        if let Some(partition) = self.partitions.get_mut(&item.place) {
            partition.open.remove(&item.offset);
        }
    }

    /// No broker took a record that was to be moved: later again.
    pub fn not_moved(&mut self, token: u64, now: u64) {
        if let Some(item) = self.items.get_mut(&token) {
            item.record.wake_up.due = item.record.wake_up.due.max(now).saturating_add(RETRY);
            self.held.insert((item.record.wake_up.due, token));
        }
    }

    /// Offsets of some topics that moved since they were last asked for.
    pub fn commits(&mut self, of: impl Fn(Topic) -> bool) -> Vec<(Place, i64)> {
        let mut commits = Vec::new();
        for (place, partition) in self.partitions.iter_mut().filter(|(place, _)| of(place.0)) {
            if let Some(offset) = partition.to_commit() {
                partition.committed = Some(offset);
                commits.push((*place, offset));
            }
        }
        commits
    }

    /// Partitions of some topics that have to pause now, and those that go on.
    pub fn pauses(&mut self, of: impl Fn(Topic) -> bool) -> (Vec<Place>, Vec<Place>) {
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        let crowded = self.items.len() >= MOST;
        for (place, partition) in self.partitions.iter_mut().filter(|(place, _)| of(place.0)) {
            let stop = match place.0 {
                Topic::Ready(lane) => {
                    let limit = if partition.paused { LANE_LOW } else { LANE_FULL };
                    crowded || self.lanes[lane as usize].len() >= limit
                }
                _ => partition.parked.is_some(),
            };
            if stop != partition.paused {
                partition.paused = stop;
                if stop { &mut pause } else { &mut resume }.push(*place);
            }
        }
        (pause, resume)
    }

    /// Whether something waits to be taken.
    pub fn has_ready(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.is_empty())
    }
}

impl Partition {
    fn to_commit(&self) -> Option<i64> {
        let offset = self.open.first().copied().or(self.next)?;
        (self.committed != Some(offset)).then_some(offset)
    }
}

#[cfg(test)]
mod tests {
    use postrider_types::UnitId;
    use proptest::prelude::*;

    use super::*;

    const READY: Place = (Topic::Ready(Lane::Fresh), 0);
    const DELAY: Place = (Topic::Delay(1), 0);

    fn record(due: u64, leaves: u64) -> Record {
        let wake_up = WakeUp {
            unit: UnitId::generate(),
            generation: 1,
            due,
            lane: Lane::Fresh,
            token: 0,
            key: 0,
            trace: String::new(),
        };
        Record { wake_up, leaves }
    }

    fn flight() -> Flight {
        let mut flight = Flight::default();
        flight.assign(READY);
        flight.assign(DELAY);
        assert_eq!(flight.pauses(|_| true), (vec![], vec![READY, DELAY]));
        flight
    }

    #[test]
    fn an_offset_waits_for_the_first_that_is_not_done() {
        let (mut flight, start) = (flight(), Instant::now());
        for offset in 10..14 {
            assert_eq!(flight.read(READY, offset, record(5, 0), 5), None);
        }
        assert_eq!(flight.commits(|_| true), []);
        let taken = flight.take(10, start);
        flight.finish(taken[1].token);
        flight.finish(taken[2].token);
        assert_eq!(flight.commits(|_| true), []);
        flight.finish(taken[0].token);
        assert_eq!(flight.commits(|_| true), [(READY, 13)]);
        assert_eq!(flight.commits(|_| true), []);
        flight.finish(taken[3].token);
        assert_eq!(flight.revoke(READY), Some(14));
    }

    #[test]
    fn what_is_taken_too_long_is_moved() {
        let (mut flight, start) = (flight(), Instant::now());
        flight.read(READY, 0, record(5, 0), 5);
        let taken = flight.take(1, start);
        assert_eq!(flight.tick(6, start + Duration::from_secs(1)), []);
        let moves = flight.tick(6, start + PATIENCE);
        assert_eq!((moves.len(), moves[0].topic), (1, Topic::Delay(3)));
        assert_eq!(moves[0].record.wake_up.due, 6 + AGAIN);
        flight.finish(taken[0].token);
        assert_eq!(flight.commits(|_| true), [(READY, 1)]);
    }

    #[test]
    fn a_head_that_leaves_later_pauses_its_partition() {
        let (mut flight, start) = (flight(), Instant::now());
        // Due in three minutes, leaves in one.
        assert_eq!(flight.read(DELAY, 0, record(180_000, 60_000), 0), None);
        assert_eq!(flight.pauses(|_| true), (vec![DELAY], vec![]));
        assert_eq!(flight.tick(59_999, start), []);
        let moves = flight.tick(60_000, start);
        assert_eq!((moves.len(), moves[0].topic), (1, Topic::Delay(2)));
        assert_eq!(flight.pauses(|_| true), (vec![], vec![DELAY]));
        // Not acknowledged: tried again.
        flight.not_moved(moves[0].token, 60_000);
        assert_eq!(flight.commits(|_| true), []);
        let moves = flight.tick(200_000, start);
        assert_eq!(moves.len(), 1);
        flight.finish(moves[0].token);
        assert_eq!(flight.commits(|_| true), [(DELAY, 1)]);
    }

    #[test]
    fn what_is_due_soon_is_held() {
        let (mut flight, start) = (flight(), Instant::now());
        assert_eq!(flight.read(DELAY, 0, record(30_000, 30_000), 0), None);
        assert_eq!(flight.pauses(|_| true), (vec![], vec![]));
        let moves = flight.tick(30_000, start);
        assert_eq!(
            (moves.len(), moves[0].topic),
            (1, Topic::Ready(Lane::Fresh)),
            "it goes to the worker of its destination"
        );
        flight.finish(moves[0].token);
        assert_eq!(flight.commits(|_| true), [(DELAY, 1)]);
    }

    #[test]
    fn a_full_lane_pauses_until_it_is_low() {
        let (mut flight, start) = (flight(), Instant::now());
        for offset in 0..LANE_FULL {
            flight.read(READY, i64::try_from(offset).unwrap_or(0), record(5, 0), 5);
        }
        assert_eq!(flight.pauses(|_| true), (vec![READY], vec![]));
        flight.take(10, start);
        assert_eq!(flight.pauses(|_| true), (vec![], vec![]));
        flight.take(LANE_FULL, start);
        assert_eq!(flight.pauses(|_| true), (vec![], vec![READY]));
    }

    #[test]
    fn what_was_revoked_is_forgotten() {
        let (mut flight, start) = (flight(), Instant::now());
        flight.read(READY, 0, record(5, 0), 5);
        flight.read(READY, 1, record(5, 0), 5);
        let taken = flight.take(1, start);
        assert_eq!(flight.revoke(READY), None);
        assert!(!flight.has_ready());
        assert_eq!(flight.read(READY, 2, record(5, 0), 5), None);
        flight.finish(taken[0].token);
        // Ours again: what was read before is read again.
        flight.assign(READY);
        flight.read(READY, 0, record(5, 0), 5);
        assert_eq!(flight.take(5, start).len(), 1);
        assert_eq!(flight.commits(|_| true), []);
    }

    proptest! {
        /// Whatever happens, a committed offset has no unfinished record before it, and in the end all are committed.
        #[test]
        fn nothing_is_committed_too_early(steps in prop::collection::vec((0u8..6, 0u64..400_000), 1..200)) {
            let (mut flight, start) = (flight(), Instant::now());
            let (mut now, mut next, mut instant) = (0u64, [0i64; 2], start);
            let (mut taken, mut moves) = (Vec::new(), Vec::new());
            for (step, number) in steps {
                match step {
                    0 => { moves.extend(flight.read(READY, next[0], record(now, 0), now)); next[0] += 1; }
                    1 => {
                        // A paused partition gives nothing.
                        if flight.partitions[&DELAY].parked.is_none() {
                            let leaves = (now + 60_000).min(now + number);
                            moves.extend(flight.read(DELAY, next[1], record(now + number, leaves), now));
                            next[1] += 1;
                        }
                    }
                    2 => taken.extend(flight.take(3, instant)),
                    3 => if let Some(wake_up) = taken.pop() { flight.finish(wake_up.token) },
                    4 => if let Some(Move { token, .. }) = moves.pop() {
                        if number % 3 == 0 { flight.not_moved(token, now) } else { flight.finish(token) }
                    },
                    _ => { now += number; instant += Duration::from_millis(number); moves.extend(flight.tick(now, instant)); }
                }
                for (place, offset) in flight.commits(|_| true) {
                    prop_assert!(flight.items.values().all(|item| item.place != place || item.offset >= offset));
                }
            }
            for _ in 0..1000 {
                now += 60_000;
                moves.extend(flight.tick(now, instant));
                taken.extend(flight.take(100, instant));
                taken.drain(..).for_each(|wake_up| flight.finish(wake_up.token));
                moves.drain(..).for_each(|moved: Move| flight.finish(moved.token));
            }
            prop_assert!(flight.items.is_empty() && flight.held.is_empty(), "{flight:?}");
            flight.commits(|_| true);
            prop_assert_eq!(flight.partitions[&READY].committed.unwrap_or(0), next[0]);
            prop_assert_eq!(flight.partitions[&DELAY].committed.unwrap_or(0), next[1]);
        }
    }
}
