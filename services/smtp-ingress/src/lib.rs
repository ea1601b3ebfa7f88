//! SMTP in: port 25 and submission.
//!
//! # Duty
//! Speaks SMTP with other servers (`smtp`) and with our users (`submission`, `submissions`; RFC 6409), decides who may
//! send what to whom, and accepts: **250 means that every accepted recipient is durable** ([`accept`] says how). Serves
//! the same to the web gateway without SMTP ([`SubmissionService`]). It knows addresses and messages; it does not know
//! folders, how a message is stored, or how it is sent on.
//!
//! # Inputs and outputs
//! In: connections (a [`Listener`] is the [`Gateway`](postrider_runtime::Gateway) of one), the contract
//! `postrider.submission.v1.Submission`. Out: the contracts `Directory` and `MailStore`, the outbound queue
//! ([`Outbound`]), counters, the journal.
//!
//! # Failures
//! | What is away | Answer |
//! |---|---|
//! | directory | 451 4.3.0; recipients it knew within ten minutes are still known |
//! | mail store | 451 4.3.0 to the message |
//! | queue | 451 4.3.0 for remote recipients (to RCPT, once it is known); local ones as ever |
//! | counters | limits of rates are off |
//!
//! # Configuration
//! [`Config`]: every field documented with its default.
//!
//! # Limits
//! Message bytes in flight are taken from one budget for the process: a message begins with a share of it, takes more
//! only while there is more, and otherwise is streamed to the mail store as it comes. When the budget is spent, 354 waits.
//!
//! # Metrics
//! `postrider_smtp_messages` and `postrider_smtp_recipients` (by listener and outcome), `postrider_smtp_bytes` (by
//! listener), `postrider_smtp_acceptance_seconds`, `postrider_smtp_authentications` (by outcome).

mod accept;
mod authenticate;
mod config;
mod content;
mod conversation;
mod directory;
mod header;
mod identity;
mod listener;
mod metrics;
mod outbound;
mod plan;
mod recipients;
mod replies;
mod store;
mod submission;

pub use config::Config;
pub use listener::{Ingress, Kind, Listener, Services};
pub use outbound::Outbound;
pub use submission::SubmissionService;
