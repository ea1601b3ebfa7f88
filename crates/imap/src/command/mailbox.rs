//! `CREATE`, `RENAME` and the other commands on mailbox names (RFC 9051 §6.3.4 to §6.3.8, RFC 6154), `ENABLE` (§6.3.1).
//!
//! ```text
//! create  = "CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]
//! rename  = "RENAME" SP mailbox SP mailbox
//! enable  = "ENABLE" 1*(SP capability)
//! ```

use super::writer::Writer;
use crate::parse::{Cursor, ParseError, Result};

/// `CREATE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// The name, without a trailing delimiter.
    pub mailbox: String,
    /// The special uses asked for (RFC 6154 §3); most often none.
    pub special_use: Vec<SpecialUse>,
}

/// `RENAME`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The name now.
    pub from: String,
    /// The name to be.
    pub to: String,
}

/// A special use of a mailbox (RFC 6154 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecialUse {
    /// `\All`
    All,
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`
    Flagged,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

/// `ENABLE`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Enable(pub Vec<Extension>);

/// What ENABLE can turn on. Other names are accepted and ignored (RFC 5161 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extension {
    /// `CONDSTORE` (RFC 7162 §3.1)
    CondStore,
    /// `QRESYNC` (RFC 7162 §3.2); turns CONDSTORE on as well.
    QResync,
    /// `UTF8=ACCEPT` (RFC 6855)
    Utf8Accept,
    /// `IMAP4rev2` (RFC 9051)
    Imap4Rev2,
}

impl SpecialUse {
    /// All of them.
    pub const ALL: [SpecialUse; 7] = [
        Self::All,
        Self::Archive,
        Self::Drafts,
        Self::Flagged,
        Self::Junk,
        Self::Sent,
        Self::Trash,
    ];

    /// As LIST writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            SpecialUse::All => "\\All",
            SpecialUse::Archive => "\\Archive",
            SpecialUse::Drafts => "\\Drafts",
            SpecialUse::Flagged => "\\Flagged",
            SpecialUse::Junk => "\\Junk",
            SpecialUse::Sent => "\\Sent",
            SpecialUse::Trash => "\\Trash",
        }
    }

    /// From IMAP's spelling, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|special| special.as_str().eq_ignore_ascii_case(text))
    }
}

impl Extension {
    /// All of them.
    pub const ALL: [Extension; 4] = [Self::CondStore, Self::QResync, Self::Utf8Accept, Self::Imap4Rev2];

    /// Its capability's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Extension::CondStore => "CONDSTORE",
            Extension::QResync => "QRESYNC",
            Extension::Utf8Accept => "UTF8=ACCEPT",
            Extension::Imap4Rev2 => "IMAP4rev2",
        }
    }
}

impl Create {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        cursor.space()?;
        let mut mailbox = cursor.mailbox()?;
        // A trailing delimiter says that names below it will follow (RFC 9051 §6.3.4); any mailbox can have those here.
        if mailbox.len() > 1 && mailbox.ends_with('/') {
            mailbox.pop();
        }
        let mut special_use = Vec::new();
        if cursor.eat(b' ') {
            cursor.expect(b'(', "an opening parenthesis")?;
            if !cursor.word("USE") {
                return Err(ParseError::Expected("USE"));
            }
            cursor.space()?;
            special_use = cursor.list("special uses", SpecialUse::ALL.len(), |cursor| {
                let start = cursor.rest();
                cursor.expect(b'\\', "a special use")?;
                let name = cursor.atom("a special use")?;
                let written = start
                    .get(..name.len() + 1)
                    .and_then(|name| std::str::from_utf8(name).ok());
                written
                    .and_then(SpecialUse::parse)
                    .ok_or(ParseError::Expected("a special use of RFC 6154"))
            })?;
            cursor.expect(b')', "a closing parenthesis")?;
        }
        Ok(Self { mailbox, special_use })
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        writer.text(" ");
        writer.mailbox(&self.mailbox);
        for (at, special) in self.special_use.iter().enumerate() {
            writer.text(if at == 0 { " (USE (" } else { " " });
            writer.text(special.as_str());
        }
        if !self.special_use.is_empty() {
            writer.text("))");
        }
    }
}

impl Rename {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        cursor.space()?;
        let from = cursor.mailbox()?;
        cursor.space()?;
        Ok(Self {
            from,
            to: cursor.mailbox()?,
        })
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        writer.text(" ");
        writer.mailbox(&self.from);
        writer.text(" ");
        writer.mailbox(&self.to);
    }
}

impl Enable {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        let mut extensions = Vec::new();
        cursor.space()?;
        loop {
            let name = cursor.atom("a capability")?;
            let known = Extension::ALL
                .into_iter()
                .find(|known| known.as_str().eq_ignore_ascii_case(name));
            extensions.extend(known.filter(|known| !extensions.contains(known)));
            if !cursor.eat(b' ') {
                return Ok(Self(extensions));
            }
        }
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        for extension in &self.0 {
            writer.text(" ");
            writer.text(extension.as_str());
        }
    }
}
