//! Units put in a moment ago, kept in memory with their contents: most mail goes out at once, and is then never read back.
//!
//! A row is here only while it is what the table has: it is taken out before any change of it is written, and it comes in
//! only if nothing has changed it since its insertion began.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use postrider_types::UnitId;

use crate::Unit;

/// Rows kept at most: about 20 MB.
const MOST: usize = 20_000;
/// Bytes of contents kept at most.
const MOST_BYTES: usize = 64 << 20;
/// A larger content is read from where it is stored.
const LARGEST: usize = 64 << 10;
/// What is older than this makes room when there is none, in milliseconds.
const YOUNG: u64 = 10_000;

/// The units kept.
#[derive(Default)]
pub(super) struct Recent {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// `None`: its insertion has begun.
    units: BTreeMap<UnitId, Option<(Unit, Option<Bytes>)>>,
    bytes: usize,
}

/// An insertion that has begun. Dropped, it leaves nothing behind.
pub(super) struct Coming {
    recent: Arc<Recent>,
    ids: Vec<UnitId>,
}

impl Recent {
    /// Begins to insert units that will be wanted soon; before their rows are written.
    pub(super) fn begin(self: &Arc<Self>, units: &[Unit], now: u64) -> Coming {
        let mut kept = self.kept.lock();
        let mut ids = Vec::new();
        for unit in units.iter().filter(|unit| unit.next_attempt <= now) {
            let id = unit.new.id;
            kept.make_room(now);
            if !kept.is_full() && !kept.units.contains_key(&id) {
                kept.units.insert(id, None);
                ids.push(id);
            }
        }
        drop(kept);
        let recent = Arc::clone(self);
        Coming { recent, ids }
    }

    /// The row, if it is kept.
    pub(super) fn get(&self, id: UnitId) -> Option<Unit> {
        let kept = self.kept.lock();
        let (unit, _) = kept.units.get(&id)?.as_ref()?;
        Some(unit.clone())
    }

    /// The content, if it is kept.
    pub(super) fn body(&self, id: UnitId) -> Option<Bytes> {
        let kept = self.kept.lock();
        let (_, body) = kept.units.get(&id)?.as_ref()?;
        body.clone()
    }

    /// The row is about to change.
    pub(super) fn forget(&self, id: UnitId) {
        self.kept.lock().remove(id);
    }
}

impl Kept {
    fn is_full(&self) -> bool {
        self.units.len() >= MOST || self.bytes >= MOST_BYTES
    }

    fn make_room(&mut self, now: u64) {
        while self.is_full()
            && let Some((oldest, _)) = self.units.first_key_value()
            && oldest.unix_millis() + YOUNG < now
        {
            self.remove(*oldest);
        }
    }

    fn remove(&mut self, id: UnitId) {
        if let Some(Some((_, Some(body)))) = self.units.remove(&id) {
            self.bytes -= body.len();
        }
    }
}

impl Coming {
    /// The rows are written; those that are not among `inserted` were there already, or had been there lately.
    pub(super) fn arrived(self, units: Vec<Unit>, inserted: &[UnitId], body: Option<&Bytes>) {
        // Copied, since it may be a small part of the buffer it was read into.
        let body = body
            .filter(|body| body.len() <= LARGEST)
            .map(|body| Bytes::copy_from_slice(body));
        let recent = Arc::clone(&self.recent);
        let mut kept = recent.kept.lock();
        let kept = &mut *kept;
        for unit in units {
            let id = unit.new.id;
            if let (Some(place @ None), true) = (kept.units.get_mut(&id), inserted.contains(&id)) {
                kept.bytes += body.as_ref().map_or(0, Bytes::len);
                *place = Some((unit, body.clone()));
            }
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        let mut kept = self.recent.kept.lock();
        for id in &self.ids {
            if kept.units.get(id).is_some_and(Option::is_none) {
                kept.units.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::new_unit;
    use crate::{RetryPolicy, machine};

    const NOW: u64 = 1_800_000_000_000;

    fn unit(created: u64, number: u64) -> Unit {
        let mut new = new_unit(postrider_types::ContentId::generate(), "a.example", 1);
        let id = (u128::from(created) << 80) | u128::from(number);
        new.id = UnitId::from_bytes(id.to_be_bytes());
        machine::fresh(new, &RetryPolicy::default(), created).unwrap()
    }

    fn insert(recent: &Arc<Recent>, unit: &Unit, now: u64) {
        let body = Bytes::from_static(b"ketchup");
        let coming = recent.begin(std::slice::from_ref(unit), now);
        coming.arrived(vec![unit.clone()], &[unit.new.id], Some(&body));
    }

    #[test]
    fn a_row_is_kept_until_it_changes() {
        let (recent, unit) = (Arc::<Recent>::default(), unit(NOW, 1));
        insert(&recent, &unit, NOW);
        assert_eq!(recent.get(unit.new.id), Some(unit.clone()));
        assert_eq!(recent.body(unit.new.id).as_deref(), Some(&b"ketchup"[..]));
        recent.forget(unit.new.id);
        assert_eq!((recent.get(unit.new.id), recent.body(unit.new.id)), (None, None));
        assert_eq!(recent.kept.lock().bytes, 0);
    }

    #[test]
    fn a_row_that_changed_meanwhile_or_was_there_is_not_kept() {
        let (recent, unit) = (Arc::<Recent>::default(), unit(NOW, 1));
        let coming = recent.begin(std::slice::from_ref(&unit), NOW);
        recent.forget(unit.new.id);
        coming.arrived(vec![unit.clone()], &[unit.new.id], None);
        assert_eq!(recent.get(unit.new.id), None, "it changed while it was inserted");
        let coming = recent.begin(std::slice::from_ref(&unit), NOW);
        coming.arrived(vec![unit.clone()], &[], None);
        assert_eq!(recent.get(unit.new.id), None, "another one was there");
        drop(recent.begin(std::slice::from_ref(&unit), NOW));
        assert!(recent.kept.lock().units.is_empty(), "nothing is left behind");
        let later = Unit {
            next_attempt: NOW + 1,
            ..unit
        };
        insert(&recent, &later, NOW);
        assert_eq!(recent.get(later.new.id), None, "it is not wanted soon");
    }

    #[test]
    fn the_old_make_room_and_the_young_stay() {
        let recent = Arc::<Recent>::default();
        let first = unit(NOW, 0);
        (0..MOST as u64).for_each(|number| insert(&recent, &unit(NOW, number), NOW));
        let next = unit(NOW + 1, 0);
        insert(&recent, &next, NOW + 1);
        assert_eq!(recent.get(next.new.id), None, "there is no room");
        assert!(recent.get(first.new.id).is_some());
        insert(&recent, &next, NOW + YOUNG + 1);
        assert_eq!(recent.get(next.new.id), Some(next));
        assert_eq!(recent.get(first.new.id), None);
        assert_eq!(recent.kept.lock().units.len(), MOST);
    }
}
