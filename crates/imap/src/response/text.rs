//! The small pieces responses are made of: numbers, strings, sets, dates.

use bytes::{BufMut, BytesMut};
use postrider_index::UidSet;

use crate::mailbox;

/// Strings up to this length are quoted when they can be; longer ones become literals, which need no second look.
const QUOTED_MAX: usize = 1024;

/// How strings may be written: it follows from what the client enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Syntax {
    /// IMAP4rev1: quoted strings are ASCII, mailbox names modified UTF-7.
    #[default]
    Rev1,
    /// IMAP4rev2 or UTF8=ACCEPT is on: quoted strings and mailbox names are UTF-8.
    Utf8,
}

/// Sequence numbers or UIDs to write as `sequence-set`: consecutive ones become a range.
#[derive(Debug, Clone, Copy)]
pub enum Numbers<'a> {
    /// A set, of UIDs or of sequence numbers.
    Set(&'a UidSet),
    /// In this order.
    List(&'a [u32]),
}

impl Numbers<'_> {
    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        match self {
            Numbers::Set(set) => set.is_empty(),
            Numbers::List(list) => list.is_empty(),
        }
    }
}

/// Appends a decimal number.
pub(crate) fn number(out: &mut BytesMut, value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

/// Appends `sequence-set`. Nothing for an empty one, so callers look first.
pub(crate) fn numbers(out: &mut BytesMut, numbers: Numbers<'_>) {
    let mut first = true;
    match numbers {
        Numbers::Set(set) => {
            for range in set.ranges() {
                put_range(out, &mut first, range.start().0, range.end().0);
            }
        }
        Numbers::List(list) => {
            for run in list.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
                if let (Some(low), Some(high)) = (run.first(), run.last()) {
                    put_range(out, &mut first, *low, *high);
                }
            }
        }
    }
}

fn put_range(out: &mut BytesMut, first: &mut bool, low: u32, high: u32) {
    if !std::mem::take(first) {
        out.put_u8(b',');
    }
    number(out, low.into());
    if high != low {
        out.put_u8(b':');
        number(out, high.into());
    }
}

/// Appends `string`: quoted when that can say it, else a literal.
pub(crate) fn string(out: &mut BytesMut, text: &[u8], syntax: Syntax) {
    if text.len() <= QUOTED_MAX && is_plain(text) {
        out.reserve(text.len() + 2);
        out.put_u8(b'"');
        out.put_slice(text);
        out.put_u8(b'"');
    } else if quotable(text, syntax) {
        quoted(out, text);
    } else {
        literal(out, text);
    }
}

/// Whether a quoted string takes the text as it is. It looks at every octet without a branch, so that the compiler can
/// look at many at once: most of a folder listing passes through here.
fn is_plain(text: &[u8]) -> bool {
    let special = |byte: u8| !(0x20..0x7f).contains(&byte) | (byte == b'"') | (byte == b'\\');
    !text.iter().fold(false, |found, byte| found | special(*byte))
}

/// Appends `nstring`.
pub(crate) fn nstring(out: &mut BytesMut, text: Option<&[u8]>, syntax: Syntax) {
    match text {
        Some(text) => string(out, text, syntax),
        None => out.put_slice(b"NIL"),
    }
}

/// Appends `astring`: an atom when it is one.
pub(crate) fn astring(out: &mut BytesMut, text: &[u8], syntax: Syntax) {
    if !text.is_empty() && text.len() <= QUOTED_MAX && text.iter().all(|byte| is_astring_char(*byte)) {
        out.put_slice(text);
    } else {
        string(out, text, syntax);
    }
}

/// Appends `mailbox`.
pub(crate) fn mailbox(out: &mut BytesMut, name: &str, syntax: Syntax) {
    match syntax {
        Syntax::Rev1 if !mailbox::is_own_utf7(name) => {
            astring(out, mailbox::encode_utf7(name).as_bytes(), syntax);
        }
        _ => astring(out, name.as_bytes(), syntax),
    }
}

/// Appends `{n}` CRLF and the octets.
pub(crate) fn literal(out: &mut BytesMut, text: &[u8]) {
    literal_start(out, text.len() as u64, false);
    out.put_slice(text);
}

/// Appends `{n}` or `~{n}` and CRLF.
pub(crate) fn literal_start(out: &mut BytesMut, length: u64, literal8: bool) {
    out.put_slice(if literal8 { b"~{" } else { b"{" });
    number(out, length);
    out.put_slice(b"}\r\n");
}

/// Human text: printable, on one line; anything else becomes a space. An empty one becomes `.`, since the grammar
/// wants a character.
pub(crate) fn human(out: &mut BytesMut, text: &str) {
    if text.is_empty() {
        out.put_u8(b'.');
    }
    for byte in text.bytes() {
        out.put_u8(if byte.is_ascii_control() { b' ' } else { byte });
    }
}

/// `ASTRING-CHAR = ATOM-CHAR / resp-specials`
pub(crate) fn is_astring_char(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\')
}

fn quotable(text: &[u8], syntax: Syntax) -> bool {
    if text.len() > QUOTED_MAX || text.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        return false;
    }
    text.is_ascii() || (syntax == Syntax::Utf8 && std::str::from_utf8(text).is_ok())
}

fn quoted(out: &mut BytesMut, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.put_u8(b'"');
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        let (before, from) = rest.split_at(at);
        out.put_slice(before);
        out.put_u8(b'\\');
        out.put_slice(&from[..1]);
        rest = &from[1..];
    }
    out.put_slice(rest);
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(put: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        put(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn strings_take_the_shortest_form_that_can_say_them() {
        for (text, rev1, utf8) in [
            ("atom", "atom", "atom"),
            ("", "\"\"", "\"\""),
            ("a b", "\"a b\"", "\"a b\""),
            ("\"\\", "\"\\\"\\\\\"", "\"\\\"\\\\\""),
            ("a\r\nb", "{4}\r\na\r\nb", "{4}\r\na\r\nb"),
            ("é", "{2}\r\né", "\"é\""),
            ("a]", "a]", "a]"),
        ] {
            assert_eq!(written(|out| astring(out, text.as_bytes(), Syntax::Rev1)), rev1);
            assert_eq!(written(|out| astring(out, text.as_bytes(), Syntax::Utf8)), utf8);
        }
        let long = "x".repeat(1025);
        assert_eq!(
            written(|out| astring(out, long.as_bytes(), Syntax::Rev1)),
            format!("{{1025}}\r\n{long}")
        );
        let mut out = BytesMut::new();
        string(&mut out, b"\xff", Syntax::Utf8);
        assert_eq!(&out[..], b"{1}\r\n\xff");
        assert_eq!(written(|out| nstring(out, None, Syntax::Rev1)), "NIL");
    }

    #[test]
    fn names_are_written_as_the_client_reads_them() {
        assert_eq!(
            written(|out| mailbox(out, "Entwürfe", Syntax::Rev1)),
            "Entw&APw-rfe"
        );
        assert_eq!(
            written(|out| mailbox(out, "Entwürfe", Syntax::Utf8)),
            "\"Entwürfe\""
        );
        assert_eq!(written(|out| mailbox(out, "a&b", Syntax::Rev1)), "a&-b");
        assert_eq!(written(|out| mailbox(out, "a&b", Syntax::Utf8)), "a&b");
    }

    #[test]
    fn human_text_stays_on_its_line() {
        assert_eq!(written(|out| human(out, "a\r\n* BYE")), "a  * BYE");
        assert_eq!(written(|out| human(out, "")), ".");
    }
}
