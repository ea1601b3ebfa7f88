//! Framing: where a command ends, before anything is made of it.
//!
//! A command is lines and literals: a line that ends in `{n}`, `{n+}` or `~{n}` is continued by n octets and a further
//! line (RFC 9051 §4.3, RFC 7888, RFC 3516). The framer only looks; the octets stay in the driver's buffer until a
//! command is whole.

/// What the front of the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Not enough to say.
    Incomplete,
    /// A whole command: this many octets, then CRLF.
    Command(usize),
    /// A line that announces a literal ends here, CRLF included; what to do with the literal is to be said.
    Literal(Literal),
    /// Lines of more octets than allowed; nothing was found to end them yet.
    TooLong,
    /// An LF without CR is the last of this many octets.
    BareLineEnd(usize),
}

/// `literal = "{" number64 ["+"] "}" CRLF *CHAR8`, `literal8 = "~{" number64 ["+"] "}" CRLF *OCTET`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Literal {
    /// Octets of the input up to the literal's first.
    pub at: usize,
    /// Octets of the literal.
    pub size: u64,
    /// `{n}`: the client waits for a continuation.
    pub synchronising: bool,
    /// `~{n}`
    pub literal8: bool,
}

/// How far the front of the input has been looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Framer {
    /// Where the current line begins.
    line_start: u32,
    /// No LF before this.
    searched: u32,
    /// Octets of literals before the current line.
    literals: u32,
}

impl Framer {
    /// Looks on. `limit`: octets of all lines together.
    pub fn look(&mut self, input: &[u8], limit: usize) -> Frame {
        let from = self.searched as usize;
        let Some(unseen) = input.get(from..) else {
            return Frame::Incomplete;
        };
        let Some(found) = memchr::memchr(b'\n', unseen) else {
            if input.len() - self.literals as usize > limit {
                return Frame::TooLong;
            }
            self.searched = u32::try_from(input.len()).unwrap_or(u32::MAX);
            return Frame::Incomplete;
        };
        let end = from + found + 1;
        // The limit comes first, so that how the octets were cut into pieces makes no difference.
        if end - self.literals as usize > limit {
            return Frame::TooLong;
        }
        let line = input.get(self.line_start as usize..end).unwrap_or_default();
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Frame::BareLineEnd(end);
        };
        match announced(line) {
            Some((size, synchronising, literal8)) => Frame::Literal(Literal {
                at: end,
                size,
                synchronising,
                literal8,
            }),
            None => Frame::Command(end - 2),
        }
    }

    /// The literal is part of the command: look on behind it.
    pub fn include(&mut self, literal: Literal) {
        let size = u32::try_from(literal.size).unwrap_or(u32::MAX);
        self.literals = self.literals.saturating_add(size);
        self.line_start = u32::try_from(literal.at).unwrap_or(u32::MAX).saturating_add(size);
        self.searched = self.line_start;
    }

    /// Where the line being looked at begins.
    pub fn line_start(&self) -> usize {
        self.line_start as usize
    }

    /// Octets of literals included so far.
    pub fn literals(&self) -> usize {
        self.literals as usize
    }
}

/// The literal a line announces, if it does: size, synchronising, literal8. A size beyond 64 bits is announced as the largest.
pub(crate) fn announced(line: &[u8]) -> Option<(u64, bool, bool)> {
    let inside = line.strip_suffix(b"}")?;
    let (inside, synchronising) = match inside.strip_suffix(b"+") {
        Some(inside) => (inside, false),
        None => (inside, true),
    };
    let brace = memchr::memrchr(b'{', inside)?;
    let (before, digits) = (inside.get(..brace)?, inside.get(brace + 1..)?);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0u64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    Some((size, synchronising, before.ends_with(b"~")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_literals() {
        let mut framer = Framer::default();
        let input = b"a LOGIN {3}\r\nbob {6+}\r\nhu\ngry\r\nb NOOP\r\n";
        let Frame::Literal(first) = framer.look(input, 100) else {
            panic!()
        };
        assert_eq!(
            first,
            Literal {
                at: 13,
                size: 3,
                synchronising: true,
                literal8: false
            }
        );
        framer.include(first);
        let Frame::Literal(second) = framer.look(input, 100) else {
            panic!()
        };
        assert_eq!(
            second,
            Literal {
                at: 23,
                size: 6,
                synchronising: false,
                literal8: false
            }
        );
        framer.include(second);
        assert_eq!(framer.literals(), 9);
        assert_eq!(framer.look(input, 100), Frame::Command(29));
    }

    #[test]
    fn octet_by_octet() {
        let input = b"a X ~{2}\r\n\r\n\r\n";
        let mut framer = Framer::default();
        for end in 0..10 {
            assert_eq!(framer.look(&input[..end], 100), Frame::Incomplete);
        }
        let Frame::Literal(literal) = framer.look(&input[..10], 100) else {
            panic!()
        };
        assert!(literal.literal8);
        framer.include(literal);
        for end in 10..14 {
            assert_eq!(framer.look(&input[..end], 100), Frame::Incomplete);
        }
        assert_eq!(framer.look(input, 100), Frame::Command(12));
    }

    #[test]
    fn limits_and_line_ends() {
        assert_eq!(Framer::default().look(b"abcdef", 5), Frame::TooLong);
        assert_eq!(Framer::default().look(b"abcd\r\n", 5), Frame::TooLong);
        assert_eq!(Framer::default().look(b"abc\r\n", 5), Frame::Command(3));
        assert_eq!(Framer::default().look(b"abc\nd\r\n", 50), Frame::BareLineEnd(4));
    }

    #[test]
    fn what_announces_a_literal() {
        assert_eq!(
            announced(b"a {99999999999999999999999}"),
            Some((u64::MAX, true, false))
        );
        for not in [
            &b"a {}"[..],
            b"a {+}",
            b"a {1",
            b"a 1}",
            b"a {-1}",
            b"a {1 }",
            b"{1++}",
            b"",
        ] {
            assert_eq!(announced(not), None, "{not:?}");
        }
    }
}
