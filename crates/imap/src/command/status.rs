//! `STATUS` (RFC 9051 §6.3.11, RFC 7162 §3.1.7, RFC 7889, RFC 8438, RFC 8474, RFC 9208).
//!
//! ```text
//! status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"
//! ```

use super::writer::Writer;
use crate::parse::{Cursor, ParseError, Result};

/// `STATUS`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which mailbox.
    pub mailbox: String,
    /// What about it; at least one.
    pub items: StatusItems,
}

/// A question about a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum StatusItem {
    /// `MESSAGES`
    Messages = 1,
    /// `RECENT` (RFC 3501); always 0 here.
    Recent = 2,
    /// `UIDNEXT`
    UidNext = 4,
    /// `UIDVALIDITY`
    UidValidity = 8,
    /// `UNSEEN`
    Unseen = 16,
    /// `DELETED`
    Deleted = 32,
    /// `SIZE`, bytes of all messages.
    Size = 64,
    /// `HIGHESTMODSEQ`; asking turns CONDSTORE on.
    HighestModSeq = 128,
    /// `APPENDLIMIT`, bytes.
    AppendLimit = 256,
    /// `MAILBOXID`
    MailboxId = 512,
    /// `DELETED-STORAGE`, bytes that an EXPUNGE would free.
    DeletedStorage = 1024,
}

/// A set of status items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatusItems(u16);

impl StatusItem {
    /// All of them.
    pub const ALL: [StatusItem; 11] = [
        Self::Messages,
        Self::Recent,
        Self::UidNext,
        Self::UidValidity,
        Self::Unseen,
        Self::Deleted,
        Self::Size,
        Self::HighestModSeq,
        Self::AppendLimit,
        Self::MailboxId,
        Self::DeletedStorage,
    ];

    /// As STATUS writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            StatusItem::Messages => "MESSAGES",
            StatusItem::Recent => "RECENT",
            StatusItem::UidNext => "UIDNEXT",
            StatusItem::UidValidity => "UIDVALIDITY",
            StatusItem::Unseen => "UNSEEN",
            StatusItem::Deleted => "DELETED",
            StatusItem::Size => "SIZE",
            StatusItem::HighestModSeq => "HIGHESTMODSEQ",
            StatusItem::AppendLimit => "APPENDLIMIT",
            StatusItem::MailboxId => "MAILBOXID",
            StatusItem::DeletedStorage => "DELETED-STORAGE",
        }
    }
}

impl StatusItems {
    /// No item.
    pub const EMPTY: StatusItems = StatusItems(0);

    /// Whether the item is in the set.
    pub const fn contains(self, item: StatusItem) -> bool {
        self.0 & item as u16 != 0
    }

    /// This set and the item.
    #[must_use]
    pub const fn with(self, item: StatusItem) -> Self {
        Self(self.0 | item as u16)
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The items, in the order of [`StatusItem::ALL`].
    pub fn iter(self) -> impl Iterator<Item = StatusItem> {
        StatusItem::ALL
            .into_iter()
            .filter(move |item| self.contains(*item))
    }
}

impl FromIterator<StatusItem> for StatusItems {
    fn from_iter<I: IntoIterator<Item = StatusItem>>(items: I) -> Self {
        items.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl Status {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        cursor.space()?;
        let mailbox = cursor.mailbox()?;
        cursor.space()?;
        Ok(Self {
            mailbox,
            items: StatusItems::parse(cursor)?,
        })
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        writer.text(" ");
        writer.mailbox(&self.mailbox);
        writer.text(" ");
        self.items.put(writer);
    }
}

impl StatusItems {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        let items = cursor.list("status items", 32, |cursor| {
            let name = cursor.atom("a status item")?;
            let known = StatusItem::ALL
                .into_iter()
                .find(|item| item.as_str().eq_ignore_ascii_case(name));
            known.ok_or(ParseError::Expected("a status item"))
        })?;
        if items.is_empty() {
            return Err(ParseError::Expected("a status item"));
        }
        Ok(items.into_iter().collect())
    }

    pub(super) fn put(self, writer: &mut Writer<'_>) {
        writer.text("(");
        for (at, item) in self.iter().enumerate() {
            writer.text(if at == 0 { "" } else { " " });
            writer.text(item.as_str());
        }
        writer.text(")");
    }
}
