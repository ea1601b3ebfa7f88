//! What a FETCH needs to read.

use postrider_imap::command::{Fetch, FetchItem, Section};
use postrider_imap::session::Enabled;

/// How much has to be known of a message; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Needs {
    /// What the session knows.
    Nothing,
    /// Flags.
    Flags,
    /// Size.
    Size,
    /// The message row.
    Row,
    /// Envelope and preview.
    Summary,
    /// The whole description.
    Structure,
}

/// What is written of each message, and what that takes.
pub(super) struct Plan<'a> {
    pub items: &'a [FetchItem],
    pub needs: Needs,
    /// Some of the message itself is.
    pub reads_content: bool,
    /// `\Seen` is set.
    pub marks_seen: bool,
    /// Every line names the UID.
    pub uid: bool,
    /// MODSEQ is told although it is not among the items.
    pub modseq: bool,
    /// CONDSTORE is on: whoever is told flags is told MODSEQ.
    pub condstore: bool,
}

impl<'a> Plan<'a> {
    pub fn new(fetch: &'a Fetch, enabled: Enabled) -> Self {
        let items = fetch.items.as_slice();
        let changed = fetch.changed_since.is_some();
        let needs = items.iter().map(needs).max().unwrap_or(Needs::Nothing);
        let tells_flags = items.contains(&FetchItem::Flags) && enabled.condstore;
        Self {
            items,
            // A mod-sequence stands in the row only.
            needs: if changed || tells_flags {
                needs.max(Needs::Row)
            } else {
                needs
            },
            reads_content: items.iter().any(reads_content),
            marks_seen: items.iter().any(FetchItem::marks_seen),
            uid: fetch.uid && !items.contains(&FetchItem::Uid),
            modseq: (changed || tells_flags) && !items.contains(&FetchItem::ModSeq),
            condstore: enabled.condstore,
        }
    }

    /// Whether it tells envelopes, and beside them nothing that takes more than rows.
    pub fn is_listing(&self) -> bool {
        let of_row = |item: &FetchItem| needs(item) <= Needs::Row && !reads_content(item);
        self.has(&FetchItem::Envelope)
            && self
                .items
                .iter()
                .all(|item| of_row(item) || *item == FetchItem::Envelope)
    }

    /// Whether all it tells is kept by [`crate::listings`].
    pub fn is_kept(&self) -> bool {
        let kept = |item: &FetchItem| {
            matches!(
                item,
                FetchItem::Uid | FetchItem::Envelope | FetchItem::InternalDate | FetchItem::Rfc822Size
            )
        };
        !self.modseq && self.items.iter().all(kept)
    }

    /// Whether an item is among those asked for.
    pub fn has(&self, item: &FetchItem) -> bool {
        self.items.contains(item)
    }
}

fn reads_content(item: &FetchItem) -> bool {
    matches!(
        item,
        FetchItem::Section { .. }
            | FetchItem::Rfc822
            | FetchItem::Rfc822Header
            | FetchItem::Rfc822Text
            | FetchItem::Binary { .. }
            | FetchItem::BinarySize(_)
    )
}

fn needs(item: &FetchItem) -> Needs {
    match item {
        FetchItem::Uid => Needs::Nothing,
        FetchItem::Flags => Needs::Flags,
        FetchItem::Rfc822Size => Needs::Size,
        FetchItem::Envelope | FetchItem::Preview { .. } => Needs::Summary,
        FetchItem::Body | FetchItem::BodyStructure | FetchItem::Rfc822Header | FetchItem::Rfc822Text => {
            Needs::Structure
        }
        FetchItem::Section { section, .. } if *section != Section::default() => Needs::Structure,
        FetchItem::Binary { part, .. } | FetchItem::BinarySize(part) if !part.is_empty() => Needs::Structure,
        _ => Needs::Row,
    }
}
