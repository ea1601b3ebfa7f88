//! From rows to the contract's messages.

use bytes::Bytes;
use postrider_index::UidSet;
use postrider_message::Facts;
use postrider_proto::mailstore as wire;
use postrider_proto::{Failure, Kind};
use postrider_store::account::{Change, ChangeRow, FlagState, FolderRow, MessageRow};
use postrider_types::{Keyword, Uid, Version};

use crate::columns::Piece;
use crate::delivery::Delivered;
use crate::rows::Described;

/// Bytes of rows that one answer of a stream has at most, unless a single row has more: far below what the transport
/// takes ([`postrider_proto::MAX_MESSAGE_BYTES`]), however large the descriptions are that senders made us write.
const ANSWER: usize = 1 << 20;
/// What a row's numbers and ids take at most.
const NUMBERS: usize = 100;
/// Bytes of an id.
const ID: usize = 16;

/// Cuts rows into answers of a bounded size.
pub(crate) fn portions<T>(rows: Vec<T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    if rows.iter().map(&size).sum::<usize>() <= ANSWER {
        return if rows.is_empty() { Vec::new() } else { vec![rows] };
    }
    let mut portions: Vec<Vec<T>> = Vec::new();
    let mut left = 0;
    for row in rows {
        let size = size(&row);
        match portions.last_mut() {
            Some(portion) if size <= left => portion.push(row),
            _ => {
                portions.push(vec![row]);
                left = ANSWER;
            }
        }
        left = left.saturating_sub(size);
    }
    portions
}

/// About how many bytes a message row takes.
pub(crate) fn message_size(row: &wire::MessageRow) -> usize {
    let keywords: usize = row.keywords.iter().map(|keyword| keyword.len() + 2).sum();
    NUMBERS + row.description.len() + keywords
}

/// About how many bytes a commit takes.
pub(crate) fn commit_size(commit: &wire::Commit) -> usize {
    let change = |change: &wire::Change| {
        NUMBERS + change.uids.len() + change.messages.iter().map(message_size).sum::<usize>()
    };
    NUMBERS + commit.changes.iter().map(change).sum::<usize>()
}

pub(crate) fn folder(row: &FolderRow) -> wire::Folder {
    if !row.exists {
        return wire::Folder {
            name: row.name.clone(),
            subscribed: row.subscribed,
            ..wire::Folder::default()
        };
    }
    wire::Folder {
        id: row.id.0,
        name: row.name.clone(),
        uid_validity: row.uid_validity,
        uid_next: row.uid_next.0,
        role: row.role.clone(),
        subscribed: row.subscribed,
        exists: true,
        messages: row.messages,
        unseen: row.unseen,
        deleted: row.deleted,
        size: row.size,
        highest_modseq: row.changed.0,
        deleted_size: row.deleted_size,
    }
}

pub(crate) fn keywords(keywords: &[Keyword]) -> Vec<String> {
    keywords.iter().map(Keyword::to_string).collect()
}

/// Rows that changed after a version. All their ids share one piece of memory.
pub(crate) fn messages(rows: Vec<Described>, since: Version) -> Vec<wire::MessageRow> {
    let mut ids = Vec::with_capacity(rows.len() * 2 * ID);
    for (row, _) in &rows {
        ids.extend_from_slice(row.content.as_bytes());
        ids.extend_from_slice(row.thread.as_bytes());
    }
    let ids = Bytes::from(ids);
    let rows = rows.into_iter().zip((0..).step_by(2 * ID));
    rows.filter(|((row, _), _)| row.modseq > since)
        .map(|((row, description), at)| wire::MessageRow {
            uid: row.uid.0,
            content_id: ids.slice(at..at + ID),
            thread_id: ids.slice(at + ID..at + 2 * ID),
            size: row.size,
            received: row.received,
            flags: u32::from(row.flags.bits()),
            keywords: keywords(&row.keywords),
            modseq: row.modseq.0,
            description,
            saved: row.saved,
        })
        .collect()
}

/// A piece of columns.
pub(crate) fn columns(piece: Piece) -> wire::ListMessagesResponse {
    let flags: Vec<u8> = piece.flags.iter().map(|flags| flags.bits()).collect();
    let columns = wire::MessageColumns {
        version: piece.version.0,
        uids: piece.uids.iter().copied().collect::<UidSet>().to_bytes(),
        flags: flags.into(),
        sizes: piece.sizes,
    };
    wire::ListMessagesResponse {
        messages: Vec::new(),
        columns: Some(columns),
    }
}

/// Only what flags need: UID, flags, keywords, MODSEQ.
pub(crate) fn flags_of(row: &MessageRow) -> wire::MessageRow {
    wire::MessageRow {
        uid: row.uid.0,
        flags: u32::from(row.flags.bits()),
        keywords: keywords(&row.keywords),
        modseq: row.modseq.0,
        ..wire::MessageRow::default()
    }
}

pub(crate) fn facts(facts: &Facts) -> wire::MessageFacts {
    wire::MessageFacts {
        has_8bit_body: facts.eight_bit_body,
        has_utf8_header: facts.eight_bit_header,
        received_count: facts.received,
    }
}

pub(crate) fn delivered(result: Result<Delivered, Failure>) -> wire::DeliverResult {
    use wire::deliver_result::Outcome;
    let (outcome, place, detail) = match result {
        Ok(Delivered::Now(place)) => (Outcome::Delivered, Some(place), String::new()),
        Ok(Delivered::Earlier(place)) => (Outcome::AlreadyDelivered, Some(place), String::new()),
        Ok(Delivered::OverQuota) => (Outcome::OverQuota, None, "the mailbox is full".into()),
        Err(failure) if failure.kind == Kind::Deadline => (Outcome::Unknown, None, failure.message),
        Err(failure) => (Outcome::Temporary, None, failure.message),
    };
    wire::DeliverResult {
        outcome: outcome.into(),
        folder: place.map_or(0, |place| place.folder.0),
        uid: place.map_or(0, |place| place.uid.0),
        version: place.map_or(0, |place| place.version.0),
        detail,
    }
}

pub(crate) fn commit(row: &ChangeRow) -> wire::Commit {
    wire::Commit {
        version: row.version.0,
        changes: row.changes.iter().map(|it| change(it, row.version)).collect(),
    }
}

fn change(change: &Change, version: Version) -> wire::Change {
    use wire::change::Kind;
    let (kind, folder, states, uids): (_, _, &[FlagState], &[Uid]) = match change {
        Change::Added(folder, messages) => (Kind::Added, folder, messages, &[]),
        Change::Flags(folder, messages) => (Kind::Flags, folder, messages, &[]),
        Change::Removed(folder, uids) => (Kind::Removed, folder, &[], uids),
        Change::Folder(folder) => (Kind::Folder, folder, &[], &[]),
        Change::FolderRemoved(folder) => (Kind::FolderRemoved, folder, &[], &[]),
    };
    let state = |state: &FlagState| wire::MessageRow {
        uid: state.uid.0,
        flags: u32::from(state.flags.bits()),
        keywords: keywords(&state.keywords),
        modseq: version.0,
        ..wire::MessageRow::default()
    };
    let uids = if uids.is_empty() {
        Bytes::new()
    } else {
        uids.iter().copied().collect::<UidSet>().to_bytes()
    };
    wire::Change {
        kind: kind.into(),
        folder: folder.0,
        messages: states.iter().map(state).collect(),
        uids,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_are_bounded_and_keep_the_order() {
        let rows = vec![3, ANSWER - 3, 1, 2 * ANSWER, 5, ANSWER, 7, 8];
        assert_eq!(
            portions(rows, |row| *row),
            [
                vec![3, ANSWER - 3],
                vec![1],
                vec![2 * ANSWER],
                vec![5],
                vec![ANSWER],
                vec![7, 8]
            ]
        );
        assert_eq!(
            portions(Vec::<usize>::new(), |row| *row),
            Vec::<Vec<usize>>::new()
        );
    }
}
