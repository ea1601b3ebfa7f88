//! STATUS (RFC 9051 §6.3.11).

use bytes::BytesMut;
use postrider_imap::command::{Status, StatusItem, StatusItems};
use postrider_imap::response::{self, Syntax};
use postrider_proto::mailstore::Folder;

use super::{Exec, list};
use crate::answer::{Answer, Outcome, Stop};

impl Exec<'_> {
    pub(super) async fn status(&mut self, status: Status) -> Outcome {
        let folder = self.shared.store.folder(self.account(), &status.mailbox).await?;
        let recent = if status.items.contains(StatusItem::Recent) {
            self.recent(&status.mailbox).await?
        } else {
            0
        };
        let facts = Facts {
            folder: &folder,
            recent,
            append_limit: self.shared.settings.append_limit,
        };
        tell(self.port.output(), facts, status.items, self.session.syntax());
        Ok(Answer::ok("STATUS completed"))
    }

    /// Messages that no session was told of. Only this needs the folder's index.
    pub(super) async fn recent(&mut self, name: &str) -> Result<u32, Stop> {
        let (account, folders) = (self.account(), &self.shared.folders);
        let (folder, _) = folders.open(&self.shared.store, account, name).await?;
        let snapshot = folder.snapshot();
        let recent = folders.recent(account, folder.id, snapshot.index.uids(), false);
        Ok(recent.len())
    }
}

/// What STATUS tells of.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub folder: &'a Folder,
    pub recent: u32,
    pub append_limit: u64,
}

/// The STATUS response about a folder.
pub(super) fn tell(out: &mut BytesMut, facts: Facts<'_>, items: StatusItems, syntax: Syntax) {
    let folder = facts.folder;
    let value = |item| {
        Some(match item {
            StatusItem::Messages => u64::from(folder.messages),
            StatusItem::Recent => u64::from(facts.recent),
            StatusItem::UidNext => u64::from(folder.uid_next),
            StatusItem::UidValidity => u64::from(folder.uid_validity),
            StatusItem::Unseen => u64::from(folder.unseen),
            StatusItem::Deleted => u64::from(folder.deleted),
            StatusItem::Size => folder.size,
            StatusItem::HighestModSeq => folder.highest_modseq.max(1),
            StatusItem::AppendLimit => facts.append_limit,
            StatusItem::DeletedStorage => folder.deleted_size,
            // Not a number.
            StatusItem::MailboxId => return None,
        })
    };
    let values: Vec<(StatusItem, u64)> = items
        .iter()
        .filter_map(|item| value(item).map(|value| (item, value)))
        .collect();
    let id = list::mailbox_id(folder.id);
    let id = items.contains(StatusItem::MailboxId).then_some(id.as_str());
    response::mailbox_status(out, &folder.name, &values, id, syntax);
}
