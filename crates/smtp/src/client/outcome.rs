//! What the client half tells its owner.

use postrider_sasl::ClientError;

use crate::reply::{Reply, ReplyError};

/// Something for the owner to act on.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The next message may go: answer with [`super::Client::send`] or [`super::Client::quit`]. Until then the session
    /// waits, so the owner may keep the connection for later.
    Ready,
    /// Content is wanted: answer with [`super::Client::content`] or [`super::Client::end`], and flush before giving
    /// more.
    Content,
    /// The message was sent whole and its reply is awaited: the next one may be begun behind it (RFC 2920 §3.1) with
    /// [`super::Client::send`]. Nothing has to be answered. Only when the server offers PIPELINING.
    Ahead,
    /// The oldest transaction is over. `Ready` follows, or `Close`, or the events of the one that was begun behind it.
    Finished(Outcome),
    /// The connection is of no use. `Close` follows. Never while a transaction is under way.
    Failed(Failure),
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// One for each recipient, in the envelope's order.
    pub verdicts: Vec<Verdict>,
}

/// How it ended for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The server is responsible now: its reply to the message.
    Delivered(Reply),
    /// The server said no, to this recipient or to all: 4yz or 5yz.
    Refused(Reply),
    /// The server does not have the message.
    Failed(Failure),
    /// The message was sent whole, but no reply came: the server may or may not have it. Trying again may double it,
    /// not trying again may lose it; RFC 5321 §4.5.4.1 decides for trying again.
    Unknown(Failure),
}

impl Verdict {
    /// Whether no later attempt with the same message can succeed.
    pub fn is_permanent(&self) -> bool {
        match self {
            Verdict::Refused(reply) => reply.is_permanent(),
            Verdict::Failed(failure) => failure.is_permanent(),
            Verdict::Delivered(_) | Verdict::Unknown(_) => false,
        }
    }
}

/// What went wrong with a connection or a transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Temporary.
    #[error("the server greeted with {0}")]
    Greeting(Reply),
    /// Temporary.
    #[error("the server refused EHLO and HELO: {0}")]
    Hello(Reply),
    /// TLS is required, and not offered or refused.
    #[error("the server offers no TLS")]
    NoTls,
    /// The server refused the credentials.
    #[error("authentication failed: {0}")]
    Authentication(Reply),
    /// The mechanism failed on our side.
    #[error("authentication failed: {0}")]
    Sasl(#[from] ClientError),
    /// No mechanism in common that may be used on this connection.
    #[error("the server offers no authentication we may use")]
    NoMechanism,
    /// Temporary: silence.
    #[error("no answer in time")]
    TimedOut,
    /// Temporary: the connection ended.
    #[error("the connection was lost")]
    Closed,
    /// Temporary: words that are not SMTP.
    #[error("{0}")]
    Reply(#[from] ReplyError),
    /// Permanent with this server: the message needs an extension it does not offer.
    #[error("the message needs {0}, which the server does not offer")]
    Unsupported(&'static str),
    /// Permanent with this server.
    #[error("the message is larger than the {0} octets the server takes")]
    TooLarge(u64),
    /// Temporary: the server takes fewer recipients at a time (RFC 9422); send the rest with another message.
    #[error("too many recipients for one message")]
    TooManyRecipients,
    /// Temporary: the owner gave up in the middle.
    #[error("sending was given up")]
    Abandoned,
}

impl Failure {
    /// Whether no later attempt with the same message at the same server can succeed.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Failure::Unsupported(_) | Failure::TooLarge(_))
    }
}
