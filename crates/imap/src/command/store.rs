//! `STORE`, `COPY`, `MOVE` (RFC 9051 §6.4.6 to §6.4.8, RFC 7162 §3.1.3).
//!
//! ```text
//! store = "STORE" SP sequence-set [SP "(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")"] SP store-att-flags
//! store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
//! copy  = ("COPY" / "MOVE") SP sequence-set SP mailbox
//! ```

use postrider_types::{Flags, Keyword, SystemFlag};

use super::writer::Writer;
use crate::parse::{Cursor, ParseError, Result};
use crate::response::flag_list;
use crate::set::MessageSet;

/// `STORE` or `UID STORE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The set is of UIDs.
    pub uid: bool,
    /// Which messages.
    pub set: MessageSet,
    /// How.
    pub operation: StoreOperation,
    /// `.SILENT`: do not answer with the new flags.
    pub silent: bool,
    /// Which flags.
    pub flags: FlagList,
    /// Leave messages with a greater mod-sequence alone, and name them in `[MODIFIED]`.
    pub unchanged_since: Option<u64>,
}

/// What a STORE does with its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreOperation {
    /// `FLAGS`: these and no others.
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// System flags and keywords. `\Recent` cannot be changed and is left out on parsing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlagList {
    /// System flags.
    pub flags: Flags,
    /// Keywords as written, each once, at most [`Keyword::MAX_PER_MESSAGE`].
    pub keywords: Vec<Keyword>,
}

/// `COPY` or `MOVE`, with or without `UID`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The set is of UIDs.
    pub uid: bool,
    /// Which messages.
    pub set: MessageSet,
    /// Where to.
    pub mailbox: String,
}

impl Store {
    pub(super) fn parse(cursor: &mut Cursor<'_>, uid: bool) -> Result<Self> {
        cursor.space()?;
        let set = MessageSet::parse(cursor)?;
        cursor.space()?;
        let mut unchanged_since = None;
        if cursor.eat(b'(') {
            if !cursor.word("UNCHANGEDSINCE") {
                return Err(ParseError::Expected("UNCHANGEDSINCE"));
            }
            cursor.space()?;
            unchanged_since = Some(cursor.number64("a mod-sequence")?);
            cursor.expect(b')', "a closing parenthesis")?;
            cursor.space()?;
        }
        let operation = match cursor.peek() {
            Some(b'+') => StoreOperation::Add,
            Some(b'-') => StoreOperation::Remove,
            _ => StoreOperation::Replace,
        };
        if operation != StoreOperation::Replace {
            cursor.take_while(|byte| matches!(byte, b'+' | b'-'));
        }
        let silent = cursor.word("FLAGS.SILENT");
        if !silent && !cursor.word("FLAGS") {
            return Err(ParseError::Expected("FLAGS or FLAGS.SILENT"));
        }
        cursor.space()?;
        let flags = FlagList::parse(cursor)?;
        Ok(Self {
            uid,
            set,
            operation,
            silent,
            flags,
            unchanged_since,
        })
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        writer.text(" ");
        self.set.put(writer.out());
        if let Some(modseq) = self.unchanged_since {
            writer.text(" (UNCHANGEDSINCE ");
            writer.number(modseq);
            writer.text(")");
        }
        writer.text(match self.operation {
            StoreOperation::Replace => " FLAGS",
            StoreOperation::Add => " +FLAGS",
            StoreOperation::Remove => " -FLAGS",
        });
        writer.text(if self.silent { ".SILENT " } else { " " });
        self.flags.put(writer);
    }
}

impl FlagList {
    /// `flag-list`, or flags without parentheses.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        let mut list = Self::default();
        if cursor.peek() == Some(b'(') {
            cursor.list("flags", 4 * Keyword::MAX_PER_MESSAGE, |cursor| list.add(cursor))?;
            return Ok(list);
        }
        loop {
            list.add(cursor)?;
            if !cursor.eat(b' ') {
                return Ok(list);
            }
        }
    }

    fn add(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        if cursor.eat(b'\\') {
            let name = cursor.atom("a flag")?;
            let known = SystemFlag::ALL
                .into_iter()
                .find(|flag| flag.as_str()[1..].eq_ignore_ascii_case(name));
            match known {
                Some(flag) => self.flags = self.flags.with(flag),
                None if name.eq_ignore_ascii_case("Recent") => {}
                None => return Err(ParseError::Expected("a system flag of RFC 9051")),
            }
            return Ok(());
        }
        let keyword = Keyword::new(cursor.atom("a flag")?).map_err(|_| ParseError::Expected("a keyword"))?;
        if self.keywords.contains(&keyword) {
            return Ok(());
        }
        if self.keywords.len() == Keyword::MAX_PER_MESSAGE {
            return Err(ParseError::TooMany("keywords"));
        }
        self.keywords.push(keyword);
        Ok(())
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        flag_list(writer.out(), self.flags, &self.keywords);
    }
}

impl Copy {
    pub(super) fn parse(cursor: &mut Cursor<'_>, uid: bool) -> Result<Self> {
        cursor.space()?;
        let set = MessageSet::parse(cursor)?;
        cursor.space()?;
        Ok(Self {
            uid,
            set,
            mailbox: cursor.mailbox()?,
        })
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        writer.text(" ");
        self.set.put(writer.out());
        writer.text(" ");
        writer.mailbox(&self.mailbox);
    }
}
