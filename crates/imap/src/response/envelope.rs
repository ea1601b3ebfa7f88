//! ENVELOPE (RFC 9051 §7.5.2).
//!
//! ```text
//! envelope = "(" env-date SP env-subject SP env-from SP env-sender SP env-reply-to SP env-to SP env-cc SP
//!            env-bcc SP env-in-reply-to SP env-message-id ")"
//! address  = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"
//! ```

use bytes::{BufMut, BytesMut};
use postrider_message::{Envelope, EnvelopeAddress};

use super::text::{Syntax, nstring};

pub(super) fn put(out: &mut BytesMut, envelope: &Envelope, syntax: Syntax) {
    out.put_u8(b'(');
    text(out, envelope.date.as_deref(), syntax);
    text(out, envelope.subject.as_deref(), syntax);
    addresses(out, &envelope.from, syntax);
    addresses(out, envelope.sender_or_from(), syntax);
    addresses(out, envelope.reply_to_or_from(), syntax);
    addresses(out, &envelope.to, syntax);
    addresses(out, &envelope.cc, syntax);
    addresses(out, &envelope.bcc, syntax);
    text(out, envelope.in_reply_to.as_deref(), syntax);
    nstring(out, envelope.message_id.as_deref().map(str::as_bytes), syntax);
    out.put_u8(b')');
}

/// `nstring` and a space.
fn text(out: &mut BytesMut, value: Option<&str>, syntax: Syntax) {
    nstring(out, value.map(str::as_bytes), syntax);
    out.put_u8(b' ');
}

/// A list of addresses, or NIL, and a space.
fn addresses(out: &mut BytesMut, list: &[EnvelopeAddress], syntax: Syntax) {
    if list.is_empty() {
        out.put_slice(b"NIL ");
        return;
    }
    out.put_u8(b'(');
    for address in list {
        out.put_u8(b'(');
        text(out, address.name.as_deref(), syntax);
        text(out, address.route.as_deref(), syntax);
        text(out, address.mailbox.as_deref(), syntax);
        nstring(out, address.host.as_deref().map(str::as_bytes), syntax);
        out.put_u8(b')');
    }
    out.put_slice(b") ");
}
