//! What a server must not change, as one number.
//!
//! The digest covers the body and six header fields (Subject, From, To, Date, Message-ID and [`FIELD`]), unfolded. It does not
//! cover what servers may do to a message that is still the same message: fields added at the top (`Received:`,
//! `Return-Path:`, signatures), fields in another order or folded elsewhere, line ends at the very end.

use postrider_message::transfer::{self, Encoding};
use postrider_message::{address, describe, header, word};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64, xxh3_64_with_seed};

use super::id::{FIELD, MessageId};

/// The fields that must not change, in the order in which they are digested.
const FIELDS: [&str; 6] = ["Subject", "From", "To", "Date", "Message-ID", FIELD];

/// A header longer than this is body from here on, in octets: memory stays bounded whatever a server sends.
const MAX_HEADER: usize = 256 * 1024;

/// Line ends at the end of a message that are left out, in octets; more of them are content.
const MAX_TRAILING: usize = 1024;

/// The longest line of a message without its CRLF, in octets (RFC 5322 §2.1.1).
const MAX_LINE: usize = 998;

/// The digest of a whole message.
pub fn digest(content: &[u8]) -> u64 {
    let mut digester = Digester::default();
    digester.push(content);
    digester.finish().digest
}

/// The digest of what a message says once it is decoded, which is the same before and after a conversion to 7 bits (RFC 6152 §3):
/// the same fields with their encoded-words decoded, and every leaf part without its transfer encoding.
///
/// Dearer than [`digest`]: the message is parsed. It is for those that are not [`is_seven_bit`], and only where the relay
/// may be asked to convert them.
pub fn decoded_digest(content: &[u8]) -> u64 {
    let description = describe(content);
    let slice = |range: std::ops::Range<u64>| {
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
        content
            .get(clamp(range.start)..clamp(range.end))
            .unwrap_or_default()
    };
    let mut hashes = Hashes::default();
    let block = slice(description.structure.header_range());
    for field in header::fields(block) {
        if let Some(which) = which(field.name) {
            let text = field.unfolded(block);
            hashes.add(which, decoded_value(field.name, &text).as_bytes());
        }
    }
    let mut body = Xxh3Default::new();
    let leaves = description.structure.walk();
    for leaf in leaves.filter(|part| part.children.is_empty()) {
        let encoding = Encoding::from_name(&leaf.encoding).unwrap_or(Encoding::Identity);
        let decoded = transfer::decode(encoding, slice(leaf.body_range()));
        let decoded = without_line_ends(&decoded);
        body.update(&(decoded.len() as u64).to_le_bytes());
        body.update(decoded);
    }
    hashes.with_body(body.digest())
}

/// Whether a server without 8BITMIME and SMTPUTF8 takes the message as it is: ASCII without NUL, no line over 998 octets.
pub fn is_seven_bit(content: &[u8]) -> bool {
    let has_short_lines = |mut rest: &[u8]| {
        // From one line end to the last one within reach: most octets are never looked at.
        while let Some(window) = rest.get(..MAX_LINE + 2) {
            let Some(last) = window.iter().rposition(|&octet| octet == b'\n') else {
                return false;
            };
            rest = rest.get(last + 1..).unwrap_or_default();
        }
        without_line_ends(rest).len() <= MAX_LINE
    };
    content.is_ascii() && !content.contains(&0) && has_short_lines(content)
}

/// What reading a message gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digested {
    /// Whose message it is; `None`: not one of a load generator.
    pub id: Option<MessageId>,
    /// As [`digest`] computes it.
    pub digest: u64,
}

/// Computes [`digest`] while a message streams by, in pieces cut anywhere. Holds the header (at most 256 KiB), nothing else.
#[derive(Default)]
pub struct Digester {
    /// What has come of the header.
    header: Vec<u8>,
    /// The header is not looked at again before it has this length, so that small pieces do not make it quadratic.
    look_at: usize,
    body: Option<Box<Body>>,
}

struct Body {
    id: Option<MessageId>,
    fields: Hashes,
    hasher: Xxh3Default,
    /// Line ends that may turn out to be the last ones.
    trailing: Vec<u8>,
}

impl Digester {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        if let Some(body) = &mut self.body {
            return body.push(piece);
        }
        // Most messages come with their header in one piece; it need not be copied then.
        if self.header.is_empty()
            && let Some(end) = header::end(piece).filter(|end| *end <= MAX_HEADER)
        {
            return self.begin_body(piece, end);
        }
        self.header.extend_from_slice(piece);
        if self.header.len() >= self.look_at {
            self.look_at = self.header.len() + self.header.len() / 2;
            self.look(false);
        }
    }

    /// The message is over.
    pub fn finish(mut self) -> Digested {
        if self.body.is_none() {
            self.look(true);
        }
        match self.body {
            Some(body) => Digested {
                id: body.id,
                digest: body.fields.with_body(body.hasher.digest()),
            },
            None => Digested { id: None, digest: 0 },
        }
    }

    fn look(&mut self, is_last: bool) {
        let found = header::end(&self.header).filter(|end| *end <= MAX_HEADER);
        let end = match found {
            Some(end) => end,
            None if is_last || self.header.len() > MAX_HEADER => self.header.len().min(MAX_HEADER),
            None => return,
        };
        let header = std::mem::take(&mut self.header);
        self.begin_body(&header, end);
    }

    fn begin_body(&mut self, content: &[u8], end: usize) {
        let (block, rest) = content.split_at(end);
        let mut body = Box::new(Body {
            id: None,
            fields: Hashes::default(),
            hasher: Xxh3Default::new(),
            trailing: Vec::new(),
        });
        for field in header::fields(block) {
            let Some(which) = which(field.name) else { continue };
            let value = block.get(field.value).unwrap_or_default();
            body.fields.add_unfolded(which, value);
            if FIELDS[which] == FIELD && body.id.is_none() {
                let text = std::str::from_utf8(value).ok();
                body.id = text.and_then(|text| text.trim().parse().ok());
            }
        }
        body.push(rest);
        self.body = Some(body);
    }
}

impl std::fmt::Debug for Digester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Digester").finish_non_exhaustive()
    }
}

impl Body {
    fn push(&mut self, piece: &[u8]) {
        let text = without_line_ends(piece);
        let ends = piece.get(text.len()..).unwrap_or_default();
        if !text.is_empty() {
            self.hasher.update(&self.trailing);
            self.trailing.clear();
            self.hasher.update(text);
        }
        self.trailing.extend_from_slice(ends);
        if let Some(excess) = self.trailing.len().checked_sub(MAX_TRAILING) {
            self.hasher.update(&self.trailing[..excess]);
            self.trailing.drain(..excess);
        }
    }
}

/// A hash for each of [`FIELDS`]: it does not matter in which order different ones come.
#[derive(Debug, Default)]
struct Hashes([u64; FIELDS.len()]);

impl Hashes {
    fn add(&mut self, which: usize, value: &[u8]) {
        let hash = &mut self.0[which];
        // Seeded with what came before, so that a field that is there twice, or is there but empty, counts.
        *hash = xxh3_64_with_seed(value, hash.wrapping_add(1));
    }

    fn add_unfolded(&mut self, which: usize, value: &[u8]) {
        let value = value.trim_ascii();
        if value.iter().any(|octet| matches!(octet, b'\r' | b'\n')) {
            let one_line: Vec<u8> = value
                .iter()
                .copied()
                .filter(|octet| !matches!(octet, b'\r' | b'\n'))
                .collect();
            self.add(which, &one_line);
        } else {
            self.add(which, value);
        }
    }

    fn with_body(&self, body: u64) -> u64 {
        let mut octets = [0; (FIELDS.len() + 1) * 8];
        let numbers = self.0.iter().chain([&body]);
        for (chunk, number) in octets.chunks_exact_mut(8).zip(numbers) {
            chunk.copy_from_slice(&number.to_le_bytes());
        }
        xxh3_64(&octets)
    }
}

/// Which of [`FIELDS`] a name is.
fn which(name: &[u8]) -> Option<usize> {
    FIELDS
        .iter()
        .position(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// A value as people read it. Addresses are written in more than one way, so names and addresses are compared, not the text.
fn decoded_value(name: &[u8], text: &str) -> String {
    if !name.eq_ignore_ascii_case(b"from") && !name.eq_ignore_ascii_case(b"to") {
        return word::decode(text);
    }
    let mut value = String::new();
    for address in address::parse_list(text) {
        value.push_str(&address.display_name().unwrap_or_default());
        value.push('<');
        value.push_str(&address.address().unwrap_or_default());
        value.push('>');
    }
    value
}

/// The octets before the last line ends.
fn without_line_ends(octets: &[u8]) -> &[u8] {
    let length = octets
        .iter()
        .rposition(|octet| !matches!(octet, b'\r' | b'\n'))
        .map_or(0, |last| last + 1);
    octets.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use postrider_message::sevenbit;
    use proptest::prelude::*;

    use super::*;

    const MESSAGE: &str = "X-Load-Id: 1f-2a\r\nDate: Thu, 21 May 1998 05:33:29 -0700\r\nFrom: Alice <alice@crepes.fr>\r\n\
        To: Bob <bob@hamburger.edu>\r\nSubject: Do you like\r\n ketchup?\r\nMessage-ID: <1@crepes.fr>\r\n\r\nHow about pickles?\r\n\r\nAlice\r\n";

    #[test]
    fn what_servers_may_do_does_not_count() {
        let original = digest(MESSAGE.as_bytes());
        let (header, body) = MESSAGE.split_once("\r\n\r\n").unwrap();
        let mut fields: Vec<&str> = header.split("\r\n").collect();
        fields.rotate_left(1);
        for same in [
            format!("Return-Path: <alice@crepes.fr>\r\nReceived: from x\r\n by y\r\n{MESSAGE}"),
            format!("{MESSAGE}\r\n\r\n"),
            MESSAGE.trim_end().to_owned(),
            MESSAGE.replace("like\r\n ketchup", "like ketchup"),
            MESSAGE.replace("Message-ID", "MESSAGE-Id"),
            format!("{header}\r\nX-Spam: no\r\n\r\n{body}"),
            // The first field went to the end, the folded one still follows its own first line.
            format!("{}\r\n\r\n{body}", fields.join("\r\n")),
        ] {
            assert_eq!(digest(same.as_bytes()), original, "{same}");
        }
    }

    #[test]
    fn what_servers_must_not_do_counts() {
        let original = digest(MESSAGE.as_bytes());
        for (from, to) in [
            ("pickles", "tickles"),
            ("like", "hate"),
            ("bob@", "eve@"),
            ("1f-2a", "1f-2b"),
            ("Subject: Do", "Subject: Subject: Do"),
            ("Message-ID: <1@crepes.fr>\r\n", ""),
            ("From: Alice", "From: x@y\r\nFrom: Alice"),
            ("pickles?\r\n\r\n", "pickles?\r\n"),
            ("\r\nAlice\r\n", "\r\n"),
        ] {
            let other = MESSAGE.replacen(from, to, 1);
            assert_ne!(other, MESSAGE);
            assert_ne!(digest(other.as_bytes()), original, "{to}");
        }
    }

    #[test]
    fn the_id_is_read_on_the_way() {
        let mut digester = Digester::default();
        digester.push(MESSAGE.as_bytes());
        let id = MessageId {
            run: 0x1f,
            number: 0x2a,
        };
        assert_eq!(digester.finish().id, Some(id));
        assert_eq!(Digester::default().finish().id, None);
    }

    #[test]
    fn a_header_without_end_is_held_only_so_far() {
        let mut endless = b"A: ".to_vec();
        endless.resize(3 * MAX_HEADER, b'x');
        let mut digester = Digester::default();
        for piece in endless.chunks(1000) {
            digester.push(piece);
            assert!(digester.header.len() <= 2 * MAX_HEADER);
        }
        assert_eq!(digester.finish().digest, digest(&endless));
    }

    #[test]
    fn conversion_to_seven_bits_keeps_the_decoded_digest() {
        let message = "X-Load-Id: 1-2\r\nFrom: \"Zoë, K.\" <zoe@crepes.fr>\r\nTo: bob@hamburger.edu, Zoë <zoe@crepes.fr>\r\n\
            Subject: crêpes\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
            Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nune crêpe \r\n=\r\n--b\r\n\
            Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--b--\r\n";
        assert!(!is_seven_bit(message.as_bytes()));
        let converted = sevenbit::convert(message.as_bytes(), &describe(message.as_bytes())).unwrap();
        assert!(is_seven_bit(&converted));
        assert_ne!(digest(&converted), digest(message.as_bytes()));
        assert_eq!(decoded_digest(&converted), decoded_digest(message.as_bytes()));
        let other = String::from_utf8(converted).unwrap().replace("AAEC", "AAED");
        assert_ne!(
            decoded_digest(other.as_bytes()),
            decoded_digest(message.as_bytes())
        );
        assert!(is_seven_bit(MESSAGE.as_bytes()));
        for length in [998, 999] {
            let lines = [&[b'x'; 70][..], b"\r\n", &vec![b'x'; length], b"\r\n"].concat();
            assert_eq!(is_seven_bit(&lines), length == 998);
            assert_eq!(is_seven_bit(&[&lines[..], b"x\r\n"].concat()), length == 998);
        }
    }

    proptest! {
        #[test]
        fn pieces_may_be_cut_anywhere(
            text in "(A: b|Subject: x|X-Load-Id: 1-2|\r\n|\n| |.|\r){0,40}", cuts in prop::collection::vec(0usize..200, 0..8),
        ) {
            let content = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(content.len())).collect();
            cuts.extend([0, content.len()]);
            cuts.sort_unstable();
            let mut digester = Digester::default();
            cuts.windows(2).for_each(|cut| digester.push(&content[cut[0]..cut[1]]));
            prop_assert_eq!(digester.finish().digest, digest(content));
        }
    }
}
