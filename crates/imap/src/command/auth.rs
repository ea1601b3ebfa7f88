//! `LOGIN` and `AUTHENTICATE` (RFC 9051 §6.2.2, §6.2.3).
//!
//! ```text
//! login        = "LOGIN" SP userid SP password
//! authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp]
//! initial-resp = (base64 / "=")
//! ```

use postrider_types::Secret;

use super::writer::Writer;
use crate::parse::{Cursor, ParseError, Result};

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

impl Login {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        cursor.space()?;
        let user = cursor.text("a user name")?;
        cursor.space()?;
        let password = Secret::new(cursor.astring("a password")?);
        Ok(Self { user, password })
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        writer.text(" ");
        writer.astring(self.user.as_bytes());
        writer.text(" ");
        writer.astring(self.password.expose());
    }
}

impl Authenticate {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        cursor.space()?;
        let mechanism = cursor.atom("a mechanism's name")?.to_ascii_uppercase();
        let mut initial = None;
        if cursor.eat(b' ') {
            let text = cursor.take_while(|byte| byte != b' ');
            let decoded = postrider_sasl::decode_initial(text);
            initial = Some(Secret::new(
                decoded.ok_or(ParseError::Expected("an initial response in base64"))?,
            ));
        }
        Ok(Self { mechanism, initial })
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        writer.text(" ");
        writer.text(&self.mechanism);
        if let Some(initial) = &self.initial {
            writer.text(" ");
            let text = postrider_sasl::encode(initial.expose());
            writer.text(if text.is_empty() { "=" } else { &text });
        }
    }
}
