//! ScyllaDB and Apache Cassandra: the session that every engine over CQL shares, and the schema.
//!
//! This crate is the only one that knows the driver. An engine declares its statements as constants and runs them through a
//! [`Session`]; it sees rows, [`Conditional`] outcomes and three kinds of failure, and no policy.
//!
//! * [`Config`]: where the database is, and the deadlines.
//! * [`Session`]: connects by itself and keeps trying; [`Session::read`], [`Session::page`], [`Session::write`],
//!   [`Session::conditional`] and the two kinds of [`Batch`].
//! * [`schema`]: the tables of all engines as numbered migrations; [`schema::migrate`] brings a keyspace forward.
//! * [`testing`] (feature of the same name): a keyspace for the tests of engines.
//!
//! It does not know what a row means.
//!
//! # Failures
//! Every call ends within the deadline of its kind. An outage is [`Error::Unavailable`], a write that may or may not have
//! happened [`Error::Unknown`], anything that would fail again in the same way [`Error::Refused`].
//!
//! # ScyllaDB and Cassandra
//! The two differ in these points only; everything else is written so that it holds on both.
//! * Keyspaces are made without tablets on ScyllaDB (conditional writes on tablets exist in its newest versions only); Cassandra does not
//!   know the word. A node with a sharder is ScyllaDB.
//! * The answer to a conditional write that was not applied: columns are found by name, never by position, and only where both answer
//!   them. What decides is read back.
//! * ScyllaDB marks prepared conditional statements, Cassandra does not, and a batch bears no mark on either: replicas are not shuffled
//!   for any conditional write here, so that all clients meet at one coordinator.

mod batch;
mod config;
mod connect;
mod error;
mod metrics;
mod rows;
pub mod schema;
mod session;
mod statement;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use batch::{Batch, Conditional, Existing};
pub use config::{Config, Secret, Tls};
pub use error::{Error, Result};
pub use metrics::{Counts, Statistics};
pub use rows::{FromRow, PageState, Rows};
/// For the derive macros, which name the driver's crate.
#[doc(hidden)]
pub use scylla as driver;
pub use scylla::DeserializeRow;
pub use scylla::serialize::row::SerializeRow;
pub use scylla::value::{CqlValue, MaybeUnset};
pub use session::Session;
pub use statement::{Kind, Statement};
