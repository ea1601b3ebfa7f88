//! Status responses: OK, NO, BAD, BYE, PREAUTH (RFC 9051 §7.1); CAPABILITY, ENABLED, ID.

use bytes::{BufMut, BytesMut};

use super::code::Code;
use super::text::{Syntax, human, nstring, string};
use crate::command::Extension;

/// How a command ended, or what an untagged status is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `OK`
    Ok,
    /// `NO`: it failed.
    No,
    /// `BAD`: it was not understood or not allowed now.
    Bad,
    /// `BYE` (untagged only): the connection ends.
    Bye,
    /// `PREAUTH` (greeting only).
    PreAuth,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Kind::Ok => "OK ",
            Kind::No => "NO ",
            Kind::Bad => "BAD ",
            Kind::Bye => "BYE ",
            Kind::PreAuth => "PREAUTH ",
        }
    }
}

/// A status, with what programs and people make of it.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// How it went.
    pub kind: Kind,
    /// For the client's program.
    pub code: Option<Code<'a>>,
    /// For people; one line.
    pub text: &'a str,
}

impl<'a> Reply<'a> {
    /// `OK`
    pub const fn ok(text: &'a str) -> Self {
        Self {
            kind: Kind::Ok,
            code: None,
            text,
        }
    }

    /// `NO`
    pub const fn no(text: &'a str) -> Self {
        Self {
            kind: Kind::No,
            code: None,
            text,
        }
    }

    /// `BAD`
    pub const fn bad(text: &'a str) -> Self {
        Self {
            kind: Kind::Bad,
            code: None,
            text,
        }
    }

    /// The same, with a code.
    #[must_use]
    pub const fn with(self, code: Code<'a>) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    /// Appends everything behind the tag and its space, CRLF included.
    pub(crate) fn write(self, out: &mut BytesMut) {
        out.put_slice(self.kind.as_str().as_bytes());
        if let Some(code) = self.code {
            code.write(out);
        }
        human(out, self.text);
        out.put_slice(b"\r\n");
    }
}

/// `* OK …`, `* NO …`, `* BAD …`: about nothing in particular, or what a code says. (BYE is the session's.)
pub fn untagged(out: &mut BytesMut, reply: Reply<'_>) {
    out.put_slice(b"* ");
    reply.write(out);
}

/// `* CAPABILITY …`
pub fn capability(out: &mut BytesMut, names: &str) {
    out.put_slice(b"* CAPABILITY ");
    out.put_slice(names.as_bytes());
    out.put_slice(b"\r\n");
}

/// `* ENABLED …`
pub fn enabled(out: &mut BytesMut, extensions: &[Extension]) {
    out.put_slice(b"* ENABLED");
    for extension in extensions {
        out.put_u8(b' ');
        out.put_slice(extension.as_str().as_bytes());
    }
    out.put_slice(b"\r\n");
}

/// `* ID …` (RFC 2971); no fields: NIL.
pub fn id(out: &mut BytesMut, fields: &[(&str, Option<&str>)], syntax: Syntax) {
    out.put_slice(b"* ID ");
    if fields.is_empty() {
        out.put_slice(b"NIL");
    }
    for (at, (name, value)) in fields.iter().enumerate() {
        out.put_u8(if at == 0 { b'(' } else { b' ' });
        string(out, name.as_bytes(), syntax);
        out.put_u8(b' ');
        nstring(out, value.map(str::as_bytes), syntax);
    }
    out.put_slice(if fields.is_empty() { b"\r\n" } else { b")\r\n" });
}
