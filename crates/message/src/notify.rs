//! Delivery status notifications (RFC 3464, RFC 6533): what became of a message, for people and for programs.
//!
//! A report has three parts: a text that says in plain words who did not get what, why, and what to do; the same for programs; and the
//! original message or its header. The original is never encoded, as RFC 2046 §5.2.1 has it, so it is sent between what
//! [`Report::compose`] gives for before and behind it, without being in memory.

mod words;

use postrider_types::Address;

use crate::build::Mailbox;
use crate::date::DateTime;
use crate::fold::{one_line, write_field};
use crate::transfer::Encoder;
use crate::{header, xtext};

/// Most of an original header that a report repeats, in bytes.
const MAX_HEADER: usize = 64 * 1024;
/// Longest reply of another server that a report repeats, in characters.
const MAX_REPLY: usize = 800;

/// What became of a recipient: `action-value` (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Given up.
    Failed,
    /// Still being tried.
    Delayed,
    /// In the mailbox.
    Delivered,
    /// Handed to a server that does not report successes.
    Relayed,
    /// Sent on to several addresses.
    Expanded,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
        }
    }
}

/// A recipient a report is about.
#[derive(Debug, Clone)]
pub struct ReportedRecipient {
    /// RCPT TO.
    pub address: Address,
    /// ORCPT as it was given (`rfc822;` and xtext), or empty.
    pub original: String,
    /// What became of it.
    pub action: Action,
    /// Status code of RFC 3463 (`5.1.1`); empty: taken from `reply`, or by what `action` means.
    pub status: String,
    /// The server that replied, or empty.
    pub remote: String,
    /// Its last reply, or what went wrong in our words; or empty.
    pub reply: String,
    /// `reply` is an SMTP reply: a code, perhaps an enhanced one, text.
    pub is_smtp_reply: bool,
    /// Attempts so far; 0: not to be mentioned.
    pub attempts: u32,
    /// When it was tried last, Unix seconds.
    pub last_attempt: Option<i64>,
    /// Until when it will be tried, Unix seconds; for [`Action::Delayed`].
    pub retry_until: Option<i64>,
}

impl ReportedRecipient {
    /// The status code that is reported.
    fn status(&self) -> String {
        let class = match self.action {
            Action::Failed => '5',
            Action::Delayed => '4',
            Action::Delivered | Action::Relayed | Action::Expanded => '2',
        };
        let given = Some(self.status.as_str()).filter(|it| is_status(it));
        match given.or_else(|| enhanced_code(&self.reply).filter(|_| self.is_smtp_reply)) {
            // A temporary failure that lasted too long: X.4.7, delivery time expired.
            Some(status) if self.action == Action::Failed && !status.starts_with('5') => "5.4.7".into(),
            Some(status) if status.starts_with(class) => status.into(),
            _ if self.action == Action::Failed && self.is_smtp_reply && self.reply.starts_with('4') => {
                "5.4.7".into()
            }
            _ => format!("{class}.0.0"),
        }
    }
}

/// What of the original message comes back.
#[derive(Debug, Clone, Copy)]
pub enum Original<'a> {
    /// All of it (RET=FULL): it goes between [`Composed::head`] and [`Composed::tail`].
    Full {
        /// It has octets above 127 in a body.
        eight_bit: bool,
        /// It has octets above 127 in a header.
        utf8: bool,
    },
    /// Its header (RET=HDRS), or the beginning of the message, from which the header is taken.
    Header(&'a [u8]),
}

/// A report to be written.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// Our name.
    pub host: &'a str,
    /// The sender of the original; the report's own sender is `<>`.
    pub to: &'a Address,
    /// Names this report and nothing else: of letters, digits, `-` and `.`. It makes Message-ID and boundary, so writing
    /// the same report again gives the same bytes.
    pub unique: &'a str,
    /// Now.
    pub time: DateTime,
    /// When the original came, Unix seconds.
    pub arrival: i64,
    /// ENVID as it was given (xtext), or empty.
    pub envelope_id: &'a str,
    /// Message-ID of the original without angle brackets, or empty.
    pub message_id: &'a str,
    /// Subject of the original as in its header, or empty.
    pub subject: &'a str,
    /// About whom; at least one.
    pub recipients: &'a [ReportedRecipient],
    /// What comes back.
    pub original: Original<'a>,
}

/// A report that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// All before the original message.
    pub head: Vec<u8>,
    /// All behind it.
    pub tail: Vec<u8>,
    /// It has octets above 127 in a body: 8BITMIME, or conversion, is needed.
    pub eight_bit: bool,
    /// It needs SMTPUTF8.
    pub utf8: bool,
}

impl Report<'_> {
    /// Writes the report.
    pub fn compose(&self) -> Composed {
        let unique: String = self
            .unique
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c))
            .take(60)
            .collect();
        let boundary = format!("=_{unique}");
        // An address outside ASCII in the fields for programs takes their internationalised form (RFC 6533 §3).
        let global = !self.to.is_ascii() || self.recipients.iter().any(|it| !it.address.is_ascii());
        let mut head = String::with_capacity(4096);
        self.write_header(&unique, &boundary, &mut head);
        head.push_str(&format!("--{boundary}\r\n"));
        self.write_text(&mut head);
        let (kind, encoding) = match global {
            true => (
                "message/global-delivery-status",
                "Content-Transfer-Encoding: 8bit\r\n",
            ),
            false => ("message/delivery-status", ""),
        };
        head.push_str(&format!(
            "\r\n--{boundary}\r\nContent-Type: {kind}\r\n{encoding}\r\n"
        ));
        self.write_status(global, &mut head);
        head.push_str(&format!("--{boundary}\r\n"));
        let mut head = head.into_bytes();
        let (eight_bit, utf8) = self.write_original(&mut head);
        Composed {
            head,
            tail: format!("\r\n--{boundary}--\r\n").into_bytes(),
            eight_bit: eight_bit || global,
            utf8: utf8 || !self.to.is_ascii(),
        }
    }

    fn write_header(&self, unique: &str, boundary: &str, out: &mut String) {
        write_field(out, "Date", &self.time.rfc5322());
        write_field(
            out,
            "From",
            &format!("Mail Delivery System <postmaster@{}>", self.host),
        );
        write_field(out, "To", &self.to.to_string());
        write_field(out, "Subject", words::subject(self.recipients));
        write_field(out, "Message-ID", &format!("<{unique}@{}>", self.host));
        if !self.message_id.is_empty() {
            let id = format!("<{}>", one_line(self.message_id, true).replace(' ', ""));
            write_field(out, "In-Reply-To", &id);
            write_field(out, "References", &id);
        }
        write_field(out, "Auto-Submitted", "auto-replied");
        write_field(out, "MIME-Version", "1.0");
        let kind = format!("multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"");
        write_field(out, "Content-Type", &kind);
        out.push_str("\r\n");
    }

    fn write_text(&self, out: &mut String) {
        let text = words::text(self);
        if text.is_ascii() {
            out.push_str("Content-Type: text/plain; charset=us-ascii\r\n\r\n");
            out.push_str(&text);
            return;
        }
        out.push_str(
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
        );
        let mut encoded = Vec::with_capacity(text.len() + text.len() / 2);
        let mut encoder = Encoder::quoted_printable();
        encoder.push(text.as_bytes(), &mut encoded);
        encoder.finish(&mut encoded);
        out.push_str(&String::from_utf8_lossy(&encoded));
    }

    /// `delivery-status-content = per-message-fields 1*( CRLF per-recipient-fields )` (RFC 3464 §2.1)
    fn write_status(&self, global: bool, out: &mut String) {
        if let Some(id) = xtext::decode(self.envelope_id).filter(|id| !id.is_empty()) {
            write_field(out, "Original-Envelope-Id", &one_line(&id, !global));
        }
        write_field(out, "Reporting-MTA", &format!("dns; {}", self.host));
        write_field(out, "Arrival-Date", &DateTime::utc(self.arrival).rfc5322());
        for it in self.recipients {
            out.push_str("\r\n");
            if let Some((kind, address)) = original_recipient(&it.original) {
                write_field(
                    out,
                    "Original-Recipient",
                    &format!("{kind}; {}", one_line(&address, !global)),
                );
            }
            let kind = if it.address.is_ascii() { "rfc822" } else { "utf-8" };
            write_field(out, "Final-Recipient", &format!("{kind}; {}", it.address));
            write_field(out, "Action", it.action.name());
            write_field(out, "Status", &it.status());
            if !it.remote.is_empty() {
                write_field(out, "Remote-MTA", &format!("dns; {}", one_line(&it.remote, true)));
            }
            if !it.reply.is_empty() {
                let kind = if it.is_smtp_reply { "smtp" } else { "x-postrider" };
                let reply = one_line(&shortened(&it.reply), !global);
                write_field(out, "Diagnostic-Code", &format!("{kind}; {reply}"));
            }
            if let Some(last) = it.last_attempt {
                write_field(out, "Last-Attempt-Date", &DateTime::utc(last).rfc5322());
            }
            if let Some(until) = it.retry_until.filter(|_| it.action == Action::Delayed) {
                write_field(out, "Will-Retry-Until", &DateTime::utc(until).rfc5322());
            }
        }
        out.push_str("\r\n");
    }

    /// The third part as far as it is known here; whether it has octets above 127 at all, and in headers.
    fn write_original(&self, out: &mut Vec<u8>) -> (bool, bool) {
        let (kind, eight_bit, utf8) = match self.original {
            Original::Full { utf8: true, .. } => ("message/global", true, true),
            Original::Full { eight_bit, .. } => ("message/rfc822", eight_bit, false),
            Original::Header(block) if block.is_ascii() => ("text/rfc822-headers", false, false),
            Original::Header(_) => ("message/global-headers", true, false),
        };
        out.extend_from_slice(format!("Content-Type: {kind}\r\n").as_bytes());
        if eight_bit {
            out.extend_from_slice(b"Content-Transfer-Encoding: 8bit\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if let Original::Header(message) = self.original {
            let end = header::end(message).unwrap_or(message.len()).min(MAX_HEADER);
            // Whole fields only.
            let block = &message[..end];
            let whole = header::fields(block)
                .map(|field| field.raw)
                .take_while(|raw| raw.end < MAX_HEADER);
            whole.for_each(|raw| out.extend_from_slice(&block[raw]));
        }
        (eight_bit, utf8)
    }
}

/// Splits ORCPT `addr-type ";" xtext` (RFC 3461 §4.2), and decodes it; `None` if it is none.
pub fn original_recipient(text: &str) -> Option<(String, String)> {
    let (kind, address) = text.split_once(';')?;
    let kind_ok = !kind.is_empty()
        && kind
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    // `utf-8` addresses have an encoding of their own (RFC 6533 §3) and are mostly sent as they are.
    let address = xtext::decode(address).unwrap_or_else(|| address.to_owned());
    (kind_ok && !address.is_empty()).then(|| (kind.to_ascii_lowercase(), address))
}

/// The enhanced status code (RFC 2034) of an SMTP reply: `550 5.1.1 …` has `5.1.1`.
pub fn enhanced_code(reply: &str) -> Option<&str> {
    let rest = reply.get(3..)?.strip_prefix([' ', '-'])?;
    rest.split([' ', '\r', '\n'])
        .next()
        .filter(|code| is_status(code))
}

/// `status-code = DIGIT "." 1*3DIGIT "." 1*3DIGIT` (RFC 3463 §2)
fn is_status(text: &str) -> bool {
    let mut numbers = text.split('.');
    let mut next = |most: usize| {
        numbers
            .next()
            .is_some_and(|it| (1..=most).contains(&it.len()) && it.bytes().all(|byte| byte.is_ascii_digit()))
    };
    next(1) && next(3) && next(3) && numbers.next().is_none() && text.starts_with(['2', '4', '5'])
}

fn shortened(reply: &str) -> String {
    reply.chars().take(MAX_REPLY).collect()
}

/// Who the notifications of a host are from, for programs that show it.
pub fn sender(host: &str) -> Mailbox {
    Mailbox {
        name: "Mail Delivery System".into(),
        address: format!("postmaster@{host}"),
    }
}

#[cfg(test)]
mod tests;
