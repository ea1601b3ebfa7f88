//! `GETQUOTA`, `GETQUOTAROOT`, `SETQUOTA` (RFC 9208 §4).
//!
//! ```text
//! getquota     = "GETQUOTA" SP quota-root-name
//! getquotaroot = "GETQUOTAROOT" SP mailbox
//! setquota     = "SETQUOTA" SP quota-root-name SP "(" [setquota-resource *(SP setquota-resource)] ")"
//! setquota-resource = resource-name SP resource-limit
//! ```

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
