//! `xtext = *( xchar / hexchar )` (RFC 3461 §4): how ENVID and ORCPT carry any text.

use crate::transfer::hex;

/// The text behind an xtext; `None` if it is none, or not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'+', [high, low, more @ ..]) => {
                out.push(hex(*high)? << 4 | hex(*low)?);
                rest = more;
            }
            (b'!'..=b'~', _) if byte != b'+' && byte != b'=' => out.push(byte),
            _ => return None,
        }
    }
    String::from_utf8(out).ok()
}

/// Any text as xtext.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'+' && byte != b'=' => out.push(char::from(byte)),
            _ => out.push_str(&format!("+{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn xtext_of_the_standard() {
        assert_eq!(decode("Dana@Ivory.EDU").as_deref(), Some("Dana@Ivory.EDU"));
        assert_eq!(decode("a+2Bb+3Dc").as_deref(), Some("a+b=c"));
        for bad in ["+", "+2", "a=b", "+zz", "a b", "+FF"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in "\\PC{0,40}") {
            prop_assert_eq!(decode(&encode(&text)), Some(text));
        }
    }
}
