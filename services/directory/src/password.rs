//! Passwords: what may be one, and the ones we make.

use postrider_sasl::prepare;
use postrider_types::Secret;
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The longest password, in octets: it still fits a POP3 command line (RFC 2449 §4) with its verb.
const MAX_OCTETS: usize = 240;

/// No `0 o 1 i l`: what is read from paper can be typed.
const READABLE: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// RFC 4648 §6, in lower case.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Characters of an app password without its dashes: 128 bits in base32.
const APP_CHARS: usize = 26;

/// Checks a password somebody chose.
pub(crate) fn check_chosen(password: &Secret, min_chars: usize) -> Result<()> {
    let text = prepare(password.expose())
        .ok_or_else(|| Error::Invalid("a password is UTF-8 without control characters".into()))?;
    if text.chars().count() < min_chars {
        return Err(Error::Invalid(format!(
            "a password has at least {min_chars} characters"
        )));
    }
    if text.len() > MAX_OCTETS {
        return Err(Error::Invalid(format!(
            "a password has at most {MAX_OCTETS} octets"
        )));
    }
    Ok(())
}

/// A fresh password for people to read and type: `abcde-fghjk-mnpqr-stuvw`, 99 random bits.
pub(crate) fn generate() -> Secret {
    let mut text = String::with_capacity(23);
    for position in 0..20 {
        if position > 0 && position % 5 == 0 {
            text.push('-');
        }
        text.push(char::from(READABLE[rand::random_range(0..READABLE.len())]));
    }
    Secret::new(text)
}

/// A fresh app password: 128 random bits as base32, in groups.
pub(crate) fn generate_app() -> Secret {
    let bits: u128 = rand::random();
    let mut text = String::with_capacity(APP_CHARS + APP_CHARS / 4);
    for position in 0..APP_CHARS {
        if position > 0 && position % 4 == 0 {
            text.push('-');
        }
        let five = (bits >> (5 * position)) & 31;
        text.push(char::from(BASE32[five as usize]));
    }
    Secret::new(text)
}

/// What is stored of an app password, or `None` when the text cannot be one. Dashes, spaces and case do not matter.
pub(crate) fn app_hash(password: &Secret) -> Option<[u8; 32]> {
    let mut plain = Vec::with_capacity(APP_CHARS);
    for byte in password.expose() {
        let lower = byte.to_ascii_lowercase();
        match lower {
            b'-' | b' ' => {}
            _ if BASE32.contains(&lower) && plain.len() < APP_CHARS => plain.push(lower),
            _ => return None,
        }
    }
    (plain.len() == APP_CHARS).then(|| Sha256::digest(&plain).into())
}

/// Compares without telling by its time how much was equal.
pub(crate) fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_can_be_read_and_are_never_the_same() {
        let (one, two) = (generate(), generate());
        assert_ne!(one, two);
        let text = one.expose_str().unwrap();
        let groups: Vec<_> = text.split('-').collect();
        assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [5; 4]);
        assert!(!text.contains(['0', 'o', '1', 'i', 'l']));
        assert!((READABLE.len() as f64).log2() * 20.0 >= 90.0);
        assert_eq!(check_chosen(&one, 8), Ok(()));
    }

    #[test]
    fn app_passwords_are_recognised_however_they_are_typed() {
        let password = generate_app();
        let text = password.expose_str().unwrap();
        let hash = app_hash(&password).unwrap();
        assert_eq!(
            app_hash(&Secret::new(text.to_uppercase().replace('-', " "))),
            Some(hash)
        );
        assert_eq!(app_hash(&Secret::new(text.replace('-', ""))), Some(hash));
        assert_ne!(app_hash(&generate_app()), Some(hash));
        for other in [
            "hungry",
            "",
            &format!("{text}a"),
            &text[1..],
            &text.replace('-', "8"),
        ] {
            assert_eq!(app_hash(&Secret::new(other)), None, "{other}");
        }
    }

    #[test]
    fn chosen_passwords_have_limits() {
        assert_eq!(check_chosen(&Secret::new("hungry"), 6), Ok(()));
        assert_eq!(check_chosen(&Secret::new("grüße!"), 6), Ok(()));
        for bad in [
            &b"short"[..],
            b"with\0nul",
            b"line\r\nend",
            b"\xff\xff\xff\xff\xff\xff",
            &[b'x'; 241],
        ] {
            assert!(
                matches!(check_chosen(&Secret::new(bad), 6), Err(Error::Invalid(_))),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn comparison_sees_every_difference() {
        assert!(constant_time_eq(b"abc", b"abc"));
        for other in [&b"abd"[..], b"ab", b"abcd", b""] {
            assert!(!constant_time_eq(b"abc", other));
        }
    }
}
