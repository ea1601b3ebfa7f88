//! The mechanisms by name.

use std::fmt;
use std::str::FromStr;

/// A name that is not one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown authentication mechanism")]
pub struct UnknownMechanism;

/// How a user proves who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// The proof does not carry the password.
    ScramSha256,
    /// User name and password in one message.
    Plain,
    /// User name and password, each asked for.
    Login,
}

impl Mechanism {
    /// All of them, the strongest first: the order in which they are offered and chosen.
    pub const ALL: [Mechanism; 3] = [Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }

    /// Whether whoever listens learns the password.
    pub const fn is_plaintext(self) -> bool {
        matches!(self, Mechanism::Plain | Mechanism::Login)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mechanism {
    type Err = UnknownMechanism;
    /// Case does not matter.
    fn from_str(name: &str) -> Result<Self, UnknownMechanism> {
        Self::ALL
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
            .ok_or(UnknownMechanism)
    }
}
