//! Which messages were answered lately: how a device that hears of one knows since when it could.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use parking_lot::Mutex;

use crate::ledger::MessageId;

/// The most messages that are remembered; the oldest are forgotten.
const MOST: usize = 64 * 1024;

/// The most devices that are remembered to have heard of one message before it was answered.
const EARLY: usize = 64;

/// A bounded memory of answered messages, and of those that a device has heard of before the sender had its answer.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    known: HashMap<MessageId, Known>,
    order: VecDeque<MessageId>,
}

#[derive(Debug)]
enum Known {
    Answered(Instant),
    /// When devices were told.
    Told(Vec<Instant>),
}

impl Recent {
    /// A message was answered; when devices have heard of it before.
    pub fn answered(&self, id: MessageId, at: Instant) -> Vec<Instant> {
        match self.0.lock().enter(id, Known::Answered(at)) {
            Some(Known::Told(told)) => told,
            _ => Vec::new(),
        }
    }

    /// When a message was answered. `None`: not yet, or too long ago.
    pub fn when_answered(&self, id: MessageId) -> Option<Instant> {
        match self.0.lock().known.get(&id) {
            Some(Known::Answered(answered)) => Some(*answered),
            _ => None,
        }
    }

    /// A device was told of a message; when that was answered. `None`: not yet, or too long ago.
    pub fn told(&self, id: MessageId, at: Instant) -> Option<Instant> {
        let mut table = self.0.lock();
        match table.known.get_mut(&id) {
            Some(Known::Answered(answered)) => return Some(*answered),
            Some(Known::Told(told)) if told.len() < EARLY => told.push(at),
            Some(Known::Told(_)) => {}
            None => {
                table.enter(id, Known::Told(vec![at]));
            }
        }
        None
    }
}

impl Table {
    /// Remembers; what was known before.
    fn enter(&mut self, id: MessageId, known: Known) -> Option<Known> {
        let before = self.known.insert(id, known);
        if before.is_none() {
            self.order.push_back(id);
            if self.order.len() > MOST
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(number: u64) -> MessageId {
        MessageId { run: 1, number }
    }

    #[test]
    fn whoever_comes_second_knows_of_the_first() {
        let (recent, now) = (Recent::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        assert!(recent.answered(id(1), now).is_empty());
        assert_eq!(recent.told(id(1), later), Some(now));
        assert_eq!(recent.told(id(1), later), Some(now));
        assert_eq!(recent.told(id(2), now), None);
        assert_eq!(recent.told(id(2), later), None);
        assert_eq!(recent.answered(id(2), later), [now, later]);
        assert_eq!(recent.told(id(2), later), Some(later));
        assert_eq!(recent.told(id(3), now), None);
        assert_eq!(
            (recent.when_answered(id(2)), recent.when_answered(id(3))),
            (Some(later), None)
        );
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let (recent, now) = (Recent::default(), Instant::now());
        for number in 0..=MOST as u64 {
            recent.answered(id(number), now);
        }
        assert_eq!(recent.told(id(MOST as u64), now), Some(now));
        assert_eq!(recent.told(id(0), now), None);
        assert_eq!(recent.0.lock().known.len(), MOST);
        assert_eq!(recent.0.lock().order.len(), MOST);
    }
}
