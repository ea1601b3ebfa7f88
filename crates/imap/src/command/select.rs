//! `SELECT` and `EXAMINE` (RFC 9051 §6.3.2, §6.3.3, RFC 7162 §3.1.8, §3.2.5).
//!
//! ```text
//! select        = ("SELECT" / "EXAMINE") SP mailbox [SP "(" select-param *(SP select-param) ")"]
//! select-param  = "CONDSTORE" / "QRESYNC" SP "(" uidvalidity SP mod-sequence-value
//!                 [SP known-uids] [SP seq-match-data] ")"
//! seq-match-data = "(" known-sequence-set SP known-uid-set ")"
//! ```

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
