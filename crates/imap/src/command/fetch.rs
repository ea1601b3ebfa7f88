//! `FETCH` (RFC 9051 §6.4.5, RFC 3516, RFC 7162 §3.1.4, §3.2.6, RFC 8474, RFC 8514, RFC 8970).
//!
//! ```text
//! fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")
//!         [SP "(" fetch-modifier *(SP fetch-modifier) ")"]
//! fetch-modifier = "CHANGEDSINCE" SP mod-sequence-value / "VANISHED"
//! section  = "[" [section-spec] "]"
//! partial  = "<" number64 "." nz-number64 ">"
//! ```

use smallvec::SmallVec;

use super::writer::Writer;
use crate::parse::{Cursor, ParseError, Result};
use crate::response::{Syntax, put_part, put_partial, put_section};
use crate::set::MessageSet;

/// `FETCH` or `UID FETCH`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The set is of UIDs, and every answer names the UID.
    pub uid: bool,
    /// Which messages.
    pub set: MessageSet,
    /// What of them, macros expanded, in the order asked, each once.
    pub items: Vec<FetchItem>,
    /// Only those with a greater mod-sequence; every answer names MODSEQ.
    pub changed_since: Option<u64>,
    /// Name the vanished among the set since then, too (UID form, QRESYNC on, with `changed_since`).
    pub vanished: bool,
}

/// One thing to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    /// `ENVELOPE`
    Envelope,
    /// `FLAGS`
    Flags,
    /// `INTERNALDATE`
    InternalDate,
    /// `RFC822.SIZE`
    Rfc822Size,
    /// `UID`
    Uid,
    /// `BODY`: BODYSTRUCTURE without extension data.
    Body,
    /// `BODYSTRUCTURE`
    BodyStructure,
    /// `BODY[…]<…>` or `BODY.PEEK[…]<…>`
    Section {
        /// Which part.
        section: Section,
        /// Which bytes of it.
        partial: Option<Partial>,
        /// Do not set `\Seen`.
        peek: bool,
    },
    /// `RFC822` (RFC 3501): as `BODY[]`, under its own name.
    Rfc822,
    /// `RFC822.HEADER`: as `BODY.PEEK[HEADER]`.
    Rfc822Header,
    /// `RFC822.TEXT`: as `BODY[TEXT]`.
    Rfc822Text,
    /// `BINARY[…]<…>` or `BINARY.PEEK[…]<…>`: a part with its transfer encoding undone (RFC 3516).
    Binary {
        /// Which part; empty: the whole message.
        part: PartPath,
        /// Which decoded bytes of it.
        partial: Option<Partial>,
        /// Do not set `\Seen`.
        peek: bool,
    },
    /// `BINARY.SIZE[…]`: decoded bytes of a part.
    BinarySize(PartPath),
    /// `MODSEQ` (RFC 7162)
    ModSeq,
    /// `EMAILID` (RFC 8474)
    EmailId,
    /// `THREADID`
    ThreadId,
    /// `PREVIEW` (RFC 8970)
    Preview {
        /// `(LAZY)`: NIL is as good when there is none yet.
        lazy: bool,
    },
    /// `SAVEDATE` (RFC 8514)
    SaveDate,
}

/// `section-part = nz-number *("." nz-number)`; at most [`Section::MAX_PARTS`] numbers.
pub type PartPath = SmallVec<[u32; 4]>;

/// What stands between the brackets of `BODY[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    /// Which body part; empty: the message itself.
    pub part: PartPath,
    /// What of it; absent: all of it.
    pub text: Option<SectionText>,
}

impl Section {
    /// Numbers in one part path.
    pub const MAX_PARTS: usize = 64;
}

/// `section-text = section-msgtext / "MIME"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionText {
    /// `HEADER`
    Header,
    /// `HEADER.FIELDS`: only these, at least one, as sent.
    HeaderFields(Vec<String>),
    /// `HEADER.FIELDS.NOT`: all but these.
    HeaderFieldsNot(Vec<String>),
    /// `TEXT`
    Text,
    /// `MIME`: the part's own header. Only with a part number.
    Mime,
}

/// `<offset.count>`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Partial {
    /// The first byte.
    pub offset: u64,
    /// The most bytes; 1 or more.
    pub count: u64,
}

/// Items in one command, macros counted as what they stand for.
const MAX_ITEMS: usize = 256;
/// Names in one HEADER.FIELDS.
const MAX_FIELDS: usize = 256;

impl Fetch {
    pub(super) fn parse(cursor: &mut Cursor<'_>, uid: bool) -> Result<Self> {
        cursor.space()?;
        let set = MessageSet::parse(cursor)?;
        cursor.space()?;
        let mut fetch = Self {
            uid,
            set,
            items: Vec::new(),
            changed_since: None,
            vanished: false,
        };
        fetch.parse_items(cursor)?;
        if cursor.eat(b' ') {
            cursor.list("modifiers", 4, |cursor| {
                if cursor.word("CHANGEDSINCE") {
                    cursor.space()?;
                    fetch.changed_since = Some(cursor.number64("a mod-sequence")?);
                } else if cursor.word("VANISHED") {
                    fetch.vanished = true;
                } else {
                    return Err(ParseError::Expected("CHANGEDSINCE or VANISHED"));
                }
                Ok(())
            })?;
        }
        if fetch.vanished && (!uid || fetch.changed_since.is_none()) {
            return Err(ParseError::Invalid("VANISHED needs UID FETCH with CHANGEDSINCE"));
        }
        Ok(fetch)
    }

    fn parse_items(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        use FetchItem::{Body, Envelope, Flags, InternalDate, Rfc822Size};
        if cursor.peek() == Some(b'(') {
            let items = cursor.list("fetch items", MAX_ITEMS, FetchItem::parse)?;
            for item in items {
                if !self.items.contains(&item) {
                    self.items.push(item);
                }
            }
        } else if cursor.word("ALL") {
            self.items.extend([Flags, InternalDate, Rfc822Size, Envelope]);
        } else if cursor.word("FAST") {
            self.items.extend([Flags, InternalDate, Rfc822Size]);
        } else if cursor.word("FULL") {
            self.items
                .extend([Flags, InternalDate, Rfc822Size, Envelope, Body]);
        } else {
            self.items.push(FetchItem::parse(cursor)?);
        }
        if self.items.is_empty() {
            Err(ParseError::Expected("a fetch item"))
        } else {
            Ok(())
        }
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        writer.text(" ");
        self.set.put(writer.out());
        writer.text(" (");
        for (at, item) in self.items.iter().enumerate() {
            writer.text(if at == 0 { "" } else { " " });
            item.put(writer);
        }
        writer.text(")");
        if let Some(modseq) = self.changed_since {
            writer.text(" (CHANGEDSINCE ");
            writer.number(modseq);
            writer.text(if self.vanished { " VANISHED)" } else { ")" });
        }
    }
}

impl FetchItem {
    /// Whether fetching it sets `\\Seen` (RFC 9051 §6.4.5, RFC 3516 §4.2).
    pub fn marks_seen(&self) -> bool {
        match self {
            FetchItem::Section { peek, .. } | FetchItem::Binary { peek, .. } => !peek,
            FetchItem::Rfc822 | FetchItem::Rfc822Text => true,
            _ => false,
        }
    }

    fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        const PLAIN: [(&str, FetchItem); 13] = [
            ("UID", FetchItem::Uid),
            ("FLAGS", FetchItem::Flags),
            ("ENVELOPE", FetchItem::Envelope),
            ("INTERNALDATE", FetchItem::InternalDate),
            ("RFC822.SIZE", FetchItem::Rfc822Size),
            ("RFC822.HEADER", FetchItem::Rfc822Header),
            ("RFC822.TEXT", FetchItem::Rfc822Text),
            ("RFC822", FetchItem::Rfc822),
            ("BODYSTRUCTURE", FetchItem::BodyStructure),
            ("MODSEQ", FetchItem::ModSeq),
            ("EMAILID", FetchItem::EmailId),
            ("THREADID", FetchItem::ThreadId),
            ("SAVEDATE", FetchItem::SaveDate),
        ];
        if let Some((_, item)) = PLAIN.into_iter().find(|(word, _)| cursor.word(word)) {
            return Ok(item);
        }
        if cursor.word("PREVIEW") {
            let lazy = cursor
                .rest()
                .get(..7)
                .is_some_and(|next| next.eq_ignore_ascii_case(b" (LAZY)"));
            if lazy {
                cursor.space()?;
                cursor.list("modifiers", 1, |cursor| cursor.atom("LAZY").map(drop))?;
            }
            return Ok(FetchItem::Preview { lazy });
        }
        let peek = cursor.word("BODY.PEEK");
        if peek || cursor.word("BODY") {
            if !peek && cursor.peek() != Some(b'[') {
                return Ok(FetchItem::Body);
            }
            let section = Section::parse(cursor)?;
            return Ok(FetchItem::Section {
                section,
                partial: Partial::parse(cursor)?,
                peek,
            });
        }
        if cursor.word("BINARY.SIZE") {
            return binary_part(cursor).map(FetchItem::BinarySize);
        }
        let peek = cursor.word("BINARY.PEEK");
        if peek || cursor.word("BINARY") {
            let part = binary_part(cursor)?;
            return Ok(FetchItem::Binary {
                part,
                partial: Partial::parse(cursor)?,
                peek,
            });
        }
        Err(ParseError::Expected("a fetch item"))
    }

    fn put(&self, writer: &mut Writer<'_>) {
        match self {
            FetchItem::Envelope => writer.text("ENVELOPE"),
            FetchItem::Flags => writer.text("FLAGS"),
            FetchItem::InternalDate => writer.text("INTERNALDATE"),
            FetchItem::Rfc822Size => writer.text("RFC822.SIZE"),
            FetchItem::Uid => writer.text("UID"),
            FetchItem::Body => writer.text("BODY"),
            FetchItem::BodyStructure => writer.text("BODYSTRUCTURE"),
            FetchItem::Rfc822 => writer.text("RFC822"),
            FetchItem::Rfc822Header => writer.text("RFC822.HEADER"),
            FetchItem::Rfc822Text => writer.text("RFC822.TEXT"),
            FetchItem::ModSeq => writer.text("MODSEQ"),
            FetchItem::EmailId => writer.text("EMAILID"),
            FetchItem::ThreadId => writer.text("THREADID"),
            FetchItem::SaveDate => writer.text("SAVEDATE"),
            FetchItem::Preview { lazy } => writer.text(if *lazy { "PREVIEW (LAZY)" } else { "PREVIEW" }),
            FetchItem::Section {
                section,
                partial,
                peek,
            } => {
                writer.text(if *peek { "BODY.PEEK" } else { "BODY" });
                put_section(writer.out(), section, Syntax::Rev1);
                partial
                    .iter()
                    .for_each(|partial| put_partial(writer.out(), *partial));
            }
            FetchItem::Binary { part, partial, peek } => {
                writer.text(if *peek { "BINARY.PEEK[" } else { "BINARY[" });
                put_part(writer.out(), part);
                writer.text("]");
                partial
                    .iter()
                    .for_each(|partial| put_partial(writer.out(), *partial));
            }
            FetchItem::BinarySize(part) => {
                writer.text("BINARY.SIZE[");
                put_part(writer.out(), part);
                writer.text("]");
            }
        }
    }
}

impl Section {
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        cursor.expect(b'[', "a section in brackets")?;
        let part = part_path(cursor)?;
        let at_text = part.is_empty() || cursor.eat(b'.');
        let text = if !at_text || cursor.peek() == Some(b']') && part.is_empty() {
            None
        } else if cursor.word("HEADER.FIELDS.NOT") {
            Some(SectionText::HeaderFieldsNot(field_names(cursor)?))
        } else if cursor.word("HEADER.FIELDS") {
            Some(SectionText::HeaderFields(field_names(cursor)?))
        } else if cursor.word("HEADER") {
            Some(SectionText::Header)
        } else if cursor.word("TEXT") {
            Some(SectionText::Text)
        } else if !part.is_empty() && cursor.word("MIME") {
            Some(SectionText::Mime)
        } else {
            return Err(ParseError::Expected("a section"));
        };
        cursor.expect(b']', "a closing bracket")?;
        Ok(Self { part, text })
    }
}

impl Partial {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Option<Self>> {
        if !cursor.eat(b'<') {
            return Ok(None);
        }
        let offset = cursor.number64("an offset")?;
        cursor.expect(b'.', "a dot")?;
        let count = cursor.number64("a count")?;
        cursor.expect(b'>', "a closing angle bracket")?;
        if count == 0 {
            Err(ParseError::Expected("a count above 0"))
        } else {
            Ok(Some(Self { offset, count }))
        }
    }
}

/// Part numbers, while they last; a dot behind the last stays.
fn part_path(cursor: &mut Cursor<'_>) -> Result<PartPath> {
    let mut part = PartPath::new();
    if !cursor.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        return Ok(part);
    }
    loop {
        if part.len() == Section::MAX_PARTS {
            return Err(ParseError::TooMany("part numbers"));
        }
        part.push(cursor.nz_number("a part number")?);
        match cursor.rest() {
            [b'.', next, ..] if next.is_ascii_digit() => cursor.expect(b'.', "a dot")?,
            _ => return Ok(part),
        }
    }
}

fn binary_part(cursor: &mut Cursor<'_>) -> Result<PartPath> {
    cursor.expect(b'[', "a part in brackets")?;
    let part = part_path(cursor)?;
    cursor.expect(b']', "a closing bracket")?;
    Ok(part)
}

fn field_names(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    cursor.space()?;
    let names = cursor.list("field names", MAX_FIELDS, |cursor| cursor.text("a field name"))?;
    if names.is_empty() {
        Err(ParseError::Expected("a field name"))
    } else {
        Ok(names)
    }
}
