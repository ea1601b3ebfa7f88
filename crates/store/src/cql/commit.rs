//! A commit: folded, made one conditional batch, and its outcome found out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures::future::{join_all, try_join_all};
use postrider_cql::{Batch, Conditional, CqlValue};
use postrider_types::{AccountId, ContentId, FolderId, Uid, Version};

use super::rows::{HeadColumns, account_holder, blob};
use super::statements as cql;
use super::{Cql, int, rows};
use crate::account::{Commit, CommitLimits, FlagState, FolderRow, MessageRow, Outcome, Rows};
use crate::encode::{encode_changes, encode_keywords};
use crate::{Error, Result, unix_millis};

/// The most bytes of one commit: the database takes half a segment of its log, and refuses more in a way that looks like
/// an unknown outcome.
const MOST_BYTES: usize = 4 << 20;
/// How often a batch of unknown outcome is sent in all.
const ATTEMPTS: u32 = 3;

/// Where a commit is to be found.
enum Fate {
    /// It made its version.
    Done,
    /// Another one did, or the account never was at the version it expects.
    Late,
    /// The account is at the version it expects.
    Pending,
}

impl Cql {
    pub(super) async fn run(&self, mut commit: Commit) -> Result<Outcome> {
        commit.check()?;
        let contents = std::mem::take(&mut commit.contents);
        let folded = Folded::new(&commit.rows);
        let (batch, bytes) = batch(&commit, &folded, self.options.change_retention.as_secs());
        if bytes > MOST_BYTES {
            return Err(Error::Invalid(format!(
                "a commit of {bytes} bytes, at most {MOST_BYTES} are allowed"
            )));
        }
        self.before(&commit, &folded, &contents).await?;
        let outcome = self.send(&commit, &batch).await;
        match &outcome {
            Ok(Outcome::Committed) => self.after(commit.account, &folded).await,
            // They may have no holder now.
            _ => {
                let given_up = contents.iter().map(|(id, _)| self.candidate(*id));
                join_all(given_up).await;
            }
        }
        outcome
    }

    /// What must be durable before the rows: contents, holders, and that what they drop may be without a holder.
    async fn before(
        &self,
        commit: &Commit,
        folded: &Folded<'_>,
        contents: &[(ContentId, bytes::Bytes)],
    ) -> Result<()> {
        let holder = account_holder(commit.account);
        let brought = contents
            .iter()
            .map(|(id, data)| self.put_held(*id, data.clone(), holder.clone()));
        let is_brought = |id: &ContentId| contents.iter().any(|(brought, _)| brought == id);
        let held = folded
            .descriptions
            .keys()
            .filter(|id| !is_brought(id))
            .map(|id| self.hold_as(*id, holder.clone()));
        let dropped = folded.dropped.iter().map(|id| self.candidate(*id));
        let listed = async {
            match commit.expected {
                Version(0) => self.list(commit.account).await,
                _ => Ok(()),
            }
        };
        futures::try_join!(
            try_join_all(brought),
            try_join_all(held),
            try_join_all(dropped),
            listed
        )?;
        Ok(())
    }

    /// What may be lost.
    async fn after(&self, account: AccountId, folded: &Folded<'_>) {
        for folder in &folded.deleted_folders {
            let key = (int(account.get()), i64::from(folder.0));
            if let Err(error) = self.session.write(cql::DELETE_SNAPSHOT, key).await {
                tracing::debug!(%account, %error, "the index of a deleted folder stays");
            }
        }
    }

    /// Sends the batch until its outcome is known, as long as there is hope.
    async fn send(&self, commit: &Commit, batch: &Batch) -> Result<Outcome> {
        let mut reason = None;
        let began = Instant::now();
        let most = self.session.config().conditional_deadline * 2;
        for _ in 0..ATTEMPTS {
            match self.session.conditional_batch(batch).await {
                Ok(Conditional::Applied) => return Ok(Outcome::Committed),
                Ok(Conditional::NotApplied(_)) => match self.fate(commit).await {
                    Ok(Fate::Done) => return Ok(Outcome::Committed),
                    Ok(Fate::Late) => return Ok(Outcome::Conflict),
                    Ok(Fate::Pending) => return Ok(Outcome::Known),
                    // Not applied at the first attempt is nothing done, whatever the reason.
                    Err(error) if reason.is_none() => return Err(error),
                    Err(error) => reason = Some(error.to_string()),
                },
                Ok(Conditional::Unknown(text)) => {
                    tracing::info!(account = %commit.account, version = %commit.head.version, text, "outcome of a commit unknown, looking");
                    self.doubt(commit.account);
                    match self.fate(commit).await {
                        Ok(Fate::Done) => return Ok(Outcome::Committed),
                        Ok(Fate::Late) => return Ok(Outcome::Conflict),
                        Ok(Fate::Pending) => reason = Some(text),
                        Err(error) => reason = Some(format!("{text}; {error}")),
                    }
                }
                Err(error) if reason.is_none() => return Err(error.into()),
                Err(error) => reason = Some(error.to_string()),
            }
            if began.elapsed() > most {
                break;
            }
        }
        Err(Error::Unknown(reason.unwrap_or_default()))
    }

    /// Looks for a commit. The serial read ends what another coordinator left behind half done.
    async fn fate(&self, commit: &Commit) -> Result<Fate> {
        let account = int(commit.account.get());
        let columns: Option<HeadColumns> = self.first(cql::HEAD_SERIAL, (account,)).await?;
        let head = columns.map(rows::head).transpose()?.flatten();
        let version = head.as_ref().map_or(Version(0), |head| head.version);
        if version == commit.expected {
            return Ok(Fate::Pending);
        }
        if version < commit.head.version {
            return Ok(Fate::Late);
        }
        let ours = if version == commit.head.version {
            head.is_some_and(|head| head.last_commit == commit.head.last_commit)
        } else {
            let key = (account, int(commit.head.version.0));
            let row: Option<(Vec<u8>,)> = self.first(cql::CHANGE_COMMIT, key).await?;
            row.is_some_and(|(id,)| id == commit.head.last_commit.as_bytes())
        };
        Ok(if ours { Fate::Done } else { Fate::Late })
    }
}

/// The net effect of rows: nothing is put twice, and nothing that is deleted is put.
struct Folded<'a> {
    folders: BTreeMap<FolderId, &'a FolderRow>,
    deleted_folders: BTreeSet<FolderId>,
    messages: BTreeMap<(FolderId, Uid), &'a MessageRow>,
    updates: BTreeMap<(FolderId, Uid), &'a FlagState>,
    deleted_messages: BTreeSet<(FolderId, Uid)>,
    descriptions: BTreeMap<ContentId, &'a bytes::Bytes>,
    dropped: BTreeSet<ContentId>,
}

impl<'a> Folded<'a> {
    fn new(rows: &'a Rows) -> Self {
        let deleted_folders: BTreeSet<_> = rows.delete_folders.iter().copied().collect();
        let deleted_messages: BTreeSet<_> = rows.delete_messages.iter().copied().collect();
        let dropped: BTreeSet<_> = rows.drop_descriptions.iter().copied().collect();
        let folders = rows.put_folders.iter().map(|row| (row.id, row));
        let messages = rows.put_messages.iter().map(|row| ((row.folder, row.uid), row));
        let updates = rows
            .update_messages
            .iter()
            .map(|(folder, state)| ((*folder, state.uid), state));
        let descriptions = rows.put_descriptions.iter().map(|row| (row.content, &row.data));
        Self {
            folders: folders.filter(|(id, _)| !deleted_folders.contains(id)).collect(),
            messages: messages
                .filter(|(key, _)| !deleted_messages.contains(key))
                .collect(),
            updates: updates
                .filter(|(key, _)| !deleted_messages.contains(key))
                .collect(),
            descriptions: descriptions.filter(|(id, _)| !dropped.contains(id)).collect(),
            deleted_folders,
            deleted_messages,
            dropped,
        }
    }
}

/// The batch, and roughly how many bytes it has. The head comes first: its partition decides who coordinates.
fn batch(commit: &Commit, folded: &Folded<'_>, change_ttl: u64) -> (Batch, usize) {
    let account = int(commit.account.get());
    let head = &commit.head;
    let mut batch = Batch::new();
    let expected = (commit.expected.0 > 0).then_some(int(commit.expected.0));
    let values = (
        int(head.version.0),
        blob(head.last_commit.as_bytes()),
        int(head.used),
        int(head.messages),
        i64::from(head.next_folder.0),
        account,
        expected,
    );
    batch.push(cql::MOVE_HEAD, values);
    let changes = encode_changes(&commit.change.changes);
    let mut bytes = changes.len();
    let values = (
        account,
        int(commit.change.version.0),
        int(commit.change.time),
        changes,
        blob(head.last_commit.as_bytes()),
        seconds(change_ttl),
    );
    batch.push(cql::PUT_CHANGE, values);
    for row in folded.folders.values() {
        bytes += row.name.len() + row.keywords.len() * 8;
        batch.push(cql::PUT_FOLDER, folder_values(account, row));
    }
    for folder in &folded.deleted_folders {
        batch.push(cql::DELETE_FOLDER, (account, i64::from(folder.0)));
    }
    put_messages(&mut batch, commit, folded);
    for (folder, first, last) in runs(&folded.deleted_messages) {
        let values = (
            account,
            i64::from(folder.0),
            i64::from(first.0),
            i64::from(last.0),
        );
        batch.push(cql::DELETE_MESSAGES, values);
    }
    for (content, data) in &folded.descriptions {
        bytes += data.len();
        batch.push(
            cql::PUT_DESCRIPTION,
            (account, blob(content.as_bytes()), (*data).clone()),
        );
    }
    for content in &folded.dropped {
        batch.push(cql::DELETE_DESCRIPTION, (account, blob(content.as_bytes())));
        batch.push(cql::DELETE_PLACES, (account, blob(content.as_bytes())));
    }
    put_known(&mut batch, commit);
    bytes += batch.len() * CommitLimits::ROW;
    (batch, bytes)
}

fn put_messages(batch: &mut Batch, commit: &Commit, folded: &Folded<'_>) {
    let account = int(commit.account.get());
    for (key, row) in &folded.messages {
        let update = folded.updates.get(key);
        let (flags, keywords, modseq) = match update {
            Some(state) => (state.flags, &state.keywords, head_version(commit)),
            None => (row.flags, &row.keywords, int(row.modseq.0)),
        };
        let values = (
            account,
            i64::from(row.folder.0),
            i64::from(row.uid.0),
            blob(row.content.as_bytes()),
            blob(row.thread.as_bytes()),
            int(row.size),
            int(row.received),
            int(row.saved),
            i16::from(flags.bits()),
            encode_keywords(keywords),
            modseq,
        );
        batch.push(cql::PUT_MESSAGE, values);
        // A content of which nothing is left has no places either.
        if !folded.dropped.contains(&row.content) {
            let values = (
                account,
                blob(row.content.as_bytes()),
                i64::from(row.folder.0),
                i64::from(row.uid.0),
            );
            batch.push(cql::PUT_PLACE, values);
        }
    }
    for ((folder, uid), state) in &folded.updates {
        if folded.messages.contains_key(&(*folder, *uid)) {
            continue;
        }
        let values = (
            i16::from(state.flags.bits()),
            encode_keywords(&state.keywords),
            head_version(commit),
            account,
            i64::from(folder.0),
            i64::from(uid.0),
        );
        batch.push(cql::UPDATE_MESSAGE, values);
    }
}

/// Receipts and references: new, or the whole batch is refused. A receipt that has had its time is none.
fn put_known(batch: &mut Batch, commit: &Commit) {
    let account = int(commit.account.get());
    let references: BTreeMap<u64, _> = commit
        .rows
        .put_references
        .iter()
        .map(|row| (row.hash, row.thread))
        .collect();
    for (hash, thread) in references {
        batch.push(cql::PUT_REFERENCE, (account, int(hash), blob(thread.as_bytes())));
    }
    let now = unix_millis();
    let receipts: BTreeMap<_, _> = commit
        .rows
        .put_receipts
        .iter()
        .filter(|row| row.expires > now)
        .map(|row| (row.delivery, row))
        .collect();
    for (delivery, row) in receipts {
        let values = (
            account,
            blob(delivery.as_bytes()),
            int(row.version.0),
            i64::from(row.folder.0),
            i64::from(row.uid.0),
            int(row.expires),
            seconds((row.expires - now).div_ceil(1000)),
        );
        batch.push(cql::PUT_RECEIPT, values);
    }
}

fn folder_values(account: i64, row: &FolderRow) -> Vec<CqlValue> {
    let number = |number: u32| CqlValue::BigInt(i64::from(number));
    vec![
        CqlValue::BigInt(account),
        number(row.id.0),
        CqlValue::Text(row.name.clone()),
        number(row.uid_validity),
        number(row.uid_next.0),
        CqlValue::Text(row.role.clone()),
        CqlValue::Boolean(row.subscribed),
        CqlValue::Boolean(row.exists),
        number(row.messages),
        number(row.unseen),
        number(row.deleted),
        CqlValue::BigInt(int(row.size)),
        CqlValue::BigInt(int(row.deleted_size)),
        CqlValue::Text(encode_keywords(&row.keywords)),
        CqlValue::BigInt(int(row.created.0)),
        CqlValue::BigInt(int(row.changed.0)),
    ]
}

fn head_version(commit: &Commit) -> i64 {
    int(commit.head.version.0)
}

/// Neighbouring UIDs together: folder, first, last.
fn runs(messages: &BTreeSet<(FolderId, Uid)>) -> Vec<(FolderId, Uid, Uid)> {
    let mut runs: Vec<(FolderId, Uid, Uid)> = Vec::new();
    for (folder, uid) in messages {
        match runs.last_mut() {
            Some((last_folder, _, last)) if last_folder == folder && last.checked_next() == Some(*uid) => {
                *last = *uid;
            }
            _ => runs.push((*folder, *uid, *uid)),
        }
    }
    runs
}

/// A time to live, which the database takes up to 20 years of.
fn seconds(seconds: u64) -> i32 {
    const MOST: u64 = 20 * 365 * 24 * 3600;
    seconds.clamp(1, MOST) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_deleted_together() {
        let messages = [(1, 1), (1, 2), (1, 3), (1, 5), (2, 6), (2, 7), (3, u32::MAX)];
        let set = messages
            .iter()
            .map(|(folder, uid)| (FolderId(*folder), Uid(*uid)))
            .collect();
        let runs = runs(&set);
        let plain: Vec<_> = runs
            .iter()
            .map(|(folder, first, last)| (folder.0, first.0, last.0))
            .collect();
        assert_eq!(plain, [(1, 1, 3), (1, 5, 5), (2, 6, 7), (3, u32::MAX, u32::MAX)]);
    }
}
