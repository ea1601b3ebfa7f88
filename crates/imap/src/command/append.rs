//! `APPEND` (RFC 9051 §6.3.12, RFC 3502, RFC 4466, RFC 6855 §4).
//!
//! ```text
//! append      = "APPEND" SP mailbox 1*append-message
//! append-message = [SP flag-list] [SP date-time] SP append-data
//! append-data = literal / literal8 / "UTF8" SP "(" literal8 ")"
//! ```
//! There is no `Append` value that holds a message: each message streams past as events.

use postrider_types::{Flags, Keyword};

/// One message of an APPEND, announced and not yet sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendMessage {
    /// Where to. The same for every message of one command.
    pub mailbox: String,
    /// 0 for the command's first message, 1 for the next (MULTIAPPEND) …
    pub index: u32,
    /// System flags to set. `\Recent` is ignored.
    pub flags: Flags,
    /// Keywords to set, at most [`Keyword::MAX_PER_MESSAGE`].
    pub keywords: Vec<Keyword>,
    /// The date-time, milliseconds since the Unix epoch; earlier ones become 0.
    pub received: Option<u64>,
    /// How many bytes will follow.
    pub size: u64,
    /// `~{n}` (RFC 3516, RFC 6855): the message may hold NUL and, with UTF8=ACCEPT, UTF-8 in its header.
    pub literal8: bool,
}
