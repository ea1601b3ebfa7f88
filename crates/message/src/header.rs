//! Header blocks as bytes (RFC 5322 §2.2): fields, unfolding, selection.
//!
//! A block is a run of fields, with or without the empty line that ends it. A line that is neither a field nor the
//! continuation of one ends a header, as Postfix and Sendmail have it; within a block such a line (an mbox `From ` line,
//! say) is stepped over.

use std::ops::Range;

use memchr::memchr;

/// A field of a header block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// Name as written.
    pub name: &'a [u8],
    /// The whole field in the block, its last line end included.
    pub raw: Range<usize>,
    /// Behind the colon, up to the last line end (which is not included); still folded.
    pub value: Range<usize>,
}

impl Field<'_> {
    /// Whether it is of this name; case does not matter.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value as one line of text, without white space around it.
    pub fn unfolded(&self, block: &[u8]) -> String {
        unfold(block.get(self.value.clone()).unwrap_or_default())
    }
}

/// The fields of a block, in order.
pub fn fields(block: &[u8]) -> Fields<'_> {
    Fields { block, at: 0 }
}

/// See [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        loop {
            let start = self.at;
            let rest = self.block.get(start..)?;
            if rest.is_empty() || is_empty_line(rest) {
                return None;
            }
            let mut end = line_end(rest);
            let Some(name) = field_name(&rest[..end]) else {
                self.at = start + end;
                continue;
            };
            while matches!(rest.get(end), Some(b' ' | b'\t')) {
                end += line_end(&rest[end..]);
            }
            self.at = start + end;
            let colon = name + rest[name..end].iter().position(|&byte| byte == b':')?;
            let mut last = end;
            if rest[..last].ends_with(b"\n") {
                last -= if rest[..last].ends_with(b"\r\n") { 2 } else { 1 };
            }
            let value = start + colon + 1..start + last.max(colon + 1);
            return Some(Field {
                name: &rest[..name],
                raw: start..start + end,
                value,
            });
        }
    }
}

/// The unfolded value of the first field of this name.
pub fn first(block: &[u8], name: &str) -> Option<String> {
    fields(block)
        .find(|field| field.is(name))
        .map(|field| field.unfolded(block))
}

/// The fields named (`keep`: HEADER.FIELDS), or all others (HEADER.FIELDS.NOT), as they are written, and an empty line
/// (RFC 9051 §6.4.5.1).
pub fn select<N: AsRef<str>>(block: &[u8], names: &[N], keep: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields(block) {
        if names.iter().any(|name| field.is(name.as_ref())) == keep {
            out.extend_from_slice(&block[field.raw]);
            if !out.ends_with(b"\n") {
                out.extend_from_slice(b"\r\n");
            }
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Where the body starts, if the header ends within `bytes`: behind the empty line, or at the first line that cannot
/// belong to a header.
pub fn end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut has_field = false;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let newline = memchr(b'\n', rest);
        let line = &rest[..newline.map_or(rest.len(), |newline| newline + 1)];
        match classify(line, has_field, at == 0) {
            Line::Empty => return Some(at + line.len()),
            Line::Other if newline.is_some() || line.len() >= MAX_NAME => return Some(at),
            Line::Other => return None,
            Line::Field => has_field = true,
            Line::Continuation | Line::Mbox => {}
        }
        at += line.len();
    }
    None
}

/// Whether a message begins with a header field, or with the empty line that ends an empty header. It does not when a
/// person types a letter without a header: whoever adds fields at the top then adds an empty line too.
pub fn begins_with_field(bytes: &[u8]) -> bool {
    let line = &bytes[..line_end(bytes)];
    matches!(classify(line, false, true), Line::Field | Line::Empty)
}

/// A raw value as one line of text: line ends taken out, trimmed, see [`crate::charset::header_text`] for its octets.
pub fn unfold(value: &[u8]) -> String {
    let value = value.trim_ascii();
    if memchr::memchr3(b'\n', b'\r', 0, value).is_none() {
        return crate::charset::header_text(value);
    }
    let mut flat = Vec::with_capacity(value.len());
    for (index, &byte) in value.iter().enumerate() {
        match byte {
            b'\n' | 0 => {}
            // The CR of a line end goes; any other would break the line for somebody else.
            b'\r' if value.get(index + 1) == Some(&b'\n') => {}
            b'\r' => flat.push(b' '),
            other => flat.push(other),
        }
    }
    crate::charset::header_text(&flat)
}

/// Longest field name looked at, in octets: a line with no colon within this is not a field.
pub(crate) const MAX_NAME: usize = 1000;

/// What a line of a header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Ends the header.
    Empty,
    /// Begins a field.
    Field,
    /// Continues one.
    Continuation,
    /// The `From ` line that mbox files put before a message.
    Mbox,
    /// Not of a header: the body has begun.
    Other,
}

/// Judges a line by its first [`MAX_NAME`] octets. `has_field`: a field has begun before; `first`: of the whole header.
pub(crate) fn classify(line: &[u8], has_field: bool, first: bool) -> Line {
    let line = line.get(..MAX_NAME).unwrap_or(line);
    match line.first() {
        Some(b'\n') => Line::Empty,
        Some(b'\r') if line.get(1) == Some(&b'\n') => Line::Empty,
        Some(b' ' | b'\t') if has_field => Line::Continuation,
        _ if field_name(line).is_some() => Line::Field,
        _ if first && (line.starts_with(b"From ") || line.starts_with(b">From ")) => Line::Mbox,
        _ => Line::Other,
    }
}

fn is_empty_line(rest: &[u8]) -> bool {
    rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
}

fn line_end(rest: &[u8]) -> usize {
    memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1)
}

/// Length of the field name a line begins with: `1*ftext *WSP ":"` (RFC 5322 §2.2, §4.5.8).
fn field_name(line: &[u8]) -> Option<usize> {
    let name = line.iter().position(|byte| !matches!(byte, 33..=57 | 59..=126))?;
    let colon = line[name..].iter().find(|byte| !matches!(byte, b' ' | b'\t'))?;
    (name > 0 && *colon == b':').then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &[u8] =
        b"From: a@b\r\nSubject: one\r\n two\r\n\tthree \r\nX-Empty:\r\nreceived : x\r\n\r\nbody: no";

    #[test]
    fn fields_are_found_and_unfolded() {
        let found: Vec<_> = fields(BLOCK)
            .map(|field| (field.name, field.unfolded(BLOCK)))
            .collect();
        let expected: [(&[u8], &str); 4] = [
            (b"From", "a@b"),
            (b"Subject", "one two\tthree"),
            (b"X-Empty", ""),
            (b"received", "x"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(first(BLOCK, "SUBJECT").as_deref(), Some("one two\tthree"));
    }

    #[test]
    fn selection_keeps_fields_as_written() {
        let kept = select(BLOCK, &["subject", "to"], true);
        assert_eq!(kept, b"Subject: one\r\n two\r\n\tthree \r\n\r\n");
        let others = select(BLOCK, &["subject", "to"], false);
        assert_eq!(others, b"From: a@b\r\nX-Empty:\r\nreceived : x\r\n\r\n");
        assert_eq!(select(b"A: b", &["a"], true), b"A: b\r\n\r\n");
    }

    #[test]
    fn the_body_starts_behind_the_empty_line_or_at_what_is_no_header() {
        assert_eq!(end(BLOCK), Some(BLOCK.len() - 8));
        assert_eq!(end(b"A: b\nDo you like ketchup?\n"), Some(5));
        assert_eq!(end(b"A: b\n c"), None);
        assert_eq!(end(b"From bob Mon Jan  1 00:00:00 2024\nA: b\n\nx"), Some(40));
        assert!(!begins_with_field(b"Do you like ketchup?\r\n"));
        assert!(begins_with_field(b"Subject: x\r\n"));
        assert!(begins_with_field(b"\r\nDo you"));
    }

    #[test]
    fn octets_outside_utf8_become_readable_text() {
        let block = b"Subject: caf\xe9\r\nX: \xc3\xa9\0\r\n";
        assert_eq!(first(block, "subject").as_deref(), Some("café"));
        assert_eq!(first(block, "x").as_deref(), Some("é"));
    }
}
