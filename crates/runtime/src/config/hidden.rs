//! Values that `config show` must not print.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

const SHOWN: &str = "(hidden)";

/// A password or token: read from the configuration, never printed.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl Hidden {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { SHOWN })
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

/// A URL whose password is not printed.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct HiddenUrl(String);

impl HiddenUrl {
    /// The whole URL.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The URL with `(hidden)` in place of a password.
    pub fn shown(&self) -> String {
        let start = self.0.find("://").map_or(0, |at| at + 3);
        let (scheme, rest) = self.0.split_at(start);
        let authority = rest.find(['/', '?']).unwrap_or(rest.len());
        let Some(at) = rest[..authority].rfind('@') else {
            return self.0.clone();
        };
        match rest[..at].split_once(':') {
            Some((user, _)) => format!("{scheme}{user}:{SHOWN}{}", &rest[at..]),
            None => self.0.clone(),
        }
    }
}

impl Serialize for HiddenUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

impl fmt::Debug for HiddenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_hidden() {
        let shown = |url: &str| HiddenUrl(url.into()).shown();
        assert_eq!(shown("redis://redis:6379"), "redis://redis:6379");
        assert_eq!(
            shown("redis://bob:hun@gry@redis:6379/0"),
            "redis://bob:(hidden)@redis:6379/0"
        );
        assert_eq!(shown("redis://:hungry@redis"), "redis://:(hidden)@redis");
    }
}
