//! Commands to octets, for the client half.

use bytes::{BufMut, BytesMut};

use crate::mailbox;
use crate::response::{Syntax, is_astring_char, number};

/// Appends the pieces of a command. Literals that wait for a continuation are noted, so that the client can stop there.
pub(crate) struct Writer<'a> {
    out: &'a mut BytesMut,
    syntax: Syntax,
    /// Non-synchronising literals may be used.
    literal_plus: bool,
    /// Offsets behind each announcement that has to be answered.
    pauses: Vec<usize>,
}

impl<'a> Writer<'a> {
    pub fn new(out: &'a mut BytesMut, syntax: Syntax, literal_plus: bool) -> Self {
        Self {
            out,
            syntax,
            literal_plus,
            pauses: Vec::new(),
        }
    }

    /// Offsets in the buffer at which to wait for a continuation.
    pub fn into_pauses(self) -> Vec<usize> {
        self.pauses
    }

    pub fn out(&mut self) -> &mut BytesMut {
        self.out
    }

    pub fn text(&mut self, text: &str) {
        self.out.put_slice(text.as_bytes());
    }

    pub fn number(&mut self, value: u64) {
        number(self.out, value);
    }

    pub fn astring(&mut self, text: &[u8]) {
        // NIL is an atom where a string may be NIL; quoting it is always right.
        if !text.is_empty()
            && !text.eq_ignore_ascii_case(b"NIL")
            && text.iter().all(|byte| is_astring_char(*byte))
        {
            self.out.put_slice(text);
        } else {
            self.string(text);
        }
    }

    pub fn string(&mut self, text: &[u8]) {
        let quotable = |byte: &u8| {
            !matches!(byte, 0 | b'\r' | b'\n') && (byte.is_ascii() || self.syntax == Syntax::Utf8)
        };
        if text.len() <= 1024 && text.iter().all(quotable) {
            return crate::response::string(self.out, text, self.syntax);
        }
        self.literal_start(text.len() as u64, text.contains(&0));
        self.out.put_slice(text);
    }

    /// Announces a literal of which the caller sends the octets.
    pub fn literal_start(&mut self, size: u64, literal8: bool) {
        self.text(if literal8 { "~{" } else { "{" });
        self.number(size);
        self.text(if self.literal_plus { "+}\r\n" } else { "}\r\n" });
        if !self.literal_plus {
            self.pauses.push(self.out.len());
        }
    }

    pub fn mailbox(&mut self, name: &str) {
        match self.syntax {
            Syntax::Utf8 => self.astring(name.as_bytes()),
            Syntax::Rev1 => self.astring(mailbox::encode_utf7(name).as_bytes()),
        }
    }

    /// A LIST pattern; wildcards need no quotes.
    pub fn pattern(&mut self, pattern: &str) {
        let wire = match self.syntax {
            Syntax::Utf8 => pattern.into(),
            Syntax::Rev1 => mailbox::encode_utf7(pattern),
        };
        let plain = |byte: u8| is_astring_char(byte) || matches!(byte, b'%' | b'*');
        if !wire.is_empty() && wire.bytes().all(plain) {
            self.text(&wire);
        } else {
            self.string(wire.as_bytes());
        }
    }

    /// Those of the words that are on, in parentheses.
    pub fn words<const N: usize>(&mut self, words: [(bool, &str); N]) {
        self.text("(");
        for (at, (_, word)) in words.into_iter().filter(|(on, _)| *on).enumerate() {
            self.text(if at == 0 { "" } else { " " });
            self.text(word);
        }
        self.text(")");
    }
}
