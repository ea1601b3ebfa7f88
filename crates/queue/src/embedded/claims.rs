//! Claims of the embedded engine: in memory, because a restart frees every claim.
//!
//! A claim has a generation above its row's, as if the row had been changed: whoever knew the unit before cannot change
//! it, and a claim that lapsed cannot be ended by its former owner.

use std::collections::HashMap;

use postrider_types::UnitId;

use crate::{State, Unit};

#[derive(Default)]
pub(super) struct Claims {
    claims: HashMap<UnitId, Held>,
    /// The largest generation given to a claim, so that none is given twice.
    last: u64,
}

/// One claim.
#[derive(Clone, Copy)]
pub(super) struct Held {
    /// What its holder shows.
    pub(super) generation: u64,
    /// What the row has.
    pub(super) row: u64,
    pub(super) lease: u64,
}

impl Claims {
    pub(super) fn get(&self, id: UnitId) -> Option<Held> {
        self.claims.get(&id).copied()
    }

    /// Claims a unit whose row is given, if it is free and this is its generation (as claim or as row).
    pub(super) fn take(&mut self, unit: &mut Unit, generation: u64, now: u64, lease: u64) -> bool {
        let row = unit.generation;
        let earlier = self.get(unit.new.id).filter(|held| held.generation > row);
        let free = match earlier {
            Some(held) => held.lease < now && (generation == held.generation || generation == row),
            None => unit.state == State::Queued && generation == row,
        };
        if free {
            self.last = self.last.max(row) + 1;
            self.claims.insert(
                unit.new.id,
                Held {
                    generation: self.last,
                    row,
                    lease,
                },
            );
            self.show(unit);
        }
        free
    }

    /// Shows a row as its claim makes it.
    pub(super) fn show(&self, unit: &mut Unit) {
        if let Some(held) = self
            .get(unit.new.id)
            .filter(|held| held.generation > unit.generation)
        {
            (unit.state, unit.generation, unit.lease) = (State::Sending, held.generation, held.lease);
        }
    }

    /// Prolongs the claim of this generation.
    pub(super) fn renew(&mut self, id: UnitId, generation: u64, lease: u64) -> bool {
        let held = self
            .claims
            .get_mut(&id)
            .filter(|held| held.generation == generation);
        held.is_some_and(|held| {
            held.lease = lease;
            true
        })
    }

    /// Forgets the claim of this generation.
    pub(super) fn end(&mut self, id: UnitId, generation: u64) {
        if self.get(id).is_some_and(|held| held.generation == generation) {
            self.claims.remove(&id);
        }
    }

    /// Forgets claims whose lease has passed; their units are `Queued` in their rows.
    pub(super) fn forget_lapsed(&mut self, now: u64) {
        self.claims.retain(|_, held| held.lease >= now);
    }

    pub(super) fn count(&self) -> u64 {
        self.claims.len() as u64
    }

    /// Units under a lapsed lease.
    pub(super) fn lapsed(&self, now: u64) -> Vec<(UnitId, u64)> {
        let lapsed = self.claims.iter().filter(|(_, held)| held.lease < now);
        lapsed.map(|(id, held)| (*id, held.generation)).collect()
    }
}
