//! IMAP access to the mail store: IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051), with the extensions that
//! `postrider_imap::session` advertises.
//!
//! # Duty
//!
//! Owns the sessions of `postrider_imap`: answers their events by asking the directory (who is this?) and the mail store
//! (everything else), and tells each client what other clients, deliveries and web mail do to the mailbox it has
//! selected. It parses no IMAP and stores nothing: a gateway that dies loses connections, and no mail.
//!
//! # Inputs and outputs
//!
//! * In: connections of the listeners `imap` and `imaps`, served by `postrider_runtime::Server` over one [`ImapGateway`].
//! * Out: `postrider.directory.v1` (Authenticate, GetScramVerifier) and `postrider.mailstore.v1` through `Link`s; counts of
//!   failed logins.
//!
//! # How it works
//!
//! * [`handler`] turns events into calls; each family of verbs has its file in [`command`].
//! * [`selected`]: a mailbox as one client knows it. News are announced before a command completes, where the protocol
//!   allows it, and at once during IDLE; what the client changed itself is not announced again.
//! * [`folder_cache`]: folder indexes shared by all sessions, brought forward by change rows, never reloaded for one
//!   message. SELECT costs the same on a folder of ten messages and of a million.
//! * [`watch`]: one stream of the mail store for all accounts that have a mailbox selected here.
//! * FETCH streams: rows in batches, content in pieces of 256 KiB; of the content only what a section needs is read.
//!   APPEND streams the other way; small messages wait in memory, charged to the process's budget.
//! * An idle session is the session, a [`Conversation`], and three boxes; it holds no buffer.
//!
//! # Failures
//!
//! | What is down | What clients see |
//! |---|---|
//! | the directory | `NO [UNAVAILABLE]` to a login; sessions go on |
//! | the mail store | `NO [UNAVAILABLE]` to what needs it; IDLE and announcements catch up later |
//! | the watch stream | IDLE is late; every command still sees what is true |
//! | the counters | no limit on failed logins |
//!
//! A message that others removed stays addressable until its removal is announced: FETCH and STORE leave it out and
//! complete with `[EXPUNGEISSUED]`, COPY and MOVE by number refuse with it. Content that fails in the middle of a literal
//! ends the connection, since what was promised cannot be given. Who has a mailbox selected that is deleted elsewhere gets `BYE`.
//!
//! # Configuration and limits
//!
//! See [`Settings`]. One APPEND has at most 1,000 messages, of which at most 1 MiB wait in memory; flags are changed 10,000
//! messages at a time. `\Recent` (RFC 3501) is remembered in this process only: of a folder it has not seen, nothing is recent.
//!
//! # Metrics
//!
//! `postrider_imap_commands{command, outcome}`, `postrider_imap_logins{outcome}`, `postrider_imap_fetch_bytes`,
//! `postrider_imap_append_bytes`.

mod answer;
mod command;
mod directory;
mod failure;
mod folder_cache;
mod gateway;
mod handler;
mod metrics;
mod rows;
mod selected;
mod settings;
mod store;
mod users;
mod watch;

pub use gateway::{ImapGateway, Services};
pub use handler::Conversation;
pub use settings::{Settings, Timeouts};
