//! PLAIN's one message.
//!
//! ```text
//! message = [authzid] NUL authcid NUL passwd          RFC 4616 §2
//! ```

use postrider_types::Secret;

use crate::text::prepare;

/// User name and password as a PLAIN message carries them.
pub(crate) struct Credentials {
    pub user: String,
    pub password: Secret,
}

/// Reads a message; `None` when it is malformed, or asks to act as somebody else.
pub(crate) fn parse(message: &[u8]) -> Option<Credentials> {
    let mut parts = message.split(|&octet| octet == 0);
    let (authzid, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let user = prepare(user)?;
    if !authzid.is_empty() && !authzid.eq_ignore_ascii_case(user.as_bytes()) {
        return None;
    }
    Some(Credentials {
        user: user.to_owned(),
        password: Secret::new(prepare(password)?),
    })
}

/// Writes a message without an authorization identity.
pub(crate) fn encode(user: &str, password: &Secret) -> Vec<u8> {
    let mut message = Vec::with_capacity(2 + user.len() + password.expose().len());
    message.push(0);
    message.extend_from_slice(user.as_bytes());
    message.push(0);
    message.extend_from_slice(password.expose());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_4616() {
        let tim = parse(b"\0tim\0tanstaaftanstaaf").unwrap();
        assert_eq!(
            (tim.user.as_str(), tim.password.expose()),
            ("tim", &b"tanstaaftanstaaf"[..])
        );
        assert!(
            parse(b"Ursel\0Kurt\0xipj3plmq").is_none(),
            "Kurt may not act as Ursel"
        );
        assert!(parse(b"tim\0tim\0tanstaaftanstaaf").is_some());
    }

    #[test]
    fn malformed_messages_are_refused() {
        for bad in [
            &b""[..],
            b"\0",
            b"\0tim",
            b"\0tim\0",
            b"\0\0pass",
            b"\0tim\0pass\0more",
            b"\0\xff\0pass",
        ] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }
}
