//! Clients over TCP: the protocol crates' client halves, driven with time-outs and, where asked for, inside TLS.
//!
//! ```text
//! Smtp::connect(address, config, patience)      .send(envelope, content) -> Sent      .quit()
//! Imap::login(target, account)                  .select(..) .command(..) .each(.., |response| ..) .append(..) .idle() …
//! Pop3::login(target, account)                  .uidl() .list() .retrieve(..) .delete(..) .quit()
//! ```
//!
//! * A peer that refuses, is silent, breaks the protocol or goes away yields a [`Failure`], which is an
//!   [`Outcome`]; nothing here panics or waits for ever ([`Patience`] bounds every wait).
//! * A client whose method has returned [`Failure::Broken`] is of no more use; drop it. After the two others it goes on.
//! * Certificates are not verified: this is a load generator.
//! * A client holds no buffer while it waits (pooled ones serve all connections), so that an idle connection costs its
//!   socket and its session.

mod imap;
mod link;
mod pop3;
mod smtp;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

pub use imap::{Features, Imap, Selected};
pub use pop3::Pop3;
pub use smtp::{Sent, Smtp, config, outcome_of};

use crate::operation::Outcome;

/// How long a client waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the connection, and for a TLS handshake.
    pub connect: Duration,
    /// For the answer to a command, and for a peer that does not read.
    pub answer: Duration,
    /// For the reply to a message that was sent whole.
    pub end: Duration,
}

impl Default for Patience {
    /// 10 seconds, 60 seconds, 2 minutes: less than RFC 5321 §4.5.3.2 asks of a mail server, because a load generator
    /// has to come to its end; more than any server that is well needs.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            end: Duration::from_secs(120),
        }
    }
}

/// Why something was not done, in the server's words or ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Not now: 4yz, `NO [UNAVAILABLE]`, `-ERR [SYS/TEMP]`, `[IN-USE]`, a greeting of `421` or `BYE`.
    #[error("refused for now: {0}")]
    Deferred(Cow<'static, str>),
    /// No: 5yz, any other `NO`, `BAD` or `-ERR`.
    #[error("refused: {0}")]
    Refused(Cow<'static, str>),
    /// No answer, or none that makes sense: the connection is of no more use.
    #[error("{0}")]
    Broken(Cow<'static, str>),
}

impl Failure {
    /// How the operation ended.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Deferred(_) => Outcome::Deferred,
            Self::Refused(_) => Outcome::Refused,
            Self::Broken(_) => Outcome::Broken,
        }
    }

    /// Whether the connection is of no more use.
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }

    fn broken(text: &'static str) -> Self {
        Self::Broken(Cow::Borrowed(text))
    }
}

/// The outcome of what was tried.
pub fn outcome<T>(result: &Result<T, Failure>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(failure) => failure.outcome(),
    }
}
