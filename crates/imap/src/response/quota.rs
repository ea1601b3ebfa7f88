//! QUOTA and QUOTAROOT (RFC 9208 §4.2).

use bytes::{BufMut, BytesMut};

use super::text::{Syntax, astring, mailbox, number};
use crate::command::QuotaResource;

/// One resource of a quota root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Which.
    pub resource: QuotaResource,
    /// In the resource's units.
    pub used: u64,
    /// In the resource's units.
    pub limit: u64,
}

/// `* QUOTA root (…)`
pub fn quota(out: &mut BytesMut, root: &str, usages: &[Usage], syntax: Syntax) {
    out.put_slice(b"* QUOTA ");
    astring(out, root.as_bytes(), syntax);
    out.put_slice(b" (");
    for (at, usage) in usages.iter().enumerate() {
        if at > 0 {
            out.put_u8(b' ');
        }
        out.put_slice(usage.resource.as_str().as_bytes());
        out.put_u8(b' ');
        number(out, usage.used);
        out.put_u8(b' ');
        number(out, usage.limit);
    }
    out.put_slice(b")\r\n");
}

/// `* QUOTAROOT mailbox root …`
pub fn quota_root(out: &mut BytesMut, name: &str, roots: &[&str], syntax: Syntax) {
    out.put_slice(b"* QUOTAROOT ");
    mailbox(out, name, syntax);
    for root in roots {
        out.put_u8(b' ');
        astring(out, root.as_bytes(), syntax);
    }
    out.put_slice(b"\r\n");
}
