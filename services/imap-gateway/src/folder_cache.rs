//! Folder indexes that sessions share.
//!
//! All sessions that look at a folder hold the same [`Folder`], and in it the same bitmaps. It is brought forward by the
//! commits since its version, once for all of them, and remembers the last few of these, so that each session can tell its
//! client what became of messages since its own version without asking anybody. Folders nobody holds stay for a while,
//! within a bound on memory, so that the next SELECT need not load the index.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use moka::sync::Cache;
use parking_lot::Mutex;
use postrider_index::{FolderIndex, UidSet};
use postrider_proto::mailstore::change::Kind;
use postrider_proto::mailstore::{Change, Commit, MessageRow, OpenFolderResponse};
use postrider_proto::{Failure, Kind as FailureKind};
use postrider_types::{AccountId, Flags, FolderId, Keyword, Uid, Version};

use crate::failure::damaged;
use crate::rows;
use crate::store::Store;

/// Commits that are remembered.
const MAX_STEPS: usize = 64;
/// Flag changes that are remembered, in all of them.
const MAX_STATES: usize = 2048;
/// Names by which folders were opened.
const MAX_NAMES: u64 = 10_000;
/// Folders of which is remembered what sessions were told of.
const MAX_RECENT: u64 = 20_000;

type Key = (AccountId, FolderId);

/// The folders of all sessions.
pub(crate) struct FolderCache {
    held: Mutex<HashMap<Key, Weak<Folder>>>,
    kept: Cache<Key, Arc<Folder>>,
    /// What a name meant when it was last opened; only a hint.
    names: Cache<(AccountId, Box<str>), FolderId>,
    /// The first UID that no session was told of yet (`\Recent`, RFC 3501 §2.3.2). Kept in memory only: of a folder that
    /// this gateway has not seen, nothing is recent.
    untold: Cache<Key, Arc<AtomicU32>>,
}

/// A folder, as far as this gateway knows it.
pub(crate) struct Folder {
    pub account: AccountId,
    pub id: FolderId,
    snapshot: Mutex<Arc<Snapshot>>,
    /// Keywords that clients were told of, ascending: all sessions share the list.
    keywords: Mutex<Arc<[Keyword]>>,
    /// One session at a time brings it forward.
    gate: tokio::sync::Mutex<()>,
    cache: Weak<FolderCache>,
}

/// A folder at one version, and how it came there.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub index: FolderIndex,
    /// It was removed.
    pub gone: bool,
    /// The steps tell everything that happened after this version.
    since: Version,
    steps: VecDeque<Arc<Step>>,
}

/// The flags that one commit set.
#[derive(Debug)]
pub(crate) struct Step {
    pub version: Version,
    pub flags: Vec<FlagState>,
}

/// A message's flags after a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlagState {
    pub uid: Uid,
    pub flags: Flags,
    pub keywords: Vec<Keyword>,
    pub modseq: u64,
}

impl FolderCache {
    /// Keeps so many bytes of indexes that nobody holds.
    pub fn new(bytes: u64) -> Arc<Self> {
        let kept = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, folder: &Arc<Folder>| folder.weight())
            .build();
        Arc::new(Self {
            held: Mutex::default(),
            kept,
            names: Cache::new(MAX_NAMES),
            untold: Cache::new(MAX_RECENT),
        })
    }

    /// Opens a folder by its name: its row as of now, and its index, at that version or a later one.
    pub async fn open(
        self: &Arc<Self>,
        store: &Store,
        account: AccountId,
        name: &str,
    ) -> Result<(Arc<Folder>, OpenFolderResponse), Failure> {
        let hint = self.names.get(&(account, name.into()));
        let known = hint.and_then(|id| self.get((account, id)));
        let version = known
            .as_ref()
            .map_or(Version(0), |folder| folder.snapshot().index.version());
        let mut opened = store.open_named(account, name, version).await?;
        let mut id = folder_id(&opened)?;
        if opened.index.is_empty() && hint != Some(id) {
            // The name means another folder now.
            opened = store.open_named(account, name, Version(0)).await?;
            id = folder_id(&opened)?;
        }
        self.names.insert((account, name.into()), id);
        let version = Version(opened.version);
        let folder = match known.filter(|folder| folder.id == id) {
            Some(folder) if opened.index.is_empty() => {
                folder.unchanged_until(version);
                folder
            }
            known => {
                let index = decode(&opened)?;
                match known.or_else(|| self.get((account, id))) {
                    Some(folder) => {
                        folder.replace(index);
                        folder
                    }
                    None => self.insert(account, id, index),
                }
            }
        };
        self.kept.insert((account, id), folder.clone());
        Ok((folder, opened))
    }

    /// A folder has just been made: whatever comes to be in it is new to everybody.
    pub fn created(&self, account: AccountId, id: FolderId) {
        self.untold.insert((account, id), Arc::new(AtomicU32::new(1)));
    }

    /// Those of a folder's UIDs that no session was told of; with `claim`, this one now is.
    pub fn recent(&self, account: AccountId, id: FolderId, uids: &UidSet, claim: bool) -> UidSet {
        let behind = uids.max().map_or(1, |last| last.0.saturating_add(1));
        let untold = self
            .untold
            .get_with((account, id), || Arc::new(AtomicU32::new(behind)));
        let first = if claim {
            untold.fetch_max(behind, Ordering::AcqRel)
        } else {
            untold.load(Ordering::Acquire)
        };
        if first >= behind {
            return UidSet::new();
        }
        uids.iter_range(Uid(first)..=Uid(u32::MAX)).collect()
    }

    fn get(&self, key: Key) -> Option<Arc<Folder>> {
        self.held.lock().get(&key).and_then(Weak::upgrade)
    }

    fn insert(self: &Arc<Self>, account: AccountId, id: FolderId, index: FolderIndex) -> Arc<Folder> {
        let mut held = self.held.lock();
        let folder = Arc::new(Folder {
            account,
            id,
            snapshot: Mutex::new(Arc::new(Snapshot::new(index))),
            keywords: Mutex::new(Arc::new([])),
            gate: tokio::sync::Mutex::default(),
            cache: Arc::downgrade(self),
        });
        held.insert((account, id), Arc::downgrade(&folder));
        folder
    }
}

impl Folder {
    /// What is known of it.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.lock().clone()
    }

    /// Keywords that clients are told of, these included.
    pub fn keywords_with(&self, more: &[Keyword]) -> Arc<[Keyword]> {
        let mut keywords = self.keywords.lock();
        if more
            .iter()
            .any(|keyword| keywords.binary_search(keyword).is_err())
        {
            let mut all: Vec<Keyword> = keywords.iter().chain(more).cloned().collect();
            all.sort();
            all.dedup();
            *keywords = all.into();
        }
        keywords.clone()
    }

    /// Brings it to a version at least; with `ask`, to what is true now, whatever was heard.
    pub async fn advance(
        &self,
        store: &Store,
        version: Version,
        ask: bool,
    ) -> Result<Arc<Snapshot>, Failure> {
        let now = self.snapshot();
        if now.gone || !ask && now.index.version() >= version {
            return Ok(now);
        }
        let _turn = self.gate.lock().await;
        let now = self.snapshot();
        if now.gone || !ask && now.index.version() >= version {
            return Ok(now);
        }
        let mut next = Snapshot::clone(&now);
        let mut pieces = store.changes(self.account, self.id, now.index.version()).await?;
        let mut moved = false;
        while let Some(piece) = pieces.next().await? {
            if piece.resync {
                next = self.reload(store).await?;
                moved = true;
                break;
            }
            for commit in &piece.commits {
                next.apply(self.id, commit)?;
                moved = true;
            }
        }
        if !moved {
            return Ok(now);
        }
        let next = Arc::new(next);
        *self.snapshot.lock() = next.clone();
        Ok(next)
    }

    async fn reload(&self, store: &Store) -> Result<Snapshot, Failure> {
        match store.open_numbered(self.account, self.id).await {
            Ok(opened) => Ok(Snapshot::new(decode(&opened)?)),
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(Snapshot {
                gone: true,
                ..Snapshot::clone(&self.snapshot())
            }),
            Err(failure) => Err(failure),
        }
    }

    fn unchanged_until(&self, version: Version) {
        let mut snapshot = self.snapshot.lock();
        if snapshot.index.version() < version {
            Arc::make_mut(&mut snapshot).index.advance(version);
        }
    }

    fn replace(&self, index: FolderIndex) {
        let mut snapshot = self.snapshot.lock();
        if snapshot.index.version() < index.version() {
            *snapshot = Arc::new(Snapshot::new(index));
        }
    }

    fn weight(&self) -> u32 {
        let bytes = self.snapshot().index.encoded_len() + 512;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let Some(cache) = self.cache.upgrade() else {
            return;
        };
        let mut held = cache.held.lock();
        let key = (self.account, self.id);
        // Another may have taken its place meanwhile.
        if held.get(&key).is_some_and(|folder| folder.strong_count() == 0) {
            held.remove(&key);
        }
    }
}

impl Snapshot {
    fn new(index: FolderIndex) -> Self {
        Self {
            since: index.version(),
            index,
            gone: false,
            steps: VecDeque::new(),
        }
    }

    /// The flag changes after a version, ascending; `None` when they are not remembered.
    pub fn steps_after(&self, version: Version) -> Option<impl Iterator<Item = &Step>> {
        let steps = self.steps.iter().map(|step| &**step);
        (version >= self.since).then(|| steps.filter(move |step| step.version > version))
    }

    fn apply(&mut self, folder: FolderId, commit: &Commit) -> Result<(), Failure> {
        let version = Version(commit.version);
        if version <= self.index.version() {
            return Ok(());
        }
        let mut step = Step {
            version,
            flags: Vec::new(),
        };
        for change in commit.changes.iter().filter(|change| change.folder == folder.0) {
            self.apply_change(change, &mut step)?;
        }
        self.index.advance(version);
        if !step.flags.is_empty() {
            self.steps.push_back(Arc::new(step));
            self.forget();
        }
        Ok(())
    }

    fn apply_change(&mut self, change: &Change, step: &mut Step) -> Result<(), Failure> {
        match change.kind() {
            Kind::Added => {
                for message in &change.messages {
                    self.index.add(Uid(message.uid), rows::flags(message));
                }
            }
            Kind::Flags => {
                for message in &change.messages {
                    let state = FlagState::of(message);
                    self.index.set_flags(state.uid, state.flags);
                    step.flags.push(state);
                }
            }
            Kind::Removed => self.index.remove_all(&rows::uids(&change.uids)?),
            Kind::FolderRemoved => self.gone = true,
            Kind::Folder | Kind::Unspecified => {}
        }
        Ok(())
    }

    fn forget(&mut self) {
        let mut states: usize = self.steps.iter().map(|step| step.flags.len()).sum();
        while self.steps.len() > MAX_STEPS || states > MAX_STATES {
            let Some(step) = self.steps.pop_front() else {
                return;
            };
            states -= step.flags.len();
            self.since = step.version;
        }
    }
}

impl FlagState {
    /// From a row.
    pub fn of(row: &MessageRow) -> Self {
        Self {
            uid: Uid(row.uid),
            flags: rows::flags(row),
            keywords: rows::keywords(row),
            modseq: row.modseq,
        }
    }

    /// Whether the message bears the same flags, whenever they were set.
    pub fn same_flags(&self, other: &FlagState) -> bool {
        self.flags == other.flags && self.keywords == other.keywords
    }
}

fn folder_id(opened: &OpenFolderResponse) -> Result<FolderId, Failure> {
    let folder = opened.folder.as_ref();
    folder
        .map(|folder| FolderId(folder.id))
        .ok_or_else(|| damaged("an opened folder is missing"))
}

fn decode(opened: &OpenFolderResponse) -> Result<FolderIndex, Failure> {
    let mut index = FolderIndex::from_bytes(&opened.index).map_err(|error| damaged(error.to_string()))?;
    index.advance(Version(opened.version));
    Ok(index)
}

/// The UIDs of a set of states.
pub(crate) fn uids_of<'a>(states: impl IntoIterator<Item = &'a FlagState>) -> UidSet {
    states.into_iter().map(|state| state.uid).collect()
}
