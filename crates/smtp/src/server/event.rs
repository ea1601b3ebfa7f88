//! What the server half tells and asks its owner.

use bytes::Bytes;
use postrider_types::Secret;

use crate::body::Facts;
use crate::{Mail, Rcpt};

/// Something for the owner to act on.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A transaction wants to begin. Answer: 250 begins it, anything else is only passed on.
    Mail(Mail),
    /// One more recipient. Answer: 250 (or 251) takes it.
    Rcpt(Rcpt),
    /// At least one recipient was taken, and the message wants to come (DATA, or the first BDAT). Answer: 354
    /// ([`crate::Reply::start_mail_input`], not written for BDAT) lets it come, anything else ends the transaction.
    Data,
    /// The next piece of the message, unstuffed. No answer; the driver's next step is the back-pressure.
    Chunk(Bytes),
    /// The message is whole. Answer: 250 takes it, anything else refuses it; the transaction is over.
    MessageEnd(MessageEnd),
    /// The transaction is over without a message. No answer. Does not follow a refusal the owner itself gave.
    Aborted(Aborted),
    /// Is this password right? Answer with [`super::Server::password_checked`].
    Password {
        /// As the client gave it.
        user: String,
        /// As the client gave it.
        password: Secret,
    },
    /// What is this user's SCRAM verifier? Answer with [`super::Server::verifier`].
    Verifier {
        /// As the client gave it.
        user: String,
    },
    /// The client is this user from now on. No answer; it has been told.
    Authenticated {
        /// The name it gave.
        user: String,
    },
    /// An authentication failed. No answer; the client has been told.
    AuthenticationFailed,
}

/// Facts about a message that has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageEnd {
    /// Octets, unstuffed.
    pub size: u64,
    /// Some octet is above 127.
    pub eight_bit: bool,
    /// Some line is longer than 998 octets; not looked for in BINARYMIME.
    pub long_line: bool,
}

impl MessageEnd {
    pub(super) fn new(size: u64, facts: Facts) -> Self {
        Self {
            size,
            eight_bit: facts.eight_bit,
            long_line: facts.long_line,
        }
    }
}

/// Why a transaction ended without a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aborted {
    /// RSET, EHLO, HELO, STARTTLS or QUIT.
    Reset,
    /// The message is larger than `Limits::message_size`; refused with 552 5.3.4.
    TooLarge,
    /// The message has a bare CR or LF; refused with 550 5.6.0.
    BareLineEnd,
    /// The connection ended, timed out, or lost its synchronisation.
    Disconnected,
}

/// The directory's word on a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordCheck {
    /// It is right.
    Right,
    /// Name or password is wrong: 535 5.7.8.
    Wrong,
    /// Nobody can say now: 454 4.7.0.
    Unavailable,
}
