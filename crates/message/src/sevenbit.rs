//! Conversion by force of what is not 7-bit (RFC 6152 §3), for servers that take nothing else.
//!
//! What changes, and what does not:
//! * A text with octets above 127, NUL or lines of more than 998 octets becomes quoted-printable, or base64 where that is
//!   shorter; any other content becomes base64. Decoded, every content is the same, octet for octet.
//! * Multiparts and embedded messages may not be encoded themselves (RFC 2046 §5), so their parts are. Labels of `8bit`
//!   and `binary` become `7bit`.
//! * Content in an encoding nobody knows becomes `application/octet-stream` (RFC 2045 §6.4), and so does what claims to have parts but
//!   cannot be looked into.
//! * Raw text outside ASCII in headers becomes encoded-words and RFC 2231 parameters; it is read as UTF-8, else as windows-1252. Domains
//!   get their ASCII form. Ids are percent-encoded, alike in every field, so that threads hold together. In fields that know none of this
//!   (Received, signatures), and in the text around the parts of a multipart, such characters become `?`.
//! * An address whose local part is outside ASCII cannot be written: the conversion fails, and so does delivery
//!   (RFC 6531 §3.6).
//! * Header lines of more than 998 octets are folded; a single word that long becomes encoded-words in a field of text, and stays as it is
//!   in a field with a grammar.
//! * No field is dropped. Signatures (DKIM-Signature, `multipart/signed`, ARC) stay as they are and no longer verify
//!   where what they sign has changed: nobody is led to believe anything else.

mod field;

use std::collections::VecDeque;
use std::ops::Range;

use crate::description::{Description, Facts, Kind, Part};
use crate::header;
use crate::transfer::{Decoder, Encoder, Encoding};
use crate::{Error, slice};

pub(crate) use field::phrase;

/// Largest header that is rewritten, in bytes; a header that is fine as it is may be of any size.
pub const MAX_HEADER: u64 = 1024 * 1024;

/// Whether a message needs it, for a server that has neither 8BITMIME nor SMTPUTF8.
pub fn is_needed(facts: &Facts) -> bool {
    facts.eight_bit_body || facts.eight_bit_header || facts.nul || facts.long_lines
}

/// Converts a whole message in memory.
pub fn convert(message: &[u8], description: &Description) -> Result<Vec<u8>, Error> {
    let mut converter = Converter::new(description)?;
    let mut out = Vec::with_capacity(message.len() + message.len() / 4);
    while let Some(range) = converter.wants() {
        converter.push(slice(message, range), &mut out)?;
    }
    Ok(out)
}

/// Converts a message that is read piece by piece; it holds one header at most.
///
/// ```text
/// while let Some(range) = converter.wants() {
///     // read any part of the range, from its start, at least a byte
///     converter.push(&bytes, &mut out)?;
///     // send out
/// }
/// ```
#[derive(Debug)]
pub struct Converter {
    pieces: VecDeque<Piece>,
    /// Of the header being collected.
    block: Vec<u8>,
}

impl Converter {
    /// Everything becomes 7-bit.
    pub fn new(description: &Description) -> Result<Self, Error> {
        Self::plan(description, false, 0)
    }

    /// The same, leaving out the first `skip` bytes, which must be whole fields of the message's header.
    pub fn skipping(description: &Description, skip: u64) -> Result<Self, Error> {
        Self::plan(description, false, skip)
    }

    /// For a server that has 8BITMIME but not SMTPUTF8: headers become ASCII; of contents, only those with NUL or long lines change.
    pub fn for_eight_bit(description: &Description, skip: u64) -> Result<Self, Error> {
        Self::plan(description, true, skip)
    }

    fn plan(description: &Description, eight_bit: bool, skip: u64) -> Result<Self, Error> {
        let mut plan = Plan {
            pieces: VecDeque::new(),
            eight_bit,
            skip,
        };
        plan.part(&description.structure, true)?;
        Ok(Self {
            pieces: plan.pieces,
            block: Vec::new(),
        })
    }

    /// The bytes of the message that are wanted next, never an empty range; `None`: it is done.
    pub fn wants(&self) -> Option<Range<u64>> {
        self.pieces.front().map(|piece| piece.range.clone())
    }

    /// Takes bytes from the start of what is wanted, and appends what they become.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let Some(piece) = self.pieces.front_mut() else {
            return Err(Error::Mismatch);
        };
        let left = piece.range.end - piece.range.start;
        if bytes.is_empty() || bytes.len() as u64 > left {
            return Err(Error::Mismatch);
        }
        piece.range.start += bytes.len() as u64;
        let ends = piece.range.is_empty();
        match &mut piece.work {
            Work::Copy => out.extend_from_slice(bytes),
            Work::Ascii { column } => ascii(bytes, column, out),
            Work::Header(change) => {
                self.block.extend_from_slice(bytes);
                if ends {
                    change.rewrite(&self.block, out)?;
                    self.block = Vec::new();
                }
            }
            Work::Encode(encode) => {
                out.append(&mut encode.before);
                encode.push(bytes, out);
            }
        }
        if ends
            && let Some(Piece {
                work: Work::Encode(encode),
                ..
            }) = self.pieces.pop_front()
        {
            encode.finish(out, self.pieces.is_empty());
        }
        Ok(())
    }
}

/// A stretch of the message and what becomes of it.
#[derive(Debug)]
struct Piece {
    range: Range<u64>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Copy,
    /// Text nobody decodes, around the parts of a multipart.
    Ascii {
        column: usize,
    },
    Header(Change),
    Encode(Box<Encode>),
}

/// How a header changes beside becoming ASCII.
#[derive(Debug, Clone, Copy)]
struct Change {
    /// What Content-Transfer-Encoding becomes.
    encoding: Option<&'static str>,
    /// Content-Type becomes `application/octet-stream`.
    octets: bool,
    /// The header of a message: an encoding needs MIME-Version.
    is_message: bool,
    /// There is something behind the header.
    has_body: bool,
}

impl Change {
    fn rewrite(self, block: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let mut encoding = self.encoding;
        let mut has_type = false;
        let mut has_version = false;
        let mut end = 0;
        for field in header::fields(block) {
            // A line that is no field stays, as far as it can.
            ascii(&block[end..field.raw.start], &mut 0, out);
            end = field.raw.end;
            has_version |= field.is("mime-version");
            if self.octets && field.is("content-type") {
                if !std::mem::replace(&mut has_type, true) {
                    out.extend_from_slice(b"Content-Type: application/octet-stream\r\n");
                }
            } else if self.encoding.is_some() && field.is("content-transfer-encoding") {
                write_encoding(encoding.take(), out);
            } else {
                field::convert(&field, block, out)?;
            }
        }
        if self.octets && !has_type {
            out.extend_from_slice(b"Content-Type: application/octet-stream\r\n");
        }
        if self.is_message && self.encoding.is_some() && !has_version {
            out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        }
        write_encoding(encoding, out);
        if self.has_body || end < block.len() {
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }
}

fn write_encoding(name: Option<&str>, out: &mut Vec<u8>) {
    if let Some(name) = name {
        out.extend_from_slice(format!("Content-Transfer-Encoding: {name}\r\n").as_bytes());
    }
}

/// A content on its way from one encoding to another.
#[derive(Debug)]
struct Encode {
    /// What is written first: the header of a part that has none.
    before: Vec<u8>,
    decoder: Decoder,
    encoder: Encoder,
    decoded: Vec<u8>,
    base64: bool,
}

impl Encode {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.decoded.clear();
        self.decoder.push(bytes, &mut self.decoded);
        self.encoder.push(&self.decoded, out);
    }

    fn finish(self, out: &mut Vec<u8>, is_last: bool) {
        let Self {
            decoder,
            mut encoder,
            mut decoded,
            base64,
            ..
        } = self;
        decoded.clear();
        decoder.finish(&mut decoded);
        encoder.push(&decoded, out);
        encoder.finish(out);
        if is_last && base64 {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Octets above 127 and NUL become `?`; too long a line is broken.
fn ascii(bytes: &[u8], column: &mut usize, out: &mut Vec<u8>) {
    const MAX_COLUMN: usize = 990;
    for &byte in bytes {
        if byte == b'\n' {
            *column = 0;
        } else if *column == MAX_COLUMN {
            // The space keeps what follows from being taken for a delimiter.
            out.extend_from_slice(b"\r\n ");
            *column = 2;
        } else {
            *column += 1;
        }
        out.push(if byte == 0 || !byte.is_ascii() { b'?' } else { byte });
    }
}

struct Plan {
    pieces: VecDeque<Piece>,
    eight_bit: bool,
    skip: u64,
}

impl Plan {
    fn part(&mut self, part: &Part, is_message: bool) -> Result<(), Error> {
        match part.kind() {
            Kind::Multipart => {
                self.header(part, is_message, self.container_label(part), false)?;
                let mut from = part.body_start;
                for child in &part.children {
                    self.around(part, from..child.header_start);
                    self.part(child, false)?;
                    from = child.body_end;
                }
                self.around(part, from..part.body_end);
                Ok(())
            }
            Kind::Message => {
                self.header(part, is_message, self.container_label(part), false)?;
                part.children.iter().try_for_each(|child| self.part(child, true))
            }
            Kind::Text | Kind::Other => self.leaf(part, is_message),
        }
    }

    fn leaf(&mut self, part: &Part, is_message: bool) -> Result<(), Error> {
        let body = part.body_range();
        if !part.unsafe_lines && (self.eight_bit || part.high_octets == 0) {
            self.header(part, is_message, self.container_label(part), false)?;
            self.add(body, Work::Copy);
            return Ok(());
        }
        let claims_parts = part.shown_type().0 != part.media_type;
        let (decode, encode, octets) = match Encoding::from_name(&part.encoding) {
            Some(Encoding::Identity) if part.kind() == Kind::Text => {
                (Encoding::Identity, denser(part), false)
            }
            Some(Encoding::Identity) => (Encoding::Identity, Encoding::Base64, claims_parts),
            Some(known) => (known, known, claims_parts),
            None => (Encoding::Identity, Encoding::Base64, true),
        };
        let (name, encoder) = match encode {
            Encoding::QuotedPrintable => ("quoted-printable", Encoder::quoted_printable()),
            _ => ("base64", Encoder::base64()),
        };
        let mut before = Vec::new();
        if part.header_range().is_empty() {
            // A letter typed without header gets one; the rest of too many parts cannot.
            if !is_message {
                if part.media_type != "text" {
                    return Err(Error::TooManyParts);
                }
            } else {
                before.extend_from_slice(b"MIME-Version: 1.0\r\n");
            }
            write_encoding(Some(name), &mut before);
            before.extend_from_slice(b"\r\n");
        } else {
            self.header(part, is_message, Some(name), octets)?;
        }
        let base64 = name == "base64";
        let encode = Encode {
            before,
            decoder: Decoder::new(decode),
            encoder,
            decoded: Vec::new(),
            base64,
        };
        self.add(body, Work::Encode(Box::new(encode)));
        Ok(())
    }

    /// What a label that promises more than 7 bits becomes.
    fn container_label(&self, part: &Part) -> Option<&'static str> {
        match (part.encoding.as_str(), self.eight_bit) {
            ("8bit" | "8-bit", false) | ("binary", false) => Some("7bit"),
            ("binary", true) => Some("8bit"),
            _ => None,
        }
    }

    fn header(
        &mut self,
        part: &Part,
        is_message: bool,
        encoding: Option<&'static str>,
        octets: bool,
    ) -> Result<(), Error> {
        let mut range = part.header_range();
        range.start = (range.start + std::mem::take(&mut self.skip)).min(range.end);
        let fine = encoding.is_none() && !octets && !part.eight_bit_header && !part.long_header_lines;
        if fine {
            self.add(range, Work::Copy);
        } else if range.end - range.start > MAX_HEADER {
            return Err(Error::HeaderTooLarge);
        } else {
            self.add(
                range,
                Work::Header(Change {
                    encoding,
                    octets,
                    is_message,
                    has_body: part.size() > 0,
                }),
            );
        }
        Ok(())
    }

    fn around(&mut self, part: &Part, range: Range<u64>) {
        // Without parts of their own these octets bear no encoding, so 8BITMIME may keep them.
        if part.unsafe_lines || (part.high_octets > 0 && !self.eight_bit) {
            self.add(range, Work::Ascii { column: 0 });
        } else {
            self.add(range, Work::Copy);
        }
    }

    fn add(&mut self, range: Range<u64>, work: Work) {
        if range.is_empty() {
            return;
        }
        if let (
            Work::Copy,
            Some(Piece {
                range: last,
                work: Work::Copy,
            }),
        ) = (&work, self.pieces.back_mut())
            && last.end == range.start
        {
            last.end = range.end;
            return;
        }
        self.pieces.push_back(Piece { range, work });
    }
}

/// Whichever is shorter for a text: an octet above 127 takes three in quoted-printable, any octet takes 4/3 in base64.
fn denser(part: &Part) -> Encoding {
    if part.high_octets.saturating_mul(6) <= part.size() {
        Encoding::QuotedPrintable
    } else {
        Encoding::Base64
    }
}

#[cfg(test)]
mod tests;
