//! Base subjects (RFC 5256 §2.1): what stays of a subject when the marks of replies and forwards are gone.

use crate::word;

/// A subject without marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The text, decoded, in its own case.
    pub text: String,
    /// There was a mark of a reply or a forward.
    pub is_reply: bool,
}

/// Takes the marks off a Subject as it stands in the header.
pub fn base(subject: &str) -> Base {
    // (1) decode, white space to single spaces
    let decoded = word::decode(subject);
    let flat = decoded.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut text = flat.as_str();
    let mut is_reply = false;
    loop {
        // (2) trailers
        while let Some(rest) = without_suffix(text, "(fwd)") {
            text = rest.trim_end();
            is_reply = true;
        }
        // (3) to (5) leaders and blobs
        loop {
            if let Some(rest) = without_leader(text) {
                text = rest;
                is_reply = true;
            } else if let Some(rest) = without_blob(text).filter(|rest| !rest.is_empty()) {
                text = rest;
            } else {
                break;
            }
        }
        // (6) forwards in brackets
        match without_prefix(text, "[fwd:").and_then(|rest| rest.strip_suffix(']')) {
            Some(rest) => {
                text = rest.trim();
                is_reply = true;
            }
            None => break,
        }
    }
    Base {
        text: text.to_owned(),
        is_reply,
    }
}

/// `subj-leader = (*subj-blob subj-refwd) / WSP`, `subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"`
fn without_leader(text: &str) -> Option<&str> {
    let mut rest = text.trim_start();
    while let Some(after) = without_blob(rest) {
        rest = after;
    }
    let rest = ["re", "fwd", "fw"]
        .iter()
        .find_map(|mark| without_prefix(rest, mark))?
        .trim_start();
    let rest = without_blob(rest).unwrap_or(rest);
    rest.strip_prefix(':').map(str::trim_start)
}

/// `subj-blob = "[" *BLOBCHAR "]" *WSP`
fn without_blob(text: &str) -> Option<&str> {
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    (!inside.contains('[')).then(|| rest.trim_start())
}

fn without_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn without_suffix<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let (rest, tail) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    tail.eq_ignore_ascii_case(suffix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn marks_go() {
        for (subject, text, is_reply) in [
            ("ketchup", "ketchup", false),
            ("Re: ketchup", "ketchup", true),
            (
                "RE : [list] Fwd: re[2]: \t ketchup  and  mustard (fwd) (FWD)",
                "ketchup and mustard",
                true,
            ),
            ("[list] ketchup", "ketchup", false),
            ("[list]", "[list]", false),
            ("[Fwd: Re: ketchup]", "ketchup", true),
            ("=?utf-8?q?Re=3A_caf=C3=A9?=", "café", true),
            ("Regarding: x", "Regarding: x", false),
            ("Re:", "", true),
            ("", "", false),
        ] {
            assert_eq!(
                base(subject),
                Base {
                    text: text.into(),
                    is_reply
                },
                "{subject}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_is_left_to_take_off(text in "(\\[|\\]|re|fwd|:| |x|é|\\(fwd\\)|\\[fwd:){0,12}") {
            let once = base(&text);
            prop_assert_eq!(&base(&once.text).text, &once.text);
        }
    }
}
