//! Encoded-words (RFC 2047): text outside ASCII in header fields.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{charset, transfer};

/// Longest encoded-word (RFC 2047 §2).
const MAX_WORD: usize = 75;
/// Longest one that is read: many agents put a whole subject into one.
const MAX_READ: usize = 8192;

/// Decodes the encoded-words of a text; the rest stays as it is. White space between two of them is dropped (§6.2), and
/// neighbours in one charset are joined before they are decoded, since many agents cut characters apart.
pub fn decode(text: &str) -> String {
    if !text.contains("=?") {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut pending: Option<(String, Vec<u8>)> = None;
    let mut rest = text;
    while let Some(start) = rest.find("=?") {
        let Some((word, after)) = Word::read(&rest[start..]) else {
            flush(&mut pending, &mut out);
            out.push_str(&rest[..start + 2]);
            rest = &rest[start + 2..];
            continue;
        };
        let between = &rest[..start];
        let joins = pending.is_some() && between.chars().all(|c| c.is_ascii_whitespace());
        if !joins {
            flush(&mut pending, &mut out);
            out.push_str(between);
        }
        match &mut pending {
            Some((charset, octets)) if charset.eq_ignore_ascii_case(word.charset) => {
                octets.extend(word.octets())
            }
            _ => {
                flush(&mut pending, &mut out);
                pending = Some((word.charset.to_owned(), word.octets()));
            }
        }
        rest = after;
    }
    flush(&mut pending, &mut out);
    out.push_str(rest);
    out
}

/// Writes a text for an unstructured field or a display name: the run of words that are outside ASCII (or look like an encoded-word)
/// becomes encoded-words of at most 75 characters in UTF-8, separated by single spaces; the rest stays.
pub fn encode(text: &str) -> String {
    let needs = |word: &str| {
        !word.is_ascii() || word.contains("=?") || word.bytes().any(|byte| byte < b' ' || byte == 127)
    };
    let words: Vec<&str> = text.split(' ').collect();
    let (Some(first), Some(last)) = (
        words.iter().position(|w| needs(w)),
        words.iter().rposition(|w| needs(w)),
    ) else {
        return text.to_owned();
    };
    let mut out = words[..first].join(" ");
    if first > 0 {
        out.push(' ');
    }
    encode_all(&words[first..=last].join(" "), &mut out);
    if last + 1 < words.len() {
        out.push(' ');
        out.push_str(&words[last + 1..].join(" "));
    }
    out
}

/// Writes all of a text as encoded-words, whether it needs that or not: for words that are longer than a line may be.
pub(crate) fn encode_always(text: &str) -> String {
    let mut out = String::new();
    encode_all(text, &mut out);
    out
}

/// Encodes all of a text, by whichever of `Q` and `B` is shorter.
fn encode_all(text: &str, out: &mut String) {
    let plain = text.bytes().filter(|byte| is_q_literal(*byte)).count();
    let quoted = plain * 2 >= text.len();
    let mut start = 0;
    while start < text.len() {
        let rest = &text[start..];
        let mut end = 0;
        let mut length = "=?utf-8?q??=".len();
        for c in rest.chars() {
            let octets = &rest[end..end + c.len_utf8()];
            let more = if quoted {
                octets.bytes().map(q_length).sum()
            } else {
                0
            };
            let b_length = (end + octets.len()).div_ceil(3) * 4;
            if end > 0
                && (length + more > MAX_WORD || (!quoted && "=?utf-8?b??=".len() + b_length > MAX_WORD))
            {
                break;
            }
            length += more;
            end += octets.len();
        }
        if start > 0 {
            out.push(' ');
        }
        if quoted {
            out.push_str("=?utf-8?q?");
            for byte in rest[..end].bytes() {
                match byte {
                    b' ' => out.push('_'),
                    byte if is_q_literal(byte) => out.push(char::from(byte)),
                    byte => out.push_str(&format!("={byte:02X}")),
                }
            }
        } else {
            out.push_str("=?utf-8?b?");
            STANDARD.encode_string(&rest[..end], out);
        }
        out.push_str("?=");
        start += end;
    }
}

/// What a phrase may have literally (RFC 2047 §5 (3)); a space is written `_`.
fn is_q_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!*+-/ ".contains(&byte)
}

fn q_length(byte: u8) -> usize {
    if is_q_literal(byte) { 1 } else { 3 }
}

fn flush(pending: &mut Option<(String, Vec<u8>)>, out: &mut String) {
    if let Some((name, octets)) = pending.take() {
        // A header value stays one line, whatever was encoded.
        out.extend(
            charset::decode(&name, &octets)
                .chars()
                .map(|c| if matches!(c, '\r' | '\n' | '\0') { ' ' } else { c }),
        );
    }
}

/// `encoded-word = "=?" charset "?" encoding "?" encoded-text "?="`
struct Word<'a> {
    charset: &'a str,
    base64: bool,
    text: &'a str,
}

impl<'a> Word<'a> {
    fn read(whole: &'a str) -> Option<(Self, &'a str)> {
        // A bound on the search keeps a header full of beginnings without ends from costing its square.
        let near = &whole[..whole.floor_char_boundary(MAX_READ)];
        let (charset, rest) = near.strip_prefix("=?")?.split_once('?')?;
        let (encoding, rest) = rest.split_once('?')?;
        let (text, after) = rest.split_once("?=")?;
        let after = &whole[near.len() - after.len()..];
        // RFC 2231 §5 puts a language behind an asterisk.
        let charset = charset.split('*').next()?;
        if charset.is_empty() || charset.len() > 40 || !charset.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let base64 = match encoding {
            "b" | "B" => true,
            "q" | "Q" => false,
            _ => return None,
        };
        Some((
            Self {
                charset,
                base64,
                text,
            },
            after,
        ))
    }

    fn octets(&self) -> Vec<u8> {
        if self.base64 {
            return transfer::decode(transfer::Encoding::Base64, self.text.as_bytes());
        }
        let mut out = Vec::with_capacity(self.text.len());
        let mut rest = self.text.as_bytes();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match (byte, after) {
                (b'_', _) => out.push(b' '),
                (b'=', [high, low, more @ ..]) => match (transfer::hex(*high), transfer::hex(*low)) {
                    (Some(high), Some(low)) => {
                        out.push(high << 4 | low);
                        rest = more;
                    }
                    _ => out.push(b'='),
                },
                _ => out.push(byte),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_of_the_standard() {
        // RFC 2047 §8
        for (encoded, text) in [
            (
                "=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>",
                "Keith Moore <moore@cs.utk.edu>",
            ),
            ("=?ISO-8859-1?Q?Andr=E9?= Pirard", "André Pirard"),
            (
                "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?= =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
                "If you can read this you understand the example.",
            ),
            ("(=?ISO-8859-1?Q?a?=)", "(a)"),
            ("(=?ISO-8859-1?Q?a?= b)", "(a b)"),
            ("(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"),
            ("(=?ISO-8859-1?Q?a_b?=)", "(a b)"),
            ("=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),
            ("=?utf-8*en?q?x?=", "x"),
            ("=?broken", "=?broken"),
            ("a =?x?y?z?= b", "a =?x?y?z?= b"),
        ] {
            assert_eq!(decode(encoded), text, "{encoded}");
        }
    }

    #[test]
    fn only_what_needs_it_is_encoded() {
        assert_eq!(encode("plain words"), "plain words");
        assert_eq!(encode("to the café now"), "to the =?utf-8?q?caf=C3=A9?= now");
        assert_eq!(encode("漢字"), "=?utf-8?b?5ryi5a2X?=");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in "[ -~éπ漢😀]{0,200}") {
            let encoded = encode(&text);
            prop_assert!(encoded.is_ascii());
            for word in encoded.split(' ').filter(|word| word.starts_with("=?utf-8")) {
                prop_assert!(word.len() <= MAX_WORD);
            }
            prop_assert_eq!(decode(&encoded), text);
        }

        #[test]
        fn nothing_panics(text in "[=?utf8qbB_A-F0-9é ]{0,60}") {
            let _ = decode(&text);
        }
    }
}
