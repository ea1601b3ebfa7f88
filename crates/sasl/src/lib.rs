//! SASL mechanisms, both halves: PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), SCRAM-SHA-256 (RFC 5802,
//! RFC 7677).
//!
//! Pure: responses in, challenges out. Whoever drives an exchange moves the octets (in base64, see [`encode`] and
//! [`decode`]) and asks the directory; this crate does not know any protocol, directory or connection.
//!
//! Not here: channel binding (no `-PLUS` mechanism is offered, and a client that insists on one is refused), and the
//! NFKC normalisation of SASLprep (RFC 4013): [`prepare`] refuses what it prohibits among control characters and
//! leaves everything else as it was typed.

mod client;
mod mechanism;
mod plain;
mod scram;
mod server;
mod text;

pub use client::{Client, ClientError};
pub use mechanism::{Mechanism, UnknownMechanism};
pub use scram::{MIN_ITERATIONS, Verifier};
pub use server::{Exchange, Step};
pub use text::{decode, decode_initial, encode, prepare};
