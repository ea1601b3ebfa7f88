//! Bytes of what an engine stores in one column: a version byte, then protocol buffers.
//!
//! Written once for all engines, so that a row means the same in each. A version is never changed once released: a new form gets
//! a new number, and every older one stays readable.

use postrider_types::{Flags, FolderId, Keyword, Uid};
use prost::Message;

use crate::account::{Change, FlagState};
use crate::{Error, Result};

/// The form written now.
const FORM: u8 = 1;

#[derive(Clone, PartialEq, Message)]
struct ChangesForm {
    #[prost(message, repeated, tag = "1")]
    changes: Vec<ChangeForm>,
}

#[derive(Clone, PartialEq, Message)]
struct ChangeForm {
    /// One of the kinds below.
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, tag = "2")]
    folder: u32,
    /// Each the distance from the one before: a run of new messages costs a byte each.
    #[prost(uint32, repeated, tag = "3")]
    uids: Vec<u32>,
    /// One byte per UID.
    #[prost(bytes = "vec", tag = "4")]
    flags: Vec<u8>,
    /// Only for messages that have some.
    #[prost(message, repeated, tag = "5")]
    keywords: Vec<KeywordsForm>,
}

#[derive(Clone, PartialEq, Message)]
struct KeywordsForm {
    /// Which of the UIDs.
    #[prost(uint32, tag = "1")]
    index: u32,
    #[prost(string, tag = "2")]
    keywords: String,
}

const ADDED: u32 = 1;
const FLAGS: u32 = 2;
const REMOVED: u32 = 3;
const FOLDER: u32 = 4;
const FOLDER_REMOVED: u32 = 5;

/// The changes of a commit, for the `changes` column.
pub fn encode_changes(changes: &[Change]) -> Vec<u8> {
    let form = ChangesForm {
        changes: changes.iter().map(change_form).collect(),
    };
    let mut bytes = Vec::with_capacity(1 + form.encoded_len());
    bytes.push(FORM);
    bytes.extend_from_slice(&form.encode_to_vec());
    bytes
}

/// The changes in a `changes` column; [`Error::Damaged`] if they are none.
pub fn decode_changes(bytes: &[u8]) -> Result<Vec<Change>> {
    let damaged = || Error::Damaged("a change row cannot be read".into());
    match bytes.split_first() {
        Some((&FORM, form)) => {
            let form = ChangesForm::decode(form).map_err(|_| damaged())?;
            form.changes
                .into_iter()
                .map(|change| change_of(change).ok_or_else(damaged))
                .collect()
        }
        Some((form, _)) => Err(Error::Damaged(format!(
            "a change row has form {form}, which a newer program wrote"
        ))),
        None => Err(damaged()),
    }
}

/// Keywords for a text column: with a space between, which none of them contains.
pub fn encode_keywords(keywords: &[Keyword]) -> String {
    let mut text = String::new();
    for keyword in keywords {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(keyword.as_str());
    }
    text
}

/// The keywords in a text column.
pub fn decode_keywords(text: &str) -> Result<Vec<Keyword>> {
    let keyword = |word| Keyword::new(word).map_err(|_| Error::Damaged(format!("`{word}` is not a keyword")));
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(keyword)
        .collect()
}

fn change_form(change: &Change) -> ChangeForm {
    let plain = |kind, folder: &FolderId, uids: &[Uid]| ChangeForm {
        kind,
        folder: folder.0,
        uids: distances(uids.iter().copied()),
        flags: Vec::new(),
        keywords: Vec::new(),
    };
    match change {
        Change::Added(folder, states) => states_form(ADDED, folder, states),
        Change::Flags(folder, states) => states_form(FLAGS, folder, states),
        Change::Removed(folder, uids) => plain(REMOVED, folder, uids),
        Change::Folder(folder) => plain(FOLDER, folder, &[]),
        Change::FolderRemoved(folder) => plain(FOLDER_REMOVED, folder, &[]),
    }
}

fn states_form(kind: u32, folder: &FolderId, states: &[FlagState]) -> ChangeForm {
    let with_keywords = states
        .iter()
        .zip(0..)
        .filter(|(state, _)| !state.keywords.is_empty());
    ChangeForm {
        kind,
        folder: folder.0,
        uids: distances(states.iter().map(|state| state.uid)),
        flags: states.iter().map(|state| state.flags.bits()).collect(),
        keywords: with_keywords
            .map(|(state, index)| KeywordsForm {
                index,
                keywords: encode_keywords(&state.keywords),
            })
            .collect(),
    }
}

fn distances(uids: impl Iterator<Item = Uid>) -> Vec<u32> {
    let mut last = 0;
    uids.map(|uid| uid.0.wrapping_sub(std::mem::replace(&mut last, uid.0)))
        .collect()
}

fn change_of(form: ChangeForm) -> Option<Change> {
    let folder = FolderId(form.folder);
    let mut last = 0u32;
    let uids = form.uids.iter().map(|distance| {
        last = last.wrapping_add(*distance);
        Uid(last)
    });
    Some(match form.kind {
        REMOVED => Change::Removed(folder, uids.collect()),
        FOLDER => Change::Folder(folder),
        FOLDER_REMOVED => Change::FolderRemoved(folder),
        ADDED | FLAGS => {
            if form.uids.len() != form.flags.len() {
                return None;
            }
            let state = |(uid, bits): (Uid, &u8)| FlagState {
                uid,
                flags: Flags::from_bits(*bits),
                keywords: Vec::new(),
            };
            let mut states: Vec<FlagState> = uids.zip(&form.flags).map(state).collect();
            for keywords in &form.keywords {
                states.get_mut(keywords.index as usize)?.keywords =
                    decode_keywords(&keywords.keywords).ok()?;
            }
            if form.kind == ADDED {
                Change::Added(folder, states)
            } else {
                Change::Flags(folder, states)
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keyword() -> impl Strategy<Value = Keyword> {
        "[$a-zA-Z][a-zA-Z0-9_-]{0,12}".prop_map(|text| Keyword::new(&text).unwrap())
    }

    fn state() -> impl Strategy<Value = FlagState> {
        (any::<u32>(), 0u8..32, proptest::collection::vec(keyword(), 0..3)).prop_map(
            |(uid, bits, keywords)| FlagState {
                uid: Uid(uid),
                flags: Flags::from_bits(bits),
                keywords,
            },
        )
    }

    fn change() -> impl Strategy<Value = Change> {
        let states = || proptest::collection::vec(state(), 0..20);
        let folder = || any::<u32>().prop_map(FolderId);
        let uids = proptest::collection::vec(any::<u32>().prop_map(Uid), 0..20);
        prop_oneof![
            (folder(), states()).prop_map(|(folder, states)| Change::Added(folder, states)),
            (folder(), states()).prop_map(|(folder, states)| Change::Flags(folder, states)),
            (folder(), uids).prop_map(|(folder, uids)| Change::Removed(folder, uids)),
            folder().prop_map(Change::Folder),
            folder().prop_map(Change::FolderRemoved),
        ]
    }

    proptest! {
        #[test]
        fn changes_survive_their_bytes(changes in proptest::collection::vec(change(), 0..5)) {
            prop_assert_eq!(decode_changes(&encode_changes(&changes)).unwrap(), changes);
        }

        #[test]
        fn foreign_bytes_are_an_error_or_changes(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode_changes(&bytes);
        }
    }

    #[test]
    fn the_common_delivery_takes_a_dozen_bytes() {
        let state = FlagState {
            uid: Uid(70_000),
            flags: Flags::EMPTY,
            keywords: Vec::new(),
        };
        let bytes = encode_changes(&[Change::Added(FolderId::INBOX, vec![state])]);
        assert_eq!(
            bytes,
            [
                1, 0x0a, 12, 0x08, 1, 0x10, 1, 0x1a, 3, 0xf0, 0xa2, 0x04, 0x22, 1, 0
            ]
        );
    }

    #[test]
    fn a_newer_form_is_refused_by_name() {
        assert!(matches!(decode_changes(&[2, 0]), Err(Error::Damaged(text)) if text.contains("form 2")));
        assert!(decode_changes(&[]).is_err());
    }
}
