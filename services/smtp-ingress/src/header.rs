//! What is put on top of a message, and what its header tells.

use std::net::IpAddr;

use postrider_message::date::DateTime;
use postrider_message::header;
use postrider_message::trace::{Missing, Protocol, Received, authors, missing, return_path};
use postrider_types::{Address, ReversePath};

/// Where a message came from, for `Received:`.
pub(crate) struct Origin {
    /// What the client called itself.
    pub helo: String,
    pub ip: Option<IpAddr>,
    pub protocol: Protocol,
    /// TLS version and cipher.
    pub tls: Option<String>,
}

/// The fields on top, as far as they are known before the message.
pub(crate) struct Top {
    /// Return-Path, then Received.
    pub fields: String,
    /// Octets of Return-Path: they are for mailboxes, not for other servers.
    pub skip: u64,
}

/// What the fields on top are made of.
pub(crate) struct Stamp<'a> {
    pub origin: &'a Origin,
    pub by: &'a str,
    pub id: &'a str,
    pub sender: &'a ReversePath,
    pub recipient: Option<&'a Address>,
    pub seconds: i64,
}

impl Stamp<'_> {
    pub(crate) fn top(&self) -> Top {
        let mut fields = return_path(self.sender);
        let skip = fields.len() as u64;
        let received = Received {
            helo: &self.origin.helo,
            ip: self.origin.ip,
            name: None,
            by: self.by,
            protocol: self.origin.protocol,
            id: self.id,
            recipient: self.recipient,
            tls: self.origin.tls.as_deref(),
            time: DateTime::utc(self.seconds),
        };
        fields.push_str(&received.write());
        Top { fields, skip }
    }
}

/// What a submission lacks is added under this identity (RFC 6409 §8).
pub(crate) struct Completion {
    pub sender: Address,
    pub host: String,
    pub unique: String,
    pub seconds: i64,
}

/// What the header of a message tells.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// `Received:` fields, ours not among them.
    pub received: u32,
    /// Octets above 127 in the header.
    pub eight_bit: bool,
    /// Without angle brackets; of the message as it goes on.
    pub message_id: String,
    /// From and Sender, as far as they are well formed; for a submission only.
    pub authors: Vec<Address>,
    /// What goes between the fields on top and the message: fields that are missing, and the empty line that is missing
    /// when a message has no header at all.
    pub insertion: String,
}

/// Looks at the header at the front of `message`; all of it is taken for header when the header does not end in it.
pub(crate) fn examine(message: &[u8], completion: Option<&Completion>) -> Facts {
    let block = &message[..header::end(message).unwrap_or(message.len())];
    let mut facts = Facts {
        eight_bit: !block.is_ascii(),
        ..Facts::default()
    };
    for field in header::fields(block) {
        if field.is("received") {
            facts.received += 1;
        } else if field.is("message-id") && facts.message_id.is_empty() {
            facts.message_id = bare_id(&field.unfolded(block));
        }
    }
    if let Some(completion) = completion {
        facts.authors = authors(block);
        let lacks: Missing = missing(block);
        if !lacks.is_empty() {
            let time = DateTime::utc(completion.seconds);
            facts.insertion = lacks.fields(time, &completion.sender, &completion.unique, &completion.host);
        }
        if facts.message_id.is_empty() {
            facts.message_id = header::first(facts.insertion.as_bytes(), "message-id")
                .map(|id| bare_id(&id))
                .unwrap_or_default();
        }
    }
    if !header::begins_with_field(message) {
        facts.insertion.push_str("\r\n");
    }
    facts
}

fn bare_id(value: &str) -> String {
    let inside = value.trim().trim_start_matches('<');
    inside
        .split('>')
        .next()
        .unwrap_or_default()
        .chars()
        .take(255)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completion() -> Completion {
        Completion {
            sender: "alice@crepes.fr".parse().unwrap(),
            host: "crepes.fr".into(),
            unique: "abc".into(),
            seconds: 1_795_338_960,
        }
    }

    #[test]
    fn a_letter_without_a_header_gets_one() {
        let facts = examine(b"Do you like ketchup?\r\n", None);
        assert_eq!(facts.insertion, "\r\n");
        let facts = examine(b"Do you like ketchup?\r\n", Some(&completion()));
        assert!(
            facts.insertion.contains("From: alice@crepes.fr\r\n"),
            "{}",
            facts.insertion
        );
        assert!(facts.insertion.contains("Message-ID: <abc@crepes.fr>\r\n"));
        assert!(facts.insertion.ends_with("\r\n\r\n"));
        assert_eq!(facts.message_id, "abc@crepes.fr");
    }

    #[test]
    fn a_whole_header_is_left_alone() {
        let message = b"Received: a\r\nReceived: b\r\nFrom: Alice <alice@crepes.fr>\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\
            Message-ID: <x@y>\r\n\r\nReceived: not a field\r\n";
        let facts = examine(message, Some(&completion()));
        assert_eq!(
            (
                facts.received,
                facts.insertion.as_str(),
                facts.message_id.as_str()
            ),
            (2, "", "x@y")
        );
        assert_eq!(facts.authors, ["alice@crepes.fr".parse().unwrap()]);
        assert!(!facts.eight_bit);
    }

    #[test]
    fn return_path_is_on_top_and_can_be_skipped() {
        let origin = Origin {
            helo: "crepes.fr".into(),
            ip: None,
            protocol: Protocol::default(),
            tls: None,
        };
        let sender = ReversePath(Some("alice@crepes.fr".parse().unwrap()));
        let stamp = Stamp {
            origin: &origin,
            by: "h",
            id: "1",
            sender: &sender,
            recipient: None,
            seconds: 0,
        };
        let top = stamp.top();
        let (path, rest) = top.fields.split_at(top.skip as usize);
        assert_eq!(path, "Return-Path: <alice@crepes.fr>\r\n");
        assert!(rest.starts_with("Received: from crepes.fr"));
    }
}
