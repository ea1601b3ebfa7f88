//! Parameters of Content-Type and Content-Disposition (RFC 2045 §5.1, RFC 2183, RFC 2231).

use crate::{Param, charset, word};

/// Most parameters kept of one field.
const MAX_PARAMS: usize = 64;
/// Longest value kept, in bytes.
const MAX_VALUE: usize = 4096;

/// Splits `value *(";" name "=" value)`: what stands before the parameters, in lower case, and they.
pub(crate) fn parse(text: &str) -> (String, Vec<Param>) {
    let (head, mut rest) = cut_at(text, |c| c == ';');
    let head = without_comments(head).trim().to_ascii_lowercase();
    let mut pieces = Vec::new();
    while let Some(behind) = rest.strip_prefix(';') {
        let (name, after) = cut_at(behind, |c| c == '=' || c == ';');
        rest = after;
        let Some(after) = after.strip_prefix('=') else {
            continue;
        };
        let (raw, after) = cut_at(after, |c| c == ';');
        rest = after;
        if pieces.len() < MAX_PARAMS {
            pieces.extend(Piece::new(name, raw));
        }
    }
    (head, joined(pieces))
}

/// The decoded value of the parameter: `name*` if there is one, else `name`, where encoded-words, though RFC 2047 §5
/// forbids them here, are decoded, since many agents write them.
pub fn lookup(params: &[Param], name: &str) -> Option<String> {
    let plain = |param: &&Param| param.name.eq_ignore_ascii_case(name);
    let extended = |param: &&Param| {
        param
            .name
            .strip_suffix('*')
            .is_some_and(|base| base.eq_ignore_ascii_case(name))
    };
    if let Some(param) = params.iter().find(extended) {
        return Some(decode_extended(&param.value));
    }
    params.iter().find(plain).map(|param| word::decode(&param.value))
}

/// Appends `;`, a fold, and the parameter, as RFC 2231 has it where the value needs that: not ASCII, or too long for a line.
pub fn write(out: &mut String, name: &str, value: &str) {
    let printable = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if printable && name.len() + value.len() < 68 {
        out.push_str(";\r\n ");
        out.push_str(name);
        out.push('=');
        if !value.is_empty() && value.bytes().all(is_token) {
            out.push_str(value);
        } else {
            out.push('"');
            for c in value.chars() {
                if matches!(c, '"' | '\\') {
                    out.push('\\');
                }
                out.push(c);
            }
            out.push('"');
        }
        return;
    }
    let encoded = percent_encode(value.as_bytes());
    if name.len() + encoded.len() < 62 {
        out.push_str(&format!(";\r\n {name}*=utf-8''{encoded}"));
        return;
    }
    let mut rest = encoded.as_str();
    let mut section = 0;
    while !rest.is_empty() {
        let mut end = rest.len().min(40);
        // A %XX stays together.
        if let (true, Some(percent)) = (end < rest.len(), rest[..end].rfind('%'))
            && end - percent < 3
        {
            end = percent;
        }
        let charset = if section == 0 { "utf-8''" } else { "" };
        out.push_str(&format!(";\r\n {name}*{section}*={charset}{}", &rest[..end]));
        rest = &rest[end..];
        section += 1;
    }
}

/// One parameter as written; a continuation has a section number.
struct Piece {
    name: String,
    section: Option<u32>,
    extended: bool,
    value: String,
}

impl Piece {
    fn new(name: &str, raw: &str) -> Option<Self> {
        let name = without_comments(name).trim().to_ascii_lowercase();
        let (name, extended) = match name.strip_suffix('*') {
            Some(base) => (base.to_owned(), true),
            None => (name, false),
        };
        let (name, section) = match name.split_once('*') {
            Some((base, number)) => (base.to_owned(), Some(number.parse::<u32>().ok()?)),
            None => (name, None),
        };
        if name.is_empty() {
            return None;
        }
        let raw = raw.trim();
        let mut value = match raw.strip_prefix('"') {
            Some(rest) => unquote(rest),
            // Agents that forget the quotes write names like `scan (2).pdf`.
            None if name.ends_with("name") => raw.to_owned(),
            None => without_comments(raw).trim().to_owned(),
        };
        truncate(&mut value, MAX_VALUE);
        Some(Self {
            name,
            section,
            extended,
            value,
        })
    }
}

/// Joins continuations in the order of their numbers, at the place of the first.
fn joined(pieces: Vec<Piece>) -> Vec<Param> {
    if pieces.iter().all(|piece| piece.section.is_none()) {
        return pieces
            .into_iter()
            .map(|piece| param(piece.name, piece.extended, piece.value))
            .collect();
    }
    let mut params: Vec<Param> = Vec::new();
    let mut done: Vec<&str> = Vec::new();
    for piece in &pieces {
        if piece.section.is_none() {
            params.push(param(piece.name.clone(), piece.extended, piece.value.clone()));
        } else if !done.contains(&piece.name.as_str()) {
            done.push(&piece.name);
            let mut run: Vec<&Piece> = pieces
                .iter()
                .filter(|it| it.section.is_some() && it.name == piece.name)
                .collect();
            run.sort_by_key(|it| it.section);
            let extended = run.iter().any(|it| it.extended);
            let mut value = String::new();
            if extended && !run.first().is_some_and(|first| first.extended) {
                value.push_str("''");
            }
            for it in run {
                if extended && !it.extended {
                    value.push_str(&percent_encode(it.value.as_bytes()));
                } else {
                    value.push_str(&it.value);
                }
            }
            truncate(&mut value, MAX_VALUE);
            params.push(param(piece.name.clone(), extended, value));
        }
    }
    params
}

fn param(mut name: String, extended: bool, value: String) -> Param {
    if extended {
        name.push('*');
    }
    Param { name, value }
}

fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
    }
}

/// `charset'language'percent-encoded`
fn decode_extended(value: &str) -> String {
    let mut pieces = value.splitn(3, '\'');
    match (pieces.next(), pieces.next(), pieces.next()) {
        (Some(name), Some(_), Some(text)) => charset::decode(name, &percent_decode(text)),
        _ => charset::header_text(&percent_decode(value)),
    }
}

fn percent_decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match digits.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(octet) if byte == b'%' => {
                out.push(octet);
                rest = &after[2..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

fn percent_encode(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len());
    for &octet in octets {
        if octet.is_ascii_alphanumeric() || b"-._~!#$&+^`{|}".contains(&octet) {
            out.push(char::from(octet));
        } else {
            out.push_str(&format!("%{octet:02X}"));
        }
    }
    out
}

/// `token` of RFC 2045 §5.1
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

fn unquote(rest: &str) -> String {
    let mut text = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            // A backslash before anything else is a Windows path in a file name.
            '\\' if matches!(chars.as_str().as_bytes().first(), Some(b'"' | b'\\')) => {
                text.extend(chars.next())
            }
            c => text.push(c),
        }
    }
    text
}

/// Cuts before the first character outside quotes that ends it.
fn cut_at(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    let mut quoted = false;
    let mut escaped = false;
    let end = text.find(|c| {
        if escaped {
            escaped = false;
        } else if c == '"' {
            quoted = !quoted;
        } else if quoted && c == '\\' {
            escaped = true;
        }
        !quoted && ends(c)
    });
    text.split_at(end.unwrap_or(text.len()))
}

fn without_comments(text: &str) -> String {
    let mut depth = 0_usize;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, name: &str) -> Option<String> {
        lookup(&parse(text).1, name)
    }

    #[test]
    fn parameters_of_the_standards() {
        // RFC 2045 §5.1, RFC 2231 §3, §4, §4.1
        let (kind, params) = parse("text/plain; charset=us-ascii (Plain text)");
        assert_eq!(
            (kind.as_str(), params[0].value.as_str()),
            ("text/plain", "us-ascii")
        );
        assert_eq!(
            read(
                "message/external-body; access-type=URL; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/pub\"",
                "url"
            )
            .as_deref(),
            Some("ftp://cs.utk.edu/pub")
        );
        assert_eq!(
            read(
                "application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
                "title"
            )
            .as_deref(),
            Some("This is ***fun***")
        );
        let mixed = "application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20;\
                     title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"";
        assert_eq!(
            read(mixed, "title").as_deref(),
            Some("This is even more ***fun*** isn't it!")
        );
        assert_eq!(parse(mixed).1.len(), 1);
    }

    #[test]
    fn what_agents_write_is_read() {
        assert_eq!(
            read("attachment; filename=scan (2).pdf", "filename").as_deref(),
            Some("scan (2).pdf")
        );
        assert_eq!(
            read("attachment; filename=\"a;b \\\"c\\\" d\\e\"", "filename").as_deref(),
            Some("a;b \"c\" d\\e")
        );
        assert_eq!(
            read("attachment; filename=\"=?utf-8?q?=C3=A9?=.txt\"", "filename").as_deref(),
            Some("é.txt")
        );
        assert_eq!(
            read("attachment; filename=x; filename*=utf-8''%C3%A9", "filename").as_deref(),
            Some("é")
        );
        assert_eq!(
            read("text/plain;;charset;=x; charset = \"utf-8", "charset").as_deref(),
            Some("utf-8")
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in "[ -~éπ漢😀]{1,120}") {
            let mut text = "attachment".to_owned();
            write(&mut text, "filename", &value);
            prop_assert!(text.is_ascii());
            prop_assert!(text.split("\r\n").all(|line| line.len() <= 76), "{}", text);
            prop_assume!(!value.contains("=?"));
            prop_assert_eq!(read(&text.replace("\r\n", ""), "filename"), Some(value));
        }

        #[test]
        fn nothing_panics(text in "[a*=;'\"%0-9 ()é\\\\]{0,80}") {
            for param in parse(&text).1 {
                let _ = lookup(std::slice::from_ref(&param), param.name.trim_end_matches('*'));
            }
        }
    }
}
