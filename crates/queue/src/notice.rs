//! Which notifications a unit owes its sender, and under which ids they are put into the queue.
//!
//! A notification (RFC 3464) is itself a unit of the queue. Why it can neither be lost nor sent twice:
//!
//! * What became of a recipient is recorded in the unit's row, together with the debt ([`crate::Unit::owed`]), before or
//!   in the same step in which the notification is put into the queue. A unit in debt is not attempted again, so after a
//!   crash the same debt is found, and the notification's id, which derives from the unit, the kind and the recipients, is
//!   the same one.
//! * An engine that changes rows in one transaction records the outcome, drops the debt and inserts the notification
//!   together: there is no state in between.
//! * An engine that cannot does three steps: record with the debt; insert the notification (a no-op if it is there, or was
//!   there and is done: such engines remember removed ids for [`crate::engine::REMEMBERED`]); drop the debt. A crash
//!   after any of them repeats at most the second, with the same id.
//! * A delay warning is not a debt: it is marked in the row and inserted likewise; a crash before the mark repeats
//!   the insertion with the same id.
//!
//! Nothing is ever owed to a null reverse-path (RFC 5321 §4.5.5), so notifications about notifications do not exist.

use postrider_types::UnitId;
use xxhash_rust::xxh3::Xxh3;

use crate::{Destination, RecipientState, Unit};

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// Delivery failed for good: `failed` (RFC 3464 §2.3.3).
    Failed,
    /// Not yet, and it is tried further: `delayed`.
    Delayed,
    /// Handed to a server that will not confirm delivery (RFC 3461 §5.2.2): `relayed`.
    Relayed,
    /// In the mailbox: `delivered`.
    Delivered,
}

/// A notification that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The id its unit must have.
    pub id: UnitId,
    /// What is told.
    pub kind: NoticeKind,
    /// About which recipients: positions in the unit, ascending.
    pub recipients: Vec<u32>,
}

impl Notice {
    pub(crate) fn new(unit: &Unit, kind: NoticeKind, recipients: Vec<u32>) -> Self {
        Self {
            id: derived_id(unit, kind, &recipients),
            kind,
            recipients,
        }
    }
}

/// The notifications for what a unit owes, one per kind.
pub(crate) fn owed(unit: &Unit) -> Vec<Notice> {
    let kind_of = |at: u32| {
        let recipient = unit.new.recipients.get(usize::try_from(at).ok()?)?;
        match (recipient.state, &unit.new.destination) {
            (RecipientState::Failed, _) => Some(NoticeKind::Failed),
            (RecipientState::Delivered, Destination::Remote(_)) => Some(NoticeKind::Relayed),
            (RecipientState::Delivered, Destination::Local) => Some(NoticeKind::Delivered),
            (RecipientState::Pending, _) => None,
        }
    };
    [NoticeKind::Failed, NoticeKind::Relayed, NoticeKind::Delivered]
        .into_iter()
        .filter_map(|kind| {
            let about: Vec<u32> = unit
                .owed
                .iter()
                .copied()
                .filter(|at| kind_of(*at) == Some(kind))
                .collect();
            (!about.is_empty()).then(|| Notice::new(unit, kind, about))
        })
        .collect()
}

/// The time half of the unit's id, so that listings by id stay in order of time, and a hash of what the notification says.
fn derived_id(unit: &Unit, kind: NoticeKind, recipients: &[u32]) -> UnitId {
    let mut hash = Xxh3::new();
    hash.update(b"postrider notice 1");
    hash.update(unit.new.id.as_bytes());
    hash.update(&[kind as u8]);
    // There is one warning a unit, whoever still waits when it is repeated after a crash.
    if kind != NoticeKind::Delayed {
        recipients.iter().for_each(|at| hash.update(&at.to_be_bytes()));
    }
    let mut id = hash.digest128().to_be_bytes();
    let (time, _) = unit.new.id.as_bytes().split_at(6);
    id.iter_mut().zip(time).for_each(|(byte, time)| *byte = *time);
    UnitId::from_bytes(id)
}
