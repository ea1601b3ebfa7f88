//! Rows of the tables `unit` and `unit_due`: statements, and a unit to and from its row.

use postrider_cql::{CqlValue, DeserializeRow, Statement};
use postrider_types::UnitId;

use crate::engine::Lane;
use crate::stored::{self, Columns};
use crate::{Error, Result, State, Unit};

/// `unit.state`.
pub(super) const QUEUED: i8 = 0;
pub(super) const HELD: i8 = 1;
pub(super) const SENDING: i8 = 2;
pub(super) const REMOVED: i8 = 3;

macro_rules! columns {
    () => {
        "state, lane, generation, next_attempt, lease, writer, destination, sender, content, attempts, created, last_attempt, \
         expires, last_reply, reroute, rest"
    };
}

macro_rules! update {
    ($condition:literal) => {
        concat!(
            "UPDATE unit SET state = ?, lane = ?, generation = ?, next_attempt = ?, lease = ?, writer = ?, destination = ?, sender = ?, \
             content = ?, attempts = ?, created = ?, last_attempt = ?, expires = ?, last_reply = ?, reroute = ?, rest = ? WHERE id = ? IF ",
            $condition
        )
    };
}

/// One unit, as a majority has it.
pub(super) const GET: Statement =
    Statement::read(concat!("SELECT id, ", columns!(), " FROM unit WHERE id = ?"));
/// One unit, after everything that is under way.
pub(super) const GET_SERIAL: Statement =
    Statement::serial_read(concat!("SELECT id, ", columns!(), " FROM unit WHERE id = ?"));
/// A row where there is none: not even that of a unit that was removed lately.
pub(super) const INSERT: Statement = Statement::conditional(update!("generation = null"));
/// A row in place of that with this generation.
pub(super) const REPLACE: Statement = Statement::conditional(update!("generation = ?"));
pub(super) const CLAIM: Statement = Statement::conditional(
    "UPDATE unit SET state = 2, generation = ?, lease = ?, writer = ? WHERE id = ? \
     IF generation = ? AND lease < ? AND state IN (0, 2)",
);
pub(super) const RENEW: Statement = Statement::conditional(
    "UPDATE unit SET lease = ?, writer = ? WHERE id = ? IF generation = ? AND state = 2",
);
pub(super) const UNCLAIM: Statement = Statement::conditional(
    "UPDATE unit SET state = 0, generation = ?, next_attempt = ?, lease = 0, writer = ? WHERE id = ? IF generation = ?",
);
/// Leaves for [`crate::engine::REMEMBERED`] what refuses a second insertion, and then nothing.
pub(super) const REMOVE: Statement = Statement::conditional(
    "UPDATE unit USING TTL 86400 SET state = 3, generation = ?, writer = ?, lane = null, next_attempt = null, lease = null, \
     destination = null, sender = null, content = null, attempts = null, created = null, last_attempt = null, expires = null, \
     last_reply = null, reroute = null, rest = null WHERE id = ? IF generation = ?",
);
/// Takes an insertion back that nobody has seen.
pub(super) const UNDO: Statement =
    Statement::conditional("DELETE FROM unit WHERE id = ? IF generation = ? AND writer = ?");

pub(super) const NOTE: Statement = Statement::write(
    "INSERT INTO unit_due (minute, shard, id, due, created) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?",
);
pub(super) const UNNOTE: Statement =
    Statement::write("DELETE FROM unit_due USING TIMESTAMP ? WHERE minute = ? AND shard = ? AND id = ?");
pub(super) const NOTED: Statement =
    Statement::read("SELECT id, minute, due, created FROM unit_due WHERE minute = ? AND shard = ?");
/// A minute of all shards.
pub(super) const NOTED_MINUTE: Statement = Statement::read(
    "SELECT id, minute, due, created FROM unit_due WHERE minute = ? AND shard IN (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)",
);
pub(super) const BEGIN: Statement =
    Statement::conditional("INSERT INTO progress (name, value) VALUES (?, ?) IF NOT EXISTS");
pub(super) const PROGRESS: Statement = Statement::read("SELECT value FROM progress WHERE name = ?");
pub(super) const ADVANCE: Statement = Statement::write("INSERT INTO progress (name, value) VALUES (?, ?)");

/// A destination that is suspended, and one that is no more.
pub(super) const SUSPEND: Statement =
    Statement::write("INSERT INTO suspension (part, domain, reason, since) VALUES (0, ?, ?, ?)");
pub(super) const RESUME: Statement = Statement::write("DELETE FROM suspension WHERE part = 0 AND domain = ?");
/// All of them, by domain.
pub(super) const SUSPENSIONS: Statement =
    Statement::read("SELECT domain, reason, since FROM suspension WHERE part = 0");

/// A row of `unit`; one that was removed has little of it.
#[derive(Debug, DeserializeRow)]
#[scylla(crate = postrider_cql::driver)]
pub(super) struct Row {
    id: Vec<u8>,
    pub state: Option<i8>,
    #[allow(dead_code, reason = "for people with a shell")]
    lane: Option<i8>,
    pub generation: Option<i64>,
    next_attempt: Option<i64>,
    lease: Option<i64>,
    pub writer: Option<i64>,
    destination: Option<String>,
    sender: Option<String>,
    pub content: Option<Vec<u8>>,
    attempts: Option<i32>,
    created: Option<i64>,
    last_attempt: Option<i64>,
    expires: Option<i64>,
    last_reply: Option<String>,
    reroute: Option<String>,
    rest: Option<Vec<u8>>,
}

impl Row {
    /// Whether it only says that the unit was there.
    pub fn is_removed(&self) -> bool {
        self.state == Some(REMOVED) || self.generation.is_none()
    }

    /// The unit; `None`: it was removed.
    pub fn unit(self) -> Result<Option<Unit>> {
        if self.is_removed() {
            return Ok(None);
        }
        let id = UnitId::from_slice(&self.id)
            .ok_or_else(|| Error::Damaged("a queue unit's id has not 16 bytes".into()))?;
        let number = |column: Option<i64>| u64::try_from(column.unwrap_or(0)).unwrap_or(0);
        let columns = Columns {
            state: match self.state {
                Some(HELD) => State::Held,
                Some(SENDING) => State::Sending,
                _ => State::Queued,
            },
            generation: number(self.generation),
            next_attempt: number(self.next_attempt),
            lease: number(self.lease),
            destination: self.destination.unwrap_or_default(),
            sender: self.sender.unwrap_or_default(),
            content: self.content.unwrap_or_default(),
            attempts: number(self.attempts.map(i64::from)),
            created: number(self.created),
            last_attempt: number(self.last_attempt),
            expires: number(self.expires),
            last_reply: self.last_reply.unwrap_or_default(),
            reroute: self.reroute.unwrap_or_default(),
            rest: self.rest.unwrap_or_default(),
        };
        let unit = columns
            .into_unit(id)
            .map_err(|what| Error::Damaged(format!("queue unit {id}: {what}")))?;
        Ok(Some(unit))
    }
}

/// A row of `unit_due`.
#[derive(Debug, DeserializeRow)]
#[scylla(crate = postrider_cql::driver)]
pub(super) struct Note {
    pub id: Vec<u8>,
    pub minute: i64,
    pub due: Option<i64>,
    pub created: Option<i64>,
}

/// Values of [`INSERT`] and, with the generation behind them, of [`REPLACE`].
pub(super) fn values(unit: &Unit, writer: i64) -> Vec<CqlValue> {
    let state = match unit.state {
        State::Held => HELD,
        State::Sending => SENDING,
        _ => QUEUED,
    };
    vec![
        CqlValue::TinyInt(state),
        CqlValue::TinyInt(Lane::of(unit) as i8),
        bigint(unit.generation),
        bigint(unit.next_attempt),
        bigint(unit.lease),
        CqlValue::BigInt(writer),
        CqlValue::Text(unit.new.destination.as_str().into()),
        CqlValue::Text(stored::sender(unit)),
        CqlValue::Blob(unit.new.content.as_bytes().to_vec()),
        CqlValue::Int(i32::try_from(unit.attempts).unwrap_or(i32::MAX)),
        bigint(unit.created),
        bigint(unit.last_attempt),
        bigint(unit.expires),
        CqlValue::Text(unit.last_reply.clone()),
        CqlValue::Text(unit.reroute.clone()),
        CqlValue::Blob(stored::rest(unit)),
        id(unit.new.id),
    ]
}

pub(super) fn id(id: UnitId) -> CqlValue {
    CqlValue::Blob(id.as_bytes().to_vec())
}

/// As the database stores it; times and generations stay far below the limit.
pub(super) fn bigint(number: u64) -> CqlValue {
    CqlValue::BigInt(int(number))
}

pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl From<postrider_cql::Error> for Error {
    fn from(error: postrider_cql::Error) -> Self {
        use postrider_cql::Error as Cql;
        let text = error.to_string();
        match error {
            Cql::Unavailable(_) => Error::Unavailable(text),
            Cql::Unknown(_) => Error::Unknown(text),
            Cql::Damaged(_) => Error::Damaged(text),
            Cql::Refused(_) => Error::Refused(text),
        }
    }
}
