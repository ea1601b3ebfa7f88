//! POP3 access to the mail store.
//!
//! # Duty
//! Speaks POP3 with mail programs: a user's INBOX is the maildrop. Nothing is carried from one session to the next but
//! what QUIT deleted; flags and other folders are neither shown nor changed. It knows the contracts of `directory` and
//! `mail-store`; it does not know how either keeps anything, and nothing of other protocols.
//!
//! # Inputs and outputs
//! In: connections (a [`Listener`] is the [`Gateway`](postrider_runtime::Gateway) of one). Out: the contracts `Directory` and
//! `MailStore`, leases and counters of coordination.
//!
//! # A session
//! * Login takes the maildrop's lock (a lease, renewed while the session lives) and a snapshot of INBOX: 32 bytes a
//!   message. What arrives or goes meanwhile is seen by the next session.
//! * A message's unique id is its content id with INBOX's UIDVALIDITY and its UID, so that two copies of one message differ.
//! * RETR and TOP read the content in pieces; the deletions of a session are one call at QUIT, and only then.
//!
//! # Failures
//! | What is away | Answer |
//! |---|---|
//! | directory, mail store | `-ERR [SYS/TEMP]`; the session goes on |
//! | mail store, in the middle of a message | the connection closes: POP3 has no other way to say it |
//! | mail store, at QUIT | `-ERR [SYS/TEMP]`, and nothing is deleted |
//! | coordination | works; two sessions may then have one maildrop, and failed logins are counted by connection only |
//!
//! Deletions name UIDs, so even two sessions in one maildrop never delete what was not marked.
//!
//! # Configuration
//! [`Config`]: every field documented with its default.
//!
//! # Limits
//! Messages on their way out at a time ([`Config::retrievals`], each with at most [`PIECE`] bytes twice), messages of a
//! maildrop shown at a time ([`Config::messages`]), failed logins of an address, a user and a connection.
//!
//! # Metrics
//! `postrider_pop3_logins` (by outcome), `postrider_pop3_retrieved` (messages), `postrider_pop3_bytes`,
//! `postrider_pop3_deleted` (messages), `postrider_pop3_unlocked` (sessions without a lock because coordination was away).

mod config;
mod conversation;
mod failure;
mod listener;
mod lock;
mod login;
mod maildrop;
mod metrics;
mod store;

pub use config::{Config, Timeouts};
pub use listener::{Listener, Pop3, Services};
pub use store::PIECE;
