//! So many jobs at once, and a bounded line of those that wait.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;

/// The most jobs that wait.
pub const LONGEST: usize = 20_000;

/// How long those in line may still get their turn when the run has ended.
pub const GRACE: Duration = Duration::from_secs(10);

/// Places for jobs, and the line for them. It runs nothing itself.
#[derive(Debug)]
pub struct Line<J> {
    places: u32,
    state: Mutex<State<J>>,
}

/// What becomes of a job.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry<J> {
    /// It has a place: do it, then ask for the [next](Line::next) one.
    Now(J),
    /// It waits for a place.
    Waits,
    /// There is no room to wait in either.
    Full(J),
}

#[derive(Debug)]
struct State<J> {
    taken: u32,
    waiting: VecDeque<J>,
}

impl<J> Line<J> {
    /// A line in front of so many places.
    pub fn new(places: u32) -> Self {
        Self {
            places,
            state: Mutex::new(State {
                taken: 0,
                waiting: VecDeque::new(),
            }),
        }
    }

    /// A job comes.
    pub fn enter(&self, job: J) -> Entry<J> {
        let mut state = self.state.lock();
        if state.taken < self.places {
            state.taken += 1;
            Entry::Now(job)
        } else if state.waiting.len() < LONGEST {
            state.waiting.push_back(job);
            Entry::Waits
        } else {
            Entry::Full(job)
        }
    }

    /// A job is done: the one that waited longest takes its place, or the place is free.
    pub fn next(&self) -> Option<J> {
        let mut state = self.state.lock();
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.taken = state.taken.saturating_sub(1);
        }
        next
    }

    /// Sends away whoever still waits.
    pub fn clear(&self) -> VecDeque<J> {
        std::mem::take(&mut self.state.lock().waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_and_given_back() {
        let line = Line::new(2);
        assert_eq!(line.enter(1), Entry::Now(1));
        assert_eq!(line.enter(2), Entry::Now(2));
        assert_eq!(line.enter(3), Entry::Waits);
        assert_eq!(line.next(), Some(3));
        assert_eq!(line.next(), None);
        assert_eq!(line.enter(4), Entry::Now(4));
        assert_eq!(line.enter(5), Entry::Waits);
        for _ in 1..LONGEST {
            assert_eq!(line.enter(6), Entry::Waits);
        }
        assert_eq!(line.enter(7), Entry::Full(7));
        assert_eq!(line.clear().len(), LONGEST);
        assert_eq!(line.enter(8), Entry::Waits);
    }
}
