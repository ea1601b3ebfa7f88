//! Folder names: what is one, and how names lie below one another.
//!
//! A name is UTF-8 with `/` between levels. `INBOX` is the same in any case (RFC 9051 §5.1), also as the first level
//! of another name, and is kept in capitals; every other name is kept as it was given and compared byte by byte.

use postrider_proto::Failure;

use crate::failure::invalid;

/// INBOX, as it is kept.
pub(crate) const INBOX: &str = "INBOX";
/// Between levels.
pub(crate) const SEPARATOR: char = '/';

const MAX_LEVEL_BYTES: usize = 255;
const MAX_BYTES: usize = 1000;
const MAX_LEVELS: usize = 32;

/// The special uses a folder can be given (RFC 6154), in the contract's spelling.
const ROLES: [&str; 6] = ["archive", "drafts", "flagged", "junk", "sent", "trash"];

/// Checks a name and brings INBOX into its one spelling.
pub(crate) fn parse(name: &str) -> Result<String, Failure> {
    if name.is_empty() {
        return Err(invalid("a folder name cannot be empty"));
    }
    if name.len() > MAX_BYTES {
        return Err(invalid(format!("a folder name has at most {MAX_BYTES} bytes")));
    }
    if name
        .chars()
        .any(|char| char.is_control() || matches!(char, '\u{2028}' | '\u{2029}'))
    {
        return Err(invalid("a folder name cannot have control characters"));
    }
    let mut levels = 0;
    for level in name.split(SEPARATOR) {
        levels += 1;
        if level.is_empty() {
            return Err(invalid("a folder name cannot have an empty level"));
        }
        if level.len() > MAX_LEVEL_BYTES {
            return Err(invalid(format!(
                "a level of a folder name has at most {MAX_LEVEL_BYTES} bytes"
            )));
        }
    }
    if levels > MAX_LEVELS {
        return Err(invalid(format!("a folder name has at most {MAX_LEVELS} levels")));
    }
    let (first, rest) = name.split_at(name.find(SEPARATOR).unwrap_or(name.len()));
    Ok(if first.eq_ignore_ascii_case(INBOX) {
        format!("{INBOX}{rest}")
    } else {
        name.into()
    })
}

/// Checks a special use; empty is none.
pub(crate) fn parse_role(role: &str) -> Result<String, Failure> {
    if role.is_empty() || ROLES.contains(&role) {
        Ok(role.into())
    } else {
        Err(invalid(format!("a special use is one of {}", ROLES.join(", "))))
    }
}

/// The names above a name, shortest first.
pub(crate) fn above(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices(SEPARATOR).map(|(at, _)| &name[..at])
}

/// What every name below this one begins with.
pub(crate) fn below(name: &str) -> String {
    format!("{name}{SEPARATOR}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_are_kept() {
        for name in ["Archive", "Projekte/Übung", "日本語/2026", "a b/*%", "Inboxes"] {
            assert_eq!(parse(name).as_deref(), Ok(name));
        }
        assert_eq!(parse("inbox").as_deref(), Ok("INBOX"));
        assert_eq!(parse("InBox/inbox").as_deref(), Ok("INBOX/inbox"));
    }

    #[test]
    fn bad_names_are_refused() {
        let deep = vec!["a"; MAX_LEVELS + 1].join("/");
        let wide = "x".repeat(MAX_LEVEL_BYTES + 1);
        let long = vec!["x".repeat(250); 5].join("/");
        for name in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "a\nb",
            "a\0",
            "\u{85}",
            "a\u{2028}",
            &deep,
            &wide,
            &long,
        ] {
            assert!(parse(name).is_err(), "{name:?}");
        }
        assert!(parse(&"x".repeat(MAX_LEVEL_BYTES)).is_ok());
    }

    #[test]
    fn names_lie_below_one_another() {
        assert_eq!(above("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(above("a").count(), 0);
        assert_eq!(below("a"), "a/");
    }

    #[test]
    fn only_known_roles_are_taken() {
        assert!(parse_role("sent").is_ok() && parse_role("").is_ok());
        assert!(parse_role("inbox").is_err() && parse_role("\\Sent").is_err());
    }
}
