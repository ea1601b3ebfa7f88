//! The substrate of the embedded engines: one SQLite database, one committer, content segments.
//!
//! This crate knows how rows and bytes become durable together on one machine. It does not know what the rows mean: each
//! engine over it (accounts, content, directory, queue) brings its own tables and statements.
//!
//! # A data directory
//! ```text
//! DIR/lock              held while a process has the directory open
//! DIR/postrider.db      SQLite: every row (and -wal, -shm beside it)
//! DIR/content/N.seg     content segments, N in 16 hexadecimal digits, never used again
//! ```
//!
//! # How a write becomes durable
//! [`Database::write`] takes contents and a job. Stage 1 (one thread) takes everything that waits, appends its contents to
//! the open segment and syncs the file once; stage 2 (another thread) runs all their jobs in one SQLite transaction
//! and commits it, which syncs the write-ahead log once. While stage 2 commits one batch, the next one grows; when its contents are worth it,
//! stage 1 already writes them. Contents are on disk before any row names them, so a row can never point at bytes that a power loss took.
//!
//! # Writing an engine over it
//! ```no_run
//! # async fn example() -> postrider_embedded::Result<()> {
//! use postrider_embedded::{Database, Options};
//!
//! let db = Database::open("postrider-data", Options::default())?;
//! db.migrate("example", &["CREATE TABLE example (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT"]).await?;
//!
//! let text = String::from("ketchup");
//! db.write(Vec::new(), move |tx| {
//!     tx.prepare_cached("INSERT INTO example (text) VALUES (?1)")?.execute([&text])?;
//!     Ok(())
//! })
//! .await?;
//! let count: i64 = db
//!     .read(|rows| Ok(rows.prepare_cached("SELECT count(*) FROM example")?.query_row([], |row| row.get(0))?))
//!     .await?;
//! # Ok(()) }
//! ```

mod appender;
mod backup;
mod committer;
mod database;
mod error;
mod lock;
mod options;
mod reader;
mod schema;
mod segment;
mod statistics;
mod stream;
mod sweep;
mod transaction;
mod verify;
mod waiting;

pub use database::Database;
pub use error::{Error, Result};
pub use options::Options;
pub use statistics::Statistics;
pub use stream::ContentWriter;
pub use sweep::Swept;
pub use transaction::{Holder, Transaction};
pub use verify::{Report, Verified};
