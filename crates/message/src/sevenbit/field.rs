//! One header field in ASCII.

use postrider_types::{Domain, LocalPart};

use crate::description::EnvelopeAddress;
use crate::fold::{one_line, write_field};
use crate::header::Field;
use crate::{Error, address, charset, param, word};

/// Longest line of a message (RFC 5322 §2.1.1).
const MAX_LINE: usize = 998;

/// Appends the field: as it is where it is ASCII in bearable lines, else converted by what kind of field it is.
pub(super) fn convert(field: &Field<'_>, block: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let raw = &block[field.raw.clone()];
    let long = raw
        .split(|&byte| byte == b'\n')
        .any(|line| line.len() > MAX_LINE + 1);
    if raw.is_ascii() && !long {
        out.extend(raw.iter().filter(|&&byte| byte != 0));
        if !raw.ends_with(b"\n") {
            out.extend_from_slice(b"\r\n");
        }
        return Ok(());
    }
    let name = charset::header_text(field.name);
    let text = field.unfolded(block);
    let value = match Form::of(&name) {
        Form::Addresses if text.is_ascii() => text,
        Form::Addresses => addresses(&name, &text)?,
        Form::Parameters => parameters(&text),
        Form::Ids => ids(&text),
        Form::Structured => one_line(&text, true),
        Form::Text if text.split(' ').any(|word| word.len() > MAX_LINE / 2) => word::encode_always(&text),
        Form::Text => word::encode(&text),
    };
    let mut written = String::with_capacity(value.len() + 64);
    write_field(&mut written, &name, &value);
    out.extend_from_slice(written.as_bytes());
    Ok(())
}

/// What a field's value is made of.
enum Form {
    Addresses,
    Parameters,
    Ids,
    /// Has a grammar in which encoded-words have no place.
    Structured,
    Text,
}

impl Form {
    fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let name = name.strip_prefix("resent-").unwrap_or(&name);
        match name {
            "from"
            | "sender"
            | "reply-to"
            | "to"
            | "cc"
            | "bcc"
            | "disposition-notification-to"
            | "errors-to"
            | "return-path"
            | "return-receipt-to" => Self::Addresses,
            "content-type" | "content-disposition" => Self::Parameters,
            "message-id" | "references" | "in-reply-to" | "content-id" => Self::Ids,
            "received"
            | "date"
            | "mime-version"
            | "content-transfer-encoding"
            | "content-md5"
            | "content-language"
            | "content-location"
            | "dkim-signature"
            | "domainkey-signature"
            | "authentication-results"
            | "received-spf"
            | "auto-submitted"
            | "autocrypt" => Self::Structured,
            name if name.starts_with("arc-") || name.starts_with("list-") => Self::Structured,
            _ => Self::Text,
        }
    }
}

/// Addresses again, their names encoded. Comments that are no names are lost.
fn addresses(field: &str, text: &str) -> Result<String, Error> {
    let mut out = String::new();
    let mut in_group = false;
    let mut between = "";
    for it in address::parse_list(text) {
        match (&it.mailbox, &it.host) {
            (Some(group), None) => {
                out.push_str(between);
                out.push_str(&phrase(group));
                out.push(':');
                (in_group, between) = (true, " ");
            }
            (None, _) => {
                out.push_str(if in_group { ";" } else { "" });
                (in_group, between) = (false, ", ");
            }
            (Some(mailbox), Some(host)) => {
                out.push_str(between);
                out.push_str(&one_address(field, &it, mailbox, host)?);
                between = ", ";
            }
        }
    }
    Ok(out)
}

fn one_address(field: &str, it: &EnvelopeAddress, mailbox: &str, host: &str) -> Result<String, Error> {
    let lost = || Error::Utf8Address(field.to_owned());
    if !mailbox.is_ascii() {
        return Err(lost());
    }
    let host = match host.is_ascii() {
        true => host.to_owned(),
        false => Domain::new(host).map_err(|_| lost())?.as_str().to_owned(),
    };
    let local = LocalPart::new(mailbox).map_or_else(|_| mailbox.to_owned(), |local| local.to_string());
    let at = if host.is_empty() { "" } else { "@" };
    Ok(match &it.name {
        Some(name) => format!("{} <{local}{at}{host}>", phrase(name)),
        None => format!("{local}{at}{host}"),
    })
}

/// A display name: atoms, a quoted string, or encoded-words.
pub(crate) fn phrase(name: &str) -> String {
    let atoms = |c: char| c.is_ascii_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(c);
    if !name.is_ascii() {
        return word::encode_always(&word::decode(name));
    }
    if name.chars().all(atoms) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

fn parameters(text: &str) -> String {
    let (mut out, params) = param::parse(&one_line(text, false));
    out = one_line(&out, true);
    for it in &params {
        match it.name.strip_suffix('*') {
            Some(base) => param::write(
                &mut out,
                &one_line(base, true),
                &param::lookup(&params, base).unwrap_or_default(),
            ),
            None => param::write(&mut out, &one_line(&it.name, true), &it.value),
        }
    }
    out
}

fn ids(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
