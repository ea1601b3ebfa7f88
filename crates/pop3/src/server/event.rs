//! What a session asks of its owner, and why an owner says no.

use postrider_types::Secret;

/// Something for the owner to act on. Until the answer named with an event is given, `step` returns `Waiting`;
/// [`Server::refused`](super::Server::refused) answers every one of them but `Flush`.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Check the password and open the maildrop: `opened`.
    LogIn {
        /// As the client gave it.
        user: String,
        /// As the client gave it; nothing is known of it.
        password: Secret,
    },
    /// Fetch the user's SCRAM verifier, for an unknown user a made-up one: `verifier`.
    FetchVerifier {
        /// As the client gave it.
        user: String,
    },
    /// The client has proved to be the user whose verifier was fetched: open the maildrop, `opened`.
    Open {
        /// As the client gave it.
        user: String,
    },
    /// The client's proof did not match the verifier. Slow it down, count it, then `refused` with
    /// [`Refusal::Credentials`].
    ProofFailed {
        /// As the client gave it.
        user: String,
    },
    /// Send a message: `begin_message`, `write_message` with its bytes in order until it wants no more, `end_message`. After
    /// `begin_message` a failure can only be told by closing the connection.
    Retrieve {
        /// Its place in the maildrop, from 0.
        message: usize,
    },
    /// The client has said QUIT: remove the messages [`Server::marked`](super::Server::marked) tells, if any, all or none; let go
    /// of the maildrop; then `updated`. Comes once, and never to a session that ends in another way.
    Update,
    /// The output has grown: flush it before the next step. No answer.
    Flush,
}

/// Why the owner cannot do what an event asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Unknown user, wrong password or disabled account: `[AUTH]` (RFC 3206 §4).
    Credentials,
    /// Another session has the maildrop: `[IN-USE]` (RFC 2449 §8.1.2).
    InUse,
    /// It may work later: `[SYS/TEMP]` (RFC 3206 §3), and why in one line.
    Temporary(&'static str),
    /// It will not work until somebody mends it: `[SYS/PERM]`, and why in one line.
    Permanent(&'static str),
}

impl Refusal {
    /// The line of the response, without CRLF.
    pub(crate) fn line(self) -> String {
        match self {
            Refusal::Credentials => "-ERR [AUTH] wrong user name or password".into(),
            Refusal::InUse => "-ERR [IN-USE] another session has the maildrop open".into(),
            Refusal::Temporary(why) => format!("-ERR [SYS/TEMP] {why}"),
            Refusal::Permanent(why) => format!("-ERR [SYS/PERM] {why}"),
        }
    }
}
