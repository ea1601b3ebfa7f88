//! `SORT` and `THREAD` (RFC 5256), with return options (RFC 5267 §3, ESORT).
//!
//! ```text
//! sort   = "SORT" [SP "RETURN" SP "(" … ")"] SP "(" sort-key *(SP sort-key) ")" SP charset 1*(SP search-key)
//! thread = "THREAD" SP thread-alg SP charset 1*(SP search-key)
//! ```

use super::search::charset;
use super::writer::Writer;
use super::{ReturnOptions, SearchKey};
use crate::parse::{Cursor, ParseError, Result};

/// Sort keys in one command.
const MAX_KEYS: usize = 16;

/// `SORT` or `UID SORT`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    /// The answer is in UIDs.
    pub uid: bool,
    /// `RETURN (…)`: answer with ESEARCH, `ALL` in sorted order.
    pub returns: Option<ReturnOptions>,
    /// The order, most significant first; at least one. Ties end in sequence number order.
    pub keys: Vec<SortKey>,
    /// Which messages.
    pub search: SearchKey,
}

/// `sort-key = ["REVERSE" SP] field`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SortKey {
    /// Descending.
    pub reverse: bool,
    /// By what.
    pub field: SortField,
}

/// What to sort by (RFC 5256 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SortField {
    /// INTERNALDATE
    Arrival,
    /// The first Cc mailbox.
    Cc,
    /// Sent date, in UTC.
    Date,
    /// The first From mailbox.
    From,
    /// RFC822.SIZE
    Size,
    /// The base subject.
    Subject,
    /// The first To mailbox.
    To,
}

/// `THREAD` or `UID THREAD`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// The answer is in UIDs.
    pub uid: bool,
    /// How.
    pub algorithm: ThreadAlgorithm,
    /// Which messages.
    pub search: SearchKey,
}

/// How to thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThreadAlgorithm {
    /// `ORDEREDSUBJECT`
    OrderedSubject,
    /// `REFERENCES`
    References,
}

impl SortField {
    const ALL: [(&'static str, SortField); 7] = [
        ("ARRIVAL", SortField::Arrival),
        ("CC", SortField::Cc),
        ("DATE", SortField::Date),
        ("FROM", SortField::From),
        ("SIZE", SortField::Size),
        ("SUBJECT", SortField::Subject),
        ("TO", SortField::To),
    ];

    const fn as_str(self) -> &'static str {
        match self {
            SortField::Arrival => "ARRIVAL",
            SortField::Cc => "CC",
            SortField::Date => "DATE",
            SortField::From => "FROM",
            SortField::Size => "SIZE",
            SortField::Subject => "SUBJECT",
            SortField::To => "TO",
        }
    }
}

impl Sort {
    pub(super) fn parse(cursor: &mut Cursor<'_>, uid: bool) -> Result<Self> {
        cursor.space()?;
        let returns = ReturnOptions::parse(cursor)?;
        let keys = cursor.list("sort keys", MAX_KEYS, |cursor| {
            let reverse = cursor.word("REVERSE");
            if reverse {
                cursor.space()?;
            }
            let known = SortField::ALL.into_iter().find(|(word, _)| cursor.word(word));
            let (_, field) = known.ok_or(ParseError::Expected("a sort key"))?;
            Ok(SortKey { reverse, field })
        })?;
        if keys.is_empty() {
            return Err(ParseError::Expected("a sort key"));
        }
        cursor.space()?;
        charset(cursor)?;
        cursor.space()?;
        Ok(Self {
            uid,
            returns,
            keys,
            search: SearchKey::parse_all(cursor)?,
        })
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        if let Some(returns) = self.returns {
            returns.put(writer);
        }
        writer.text(" (");
        for (at, key) in self.keys.iter().enumerate() {
            writer.text(if at == 0 { "" } else { " " });
            writer.text(if key.reverse { "REVERSE " } else { "" });
            writer.text(key.field.as_str());
        }
        writer.text(") UTF-8 ");
        self.search.put_all(writer);
    }
}

impl Thread {
    pub(super) fn parse(cursor: &mut Cursor<'_>, uid: bool) -> Result<Self> {
        cursor.space()?;
        let algorithm = if cursor.word("REFERENCES") {
            ThreadAlgorithm::References
        } else if cursor.word("ORDEREDSUBJECT") {
            ThreadAlgorithm::OrderedSubject
        } else {
            return Err(ParseError::Expected("REFERENCES or ORDEREDSUBJECT"));
        };
        cursor.space()?;
        charset(cursor)?;
        cursor.space()?;
        Ok(Self {
            uid,
            algorithm,
            search: SearchKey::parse_all(cursor)?,
        })
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        writer.text(match self.algorithm {
            ThreadAlgorithm::OrderedSubject => " ORDEREDSUBJECT UTF-8 ",
            ThreadAlgorithm::References => " REFERENCES UTF-8 ",
        });
        self.search.put_all(writer);
    }
}
