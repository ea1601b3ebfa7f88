//! What the octets of a message tell while they pass.

/// Facts about a message that has come in whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Some octet is above 127.
    pub eight_bit: bool,
    /// Some line is longer than the 1,000 octets (CRLF included) of RFC 5321 §4.5.3.1.6.
    pub long_line: bool,
}

/// The longest text line RFC 5321 §4.5.3.1.6 knows, without its CRLF.
pub(crate) const MAX_TEXT_LINE: u64 = 998;

/// Follows the line ends of content that is not dot-stuffed (BDAT), across its pieces.
#[derive(Debug, Default)]
pub(crate) struct LineScan {
    pub facts: Facts,
    after_cr: bool,
    line: u64,
}

impl LineScan {
    /// Looks at the next piece; false at a bare CR or LF.
    pub(crate) fn piece(&mut self, piece: &[u8]) -> bool {
        self.facts.eight_bit |= !piece.is_ascii();
        let mut rest = piece;
        loop {
            if self.after_cr {
                match rest.split_first() {
                    None => return true,
                    Some((b'\n', after)) => rest = after,
                    Some(_) => return false,
                }
                self.after_cr = false;
                self.end_line();
            }
            match memchr::memchr2(b'\r', b'\n', rest) {
                None => {
                    self.line += rest.len() as u64;
                    return true;
                }
                Some(at) if rest.get(at) == Some(&b'\r') => {
                    self.line += at as u64;
                    self.after_cr = true;
                    rest = rest.get(at + 1..).unwrap_or_default();
                }
                Some(_) => return false,
            }
        }
    }

    /// Content that may be anything (BINARYMIME) is looked at for octets above 127 only.
    pub(crate) fn binary_piece(&mut self, piece: &[u8]) {
        self.facts.eight_bit |= !piece.is_ascii();
    }

    /// The message ends; false when it ends with a CR.
    pub(crate) fn end(&mut self) -> bool {
        self.end_line();
        !self.after_cr
    }

    fn end_line(&mut self) {
        self.facts.long_line |= self.line > MAX_TEXT_LINE;
        self.line = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(pieces: &[&[u8]]) -> Option<Facts> {
        let mut scan = LineScan::default();
        (pieces.iter().all(|piece| scan.piece(piece)) && scan.end()).then_some(scan.facts)
    }

    #[test]
    fn line_ends_across_pieces() {
        assert!(scan(&[b"a\r", b"\nb", b"", b"\r\n"]).is_some());
        for bad in [
            &[&b"a\n"[..]][..],
            &[b"a\r", b"b"],
            &[b"a\r\r\n"],
            &[b"a\r"],
            &[b"\n"],
        ] {
            assert_eq!(scan(bad), None, "{bad:?}");
        }
        assert_eq!(scan(&[&[b'a'; 998], b"\r\n"]), Some(Facts::default()));
        assert_eq!(
            scan(&[&[b'a'; 998], b"\xe9\r\nx"]),
            Some(Facts {
                eight_bit: true,
                long_line: true
            })
        );
    }
}
