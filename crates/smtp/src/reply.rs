//! Replies: written by the server half, read by the client half.
//!
//! ```text
//! Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF     RFC 5321 §4.2
//! status-code ::= class "." subject "." detail                                               RFC 3463 §2
//! ```

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut, BytesMut};
use postrider_wire::{LineError, take_line};

/// The longest reply line read, CRLF included. RFC 5321 §4.5.3.1.5 says 512; some servers say more.
pub(crate) const MAX_LINE: usize = 2048;
/// The most lines of one reply, and the most octets of its text.
const MAX_LINES: usize = 128;
const MAX_TEXT: usize = 16 * 1024;
/// The most text written on one line, so that code, enhanced code and CRLF still fit into 512 octets.
const MAX_TEXT_LINE: usize = 490;

/// An enhanced status code (RFC 3463): `5.1.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl Enhanced {
    /// Reads `5.1.1`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let class = match parts.next()? {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        let number = |text: &str| -> Option<u16> {
            let digits = (1..=3).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
            if digits { text.parse().ok() } else { None }
        };
        let code = Self(class, number(parts.next()?)?, number(parts.next()?)?);
        parts.next().is_none().then_some(code)
    }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A reply: code, enhanced code and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Three digits; the first is 2 to 5.
    pub code: u16,
    /// Written in front of every line's text when the client has been told of them (RFC 2034 §3).
    pub enhanced: Option<Enhanced>,
    /// For people. Lines are separated by `\n`.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced code.
    pub fn new(code: u16, enhanced: Enhanced, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            enhanced: Some(enhanced),
            text: text.into(),
        }
    }

    /// A reply that has none: greeting, HELO, EHLO, 354 (RFC 2034 §3).
    pub fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            enhanced: None,
            text: text.into(),
        }
    }

    /// 250 to MAIL.
    pub fn sender_ok(path: &postrider_types::ReversePath) -> Self {
        let text = match &path.0 {
            Some(address) => format!("{address} ... Sender ok"),
            None => "<> ... Sender ok".to_owned(),
        };
        Self::new(250, Enhanced(2, 1, 0), text)
    }

    /// 250 to RCPT.
    pub fn recipient_ok(path: &crate::ForwardPath) -> Self {
        Self::new(250, Enhanced(2, 1, 5), format!("{path} ... Recipient ok"))
    }

    /// 354: the answer to [`crate::server::Event::Data`] that lets the message come.
    pub fn start_mail_input() -> Self {
        Self::plain(354, "Enter mail, end with \".\" on a line by itself")
    }

    /// 2yz.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3yz.
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4yz: the same later may succeed.
    pub fn is_temporary(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The text's lines, at least one.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split('\n')
    }

    /// Appends the reply's lines. What could break a line is replaced, a line that is too long is cut.
    pub fn encode(&self, with_enhanced: bool, output: &mut BytesMut) {
        use std::fmt::Write;
        let mut lines = self.lines().peekable();
        while let Some(line) = lines.next() {
            let separator = if lines.peek().is_some() { '-' } else { ' ' };
            // Writing into BytesMut cannot fail: it grows.
            let _ = write!(output, "{}{separator}", self.code);
            if let Some(enhanced) = self.enhanced.filter(|_| with_enhanced) {
                let _ = write!(output, "{enhanced} ");
            }
            let printable = |octet: u8| {
                if octet.is_ascii_graphic() || octet == b' ' {
                    octet
                } else {
                    b'?'
                }
            };
            output.extend(line.bytes().take(MAX_TEXT_LINE).map(printable));
            output.put_slice(b"\r\n");
        }
    }
}

impl fmt::Display for Reply {
    /// On one line, for logs and notifications: `550 5.1.1 no such user`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        self.lines().try_for_each(|line| write!(f, " {line}"))
    }
}

/// A server's words that are not a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Over 2,048 octets in a line, 128 lines, or 16 KiB of text.
    #[error("the server's reply is too long")]
    TooLong,
    /// Not a reply line, or codes that differ between its lines.
    #[error("the server's reply makes no sense")]
    Malformed,
    /// A bare CR or LF.
    #[error("the server's reply has a bare CR or LF")]
    LineEnd,
}

/// Collects the lines of a reply.
#[derive(Debug, Default)]
pub(crate) struct ReplyParser {
    begun: Option<(u16, String, usize)>,
}

impl ReplyParser {
    /// Takes lines off `input` until a reply is whole; `seen` gets each line.
    pub(crate) fn next(
        &mut self,
        input: &mut BytesMut,
        mut seen: impl FnMut(&[u8]),
    ) -> Result<Option<Reply>, ReplyError> {
        loop {
            let line = match take_line(input, MAX_LINE) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(LineError::TooLong(_)) => return Err(ReplyError::TooLong),
                Err(LineError::BareLineEnd) => return Err(ReplyError::LineEnd),
            };
            seen(&line);
            if let Some(reply) = self.line(&line)? {
                return Ok(Some(reply));
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, ReplyError> {
        let (digits, rest) = line.split_at_checked(3).ok_or(ReplyError::Malformed)?;
        let code = match digits {
            [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] => [a, b, c]
                .iter()
                .fold(0, |code, digit| code * 10 + u16::from(**digit - b'0')),
            _ => return Err(ReplyError::Malformed),
        };
        let (last, text) = match rest.split_first() {
            None => (true, &rest[..0]),
            Some((b' ', text)) => (true, text),
            Some((b'-', text)) => (false, text),
            Some(_) => return Err(ReplyError::Malformed),
        };
        // It is shown to people, on terminals and in logs: no escape sequence of theirs gets there.
        let text = String::from_utf8_lossy(text).replace(char::is_control, " ");
        let (lines, whole) = match self.begun.take() {
            None => (1, text),
            Some((begun, _, _)) if begun != code => return Err(ReplyError::Malformed),
            Some((_, mut whole, lines)) => {
                whole.push('\n');
                whole.push_str(&text);
                (lines + 1, whole)
            }
        };
        if lines > MAX_LINES || whole.len() > MAX_TEXT {
            return Err(ReplyError::TooLong);
        }
        if last {
            return Ok(Some(with_enhanced(code, whole)));
        }
        self.begun = Some((code, whole, lines));
        Ok(None)
    }
}

/// Takes the enhanced code off the front of the lines, when its class is the reply code's.
fn with_enhanced(code: u16, text: String) -> Reply {
    let split = |line: &str| -> Option<(Enhanced, usize)> {
        let token = line.split(' ').next()?;
        let enhanced = Enhanced::parse(token).filter(|enhanced| u16::from(enhanced.0) == code / 100)?;
        Some((enhanced, (token.len() + 1).min(line.len())))
    };
    let Some((enhanced, _)) = text.split('\n').next().and_then(split) else {
        return Reply {
            code,
            enhanced: None,
            text: text.into(),
        };
    };
    let strip = |line: &str| match split(line) {
        Some((found, at)) if found == enhanced => line[at..].to_owned(),
        _ => line.to_owned(),
    };
    let text = text.split('\n').map(strip).collect::<Vec<_>>().join("\n");
    Reply {
        code,
        enhanced: Some(enhanced),
        text: text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Reply>, ReplyError> {
        ReplyParser::default().next(&mut BytesMut::from(text), |_| ())
    }

    #[test]
    fn replies_survive_the_wire() {
        for reply in [
            Reply::plain(220, "hamburger.edu"),
            Reply::new(250, Enhanced(2, 1, 0), "alice@crepes.fr ... Sender ok"),
            Reply::new(550, Enhanced(5, 1, 1), "no such user\nask the postmaster"),
            Reply::plain(250, "one\ntwo\nthree"),
            Reply::plain(354, ""),
        ] {
            let mut output = BytesMut::new();
            reply.encode(true, &mut output);
            assert_eq!(parse(std::str::from_utf8(&output).unwrap()), Ok(Some(reply)));
        }
    }

    #[test]
    fn replies_as_others_write_them() {
        assert_eq!(parse("250\r\n").unwrap().unwrap(), Reply::plain(250, ""));
        assert_eq!(parse("250-a\r\n250-").unwrap(), None);
        // An enhanced code of another class is text (RFC 2034 §4).
        assert_eq!(
            parse("550 4.1.1 x\r\n").unwrap().unwrap(),
            Reply::plain(550, "4.1.1 x")
        );
        assert_eq!(
            parse("550 5.1.1\r\n").unwrap().unwrap(),
            Reply::new(550, Enhanced(5, 1, 1), "")
        );
        assert_eq!(parse("250-a\r\n251 b\r\n"), Err(ReplyError::Malformed));
        assert_eq!(parse("199 x\r\n"), Err(ReplyError::Malformed));
        assert_eq!(parse("250_x\r\n"), Err(ReplyError::Malformed));
        assert_eq!(parse("é0 x\r\n"), Err(ReplyError::Malformed));
        assert_eq!(parse("250 x\n"), Err(ReplyError::LineEnd));
        assert_eq!(parse(&"250-x\r\n".repeat(129)), Err(ReplyError::TooLong));
    }

    #[test]
    fn text_cannot_break_out_of_its_line() {
        let mut output = BytesMut::new();
        Reply::plain(550, "a\rb\u{e9}\0").encode(true, &mut output);
        assert_eq!(&output[..], b"550 a?b???\r\n");
    }
}
