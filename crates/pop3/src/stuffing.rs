//! Multi-line responses: byte-stuffing and its reverse (RFC 1939 §3), and the cut that TOP makes (§7).

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memmem};

/// Writes a message of any size, piece by piece, as a multi-line response: pieces in, stuffed bytes out.
///
/// Stuffed is a dot at the start of every line, whether CRLF or a bare LF ended the line before it: a client that takes
/// a bare LF for a line end must not find the end of the response inside a message.
#[derive(Debug)]
pub struct Stuffer {
    /// The last two bytes written.
    tail: [u8; 2],
    top: Option<Top>,
}

/// What TOP still sends.
#[derive(Debug)]
struct Top {
    in_header: bool,
    /// Whether the current line has more than a CR in it.
    line_has_text: bool,
    lines: u64,
}

impl Stuffer {
    /// For a whole message.
    pub fn new() -> Self {
        // Before the message stands the line with `+OK`.
        Self {
            tail: *b"\r\n",
            top: None,
        }
    }

    /// For the header of a message, the empty line, and `lines` lines of the body.
    pub fn top(lines: u64) -> Self {
        Self {
            top: Some(Top {
                in_header: true,
                line_has_text: false,
                lines,
            }),
            ..Self::new()
        }
    }

    /// Writes a piece; whether more of the message is wanted.
    pub fn write(&mut self, piece: &[u8], output: &mut BytesMut) -> bool {
        let (piece, more) = match &mut self.top {
            Some(top) => top.cut(piece),
            None => (piece, true),
        };
        self.stuff(piece, output);
        more
    }

    /// Writes the end: the line end a message may lack, and the final dot.
    pub fn finish(self, output: &mut BytesMut) {
        if &self.tail != b"\r\n" {
            output.extend_from_slice(b"\r\n");
        }
        output.extend_from_slice(b".\r\n");
    }

    fn stuff(&mut self, piece: &[u8], output: &mut BytesMut) {
        let Some(&last) = piece.last() else { return };
        // One copy in long runs: what has no line that begins with a dot is copied whole.
        output.reserve(piece.len() + 1);
        if self.tail[1] == b'\n' && piece.first() == Some(&b'.') {
            output.extend_from_slice(b".");
        }
        let mut rest = piece;
        while let Some(at) = memmem::find(rest, b"\n.") {
            let (line, behind) = rest.split_at(at + 1);
            output.extend_from_slice(line);
            output.extend_from_slice(b".");
            // The dot itself goes with what follows: it cannot be the start of another match.
            rest = behind;
        }
        output.extend_from_slice(rest);
        let before = piece.len().checked_sub(2).and_then(|at| piece.get(at)).copied();
        self.tail = [before.unwrap_or(self.tail[1]), last];
    }
}

impl Default for Stuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Top {
    /// The part of a piece that is still sent, and whether more may follow.
    fn cut<'a>(&mut self, piece: &'a [u8]) -> (&'a [u8], bool) {
        let mut sent = 0;
        while self.in_header || self.lines > 0 {
            let rest = piece.get(sent..).unwrap_or_default();
            let Some(at) = memchr(b'\n', rest) else {
                self.line_has_text |= rest.iter().any(|byte| *byte != b'\r');
                return (piece, true);
            };
            let line = rest.get(..at).unwrap_or_default();
            let has_text = self.line_has_text || line.iter().any(|byte| *byte != b'\r');
            self.line_has_text = false;
            sent += at + 1;
            if self.in_header {
                self.in_header = has_text;
            } else {
                self.lines -= 1;
            }
        }
        (piece.get(..sent).unwrap_or_default(), false)
    }
}

/// What [`Unstuffer::next`] finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Unstuffed {
    /// A piece of the message, cut off the input without a copy. It ends anywhere.
    Piece(Bytes),
    /// The final dot was taken.
    End,
    /// The input has nothing more that can be used.
    NeedInput,
}

/// Reads a multi-line response back: stuffed bytes in, pieces out.
#[derive(Debug)]
pub struct Unstuffer {
    at_line_start: bool,
}

impl Unstuffer {
    /// For the lines behind `+OK`.
    pub fn new() -> Self {
        Self { at_line_start: true }
    }

    /// Takes what it can from the front of the input.
    pub fn next(&mut self, input: &mut BytesMut) -> Unstuffed {
        if self.at_line_start && input.first() == Some(&b'.') {
            match input.get(1..3) {
                Some(b"\r\n") => {
                    input.advance(3);
                    return Unstuffed::End;
                }
                Some(_) => input.advance(1),
                // With `.` or `.CR` alone nobody can tell yet.
                None if matches!(input.get(1), None | Some(b'\r')) => return Unstuffed::NeedInput,
                None => input.advance(1),
            }
        }
        if input.is_empty() {
            return Unstuffed::NeedInput;
        }
        let length = memmem::find(input, b"\r\n.").map_or(input.len(), |at| at + 2);
        // A line end that is cut in two must be seen whole: keep a CR back, unless it is all there is to wait for.
        let held = usize::from(length == input.len() && length > 1 && input.last() == Some(&b'\r'));
        let piece = input.split_to(length - held).freeze();
        if piece.as_ref() == b"\r" {
            return self.lone_cr(piece, input);
        }
        self.at_line_start = piece.ends_with(b"\r\n");
        Unstuffed::Piece(piece)
    }

    /// A CR at the end of the input: it may be half a line end.
    fn lone_cr(&mut self, cr: Bytes, input: &mut BytesMut) -> Unstuffed {
        if input.is_empty() {
            input.extend_from_slice(&cr);
            return Unstuffed::NeedInput;
        }
        self.at_line_start = false;
        Unstuffed::Piece(cr)
    }
}

impl Default for Unstuffer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stuffed(mut stuffer: Stuffer, pieces: &[&[u8]]) -> Vec<u8> {
        let mut output = BytesMut::new();
        for piece in pieces {
            if !stuffer.write(piece, &mut output) {
                break;
            }
        }
        stuffer.finish(&mut output);
        output.to_vec()
    }

    fn text(stuffer: Stuffer, pieces: &[&str]) -> String {
        let pieces: Vec<_> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        String::from_utf8(stuffed(stuffer, &pieces)).unwrap()
    }

    /// Takes a multi-line response that arrives in chunks; what was read, and what is left behind its end.
    fn unstuffed(response: &[u8], chunk: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut unstuffer = Unstuffer::new();
        let (mut input, mut message) = (BytesMut::new(), Vec::new());
        let mut chunks = response.chunks(chunk);
        loop {
            match unstuffer.next(&mut input) {
                Unstuffed::Piece(piece) => message.extend_from_slice(&piece),
                Unstuffed::NeedInput => input.extend_from_slice(chunks.next()?),
                Unstuffed::End => {
                    input.extend(chunks.flatten());
                    return Some((message, input.to_vec()));
                }
            }
        }
    }

    #[test]
    fn dots_at_line_starts_are_doubled() {
        assert_eq!(
            text(Stuffer::new(), &["a\r\n.b\r\n..\r\n.\r\nc.d\r\n"]),
            "a\r\n..b\r\n...\r\n..\r\nc.d\r\n.\r\n"
        );
        assert_eq!(
            text(Stuffer::new(), &[".", ".\r", "\n", ".", "x\r\n"]),
            "...\r\n..x\r\n.\r\n"
        );
        assert_eq!(text(Stuffer::new(), &[]), ".\r\n");
        assert_eq!(text(Stuffer::new(), &["no line end"]), "no line end\r\n.\r\n");
        assert_eq!(text(Stuffer::new(), &["a\r\n", "\r", "\n"]), "a\r\n\r\n.\r\n");
    }

    #[test]
    fn a_bare_line_feed_cannot_end_the_response() {
        assert_eq!(
            text(Stuffer::new(), &["a\n.\r\nDELE 1\r\n"]),
            "a\n..\r\nDELE 1\r\n.\r\n"
        );
        assert_eq!(text(Stuffer::new(), &["a\n"]), "a\n\r\n.\r\n");
    }

    #[test]
    fn top_sends_the_header_and_some_lines() {
        let message = "A: 1\r\nB: 2\r\n\r\none\r\n.two\r\n\r\nfour\r\n";
        assert_eq!(text(Stuffer::top(0), &[message]), "A: 1\r\nB: 2\r\n\r\n.\r\n");
        assert_eq!(
            text(Stuffer::top(2), &[message]),
            "A: 1\r\nB: 2\r\n\r\none\r\n..two\r\n.\r\n"
        );
        assert_eq!(
            text(Stuffer::top(9), &[message]),
            message.replace("\r\n.", "\r\n..") + ".\r\n"
        );
        assert_eq!(
            text(Stuffer::top(5), &["A: header only\r\n"]),
            "A: header only\r\n.\r\n"
        );
        assert_eq!(
            text(Stuffer::top(1), &["\r\n", "one\r\ntwo\r\n"]),
            "\r\none\r\n.\r\n"
        );
    }

    #[test]
    fn a_response_is_read_in_chunks_of_any_size() {
        let response = b"a\r\n..b\r\n\r\n.\r\n+OK next";
        for chunk in 1..response.len() {
            let (message, rest) = unstuffed(response, chunk).unwrap();
            assert_eq!(message, b"a\r\n.b\r\n\r\n", "{chunk}");
            assert_eq!(rest, b"+OK next", "{chunk}");
        }
        assert_eq!(unstuffed(b"a\r\n.", 2), None);
    }

    proptest! {
        #[test]
        fn a_message_survives_the_way(
            message in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200),
            piece in 1..20_usize,
            chunk in 1..20_usize,
        ) {
            // Bare line feeds before a dot are stuffed for the careless, which the careful read as one more dot.
            let message: Vec<u8> = String::from_utf8_lossy(&message).replace("\r\n", "\n").replace('\r', "").replace('\n', "\r\n").into_bytes();
            let pieces: Vec<_> = message.chunks(piece).collect();
            let response = stuffed(Stuffer::new(), &pieces);
            let (read, rest) = unstuffed(&response, chunk).unwrap();
            let mut expected = message.clone();
            if !expected.is_empty() && !expected.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(read, expected);
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn top_does_not_depend_on_pieces(
            message in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(b'a')], 0..100),
            lines in 0..5_u64,
            piece in 1..10_usize,
        ) {
            let pieces: Vec<_> = message.chunks(piece).collect();
            prop_assert_eq!(stuffed(Stuffer::top(lines), &pieces), stuffed(Stuffer::top(lines), &[&message]));
        }
    }
}
