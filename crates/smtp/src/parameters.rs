//! Parameters of MAIL and RCPT, and the texts in them.
//!
//! ```text
//! esmtp-param = esmtp-keyword [ "=" esmtp-value ]            RFC 5321 §4.1.2
//! xtext       = *( xchar / hexchar )                         RFC 3461 §4
//! hexchar     = "+" 2( %x30-39 / %x41-46 )
//! ```

use crate::reply::{Enhanced, Reply};

/// The parameters behind a path, in order.
pub(crate) fn split(rest: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    rest.split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        })
}

/// A parameter nobody announced.
pub(crate) fn unknown(keyword: &str) -> Reply {
    Reply::new(
        555,
        Enhanced(5, 5, 4),
        format!("parameter {keyword} is not supported"),
    )
}

/// A parameter whose value is missing, wrong or given twice.
pub(crate) fn wrong(keyword: &'static str) -> Reply {
    Reply::new(
        501,
        Enhanced(5, 5, 4),
        format!("the value of {keyword} makes no sense"),
    )
}

/// Sets a value once.
pub(crate) fn once<T>(slot: &mut Option<T>, value: Option<T>, keyword: &'static str) -> Result<(), Reply> {
    match value {
        Some(value) if slot.is_none() => {
            *slot = Some(value);
            Ok(())
        }
        _ => Err(wrong(keyword)),
    }
}

/// Whether it is xtext of 1 to `limit` octets.
pub(crate) fn is_xtext(text: &str, limit: usize) -> bool {
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        let fine = match octet {
            b'+' => {
                let mut hex = || {
                    octets
                        .next()
                        .is_some_and(|octet| matches!(octet, b'0'..=b'9' | b'A'..=b'F'))
                };
                hex() && hex()
            }
            b'=' => false,
            octet => octet.is_ascii_graphic(),
        };
        if !fine {
            return false;
        }
    }
    (1..=limit).contains(&text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext() {
        assert!(is_xtext("QQ314159", 100));
        assert!(is_xtext("a+2Bb+3D", 100));
        for bad in ["", "a b", "a=b", "a+2", "a+2b", "a+", "é"] {
            assert!(!is_xtext(bad, 100), "{bad}");
        }
        assert!(!is_xtext("abc", 2));
    }
}
