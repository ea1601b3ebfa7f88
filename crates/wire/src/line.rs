//! Lines, strictly: CRLF and nothing else ends one.

use bytes::{Bytes, BytesMut};

/// Why the next line cannot be taken. The session decides what it says and whether it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// No CRLF within the limit. Nothing was taken.
    #[error("line longer than {0} octets")]
    TooLong(usize),
    /// A CR without LF or an LF without CR. The bytes up to and with the culprit were taken.
    #[error("bare CR or LF; lines end with CRLF")]
    BareLineEnd,
}

/// The outcome of [`take_line`].
pub type Line = Result<Option<Bytes>, LineError>;

/// Takes one line off the front of `input`, without its CRLF; `Ok(None)` when it is not complete yet.
///
/// `limit` counts the octets with the CRLF (as RFC 5321 §4.5.3.1 does). A bare CR or LF never ends a line.
pub fn take_line(input: &mut BytesMut, limit: usize) -> Line {
    let window = &input[..input.len().min(limit)];
    match memchr::memchr2(b'\r', b'\n', window) {
        Some(at) if window[at] == b'\r' && window.get(at + 1) == Some(&b'\n') => {
            let line = input.split_to(at).freeze();
            bytes::Buf::advance(input, 2);
            Ok(Some(line))
        }
        Some(at) if window[at] == b'\r' && at + 1 == window.len() => {
            if window.len() == limit {
                Err(LineError::TooLong(limit))
            } else {
                Ok(None)
            }
        }
        Some(at) => {
            bytes::Buf::advance(input, at + 1);
            Err(LineError::BareLineEnd)
        }
        None if window.len() == limit => Err(LineError::TooLong(limit)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, limit: usize) -> (Vec<Line>, String) {
        let mut input = BytesMut::from(text);
        let mut seen = Vec::new();
        for _ in 0..10 {
            let line = take_line(&mut input, limit);
            let stop = matches!(line, Ok(None) | Err(LineError::TooLong(_)));
            seen.push(line);
            if stop {
                break;
            }
        }
        (seen, String::from_utf8(input.to_vec()).unwrap())
    }

    #[test]
    fn crlf_and_nothing_else_ends_a_line() {
        let (seen, rest) = lines("one\r\ntwo\nthree\rfour\r\nfi\r", 100);
        let line = |text: &'static str| Ok(Some(Bytes::from_static(text.as_bytes())));
        assert_eq!(
            seen,
            [
                line("one"),
                Err(LineError::BareLineEnd),
                Err(LineError::BareLineEnd),
                line("four"),
                Ok(None)
            ]
        );
        assert_eq!(rest, "fi\r");
    }

    #[test]
    fn the_limit_counts_the_line_end() {
        assert_eq!(lines("abc\r\n", 5).0[0], Ok(Some(Bytes::from_static(b"abc"))));
        assert_eq!(lines("abcd\r\n", 5).0[0], Err(LineError::TooLong(5)));
        assert_eq!(lines("abcd", 5).0[0], Ok(None));
    }
}
