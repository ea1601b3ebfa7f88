//! Flags and sizes of many messages, without their rows.
//!
//! Whoever synchronises a folder asks for these of all its messages. Flags stand in the folder's index. A message's size
//! never changes, and no UID is given twice, so sizes are kept in memory once they were read, in chunks of neighbouring UIDs,
//! whatever becomes of the messages; what came since is read when it is asked for.

use std::sync::Arc;

use moka::sync::Cache;
use postrider_index::{FolderIndex, UidSet};
use postrider_proto::Failure;
use postrider_types::{AccountId, Flags, FolderId, Uid, Version};

use crate::failure::{no_such_folder, storage};
use crate::service::Service;

/// UIDs of a chunk: also the most messages of a piece.
const CHUNK: u32 = 1 << 12;
/// Of fewer messages the rows are read: a whole chunk would cost more.
const FEW: u32 = 256;
/// With fewer messages to a chunk, rows are read too: there would be many chunks with little in each.
const SPARSE: u32 = 64;

/// What is told of some messages.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Flags are as they were at this version.
    pub version: Version,
    /// Ascending, never none.
    pub uids: Vec<Uid>,
    pub flags: Vec<Flags>,
    /// One per UID, or none at all.
    pub sizes: Vec<u64>,
}

/// Flags and sizes of messages in ascending UID order, piece by piece.
pub(crate) struct Columns {
    service: Arc<Service>,
    place: Place,
    index: FolderIndex,
    uids: UidSet,
    with_sizes: bool,
    next: Option<Uid>,
}

/// A folder, and which one of that number: an account that was removed and begins anew counts from 1 again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    account: AccountId,
    folder: FolderId,
    uid_validity: u32,
}

/// Sizes of messages, as far as they are known.
pub(crate) struct Sizes(Cache<(Place, u32), Arc<Chunk>>);

/// The sizes of messages whose UIDs stand together.
#[derive(Debug, Clone, Default)]
struct Chunk {
    /// Everything up to this UID is known.
    through: u32,
    /// Ascending, as far as UIDs differ in a chunk.
    uids: Vec<u16>,
    sizes: Vec<u64>,
}

impl Service {
    /// Flags, and if asked for sizes, of those of `uids` (`None`: all) that exist; `None` when rows must be read instead.
    pub async fn list_columns(
        self: &Arc<Self>,
        account: AccountId,
        folder: FolderId,
        uids: Option<&UidSet>,
        with_sizes: bool,
    ) -> Result<Option<Columns>, Failure> {
        let few = |uids: &UidSet| with_sizes && uids.len() < FEW;
        if uids.is_some_and(few) {
            return Ok(None);
        }
        let (state, index) = self.view_indexed(account, folder).await?;
        let row = state.folder(folder).ok_or_else(no_such_folder)?;
        let wanted = uids.map_or_else(|| index.uids().clone(), |uids| uids.intersection(index.uids()));
        // The index does not know keywords, but the folder knows whether any message ever had one.
        if !row.keywords.is_empty() || few(&wanted) || is_sparse(&index) {
            return Ok(None);
        }
        Ok(Some(Columns {
            service: self.clone(),
            place: Place {
                account,
                folder,
                uid_validity: row.uid_validity,
            },
            next: wanted.min(),
            uids: wanted,
            index,
            with_sizes,
        }))
    }
}

impl Columns {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Piece>, Failure> {
        while let Some(first) = self.next {
            let last = Uid(first.0 | (CHUNK - 1));
            let mut uids: Vec<Uid> = self.uids.iter_range(first..=last).collect();
            let behind = last.checked_next();
            self.next = behind.and_then(|behind| self.uids.iter_range(behind..=Uid(u32::MAX)).next());
            let mut sizes = Vec::new();
            if self.with_sizes {
                sizes = self.sizes(&mut uids).await?;
            }
            if !uids.is_empty() {
                return Ok(Some(Piece {
                    version: self.index.version(),
                    flags: self.index.flags_of(&uids),
                    uids,
                    sizes,
                }));
            }
        }
        Ok(None)
    }

    /// The sizes of messages of one chunk; those that are gone meanwhile are taken out.
    async fn sizes(&self, uids: &mut Vec<Uid>) -> Result<Vec<u64>, Failure> {
        let (Some(first), Some(last)) = (uids.first(), uids.last()) else {
            return Ok(Vec::new());
        };
        let number = first.0 / CHUNK;
        let cache = &self.service.sizes.0;
        let chunk = match cache.get(&(self.place, number)) {
            Some(chunk) if chunk.through >= last.0 => chunk,
            known => {
                let chunk = Arc::new(self.read(number, *last, known.as_deref()).await?);
                cache.insert((self.place, number), chunk.clone());
                chunk
            }
        };
        Ok(chunk.pick(uids))
    }

    /// Reads what is not known of a chunk yet, at least up to a message that exists.
    async fn read(&self, number: u32, last: Uid, known: Option<&Chunk>) -> Result<Chunk, Failure> {
        let mut chunk = known.cloned().unwrap_or_default();
        let from = (chunk.through + 1).max(number * CHUNK);
        let range = Uid(from)..=Uid(number * CHUNK + (CHUNK - 1));
        let Place { account, folder, .. } = self.place;
        let engine = &self.service.engine;
        let read = engine.sizes(account, folder, range, CHUNK as usize).await;
        chunk.add(&read.map_err(storage)?, last);
        Ok(chunk)
    }
}

impl Sizes {
    /// Keeps so many bytes.
    pub fn new(bytes: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, chunk: &Arc<Chunk>| chunk.weight())
            .support_invalidation_closures()
            .build();
        Self(cache)
    }

    /// An account is removed.
    pub fn forget(&self, account: AccountId) {
        let forgotten = self
            .0
            .invalidate_entries_if(move |(place, _), _| place.account == account);
        if let Err(error) = forgotten {
            tracing::warn!(%account, %error, "sizes of a removed account are still in memory");
        }
    }
}

impl Chunk {
    /// What was read behind what is known; `last` is known to exist, so that no smaller UID will come to be.
    fn add(&mut self, read: &[(Uid, u64)], last: Uid) {
        self.uids.reserve_exact(read.len());
        self.sizes.reserve_exact(read.len());
        for (uid, size) in read {
            self.uids.push(offset(*uid));
            self.sizes.push(*size);
        }
        let read_last = read.last().map_or(0, |(uid, _)| uid.0);
        self.through = self.through.max(last.0).max(read_last);
    }

    /// The sizes of messages of this chunk; those that it does not have are taken out.
    fn pick(&self, uids: &mut Vec<Uid>) -> Vec<u64> {
        let mut sizes = Vec::with_capacity(uids.len());
        let mut known = self.uids.iter().zip(&self.sizes).peekable();
        uids.retain(|uid| {
            let uid = offset(*uid);
            while known.next_if(|(known, _)| **known < uid).is_some() {}
            let found = known.next_if(|(known, _)| **known == uid);
            found.map(|(_, size)| sizes.push(*size)).is_some()
        });
        sizes
    }

    fn weight(&self) -> u32 {
        let bytes = 128 + self.uids.capacity() * 2 + self.sizes.capacity() * 8;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// Where a UID stands in its chunk.
fn offset(uid: Uid) -> u16 {
    (uid.0 % CHUNK) as u16
}

fn is_sparse(index: &FolderIndex) -> bool {
    let (Some(first), Some(last)) = (index.uids().min(), index.uids().max()) else {
        return false;
    };
    let chunks = last.0 / CHUNK - first.0 / CHUNK + 1;
    index.len() / SPARSE < chunks - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_grows_and_forgets_nothing() {
        let read = |uids: &[u32]| -> Vec<(Uid, u64)> {
            uids.iter().map(|uid| (Uid(*uid), u64::from(*uid) * 10)).collect()
        };
        let pick = |chunk: &Chunk, uids: &[u32]| {
            let mut uids: Vec<Uid> = uids.iter().map(|uid| Uid(*uid)).collect();
            let sizes = chunk.pick(&mut uids);
            (uids.iter().map(|uid| uid.0).collect::<Vec<_>>(), sizes)
        };
        let mut chunk = Chunk::default();
        chunk.add(&read(&[CHUNK, CHUNK + 1, CHUNK + 5]), Uid(CHUNK + 7));
        // The message that was asked for is gone; nothing below it can come any more.
        assert_eq!(chunk.through, CHUNK + 7);
        let (uids, sizes) = pick(&chunk, &[CHUNK, CHUNK + 5, CHUNK + 7]);
        assert_eq!(uids, [CHUNK, CHUNK + 5]);
        assert_eq!(sizes, [u64::from(CHUNK) * 10, u64::from(CHUNK + 5) * 10]);
        chunk.add(&read(&[CHUNK + 9]), Uid(CHUNK + 9));
        assert_eq!(pick(&chunk, &[CHUNK + 1, CHUNK + 9]).0, [CHUNK + 1, CHUNK + 9]);
    }

    #[test]
    fn a_folder_is_sparse_when_chunks_would_hold_little() {
        let index = |uids: &mut dyn Iterator<Item = u32>| {
            let mut index = FolderIndex::new(Version(1));
            uids.for_each(|uid| index.add(Uid(uid), Flags::EMPTY));
            index
        };
        assert!(!is_sparse(&index(&mut [].into_iter())));
        assert!(!is_sparse(&index(&mut (1..300))));
        assert!(!is_sparse(&index(&mut (1..100_000))));
        assert!(is_sparse(&index(&mut (1..300).map(|n| n * CHUNK))));
        assert!(is_sparse(&index(&mut [1, u32::MAX].into_iter())));
    }
}
