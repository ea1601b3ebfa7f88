//! Messages as a user agent writes them: text, HTML, pictures in it, attachments.
//!
//! What is built is 7-bit ASCII with CRLF line ends and lines of at most 76 characters, whatever goes in; only an address whose
//! local part is outside ASCII makes the header UTF-8 (SMTPUTF8).

use crate::date::DateTime;
use crate::fold::write_field;
use crate::sevenbit::phrase;
use crate::transfer::Encoder;
use crate::{address, param, text, word};

/// Somebody: a display name, perhaps empty, and an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// As people write it, in any characters.
    pub name: String,
    /// `local@domain`
    pub address: String,
}

impl Mailbox {
    /// Reads `Alice <alice@crepes.fr>`, or an address alone; several with commas between. `None`: one of them is no address.
    pub fn parse_list(text: &str) -> Option<Vec<Self>> {
        let list = address::parse_list(text).into_iter().map(|it| {
            let local = postrider_types::LocalPart::new(it.mailbox.as_deref()?).ok()?;
            let domain = postrider_types::Domain::new(it.host.as_deref()?).ok()?;
            let address = postrider_types::Address::from_parts(local, domain).ok()?;
            Some(Self {
                name: it.display_name().unwrap_or_default(),
                address: address.to_string(),
            })
        });
        list.collect()
    }

    fn write(&self) -> String {
        if self.name.is_empty() {
            return self.address.clone();
        }
        format!("{} <{}>", phrase(&one_line(&self.name)), one_line(&self.address))
    }
}

/// A message being written.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    unique: String,
    fields: String,
    text: Option<String>,
    html: Option<String>,
    pictures: Vec<File>,
    attachments: Vec<File>,
}

#[derive(Debug, Clone)]
struct File {
    /// Content-ID of a picture, without angle brackets.
    id: String,
    name: String,
    media_type: String,
    data: Vec<u8>,
}

impl Builder {
    /// `unique` names this message and no other, in letters, digits, `-` and `.`; boundaries are made of it.
    pub fn new(unique: &str) -> Self {
        let unique = unique
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c))
            .take(50)
            .collect();
        Self {
            unique,
            ..Self::default()
        }
    }

    /// Who writes.
    pub fn from(self, from: &Mailbox) -> Self {
        self.list("From", std::slice::from_ref(from))
    }

    /// To whom.
    pub fn to(self, list: &[Mailbox]) -> Self {
        self.list("To", list)
    }

    /// Who else gets it.
    pub fn cc(self, list: &[Mailbox]) -> Self {
        self.list("Cc", list)
    }

    /// What it is about.
    pub fn subject(mut self, subject: &str) -> Self {
        write_field(&mut self.fields, "Subject", &word::encode(&one_line(subject)));
        self
    }

    /// When it is written.
    pub fn date(mut self, date: DateTime) -> Self {
        write_field(&mut self.fields, "Date", &date.rfc5322());
        self
    }

    /// `<unique@host>`
    pub fn message_id(mut self, host: &str) -> Self {
        write_field(
            &mut self.fields,
            "Message-ID",
            &format!("<{}@{}>", self.unique, one_line(host)),
        );
        self
    }

    /// What it answers: the other message's id, and its References; all without angle brackets.
    pub fn in_reply_to(mut self, id: &str, references: &[String]) -> Self {
        let ids: Vec<_> = references
            .iter()
            .map(String::as_str)
            .filter(|it| *it != id)
            .chain([id])
            .collect();
        let ids: Vec<_> = ids.into_iter().map(|it| format!("<{}>", one_line(it))).collect();
        write_field(&mut self.fields, "In-Reply-To", &format!("<{}>", one_line(id)));
        write_field(&mut self.fields, "References", &ids.join(" "));
        self
    }

    /// Any other field of text; the name must be a field name, else nothing is written.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
            write_field(&mut self.fields, name, &word::encode(&one_line(value)));
        }
        self
    }

    /// Plain text; any line ends.
    pub fn text(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }

    /// HTML. Where no text is given, the plain alternative is made from it.
    pub fn html(mut self, html: &str) -> Self {
        self.html = Some(html.to_owned());
        self
    }

    /// A picture that the HTML shows as `<img src="cid:ID">`.
    pub fn picture(mut self, id: &str, name: &str, media_type: &str, data: Vec<u8>) -> Self {
        self.pictures.push(File::new(id, name, media_type, data));
        self
    }

    /// An attachment.
    pub fn attach(mut self, name: &str, media_type: &str, data: Vec<u8>) -> Self {
        self.attachments.push(File::new("", name, media_type, data));
        self
    }

    /// The message.
    pub fn build(self) -> Vec<u8> {
        let Self {
            unique,
            fields,
            text,
            html,
            pictures,
            attachments,
        } = self;
        let mut part = match (text, html) {
            (text, None) => vec_of_text("plain", &text.unwrap_or_default()),
            (text, Some(html)) => {
                let plain = text.unwrap_or_else(|| text::from_html(&html));
                let mut related = vec![vec_of_text("html", &html)];
                related.extend(pictures.iter().map(|picture| picture.write(true)));
                let html = multipart("related", &unique, "3", related);
                multipart(
                    "alternative",
                    &unique,
                    "2",
                    vec![vec_of_text("plain", &plain), html],
                )
            }
        };
        if !attachments.is_empty() {
            let files = attachments.iter().map(|file| file.write(false));
            part = multipart(
                "mixed",
                &unique,
                "1",
                std::iter::once(part).chain(files).collect(),
            );
        }
        let mut out = fields.into_bytes();
        out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        out.append(&mut part);
        if !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    fn list(mut self, name: &str, list: &[Mailbox]) -> Self {
        if !list.is_empty() {
            let list: Vec<_> = list.iter().map(Mailbox::write).collect();
            write_field(&mut self.fields, name, &list.join(", "));
        }
        self
    }
}

impl File {
    fn new(id: &str, name: &str, media_type: &str, data: Vec<u8>) -> Self {
        let id = id
            .chars()
            .filter(|c| c.is_ascii_graphic() && !"<>".contains(*c))
            .collect();
        let token = |c: char| c.is_ascii_alphanumeric() || "/.+-_".contains(c);
        let media_type = match media_type {
            it if it.contains('/') && it.chars().all(token) && !it.starts_with("multipart/") => it,
            _ => "application/octet-stream",
        };
        Self {
            id,
            name: one_line(name),
            media_type: media_type.to_owned(),
            data,
        }
    }

    fn write(&self, inline: bool) -> Vec<u8> {
        // RFC 2046 §5.2.1: an embedded message is never encoded.
        let is_message = matches!(self.media_type.as_str(), "message/rfc822" | "message/global");
        let mut header = format!("Content-Type: {}", self.media_type);
        if !self.name.is_empty() && !is_message {
            param::write(&mut header, "name", &self.name);
        }
        let encoding = match (is_message, self.data.is_ascii()) {
            (false, _) => "base64",
            (true, true) => "7bit",
            (true, false) => "8bit",
        };
        header.push_str(&format!("\r\nContent-Transfer-Encoding: {encoding}\r\n"));
        if inline {
            header.push_str(&format!("Content-ID: <{}>\r\n", self.id));
        }
        header.push_str(if inline {
            "Content-Disposition: inline"
        } else {
            "Content-Disposition: attachment"
        });
        if !self.name.is_empty() {
            param::write(&mut header, "filename", &self.name);
        }
        header.push_str("\r\n\r\n");
        let mut out = header.into_bytes();
        if is_message {
            out.extend_from_slice(&self.data);
        } else {
            let mut encoder = Encoder::base64();
            encoder.push(&self.data, &mut out);
            encoder.finish(&mut out);
        }
        out
    }
}

fn vec_of_text(subtype: &str, text: &str) -> Vec<u8> {
    let mut lines: String = text
        .lines()
        .flat_map(|line| [line.trim_end_matches('\r'), "\r\n"])
        .collect();
    if lines.is_empty() {
        lines.push_str("\r\n");
    }
    // A line that looks like a delimiter is only safe in quoted-printable.
    let plain = lines.is_ascii()
        && !lines.bytes().any(|byte| byte == 0)
        && lines
            .split("\r\n")
            .all(|line| line.len() <= 78 && !line.starts_with("--=_") && !line.contains('\r'));
    let charset = if lines.is_ascii() { "us-ascii" } else { "utf-8" };
    let encoding = if plain { "7bit" } else { "quoted-printable" };
    let header = format!(
        "Content-Type: text/{subtype}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    );
    let mut out = header.into_bytes();
    if plain {
        out.extend_from_slice(lines.as_bytes());
    } else {
        let mut encoder = Encoder::quoted_printable();
        encoder.push(lines.as_bytes(), &mut out);
        encoder.finish(&mut out);
    }
    out
}

/// A multipart of parts; a single part stands for itself.
fn multipart(subtype: &str, unique: &str, level: &str, mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    if parts.len() == 1 {
        return parts.swap_remove(0);
    }
    // Neither base64 nor quoted-printable ever has `=_`.
    let boundary = format!("=_{level}_{unique}");
    let mut out =
        format!("Content-Type: multipart/{subtype};\r\n boundary=\"{boundary}\"\r\n\r\n").into_bytes();
    for part in parts {
        out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        out.extend(part);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    out
}

fn one_line(text: &str) -> String {
    crate::fold::one_line(text, false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{describe, slice, transfer};

    fn alice() -> Mailbox {
        Mailbox {
            name: "Alice Crêpe".into(),
            address: "alice@crepes.fr".into(),
        }
    }

    #[test]
    fn a_letter_with_everything() {
        let message = Builder::new("1.a")
            .from(&alice())
            .to(&Mailbox::parse_list("Bob \"B\" <bob@hamburger.edu>, carol@hamburger.edu").unwrap())
            .subject("Do you like café?")
            .date(DateTime::utc(0))
            .message_id("crepes.fr")
            .in_reply_to("0@crepes.fr", &["a@b".into()])
            .html("<p>Do you <b>like</b> this?</p><img src=\"cid:p1\">")
            .picture("p1", "é.png", "image/png", vec![0xff; 100])
            .attach("menu.pdf", "application/pdf", vec![1, 2, 3])
            .build();
        assert!(message.is_ascii());
        assert!(message.split(|&byte| byte == b'\n').all(|line| line.len() <= 78));
        let description = describe(&message);
        let types: Vec<_> = description
            .structure
            .walk()
            .map(|it| it.subtype.as_str())
            .collect();
        assert_eq!(
            types,
            ["mixed", "alternative", "plain", "related", "html", "png", "pdf"]
        );
        assert_eq!(description.preview, "Do you like this?");
        assert_eq!(
            description.envelope.from[0].display_name().as_deref(),
            Some("Alice Crêpe")
        );
        assert_eq!(description.envelope.to[0].name.as_deref(), Some("Bob B"));
        assert_eq!(
            word::decode(description.envelope.subject.as_deref().unwrap()),
            "Do you like café?"
        );
        assert_eq!(description.references, ["a@b", "0@crepes.fr"]);
        let picture = description.part(&[1, 2, 2]).unwrap();
        assert_eq!(
            (picture.id.as_deref(), picture.filename().as_deref()),
            (Some("<p1>"), Some("é.png"))
        );
        let data = transfer::decode(transfer::Encoding::Base64, slice(&message, picture.body_range()));
        assert_eq!(data, vec![0xff; 100]);
        assert!(description.has_attachment());
    }

    #[test]
    fn what_is_written_stays_in_its_field() {
        let message = Builder::new("1")
            .from(&alice())
            .subject("a\r\nBcc: x")
            .field("Bad:", "y")
            .text("hi")
            .build();
        let names: Vec<_> = crate::header::fields(&message)
            .map(|it| it.name.to_vec())
            .collect();
        let expected = [
            "From",
            "Subject",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding",
        ];
        assert_eq!(names, expected.map(|name| name.as_bytes().to_vec()));
        assert!(Mailbox::parse_list("nobody").is_none());
    }

    proptest! {
        #[test]
        fn texts_arrive(text in "[ -~é漢\\n-]{0,300}", name in "[ -~é漢]{1,40}") {
            let message = Builder::new("1").text(&text).attach(&name, "a/b", text.clone().into_bytes()).build();
            prop_assert!(message.is_ascii());
            let root = describe(&message).structure;
            prop_assert_eq!(root.children.len(), 2);
            let part = &root.children[0];
            let encoding = transfer::Encoding::from_name(&part.encoding).unwrap();
            let body = transfer::decode(encoding, slice(&message, part.body_range()));
            let expected: String = text.lines().flat_map(|line| [line, "\r\n"]).collect();
            let expected = if expected.is_empty() { "\r\n".to_owned() } else { expected };
            prop_assert_eq!(String::from_utf8(body).unwrap(), expected);
            let data = transfer::decode(transfer::Encoding::Base64, slice(&message, root.children[1].body_range()));
            prop_assert_eq!(data, text.into_bytes());
        }
    }
}
