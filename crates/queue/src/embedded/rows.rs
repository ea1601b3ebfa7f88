//! Rows of the embedded engine: tables, and a unit to and from its row.
//!
//! What people ask for with a shell has its own column; the rest of a unit is one encoded column.

use postrider_embedded::{Error, Result};
use postrider_types::{AccountId, Address, ContentId, DeliveryId, Domain, ReversePath, UnitId};
use prost::Message;
use rusqlite::{Connection, Row, params};

use crate::engine::Lane;
use crate::{Destination, LocalDelivery, NewUnit, Notify, Priority, Recipient, RecipientState, State, Unit};

/// The tables, version by version.
pub(super) const STEPS: &[&str] = &["
    -- Units that are not final. `state`: 0 queued, 1 held (a claim is in memory). `lane`: 0 first attempt, 1 everything else.
    -- Times in milliseconds since the Unix epoch, 0: none.
    CREATE TABLE unit (
        id BLOB PRIMARY KEY NOT NULL,
        state INTEGER NOT NULL,
        lane INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        next_attempt INTEGER NOT NULL,
        destination TEXT NOT NULL,
        sender TEXT NOT NULL,
        content BLOB NOT NULL,
        attempts INTEGER NOT NULL,
        created INTEGER NOT NULL,
        last_attempt INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        last_reply TEXT NOT NULL,
        reroute TEXT NOT NULL,
        rest BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    -- What is due, in order, with all that a wake-up needs.
    CREATE INDEX unit_due ON unit (lane, next_attempt, id, generation) WHERE state = 0;
    -- What an operator holds; few, so that they are counted without a look at all the rest.
    CREATE INDEX unit_held ON unit (id) WHERE state = 1;
    -- Domains to which nothing is delivered.
    CREATE TABLE unit_suspension (
        domain TEXT PRIMARY KEY NOT NULL,
        reason TEXT NOT NULL,
        since INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
"];

/// `unit.state` of a unit that waits, claimed or not.
pub(super) const QUEUED: i64 = 0;
/// `unit.state` of a unit that an operator holds.
pub(super) const HELD: i64 = 1;

const COLUMNS: &str = "id, state, lane, generation, next_attempt, destination, sender, content, attempts, created, \
                       last_attempt, expires, last_reply, reroute, rest";

/// `SELECT` of whole units, to which a condition is appended.
pub(super) fn select(condition: &str) -> String {
    format!("SELECT {COLUMNS} FROM unit {condition}")
}

/// Inserts the row unless one of that id is there; whether it was inserted.
pub(super) fn insert(connection: &Connection, unit: &Unit) -> Result<bool> {
    write(connection, "INSERT OR IGNORE", unit)
}

/// Writes the row in place of the one that is there.
pub(super) fn replace(connection: &Connection, unit: &Unit) -> Result<bool> {
    write(connection, "REPLACE", unit)
}

fn write(connection: &Connection, verb: &str, unit: &Unit) -> Result<bool> {
    let sql = format!(
        "{verb} INTO unit ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
    );
    let sender = unit
        .new
        .sender
        .0
        .as_ref()
        .map(Address::to_string)
        .unwrap_or_default();
    let changed = connection.prepare_cached(&sql)?.execute(params![
        unit.new.id.as_bytes(),
        state_column(unit.state),
        Lane::of(unit) as i64,
        int(unit.generation),
        int(unit.next_attempt),
        unit.new.destination.as_str(),
        sender,
        unit.new.content.as_bytes(),
        i64::from(unit.attempts),
        int(unit.created),
        int(unit.last_attempt),
        int(unit.expires),
        unit.last_reply,
        unit.reroute,
        Rest::of(unit).encode_to_vec(),
    ])?;
    Ok(changed > 0)
}

pub(super) fn state_column(state: State) -> i64 {
    match state {
        State::Held => HELD,
        _ => QUEUED,
    }
}

/// A unit from a row of [`select`].
pub(super) fn read(row: &Row<'_>) -> Result<Unit> {
    let id: Vec<u8> = row.get(0)?;
    let id =
        UnitId::from_slice(&id).ok_or_else(|| Error::Damaged("a queue unit's id has not 16 bytes".into()))?;
    let damaged = |what: &str| Error::Damaged(format!("queue unit {id}: {what}"));
    let content: Vec<u8> = row.get(7)?;
    let rest: Vec<u8> = row.get(14)?;
    let rest = Rest::decode(rest.as_slice()).map_err(|error| damaged(&error.to_string()))?;
    let destination: String = row.get(5)?;
    let sender: String = row.get(6)?;
    let sender = match sender.as_str() {
        "" => ReversePath::NULL,
        text => ReversePath(Some(
            Address::new(text).map_err(|_| damaged("its sender is not an address"))?,
        )),
    };
    let recipients = rest
        .recipients
        .into_iter()
        .map(RecipientRow::into_recipient)
        .collect::<Option<Vec<_>>>();
    Ok(Unit {
        new: NewUnit {
            id,
            content: ContentId::from_slice(&content)
                .ok_or_else(|| damaged("its content's id has not 16 bytes"))?,
            skip: rest.skip,
            size: rest.size,
            sender,
            destination: if rest.local {
                Destination::Local
            } else {
                Destination::Remote(
                    Domain::new(&destination).map_err(|_| damaged("its destination is not a domain"))?,
                )
            },
            recipients: recipients.ok_or_else(|| damaged("a recipient is not an address"))?,
            priority: if rest.low_priority {
                Priority::Low
            } else {
                Priority::Normal
            },
            eight_bit: rest.eight_bit,
            utf8: rest.utf8,
            envelope_id: rest.envelope_id,
            return_full: rest.return_full,
            submitter: rest.submitter.map(AccountId::new),
            trace: rest.trace,
            message_id: rest.message_id,
            not_before: rest.not_before,
        },
        state: if row.get::<_, i64>(1)? == HELD {
            State::Held
        } else {
            State::Queued
        },
        generation: number(row, 3)?,
        attempts: u32::try_from(number(row, 8)?).unwrap_or(u32::MAX),
        created: number(row, 9)?,
        next_attempt: number(row, 4)?,
        last_attempt: number(row, 10)?,
        expires: number(row, 11)?,
        warned: rest.warned,
        last_reply: row.get(12)?,
        reroute: row.get(13)?,
        lease: 0,
        owed: rest.owed,
    })
}

/// A whole number that is never negative.
pub(super) fn number(row: &Row<'_>, at: usize) -> Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(at)?).unwrap_or(0))
}

/// As SQLite stores it; times and generations stay far below the limit.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[derive(Clone, PartialEq, prost::Message)]
struct Rest {
    #[prost(bool, tag = "1")]
    local: bool,
    #[prost(uint64, tag = "2")]
    skip: u64,
    #[prost(uint64, tag = "3")]
    size: u64,
    #[prost(message, repeated, tag = "4")]
    recipients: Vec<RecipientRow>,
    #[prost(bool, tag = "5")]
    low_priority: bool,
    #[prost(bool, tag = "6")]
    eight_bit: bool,
    #[prost(bool, tag = "7")]
    utf8: bool,
    #[prost(string, tag = "8")]
    envelope_id: String,
    #[prost(bool, tag = "9")]
    return_full: bool,
    #[prost(uint64, optional, tag = "10")]
    submitter: Option<u64>,
    #[prost(string, tag = "11")]
    trace: String,
    #[prost(string, tag = "12")]
    message_id: String,
    #[prost(uint64, tag = "13")]
    not_before: u64,
    #[prost(bool, tag = "14")]
    warned: bool,
    #[prost(uint32, repeated, tag = "15")]
    owed: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RecipientRow {
    #[prost(string, tag = "1")]
    address: String,
    #[prost(string, tag = "2")]
    original: String,
    #[prost(uint32, tag = "3")]
    notify: u32,
    #[prost(uint32, tag = "4")]
    state: u32,
    #[prost(string, tag = "5")]
    last_reply: String,
    #[prost(message, optional, tag = "6")]
    local: Option<LocalRow>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LocalRow {
    #[prost(uint64, tag = "1")]
    account: u64,
    #[prost(bytes = "vec", tag = "2")]
    delivery: Vec<u8>,
    #[prost(uint64, tag = "3")]
    quota: u64,
}

impl Rest {
    fn of(unit: &Unit) -> Self {
        let new = &unit.new;
        Self {
            local: new.destination == Destination::Local,
            skip: new.skip,
            size: new.size,
            recipients: new.recipients.iter().map(RecipientRow::of).collect(),
            low_priority: new.priority == Priority::Low,
            eight_bit: new.eight_bit,
            utf8: new.utf8,
            envelope_id: new.envelope_id.clone(),
            return_full: new.return_full,
            submitter: new.submitter.map(AccountId::get),
            trace: new.trace.clone(),
            message_id: new.message_id.clone(),
            not_before: new.not_before,
            warned: unit.warned,
            owed: unit.owed.clone(),
        }
    }
}

impl RecipientRow {
    fn of(recipient: &Recipient) -> Self {
        let Notify {
            success,
            failure,
            delay,
        } = recipient.notify;
        Self {
            address: recipient.address.to_string(),
            original: recipient.original.clone(),
            notify: u32::from(success) | u32::from(failure) << 1 | u32::from(delay) << 2,
            state: match recipient.state {
                RecipientState::Pending => 0,
                RecipientState::Delivered => 1,
                RecipientState::Failed => 2,
            },
            last_reply: recipient.last_reply.clone(),
            local: recipient.local.as_ref().map(|local| LocalRow {
                account: local.account.get(),
                delivery: local.delivery.as_bytes().to_vec(),
                quota: local.quota,
            }),
        }
    }

    fn into_recipient(self) -> Option<Recipient> {
        let local = match self.local {
            None => None,
            Some(local) => Some(LocalDelivery {
                account: AccountId::new(local.account),
                delivery: DeliveryId::from_slice(&local.delivery)?,
                quota: local.quota,
            }),
        };
        Some(Recipient {
            address: Address::new(&self.address).ok()?,
            original: self.original,
            notify: Notify {
                success: self.notify & 1 != 0,
                failure: self.notify & 2 != 0,
                delay: self.notify & 4 != 0,
            },
            state: match self.state {
                0 => RecipientState::Pending,
                1 => RecipientState::Delivered,
                _ => RecipientState::Failed,
            },
            last_reply: self.last_reply,
            local,
        })
    }
}
