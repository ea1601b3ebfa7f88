//! What is known of a message without its bytes: structure with offsets, envelope, preview, facts.
//!
//! All text is UTF-8 without NUL: raw header text that is not valid UTF-8 is read as windows-1252, so nothing is
//! lost and every protocol can print it. All offsets are bytes from the start of the raw message.
//!
//! Encoded form: one version byte, then protocol buffers. Envelope, preview and facts stand apart from the
//! structure there, so [`Summary::decode`] steps over the structure without reading it.

use std::ops::Range;

use prost::Message;

use crate::Error;

/// First byte of every encoded description; it changes when older code could misread the rest.
const FORMAT: u8 = 1;

/// Most parts a description tells apart; what follows is one opaque part.
pub const MAX_PARTS: usize = 1000;
/// Most levels of nesting; a multipart or message deeper than this is an opaque part.
pub const MAX_DEPTH: usize = 64;
/// Most addresses kept of one envelope, all its fields together.
pub const MAX_ADDRESSES: usize = 1000;
/// Most message ids kept of References; the first and the newest stay.
pub const MAX_REFERENCES: usize = 100;
/// Longest preview, in characters.
pub const MAX_PREVIEW: usize = 256;

/// Everything the servers need to know of a message to answer without reading it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Description {
    /// Bytes of the whole message.
    #[prost(uint64, tag = "1")]
    pub size: u64,
    /// What ENVELOPE tells.
    #[prost(message, required, tag = "2")]
    pub envelope: Envelope,
    /// The root part; its header is the message's header.
    #[prost(message, required, tag = "3")]
    pub structure: Part,
    /// Beginning of the first text part that has text, decoded, one line, at most [`MAX_PREVIEW`] characters.
    #[prost(string, tag = "4")]
    pub preview: String,
    /// Message-ID without angle brackets, or empty.
    #[prost(string, tag = "5")]
    pub message_id: String,
    /// Ids of References, then of In-Reply-To where they are not among those; without angle brackets, oldest first, no
    /// id twice, at most [`MAX_REFERENCES`].
    #[prost(string, repeated, tag = "6")]
    pub references: Vec<String>,
    /// Facts about the bytes.
    #[prost(message, required, tag = "7")]
    pub facts: Facts,
}

impl Description {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + self.encoded_len());
        out.push(FORMAT);
        // Writing to a Vec cannot run out of room.
        let _ = Message::encode(self, &mut out);
        out
    }

    /// Reads the stored form. Fails on damage or a newer format.
    pub fn decode(data: &[u8]) -> Result<Self, Error> {
        Message::decode(after_format(data)?).map_err(|_| Error::Description)
    }

    /// The part an IMAP section number names (RFC 9051 §6.4.5.1); the empty path is the root. See [`Part::find`].
    pub fn part(&self, path: &[u32]) -> Option<&Part> {
        self.structure.find(path)
    }

    /// Whether it has a part that a reader would call an attachment (JMAP `hasAttachment`).
    pub fn has_attachment(&self) -> bool {
        self.structure.walk().any(Part::is_attachment)
    }
}

/// The cheap parts of a description: what ENVELOPE, sorting, threading and previews need, without the structure.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Summary {
    /// See [`Description::size`].
    #[prost(uint64, tag = "1")]
    pub size: u64,
    /// See [`Description::envelope`].
    #[prost(message, required, tag = "2")]
    pub envelope: Envelope,
    /// See [`Description::preview`].
    #[prost(string, tag = "4")]
    pub preview: String,
    /// See [`Description::message_id`].
    #[prost(string, tag = "5")]
    pub message_id: String,
    /// See [`Description::references`].
    #[prost(string, repeated, tag = "6")]
    pub references: Vec<String>,
    /// See [`Description::facts`].
    #[prost(message, required, tag = "7")]
    pub facts: Facts,
}

impl Summary {
    /// Reads it out of an encoded [`Description`].
    pub fn decode(data: &[u8]) -> Result<Self, Error> {
        Message::decode(after_format(data)?).map_err(|_| Error::Description)
    }
}

pub(crate) fn after_format(data: &[u8]) -> Result<&[u8], Error> {
    match data.split_first() {
        Some((&FORMAT, rest)) => Ok(rest),
        _ => Err(Error::Description),
    }
}

/// Facts about a message's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Facts {
    /// A body (or preamble, or epilogue) has octets above 127: 8BITMIME or conversion is needed.
    #[prost(bool, tag = "1")]
    pub eight_bit_body: bool,
    /// A header (of the message, a part or an embedded message) has octets above 127: SMTPUTF8 or conversion is needed.
    #[prost(bool, tag = "2")]
    pub eight_bit_header: bool,
    /// `Received:` fields in the message's header, for loop detection (RFC 5321 §6.3).
    #[prost(uint32, tag = "3")]
    pub received: u32,
    /// Lines of the whole message; an unterminated last line counts.
    #[prost(uint64, tag = "4")]
    pub lines: u64,
    /// Has a NUL octet (BINARYMIME or conversion is needed; some agents choke).
    #[prost(bool, tag = "5")]
    pub nul: bool,
    /// Has a line of more than 998 octets without its line end (RFC 5322 §2.1.1).
    #[prost(bool, tag = "6")]
    pub long_lines: bool,
    /// The message has more parts, levels or header than are kept apart; something became opaque or was cut.
    #[prost(bool, tag = "7")]
    pub cut: bool,
}

/// How a part is built, as far as this library could follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `multipart/*` with at least one child.
    Multipart,
    /// `message/rfc822` or `message/global`: one child, the embedded message's root part, and its envelope.
    Message,
    /// `text/*`.
    Text,
    /// Any other leaf; also a multipart without parts or a message that cannot be looked into (too deep, or encoded
    /// against RFC 2046 §5.2.1): `shown_type` calls these `application/octet-stream`.
    Other,
}

/// A body part (RFC 2045 §2.4) with what BODYSTRUCTURE tells of it (RFC 9051 §7.5.2).
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Part {
    /// First byte of the header; for a part of a multipart, the byte behind the delimiter line.
    #[prost(uint64, tag = "1")]
    pub header_start: u64,
    /// First byte of the body: behind the empty line, which belongs to the header.
    #[prost(uint64, tag = "2")]
    pub body_start: u64,
    /// Behind the last byte of the body; the line end before a delimiter belongs to the delimiter.
    #[prost(uint64, tag = "3")]
    pub body_end: u64,
    /// Lines of the body; an unterminated last line counts.
    #[prost(uint64, tag = "4")]
    pub lines: u64,
    /// Type in lower case; `text` where the header says none.
    #[prost(string, tag = "5")]
    pub media_type: String,
    /// Subtype in lower case.
    #[prost(string, tag = "6")]
    pub subtype: String,
    /// Parameters of Content-Type.
    #[prost(message, repeated, tag = "7")]
    pub params: Vec<Param>,
    /// Content-ID as written, angle brackets included.
    #[prost(string, optional, tag = "8")]
    pub id: Option<String>,
    /// Content-Description, unfolded, encoded-words kept.
    #[prost(string, optional, tag = "9")]
    pub description: Option<String>,
    /// Content-Transfer-Encoding in lower case; `7bit` where the header says none.
    #[prost(string, tag = "10")]
    pub encoding: String,
    /// Content-MD5.
    #[prost(string, optional, tag = "11")]
    pub md5: Option<String>,
    /// Content-Disposition.
    #[prost(message, optional, tag = "12")]
    pub disposition: Option<Disposition>,
    /// Content-Language.
    #[prost(string, repeated, tag = "13")]
    pub language: Vec<String>,
    /// Content-Location, unfolded.
    #[prost(string, optional, tag = "14")]
    pub location: Option<String>,
    /// Envelope of the embedded message, for [`Kind::Message`].
    #[prost(message, optional, boxed, tag = "15")]
    pub envelope: Option<Box<Envelope>>,
    /// Parts of a multipart; the one embedded message of a message.
    #[prost(message, repeated, tag = "16")]
    pub children: Vec<Part>,
    /// Octets above 127 in the part's own body: a leaf's content, a multipart's preamble and epilogue; children apart.
    #[prost(uint64, tag = "17")]
    pub high_octets: u64,
    /// The part's own header has octets above 127.
    #[prost(bool, tag = "18")]
    pub eight_bit_header: bool,
    /// The part's own body has NUL octets or lines of more than 998 octets.
    #[prost(bool, tag = "19")]
    pub unsafe_lines: bool,
    /// The part's own header has lines of more than 998 octets.
    #[prost(bool, tag = "20")]
    pub long_header_lines: bool,
}

impl Part {
    /// How it is built.
    pub fn kind(&self) -> Kind {
        match self.media_type.as_str() {
            "text" => Kind::Text,
            "multipart" if !self.children.is_empty() => Kind::Multipart,
            "message" if !self.children.is_empty() => Kind::Message,
            _ => Kind::Other,
        }
    }

    /// Type and subtype to tell a client: `application/octet-stream` for what claims to have parts but has none, since
    /// neither BODYSTRUCTURE nor JMAP can express that.
    pub fn shown_type(&self) -> (&str, &str) {
        match (self.media_type.as_str(), self.subtype.as_str()) {
            ("multipart", _) | ("message", "rfc822" | "global") if self.children.is_empty() => {
                ("application", "octet-stream")
            }
            both => both,
        }
    }

    /// Bytes of the body as it is stored (the size BODYSTRUCTURE tells).
    pub fn size(&self) -> u64 {
        self.body_end.saturating_sub(self.body_start)
    }

    /// Where its header is, the empty line included.
    pub fn header_range(&self) -> Range<u64> {
        self.header_start..self.body_start
    }

    /// Where its body is.
    pub fn body_range(&self) -> Range<u64> {
        self.body_start..self.body_end
    }

    /// A parameter of Content-Type, decoded (RFC 2231); the name is compared without regard to case.
    pub fn param(&self, name: &str) -> Option<String> {
        crate::param::lookup(&self.params, name)
    }

    /// The charset of a text part in lower case, `us-ascii` where none is given.
    pub fn charset(&self) -> String {
        self.param("charset")
            .map_or_else(|| "us-ascii".into(), |name| name.to_ascii_lowercase())
    }

    /// The file name: of Content-Disposition, else `name` of Content-Type; decoded. It comes from outside: never use it as a path.
    pub fn filename(&self) -> Option<String> {
        let disposition = self.disposition.as_ref();
        disposition
            .and_then(|it| crate::param::lookup(&it.params, "filename"))
            .or_else(|| self.param("name"))
    }

    /// A leaf that is marked as an attachment, or has a file name and is not displayed inline.
    pub fn is_attachment(&self) -> bool {
        if !matches!(self.kind(), Kind::Text | Kind::Other) {
            return self.kind() == Kind::Message && !self.is_inline();
        }
        match &self.disposition {
            Some(it) => it.kind == "attachment" || (it.kind != "inline" && self.filename().is_some()),
            None => self.media_type != "text" || self.param("name").is_some(),
        }
    }

    fn is_inline(&self) -> bool {
        self.disposition.as_ref().is_some_and(|it| it.kind == "inline")
    }

    /// It and all parts below it, parents first, in the order of the message.
    pub fn walk(&self) -> impl Iterator<Item = &Part> {
        let mut stack = vec![self];
        std::iter::from_fn(move || {
            let part = stack.pop()?;
            stack.extend(part.children.iter().rev());
            Some(part)
        })
    }
}

/// A parameter of Content-Type or Content-Disposition.
///
/// Continuations (RFC 2231 §3) are joined into one parameter. If any piece was percent-encoded, the joined one is named
/// `name*` and its value is `charset'language'percent-encoded` throughout; else both are as written, unquoted.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Param {
    /// Name in lower case.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value without quotes.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Content-Disposition (RFC 2183).
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Disposition {
    /// `inline`, `attachment` or another word, in lower case.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Parameters.
    #[prost(message, repeated, tag = "2")]
    pub params: Vec<Param>,
}

/// What IMAP ENVELOPE tells (RFC 9051 §7.5.2). `None` or an empty list: the field is missing.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Envelope {
    /// Date, unfolded, as written.
    #[prost(string, optional, tag = "1")]
    pub date: Option<String>,
    /// Subject, unfolded, encoded-words kept; see [`crate::word::decode`].
    #[prost(string, optional, tag = "2")]
    pub subject: Option<String>,
    /// From.
    #[prost(message, repeated, tag = "3")]
    pub from: Vec<EnvelopeAddress>,
    /// Sender as written; [`Envelope::sender_or_from`] is what ENVELOPE prints.
    #[prost(message, repeated, tag = "4")]
    pub sender: Vec<EnvelopeAddress>,
    /// Reply-To as written; [`Envelope::reply_to_or_from`] is what ENVELOPE prints.
    #[prost(message, repeated, tag = "5")]
    pub reply_to: Vec<EnvelopeAddress>,
    /// To.
    #[prost(message, repeated, tag = "6")]
    pub to: Vec<EnvelopeAddress>,
    /// Cc.
    #[prost(message, repeated, tag = "7")]
    pub cc: Vec<EnvelopeAddress>,
    /// Bcc.
    #[prost(message, repeated, tag = "8")]
    pub bcc: Vec<EnvelopeAddress>,
    /// In-Reply-To as written, unfolded.
    #[prost(string, optional, tag = "9")]
    pub in_reply_to: Option<String>,
    /// Message-ID as written, angle brackets included.
    #[prost(string, optional, tag = "10")]
    pub message_id: Option<String>,
    /// The lists have every word of their fields (comments, say, are dropped): what is in no address is not in the header.
    #[prost(bool, tag = "11")]
    pub addresses_whole: bool,
}

impl Envelope {
    /// Sender, or From where it is missing, as ENVELOPE has it.
    pub fn sender_or_from(&self) -> &[EnvelopeAddress] {
        if self.sender.is_empty() {
            &self.from
        } else {
            &self.sender
        }
    }

    /// Reply-To, or From where it is missing, as ENVELOPE has it.
    pub fn reply_to_or_from(&self) -> &[EnvelopeAddress] {
        if self.reply_to.is_empty() {
            &self.from
        } else {
            &self.reply_to
        }
    }

    /// The instant of Date, if it can be read.
    pub fn sent(&self) -> Option<crate::date::DateTime> {
        self.date.as_deref().and_then(crate::date::parse)
    }
}

/// An address of an envelope as IMAP has it. A group (RFC 5322 §3.4) is spread over the list: an entry with `mailbox` (the
/// group's name) but no `host` begins it, one with neither ends it.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct EnvelopeAddress {
    /// Display name, unquoted, encoded-words kept.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// Source route (obsolete), without the colon: `@a,@b`.
    #[prost(string, optional, tag = "2")]
    pub route: Option<String>,
    /// Local part without quotes; a group's name; `None` at a group's end.
    #[prost(string, optional, tag = "3")]
    pub mailbox: Option<String>,
    /// Domain; `None` for a group's begin and end. Empty where an address has no domain.
    #[prost(string, optional, tag = "4")]
    pub host: Option<String>,
}

impl EnvelopeAddress {
    /// `local@domain`, where this is an address and not the begin or end of a group. The local part is not quoted.
    pub fn address(&self) -> Option<String> {
        match (&self.mailbox, &self.host) {
            (Some(mailbox), Some(host)) if host.is_empty() => Some(mailbox.clone()),
            (Some(mailbox), Some(host)) => Some(format!("{mailbox}@{host}")),
            _ => None,
        }
    }

    /// The display name with encoded-words decoded.
    pub fn display_name(&self) -> Option<String> {
        self.name.as_deref().map(crate::word::decode)
    }
}
