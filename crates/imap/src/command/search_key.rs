//! Search keys: parser and encoder (RFC 9051 §6.4.4).

use postrider_types::{Keyword, SystemFlag};

use super::writer::Writer;
use super::{DateRelation, DateWhich, SearchKey};
use crate::date::{parse_date, put_date};
use crate::parse::{Cursor, ParseError, Result, utf8};
use crate::set::MessageSet;

const DATES: [(&str, DateWhich, DateRelation); 9] = [
    ("BEFORE", DateWhich::Received, DateRelation::Before),
    ("ON", DateWhich::Received, DateRelation::On),
    ("SINCE", DateWhich::Received, DateRelation::Since),
    ("SENTBEFORE", DateWhich::Sent, DateRelation::Before),
    ("SENTON", DateWhich::Sent, DateRelation::On),
    ("SENTSINCE", DateWhich::Sent, DateRelation::Since),
    ("SAVEDBEFORE", DateWhich::Saved, DateRelation::Before),
    ("SAVEDON", DateWhich::Saved, DateRelation::On),
    ("SAVEDSINCE", DateWhich::Saved, DateRelation::Since),
];

impl SearchKey {
    /// Levels of parentheses, NOT and OR.
    pub const MAX_DEPTH: usize = 32;
    /// Conditions in one command.
    pub const MAX_KEYS: usize = 1000;

    /// `search-key *(SP search-key)` to the end of the command.
    pub(super) fn parse_all(cursor: &mut Cursor<'_>) -> Result<Self> {
        let mut parser = Parser { left: Self::MAX_KEYS };
        let mut keys = vec![parser.key(cursor, 0)?];
        while cursor.eat(b' ') {
            keys.push(parser.key(cursor, 0)?);
        }
        Ok(all_of(keys))
    }

    /// Without parentheses around the outermost `And`.
    pub(super) fn put_all(&self, writer: &mut Writer<'_>) {
        match self {
            SearchKey::And(keys) if !keys.is_empty() => put_each(keys, writer),
            key => key.put(writer),
        }
    }

    /// Whether no text in it needs a charset.
    pub(super) fn is_ascii(&self) -> bool {
        match self {
            SearchKey::And(keys) => keys.iter().all(Self::is_ascii),
            SearchKey::Or(keys) => keys.0.is_ascii() && keys.1.is_ascii(),
            SearchKey::Not(key) => key.is_ascii(),
            SearchKey::Header { name, value } => name.is_ascii() && value.is_ascii(),
            SearchKey::Body(text) | SearchKey::Text(text) => text.is_ascii(),
            _ => true,
        }
    }

    fn put(&self, writer: &mut Writer<'_>) {
        match self {
            SearchKey::And(keys) if keys.is_empty() => writer.text("ALL"),
            SearchKey::All => writer.text("ALL"),
            SearchKey::And(keys) => {
                writer.text("(");
                put_each(keys, writer);
                writer.text(")");
            }
            SearchKey::Or(keys) => {
                writer.text("OR ");
                keys.0.put(writer);
                writer.text(" ");
                keys.1.put(writer);
            }
            SearchKey::Not(key) => {
                writer.text("NOT ");
                key.put(writer);
            }
            SearchKey::Sequence(set) => set.put(writer.out()),
            SearchKey::Uid(set) => {
                writer.text("UID ");
                set.put(writer.out());
            }
            SearchKey::Recent => writer.text("RECENT"),
            SearchKey::SaveDateSupported => writer.text("SAVEDATESUPPORTED"),
            SearchKey::Flag(flag) => writer.text(&flag.as_str()[1..].to_ascii_uppercase()),
            SearchKey::Keyword(keyword) => {
                writer.text("KEYWORD ");
                writer.text(keyword.as_str());
            }
            SearchKey::Date { which, relation, day } => {
                let named = DATES.iter().find(|(_, w, r)| w == which && r == relation);
                writer.text(named.map_or("ON", |(word, ..)| word));
                writer.text(" ");
                put_date(writer.out(), *day);
            }
            SearchKey::Header { name, value } => {
                writer.text("HEADER ");
                writer.astring(name.as_bytes());
                put_text("", value, writer);
            }
            SearchKey::Body(text) => put_text("BODY", text, writer),
            SearchKey::Text(text) => put_text("TEXT", text, writer),
            SearchKey::EmailId(id) => put_text("EMAILID", id, writer),
            SearchKey::ThreadId(id) => put_text("THREADID", id, writer),
            SearchKey::Larger(size) => put_number("LARGER ", *size, writer),
            SearchKey::Smaller(size) => put_number("SMALLER ", *size, writer),
            SearchKey::ModSeq(modseq) => put_number("MODSEQ ", *modseq, writer),
            SearchKey::Younger(seconds) => put_number("YOUNGER ", (*seconds).into(), writer),
            SearchKey::Older(seconds) => put_number("OLDER ", (*seconds).into(), writer),
        }
    }
}

struct Parser {
    /// Conditions that may still come.
    left: usize,
}

impl Parser {
    fn key(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<SearchKey> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or(ParseError::TooMany("search keys"))?;
        if depth == SearchKey::MAX_DEPTH {
            return Err(ParseError::TooMany("levels of search keys"));
        }
        match cursor.peek() {
            Some(b'(') => {
                let keys = cursor.list("search keys", SearchKey::MAX_KEYS, |cursor| {
                    self.key(cursor, depth + 1)
                })?;
                if keys.is_empty() {
                    return Err(ParseError::Expected("a search key"));
                }
                return Ok(all_of(keys));
            }
            Some(b'0'..=b'9' | b'*' | b'$') => return MessageSet::parse(cursor).map(SearchKey::Sequence),
            _ => {}
        }
        let word = cursor.atom("a search key")?.to_ascii_uppercase();
        match word.as_str() {
            "NOT" => {
                cursor.space()?;
                Ok(not(self.key(cursor, depth + 1)?))
            }
            "OR" => {
                cursor.space()?;
                let first = self.key(cursor, depth + 1)?;
                cursor.space()?;
                Ok(SearchKey::Or(Box::new((first, self.key(cursor, depth + 1)?))))
            }
            word => simple(word, cursor),
        }
    }
}

/// A key without keys inside.
fn simple(word: &str, cursor: &mut Cursor<'_>) -> Result<SearchKey> {
    if let Some((_, which, relation)) = DATES.into_iter().find(|(name, ..)| *name == word) {
        cursor.space()?;
        return Ok(SearchKey::Date {
            which,
            relation,
            day: date(cursor)?,
        });
    }
    if let Some(key) = flag_key(word) {
        return Ok(key);
    }
    match word {
        "ALL" => return Ok(SearchKey::All),
        "RECENT" => return Ok(SearchKey::Recent),
        "OLD" => return Ok(not(SearchKey::Recent)),
        "NEW" => {
            return Ok(SearchKey::And(vec![
                SearchKey::Recent,
                not(SearchKey::Flag(SystemFlag::Seen)),
            ]));
        }
        "SAVEDATESUPPORTED" => return Ok(SearchKey::SaveDateSupported),
        _ => {}
    }
    argument_key(word, cursor)
}

fn flag_key(word: &str) -> Option<SearchKey> {
    let named = |name: &str| {
        SystemFlag::ALL
            .into_iter()
            .find(|flag| flag.as_str()[1..].eq_ignore_ascii_case(name))
    };
    match named(word) {
        Some(flag) => Some(SearchKey::Flag(flag)),
        None => named(word.strip_prefix("UN")?).map(|flag| not(SearchKey::Flag(flag))),
    }
}

fn argument_key(word: &str, cursor: &mut Cursor<'_>) -> Result<SearchKey> {
    const WORDS: [&str; 19] = [
        "KEYWORD",
        "UNKEYWORD",
        "LARGER",
        "SMALLER",
        "FROM",
        "TO",
        "CC",
        "BCC",
        "SUBJECT",
        "HEADER",
        "BODY",
        "TEXT",
        "UID",
        "MODSEQ",
        "YOUNGER",
        "OLDER",
        "EMAILID",
        "THREADID",
        "FUZZY",
    ];
    if !WORDS.contains(&word) {
        return Err(ParseError::Expected("a search key"));
    }
    cursor.space()?;
    let header = |name: &str, value| SearchKey::Header {
        name: name.into(),
        value,
    };
    Ok(match word {
        "KEYWORD" => SearchKey::Keyword(keyword(cursor)?),
        "UNKEYWORD" => not(SearchKey::Keyword(keyword(cursor)?)),
        "LARGER" => SearchKey::Larger(cursor.number64("a size")?),
        "SMALLER" => SearchKey::Smaller(cursor.number64("a size")?),
        "FROM" => header("From", text(cursor)?),
        "TO" => header("To", text(cursor)?),
        "CC" => header("Cc", text(cursor)?),
        "BCC" => header("Bcc", text(cursor)?),
        "SUBJECT" => header("Subject", text(cursor)?),
        "HEADER" => {
            let name = cursor.text("a field name")?;
            cursor.space()?;
            header(&name, text(cursor)?)
        }
        "BODY" => SearchKey::Body(text(cursor)?),
        "TEXT" => SearchKey::Text(text(cursor)?),
        "UID" => SearchKey::Uid(MessageSet::parse(cursor)?),
        "MODSEQ" => SearchKey::ModSeq(modseq(cursor)?),
        "YOUNGER" => SearchKey::Younger(cursor.nz_number("an interval in seconds")?),
        "OLDER" => SearchKey::Older(cursor.nz_number("an interval in seconds")?),
        "EMAILID" => SearchKey::EmailId(cursor.text("an object id")?),
        "THREADID" => SearchKey::ThreadId(cursor.text("an object id")?),
        _ => return Err(ParseError::Invalid("FUZZY is not offered")),
    })
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

/// One key stays itself.
fn all_of(mut keys: Vec<SearchKey>) -> SearchKey {
    match keys.pop() {
        Some(only) if keys.is_empty() => only,
        Some(last) => {
            keys.push(last);
            SearchKey::And(keys)
        }
        None => SearchKey::All,
    }
}

/// Text to look for. What is not UTF-8 is of a charset that is not known here.
fn text(cursor: &mut Cursor<'_>) -> Result<String> {
    utf8(cursor.astring("a text to search for")?).map_err(|_| ParseError::Charset)
}

fn keyword(cursor: &mut Cursor<'_>) -> Result<Keyword> {
    Keyword::new(cursor.atom("a keyword")?).map_err(|_| ParseError::Expected("a keyword"))
}

/// `date = date-text / DQUOTE date-text DQUOTE`
fn date(cursor: &mut Cursor<'_>) -> Result<i32> {
    const DATE: ParseError = ParseError::Expected("a date such as 1-Feb-2025");
    let quoted = cursor.eat(b'"');
    let text = cursor.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if quoted {
        cursor.expect(b'"', "a closing quote")?;
    }
    parse_date(text).ok_or(DATE)
}

/// `[entry-name SP entry-type-req SP] mod-sequence-valzer`
fn modseq(cursor: &mut Cursor<'_>) -> Result<u64> {
    if cursor.peek() == Some(b'"') {
        cursor.string("a metadata entry")?;
        cursor.space()?;
        if !["priv", "shared", "all"]
            .into_iter()
            .any(|kind| cursor.word(kind))
        {
            return Err(ParseError::Expected("priv, shared or all"));
        }
        cursor.space()?;
    }
    cursor.number64("a mod-sequence")
}

fn put_each(keys: &[SearchKey], writer: &mut Writer<'_>) {
    for (at, key) in keys.iter().enumerate() {
        writer.text(if at == 0 { "" } else { " " });
        key.put(writer);
    }
}

fn put_text(name: &str, text: &str, writer: &mut Writer<'_>) {
    writer.text(name);
    writer.text(" ");
    writer.astring(text.as_bytes());
}

fn put_number(name: &str, value: u64, writer: &mut Writer<'_>) {
    writer.text(name);
    writer.number(value);
}
