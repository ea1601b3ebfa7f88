//! Writing one message: header, then parts cut from the pools until the size is reached.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};
use postrider_message::date::DateTime;

use super::dice::Dice;
use super::pool::{self, Pool};
use super::words;
use crate::ledger::{FIELD, MessageId};
use crate::target::Accounts;

/// Where message ids come from.
const ID_DOMAIN: &str = "load.example";

/// Recipients that the header names; the others were in Bcc.
const NAMED: usize = 12;

/// References that are written (the first one and the latest).
const REFERENCES: usize = 8;

/// When the first message is dated: 5 January 2026, 08:00 UTC. Dates do not follow the clock, so that messages are reproducible.
const FIRST_DATE: i64 = 1_767_600_000;

/// Dates begin again after so many seconds: 90 days.
const DATES: u64 = 90 * 86_400;

/// Octets of a part's header and delimiters, about.
const PART_HEADER: usize = 200;

/// What is decided about a message before it is written.
pub struct Composition<'a> {
    pub id: MessageId,
    pub from: &'a Sender,
    /// Local ones by rank, and addresses elsewhere.
    pub to: (&'a Accounts, &'a [u64], &'a [String]),
    /// The message it answers first, the conversation's first one last.
    pub ancestors: Vec<MessageId>,
    /// Chooses the subject; the same in a conversation.
    pub subject: u64,
    /// The mailing list it went through.
    pub list: Option<u64>,
    /// Octets of the whole message, about.
    pub size: usize,
}

/// Who writes.
pub struct Sender {
    name: &'static str,
    pub address: String,
}

/// A text with its charset and transfer encoding.
#[derive(Debug, Clone, Copy)]
enum Text {
    English,
    European,
    EightBit,
    Japanese,
    Koi8,
}

/// How a body is built.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Plain(Text),
    Html,
    Alternative,
    Attachments,
}

impl Sender {
    /// Somebody at another server.
    pub fn elsewhere(dice: &mut Dice) -> Self {
        let domain = dice.one_of(&words::DOMAINS).unwrap_or(&ID_DOMAIN);
        Self {
            name: dice.one_of(&words::NAMES).unwrap_or(&""),
            address: format!("writer{}@{domain}", dice.below(5000)),
        }
    }

    /// An account.
    pub fn account(address: String) -> Self {
        Self { name: "", address }
    }
}

impl Composition<'_> {
    /// The message, and whether it has octets above 127.
    pub fn write(&self, dice: &mut Dice) -> (Bytes, bool) {
        let shape = shape(self.size, dice);
        let mut out = BytesMut::with_capacity(self.size + 1024);
        self.header(dice, &mut out);
        match shape {
            Shape::Plain(text) => part(text.header(), text.pool(), self.left(&out), dice, &mut out),
            Shape::Html => part(HTML, &pool::HTML, self.left(&out), dice, &mut out),
            Shape::Alternative => self.alternative(dice, &mut out),
            Shape::Attachments => self.attachments(dice, &mut out),
        }
        (out.freeze(), matches!(shape, Shape::Plain(Text::EightBit)))
    }

    fn header(&self, dice: &mut Dice, out: &mut BytesMut) {
        // Writing into BytesMut cannot fail: it grows.
        let _ = self.try_header(dice, out);
    }

    fn try_header(&self, dice: &mut Dice, out: &mut BytesMut) -> std::fmt::Result {
        let Sender { name, address } = self.from;
        match name.is_empty() {
            true => write!(out, "From: {address}\r\nTo: ")?,
            false => write!(out, "From: {name} <{address}>\r\nTo: ")?,
        }
        self.to(out)?;
        let number = self.subject as usize % words::SUBJECTS.len();
        let subject = words::SUBJECTS.get(number).unwrap_or(&"");
        let again = if self.ancestors.is_empty() { "" } else { "Re: " };
        let within = self.id.number & ((1 << super::ACTOR_SHIFT) - 1);
        let date = DateTime {
            seconds: FIRST_DATE + (within % DATES) as i64,
            zone: [0, 60, 120, -300, -480, 540, 330][dice.below(7) as usize],
        };
        write!(
            out,
            "\r\nSubject: {again}{subject} {}\r\nDate: {}\r\nMessage-ID: <{}@{ID_DOMAIN}>\r\n",
            self.subject % 100_000,
            date.rfc5322(),
            self.id
        )?;
        if let Some(parent) = self.ancestors.first() {
            write!(out, "In-Reply-To: <{parent}@{ID_DOMAIN}>\r\nReferences:")?;
            let left_out = self.ancestors.len().saturating_sub(REFERENCES);
            for (at, id) in self.ancestors.iter().rev().enumerate() {
                if at == 0 || at > left_out {
                    write!(out, " <{id}@{ID_DOMAIN}>\r\n")?;
                }
            }
        }
        if let Some(list) = self.list {
            write!(
                out,
                "List-Id: Discussions {list} <talk{list}.lists.example>\r\nList-Post: <mailto:talk{list}@lists.example>\r\n\
                 List-Unsubscribe: <https://lists.example/talk{list}/leave>\r\nPrecedence: list\r\n"
            )?;
        }
        write!(out, "{FIELD}: {}\r\nMIME-Version: 1.0\r\n", self.id)
    }

    /// The list, or the first recipients, one on a line.
    fn to(&self, out: &mut BytesMut) -> std::fmt::Result {
        if let Some(list) = self.list {
            return write!(out, "talk{list}@lists.example");
        }
        let (accounts, local, remote) = self.to;
        let mut separator = "";
        for rank in local.iter().take(NAMED) {
            write!(out, "{separator}{}", accounts.address(*rank))?;
            separator = ",\r\n\t";
        }
        for address in remote.iter().take(NAMED) {
            write!(out, "{separator}{address}")?;
            separator = ",\r\n\t";
        }
        Ok(())
    }

    fn alternative(&self, dice: &mut Dice, out: &mut BytesMut) {
        let text = if dice.chance(0.6) {
            Text::English
        } else {
            Text::European
        };
        self.multipart("alternative", out);
        let left = self.left(out).saturating_sub(2 * PART_HEADER);
        self.delimiter(out);
        part(text.header(), text.pool(), left / 4, dice, out);
        self.delimiter(out);
        part(HTML, &pool::HTML, left - left / 4, dice, out);
        self.end(out);
    }

    fn attachments(&self, dice: &mut Dice, out: &mut BytesMut) {
        let text = if dice.chance(0.8) {
            Text::English
        } else {
            Text::European
        };
        let files = 1 + dice.below(3) as usize;
        self.multipart("mixed", out);
        let left = self.left(out).saturating_sub((files + 1) * PART_HEADER);
        let words = (left / 10).min(300 + dice.below(2000) as usize);
        self.delimiter(out);
        part(text.header(), text.pool(), words, dice, out);
        let mut left = left - words;
        for file in (1..=files).rev() {
            let size = if file == 1 { left } else { left / 2 };
            left -= size;
            let unknown = ("application/octet-stream", "filename=data");
            let (media_type, name) = dice.one_of(&words::ATTACHMENTS).unwrap_or(&unknown);
            self.delimiter(out);
            let _ = write!(
                out,
                "Content-Type: {media_type}\r\nContent-Disposition: attachment; {name}\r\n\
                 Content-Transfer-Encoding: base64\r\n\r\n"
            );
            pool::BASE64.fill(dice, size, out);
        }
        self.end(out);
    }

    fn multipart(&self, kind: &str, out: &mut BytesMut) {
        let _ = write!(
            out,
            "Content-Type: multipart/{kind}; boundary=\"=_{}\"\r\n\r\nThis message has parts.\r\n",
            self.id
        );
    }

    fn delimiter(&self, out: &mut BytesMut) {
        // An equals sign followed by an underscore is neither base64 nor quoted-printable, so no part can hold it.
        let _ = write!(out, "\r\n--=_{}\r\n", self.id);
    }

    fn end(&self, out: &mut BytesMut) {
        let _ = write!(out, "\r\n--=_{}--\r\n", self.id);
    }

    fn left(&self, out: &BytesMut) -> usize {
        self.size.saturating_sub(out.len())
    }
}

const HTML: &str =
    "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n";

impl Text {
    fn header(self) -> &'static str {
        match self {
            Self::English => "Content-Type: text/plain; charset=us-ascii\r\n",
            Self::European => {
                "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
            }
            Self::EightBit => {
                "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
            }
            Self::Japanese => {
                "Content-Type: text/plain; charset=iso-2022-jp\r\nContent-Transfer-Encoding: 7bit\r\n"
            }
            Self::Koi8 => "Content-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: base64\r\n",
        }
    }

    fn pool(self) -> &'static Pool {
        match self {
            Self::English => &pool::ENGLISH,
            Self::European => &pool::EUROPEAN,
            Self::EightBit => &pool::EIGHT_BIT,
            Self::Japanese => &pool::JAPANESE,
            Self::Koi8 => &pool::KOI8_R,
        }
    }
}

/// Small messages are mostly text, those of some kilobytes HTML, large ones carry files.
fn shape(size: usize, dice: &mut Dice) -> Shape {
    let text = match dice.below(100) {
        0..70 => Text::English,
        70..88 => Text::European,
        88..94 => Text::EightBit,
        94..97 => Text::Japanese,
        _ => Text::Koi8,
    };
    let (plain, html, alternative) = match size {
        ..4096 => (85, 5, 10),
        4096..32_768 => (35, 25, 30),
        _ => (5, 5, 10),
    };
    let at = dice.below(100);
    if at < plain {
        Shape::Plain(text)
    } else if at < plain + html {
        Shape::Html
    } else if at < plain + html + alternative {
        Shape::Alternative
    } else {
        Shape::Attachments
    }
}

/// The rest of a part's header, the empty line, and `size` octets of body, about.
fn part(header: &str, pool: &Pool, size: usize, dice: &mut Dice, out: &mut BytesMut) {
    out.put_slice(header.as_bytes());
    out.put_slice(b"\r\n");
    pool.fill(dice, size.saturating_sub(header.len() + 2), out);
}
