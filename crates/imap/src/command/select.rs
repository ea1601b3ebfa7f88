//! `SELECT` and `EXAMINE` (RFC 9051 §6.3.2, §6.3.3, RFC 7162 §3.1.8, §3.2.5).
//!
//! ```text
//! select        = ("SELECT" / "EXAMINE") SP mailbox [SP "(" select-param *(SP select-param) ")"]
//! select-param  = "CONDSTORE" / "QRESYNC" SP "(" uidvalidity SP mod-sequence-value
//!                 [SP known-uids] [SP seq-match-data] ")"
//! seq-match-data = "(" known-sequence-set SP known-uid-set ")"
//! ```

use super::writer::Writer;
use crate::parse::{Cursor, ParseError, Result};
use crate::set::SequenceSet;

/// `SELECT` or `EXAMINE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// Which mailbox.
    pub mailbox: String,
    /// It is EXAMINE.
    pub read_only: bool,
    /// `(CONDSTORE)`; the session has turned the extension on already.
    pub condstore: bool,
    /// `(QRESYNC …)`; only when QRESYNC is enabled, else the session has said BAD.
    pub qresync: Option<QResync>,
}

/// What the client knows of a mailbox from an earlier session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QResync {
    /// UIDVALIDITY then; when it is another now, ignore the rest.
    pub uid_validity: u32,
    /// The mod-sequence up to which the client is informed.
    pub modseq: u64,
    /// The UIDs it knows (no `*`); absent: all below UIDNEXT.
    pub known_uids: Option<SequenceSet>,
    /// Sequence numbers and the UIDs they had, pairwise, no `*`: a hint to keep VANISHED (EARLIER) short.
    pub seq_match: Option<(SequenceSet, SequenceSet)>,
}

impl Select {
    pub(super) fn parse(cursor: &mut Cursor<'_>, read_only: bool) -> Result<Self> {
        cursor.space()?;
        let mut select = Self {
            mailbox: cursor.mailbox()?,
            read_only,
            condstore: false,
            qresync: None,
        };
        if cursor.eat(b' ') {
            cursor.list("parameters", 4, |cursor| {
                if cursor.word("CONDSTORE") {
                    select.condstore = true;
                } else if cursor.word("QRESYNC") {
                    select.qresync = Some(QResync::parse(cursor)?);
                } else {
                    return Err(ParseError::Expected("CONDSTORE or QRESYNC"));
                }
                Ok(())
            })?;
        }
        Ok(select)
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        writer.text(" ");
        writer.mailbox(&self.mailbox);
        if self.condstore {
            writer.text(" (CONDSTORE");
        }
        if let Some(qresync) = &self.qresync {
            writer.text(if self.condstore { " QRESYNC " } else { " (QRESYNC " });
            qresync.put(writer);
        }
        if self.condstore || self.qresync.is_some() {
            writer.text(")");
        }
    }
}

impl QResync {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        cursor.space()?;
        cursor.expect(b'(', "an opening parenthesis")?;
        let uid_validity = cursor.nz_number("a UIDVALIDITY")?;
        cursor.space()?;
        let modseq = cursor.number64("a mod-sequence")?;
        let mut known = Self {
            uid_validity,
            modseq,
            known_uids: None,
            seq_match: None,
        };
        if cursor.rest().starts_with(b" (") {
            cursor.space()?;
            known.seq_match = Some(Self::parse_match(cursor)?);
        } else if cursor.eat(b' ') {
            known.known_uids = Some(without_star(cursor)?);
            if cursor.eat(b' ') {
                known.seq_match = Some(Self::parse_match(cursor)?);
            }
        }
        cursor.expect(b')', "a closing parenthesis")?;
        Ok(known)
    }

    fn parse_match(cursor: &mut Cursor<'_>) -> Result<(SequenceSet, SequenceSet)> {
        cursor.expect(b'(', "an opening parenthesis")?;
        let numbers = without_star(cursor)?;
        cursor.space()?;
        let uids = without_star(cursor)?;
        cursor.expect(b')', "a closing parenthesis")?;
        Ok((numbers, uids))
    }

    fn put(&self, writer: &mut Writer<'_>) {
        writer.text("(");
        writer.number(self.uid_validity.into());
        writer.text(" ");
        writer.number(self.modseq);
        if let Some(uids) = &self.known_uids {
            writer.text(" ");
            uids.put(writer.out());
        }
        if let Some((numbers, uids)) = &self.seq_match {
            writer.text(" (");
            numbers.put(writer.out());
            writer.text(" ");
            uids.put(writer.out());
            writer.text(")");
        }
        writer.text(")");
    }
}

fn without_star(cursor: &mut Cursor<'_>) -> Result<SequenceSet> {
    let set = SequenceSet::parse(cursor)?;
    if set.has_star() {
        Err(ParseError::Expected("a sequence set without *"))
    } else {
        Ok(set)
    }
}
