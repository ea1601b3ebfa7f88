//! The pieces commands are made of: atoms, strings, numbers, lists (RFC 9051 §9).
//!
//! A framed command lies in one piece of memory, literals where they were sent, so a piece is a slice of it unless a
//! quoted string has escapes.

use std::borrow::Cow;

use crate::mailbox;

/// Why a command was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Something else was wanted there.
    #[error("expected {0}")]
    Expected(&'static str),
    /// No command of that name.
    #[error("unknown command")]
    UnknownCommand,
    /// More of something than is taken.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// Understood and not allowed.
    #[error("{0}")]
    Invalid(&'static str),
    /// A charset that is not US-ASCII or UTF-8, or text that is not of its charset.
    #[error("charset is not supported")]
    Charset,
    /// A mailbox name that is not modified UTF-7: there can be no such mailbox.
    #[error("mailbox name is not modified UTF-7")]
    MailboxName,
}

/// The result of parsing.
pub(crate) type Result<T> = std::result::Result<T, ParseError>;

/// A place in a framed command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    /// Mailbox names are UTF-8 rather than modified UTF-7.
    utf8: bool,
    /// NUL may be in any literal: servers send messages as they are.
    nul: bool,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a [u8], utf8: bool) -> Self {
        Self {
            rest: text,
            utf8,
            nul: false,
        }
    }

    /// A place in a response.
    pub fn in_response(text: &'a [u8]) -> Self {
        Self {
            rest: text,
            utf8: true,
            nul: true,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Steps over the octet if it is next.
    pub fn eat(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    pub fn expect(&mut self, byte: u8, what: &'static str) -> Result<()> {
        if self.eat(byte) {
            Ok(())
        } else {
            Err(ParseError::Expected(what))
        }
    }

    /// One space.
    pub fn space(&mut self) -> Result<()> {
        self.expect(b' ', "a space")
    }

    /// Nothing more.
    pub fn end(&self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(ParseError::Expected("the end of the command"))
        }
    }

    /// Steps over the word, in any case, if it is next and a delimiter follows.
    pub fn word(&mut self, word: &str) -> bool {
        let Some((head, rest)) = self.rest.split_at_checked(word.len()) else {
            return false;
        };
        let ends = rest
            .first()
            .is_none_or(|byte| !is_atom_char(*byte) || matches!(byte, b'[' | b'<'));
        if ends && head.eq_ignore_ascii_case(word.as_bytes()) {
            self.rest = rest;
            return true;
        }
        false
    }

    pub fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self
            .rest
            .iter()
            .position(|byte| !accept(*byte))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// `atom`
    pub fn atom(&mut self, what: &'static str) -> Result<&'a str> {
        ascii(self.take_while(is_atom_char), what)
    }

    /// `number64`, digits only, at most `i64::MAX` as RFC 9051 has it.
    pub fn number64(&mut self, what: &'static str) -> Result<u64> {
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        let value = digits.iter().try_fold(0u64, |sum, digit| {
            sum.checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))
                .filter(|value| *value <= i64::MAX as u64)
        });
        value
            .filter(|_| !digits.is_empty())
            .ok_or(ParseError::Expected(what))
    }

    /// `number`, 32 bits.
    pub fn number(&mut self, what: &'static str) -> Result<u32> {
        u32::try_from(self.number64(what)?).map_err(|_| ParseError::Expected(what))
    }

    /// `nz-number`
    pub fn nz_number(&mut self, what: &'static str) -> Result<u32> {
        self.number(what)?
            .checked_sub(1)
            .map(|less| less + 1)
            .ok_or(ParseError::Expected(what))
    }

    /// `string`: quoted, literal or literal8.
    pub fn string(&mut self, what: &'static str) -> Result<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{' | b'~') => self.literal(what).map(Cow::Borrowed),
            _ => Err(ParseError::Expected(what)),
        }
    }

    /// `astring`
    pub fn astring(&mut self, what: &'static str) -> Result<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(what),
            _ => match self.take_while(crate::response::is_astring_char) {
                b"" => Err(ParseError::Expected(what)),
                atom => Ok(Cow::Borrowed(atom)),
            },
        }
    }

    /// `astring` that is UTF-8.
    pub fn text(&mut self, what: &'static str) -> Result<String> {
        utf8(self.astring(what)?)
    }

    /// `nstring` that is UTF-8.
    pub fn nstring(&mut self, what: &'static str) -> Result<Option<String>> {
        if self.word("NIL") {
            Ok(None)
        } else {
            utf8(self.string(what)?).map(Some)
        }
    }

    /// `mailbox`, decoded and canonical.
    pub fn mailbox(&mut self) -> Result<String> {
        let name = self.astring("a mailbox name")?;
        self.decode_name(name)
    }

    /// `list-mailbox = 1*list-char / string`, decoded.
    pub fn list_mailbox(&mut self) -> Result<String> {
        let name = match self.peek() {
            Some(b'"' | b'{') => self.string("a mailbox pattern")?,
            _ => {
                let pattern = self
                    .take_while(|byte| crate::response::is_astring_char(byte) || matches!(byte, b'%' | b'*'));
                if pattern.is_empty() {
                    return Err(ParseError::Expected("a mailbox pattern"));
                }
                Cow::Borrowed(pattern)
            }
        };
        // A pattern that is not modified UTF-7 is no mistake of syntax: it matches what it says.
        match self.decode_name(name.clone()) {
            Err(ParseError::MailboxName) => Ok(mailbox::canonical(utf8(name)?)),
            decoded => decoded,
        }
    }

    fn decode_name(&self, name: Cow<'a, [u8]>) -> Result<String> {
        let name = utf8(name)?;
        if name.len() > mailbox::MAX_LENGTH {
            return Err(ParseError::Invalid("mailbox name is too long"));
        }
        let name = match self.utf8 {
            true => name,
            false => match mailbox::decode_utf7(&name) {
                Some(Cow::Owned(decoded)) => decoded,
                Some(Cow::Borrowed(_)) => name,
                None => return Err(ParseError::MailboxName),
            },
        };
        if name.chars().any(char::is_control) {
            return Err(ParseError::Expected("a mailbox name without control characters"));
        }
        Ok(mailbox::canonical(name))
    }

    /// Whether what is left is nothing but a literal's announcement.
    pub fn is_announcement(&self) -> bool {
        let opening = self.rest.strip_prefix(b"~").unwrap_or(self.rest);
        let line = opening.strip_suffix(b"\r\n").unwrap_or_default();
        memchr::memrchr(b'{', line) == Some(0) && crate::frame::announced(line).is_some()
    }

    /// `"(" [item *(SP item)] ")"`, at most `max` items.
    pub fn list<T>(
        &mut self,
        what: &'static str,
        max: usize,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.expect(b'(', "an opening parenthesis")?;
        let mut items = Vec::new();
        if self.eat(b')') {
            return Ok(items);
        }
        loop {
            if items.len() == max {
                return Err(ParseError::TooMany(what));
            }
            items.push(item(self)?);
            if self.eat(b')') {
                return Ok(items);
            }
            self.expect(b' ', "a space or a closing parenthesis")?;
        }
    }

    /// `quoted = DQUOTE *QUOTED-CHAR DQUOTE`
    fn quoted(&mut self) -> Result<Cow<'a, [u8]>> {
        const UNCLOSED: ParseError = ParseError::Expected("a closing quote");
        let inside = self.rest.get(1..).unwrap_or_default();
        let mut end = memchr::memchr2(b'"', b'\\', inside).ok_or(UNCLOSED)?;
        let (plain, from) = inside.split_at(end);
        if from.first() == Some(&b'"') {
            self.rest = from.get(1..).unwrap_or_default();
            return no_controls(plain).map(Cow::Borrowed);
        }
        let mut text = plain.to_vec();
        loop {
            match inside.get(end..).unwrap_or_default() {
                [b'\\', escaped @ (b'"' | b'\\'), ..] => {
                    text.push(*escaped);
                    end += 2;
                }
                [b'\\', ..] => return Err(ParseError::Expected("\\\" or \\\\ in a quoted string")),
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    no_controls(&text)?;
                    return Ok(Cow::Owned(text));
                }
                [byte, ..] => {
                    text.push(*byte);
                    end += 1;
                }
                [] => return Err(UNCLOSED),
            }
        }
    }

    /// `literal` or `literal8`, whole.
    fn literal(&mut self, what: &'static str) -> Result<&'a [u8]> {
        let (octets, rest) = whole_literal(self.rest).ok_or(ParseError::Expected(what))?;
        let binary = self.rest.first() == Some(&b'~');
        if !binary && !self.nul && memchr::memchr(0, octets).is_some() {
            return Err(ParseError::Invalid("NUL in a literal"));
        }
        self.rest = rest;
        Ok(octets)
    }
}

/// `ATOM-CHAR`
pub(crate) fn is_atom_char(byte: u8) -> bool {
    crate::response::is_astring_char(byte) && byte != b']'
}

/// Octets that should be UTF-8.
pub(crate) fn utf8(text: Cow<'_, [u8]>) -> Result<String> {
    String::from_utf8(text.into_owned()).map_err(|_| ParseError::Expected("text in UTF-8"))
}

fn ascii<'a>(text: &'a [u8], what: &'static str) -> Result<&'a str> {
    match std::str::from_utf8(text) {
        Ok(text) if !text.is_empty() => Ok(text),
        _ => Err(ParseError::Expected(what)),
    }
}

fn no_controls(text: &[u8]) -> Result<&[u8]> {
    if text.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        return Err(ParseError::Expected("a quoted string without NUL, CR and LF"));
    }
    Ok(text)
}

/// The octets of the literal at the front, and what follows.
fn whole_literal(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', text)?;
    let (line, behind) = text.split_at(end + 1);
    let (size, _, _) = crate::frame::announced(line.strip_suffix(b"\r\n")?)?;
    // The announcement must be all of the line, not its end only.
    let opening = line.strip_prefix(b"~").unwrap_or(line);
    if opening.first() != Some(&b'{') || memchr::memrchr(b'{', opening) != Some(0) {
        return None;
    }
    behind.split_at_checked(usize::try_from(size).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &[u8]) -> Result<Cow<'_, [u8]>> {
        Cursor::new(text, false).string("a string")
    }

    #[test]
    fn strings_of_every_kind() {
        assert_eq!(string(b"\"a b\"").unwrap(), &b"a b"[..]);
        assert_eq!(string(b"\"a\\\"\\\\b\"").unwrap(), &b"a\"\\b"[..]);
        assert_eq!(string(b"{3}\r\na\nb").unwrap(), &b"a\nb"[..]);
        assert_eq!(string(b"{3+}\r\nabc").unwrap(), &b"abc"[..]);
        assert_eq!(string(b"~{2}\r\n\0b").unwrap(), &b"\0b"[..]);
        for bad in [
            &b"\"a"[..],
            b"\"a\\",
            b"\"a\\b\"",
            b"{3}\r\nab",
            b"{1}\r\n\0",
            b"{3}abc",
            b"a",
            b"",
            b"{x{1}\r\na",
        ] {
            assert!(string(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers_have_limits() {
        assert_eq!(
            Cursor::new(b"9223372036854775807", false).number64("n"),
            Ok(i64::MAX as u64)
        );
        assert!(Cursor::new(b"9223372036854775808", false).number64("n").is_err());
        assert!(Cursor::new(b"4294967296", false).number("n").is_err());
        assert!(Cursor::new(b"0", false).nz_number("n").is_err());
        assert!(Cursor::new(b"x", false).number("n").is_err());
    }

    #[test]
    fn words_end_where_they_end() {
        assert!(Cursor::new(b"fetch 1", false).word("FETCH"));
        assert!(!Cursor::new(b"FETCHX", false).word("FETCH"));
        assert!(Cursor::new(b"BODY[", false).word("BODY"));
        assert!(!Cursor::new(b"FE", false).word("FETCH"));
    }
}
