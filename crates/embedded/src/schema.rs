//! The substrate's own tables, and migrations of everybody's.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::{Error, Options, Result};

/// The name of the database file in a data directory.
pub(crate) const FILE: &str = "postrider.db";

/// `PRAGMA application_id` of our databases: "PRDB".
const APPLICATION: i32 = 0x5052_4442;

/// Our own tables, version by version.
const STEPS: &[&str] = &["
    -- Where each content is. `put`: milliseconds since the Unix epoch.
    CREATE TABLE content (
        id BLOB PRIMARY KEY NOT NULL,
        segment INTEGER NOT NULL,
        start INTEGER NOT NULL,
        length INTEGER NOT NULL,
        crc INTEGER NOT NULL,
        put INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    -- Who keeps it: an account (8 bytes) or a queue unit (16 bytes).
    CREATE TABLE content_holder (
        content BLOB NOT NULL,
        holder BLOB NOT NULL,
        PRIMARY KEY (content, holder)
    ) STRICT, WITHOUT ROWID;
    -- Contents that may have no holder; the sweeper looks at these only.
    CREATE TABLE content_candidate (
        put INTEGER NOT NULL,
        content BLOB NOT NULL,
        PRIMARY KEY (put, content)
    ) STRICT, WITHOUT ROWID;
    -- Segment files. `committed`: where the last committed record ends; `live`: bytes of records that rows name.
    CREATE TABLE segment (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        single INTEGER NOT NULL,
        committed INTEGER NOT NULL,
        live INTEGER NOT NULL,
        records INTEGER NOT NULL
    ) STRICT;
"];

/// Opens the write connection, creates or brings forward our tables.
pub(crate) fn open_writer(dir: &Path, options: &Options) -> Result<Connection> {
    let connection = Connection::open_with_flags(
        dir.join(FILE),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    prepare(&connection, 16 << 10)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Error::Unavailable(format!(
            "the file system cannot hold a write-ahead log (mode {mode})"
        )));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", options.checkpoint_pages)?;
    let application: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let empty = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
        row.get::<_, i64>(0)
    })? == 0;
    if application != APPLICATION && !empty {
        return Err(Error::Invalid(format!(
            "{} is not a database of ours",
            dir.join(FILE).display()
        )));
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS component (name TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL) STRICT",
    )?;
    migrate(&connection, "content", STEPS)?;
    connection.execute_batch("COMMIT")?;
    Ok(connection)
}

/// Opens a read connection.
pub(crate) fn open_reader(dir: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(
        dir.join(FILE),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    prepare(&connection, 4 << 10)?;
    Ok(connection)
}

fn prepare(connection: &Connection, cache_kib: i64) -> Result<()> {
    // A person with the sqlite3 shell may hold a lock for a moment.
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(256);
    // Plans do not depend on the values that are bound; otherwise every new value of a LIMIT would make a statement be
    // prepared again, which costs more than most of them do.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Brings a component's tables to version `steps.len()`, inside the caller's transaction.
pub(crate) fn migrate(connection: &Connection, component: &str, steps: &[&str]) -> Result<()> {
    let found: u64 = connection
        .query_row(
            "SELECT version FROM component WHERE name = ?1",
            [component],
            |row| row.get(0),
        )
        .optional()?
        .unwrap_or(0);
    let known = steps.len() as u64;
    if found > known {
        return Err(Error::TooNew {
            component: component.into(),
            found,
            known,
        });
    }
    // Changes of the schema are not counted as changes of rows, so the committer would not see what a failed step left behind.
    connection.execute_batch("SAVEPOINT migration")?;
    for step in steps.iter().skip(found as usize) {
        if let Err(error) = connection.execute_batch(step) {
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK TO migration; RELEASE migration")?;
            }
            return Err(error.into());
        }
    }
    connection.execute_batch("RELEASE migration")?;
    if found < known {
        connection.execute(
            "INSERT INTO component (name, version) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET version = excluded.version",
            params![component, known],
        )?;
    }
    Ok(())
}
