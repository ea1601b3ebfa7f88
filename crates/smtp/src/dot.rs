//! Transparency (RFC 5321 §4.5.2): a line that begins with a dot gets another one, and the lone dot ends the message.
//!
//! Only `CRLF "." CRLF` ends a message. Everything that looks like it with a bare CR or LF is how messages are
//! smuggled past servers that disagree about line ends, so such a message is refused as a whole.

use bytes::{Buf, Bytes, BytesMut};

use crate::body::{Facts, MAX_TEXT_LINE};

/// What an [`Unstuffer`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unstuffed {
    /// Content, cut out of the input without copying.
    Piece(Bytes),
    /// A bare CR or LF: from now on content is thrown away until the end. Reported once.
    BareLineEnd,
    /// The lone dot. The facts are about what came before it.
    End,
    /// Nothing more can be said without more input; at most two octets stay in it.
    NeedInput,
}

/// Takes a dot-stuffed message out of the input.
#[derive(Debug)]
pub(crate) struct Unstuffer {
    pub facts: Facts,
    at_line_start: bool,
    /// A bare CR or LF was seen.
    refused: bool,
    line: u64,
}

impl Unstuffer {
    /// Behind `DATA CRLF`, where a line begins.
    pub(crate) fn new() -> Self {
        Self {
            facts: Facts::default(),
            at_line_start: true,
            refused: false,
            line: 0,
        }
    }

    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Unstuffed {
        loop {
            if self.at_line_start && input.first() == Some(&b'.') {
                match (input.get(1), input.get(2)) {
                    (None, _) | (Some(b'\r'), None) => return Unstuffed::NeedInput,
                    (Some(b'\r'), Some(b'\n')) => {
                        input.advance(3);
                        return Unstuffed::End;
                    }
                    // The line is content without its first dot; bare line ends behind it are found below.
                    _ => input.advance(1),
                }
            }
            let (end, violation) = self.scan(input);
            if end > 0 {
                self.facts.eight_bit |= !input[..end].is_ascii();
                let piece = input.split_to(end).freeze();
                if !self.refused {
                    // A violation right behind the piece is found again by the next call.
                    return Unstuffed::Piece(piece);
                }
            }
            if violation {
                // Consume the culprit: a CR that is followed by something other than LF, or a LF without CR.
                input.advance(1);
                self.at_line_start = false;
                self.line = 0;
                if !std::mem::replace(&mut self.refused, true) {
                    return Unstuffed::BareLineEnd;
                }
            } else if end == 0 {
                return Unstuffed::NeedInput;
            }
        }
    }

    /// How far content goes without interruption: to a stuffed dot, to a bare line end (then true), or as far as the
    /// input can be judged.
    fn scan(&mut self, input: &[u8]) -> (usize, bool) {
        let mut at = 0;
        loop {
            let Some(rest) = input.get(at..) else {
                return (at, false);
            };
            let Some(found) = memchr::memchr2(b'\r', b'\n', rest) else {
                if !rest.is_empty() {
                    self.at_line_start = false;
                    self.line += rest.len() as u64;
                }
                return (input.len(), false);
            };
            if found > 0 {
                self.at_line_start = false;
            }
            self.line += found as u64;
            at += found;
            match (input.get(at), input.get(at + 1)) {
                (Some(b'\r'), Some(b'\n')) => {
                    self.facts.long_line |= self.line > MAX_TEXT_LINE;
                    self.line = 0;
                    self.at_line_start = true;
                    at += 2;
                    if input.get(at) == Some(&b'.') {
                        return (at, false);
                    }
                }
                // Wait for what follows the CR; what is before it has been counted.
                (Some(b'\r'), None) => return (at, false),
                _ => return (at, true),
            }
        }
    }
}

/// Dot-stuffs a message on its way out.
///
/// A bare CR or LF in the content is written as CRLF: this half never sends what another server could take for the
/// end of a message.
#[derive(Debug)]
pub struct Stuffer {
    at_line_start: bool,
    after_cr: bool,
}

impl Default for Stuffer {
    fn default() -> Self {
        Self {
            at_line_start: true,
            after_cr: false,
        }
    }
}

impl Stuffer {
    /// Appends the next piece of content.
    pub fn encode(&mut self, piece: &[u8], output: &mut BytesMut) {
        output.reserve(piece.len() + 16);
        let mut rest = piece;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.after_cr) {
                output.extend_from_slice(b"\r\n");
                self.at_line_start = true;
                if first == b'\n' {
                    rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
            }
            let line = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            if line > 0 {
                if self.at_line_start && first == b'.' {
                    output.extend_from_slice(b".");
                }
                self.at_line_start = false;
            }
            let (text, after) = rest.split_at(line);
            output.extend_from_slice(text);
            rest = match after.split_first() {
                None => after,
                Some((b'\r', after)) => {
                    self.after_cr = true;
                    after
                }
                Some((_, after)) => {
                    output.extend_from_slice(b"\r\n");
                    self.at_line_start = true;
                    after
                }
            };
        }
    }

    /// Appends the end of the message, behind a CRLF of its own if the content has none at its end.
    pub fn finish(self, output: &mut BytesMut) {
        if self.after_cr || !self.at_line_start {
            output.extend_from_slice(b"\r\n");
        }
        output.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds the pieces; content, whether it was refused, and what is left behind the end.
    fn unstuff(pieces: &[&[u8]]) -> Option<(Vec<u8>, bool, Vec<u8>)> {
        let (mut unstuffer, mut input) = (Unstuffer::new(), BytesMut::new());
        let (mut content, mut refused) = (Vec::new(), false);
        let mut pieces = pieces.iter();
        loop {
            match unstuffer.next(&mut input) {
                Unstuffed::Piece(piece) => content.extend_from_slice(&piece),
                Unstuffed::BareLineEnd => {
                    assert!(!refused, "reported once");
                    refused = true;
                }
                Unstuffed::End => {
                    pieces.for_each(|piece| input.extend_from_slice(piece));
                    return Some((content, refused, input.to_vec()));
                }
                Unstuffed::NeedInput => {
                    assert!(input.len() <= 2);
                    input.extend_from_slice(pieces.next()?);
                }
            }
        }
    }

    fn fine(content: &[u8], rest: &[u8]) -> Option<(Vec<u8>, bool, Vec<u8>)> {
        Some((content.to_vec(), false, rest.to_vec()))
    }

    #[test]
    fn dots_come_off() {
        assert_eq!(unstuff(&[b".\r\nQUIT"]), fine(b"", b"QUIT"));
        assert_eq!(
            unstuff(&[b"a\r\n..b\r\n...\r\n.\r\nX"]),
            fine(b"a\r\n.b\r\n..\r\n", b"X")
        );
        assert_eq!(unstuff(&[b".a\r\n.\r\n"]), fine(b"a\r\n", b""));
        assert_eq!(unstuff(&[b"a\r", b"\n", b".", b"\r", b"\n"]), fine(b"a\r\n", b""));
        assert_eq!(unstuff(&[b"a.\r\n.\r\n"]), fine(b"a.\r\n", b""));
        assert_eq!(unstuff(&[b"a\r\n"]), None);
    }

    #[test]
    fn nothing_but_crlf_dot_crlf_ends_a_message() {
        for inner in [
            "\n.\n",
            "\n.\r\n",
            "\r.\r",
            "\r.\r\n",
            "\r\n.\n",
            "\r\n.\r",
            "\r\r\n.\r\n",
            "\n\r\n.\n",
            "\r\n.\r\r\n",
            "x\n.\r\n",
        ] {
            let text = format!("a{inner}MAIL FROM:<evil@x>\r\nb\r\n.\r\nQUIT\r\n");
            // `\r\r\n.\r\n` does end with CRLF "." CRLF, but behind a bare CR: refused there, the rest is commands.
            let (_, refused, rest) = unstuff(&[text.as_bytes()]).unwrap();
            assert!(refused, "{inner:?}");
            if inner != "\r\r\n.\r\n" {
                assert_eq!(rest, b"QUIT\r\n", "{inner:?}");
            }
        }
    }

    #[test]
    fn lines_are_measured() {
        let facts = |text: &[u8]| {
            let (mut unstuffer, mut input) = (Unstuffer::new(), BytesMut::from(text));
            while !matches!(unstuffer.next(&mut input), Unstuffed::End | Unstuffed::NeedInput) {}
            unstuffer.facts
        };
        let line = |length: usize| [&vec![b'a'; length][..], b"\r\n.\r\n"].concat();
        assert!(!facts(&line(998)).long_line);
        assert!(facts(&line(999)).long_line);
        assert!(facts("é\r\n.\r\n".as_bytes()).eight_bit);
    }

    #[test]
    fn bare_line_ends_become_crlf_on_the_way_out() {
        let mut output = BytesMut::new();
        let mut stuffer = Stuffer::default();
        for piece in [&b"a\n.b\rc\r"[..], b"\n.", b"\r", b".d"] {
            stuffer.encode(piece, &mut output);
        }
        stuffer.finish(&mut output);
        assert_eq!(&output[..], b"a\r\n..b\r\nc\r\n..\r\n..d\r\n.\r\n");
    }

    proptest! {
        #[test]
        fn what_is_stuffed_comes_back(
            lines in prop::collection::vec("[.a]{0,4}", 0..8), cuts in prop::collection::vec(0usize..64, 0..6), split in 0usize..40,
        ) {
            let content: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let (mut stuffer, mut wire) = (Stuffer::default(), BytesMut::new());
            let (front, back) = content.as_bytes().split_at(split.min(content.len()));
            stuffer.encode(front, &mut wire);
            stuffer.encode(back, &mut wire);
            stuffer.finish(&mut wire);
            wire.extend_from_slice(b"QUIT");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(wire.len())).collect();
            cuts.extend([0, wire.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &wire[cut[0]..cut[1]]).collect();
            prop_assert_eq!(unstuff(&pieces), fine(content.as_bytes(), b"QUIT"));
        }
    }
}
