//! Listeners, TLS, PROXY protocol, driving a session, drain, telemetry, configuration.
//!
//! This crate knows sockets and time; it does not know any mail protocol, service or store.
//!
//! * [`drive`]: runs a sans-I/O session over a connection; [`Handler`](drive::Handler) acts on its events.
//! * [`server`]: listeners. A gateway implements [`Gateway`] and is served by a [`Server`].
//! * [`connection`], [`buffer`], [`tls`], [`proxy`], [`admission`], [`listen`]: what they are made of.
//! * [`config`]: `postrider.toml` and the environment; [`budget`]: message bytes in flight.
//! * [`telemetry`], [`trace`], [`ops`], [`journal`]: logs, metrics, one trace per message, probes, and the record of every
//!   message's steps.
//! * [`shutdown`]: when to stop.

pub mod admission;
pub mod budget;
pub mod buffer;
pub mod config;
pub mod connection;
pub mod drive;
pub mod journal;
pub mod listen;
pub mod ops;
pub mod proxy;
pub mod server;
pub mod shutdown;
mod stream;
pub mod telemetry;
pub mod tls;
pub mod trace;

pub use admission::Refusal;
pub use budget::{Budget, Reservation};
pub use config::Config;
pub use connection::{Connection, Options, TlsRole};
pub use drive::{Handler, Port, drive};
pub use server::{Gateway, Peer, Server, Settings};
pub use stream::TlsFacts;
pub use telemetry::Telemetry;
pub use tls::Identity;
pub use trace::Trace;
