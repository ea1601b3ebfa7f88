//! Responses as a client sees them (RFC 9051 §7), parsed without regard to what they mean.
//!
//! ```text
//! response = "+" SP text CRLF / tag SP resp-cond CRLF / "*" SP (resp-cond / [number SP] name *(SP value)) CRLF
//! value    = "NIL" / atom / string / literal / literal8 / "(" [value *([SP] value)] ")"
//! ```

use bytes::Bytes;

use crate::parse::{Cursor, ParseError, Result};
use crate::response::Kind;

/// Levels of parentheses that are followed.
const MAX_DEPTH: usize = 256;

/// One response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// `+ …`: the server waits.
    Continue(String),
    /// A status response.
    Status {
        /// Of the command it completes; `None`: untagged.
        tag: Option<String>,
        /// How it went.
        kind: Kind,
        /// For programs.
        code: Option<StatusCode>,
        /// For people.
        text: String,
    },
    /// Anything else.
    Data {
        /// The number in front: `* 3 EXISTS`.
        number: Option<u32>,
        /// In upper case.
        name: String,
        /// What follows.
        values: Vec<Value>,
    },
}

/// What stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusCode {
    /// In upper case.
    pub name: String,
    /// What follows.
    pub values: Vec<Value>,
}

/// A piece of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `NIL`
    Nil,
    /// An atom, number, flag or section name (`BODY[HEADER.FIELDS (To)]<0>`), as sent.
    Atom(String),
    /// A quoted string or literal.
    Text(Bytes),
    /// A parenthesised list.
    List(Vec<Value>),
}

impl Response {
    /// Parses a framed response without its last CRLF. Literals are copied out only if they are small beside the whole.
    pub fn parse(line: &Bytes) -> Result<Self> {
        let mut cursor = Cursor::in_response(line);
        if cursor.eat(b'+') {
            cursor.eat(b' ');
            return Ok(Response::Continue(lossy(cursor.rest())));
        }
        let tag = cursor.take_while(|byte| byte != b' ');
        cursor.space()?;
        let tag = (tag != b"*").then(|| lossy(tag));
        let number = match cursor.peek() {
            Some(b'0'..=b'9') if tag.is_none() => {
                let number = cursor.number("a number")?;
                cursor.space()?;
                Some(number)
            }
            _ => None,
        };
        let name = cursor.atom("a response")?.to_ascii_uppercase();
        let kind = match name.as_str() {
            _ if number.is_some() => None,
            "OK" => Some(Kind::Ok),
            "NO" => Some(Kind::No),
            "BAD" => Some(Kind::Bad),
            "BYE" => Some(Kind::Bye),
            "PREAUTH" => Some(Kind::PreAuth),
            _ => None,
        };
        if let Some(kind) = kind {
            return status(tag, kind, cursor, line);
        }
        if tag.is_some() {
            return Err(ParseError::Expected("OK, NO or BAD"));
        }
        Ok(Response::Data {
            number,
            name,
            values: values(&mut cursor, line, None)?,
        })
    }

    /// Whether it completes the command of this tag, and how.
    pub fn completes(&self, wanted: &str) -> Option<Kind> {
        match self {
            Response::Status {
                tag: Some(tag), kind, ..
            } if tag == wanted => Some(*kind),
            _ => None,
        }
    }

    /// An attribute of a FETCH response, by its name in any case (`UID`, `BODY[]`, …).
    pub fn attribute(&self, wanted: &str) -> Option<&Value> {
        let Response::Data {
            number: Some(_),
            name,
            values,
        } = self
        else {
            return None;
        };
        let [Value::List(items)] = values.as_slice() else {
            return None;
        };
        let pairs = (name == "FETCH").then(|| items.chunks_exact(2))?;
        pairs.into_iter().find_map(|pair| match pair {
            [Value::Atom(name), value] if name.eq_ignore_ascii_case(wanted) => Some(value),
            _ => None,
        })
    }

    /// Its capabilities, where it is or carries CAPABILITY.
    pub fn capabilities(&self) -> Option<impl Iterator<Item = &str>> {
        let values = match self {
            Response::Data { name, values, .. } if name == "CAPABILITY" => values,
            Response::Status { code: Some(code), .. } if code.name == "CAPABILITY" => &code.values,
            _ => return None,
        };
        Some(values.iter().filter_map(Value::as_atom))
    }
}

impl Value {
    /// An atom as sent.
    pub fn as_atom(&self) -> Option<&str> {
        match self {
            Value::Atom(atom) => Some(atom),
            _ => None,
        }
    }

    /// A number.
    pub fn as_number(&self) -> Option<u64> {
        self.as_atom()?.parse().ok()
    }

    /// A string's octets, or an atom's where a string may be an atom.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Text(text) => Some(text),
            Value::Atom(atom) => Some(atom.as_bytes()),
            _ => None,
        }
    }

    /// A list's items; NIL has none.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            Value::Nil => Some(&[]),
            _ => None,
        }
    }
}

/// A response that human text ends: nothing in it announces a literal.
pub(super) fn is_status(line: &[u8]) -> bool {
    if line.first() == Some(&b'+') {
        return true;
    }
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (tag, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let status = [&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"];
    tag != b"*" || status.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn status(tag: Option<String>, kind: Kind, mut cursor: Cursor<'_>, line: &Bytes) -> Result<Response> {
    cursor.eat(b' ');
    let mut code = None;
    if cursor.eat(b'[') {
        let name = lossy(cursor.take_while(|byte| !matches!(byte, b' ' | b']'))).to_ascii_uppercase();
        code = Some(StatusCode {
            name,
            values: values(&mut cursor, line, Some(b']'))?,
        });
        cursor.expect(b']', "a closing bracket")?;
        cursor.eat(b' ');
    }
    Ok(Response::Status {
        tag,
        kind,
        code,
        text: lossy(cursor.rest()),
    })
}

/// Values, each behind a space, to the end or to `end`.
fn values(cursor: &mut Cursor<'_>, line: &Bytes, end: Option<u8>) -> Result<Vec<Value>> {
    let mut values = Vec::new();
    while cursor.eat(b' ') {
        // Some servers leave a space at the end.
        if cursor.is_empty() || cursor.peek() == end {
            break;
        }
        values.push(value(cursor, line, 0)?);
    }
    if end.is_none() {
        cursor.end()?;
    }
    Ok(values)
}

fn value(cursor: &mut Cursor<'_>, line: &Bytes, depth: usize) -> Result<Value> {
    match cursor.peek() {
        Some(b'"' | b'{' | b'~') => {
            let text = cursor.string("a value")?;
            Ok(Value::Text(match text {
                // A slice of the line keeps all of it alive: worth it for a message, not for a flag.
                std::borrow::Cow::Borrowed(text) if text.len() >= line.len() / 2 => line.slice_ref(text),
                text => Bytes::from(text.into_owned()),
            }))
        }
        Some(b'(') => list(cursor, line, depth),
        _ => atom(cursor),
    }
}

fn list(cursor: &mut Cursor<'_>, line: &Bytes, depth: usize) -> Result<Value> {
    if depth == MAX_DEPTH {
        return Err(ParseError::TooMany("levels of parentheses"));
    }
    cursor.expect(b'(', "a list")?;
    let mut items = Vec::new();
    while !cursor.eat(b')') {
        // Between the parts of a multipart and between addresses there is no space.
        cursor.eat(b' ');
        if cursor.peek() != Some(b')') {
            items.push(value(cursor, line, depth + 1)?);
        }
    }
    Ok(Value::List(items))
}

/// An atom; brackets in it, and all that is between them, belong to it.
fn atom(cursor: &mut Cursor<'_>) -> Result<Value> {
    let start = cursor.rest();
    loop {
        cursor.take_while(|byte| !matches!(byte, b' ' | b'(' | b')' | b'[' | b']' | b'"'));
        if !cursor.eat(b'[') {
            break;
        }
        cursor.take_while(|byte| byte != b']');
        cursor.expect(b']', "a closing bracket")?;
    }
    let length = start.len() - cursor.rest().len();
    let text = start.get(..length).unwrap_or_default();
    match text {
        b"" => Err(ParseError::Expected("a value")),
        text if text.eq_ignore_ascii_case(b"NIL") => Ok(Value::Nil),
        text => Ok(Value::Atom(lossy(text))),
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> Response {
        Response::parse(&Bytes::from_static(text.as_bytes())).unwrap()
    }

    #[test]
    fn statuses_and_codes() {
        let response = parse("A142 OK [COPYUID 38505 304,319:320 3956:3958] Done {3}");
        let Response::Status {
            tag,
            kind,
            code,
            text,
        } = &response
        else {
            panic!()
        };
        assert_eq!(
            (tag.as_deref(), *kind, text.as_str()),
            (Some("A142"), Kind::Ok, "Done {3}")
        );
        let values = ["38505", "304,319:320", "3956:3958"].map(|atom| Value::Atom(atom.into()));
        assert_eq!(
            code,
            &Some(StatusCode {
                name: "COPYUID".into(),
                values: values.to_vec()
            })
        );
        let greeting = parse("* OK [CAPABILITY IMAP4rev1 LITERAL+] ready");
        assert_eq!(
            greeting.capabilities().unwrap().collect::<Vec<_>>(),
            ["IMAP4rev1", "LITERAL+"]
        );
        assert_eq!(parse("+ "), Response::Continue(String::new()));
        assert!(matches!(
            parse("* OK [PERMANENTFLAGS (\\Deleted \\*)] Limited"),
            Response::Status { .. }
        ));
    }

    #[test]
    fn fetch_attributes_by_name() {
        let response = parse(
            "* 12 FETCH (FLAGS (\\Seen) UID 5 BODY[HEADER.FIELDS (To Cc)]<0> {4}\r\nTo:x BODYSTRUCTURE ((\"A\" NIL)(\"B\") \"MIXED\"))",
        );
        assert_eq!(response.attribute("uid").and_then(Value::as_number), Some(5));
        assert_eq!(
            response
                .attribute("BODY[HEADER.FIELDS (To Cc)]<0>")
                .and_then(Value::as_bytes),
            Some(&b"To:x"[..])
        );
        assert_eq!(
            response
                .attribute("bodystructure")
                .and_then(Value::as_list)
                .map(<[_]>::len),
            Some(3)
        );
        assert_eq!(response.attribute("ENVELOPE"), None);
    }

    #[test]
    fn nesting_has_an_end() {
        let deep = Bytes::from(format!("* X {}{}", "(".repeat(100_000), ")".repeat(100_000)));
        assert_eq!(
            Response::parse(&deep),
            Err(ParseError::TooMany("levels of parentheses"))
        );
        for bad in [
            "", "*", "* ", "a FETCH", "* X (", "* X \"", "* X [", "* 1", "* OK [X", "* X ]", "* X (",
        ] {
            assert!(
                Response::parse(&Bytes::from_static(bad.as_bytes())).is_err(),
                "{bad}"
            );
        }
    }
}
