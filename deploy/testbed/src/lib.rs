//! Real Apache Kafka, Apache Cassandra and Redis on loopback, for tests.
//!
//! `cargo xtask engines` is the command line of this crate; tests use it as a library, to ask where the engines are and to
//! kill, pause and start single ones. It runs programs and waits: everything blocks, nothing here is asynchronous.
//!
//! | | Kafka (KRaft, broker and controller in one) | Cassandra | Redis |
//! |---|---|---|---|
//! | Names | `kafka-1` … `kafka-3` | `cassandra-1` … `cassandra-3` | `redis` |
//! | Address of node n | `127.0.0.n:19092` | `127.0.0.n:19042` (CQL) | `127.0.0.1:16379` |
//! | Among themselves | port 19093 | port 17000 | – |
//! | From | Maven | Maven | the system's `redis-server` |
//!
//! All ports lie below the range from which the kernel takes those of clients (32768 up), so that none is taken by chance.
//!
//! Jars, configuration, data and logs lie under one directory, `~/.cache/postrider/engines` unless the environment's
//! `POSTRIDER_ENGINES_DIR` names another:
//!
//! ```text
//! lib/kafka/*.jar  lib/cassandra/*.jar   fetched once; lib/*.jsa: class archives, written at a first clean stop
//! nodes                                  how many nodes of Kafka and Cassandra the data are of
//! run/NAME/                              one engine: pid, log, configuration, data
//! ```
//!
//! What is needed: Linux, Java 17, Maven (for the first start) and `redis-server`. Two cores and 3 GiB of memory carry all seven
//! processes of the three-node form.

mod cassandra;
mod engine;
mod failed;
mod java;
mod kafka;
mod own;
mod process;
mod redis;
mod testbed;
mod wire;

pub use engine::{Engine, Kind};
pub use failed::Failed;
pub use own::{Guard, Own};
// For other processes that a command leaves in the background, as `cargo xtask cluster` does.
pub use process::{Process, Record, wait};
pub use rustix::process::Signal;
pub use testbed::{State, Status, Testbed};
