//! `CREATE`, `RENAME` and the other commands on mailbox names (RFC 9051 §6.3.4 to §6.3.8, RFC 6154), `ENABLE` (§6.3.1).
//!
//! ```text
//! create  = "CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]
//! rename  = "RENAME" SP mailbox SP mailbox
//! enable  = "ENABLE" 1*(SP capability)
//! ```

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
    pub const ALL: [SpecialUse; 7] =
        [Self::All, Self::Archive, Self::Drafts, Self::Flagged, Self::Junk, Self::Sent, Self::Trash];

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
        Self::ALL.into_iter().find(|special| special.as_str().eq_ignore_ascii_case(text))
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
