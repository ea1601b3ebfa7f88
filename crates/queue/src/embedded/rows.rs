//! Rows of the embedded engine: tables, and a unit to and from its row.
//!
//! What people ask for with a shell has its own column; the rest of a unit is one encoded column.

use postrider_embedded::{Error, Result};
use postrider_types::UnitId;
use rusqlite::{Connection, Row, params};

use crate::engine::Lane;
use crate::stored::{self, Columns};
use crate::{State, Unit};

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
    let changed = connection.prepare_cached(&sql)?.execute(params![
        unit.new.id.as_bytes(),
        state_column(unit.state),
        Lane::of(unit) as i64,
        int(unit.generation),
        int(unit.next_attempt),
        unit.new.destination.as_str(),
        stored::sender(unit),
        unit.new.content.as_bytes(),
        i64::from(unit.attempts),
        int(unit.created),
        int(unit.last_attempt),
        int(unit.expires),
        unit.last_reply,
        unit.reroute,
        stored::rest(unit),
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
    let columns = Columns {
        state: if row.get::<_, i64>(1)? == HELD {
            State::Held
        } else {
            State::Queued
        },
        generation: number(row, 3)?,
        next_attempt: number(row, 4)?,
        lease: 0,
        destination: row.get(5)?,
        sender: row.get(6)?,
        content: row.get(7)?,
        attempts: number(row, 8)?,
        created: number(row, 9)?,
        last_attempt: number(row, 10)?,
        expires: number(row, 11)?,
        last_reply: row.get(12)?,
        reroute: row.get(13)?,
        rest: row.get(14)?,
    };
    columns
        .into_unit(id)
        .map_err(|what| Error::Damaged(format!("queue unit {id}: {what}")))
}

/// A whole number that is never negative.
pub(super) fn number(row: &Row<'_>, at: usize) -> Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(at)?).unwrap_or(0))
}

/// As SQLite stores it; times and generations stay far below the limit.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
