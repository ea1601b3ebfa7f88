//! From a draft to the commit the engine takes.

use std::collections::HashSet;

use postrider_proto::Failure;
use postrider_store::account::{
    Change, ChangeRow, Commit, DescriptionRow, FlagState, MessageRow, Reference, Rows,
};
use postrider_types::ContentId;

use super::{Draft, Pending};
use crate::failure::storage;
use crate::lookup::MAX_LOOKUP;
use crate::state::Step;

/// A commit ready for the engine, and what it does to the state once it is committed.
pub(crate) struct Sealed {
    pub commit: Commit,
    pub step: Step,
}

impl Draft<'_> {
    /// The commit, or nothing if the draft changes nothing. Looks up whether removed contents are still in use.
    pub async fn seal(mut self) -> Result<Option<Sealed>, Failure> {
        if self.effects == 0 {
            return Ok(None);
        }
        let dropped = self.dropped_contents().await?;
        let change = ChangeRow {
            version: self.head.version,
            time: self.now,
            changes: self.changes(),
        };
        let mut rows = Rows {
            drop_descriptions: dropped,
            put_receipts: self.receipts,
            ..Rows::default()
        };
        let mut live = HashSet::new();
        for ((folder, uid), effect) in self.messages {
            match effect {
                Pending::Added(row) => {
                    live.insert(row.content);
                    rows.put_messages.push(row);
                }
                Pending::Changed(row) => {
                    let state = FlagState {
                        uid,
                        flags: row.flags,
                        keywords: row.keywords,
                    };
                    rows.update_messages.push((folder, state));
                }
                Pending::Removed(_) => rows.delete_messages.push((folder, uid)),
                Pending::Vanished => {}
            }
        }
        for (id, edit) in self.folders {
            match edit {
                Some(edit) => rows.put_folders.push(edit.row),
                None if self.state.row(id).is_some() => rows.delete_folders.push(id),
                None => {}
            }
        }
        let described = self
            .descriptions
            .into_iter()
            .filter(|(content, _)| live.contains(content));
        rows.put_descriptions = described
            .map(|(content, data)| DescriptionRow { content, data })
            .collect();
        rows.put_references = self
            .references
            .into_iter()
            .map(|(hash, thread)| Reference { hash, thread })
            .collect();
        self.contents.retain(|(content, _)| live.contains(content));
        let step = Step {
            head: self.head.clone(),
            put_folders: rows.put_folders.clone(),
            delete_folders: rows.delete_folders.clone(),
            change: change.clone(),
        };
        let commit = Commit {
            account: self.account,
            expected: self.state.version(),
            head: self.head,
            change,
            rows,
            contents: self.contents,
        };
        Ok(Some(Sealed { commit, step }))
    }

    /// Contents of removed messages that no row of the account refers to once this is committed.
    async fn dropped_contents(&self) -> Result<Vec<ContentId>, Failure> {
        let mut dropped: HashSet<ContentId> = self
            .messages
            .values()
            .filter_map(|effect| match effect {
                Pending::Removed(content) => Some(*content),
                _ => None,
            })
            .collect();
        for effect in self.messages.values() {
            if let Pending::Added(row) | Pending::Changed(row) = effect {
                dropped.remove(&row.content);
            }
        }
        let asked: Vec<ContentId> = dropped.iter().copied().collect();
        for some in asked.chunks(MAX_LOOKUP) {
            for (content, folder, uid) in self.engine.places(self.account, some).await.map_err(storage)? {
                if !matches!(self.messages.get(&(folder, uid)), Some(Pending::Removed(_))) {
                    dropped.remove(&content);
                }
            }
        }
        let mut dropped: Vec<ContentId> = dropped.into_iter().collect();
        dropped.sort_unstable();
        Ok(dropped)
    }

    /// What the change row says: folders that came or changed, messages by folder, folders that went.
    fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (id, edit) in &self.folders {
            if edit.as_ref().is_some_and(|edit| edit.news && edit.row.exists) {
                changes.push(Change::Folder(*id));
            }
        }
        let mut messages = self.messages.iter().peekable();
        while let Some(((folder, _), _)) = messages.peek() {
            let folder = *folder;
            let (mut added, mut changed, mut removed) = (Vec::new(), Vec::new(), Vec::new());
            while let Some(((_, uid), effect)) = messages.next_if(|((of, _), _)| *of == folder) {
                match effect {
                    Pending::Added(row) => added.push(flag_state(row)),
                    Pending::Changed(row) => changed.push(flag_state(row)),
                    Pending::Removed(_) => removed.push(*uid),
                    Pending::Vanished => {}
                }
            }
            if !removed.is_empty() {
                changes.push(Change::Removed(folder, removed));
            }
            if !changed.is_empty() {
                changes.push(Change::Flags(folder, changed));
            }
            if !added.is_empty() {
                changes.push(Change::Added(folder, added));
            }
        }
        for (id, edit) in &self.folders {
            let was = self.state.folder(*id).is_some();
            let gone = edit.as_ref().is_none_or(|edit| edit.news && !edit.row.exists);
            if was && gone {
                changes.push(Change::FolderRemoved(*id));
            }
        }
        changes
    }
}

fn flag_state(row: &MessageRow) -> FlagState {
    FlagState {
        uid: row.uid,
        flags: row.flags,
        keywords: row.keywords.clone(),
    }
}
