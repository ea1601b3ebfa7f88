//! `LOGIN` and `AUTHENTICATE` (RFC 9051 §6.2.2, §6.2.3).
//!
//! ```text
//! login        = "LOGIN" SP userid SP password
//! authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp]
//! initial-resp = (base64 / "=")
//! ```

use postrider_types::Secret;

/// `LOGIN`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user name as sent, valid UTF-8.
    pub user: String,
    /// The password as sent.
    pub password: Secret,
}

/// `AUTHENTICATE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticate {
    /// The mechanism's name in upper case.
    pub mechanism: String,
    /// The initial response (SASL-IR), decoded; `=` is the empty one.
    pub initial: Option<Secret>,
}
