//! `LIST` (RFC 9051 §6.3.9, RFC 5258, RFC 5819, RFC 6154) and `LSUB` (RFC 3501 §6.3.9).
//!
//! ```text
//! list = "LIST" [SP "(" [list-select-opts] ")"] SP mailbox SP mbox-or-pat
//!        [SP "RETURN" SP "(" [return-option *(SP return-option)] ")"]
//! mbox-or-pat = list-mailbox / "(" list-mailbox *(SP list-mailbox) ")"
//! ```

use super::StatusItems;
use super::writer::Writer;
use crate::parse::{Cursor, ParseError, Result};

/// `LIST`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    /// Which mailboxes are meant.
    pub select: ListSelect,
    /// Joined in front of every pattern.
    pub reference: String,
    /// One or more; a single empty one asks for the delimiter only (when the command is not extended).
    pub patterns: Vec<String>,
    /// What to say of them.
    pub returns: ListReturn,
    /// Any selection option, return option or pattern list was there.
    pub extended: bool,
}

/// Selection options (RFC 5258 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListSelect {
    /// `SUBSCRIBED`: subscribed names, existing or not.
    pub subscribed: bool,
    /// `REMOTE`: changes nothing here.
    pub remote: bool,
    /// `RECURSIVEMATCH`: name parents of matching mailboxes too, with CHILDINFO. Only with another option.
    pub recursive_match: bool,
    /// `SPECIAL-USE`: only mailboxes with a special use.
    pub special_use: bool,
}

/// Return options (RFC 5258 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListReturn {
    /// `SUBSCRIBED`: mark subscribed mailboxes `\Subscribed`.
    pub subscribed: bool,
    /// `CHILDREN`: mark `\HasChildren` or `\HasNoChildren`.
    pub children: bool,
    /// `SPECIAL-USE`: name special uses.
    pub special_use: bool,
    /// `STATUS (…)`: a STATUS response after each selectable mailbox (RFC 5819).
    pub status: Option<StatusItems>,
}

/// Patterns in one command.
const MAX_PATTERNS: usize = 64;

impl List {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        let mut list = Self::default();
        cursor.space()?;
        if cursor.peek() == Some(b'(') {
            list.extended = true;
            list.select = ListSelect::parse(cursor)?;
            cursor.space()?;
        }
        list.reference = cursor.mailbox()?;
        cursor.space()?;
        if cursor.peek() == Some(b'(') {
            list.extended = true;
            list.patterns = cursor.list("patterns", MAX_PATTERNS, Cursor::list_mailbox)?;
            if list.patterns.is_empty() {
                return Err(ParseError::Expected("a mailbox pattern"));
            }
        } else {
            list.patterns.push(cursor.list_mailbox()?);
        }
        if cursor.eat(b' ') {
            if !cursor.word("RETURN") {
                return Err(ParseError::Expected("RETURN"));
            }
            cursor.space()?;
            list.extended = true;
            list.returns = ListReturn::parse(cursor)?;
        }
        Ok(list)
    }

    pub(super) fn put(&self, writer: &mut Writer<'_>) {
        let many = self.patterns.len() != 1;
        if self.select != ListSelect::default() {
            self.select.put(writer);
        }
        writer.text(" ");
        writer.mailbox(&self.reference);
        writer.text(if many { " (" } else { " " });
        for (at, pattern) in self.patterns.iter().enumerate() {
            if at > 0 {
                writer.text(" ");
            }
            writer.pattern(pattern);
        }
        if many {
            writer.text(")");
        }
        if self.extended
            && (self.returns != ListReturn::default() || (!many && self.select == ListSelect::default()))
        {
            self.returns.put(writer);
        }
    }
}

impl ListSelect {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        let mut select = Self::default();
        cursor.list("selection options", 8, |cursor| {
            for (word, option) in [
                ("SUBSCRIBED", &mut select.subscribed),
                ("REMOTE", &mut select.remote),
                ("RECURSIVEMATCH", &mut select.recursive_match),
                ("SPECIAL-USE", &mut select.special_use),
            ] {
                if cursor.word(word) {
                    *option = true;
                    return Ok(());
                }
            }
            Err(ParseError::Expected("a selection option"))
        })?;
        if select.recursive_match && !(select.subscribed || select.special_use) {
            return Err(ParseError::Invalid(
                "RECURSIVEMATCH needs another selection option",
            ));
        }
        Ok(select)
    }

    fn put(self, writer: &mut Writer<'_>) {
        let words = [
            (self.subscribed, "SUBSCRIBED"),
            (self.remote, "REMOTE"),
            (self.recursive_match, "RECURSIVEMATCH"),
            (self.special_use, "SPECIAL-USE"),
        ];
        writer.text(" ");
        writer.words(words);
    }
}

impl ListReturn {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        let mut returns = Self::default();
        cursor.list("return options", 8, |cursor| {
            for (word, option) in [
                ("SUBSCRIBED", &mut returns.subscribed),
                ("CHILDREN", &mut returns.children),
                ("SPECIAL-USE", &mut returns.special_use),
            ] {
                if cursor.word(word) {
                    *option = true;
                    return Ok(());
                }
            }
            if !cursor.word("STATUS") {
                return Err(ParseError::Expected("a return option"));
            }
            cursor.space()?;
            returns.status = Some(StatusItems::parse(cursor)?);
            Ok(())
        })?;
        Ok(returns)
    }

    fn put(self, writer: &mut Writer<'_>) {
        writer.text(" RETURN ");
        let words = [
            (self.subscribed, "SUBSCRIBED"),
            (self.children, "CHILDREN"),
            (self.special_use, "SPECIAL-USE"),
        ];
        let Some(items) = self.status else {
            return writer.words(words);
        };
        writer.text("(");
        for (_, word) in words.into_iter().filter(|(on, _)| *on) {
            writer.text(word);
            writer.text(" ");
        }
        writer.text("STATUS ");
        items.put(writer);
        writer.text(")");
    }
}
