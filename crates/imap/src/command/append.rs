//! `APPEND` (RFC 9051 §6.3.12, RFC 3502, RFC 4466, RFC 6855 §4).
//!
//! ```text
//! append      = "APPEND" SP mailbox 1*append-message
//! append-message = [SP flag-list] [SP date-time] SP append-data
//! append-data = literal / literal8 / "UTF8" SP "(" literal8 ")"
//! ```
//! There is no `Append` value that holds a message: each message streams past as events.

use postrider_types::{Flags, Keyword};

use super::FlagList;
use super::writer::Writer;
use crate::date::{parse_date_time, put_date_time};
use crate::parse::{Cursor, ParseError, Result};

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

/// What comes before a message's octets.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub flags: FlagList,
    pub received: Option<u64>,
    /// `UTF8 (`: a closing parenthesis must follow the message.
    pub utf8: bool,
}

/// Whether a line, behind its tag, is APPEND; steps over the word.
pub(crate) fn is_append(cursor: &mut Cursor<'_>) -> bool {
    cursor.word("APPEND")
}

/// The mailbox of an APPEND of which a literal has been announced; `None` when that literal is the mailbox's name.
pub(crate) fn parse_mailbox(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    cursor.space()?;
    if cursor.peek() == Some(b'{') && cursor.is_announcement() {
        return Ok(None);
    }
    cursor.mailbox().map(Some)
}

/// What stands between the mailbox (or the message before) and the announced message; nothing else may follow.
pub(crate) fn parse_head(cursor: &mut Cursor<'_>) -> Result<Head> {
    let mut head = Head::default();
    cursor.space()?;
    if cursor.peek() == Some(b'(') {
        head.flags = FlagList::parse(cursor)?;
        cursor.space()?;
    }
    if cursor.eat(b'"') {
        let text = cursor.take_while(|byte| byte != b'"');
        head.received = Some(parse_date_time(text).ok_or(ParseError::Expected("a date and time"))?);
        cursor.expect(b'"', "a closing quote")?;
        cursor.space()?;
    }
    if cursor.word("UTF8") {
        cursor.space()?;
        cursor.expect(b'(', "an opening parenthesis")?;
        if cursor.peek() != Some(b'~') {
            return Err(ParseError::Expected("a literal8"));
        }
        head.utf8 = true;
    }
    if cursor.is_announcement() {
        Ok(head)
    } else {
        Err(ParseError::Expected("a message as a literal"))
    }
}

/// Writes an APPEND up to its first message's octets, or (`index` above 0) what stands between two messages.
pub(crate) fn put_head(message: &AppendMessage, writer: &mut Writer<'_>) {
    if message.index == 0 {
        writer.text("APPEND ");
        writer.mailbox(&message.mailbox);
    }
    let flags = FlagList {
        flags: message.flags,
        keywords: message.keywords.clone(),
    };
    if flags != FlagList::default() {
        writer.text(" ");
        flags.put(writer);
    }
    if let Some(received) = message.received {
        writer.text(" ");
        put_date_time(writer.out(), received);
    }
    writer.text(" ");
    writer.literal_start(message.size, message.literal8);
}
