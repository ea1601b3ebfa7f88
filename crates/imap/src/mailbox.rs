//! Mailbox names (RFC 9051 §5.1, RFC 3501 §5.1.3): UTF-8 inside, modified UTF-7 on a rev1 wire; list patterns.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::Alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const ALPHABET: Alphabet =
    match Alphabet::new("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,") {
        Ok(alphabet) => alphabet,
        Err(_) => base64::alphabet::STANDARD,
    };
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// The name every account has, in any case on the wire and in capitals inside.
pub const INBOX: &str = "INBOX";

/// The longest name taken from the wire, in octets as sent.
pub const MAX_LENGTH: usize = 1000;

/// Puts INBOX (alone or as the first level) into capitals; every other name is kept as it is.
pub fn canonical(name: String) -> String {
    let first = name.split('/').next().unwrap_or_default();
    if first != INBOX && first.eq_ignore_ascii_case(INBOX) {
        return format!("{INBOX}{}", &name[first.len()..]);
    }
    name
}

/// Whether modified UTF-7 writes the name as it is.
pub fn is_own_utf7(name: &str) -> bool {
    name.bytes()
        .all(|byte| matches!(byte, 0x20..=0x7e) && byte != b'&')
}

/// To modified UTF-7.
pub fn encode_utf7(name: &str) -> Cow<'_, str> {
    if is_own_utf7(name) {
        return Cow::Borrowed(name);
    }
    let mut text = String::with_capacity(name.len() * 2);
    let mut shifted: Vec<u8> = Vec::new();
    for c in name.chars() {
        if !matches!(c, ' '..='~') {
            let mut units = [0; 2];
            shifted.extend(
                c.encode_utf16(&mut units)
                    .iter()
                    .flat_map(|unit| unit.to_be_bytes()),
            );
            continue;
        }
        unshift(&mut text, &mut shifted);
        text.push(c);
        if c == '&' {
            text.push('-');
        }
    }
    unshift(&mut text, &mut shifted);
    Cow::Owned(text)
}

fn unshift(text: &mut String, shifted: &mut Vec<u8>) {
    if !shifted.is_empty() {
        text.push('&');
        BASE64.encode_string(&shifted, text);
        text.push('-');
        shifted.clear();
    }
}

/// From modified UTF-7; `None` when it is malformed, or writes in base64 what it must not (so that each name has one
/// spelling).
pub fn decode_utf7(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('&') {
        return Some(Cow::Borrowed(text));
    }
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, shifted)) = rest.split_once('&') {
        name.push_str(before);
        let (encoded, behind) = shifted.split_once('-')?;
        rest = behind;
        if encoded.is_empty() {
            name.push('&');
            continue;
        }
        let octets = BASE64.decode(encoded).ok()?;
        if octets.len() % 2 != 0 {
            return None;
        }
        let units = octets
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        for c in char::decode_utf16(units) {
            name.push(c.ok().filter(|c| !matches!(c, ' '..='~'))?);
        }
    }
    name.push_str(rest);
    // Two shifts in a row could have been one: RFC 3501 forbids it, and names would have two spellings.
    if text.contains("-&") && encode_utf7(&name) != text {
        return None;
    }
    Some(Cow::Owned(name))
}

/// Whether a LIST pattern (reference and pattern joined) matches a whole name: `*` is anything, `%` anything without
/// the delimiter. Both are canonical; INBOX in the pattern is matched in any case.
///
/// Takes time in the order of the product of the lengths, whatever the pattern.
pub fn pattern_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    // reached[i]: the pattern so far matches the first i octets of the name.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for &wanted in pattern {
        match wanted {
            b'*' | b'%' => {
                for at in 0..name.len() {
                    reached[at + 1] |= reached[at] && (wanted == b'*' || name[at] != b'/');
                }
            }
            _ => {
                for at in (0..name.len()).rev() {
                    reached[at + 1] = reached[at] && name[at] == wanted;
                }
                reached[0] = false;
            }
        }
    }
    reached[name.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_rfc_3501() {
        for (name, wire) in [
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("a & b", "a &- b"),
            ("☺!", "&Jjo-!"),
            ("plain", "plain"),
        ] {
            assert_eq!(encode_utf7(name), wire);
            assert_eq!(decode_utf7(wire).as_deref(), Some(name));
        }
    }

    #[test]
    fn malformed_utf7_is_refused() {
        for wire in [
            "&",
            "&Jjo",
            "&AGE-",
            "&Jjo-&Jjo-",
            "&2AA-",
            "&J-",
            "&Jjoo-",
            "&Jj/-",
            "&JjoA-",
        ] {
            assert_eq!(decode_utf7(wire), None, "{wire}");
        }
        // A literal ampersand between two shifts is fine.
        assert_eq!(decode_utf7("&Jjo-&-&Jjo-").as_deref(), Some("☺&☺"));
    }

    #[test]
    fn inbox_has_one_spelling() {
        assert_eq!(canonical("inBox".into()), "INBOX");
        assert_eq!(canonical("inbox/a".into()), "INBOX/a");
        assert_eq!(canonical("inboxes".into()), "inboxes");
        assert_eq!(canonical("a/inbox".into()), "a/inbox");
    }

    #[test]
    fn patterns() {
        for (pattern, name, wanted) in [
            ("*", "a/b", true),
            ("%", "a/b", false),
            ("%", "a", true),
            ("a/%", "a/b", true),
            ("a/%", "a/b/c", false),
            ("a*c", "a/b/c", true),
            ("%/%", "a/b", true),
            ("", "", true),
            ("", "a", false),
            ("a", "ab", false),
            ("*b*", "abc", true),
        ] {
            assert_eq!(pattern_matches(pattern, name), wanted, "{pattern} {name}");
        }
    }

    fn naive(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|at| naive(rest, &name[at..])),
            Some((b'%', rest)) => (0..=name.len())
                .take_while(|at| !name[..*at].contains(&b'/'))
                .any(|at| naive(rest, &name[at..])),
            Some((wanted, rest)) => name.first() == Some(wanted) && naive(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn names_survive_utf7(name in "\\PC{0,20}") {
            let wire = encode_utf7(&name).into_owned();
            prop_assert!(wire.is_ascii());
            let decoded = decode_utf7(&wire);
            prop_assert_eq!(decoded.as_deref(), Some(name.as_str()));
        }

        #[test]
        fn each_name_has_one_spelling(wire in "[&A,a/-]{0,12}") {
            if let Some(name) = decode_utf7(&wire) {
                prop_assert_eq!(encode_utf7(&name), wire.as_str());
            }
        }

        #[test]
        fn patterns_match_as_defined(pattern in "[ab/*%]{0,8}", name in "[ab/]{0,8}") {
            prop_assert_eq!(pattern_matches(&pattern, &name), naive(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
