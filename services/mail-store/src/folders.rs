//! Folders: listing, making, renaming, removing, subscribing (RFC 9051 §6.3).

use std::sync::Arc;

use async_trait::async_trait;
use postrider_index::FolderIndex;
use postrider_proto::{Failure, Kind};
use postrider_store::account::FolderRow;
use postrider_types::{AccountId, FolderId, Uid, Version};

use crate::commit::Operation;
use crate::copy::{Copy, copy_some};
use crate::draft::Draft;
use crate::failure::{exists, invalid, no_such_folder, not_found, precondition};
use crate::names::{self, INBOX};
use crate::service::Service;
use crate::state::State;
use crate::weight::Weight;

/// The version that stands for "the index is not wanted" in OpenFolder.
const NO_INDEX: Version = Version(u64::MAX);

/// A folder by its name or its number.
#[derive(Debug, Clone)]
pub(crate) enum FolderRef {
    Name(String),
    Id(FolderId),
}

/// An opened folder.
#[derive(Debug)]
pub(crate) struct Opened {
    pub version: Version,
    pub row: Arc<FolderRow>,
    /// `None`: what the caller has is still true.
    pub index: Option<FolderIndex>,
}

impl Service {
    /// All folders, names that are only subscribed included, names ascending (ListFolders).
    pub async fn list_folders(
        self: &Arc<Self>,
        account: AccountId,
    ) -> Result<(Version, Vec<Arc<FolderRow>>), Failure> {
        let state = self.view(account).await?;
        Ok((state.version(), state.rows_by_name().cloned().collect()))
    }

    /// Makes a folder and the missing ones above it (CreateFolder).
    pub async fn create_folder(
        self: &Arc<Self>,
        account: AccountId,
        name: &str,
        role: &str,
    ) -> Result<(Version, FolderRow), Failure> {
        let (name, role) = (names::parse(name)?, names::parse_role(role)?);
        self.run(
            account,
            Create {
                name,
                role,
                max_folders: self.config.max_folders,
            },
        )
        .await
    }

    /// Renames a folder with those below it (RenameFolder). Renaming INBOX moves its messages to a new folder and
    /// leaves it empty.
    pub async fn rename_folder(
        self: &Arc<Self>,
        account: AccountId,
        from: &str,
        to: &str,
    ) -> Result<Version, Failure> {
        let (from, to) = (names::parse(from)?, names::parse(to)?);
        if to == INBOX || from == to {
            return Err(exists("a folder of this name exists"));
        }
        let max_folders = self.config.max_folders;
        if from != INBOX {
            return self
                .run(
                    account,
                    Rename {
                        from,
                        to,
                        max_folders,
                    },
                )
                .await;
        }
        let (version, folder) = self
            .run(
                account,
                RenameInbox {
                    to,
                    max_folders,
                    portion: self.most.portion(Weight::MOVE),
                },
            )
            .await?;
        // What did not fit the commit that made the folder follows in further ones.
        let (_, index) = self.view_indexed(account, FolderId::INBOX).await?;
        if index.is_empty() {
            return Ok(version);
        }
        let copy = Copy {
            from: FolderId::INBOX,
            to: folder,
            remove: true,
            quota: 0,
        };
        Ok(self.copy(account, index.uids(), copy).await?.version)
    }

    /// Removes a folder and its messages (DeleteFolder); a subscription of its name stays (RFC 9051 §6.3.7).
    pub async fn delete_folder(self: &Arc<Self>, account: AccountId, name: &str) -> Result<Version, Failure> {
        let name = names::parse(name)?;
        let state = self.view(account).await?;
        let row = existing(&state, &name)?;
        check_removable(
            &name,
            state.rows_below(&names::below(&name)).any(|row| row.exists),
        )?;
        let portion = self.most.portion(Weight::REMOVE);
        if row.messages as usize > portion {
            self.expunge(account, row.id, None, true).await?;
        }
        self.run(account, Delete { name, portion }).await
    }

    /// Subscribes or unsubscribes a name (SetSubscription).
    pub async fn set_subscription(
        self: &Arc<Self>,
        account: AccountId,
        name: &str,
        subscribed: bool,
    ) -> Result<Version, Failure> {
        let name = names::parse(name)?;
        self.run(
            account,
            Subscribe {
                name,
                subscribed,
                max_folders: self.config.max_folders,
            },
        )
        .await
    }

    /// A folder and its index at one version (OpenFolder). With `known`, the version at which the caller has the index
    /// already, it is left out if nothing has changed; with [`NO_INDEX`] it always is.
    pub async fn open_folder(
        self: &Arc<Self>,
        account: AccountId,
        folder: FolderRef,
        known: Version,
    ) -> Result<Opened, Failure> {
        let state = self.view(account).await?;
        let row = match folder {
            FolderRef::Name(name) => existing(&state, &names::parse(&name)?)?,
            FolderRef::Id(id) => state.folder(id).ok_or_else(no_such_folder)?,
        };
        if known == NO_INDEX || known >= row.changed && known <= state.version() {
            return Ok(Opened {
                version: state.version(),
                row: row.clone(),
                index: None,
            });
        }
        let id = row.id;
        let (state, mut index) = self.indexed(account, state, id).await?;
        let row = state.folder(id).ok_or_else(no_such_folder)?.clone();
        // The caller keeps it for as long as the folder is open; message by message it has grown to plain bitmaps.
        index.compact();
        Ok(Opened {
            version: state.version(),
            row,
            index: Some(index),
        })
    }
}

fn existing<'a>(state: &'a State, name: &str) -> Result<&'a Arc<FolderRow>, Failure> {
    state
        .row_named(name)
        .filter(|row| row.exists)
        .ok_or_else(no_such_folder)
}

fn check_removable(name: &str, has_below: bool) -> Result<(), Failure> {
    if name == INBOX {
        return Err(precondition("INBOX cannot be removed"));
    }
    if has_below {
        return Err(precondition("the folder has folders below it"));
    }
    Ok(())
}

/// Refuses names that would make more folders than an account may have: `name` and what is missing above it.
fn check_room(draft: &Draft<'_>, name: &str, max_folders: usize) -> Result<(), Failure> {
    let missing = names::above(name)
        .chain([name])
        .filter(|name| draft.row_named(name).is_none())
        .count();
    if draft.row_count() + missing > max_folders {
        return Err(Failure::new(
            Kind::Exhausted,
            format!("an account has at most {max_folders} folders"),
        ));
    }
    Ok(())
}

/// Makes the missing folders above a name.
fn make_above(draft: &mut Draft<'_>, name: &str) {
    for above in names::above(name) {
        if draft.folder_named(above).is_none() {
            make(draft, above, "");
        }
    }
}

/// Makes a folder; a subscription its name had passes over to it.
fn make(draft: &mut Draft<'_>, name: &str, role: &str) -> FolderId {
    let subscription = draft.row_named(name).map(|row| (row.id, row.subscribed));
    if let Some((id, _)) = subscription {
        draft.delete_folder_row(id);
    }
    draft.add_folder(name, role, subscription.is_some_and(|(_, subscribed)| subscribed))
}

struct Create {
    name: String,
    role: String,
    max_folders: usize,
}

#[async_trait]
impl Operation for Create {
    type Output = (Version, FolderRow);

    async fn plan(&self, draft: &mut Draft<'_>) -> Result<Self::Output, Failure> {
        if draft.folder_named(&self.name).is_some() {
            return Err(exists("a folder of this name exists"));
        }
        if !self.role.is_empty() && draft.folder_with_role(&self.role).is_some() {
            return Err(exists(format!("another folder is used for {}", self.role)));
        }
        check_room(draft, &self.name, self.max_folders)?;
        make_above(draft, &self.name);
        let id = make(draft, &self.name, &self.role);
        Ok((draft.version(), draft.folder(id)?.clone()))
    }
}

struct Rename {
    from: String,
    to: String,
    max_folders: usize,
}

#[async_trait]
impl Operation for Rename {
    type Output = Version;

    async fn plan(&self, draft: &mut Draft<'_>) -> Result<Version, Failure> {
        let id = draft.folder_named(&self.from).ok_or_else(no_such_folder)?.id;
        if draft.folder_named(&self.to).is_some() {
            return Err(exists("a folder of this name exists"));
        }
        let (below_from, below_to) = (names::below(&self.from), names::below(&self.to));
        if self.to.starts_with(&below_from) {
            return Err(invalid("a folder cannot be moved below itself"));
        }
        check_room(draft, &self.to, self.max_folders)?;
        let mut moves = vec![(id, self.to.clone())];
        for below in draft.rows_below(&below_from) {
            let Some(row) = draft.row(below).filter(|row| row.exists) else {
                continue;
            };
            let rest = row.name.strip_prefix(&below_from).unwrap_or_default();
            let name = names::parse(&format!("{below_to}{rest}"))?;
            if draft.folder_named(&name).is_some() {
                return Err(exists(format!("a folder {name} exists")));
            }
            moves.push((below, name));
        }
        make_above(draft, &self.to);
        for (id, name) in moves {
            let subscription = draft.row_named(&name).map(|row| (row.id, row.subscribed));
            if let Some((only_subscribed, _)) = subscription {
                draft.delete_folder_row(only_subscribed);
            }
            draft.edit_folder(id, |row| {
                row.subscribed |= subscription.is_some_and(|(_, subscribed)| subscribed);
                row.name = name;
            })?;
        }
        Ok(draft.version())
    }
}

struct RenameInbox {
    to: String,
    max_folders: usize,
    /// Messages that move in the commit that makes the folder.
    portion: usize,
}

#[async_trait]
impl Operation for RenameInbox {
    type Output = (Version, FolderId);

    fn weight(&self) -> Weight {
        Weight::MOVE.times(self.portion)
    }

    async fn plan(&self, draft: &mut Draft<'_>) -> Result<Self::Output, Failure> {
        if draft.folder_named(&self.to).is_some() {
            return Err(exists("a folder of this name exists"));
        }
        check_room(draft, &self.to, self.max_folders)?;
        let rows = draft.folder_messages(FolderId::INBOX, self.portion).await?;
        let uids: Vec<Uid> = rows.iter().map(|row| row.uid).collect();
        make_above(draft, &self.to);
        let id = make(draft, &self.to, "");
        let copy = Copy {
            from: FolderId::INBOX,
            to: id,
            remove: true,
            quota: 0,
        };
        copy_some(draft, copy, &uids).await?;
        Ok((draft.version(), id))
    }
}

struct Delete {
    name: String,
    /// Messages that go in the commit that removes the folder.
    portion: usize,
}

#[async_trait]
impl Operation for Delete {
    type Output = Version;

    fn weight(&self) -> Weight {
        Weight::REMOVE.times(self.portion)
    }

    async fn plan(&self, draft: &mut Draft<'_>) -> Result<Version, Failure> {
        let (id, subscribed) = {
            let row = draft.folder_named(&self.name).ok_or_else(no_such_folder)?;
            (row.id, row.subscribed)
        };
        let below = draft.rows_below(&names::below(&self.name));
        let has_below = below
            .iter()
            .any(|id| draft.row(*id).is_some_and(|row| row.exists));
        check_removable(&self.name, has_below)?;
        let rows = draft.folder_messages(id, self.portion + 1).await?;
        if rows.len() > self.portion {
            return Err(Failure::new(
                Kind::Unavailable,
                "the folder is being filled, try again",
            ));
        }
        for row in &rows {
            draft.remove_message(row)?;
        }
        if subscribed {
            draft.edit_folder(id, |row| {
                row.exists = false;
                row.role.clear();
                row.keywords.clear();
            })?;
        } else {
            draft.delete_folder_row(id);
        }
        Ok(draft.version())
    }
}

struct Subscribe {
    name: String,
    subscribed: bool,
    max_folders: usize,
}

#[async_trait]
impl Operation for Subscribe {
    type Output = Version;

    async fn plan(&self, draft: &mut Draft<'_>) -> Result<Version, Failure> {
        let row = draft
            .row_named(&self.name)
            .map(|row| (row.id, row.exists, row.subscribed));
        match (row, self.subscribed) {
            (Some((_, _, now)), wanted) if now == wanted => return Ok(draft.version_of(false)),
            (Some((id, true, _)), wanted) => draft.edit_folder(id, |row| row.subscribed = wanted)?,
            (Some((id, false, _)), true) => draft.edit_folder(id, |row| row.subscribed = true)?,
            (Some((id, false, _)), false) => draft.delete_folder_row(id),
            (None, true) => {
                check_room(draft, &self.name, self.max_folders)?;
                let id = draft.add_folder(&self.name, "", true);
                draft.edit_folder(id, |row| row.exists = false)?;
            }
            (None, false) => return Err(not_found("the name is not subscribed")),
        }
        Ok(draft.version())
    }
}
