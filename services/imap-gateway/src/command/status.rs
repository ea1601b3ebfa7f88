//! STATUS (RFC 9051 §6.3.11).

use bytes::BytesMut;
use postrider_imap::command::{Status, StatusItem, StatusItems};
use postrider_imap::response::{self, Syntax};
use postrider_proto::mailstore::Folder;

use super::{Exec, list};
use crate::answer::{Answer, Outcome};

impl Exec<'_> {
    pub(super) async fn status(&mut self, status: Status) -> Outcome {
        let folder = self.shared.store.folder(self.account(), &status.mailbox).await?;
        let limit = self.shared.settings.append_limit;
        tell(
            self.port.output(),
            &folder,
            status.items,
            limit,
            self.session.syntax(),
        );
        Ok(Answer::ok("STATUS completed"))
    }
}

/// The STATUS response about a folder.
pub(super) fn tell(
    out: &mut BytesMut,
    folder: &Folder,
    items: StatusItems,
    append_limit: u64,
    syntax: Syntax,
) {
    let value = |item| {
        Some(match item {
            StatusItem::Messages => u64::from(folder.messages),
            StatusItem::Recent => 0,
            StatusItem::UidNext => u64::from(folder.uid_next),
            StatusItem::UidValidity => u64::from(folder.uid_validity),
            StatusItem::Unseen => u64::from(folder.unseen),
            StatusItem::Deleted => u64::from(folder.deleted),
            StatusItem::Size => folder.size,
            StatusItem::HighestModSeq => folder.highest_modseq.max(1),
            StatusItem::AppendLimit => append_limit,
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
