//! The text of messages: decoded, and searched without regard to case.

use std::ops::Range;

use memchr::memmem::Finder;

use crate::description::{Description, EnvelopeAddress, Kind, Part};
use crate::html::Html;
use crate::view::{AddressField, EnvelopeView};
use crate::{charset, header, transfer, word};

/// A streaming decoder of a text part: transfer encoding, charset, and for HTML the tags. Line ends stay as they are.
#[derive(Debug)]
pub struct PartText {
    transfer: transfer::Decoder,
    charset: charset::Decoder,
    html: Option<Html>,
    octets: Vec<u8>,
    text: String,
}

impl PartText {
    /// `None`: the part is not text, or its transfer encoding is not known.
    pub fn new(part: &Part) -> Option<Self> {
        if part.kind() != Kind::Text {
            return None;
        }
        let encoding = transfer::Encoding::from_name(&part.encoding)?;
        Some(Self {
            transfer: transfer::Decoder::new(encoding),
            charset: charset::Decoder::new(&part.charset()),
            html: (part.subtype == "html").then(Html::default),
            octets: Vec::new(),
            text: String::new(),
        })
    }

    /// Decodes a piece of the part's body to the end of `out`.
    pub fn push(&mut self, piece: &[u8], out: &mut String) {
        self.octets.clear();
        self.transfer.push(piece, &mut self.octets);
        match &mut self.html {
            Some(html) => {
                self.text.clear();
                self.charset.push(&self.octets, &mut self.text);
                html.push(&self.text, out);
            }
            None => self.charset.push(&self.octets, out),
        }
    }

    /// The body ends; whatever was held back.
    pub fn finish(self, out: &mut String) {
        let Self {
            transfer,
            mut charset,
            html,
            mut octets,
            mut text,
        } = self;
        octets.clear();
        text.clear();
        transfer.finish(&mut octets);
        charset.push(&octets, &mut text);
        charset.finish(&mut text);
        match html {
            Some(mut html) => {
                html.push(&text, out);
                html.finish(out);
            }
            None => out.push_str(&text),
        }
    }
}

/// The text of an HTML document.
pub fn from_html(html: &str) -> String {
    let mut out = String::new();
    let mut converter = Html::default();
    converter.push(html, &mut out);
    converter.finish(&mut out);
    out
}

/// A header block as text: a line `Name: value` for each field, unfolded, encoded-words decoded.
pub fn header_text(block: &[u8]) -> String {
    let mut out = String::with_capacity(block.len());
    for field in header::fields(block) {
        out.push_str(&charset::header_text(field.name));
        out.push_str(": ");
        out.push_str(&word::decode(&field.unfolded(block)));
        out.push('\n');
    }
    out
}

/// Where a search looks (RFC 9051 §6.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The message's header.
    Header,
    /// Its text parts, and the headers of embedded messages.
    Body,
    /// Both.
    Text,
}

/// A stretch of the raw message that has text.
#[derive(Debug, Clone)]
pub enum Stretch<'a> {
    /// A header block: read it whole, see [`header_text`].
    Header(Range<u64>),
    /// A text part: read it in pieces through the decoder, see [`PartText`].
    Part(Range<u64>, &'a Part),
}

/// What has to be read to search a message, in order.
pub fn stretches(description: &Description, scope: Scope) -> impl Iterator<Item = Stretch<'_>> {
    let root = &description.structure;
    let top = (scope != Scope::Body).then(|| Stretch::Header(root.header_range()));
    let parts = root
        .walk()
        .filter(move |_| scope != Scope::Header)
        .filter_map(|part| match part.kind() {
            Kind::Message => part
                .children
                .first()
                .map(|child| Stretch::Header(child.header_range())),
            Kind::Text => Some(Stretch::Part(part.body_range(), part)),
            Kind::Multipart | Kind::Other => None,
        });
    top.into_iter().chain(parts)
}

/// A text to look for, without regard to case.
#[derive(Debug, Clone)]
pub struct Needle {
    finder: Finder<'static>,
    length: usize,
    /// See [`is_plain`].
    plain: bool,
}

impl Needle {
    /// For a text of any length; the empty one is in everything.
    pub fn new(text: &str) -> Self {
        let folded = fold(text);
        Self {
            finder: Finder::new(folded.as_bytes()).into_owned(),
            length: folded.len(),
            plain: is_plain(text),
        }
    }

    /// Whether the text has it.
    pub fn is_in(&self, text: &str) -> bool {
        self.length == 0 || self.finder.find(fold(text).as_bytes()).is_some()
    }

    /// Whether an unfolded header value has it once that is decoded. `room` is where that happens: kept for the next value, it
    /// is allocated once.
    pub fn is_in_value(&self, value: &[u8], room: &mut String) -> bool {
        room.clear();
        put_decoded(room, value);
        self.is_in_room(room)
    }

    /// Whether the addresses of a field have it, names decoded; `None`: only the header can tell.
    pub fn is_in_addresses(
        &self,
        envelope: &EnvelopeView<'_>,
        field: AddressField,
        room: &mut String,
    ) -> Option<bool> {
        room.clear();
        for address in envelope.addresses(field) {
            if let Some(name) = address.name {
                put_decoded(room, name);
                room.push('\n');
            }
            room.push_str(&String::from_utf8_lossy(address.mailbox.unwrap_or_default()));
            if let Some(host) = address.host.filter(|host| !host.is_empty()) {
                room.push('@');
                room.push_str(&String::from_utf8_lossy(host));
            }
            room.push('\n');
        }
        if self.length > 0 && self.is_in_room(room) {
            return Some(true);
        }
        (self.plain && envelope.addresses_whole).then_some(false)
    }

    fn is_in_room(&self, room: &mut String) -> bool {
        if !room.is_ascii() {
            return self.is_in(room);
        }
        room.make_ascii_lowercase();
        self.length == 0 || self.finder.find(room.as_bytes()).is_some()
    }

    /// Begins a search through a text that comes in pieces.
    pub fn search(&self) -> Search<'_> {
        Search {
            needle: self,
            tail: Vec::new(),
            found: self.length == 0,
        }
    }
}

/// A search through pieces; it holds as much of them as the needle is long.
#[derive(Debug)]
pub struct Search<'a> {
    needle: &'a Needle,
    tail: Vec<u8>,
    found: bool,
}

impl Search<'_> {
    /// Takes the next piece; whether the needle has been found so far.
    pub fn push(&mut self, text: &str) -> bool {
        if !self.found {
            self.tail.extend_from_slice(fold(text).as_bytes());
            self.found = self.needle.finder.find(&self.tail).is_some();
            let done = self.tail.len().saturating_sub(self.needle.length - 1);
            self.tail.drain(..done);
        }
        self.found
    }
}

/// Whether a text that is in a field of addresses, outside of comments, must be in one name or address there: it has no sign
/// that stands between these, and none that may be written in several ways.
fn is_plain(text: &str) -> bool {
    let in_between = |c: char| "()<>[]:;,\"\\".contains(c) || c.is_control();
    let odd_spaces = text.trim() != text || text.contains("  ") || text.contains(' ') && text.contains('@');
    !text.is_empty() && !odd_spaces && !text.contains(in_between)
}

/// Appends a header value, encoded-words decoded.
fn put_decoded(out: &mut String, value: &[u8]) {
    let text = String::from_utf8_lossy(value);
    if text.contains("=?") {
        out.push_str(&word::decode(&text));
    } else {
        out.push_str(&text);
    }
}

/// Case folding: small letters, character by character, both small sigmas alike.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars()
        .flat_map(char::to_lowercase)
        .map(|c| if c == 'ς' { 'σ' } else { c })
        .collect()
}

/// Whether a message that is in memory has the text.
pub fn contains(raw: &[u8], description: &Description, needle: &Needle, scope: Scope) -> bool {
    stretches(description, scope).any(|stretch| match stretch {
        Stretch::Header(range) => needle.is_in(&header_text(crate::slice(raw, range))),
        Stretch::Part(range, part) => part_contains(crate::slice(raw, range), part, needle),
    })
}

/// Whether a field of this name has the text in its decoded value; for the empty text, whether there is such a field. In a
/// field of addresses the text may also be in an address as it is meant, without comments and folding between its parts.
pub fn header_contains(block: &[u8], name: &str, needle: &Needle) -> bool {
    let mut fields = header::fields(block).filter(|field| field.is(name));
    fields.any(|field| {
        let value = field.unfolded(block);
        needle.is_in(&word::decode(&value)) || has_addresses(name) && in_addresses(&value, needle)
    })
}

/// Whether a field of this name is a list of addresses (RFC 5322 §3.6.2, §3.6.3).
fn has_addresses(name: &str) -> bool {
    ["From", "To", "Cc", "Bcc", "Sender", "Reply-To"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

fn in_addresses(value: &str, needle: &Needle) -> bool {
    // Only comments, quotes and white space make an address look other than it is meant.
    value.contains(['(', '"', ' ', '\t'])
        && crate::address::parse_list(value)
            .iter()
            .filter_map(EnvelopeAddress::address)
            .any(|address| needle.is_in(&address))
}

fn part_contains(body: &[u8], part: &Part, needle: &Needle) -> bool {
    let Some(mut decoder) = PartText::new(part) else {
        return false;
    };
    let mut search = needle.search();
    let mut text = String::new();
    for piece in body.chunks(64 * 1024) {
        text.clear();
        decoder.push(piece, &mut text);
        if search.push(&text) {
            return true;
        }
    }
    text.clear();
    decoder.finish(&mut text);
    search.push(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_however_it_is_written() {
        let block =
            b"From: <alice (at home)@ (in France) crepes.fr>\r\nX-From: <alice (x)@crepes.fr>\r\n\r\n";
        let needle = Needle::new("Alice@crepes.fr");
        assert!(header_contains(block, "from", &needle));
        assert!(header_contains(block, "from", &Needle::new("at home")));
        assert!(!header_contains(block, "x-from", &needle));
        assert!(!header_contains(block, "to", &needle));
    }

    #[test]
    fn addresses_tell_what_their_field_has() {
        let fields = [
            "Alice <alice@crepes.fr>, \"Bo, B\" <bob@hamburger.edu>",
            "=?utf-8?q?Caf=C3=A9?= du Coin <cafe@crepes.fr>, friends: carol@hamburger.edu, dan@hamburger.edu;",
            "alice@crepes.fr (Alice at home)",
            "foo bar@crepes.fr baz",
            "<a b@crepes.fr> tail <c@crepes.fr>",
            "<@relay.example:alice@crepes.fr>",
            "nobody at all",
            "Al  ice\tX <alice@crepes.fr>",
            "",
        ];
        let needles = [
            "alice",
            "ALICE@crepes.fr",
            "bo, b",
            "b <bob",
            "café du",
            "friends",
            "dan@",
            "at home",
            "foo bar",
            "bar@",
            "tail",
            "a b",
            "relay",
            "body at",
            "al ice",
            "ice x",
            "crepes.fr baz",
            "ketchup",
            "e@c",
            "@",
        ];
        let mut decided = 0;
        for field in fields {
            let message = format!("From: {field}\r\n\r\n");
            let description = crate::describe(message.as_bytes());
            let envelope = EnvelopeView::from(&description.envelope);
            for text in needles {
                let needle = Needle::new(text);
                let told = needle.is_in_addresses(&envelope, AddressField::From, &mut String::new());
                let in_field = header_contains(message.as_bytes(), "from", &needle);
                match told {
                    // Of white space, a name has one where the field may have more.
                    Some(true) => assert!(in_field || field.contains("  "), "{text} in {field}"),
                    Some(false) => assert!(!in_field, "{text} not in {field}"),
                    None => {}
                }
                decided += usize::from(told.is_some());
            }
        }
        assert!(decided > fields.len() * needles.len() / 3, "{decided}");
    }

    const MESSAGE: &[u8] = b"Subject: =?utf-8?q?Caf=C3=A9?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        <p>Do you <b>l=\r\nike</b> CR=C8ME?</p>\r\n\
        --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\npickles\r\n\
        --b\r\nContent-Type: image/png\r\n\r\nketchup\r\n--b--\r\n";

    #[test]
    fn texts_are_found_where_they_are() {
        let description = crate::describe(MESSAGE);
        let found = |text: &str, scope| contains(MESSAGE, &description, &Needle::new(text), scope);
        assert!(found("CAFÉ", Scope::Header) && found("café", Scope::Text) && !found("café", Scope::Body));
        assert!(found("like crème", Scope::Body) && !found("like crème", Scope::Header));
        assert!(found("Inner", Scope::Body) && found("PICKLES", Scope::Text));
        assert!(!found("ketchup", Scope::Text));
        assert!(found("", Scope::Body));
        assert!(header_contains(MESSAGE, "subject", &Needle::new("afé")));
        assert!(!header_contains(MESSAGE, "x-none", &Needle::new("")));
    }

    #[test]
    fn a_needle_may_be_cut_anywhere() {
        let needle = Needle::new("Σίσυφος!");
        let mut search = needle.search();
        let mut found = false;
        for c in "xx ΣΊΣΥΦΟΣ! yy".chars() {
            found = search.push(c.encode_utf8(&mut [0; 4]));
        }
        assert!(found);
        assert!(!needle.search().push("ΣΊΣΥΦΟ"));
    }
}
