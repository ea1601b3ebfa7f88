//! Paths of MAIL and RCPT.
//!
//! ```text
//! Reverse-path = Path / "<>"                                 RFC 5321 §4.1.2
//! Forward-path = Path / "<Postmaster>"
//! Path         = "<" [ A-d-l ":" ] Mailbox ">"
//! A-d-l        = At-domain *( "," At-domain )                a source route: accepted and ignored
//! ```

use std::fmt;

use postrider_types::{Address, ReversePath};

use crate::reply::{Enhanced, Reply};

/// RCPT TO: an address, or the postmaster of whatever server this is (RFC 5321 §4.5.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain.
    Postmaster,
    /// `<bob@hamburger.edu>`
    Address(Address),
}

impl fmt::Display for ForwardPath {
    /// Without angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardPath::Postmaster => f.write_str("Postmaster"),
            ForwardPath::Address(address) => address.fmt(f),
        }
    }
}

/// A path taken off the front of a command's argument.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    /// What stood between the angle brackets, source route removed.
    pub mailbox: &'a str,
    /// What follows: parameters.
    pub rest: &'a str,
}

/// Takes `FROM:` or `TO:`, spaces (the textbook writes one), and a path off the front of `argument`.
pub(crate) fn take<'a>(argument: &'a str, keyword: &str) -> Result<Taken<'a>, Reply> {
    let syntax = |text: &'static str| Reply::new(501, Enhanced(5, 5, 4), text);
    let after = match argument.split_at_checked(keyword.len()) {
        Some((start, after)) if start.eq_ignore_ascii_case(keyword) => after.trim_start_matches(' '),
        _ => return Err(syntax("write MAIL FROM:<sender> and RCPT TO:<recipient>")),
    };
    let inside = after
        .strip_prefix('<')
        .ok_or_else(|| syntax("put the address in angle brackets: <user@domain>"))?;
    let end = closing_bracket(inside).ok_or_else(|| syntax("the closing angle bracket is missing"))?;
    let rest = &inside[end + 1..];
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(syntax("a space belongs between address and parameters"));
    }
    let mailbox = match inside[..end].strip_prefix('@') {
        Some(route) => {
            route
                .split_once(':')
                .ok_or_else(|| syntax("a source route ends with a colon"))?
                .1
        }
        None => &inside[..end],
    };
    Ok(Taken { mailbox, rest })
}

/// Where the path ends: the first `>` outside a quoted string.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

pub(crate) fn reverse(mailbox: &str) -> Result<ReversePath, Reply> {
    if mailbox.is_empty() {
        return Ok(ReversePath::NULL);
    }
    let address = Address::new(mailbox).map_err(|why| Reply::new(553, Enhanced(5, 1, 7), why.to_string()))?;
    Ok(ReversePath(Some(address)))
}

pub(crate) fn forward(mailbox: &str) -> Result<ForwardPath, Reply> {
    if mailbox.eq_ignore_ascii_case("postmaster") {
        return Ok(ForwardPath::Postmaster);
    }
    let address = Address::new(mailbox).map_err(|why| Reply::new(553, Enhanced(5, 1, 3), why.to_string()))?;
    Ok(ForwardPath::Address(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(argument: &str) -> Result<(&str, &str), u16> {
        take(argument, "FROM:")
            .map(|taken| (taken.mailbox, taken.rest))
            .map_err(|reply| reply.code)
    }

    #[test]
    fn paths_as_people_write_them() {
        assert_eq!(mailbox("FROM:<a@b>"), Ok(("a@b", "")));
        assert_eq!(mailbox("from:   <a@b> SIZE=1"), Ok(("a@b", " SIZE=1")));
        assert_eq!(mailbox("FROM:<>"), Ok(("", "")));
        assert_eq!(mailbox("FROM:<@x,@y:a@b>"), Ok(("a@b", "")));
        assert_eq!(mailbox("FROM:<\"a>b\\\"\"@c> X"), Ok(("\"a>b\\\"\"@c", " X")));
        for bad in [
            "",
            "FROM",
            "FROM:a@b",
            "FROM:<a@b",
            "FROM:<a@b>X",
            "FROM:<@x>",
            "TO:<a@b>",
            "FROM:<\"a@b>",
            "é",
        ] {
            assert_eq!(mailbox(bad), Err(501), "{bad}");
        }
    }

    #[test]
    fn the_postmaster_needs_no_domain() {
        assert_eq!(forward("postMaster"), Ok(ForwardPath::Postmaster));
        assert_eq!(forward("bob").map_err(|reply| reply.code), Err(553));
        assert_eq!(reverse("bob@").map_err(|reply| reply.code), Err(553));
    }
}
