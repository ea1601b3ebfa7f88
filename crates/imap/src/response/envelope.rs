//! ENVELOPE (RFC 9051 §7.5.2).
//!
//! ```text
//! envelope = "(" env-date SP env-subject SP env-from SP env-sender SP env-reply-to SP env-to SP env-cc SP
//!            env-bcc SP env-in-reply-to SP env-message-id ")"
//! address  = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"
//! ```

use bytes::{BufMut, BytesMut};
use postrider_message::{AddressesView, EnvelopeView};

use super::text::{Syntax, nstring};

/// Appends `envelope`.
pub fn put<'a>(out: &mut BytesMut, envelope: impl Into<EnvelopeView<'a>>, syntax: Syntax) {
    let envelope = envelope.into();
    out.put_u8(b'(');
    text(out, envelope.date, syntax);
    text(out, envelope.subject, syntax);
    addresses(out, envelope.from_addresses(), syntax);
    addresses(out, envelope.sender_or_from(), syntax);
    addresses(out, envelope.reply_to_or_from(), syntax);
    addresses(out, envelope.to(), syntax);
    addresses(out, envelope.cc(), syntax);
    addresses(out, envelope.bcc(), syntax);
    text(out, envelope.in_reply_to, syntax);
    nstring(out, envelope.message_id, syntax);
    out.put_u8(b')');
}

/// `nstring` and a space.
fn text(out: &mut BytesMut, value: Option<&[u8]>, syntax: Syntax) {
    nstring(out, value, syntax);
    out.put_u8(b' ');
}

/// A list of addresses, or NIL, and a space.
fn addresses(out: &mut BytesMut, list: AddressesView<'_>, syntax: Syntax) {
    if list.is_empty() {
        out.put_slice(b"NIL ");
        return;
    }
    out.put_u8(b'(');
    for address in list {
        out.put_u8(b'(');
        text(out, address.name, syntax);
        text(out, address.route, syntax);
        text(out, address.mailbox, syntax);
        nstring(out, address.host, syntax);
        out.put_u8(b')');
    }
    out.put_slice(b") ");
}
