//! `ID` (RFC 2971).
//!
//! ```text
//! id            = "ID" SP id-params-list
//! id-params-list = "(" [string SP nstring *(SP string SP nstring)] ")" / nil
//! ```

use super::writer::Writer;
use crate::parse::{Cursor, Result, utf8};

/// What the client says it is: at most 30 fields, as sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Id(pub Vec<(String, Option<String>)>);

/// More fields than RFC 2971 §3.3 allows are refused.
const MAX_FIELDS: usize = 30;

impl Id {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        cursor.space()?;
        if cursor.word("NIL") {
            return Ok(Self::default());
        }
        let fields = cursor.list("ID fields", MAX_FIELDS, |cursor| {
            let name = utf8(cursor.string("a field's name")?)?;
            cursor.space()?;
            Ok((name, cursor.nstring("a field's value or NIL")?))
        })?;
        Ok(Self(fields))
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        if self.0.is_empty() {
            return writer.text(" NIL");
        }
        for (at, (name, value)) in self.0.iter().enumerate() {
            writer.text(if at == 0 { " (" } else { " " });
            writer.string(name.as_bytes());
            writer.text(" ");
            match value {
                Some(value) => writer.string(value.as_bytes()),
                None => writer.text("NIL"),
            }
        }
        writer.text(")");
    }
}
