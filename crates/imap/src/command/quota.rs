//! `GETQUOTA`, `GETQUOTAROOT`, `SETQUOTA` (RFC 9208 §4).
//!
//! ```text
//! getquota     = "GETQUOTA" SP quota-root-name
//! getquotaroot = "GETQUOTAROOT" SP mailbox
//! setquota     = "SETQUOTA" SP quota-root-name SP "(" [setquota-resource *(SP setquota-resource)] ")"
//! setquota-resource = resource-name SP resource-limit
//! ```

use super::writer::Writer;
use crate::parse::{Cursor, ParseError, Result};

/// A resource with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuotaResource {
    /// `STORAGE`, in units of 1024 bytes.
    Storage,
    /// `MESSAGE`, a count.
    Message,
    /// `MAILBOX`, a count.
    Mailbox,
}

/// `SETQUOTA`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetQuota {
    /// The quota root's name.
    pub root: String,
    /// New limits.
    pub limits: Vec<(QuotaResource, u64)>,
}

impl QuotaResource {
    /// All of them.
    pub const ALL: [QuotaResource; 3] = [Self::Storage, Self::Message, Self::Mailbox];

    /// As QUOTA writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            QuotaResource::Storage => "STORAGE",
            QuotaResource::Message => "MESSAGE",
            QuotaResource::Mailbox => "MAILBOX",
        }
    }
}

impl SetQuota {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        cursor.space()?;
        let root = cursor.text("a quota root")?;
        cursor.space()?;
        let limits = cursor.list("resources", 16, |cursor| {
            let name = cursor.atom("a resource")?;
            let known = QuotaResource::ALL
                .into_iter()
                .find(|known| known.as_str().eq_ignore_ascii_case(name));
            cursor.space()?;
            Ok((
                known.ok_or(ParseError::Expected("a resource"))?,
                cursor.number64("a limit")?,
            ))
        })?;
        Ok(Self { root, limits })
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        writer.text(" ");
        writer.astring(self.root.as_bytes());
        writer.text(" (");
        for (at, (resource, limit)) in self.limits.iter().enumerate() {
            writer.text(if at == 0 { "" } else { " " });
            writer.text(resource.as_str());
            writer.text(" ");
            writer.number(*limit);
        }
        writer.text(")");
    }
}
