//! FETCH responses (RFC 9051 §7.5.2).
//!
//! ```text
//! message-data = nz-number SP "FETCH" SP "(" msg-att *(SP msg-att) ")"
//! ```

use bytes::{BufMut, BytesMut};
use postrider_message::{EnvelopeView, Part};
use postrider_types::{Flags, Keyword};

use super::mailbox::flag_list;
use super::text::{Syntax, literal, literal_start, nstring, number};
use super::{envelope, structure};
use crate::command::{Partial, Section, SectionText};
use crate::date::put_date_time;

/// One FETCH response being written: [`FetchLine::start`], items in any order, [`FetchLine::end`].
///
/// It holds no borrow of the buffer, so that a caller who streams a large section can flush between its chunks.
#[derive(Debug, Clone, Copy)]
#[must_use = "a started line must be ended"]
pub struct FetchLine {
    syntax: Syntax,
    any: bool,
}

impl FetchLine {
    /// Begins `* n FETCH (`.
    pub fn start(out: &mut BytesMut, sequence: u32, syntax: Syntax) -> Self {
        out.put_slice(b"* ");
        number(out, sequence.into());
        out.put_slice(b" FETCH (");
        Self { syntax, any: false }
    }

    /// `UID n`
    pub fn uid(&mut self, out: &mut BytesMut, uid: u32) {
        self.name(out, b"UID ");
        number(out, uid.into());
    }

    /// `FLAGS (…)`
    pub fn flags(&mut self, out: &mut BytesMut, flags: Flags, keywords: &[Keyword]) {
        self.name(out, b"FLAGS ");
        flag_list(out, flags, keywords);
    }

    /// `FLAGS (…)`, with `\Recent` (RFC 3501 §2.3.2) for a message that no session was told of before.
    pub fn flags_and_recent(&mut self, out: &mut BytesMut, flags: Flags, keywords: &[Keyword]) {
        self.flags(out, flags, keywords);
        // Before the closing parenthesis.
        out.truncate(out.len() - 1);
        let none = flags.bits() == 0 && keywords.is_empty();
        out.put_slice(if none { b"\\Recent)" } else { b" \\Recent)" });
    }

    /// `MODSEQ (n)`
    pub fn modseq(&mut self, out: &mut BytesMut, modseq: u64) {
        self.name(out, b"MODSEQ (");
        number(out, modseq);
        out.put_u8(b')');
    }

    /// `INTERNALDATE "…"`, from milliseconds since the Unix epoch, in UTC.
    pub fn internal_date(&mut self, out: &mut BytesMut, received: u64) {
        self.name(out, b"INTERNALDATE ");
        put_date_time(out, received);
    }

    /// `SAVEDATE "…"`
    pub fn save_date(&mut self, out: &mut BytesMut, saved: u64) {
        self.name(out, b"SAVEDATE ");
        put_date_time(out, saved);
    }

    /// `RFC822.SIZE n`
    pub fn size(&mut self, out: &mut BytesMut, size: u64) {
        self.name(out, b"RFC822.SIZE ");
        number(out, size);
    }

    /// `EMAILID (…)`; 1 to 255 characters of `[A-Za-z0-9_-]`.
    pub fn email_id(&mut self, out: &mut BytesMut, id: &str) {
        self.object_id(out, b"EMAILID (", id);
    }

    /// `THREADID (…)`
    pub fn thread_id(&mut self, out: &mut BytesMut, id: &str) {
        self.object_id(out, b"THREADID (", id);
    }

    /// `PREVIEW …`; `None`: not known (yet).
    pub fn preview(&mut self, out: &mut BytesMut, preview: Option<&str>) {
        self.name(out, b"PREVIEW ");
        nstring(out, preview.map(str::as_bytes), self.syntax);
    }

    /// `ENVELOPE (…)`
    pub fn envelope<'a>(&mut self, out: &mut BytesMut, value: impl Into<EnvelopeView<'a>>) {
        self.name(out, b"ENVELOPE ");
        envelope::put(out, value, self.syntax);
    }

    /// `ENVELOPE (…)`, of what [`super::envelope`](fn@super::envelope) wrote in the same syntax.
    pub fn written_envelope(&mut self, out: &mut BytesMut, envelope: &[u8]) {
        self.name(out, b"ENVELOPE ");
        out.put_slice(envelope);
    }

    /// `BODYSTRUCTURE (…)`, or without extension data `BODY (…)`.
    pub fn structure(&mut self, out: &mut BytesMut, root: &Part, extended: bool) {
        self.name(out, if extended { b"BODYSTRUCTURE " } else { b"BODY " });
        structure::put(out, root, extended, self.syntax);
    }

    /// `BODY[…]<…>` with its data, or NIL where there is no such part.
    pub fn section(
        &mut self,
        out: &mut BytesMut,
        section: &Section,
        origin: Option<u64>,
        data: Option<&[u8]>,
    ) {
        self.section_name(out, section, origin);
        self.data(out, data);
    }

    /// `BODY[…]<…>` and the literal's announcement: the caller appends exactly `length` bytes.
    pub fn section_start(&mut self, out: &mut BytesMut, section: &Section, origin: Option<u64>, length: u64) {
        self.section_name(out, section, origin);
        literal_start(out, length, false);
    }

    /// `RFC822`, `RFC822.HEADER` or `RFC822.TEXT` with its data.
    pub fn rfc822(&mut self, out: &mut BytesMut, item: Rfc822, data: Option<&[u8]>) {
        self.name(out, item.as_bytes());
        self.data(out, data);
    }

    /// `RFC822…` and the literal's announcement: the caller appends exactly `length` bytes.
    pub fn rfc822_start(&mut self, out: &mut BytesMut, item: Rfc822, length: u64) {
        self.name(out, item.as_bytes());
        literal_start(out, length, false);
    }

    /// `BINARY[…]<…>` with its data, or NIL; data with NUL becomes a literal8.
    pub fn binary(&mut self, out: &mut BytesMut, part: &[u32], origin: Option<u64>, data: Option<&[u8]>) {
        self.binary_name(out, part, origin);
        match data {
            Some(data) if memchr::memchr(0, data).is_some() => {
                literal_start(out, data.len() as u64, true);
                out.put_slice(data);
            }
            data => self.data(out, data),
        }
    }

    /// `BINARY[…]<…>` and a literal8's announcement: the caller appends exactly `length` bytes.
    pub fn binary_start(&mut self, out: &mut BytesMut, part: &[u32], origin: Option<u64>, length: u64) {
        self.binary_name(out, part, origin);
        literal_start(out, length, true);
    }

    /// `BINARY.SIZE[…] n`
    pub fn binary_size(&mut self, out: &mut BytesMut, part: &[u32], size: u64) {
        self.name(out, b"BINARY.SIZE[");
        put_part(out, part);
        out.put_slice(b"] ");
        number(out, size);
    }

    /// Ends the line.
    pub fn end(self, out: &mut BytesMut) {
        out.put_slice(b")\r\n");
    }

    fn name(&mut self, out: &mut BytesMut, name: &[u8]) {
        if std::mem::replace(&mut self.any, true) {
            out.put_u8(b' ');
        }
        out.put_slice(name);
    }

    fn object_id(&mut self, out: &mut BytesMut, name: &[u8], id: &str) {
        self.name(out, name);
        out.put_slice(id.as_bytes());
        out.put_u8(b')');
    }

    /// Message data: always a literal, since most of it has line ends.
    fn data(&self, out: &mut BytesMut, data: Option<&[u8]>) {
        match data {
            None => out.put_slice(b"NIL"),
            Some(data) => literal(out, data),
        }
    }

    fn section_name(&mut self, out: &mut BytesMut, section: &Section, origin: Option<u64>) {
        self.name(out, b"BODY");
        put_section(out, section, self.syntax);
        put_origin(out, origin);
        out.put_u8(b' ');
    }

    fn binary_name(&mut self, out: &mut BytesMut, part: &[u32], origin: Option<u64>) {
        self.name(out, b"BINARY[");
        put_part(out, part);
        out.put_u8(b']');
        put_origin(out, origin);
        out.put_u8(b' ');
    }
}

/// The names that RFC 3501 had for what sections say as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rfc822 {
    /// `RFC822`
    Message,
    /// `RFC822.HEADER`
    Header,
    /// `RFC822.TEXT`
    Text,
}

impl Rfc822 {
    const fn as_bytes(self) -> &'static [u8] {
        match self {
            Rfc822::Message => b"RFC822 ",
            Rfc822::Header => b"RFC822.HEADER ",
            Rfc822::Text => b"RFC822.TEXT ",
        }
    }
}

/// `section = "[" [section-spec] "]"`
pub(crate) fn put_section(out: &mut BytesMut, section: &Section, syntax: Syntax) {
    out.put_u8(b'[');
    put_part(out, &section.part);
    if let (Some(_), false) = (&section.text, section.part.is_empty()) {
        out.put_u8(b'.');
    }
    match &section.text {
        None => {}
        Some(SectionText::Header) => out.put_slice(b"HEADER"),
        Some(SectionText::Text) => out.put_slice(b"TEXT"),
        Some(SectionText::Mime) => out.put_slice(b"MIME"),
        Some(SectionText::HeaderFields(names)) => put_fields(out, b"HEADER.FIELDS (", names, syntax),
        Some(SectionText::HeaderFieldsNot(names)) => put_fields(out, b"HEADER.FIELDS.NOT (", names, syntax),
    }
    out.put_u8(b']');
}

/// `partial`, as a command has it.
pub(crate) fn put_partial(out: &mut BytesMut, partial: Partial) {
    out.put_u8(b'<');
    number(out, partial.offset);
    out.put_u8(b'.');
    number(out, partial.count);
    out.put_u8(b'>');
}

/// `section-part`
pub(crate) fn put_part(out: &mut BytesMut, part: &[u32]) {
    for (at, value) in part.iter().enumerate() {
        if at > 0 {
            out.put_u8(b'.');
        }
        number(out, (*value).into());
    }
}

fn put_origin(out: &mut BytesMut, origin: Option<u64>) {
    if let Some(origin) = origin {
        out.put_u8(b'<');
        number(out, origin);
        out.put_u8(b'>');
    }
}

fn put_fields(out: &mut BytesMut, start: &[u8], names: &[String], syntax: Syntax) {
    out.put_slice(start);
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            out.put_u8(b' ');
        }
        // A field name is an atom nearly always; others are quoted rather than made a literal.
        super::text::astring(out, name.as_bytes(), syntax);
    }
    out.put_u8(b')');
}
