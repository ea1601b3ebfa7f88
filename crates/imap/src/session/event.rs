//! What the session tells its owner.

use bytes::Bytes;
use postrider_types::Secret;

use crate::command::{AppendMessage, Command};
use crate::response::Syntax;

/// Something for the session's owner to act on. Each says which answer it expects; "complete" means
/// [`crate::Session::complete`].
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Are these right? Answer: complete; `OK` makes the session authenticated. NO says `[AUTHENTICATIONFAILED]`, or
    /// `[UNAVAILABLE]` when nobody knows.
    Password {
        /// The user name as sent.
        user: String,
        /// The password as sent.
        password: Secret,
    },
    /// The user's SCRAM verifier is wanted; for an unknown user a made-up one, so that names cannot be probed.
    /// Answer: [`crate::Session::verifier`].
    Verifier {
        /// The user name as sent.
        user: String,
    },
    /// SCRAM proved that the client is this user, the one a `Verifier` event named just before. Answer: complete; `OK` makes
    /// the session authenticated.
    Proved {
        /// The user name as sent.
        user: String,
    },
    /// A command. Answer: write untagged responses to the output, then complete.
    Command(Command),
    /// APPEND announces a message; its bytes have not been sent when the literal is synchronising. Answer:
    /// [`crate::Session::accept_message`], or complete with NO (`[TRYCREATE]`, `[OVERQUOTA]`, …), which ends the
    /// whole command: messages of it that came before must not be appended. (`[TOOBIG]` by
    /// [`crate::session::Config::append_limit`] is the session's.)
    Append(AppendMessage),
    /// The next bytes of the message. No answer.
    AppendData(Bytes),
    /// How APPEND's input ended.
    AppendEnd(AppendDone),
    /// IDLE began. No answer: from now on announcements may be written whenever there are any, until `Done`.
    Idle,
    /// IDLE was ended by the client. Answer: announce what is left, then complete.
    Done,
}

/// How the input of APPEND ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendDone {
    /// Every message has arrived whole. Answer: append all or none of them, announce, complete.
    Complete,
    /// A later message was refused by the session, or bad syntax followed a message: forget all of them. No answer;
    /// the client has been told.
    Aborted,
}

/// What the client has turned on (RFC 5161), or by using it (RFC 7162 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Enabled {
    /// CONDSTORE: FETCH responses that tell flags tell MODSEQ too, and `HIGHESTMODSEQ` is told.
    pub condstore: bool,
    /// QRESYNC: `VANISHED` instead of `EXPUNGE`.
    pub qresync: bool,
    /// UTF8=ACCEPT
    pub utf8: bool,
    /// IMAP4rev2: no RECENT, ESEARCH instead of SEARCH.
    pub rev2: bool,
}

impl Enabled {
    /// How strings are written.
    pub fn syntax(self) -> Syntax {
        if self.utf8 || self.rev2 {
            Syntax::Utf8
        } else {
            Syntax::Rev1
        }
    }
}
