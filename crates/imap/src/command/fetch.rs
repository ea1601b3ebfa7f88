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
