//! The client half: whoever connects.
//!
//! ```text
//! Client::new ─▶ (greeting, EHLO, STARTTLS, AUTH) ─▶ Event::Ready ─send()─▶ Event::Content* ─▶ Event::Finished ─┐
//!                                                        ▲  └─quit()─▶ Close                                    │
//!                                                        └──────────────────────────────────────────────────────┘
//! ```
//!
//! Any number of messages go over one connection. A connection that fails outside a transaction says so with
//! `Event::Failed`; inside one, each recipient's verdict says it. If reading or writing fails, the driver calls
//! `input_closed` and steps on to hear the verdicts.

mod config;
mod handshake;
mod outcome;
mod session;
mod transaction;

pub use config::{Config, Credentials, Timeouts, Tls};
pub use outcome::{Event, Failure, Outcome, Verdict};
pub use session::Client;
pub use transaction::Envelope;
