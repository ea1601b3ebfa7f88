//! Content-Transfer-Encoding (RFC 2045 §6): tolerant decoders, strict encoders, both streaming.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Octets of content in a line of base64: 76 characters.
const LINE: usize = 57;
/// Longest line of quoted-printable, without its line end (RFC 2045 §6.7 (5)).
const MAX_LINE: usize = 76;

/// How content is written as octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `7bit`, `8bit`, `binary`: as it is.
    Identity,
    /// `base64`
    Base64,
    /// `quoted-printable`
    QuotedPrintable,
}

impl Encoding {
    /// By its name in any case; `None` for one that is not known, whose content cannot be read.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.trim();
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if ["", "7bit", "8bit", "binary", "7-bit", "8-bit"]
            .into_iter()
            .any(is)
        {
            Some(Self::Identity)
        } else if is("base64") {
            Some(Self::Base64)
        } else if is("quoted-printable") {
            Some(Self::QuotedPrintable)
        } else {
            None
        }
    }
}

/// Decodes the whole of a content.
pub fn decode(encoding: Encoding, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut decoder = Decoder::new(encoding);
    decoder.push(content, &mut out);
    decoder.finish(&mut out);
    out
}

/// A streaming decoder. Characters outside the base64 alphabet are stepped over, padding may stand anywhere; what is no
/// valid quoted-printable is kept as it is. No input fails.
#[derive(Debug)]
pub struct Decoder(State);

#[derive(Debug)]
enum State {
    Identity,
    Base64 { bits: u32, count: u8 },
    Quoted(Quoted),
}

impl Decoder {
    /// At the start of a content.
    pub fn new(encoding: Encoding) -> Self {
        Self(match encoding {
            Encoding::Identity => State::Identity,
            Encoding::Base64 => State::Base64 { bits: 0, count: 0 },
            Encoding::QuotedPrintable => State::Quoted(Quoted::default()),
        })
    }

    /// Decodes a piece to the end of `out`; never more octets than it is given, but for a few held back before.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match &mut self.0 {
            State::Identity => out.extend_from_slice(piece),
            State::Base64 { bits, count } => {
                out.reserve(piece.len() / 4 * 3 + 3);
                for &byte in piece {
                    base64_digit(byte, bits, count, out);
                }
            }
            State::Quoted(quoted) => quoted.push(piece, out),
        }
    }

    /// What was held back.
    pub fn finish(self, out: &mut Vec<u8>) {
        match self.0 {
            State::Identity => {}
            State::Base64 { bits, count } => end_quantum(bits, count, out),
            // A lone `=` at the end is a soft line break whose line end is not part of the content.
            State::Quoted(quoted) if quoted.escape.iter().any(|&byte| hex(byte).is_some()) => {
                out.extend_from_slice(&quoted.escape);
            }
            State::Quoted(_) => {}
        }
    }
}

const NOT_BASE64: u8 = 0xff;
const PADDING: u8 = 0xfe;

/// Value of each octet in base64.
const BASE64: [u8; 256] = {
    let mut table = [NOT_BASE64; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while value < 64 {
        table[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    table[b'=' as usize] = PADDING;
    table
};

fn base64_digit(byte: u8, bits: &mut u32, count: &mut u8, out: &mut Vec<u8>) {
    match BASE64[usize::from(byte)] {
        NOT_BASE64 => {}
        PADDING => {
            end_quantum(*bits, *count, out);
            (*bits, *count) = (0, 0);
        }
        value => {
            *bits = *bits << 6 | u32::from(value);
            *count += 1;
            if *count == 4 {
                let [_, first, second, third] = bits.to_be_bytes();
                out.extend_from_slice(&[first, second, third]);
                (*bits, *count) = (0, 0);
            }
        }
    }
}

/// Two digits are one octet, three are two; one is nothing.
fn end_quantum(bits: u32, count: u8, out: &mut Vec<u8>) {
    match count {
        2 => out.push((bits >> 4) as u8),
        3 => out.extend_from_slice(&[(bits >> 10) as u8, (bits >> 2) as u8]),
        _ => {}
    }
}

/// Quoted-printable between two pieces.
#[derive(Debug, Default)]
struct Quoted {
    /// `=` and what has come behind it: at most two octets, or `=` and white space (kept up to a bound).
    escape: Vec<u8>,
    /// White space that is dropped if the line ends behind it (RFC 2045 §6.7 (3)).
    space: Vec<u8>,
}

/// White space held back at most; a longer run is content.
const MAX_SPACE: usize = 1000;

impl Quoted {
    fn push(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        while !piece.is_empty() {
            if self.escape.is_empty() && self.space.is_empty() {
                let plain = piece
                    .iter()
                    .position(|byte| matches!(byte, b'=' | b' ' | b'\t'))
                    .unwrap_or(piece.len());
                out.extend_from_slice(&piece[..plain]);
                piece = &piece[plain..];
            }
            let Some((&byte, rest)) = piece.split_first() else {
                return;
            };
            piece = rest;
            if self.escape.is_empty() {
                self.outside(byte, out);
            } else {
                self.inside(byte, out);
            }
        }
    }

    fn outside(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            b' ' | b'\t' if self.space.len() < MAX_SPACE => return self.space.push(byte),
            b'\r' | b'\n' => self.space.clear(),
            _ => {}
        }
        out.append(&mut self.space);
        if byte == b'=' {
            self.escape.push(byte);
        } else {
            out.push(byte);
        }
    }

    fn inside(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (self.escape.as_slice(), byte) {
            (_, b'\n')
                if self.escape[1..]
                    .iter()
                    .all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) =>
            {
                return self.escape.clear();
            }
            ([_, space @ ..], b' ' | b'\t' | b'\r')
                if space.len() < MAX_SPACE && space.iter().all(|byte| matches!(byte, b' ' | b'\t')) =>
            {
                return self.escape.push(byte);
            }
            ([_], _) if hex(byte).is_some() => return self.escape.push(byte),
            ([_, high], _) => {
                if let (Some(high), Some(low)) = (hex(*high), hex(byte)) {
                    out.push(high << 4 | low);
                    return self.escape.clear();
                }
            }
            _ => {}
        }
        // Not an escape after all.
        out.append(&mut self.escape);
        self.outside(byte, out);
    }
}

/// A hexadecimal digit; lower case is tolerated.
pub(crate) fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// A streaming encoder: ASCII, lines of at most 76 characters, CRLF. The last line has no line end.
#[derive(Debug)]
pub struct Encoder(Writer);

#[derive(Debug)]
enum Writer {
    Base64 { held: Vec<u8>, lines: bool },
    Quoted(QuotedWriter),
}

impl Encoder {
    /// Base64.
    pub fn base64() -> Self {
        Self(Writer::Base64 {
            held: Vec::new(),
            lines: false,
        })
    }

    /// Quoted-printable for text: CRLF stays a line end; any other CR or LF is encoded, so decoding gives the same octets.
    /// Lines never begin with `-`, `.` or `From `, so they are neither delimiters nor touched on the way.
    pub fn quoted_printable() -> Self {
        Self(Writer::Quoted(QuotedWriter::default()))
    }

    /// Encodes a piece to the end of `out`.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match &mut self.0 {
            Writer::Base64 { held, lines } => base64_lines(held, lines, piece, out),
            Writer::Quoted(writer) => piece.iter().for_each(|&byte| writer.put(byte, out)),
        }
    }

    /// What was held back.
    pub fn finish(self, out: &mut Vec<u8>) {
        match self.0 {
            Writer::Base64 { held, mut lines } => {
                if !held.is_empty() {
                    base64_line(&held, &mut lines, out);
                }
            }
            Writer::Quoted(mut writer) => writer.end(out),
        }
    }
}

fn base64_lines(held: &mut Vec<u8>, lines: &mut bool, mut piece: &[u8], out: &mut Vec<u8>) {
    if !held.is_empty() {
        let (head, rest) = piece.split_at(piece.len().min(LINE - held.len()));
        held.extend_from_slice(head);
        piece = rest;
        if held.len() < LINE {
            return;
        }
        base64_line(held, lines, out);
        held.clear();
    }
    out.reserve(piece.len() / LINE * (MAX_LINE + 2));
    let whole = piece.chunks_exact(LINE);
    held.extend_from_slice(whole.remainder());
    whole.for_each(|line| base64_line(line, lines, out));
}

fn base64_line(line: &[u8], lines: &mut bool, out: &mut Vec<u8>) {
    if std::mem::replace(lines, true) {
        out.extend_from_slice(b"\r\n");
    }
    let mut text = [0; 76];
    // 57 octets make exactly 76 characters, so it always fits.
    let length = STANDARD.encode_slice(line, &mut text).unwrap_or_default();
    out.extend_from_slice(&text[..length]);
}

#[derive(Debug, Default)]
struct QuotedWriter {
    column: usize,
    /// A space or tab that has to be encoded if the line ends behind it.
    space: Option<u8>,
    /// A CR that may begin a line end.
    cr: bool,
}

impl QuotedWriter {
    fn put(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.cr {
            self.cr = false;
            if byte == b'\n' {
                if let Some(space) = self.space.take() {
                    self.escaped(space, out);
                }
                out.extend_from_slice(b"\r\n");
                self.column = 0;
                return;
            }
            self.release_space(out);
            self.escaped(b'\r', out);
        }
        match byte {
            b'\r' => self.cr = true,
            b' ' | b'\t' => {
                self.release_space(out);
                self.space = Some(byte);
            }
            _ => {
                self.release_space(out);
                match byte {
                    b'-' | b'.' | b'F' if self.column == 0 => self.escaped(byte, out),
                    b'!'..=b'<' | b'>'..=b'~' => {
                        // A soft break would bring it to a line's start.
                        if self.column + 1 > MAX_LINE - 1 && matches!(byte, b'-' | b'.' | b'F') {
                            self.escaped(byte, out);
                        } else {
                            self.literal(byte, out);
                        }
                    }
                    _ => self.escaped(byte, out),
                }
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.cr {
            self.release_space(out);
            self.escaped(b'\r', out);
        } else if let Some(space) = self.space.take() {
            self.escaped(space, out);
        }
    }

    fn release_space(&mut self, out: &mut Vec<u8>) {
        if let Some(space) = self.space.take() {
            self.literal(space, out);
        }
    }

    fn literal(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.make_room(1, out);
        out.push(byte);
    }

    fn escaped(&mut self, byte: u8, out: &mut Vec<u8>) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        self.make_room(3, out);
        out.extend_from_slice(&[
            b'=',
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ]);
    }

    fn make_room(&mut self, length: usize, out: &mut Vec<u8>) {
        if self.column + length > MAX_LINE - 1 {
            out.extend_from_slice(b"=\r\n");
            self.column = 0;
        }
        self.column += length;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(mut encoder: Encoder, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encoder.push(content, &mut out);
        encoder.finish(&mut out);
        out
    }

    #[test]
    fn quoted_printable_of_the_standard() {
        // RFC 2045 §6.7
        let text = b"Now's the time =\r\nfor all folk to come=\n to the aid of their country.";
        let decoded = decode(Encoding::QuotedPrintable, text);
        assert_eq!(
            decoded,
            b"Now's the time for all folk to come to the aid of their country."
        );
        assert_eq!(
            decode(Encoding::QuotedPrintable, b"a=C3=a9 \t\r\nb = \r\nc=zz=4"),
            b"a\xc3\xa9\r\nb c=zz=4"
        );
        assert_eq!(
            encode(Encoder::quoted_printable(), b"a \r\n=\xc3\n.-"),
            b"a=20\r\n=3D=C3=0A.-"
        );
        assert_eq!(
            encode(Encoder::quoted_printable(), b"--x\r\n.\r\nFrom "),
            b"=2D-x\r\n=2E\r\n=46rom=20"
        );
    }

    #[test]
    fn base64_of_the_standard() {
        // RFC 4648 §10
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(encode(Encoder::base64(), text.as_bytes()), encoded.as_bytes());
            assert_eq!(decode(Encoding::Base64, encoded.as_bytes()), text.as_bytes());
        }
        assert_eq!(decode(Encoding::Base64, b"Zm9v*\r\n Yg=\r\n=Zm8"), b"foobfo");
        assert_eq!(
            encode(Encoder::base64(), &[0; 58]),
            [vec![b'A'; 76], b"\r\nAA==".to_vec()].concat()
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            content in proptest::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'-'), Just(b'F'), any::<u8>()], 0..400),
            cut in 0..400_usize,
        ) {
            for (encoding, mut encoder) in [
                (Encoding::Base64, Encoder::base64()),
                (Encoding::QuotedPrintable, Encoder::quoted_printable()),
            ] {
                let (head, tail) = content.split_at(cut.min(content.len()));
                let mut out = Vec::new();
                encoder.push(head, &mut out);
                encoder.push(tail, &mut out);
                encoder.finish(&mut out);
                for line in out.split(|&byte| byte == b'\n') {
                    prop_assert!(line.len() <= 77 && line.is_ascii());
                    prop_assert!(!line.starts_with(b"-") && !line.starts_with(b"."));
                }
                let mut decoded = Vec::new();
                let mut decoder = Decoder::new(encoding);
                let (head, tail) = out.split_at(cut.min(out.len()));
                decoder.push(head, &mut decoded);
                decoder.push(tail, &mut decoded);
                decoder.finish(&mut decoded);
                prop_assert_eq!(&decoded, &content);
            }
        }

        #[test]
        fn garbage_decodes_alike_however_it_is_cut(
            garbage in proptest::collection::vec(prop_oneof![Just(b'='), Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'A'), any::<u8>()], 0..100),
        ) {
            for encoding in [Encoding::Base64, Encoding::QuotedPrintable] {
                let mut out = Vec::new();
                let mut decoder = Decoder::new(encoding);
                garbage.iter().for_each(|byte| decoder.push(std::slice::from_ref(byte), &mut out));
                decoder.finish(&mut out);
                prop_assert_eq!(out, decode(encoding, &garbage));
            }
        }
    }
}
