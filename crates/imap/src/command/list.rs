//! `LIST` (RFC 9051 §6.3.9, RFC 5258, RFC 5819, RFC 6154) and `LSUB` (RFC 3501 §6.3.9).
//!
//! ```text
//! list = "LIST" [SP "(" [list-select-opts] ")"] SP mailbox SP mbox-or-pat
//!        [SP "RETURN" SP "(" [return-option *(SP return-option)] ")"]
//! mbox-or-pat = list-mailbox / "(" list-mailbox *(SP list-mailbox) ")"
//! ```

use super::StatusItems;

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
