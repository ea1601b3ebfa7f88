//! What is kept of an account in memory: its head, folders, folder indexes and recent changes, all true of one version.
//!
//! It is a value: readers hold it by `Arc` and see one version for as long as they like, the one writer of the account
//! changes it in place when nobody does.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use postrider_index::{FolderIndex, UidSet};
use postrider_store::account::{Change, ChangeRow, FolderRow, Head};
use postrider_types::{CommitId, FolderId, Version};

/// How many change rows are kept, so that a session which is told of a commit can read it without the engine.
const RECENT_ROWS: usize = 32;
/// The most messages those may touch together.
const RECENT_MESSAGES: usize = 2048;

/// An account at one version.
#[derive(Debug, Clone)]
pub(crate) struct State {
    head: Head,
    folders: BTreeMap<FolderId, Arc<FolderRow>>,
    names: BTreeMap<String, FolderId>,
    indexes: BTreeMap<FolderId, Indexed>,
    recent: VecDeque<Arc<ChangeRow>>,
}

/// A folder's index, and how far its snapshot lies behind.
#[derive(Debug, Clone)]
struct Indexed {
    index: FolderIndex,
    /// See [`effort`].
    unsaved: u32,
}

/// What a commit changed, as far as the state knows of it.
#[derive(Debug)]
pub(crate) struct Step {
    /// The new head.
    pub head: Head,
    /// Folders as they are now.
    pub put_folders: Vec<FolderRow>,
    /// Folders without a row now.
    pub delete_folders: Vec<FolderId>,
    /// The change row.
    pub change: ChangeRow,
}

impl State {
    /// From what the engine has; an account without a head is at version 0, without folders.
    pub fn new(rows: Option<(Head, Vec<FolderRow>)>) -> Self {
        let (head, rows) = rows.unwrap_or_else(|| {
            let head = Head {
                version: Version(0),
                last_commit: CommitId::default(),
                used: 0,
                messages: 0,
                next_folder: FolderId::INBOX,
            };
            (head, Vec::new())
        });
        let mut state = Self {
            head,
            folders: BTreeMap::new(),
            names: BTreeMap::new(),
            indexes: BTreeMap::new(),
            recent: VecDeque::new(),
        };
        state.replace_folders(rows);
        state
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    pub fn version(&self) -> Version {
        self.head.version
    }

    /// A folder's row, whether it exists or is only subscribed.
    pub fn row(&self, id: FolderId) -> Option<&Arc<FolderRow>> {
        self.folders.get(&id)
    }

    /// An existing folder.
    pub fn folder(&self, id: FolderId) -> Option<&Arc<FolderRow>> {
        self.row(id).filter(|row| row.exists)
    }

    /// The row of a name, whether it exists or is only subscribed.
    pub fn row_named(&self, name: &str) -> Option<&Arc<FolderRow>> {
        self.names.get(name).and_then(|id| self.row(*id))
    }

    /// All rows, names ascending.
    pub fn rows_by_name(&self) -> impl Iterator<Item = &Arc<FolderRow>> {
        self.names.values().filter_map(|id| self.row(*id))
    }

    /// The rows whose names begin with `prefix`.
    pub fn rows_below(&self, prefix: &str) -> impl Iterator<Item = &Arc<FolderRow>> {
        self.names
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(name, _)| name.starts_with(prefix))
            .filter_map(|(_, id)| self.row(*id))
    }

    /// How many rows of folders there are.
    pub fn row_count(&self) -> usize {
        self.folders.len()
    }

    /// A folder's index, if it is loaded.
    pub fn index(&self, folder: FolderId) -> Option<&FolderIndex> {
        self.indexes.get(&folder).map(|indexed| &indexed.index)
    }

    /// The changes after a version, if all of them are in memory.
    pub fn changes_after(&self, after: Version) -> Option<impl Iterator<Item = &Arc<ChangeRow>>> {
        let reach = self
            .recent
            .front()
            .map_or(self.version(), |row| Version(row.version.0.saturating_sub(1)));
        let known = reach <= after && after <= self.version();
        known.then(|| self.recent.iter().filter(move |row| row.version > after))
    }

    /// Takes a commit that followed this version.
    pub fn step(&mut self, step: Step) {
        self.head = step.head;
        for id in step.delete_folders {
            if let Some(row) = self.folders.remove(&id) {
                self.forget_name(&row.name, id);
            }
            self.indexes.remove(&id);
        }
        for row in step.put_folders {
            if let Some(old) = self.folders.get(&row.id).filter(|old| old.name != row.name) {
                let name = old.name.clone();
                self.forget_name(&name, row.id);
            }
            self.names.insert(row.name.clone(), row.id);
            self.folders.insert(row.id, Arc::new(row));
        }
        self.take_change(Arc::new(step.change));
    }

    /// Goes to a later version by what the engine has: head and folders there, and the change rows on the way. When
    /// the rows do not reach that far, indexes are forgotten.
    pub fn advance(&mut self, rows: Option<(Head, Vec<FolderRow>)>, changes: Vec<ChangeRow>) {
        let before = self.version();
        let Some((head, folders)) = rows.filter(|(head, _)| head.version >= before) else {
            // The account was removed in between, and perhaps made anew.
            *self = Self::new(None);
            return;
        };
        self.head = head;
        self.replace_folders(folders);
        let known: Vec<_> = changes
            .into_iter()
            .filter(|row| row.version <= self.version())
            .collect();
        let whole = known
            .iter()
            .zip(before.0 + 1..)
            .all(|(row, version)| row.version.0 == version);
        if whole && known.len() as u64 == self.version().0 - before.0 {
            known.into_iter().for_each(|row| self.take_change(Arc::new(row)));
        } else {
            self.indexes.clear();
            self.recent.clear();
        }
        let folders = &self.folders;
        self.indexes.retain(|id, _| folders.contains_key(id));
    }

    /// Takes an index that is true of this version.
    pub fn put_index(&mut self, folder: FolderId, index: FolderIndex) {
        debug_assert_eq!(index.version(), self.version());
        if self.folder(folder).is_some() {
            self.indexes.insert(folder, Indexed { index, unsaved: 0 });
        }
    }

    /// Indexes that are this much [`effort`] ahead of what this gave last.
    pub fn take_unsaved(&mut self, least: u32) -> Vec<(FolderId, FolderIndex)> {
        let due = self
            .indexes
            .iter_mut()
            .filter(|(_, indexed)| indexed.unsaved >= least);
        due.map(|(id, indexed)| {
            indexed.unsaved = 0;
            (*id, indexed.index.clone())
        })
        .collect()
    }

    /// Whether [`Self::take_unsaved`] would give something.
    pub fn has_unsaved(&self, least: u32) -> bool {
        self.indexes.values().any(|indexed| indexed.unsaved >= least)
    }

    /// About how much memory it takes, in bytes.
    pub fn weight(&self) -> usize {
        const FOLDER: usize = 400;
        let indexes: usize = self
            .indexes
            .values()
            .map(|indexed| 128 + indexed.index.encoded_len())
            .sum();
        let recent: usize = self.recent.iter().map(|row| 96 + 48 * touched(row)).sum();
        512 + self.folders.len() * FOLDER + indexes + recent
    }

    fn take_change(&mut self, change: Arc<ChangeRow>) {
        for (id, indexed) in &mut self.indexes {
            if bring_forward(&mut indexed.index, *id, &change) {
                indexed.unsaved = indexed.unsaved.saturating_add(effort(&change));
            }
        }
        self.recent.push_back(change);
        let mut messages: usize = self.recent.iter().map(|row| touched(row)).sum();
        while self.recent.len() > RECENT_ROWS || messages > RECENT_MESSAGES {
            let Some(oldest) = self.recent.pop_front() else {
                break;
            };
            messages -= touched(&oldest);
        }
    }

    fn replace_folders(&mut self, rows: Vec<FolderRow>) {
        self.names = rows.iter().map(|row| (row.name.clone(), row.id)).collect();
        self.folders = rows.into_iter().map(|row| (row.id, Arc::new(row))).collect();
    }

    fn forget_name(&mut self, name: &str, id: FolderId) {
        if self.names.get(name) == Some(&id) {
            self.names.remove(name);
        }
    }
}

/// Brings a folder's index forward by one commit; whether it touched the folder.
pub(crate) fn bring_forward(index: &mut FolderIndex, folder: FolderId, row: &ChangeRow) -> bool {
    // Above this many, working on whole sets is cheaper than UID by UID.
    const MANY: usize = 32;
    let mut touched = false;
    for change in &row.changes {
        match change {
            Change::Added(id, messages) if *id == folder => {
                messages
                    .iter()
                    .for_each(|message| index.add(message.uid, message.flags));
            }
            Change::Flags(id, messages) if *id == folder => {
                messages
                    .iter()
                    .for_each(|message| index.set_flags(message.uid, message.flags));
            }
            Change::Removed(id, uids) if *id == folder => {
                if uids.len() > MANY {
                    index.remove_all(&uids.iter().copied().collect::<UidSet>());
                } else {
                    uids.iter().for_each(|uid| {
                        index.remove(*uid);
                    });
                }
            }
            _ => continue,
        }
        touched = true;
    }
    index.advance(row.version);
    touched
}

/// What it takes to read a change row and bring an index forward by it: small commits count for themselves, large ones by their
/// messages.
pub(crate) fn effort(row: &ChangeRow) -> u32 {
    const MESSAGES: usize = 32;
    u32::try_from(1 + touched(row) / MESSAGES).unwrap_or(u32::MAX)
}

/// How many messages a change row names.
fn touched(row: &ChangeRow) -> usize {
    let of = |change: &Change| match change {
        Change::Added(_, messages) | Change::Flags(_, messages) => messages.len(),
        Change::Removed(_, uids) => uids.len(),
        Change::Folder(_) | Change::FolderRemoved(_) => 1,
    };
    row.changes.iter().map(of).sum()
}
