//! Folder indexes: loading, keeping and saving them.
//!
//! An index is derived from message rows. It lives in the account's [`State`], where every commit brings it forward,
//! and is saved as a snapshot row now and then. Loading one is a snapshot and the change rows since; message rows are
//! read only when there is no snapshot, or the change rows do not reach back to it.

use std::sync::{Arc, LazyLock};

use opentelemetry::global;
use opentelemetry::metrics::Counter;
use postrider_index::{FolderIndex, UidSet};
use postrider_proto::Failure;
use postrider_store::account::{FolderRow, SnapshotRow};
use postrider_types::{AccountId, FolderId, Uid, Version};

use crate::cache::Account;
use crate::failure::{no_such_folder, storage, unavailable};
use crate::service::Service;
use crate::state::{State, bring_forward, effort};

static REBUILT: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = global::meter("mail-store");
    meter
        .u64_counter("mailstore.index.rebuilt")
        .with_description("Indexes built from message rows")
        .build()
});

/// Message rows read at a time to build an index.
const PAGE: usize = 4096;
/// Change rows read at a time to bring one forward.
const CHANGES: usize = 512;
/// An index whose loading took this many rows (of changes: this much effort) is saved, so that the next loading is cheap.
const WORTH_SAVING: usize = 256;
/// How often a loaded index is brought forward before others stop committing for a moment.
const MAX_ROUNDS: usize = 64;
/// Every UID there can be.
pub(crate) const ALL_UIDS: std::ops::RangeInclusive<Uid> = Uid(1)..=Uid(u32::MAX);

impl Service {
    /// The state of an account as of now, with the index of this folder.
    pub async fn view_indexed(
        self: &Arc<Self>,
        account: AccountId,
        folder: FolderId,
    ) -> Result<(Arc<State>, FolderIndex), Failure> {
        let state = self.view(account).await?;
        self.indexed(account, state, folder).await
    }

    /// The same, from a state that was just viewed: nothing is asked twice.
    pub async fn indexed(
        self: &Arc<Self>,
        account: AccountId,
        mut state: Arc<State>,
        folder: FolderId,
    ) -> Result<(Arc<State>, FolderIndex), Failure> {
        for _ in 0..MAX_ROUNDS {
            if let Some(index) = state.index(folder).cloned() {
                return Ok((state, index));
            }
            let row = state.folder(folder).ok_or_else(no_such_folder)?.clone();
            let entry = self.accounts.get(account);
            let _loading = entry.loading.lock().await;
            let loaded = entry.state().filter(|state| state.index(folder).is_some());
            if loaded.is_none() {
                self.load_index(&entry, &state, &row).await?;
                self.accounts.weigh(&entry);
            }
            state = match loaded.or_else(|| entry.state()) {
                Some(state) => state,
                None => self.view(account).await?,
            };
        }
        Err(unavailable("the folder changes too fast to be opened"))
    }

    /// Those of `uids` that may exist: with few of them no index is needed to say so.
    pub async fn candidates(
        self: &Arc<Self>,
        account: AccountId,
        folder: FolderId,
        uids: &UidSet,
    ) -> Result<UidSet, Failure> {
        const FEW: u32 = 1000;
        if uids.len() <= FEW {
            let state = self.view(account).await?;
            state.folder(folder).ok_or_else(no_such_folder)?;
            return Ok(uids.clone());
        }
        let (_, index) = self.view_indexed(account, folder).await?;
        Ok(index.uids().intersection(uids))
    }

    /// Loads an index and puts it into the account's state.
    async fn load_index(&self, account: &Account, state: &State, folder: &FolderRow) -> Result<(), Failure> {
        let (mut index, mut cost) = match self.load_snapshot(account.id, state, folder).await? {
            Some(loaded) => loaded,
            None => self.build_index(account.id, state.version(), folder.id).await?,
        };
        // Commits go on meanwhile: follow them until the state is met at one version.
        for _ in 0..MAX_ROUNDS {
            let at = index.version();
            let met = account.with_state_if(
                |state| state.changes_after(at).is_some(),
                |state| {
                    let rows: Vec<_> = state.changes_after(at).into_iter().flatten().cloned().collect();
                    rows.iter().for_each(|row| {
                        bring_forward(&mut index, folder.id, row);
                    });
                    state.put_index(folder.id, index.clone());
                },
            );
            if met.is_some() {
                if cost >= WORTH_SAVING {
                    self.save_index(account.id, folder.id, index);
                }
                return Ok(());
            }
            let Some(target) = account.state().map(|state| state.version()) else {
                return Ok(());
            };
            match self.follow(account.id, folder.id, &mut index, target).await? {
                Some(rows) => cost += rows,
                None => return Ok(()),
            }
        }
        Err(unavailable("the folder changes too fast to be opened"))
    }

    /// The saved index at the state's version, and how many rows that took; `None` when it must be built.
    async fn load_snapshot(
        &self,
        account: AccountId,
        state: &State,
        folder: &FolderRow,
    ) -> Result<Option<(FolderIndex, usize)>, Failure> {
        if folder.messages == 0 {
            return Ok(Some((FolderIndex::new(state.version()), 0)));
        }
        let Some(saved) = self.engine.snapshot(account, folder.id).await.map_err(storage)? else {
            return Ok(None);
        };
        let mut index = match FolderIndex::from_bytes(&saved.data) {
            Ok(index) if index.version() == saved.version && saved.version <= state.version() => index,
            Ok(_) => return Ok(None),
            Err(error) => {
                tracing::warn!(%account, folder = %folder.id, %error, "saved index cannot be used, building it again");
                return Ok(None);
            }
        };
        if folder.changed <= index.version() {
            index.advance(state.version());
            return Ok(Some((index, 0)));
        }
        let rows = self
            .follow(account, folder.id, &mut index, state.version())
            .await?;
        // The counts are kept apart from the index, which makes them a good check of it.
        let agrees = index.len() == folder.messages && index.unseen() == folder.unseen;
        if rows.is_some() && !agrees {
            tracing::warn!(%account, folder = %folder.id, "saved index disagrees with its folder, building it again");
        }
        Ok(rows.filter(|_| agrees).map(|rows| (index, rows)))
    }

    /// Brings an index forward by change rows to a version; the effort that took, `None` when they do not reach back.
    async fn follow(
        &self,
        account: AccountId,
        folder: FolderId,
        index: &mut FolderIndex,
        target: Version,
    ) -> Result<Option<usize>, Failure> {
        let mut count = 0;
        while index.version() < target {
            let rows = self
                .engine
                .changes(account, index.version(), CHANGES)
                .await
                .map_err(storage)?;
            if rows.is_empty() {
                return Ok(None);
            }
            for row in rows.iter().take_while(|row| row.version <= target) {
                if row.version != index.version().next() {
                    return Ok(None);
                }
                bring_forward(index, folder, row);
                count += effort(row) as usize;
            }
        }
        Ok(Some(count))
    }

    /// Builds an index from message rows. They are read page by page while commits go on, so that a row may already be
    /// as a later commit left it; bringing the index forward over those commits makes it right, since what a change row
    /// says of a UID does not depend on what was there before.
    async fn build_index(
        &self,
        account: AccountId,
        version: Version,
        folder: FolderId,
    ) -> Result<(FolderIndex, usize), Failure> {
        REBUILT.add(1, &[]);
        let mut index = FolderIndex::new(version);
        let mut next = Some(Uid(1));
        let mut count = 0;
        while let Some(first) = next {
            let rows = self
                .engine
                .messages(account, folder, first..=*ALL_UIDS.end(), PAGE)
                .await
                .map_err(storage)?;
            rows.iter().for_each(|row| index.add(row.uid, row.flags));
            count += rows.len();
            next = rows
                .last()
                .filter(|_| rows.len() == PAGE)
                .and_then(|row| row.uid.checked_next());
        }
        index.compact();
        Ok((index, count))
    }

    /// Saves an index in the background. It may be lost: that costs time later, nothing else.
    pub fn save_index(&self, account: AccountId, folder: FolderId, mut index: FolderIndex) {
        let engine = self.engine.clone();
        tokio::spawn(async move {
            index.compact();
            let row = SnapshotRow {
                folder,
                version: index.version(),
                data: index.to_bytes(),
            };
            if let Err(error) = engine.put_snapshot(account, row).await {
                tracing::warn!(%account, %folder, %error, "folder index not saved");
            }
        });
    }
}
