//! Which bytes an IMAP section names (RFC 9051 §6.4.5.1).

use std::ops::Range;

use crate::description::{Kind, Part};

/// What of a part is meant: `section-text`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SectionText {
    /// The part's body: `BODY[1.2]`; with the empty path the whole message: `BODY[]`.
    Body,
    /// `HEADER` (and `HEADER.FIELDS`, to be selected from it): of the message, or of an embedded message.
    Header,
    /// `TEXT`: the body of the message, or of an embedded message.
    Text,
    /// `MIME`: the part's own header.
    Mime,
}

impl Part {
    /// Called on a message's root part: the part a path of numbers names. A multipart's parts are numbered from 1; the only part
    /// of any other message is 1; below a message part, numbering goes on as in the message it embeds.
    pub fn find(&self, path: &[u32]) -> Option<&Part> {
        let Some((&number, rest)) = path.split_first() else {
            return Some(self);
        };
        let part = if self.kind() == Kind::Multipart {
            self.children.get(usize::try_from(number).ok()?.checked_sub(1)?)?
        } else {
            (number == 1).then_some(self)?
        };
        match (part.kind(), rest) {
            (_, []) => Some(part),
            (Kind::Message, _) => part.children.first()?.find(rest),
            (Kind::Multipart, _) => part.find(rest),
            (Kind::Text | Kind::Other, _) => None,
        }
    }

    /// Called on a message's root part: where the bytes of a section are. `None`: there is no such section.
    pub fn section(&self, path: &[u32], text: SectionText) -> Option<Range<u64>> {
        if path.is_empty() {
            return match text {
                SectionText::Body => Some(self.header_start..self.body_end),
                SectionText::Header => Some(self.header_range()),
                SectionText::Text => Some(self.body_range()),
                SectionText::Mime => None,
            };
        }
        let part = self.find(path)?;
        let embedded = || part.children.first().filter(|_| part.kind() == Kind::Message);
        match text {
            SectionText::Body => Some(part.body_range()),
            SectionText::Mime => Some(part.header_range()),
            SectionText::Header => embedded().map(Part::header_range),
            SectionText::Text => embedded().map(Part::body_range),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 9051 §6.4.5.1, each part with its number as its text.
    fn example() -> String {
        let part = |kind: &str, text: &str| format!("Content-Type: {kind}\r\n\r\n{text}");
        let multi = |boundary: &str, parts: &[String]| {
            let body: String = parts
                .iter()
                .map(|part| format!("--{boundary}\r\n{part}\r\n"))
                .collect();
            format!("Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n{body}--{boundary}--\r\n")
        };
        let third = multi(
            "three",
            &[part("text/plain", "3.1"), part("application/octet-stream", "3.2")],
        );
        let inner = multi(
            "two-two",
            &[part("text/plain", "4.2.2.1"), part("text/richtext", "4.2.2.2")],
        );
        let second = multi("four-two", &[part("image/gif", "4.2.1"), inner]);
        let fourth = multi(
            "four",
            &[
                part("image/gif", "4.1"),
                part("message/rfc822", &format!("Subject: 4.2\r\n{second}")),
            ],
        );
        multi(
            "top",
            &[
                part("text/plain", "1"),
                part("application/octet-stream", "2"),
                part("message/rfc822", &format!("Subject: 3\r\n{third}")),
                fourth,
            ],
        )
    }

    #[test]
    fn sections_of_the_standard() {
        let message = example();
        let root = crate::describe(message.as_bytes()).structure;
        let read = |path: &[u32], text| {
            let range = root.section(path, text)?;
            message.get(range.start as usize..range.end as usize)
        };
        for path in [
            &[1][..],
            &[2],
            &[3, 1],
            &[3, 2],
            &[4, 1],
            &[4, 2, 1],
            &[4, 2, 2, 1],
            &[4, 2, 2, 2],
        ] {
            let number: Vec<String> = path.iter().map(u32::to_string).collect();
            assert_eq!(read(path, SectionText::Body), Some(number.join(".").as_str()));
        }
        assert_eq!(read(&[], SectionText::Body), Some(message.as_str()));
        assert!(read(&[], SectionText::Text).unwrap().starts_with("--top"));
        assert!(
            read(&[3], SectionText::Header)
                .unwrap()
                .starts_with("Subject: 3\r\n")
        );
        assert!(read(&[3], SectionText::Text).unwrap().starts_with("--three"));
        assert!(
            read(&[3], SectionText::Mime)
                .unwrap()
                .starts_with("Content-Type: message/rfc822")
        );
        assert!(read(&[4, 2, 2], SectionText::Mime).unwrap().contains("two-two"));
        for (path, text) in [
            (&[5][..], SectionText::Body),
            (&[0], SectionText::Body),
            (&[1], SectionText::Header),
            (&[1, 1], SectionText::Body),
        ] {
            assert_eq!(read(path, text), None);
        }
    }

    #[test]
    fn a_message_without_parts_has_part_one() {
        let root = crate::describe(b"A: b\r\n\r\nbody").structure;
        assert_eq!(root.section(&[1], SectionText::Body), Some(8..12));
        assert_eq!(root.section(&[2], SectionText::Body), None);
    }
}
