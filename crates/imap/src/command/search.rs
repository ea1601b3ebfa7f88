//! `SEARCH` (RFC 9051 §6.4.4, RFC 4731, RFC 5032, RFC 5182, RFC 7162 §3.1.5, RFC 8474, RFC 8514).
//!
//! ```text
//! search  = "SEARCH" [SP "RETURN" SP "(" [return-option *(SP return-option)] ")"]
//!           [SP "CHARSET" SP charset] 1*(SP search-key)
//! ```

use postrider_types::{Keyword, SystemFlag};

use super::writer::Writer;
use crate::parse::{Cursor, ParseError, Result};
use crate::set::MessageSet;

/// `SEARCH` or `UID SEARCH`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The answer is in UIDs.
    pub uid: bool,
    /// `RETURN (…)`: answer with ESEARCH. Absent: with SEARCH (rev1), or ESEARCH ALL when rev2 is on.
    pub returns: Option<ReturnOptions>,
    /// What must hold. Several keys are one `And`.
    pub key: SearchKey,
}

/// Return options (RFC 4731 §3.1); `RETURN ()` is `ALL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReturnOptions {
    /// `MIN`
    pub min: bool,
    /// `MAX`
    pub max: bool,
    /// `ALL`
    pub all: bool,
    /// `COUNT`
    pub count: bool,
    /// `SAVE`: remember the result as `$` (RFC 5182).
    pub save: bool,
}

/// A condition. `UNSEEN` is `Not(Flag(Seen))`, `NEW` is `And([Recent, Not(Flag(Seen))])`, `FROM x` is
/// `Header{"From", x}`, and so on: one way to say each thing. At most [`SearchKey::MAX_DEPTH`] levels deep and
/// [`SearchKey::MAX_KEYS`] conditions in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchKey {
    /// `ALL`
    All,
    /// Every one of them.
    And(Vec<SearchKey>),
    /// Either.
    Or(Box<(SearchKey, SearchKey)>),
    /// Not so.
    Not(Box<SearchKey>),
    /// Sequence numbers, or `$`.
    Sequence(MessageSet),
    /// `UID`, or `UID $`.
    Uid(MessageSet),
    /// `\Recent` is set (nothing ever is, here).
    Recent,
    /// The system flag is set.
    Flag(SystemFlag),
    /// The keyword is set.
    Keyword(Keyword),
    /// A date, disregarding time and zone.
    Date {
        /// Which of the message's dates.
        which: DateWhich,
        /// How it relates to the day.
        relation: DateRelation,
        /// Days since 1970-01-01.
        day: i32,
    },
    /// `SAVEDATESUPPORTED`: true here (RFC 8514 §4.3).
    SaveDateSupported,
    /// `LARGER`, bytes.
    Larger(u64),
    /// `SMALLER`, bytes.
    Smaller(u64),
    /// The field is there and holds the text, in any case. An empty text: the field is there.
    Header {
        /// The field's name.
        name: String,
        /// Part of its decoded value.
        value: String,
    },
    /// Text in the body.
    Body(String),
    /// Text in the header or the body.
    Text(String),
    /// `MODSEQ`: at least this (RFC 7162 §3.1.5). The metadata entry is of no consequence here and left out.
    ModSeq(u64),
    /// INTERNALDATE within the last so many seconds (RFC 5032).
    Younger(u32),
    /// INTERNALDATE longer ago.
    Older(u32),
    /// `EMAILID` (RFC 8474)
    EmailId(String),
    /// `THREADID`
    ThreadId(String),
}

/// Which date of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DateWhich {
    /// INTERNALDATE.
    Received,
    /// The `Date:` field.
    Sent,
    /// When it came to be in the mailbox (RFC 8514).
    Saved,
}

/// How a date relates to a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DateRelation {
    /// Earlier.
    Before,
    /// On that day.
    On,
    /// On that day or later.
    Since,
}

impl Search {
    pub(super) fn parse(cursor: &mut Cursor<'_>, uid: bool) -> Result<Self> {
        cursor.space()?;
        let returns = ReturnOptions::parse(cursor)?;
        if cursor.word("CHARSET") {
            cursor.space()?;
            charset(cursor)?;
            cursor.space()?;
        }
        Ok(Self {
            uid,
            returns,
            key: SearchKey::parse_all(cursor)?,
        })
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        if let Some(returns) = self.returns {
            returns.put(writer);
        }
        writer.text(if self.key.is_ascii() {
            " "
        } else {
            " CHARSET UTF-8 "
        });
        self.key.put_all(writer);
    }
}

impl ReturnOptions {
    /// `RETURN (…)` and the space behind it, if it is there.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Option<Self>> {
        if !cursor.word("RETURN") {
            return Ok(None);
        }
        let mut options = Self::default();
        cursor.space()?;
        cursor.list("return options", 8, |cursor| {
            for (word, option) in [
                ("MIN", &mut options.min),
                ("MAX", &mut options.max),
                ("ALL", &mut options.all),
                ("COUNT", &mut options.count),
                ("SAVE", &mut options.save),
            ] {
                if cursor.word(word) {
                    *option = true;
                    return Ok(());
                }
            }
            Err(ParseError::Expected("MIN, MAX, ALL, COUNT or SAVE"))
        })?;
        cursor.space()?;
        if options == Self::default() {
            options.all = true;
        }
        Ok(Some(options))
    }

    pub(super) fn put(self, writer: &mut Writer<'_>) {
        writer.text(" RETURN ");
        writer.words([
            (self.min, "MIN"),
            (self.max, "MAX"),
            (self.all, "ALL"),
            (self.count, "COUNT"),
            (self.save, "SAVE"),
        ]);
    }
}

/// A charset's name; only two are known.
pub(super) fn charset(cursor: &mut Cursor<'_>) -> Result<()> {
    let name = cursor.astring("a charset")?;
    let known = [&b"UTF-8"[..], b"US-ASCII", b"UTF8", b"ASCII"];
    if known.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
        Ok(())
    } else {
        Err(ParseError::Charset)
    }
}
