//! Base64 on the wire, and what a user name or password may contain.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Challenges and responses as protocol lines carry them.
pub fn encode(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

/// Reads a client's response or a server's challenge; `None` when it is not canonical base64.
pub fn decode(line: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(line).ok()
}

/// Reads an initial response, where a lone `=` stands for an empty one (RFC 4954 §4, RFC 4959 §3).
pub fn decode_initial(argument: &[u8]) -> Option<Vec<u8>> {
    if argument == b"=" {
        Some(Vec::new())
    } else {
        decode(argument)
    }
}

/// What is left of SASLprep (RFC 4013) here: UTF-8, not empty, at most 1,024 octets, no control characters.
///
/// NFKC is not applied. A user who types the same password in another normal form is refused, never another let in.
pub fn prepare(octets: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(octets).ok()?;
    (!text.is_empty() && text.len() <= 1024 && !text.chars().any(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_prohibited() {
        assert_eq!(prepare("pässword".as_bytes()), Some("pässword"));
        for bad in [
            &b""[..],
            b"a\0b",
            b"a\nb",
            b"a\x7fb",
            b"\xff",
            "a\u{85}b".as_bytes(),
            &[b'a'; 1025],
        ] {
            assert_eq!(prepare(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_lone_equals_sign_is_an_empty_initial_response() {
        assert_eq!(decode_initial(b"="), Some(Vec::new()));
        assert_eq!(decode(b"="), None);
        assert_eq!(decode(b"dGVzdA=="), Some(b"test".to_vec()));
        assert_eq!(decode(b"dGVzdA"), None);
    }
}
