//! Wake-ups in memory: two lanes ordered by due time, each a window on what may be a much longer order on disk.
//!
//! A lane holds every wake-up up to its edge, and none beyond it: those are read from the rows when the edge moves on.
//! When a lane is full its last wake-ups are dropped and the edge moves back to them. So ten million deferred units
//! cost no more memory than [`Timer::new`]'s capacity allows (about 50 bytes for each in the window), and nothing is lost.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use postrider_types::UnitId;
use tokio::sync::Notify;

use crate::engine::{Lane, WakeUp};

/// A place in the order: due time, then unit.
pub(crate) type Place = (u64, UnitId);

/// A wake-up in its lane: its place, and the generation.
type Entry = (u64, UnitId, u64);

/// Behind everything.
pub(crate) const END: Place = (u64::MAX, UnitId::from_bytes([255; 16]));

pub(crate) struct Timer {
    lanes: Mutex<[Waiting; 2]>,
    /// Says that something may be due earlier than thought.
    pub(crate) changed: Notify,
    capacity: usize,
}

/// One lane.
#[derive(Default)]
struct Waiting {
    window: BTreeSet<Entry>,
    /// Up to here the window is complete.
    edge: Place,
    /// Up to here wake-ups are taken: the edge, or beyond it while the rows there are being read.
    taken: Place,
    /// Moves when the edge goes back, so that a page read before that is not taken for complete.
    epoch: u64,
}

impl Timer {
    /// A timer whose lanes hold up to `capacity` wake-ups each, and that begins with this edge ([`END`]: there is no disk).
    pub(crate) fn new(capacity: usize, edge: Place) -> Self {
        let lane = || Waiting {
            edge,
            taken: edge,
            ..Waiting::default()
        };
        Self {
            lanes: Mutex::new([lane(), lane()]),
            changed: Notify::new(),
            capacity,
        }
    }

    /// Takes wake-ups up to the edge, and what is due already: it would otherwise wait behind all that is due before it on
    /// disk (and is found there once more). The others beyond the edge are on disk.
    pub(crate) fn add(&self, wake_ups: &[WakeUp], now: u64) {
        let mut lanes = self.lanes.lock();
        for wake_up in wake_ups {
            let lane = &mut lanes[wake_up.lane as usize];
            if (wake_up.due, wake_up.unit) <= lane.taken || wake_up.due <= now {
                lane.window
                    .insert((wake_up.due, wake_up.unit, wake_up.generation));
            }
            lane.shrink(self.capacity);
        }
        drop(lanes);
        self.changed.notify_one();
    }

    /// Removes and returns what is due, first attempts first but never retries not at all. Of first attempts the oldest and
    /// the newest are taken in equal parts, so that new mail does not wait until a long backlog has been looked through.
    pub(crate) fn pop(&self, now: u64, limit: usize) -> Vec<WakeUp> {
        let mut lanes = self.lanes.lock();
        let mut found = Vec::new();
        let share = limit.div_ceil(4);
        lanes[Lane::Later as usize].pop(Lane::Later, now, share, &mut found);
        let left = limit - found.len();
        lanes[Lane::Fresh as usize].pop(Lane::Fresh, now, left.div_ceil(2), &mut found);
        let left = limit - found.len();
        lanes[Lane::Fresh as usize].pop_newest(Lane::Fresh, now, left, &mut found);
        let left = limit - found.len();
        lanes[Lane::Later as usize].pop(Lane::Later, now, left, &mut found);
        found
    }

    /// When the first of the window is due.
    pub(crate) fn next_due(&self) -> Option<u64> {
        let lanes = self.lanes.lock();
        lanes
            .iter()
            .filter_map(|lane| lane.window.first().map(|first| first.0))
            .min()
    }

    /// Whether there may be something due beyond an edge, and room for it.
    pub(crate) fn is_behind(&self, now: u64) -> bool {
        let lanes = self.lanes.lock();
        lanes
            .iter()
            .any(|lane| lane.edge.0 <= now && lane.window.len() < self.capacity / 2)
    }

    /// The edge of a lane up to which the window is complete, its epoch, and whether there is room to move the edge on.
    pub(crate) fn edge(&self, lane: Lane) -> (Place, u64, bool) {
        let lanes = self.lanes.lock();
        let lane = &lanes[lane as usize];
        (lane.edge, lane.epoch, lane.window.len() < self.capacity / 2)
    }

    /// Begins to move an edge on: from now on wake-ups up to `to` are kept, while the rows up to there are read.
    pub(crate) fn open(&self, lane: Lane, to: Place) {
        let mut lanes = self.lanes.lock();
        let lane = &mut lanes[lane as usize];
        lane.taken = lane.taken.max(to);
    }

    /// Ends it: the rows behind `from` up to `to` have been read. False: the edge went back meanwhile, and
    /// they have to be read again.
    pub(crate) fn close(&self, lane: Lane, epoch: u64, to: Place, read: &[WakeUp]) -> bool {
        let mut lanes = self.lanes.lock();
        let waiting = &mut lanes[lane as usize];
        if waiting.epoch != epoch {
            waiting.taken = waiting.edge;
            return false;
        }
        (waiting.edge, waiting.taken) = (to, to);
        waiting.window.extend(
            read.iter()
                .map(|wake_up| (wake_up.due, wake_up.unit, wake_up.generation)),
        );
        waiting.shrink(self.capacity);
        true
    }

    /// Moves both edges back to the start: everything is read again. What the window holds stays.
    pub(crate) fn reset(&self) {
        let mut lanes = self.lanes.lock();
        for lane in lanes.iter_mut() {
            (lane.edge, lane.taken) = (Place::default(), Place::default());
            lane.epoch += 1;
        }
        drop(lanes);
        self.changed.notify_one();
    }
}

impl Waiting {
    fn pop(&mut self, lane: Lane, now: u64, limit: usize, found: &mut Vec<WakeUp>) {
        for _ in 0..limit {
            match self.window.first() {
                Some((due, ..)) if *due <= now => {}
                _ => return,
            }
            if let Some(first) = self.window.pop_first() {
                found.push(wake_up(lane, first));
            }
        }
    }

    fn pop_newest(&mut self, lane: Lane, now: u64, limit: usize, found: &mut Vec<WakeUp>) {
        let last = (now, UnitId::from_bytes([255; 16]), u64::MAX);
        for _ in 0..limit {
            let Some(newest) = self.window.range(..=last).next_back().copied() else {
                return;
            };
            self.window.remove(&newest);
            found.push(wake_up(lane, newest));
        }
    }

    fn shrink(&mut self, capacity: usize) {
        while self.window.len() > capacity {
            let Some((due, unit, _)) = self.window.pop_last() else {
                return;
            };
            // Everything before the dropped one stays complete.
            if self.taken >= (due, unit) {
                let before = previous((due, unit));
                self.taken = self.taken.min(before);
                self.edge = self.edge.min(before);
                self.epoch += 1;
            }
        }
    }
}

fn wake_up(lane: Lane, (due, unit, generation): Entry) -> WakeUp {
    WakeUp {
        unit,
        generation,
        due,
        lane,
        token: 0,
        key: 0,
        trace: String::new(),
    }
}

/// The place just before this one.
fn previous((due, unit): Place) -> Place {
    match u128::from_be_bytes(*unit.as_bytes()).checked_sub(1) {
        Some(less) => (due, UnitId::from_bytes(less.to_be_bytes())),
        None => (due.saturating_sub(1), UnitId::from_bytes([255; 16])),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wake_up(due: u64, unit: u128) -> WakeUp {
        let unit = UnitId::from_bytes(unit.to_be_bytes());
        WakeUp {
            unit,
            generation: 1,
            due,
            lane: Lane::Later,
            token: 0,
            key: 0,
            trace: String::new(),
        }
    }

    /// Reads one page from a disk of rows, as the embedded engine does.
    fn load(timer: &Timer, disk: &BTreeSet<Place>, now: u64, page: usize, between: impl FnOnce()) {
        let (edge, epoch, room) = timer.edge(Lane::Later);
        if !room || edge.0 > now + 20 {
            return between();
        }
        let target = (now + 40, END.1);
        timer.open(Lane::Later, target);
        let behind = (std::ops::Bound::Excluded(edge), std::ops::Bound::Included(target));
        let rows: Vec<Place> = disk.range(behind).take(page).copied().collect();
        between();
        let to = rows
            .last()
            .filter(|_| rows.len() == page)
            .copied()
            .unwrap_or(target);
        let read: Vec<WakeUp> = rows
            .iter()
            .map(|(due, unit)| WakeUp {
                unit: *unit,
                ..wake_up(*due, 0)
            })
            .collect();
        timer.close(Lane::Later, epoch, to, &read);
    }

    #[test]
    fn new_mail_does_not_wait_behind_a_backlog() {
        let timer = Timer::new(1000, Place::default());
        let fresh = |due, unit| WakeUp {
            lane: Lane::Fresh,
            ..wake_up(due, unit)
        };
        let backlog: Vec<WakeUp> = (0..600).map(|unit| fresh(50, unit)).collect();
        let (edge, epoch, _) = timer.edge(Lane::Fresh);
        assert_eq!(edge, Place::default());
        assert!(timer.close(Lane::Fresh, epoch, (50, backlog[599].unit), &backlog));
        // Beyond the edge: what is on disk between the two has not been read.
        timer.add(&[fresh(100, 7)], 100);
        timer.add(&[fresh(200, 8)], 100);
        let taken = timer.pop(100, 8);
        assert_eq!(taken.len(), 8);
        assert!(
            taken.contains(&fresh(100, 7)) && taken.contains(&backlog[0]),
            "{taken:?}"
        );
        assert_eq!(
            timer.pop(1000, 1000).len(),
            593,
            "what is due later is read from the rows"
        );
    }

    #[test]
    fn the_place_before() {
        let place = |due, unit: u128| (due, UnitId::from_bytes(unit.to_be_bytes()));
        assert_eq!(previous(place(5, 9)), place(5, 8));
        assert_eq!(previous(place(5, 0)), place(4, u128::MAX));
    }

    proptest! {
        #[test]
        fn a_small_window_loses_nothing(steps in prop::collection::vec((0u8..5, 0u64..60), 1..200)) {
            let timer = Timer::new(6, Place::default());
            let (mut disk, mut now, mut next) = (BTreeSet::new(), 100, 1u128);
            for (step, number) in steps {
                match step {
                    0 | 1 => {
                        // A new row; now and then it comes while a page is being read.
                        let new = wake_up(now + number, next);
                        next += 1;
                        if number % 3 == 0 {
                            let snapshot = disk.clone();
                            disk.insert((new.due, new.unit));
                            load(&timer, &snapshot, now, 3, || timer.add(std::slice::from_ref(&new), now));
                        } else {
                            disk.insert((new.due, new.unit));
                            timer.add(&[new], now);
                        }
                    }
                    2 => now += number / 4,
                    3 if number == 0 => timer.reset(),
                    3 => load(&timer, &disk, now, 3, || {}),
                    _ => {
                        for found in timer.pop(now, 4) {
                            prop_assert!(found.due <= now);
                            disk.remove(&(found.due, found.unit));
                        }
                    }
                }
            }
            now += 200;
            for _ in 0..1000 {
                for found in timer.pop(now, 4) {
                    disk.remove(&(found.due, found.unit));
                }
                load(&timer, &disk, now, 3, || {});
            }
            prop_assert!(disk.is_empty(), "{disk:?} were never woken");
            prop_assert!(timer.next_due().is_none());
        }
    }
}
