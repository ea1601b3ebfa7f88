//! From header blocks to what a description keeps of them.

use crate::address;
use crate::description::{
    Disposition, Envelope, EnvelopeAddress, MAX_ADDRESSES, MAX_REFERENCES, Param, Part,
};
use crate::header::{self, Field};
use crate::param;

/// Longest single value kept, in bytes; a longer one is cut.
const MAX_VALUE: usize = 8 * 1024;
/// Longest message id taken for one.
const MAX_ID: usize = 998;
/// Most languages kept of Content-Language.
const MAX_LANGUAGES: usize = 32;

/// What is kept of the message's own header, and how many addresses may still be kept of any.
#[derive(Debug)]
pub(super) struct Top {
    pub envelope: Envelope,
    pub message_id: String,
    pub references: Vec<String>,
    pub received: u32,
    addresses_left: usize,
}

impl Default for Top {
    fn default() -> Self {
        Self {
            envelope: Envelope::default(),
            message_id: String::new(),
            references: Vec::new(),
            received: 0,
            addresses_left: MAX_ADDRESSES,
        }
    }
}

impl Top {
    /// Reads the message's header.
    pub fn read(&mut self, block: &[u8]) {
        self.envelope = self.read_embedded(block);
        let mut answered = Vec::new();
        for field in header::fields(block) {
            if field.is("received") {
                self.received += 1;
            } else if field.is("references") {
                ids(&field.unfolded(block), &mut self.references);
            } else if field.is("in-reply-to") {
                ids(&field.unfolded(block), &mut answered);
            }
        }
        for id in answered {
            if !self.references.contains(&id) {
                self.references.push(id);
            }
        }
        shorten(&mut self.references);
        self.message_id = self
            .envelope
            .message_id
            .as_deref()
            .map(message_id)
            .unwrap_or_default();
    }

    /// Reads the envelope of any message's header.
    pub fn read_embedded(&mut self, block: &[u8]) -> Envelope {
        let mut envelope = Envelope {
            addresses_whole: true,
            ..Envelope::default()
        };
        for field in header::fields(block) {
            self.read_field(&field, block, &mut envelope);
        }
        envelope
    }

    fn read_field(&mut self, field: &Field<'_>, block: &[u8], envelope: &mut Envelope) {
        let name = field.name;
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let mut whole = true;
        // Lengths first: most fields of a message are none of these.
        match name.len() {
            2 if is("to") => whole = self.addresses(field, block, &mut envelope.to),
            2 if is("cc") => whole = self.addresses(field, block, &mut envelope.cc),
            3 if is("bcc") => whole = self.addresses(field, block, &mut envelope.bcc),
            4 if is("from") => whole = self.addresses(field, block, &mut envelope.from),
            4 if is("date") => keep(&mut envelope.date, field, block),
            6 if is("sender") => whole = self.addresses(field, block, &mut envelope.sender),
            7 if is("subject") => keep(&mut envelope.subject, field, block),
            8 if is("reply-to") => whole = self.addresses(field, block, &mut envelope.reply_to),
            10 if is("message-id") => keep(&mut envelope.message_id, field, block),
            11 if is("in-reply-to") => keep(&mut envelope.in_reply_to, field, block),
            _ => {}
        }
        envelope.addresses_whole &= whole;
    }

    /// A field that stands twice, against RFC 5322 §3.6, counts as one. Whether every word of it is kept.
    fn addresses(&mut self, field: &Field<'_>, block: &[u8], list: &mut Vec<EnvelopeAddress>) -> bool {
        let (found, whole) = address::parse_list_up_to(&field.unfolded(block), self.addresses_left);
        self.addresses_left -= found.len().min(self.addresses_left);
        if list.is_empty() {
            *list = found;
        } else {
            list.extend(found);
        }
        whole
    }
}

/// Reads the fields of a part's own header.
pub(super) fn read_part(block: &[u8], is_message_by_default: bool, part: &mut Part) {
    let mut typed = false;
    for field in header::fields(block) {
        let Some((prefix, name)) = field.name.split_at_checked(8) else {
            continue;
        };
        if !prefix.eq_ignore_ascii_case(b"content-") {
            continue;
        }
        match name.to_ascii_lowercase().as_slice() {
            b"type" if !typed => typed = read_type(&text(&field, block), part),
            b"transfer-encoding" if part.encoding.is_empty() => {
                part.encoding = param::parse(&text(&field, block)).0;
            }
            b"disposition" if part.disposition.is_none() => {
                let (kind, params) = param::parse(&text(&field, block));
                part.disposition = (!kind.is_empty()).then_some(Disposition { kind, params });
            }
            b"id" => keep(&mut part.id, &field, block),
            b"description" => keep(&mut part.description, &field, block),
            b"md5" => keep(&mut part.md5, &field, block),
            b"location" => keep(&mut part.location, &field, block),
            b"language" if part.language.is_empty() => {
                let value = text(&field, block);
                let tags = value.split(',').map(str::trim).filter(|tag| !tag.is_empty());
                part.language = tags.take(MAX_LANGUAGES).map(str::to_owned).collect();
            }
            _ => {}
        }
    }
    if part.encoding.is_empty() {
        part.encoding = "7bit".into();
    }
    if typed {
        return;
    }
    if is_message_by_default {
        part.media_type = "message".into();
        part.subtype = "rfc822".into();
    } else {
        // RFC 2045 §5.2: nothing, or nothing readable, is plain text in US-ASCII.
        part.media_type = "text".into();
        part.subtype = "plain".into();
        part.params = vec![Param {
            name: "charset".into(),
            value: "us-ascii".into(),
        }];
    }
}

fn read_type(value: &str, part: &mut Part) -> bool {
    let (full, params) = param::parse(value);
    let Some((kind, subtype)) = full.split_once('/') else {
        return false;
    };
    let (kind, subtype) = (kind.trim(), subtype.trim());
    // What is behind the subtype without a semicolon is not ours to guess at.
    let subtype = subtype.split_ascii_whitespace().next().unwrap_or_default();
    let token = |text: &str| {
        !text.is_empty() && text.len() <= 127 && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !token(kind) || !token(subtype) {
        return false;
    }
    part.media_type = kind.to_owned();
    part.subtype = subtype.to_owned();
    part.params = params;
    true
}

fn text(field: &Field<'_>, block: &[u8]) -> String {
    let mut text = field.unfolded(block);
    if text.len() > MAX_VALUE {
        text.truncate(text.floor_char_boundary(MAX_VALUE));
    }
    text
}

/// The first field of a name counts.
fn keep(place: &mut Option<String>, field: &Field<'_>, block: &[u8]) {
    if place.is_none() {
        *place = Some(text(field, block));
    }
}

/// Appends the ids between angle brackets, each once.
fn ids(value: &str, list: &mut Vec<String>) {
    for piece in value.split('<').skip(1) {
        let Some((id, _)) = piece.split_once('>') else {
            continue;
        };
        let id: String = id.split_ascii_whitespace().collect();
        if !id.is_empty() && id.len() <= MAX_ID && !list.contains(&id) {
            list.push(id);
            // Twice as many, so that the search above stays short and the newest are still at hand.
            if list.len() >= 2 * MAX_REFERENCES {
                shorten(list);
            }
        }
    }
}

/// Keeps the first, which began the conversation, and the newest.
fn shorten(list: &mut Vec<String>) {
    if list.len() > MAX_REFERENCES {
        list.drain(1..list.len() + 1 - MAX_REFERENCES);
    }
}

/// The id itself, with or without angle brackets.
fn message_id(value: &str) -> String {
    let mut found = Vec::new();
    ids(value, &mut found);
    match found.into_iter().next() {
        Some(id) => id,
        None if value.len() <= MAX_ID && !value.contains(char::is_whitespace) => {
            value.trim_matches(['<', '>']).to_owned()
        }
        None => String::new(),
    }
}
