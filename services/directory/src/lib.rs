//! The directory: domains, accounts, aliases, credentials, limits.
//!
//! # Duty
//! Says what an address means here, checks credentials, and lets operators change both. It is the only role that
//! touches the directory's rows, through [`postrider_store::DirectoryEngine`]. It does not know any mail protocol, and
//! nothing of messages.
//!
//! # Inputs and outputs
//! The gRPC contract `postrider.directory.v1.Directory`; [`Directory`] implements its server trait. Nothing else.
//!
//! # What an address means
//! Compared are the local part in lower case and the domain in lower-case ASCII. For a domain that is ours, the first
//! of these that exists decides: the account or alias of that name; the one left when `+tag` is cut off
//! (sub-addressing, RFC 5233); the catch-all alias `@domain`; and for `postmaster` (RFC 5321 §4.5.1 demands that it is
//! accepted) and `abuse` (RFC 2142): the configured [`Config::postmaster`], or else the domain's first enabled account
//! by address. `postmaster` without a domain means that of our first domain. Aliases are followed at most
//! [`resolve::MAX_DEPTH`] deep; loops and targets that no longer exist are dropped. An alias of more than
//! [`resolve::MAX_TARGETS`] targets, or deeper, is an error rather than mail that is lost in silence.
//!
//! # Credentials
//! * The password as Argon2id (OWASP's parameters by default), run on a bounded pool; beyond its queue callers get
//!   UNAVAILABLE at once. A password that was right a moment ago is known from a cache without a run; the cache is
//!   compared with the account's row each time, so a change of password counts at once on every node.
//! * A SCRAM-SHA-256 verifier made when the password is set. An unknown user gets a made-up one, the same each time and
//!   on every node, and an Argon2id run against a made-up hash: neither answers nor time tell who exists.
//! * App passwords: generated, 128 random bits, so that a fast hash is enough. They work with PLAIN, LOGIN and USER/PASS,
//!   not with SCRAM.
//!
//! # Failures
//! Storage away or the hashing queue full: UNAVAILABLE. Answers of [`Directory::resolve`] are cached for seconds, and used
//! for minutes while storage is away. Wrong user, wrong password and disabled account are one and the same
//! UNAUTHENTICATED.
//!
//! # Configuration
//! [`Config`]: every field documented with its default.
//!
//! # Metrics
//! `postrider_directory_authentications` (by service and outcome), `postrider_directory_resolutions` (by outcome),
//! `postrider_directory_hash_seconds`, `postrider_directory_hash_refused`.

mod accounts;
mod aliases;
mod app_passwords;
mod authenticate;
mod config;
mod domains;
mod error;
mod grpc;
mod hashing;
mod metrics;
mod password;
pub mod resolve;
mod service;

pub use accounts::{AccountChange, NewAccount};
pub use authenticate::{Identity, ScramAnswer};
pub use config::{Argon2Cost, Config};
pub use error::{Error, Result};
pub use service::Directory;
