//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 9051 §6.3.4 to §6.3.8, RFC 6154 §3).

use postrider_imap::command::{Create, Rename, SpecialUse};
use postrider_imap::response::{Code, Reply, untagged};
use postrider_proto::{Failure, Kind};
use postrider_types::FolderId;

use super::{Exec, list};
use crate::answer::{Answer, AnswerCode, Outcome, Stop};

impl Exec<'_> {
    pub(super) async fn create(&mut self, create: Create) -> Outcome {
        let role = match create.special_use.as_slice() {
            [] => "",
            [SpecialUse::Archive] => "archive",
            [SpecialUse::Drafts] => "drafts",
            [SpecialUse::Flagged] => "flagged",
            [SpecialUse::Junk] => "junk",
            [SpecialUse::Sent] => "sent",
            [SpecialUse::Trash] => "trash",
            _ => return Ok(Answer::no("a mailbox has one special use, and not all").with(Code::UseAttr)),
        };
        let account = self.account();
        let name = create.mailbox;
        let created = self.shared.store.create_folder(account, name.clone(), role).await;
        let created = match created {
            Ok(created) => created,
            Err(failure) if failure.kind == Kind::AlreadyExists && !role.is_empty() => {
                // Which of the two there is already decides what the client is told.
                let taken = self.shared.store.folder(account, &name).await.is_ok();
                return Ok(if taken {
                    crate::failure::answer(&failure)
                } else {
                    Answer::no("another mailbox has this special use").with(Code::UseAttr)
                });
            }
            Err(failure) => return Err(failure.into()),
        };
        let id = created.folder.map(|folder| {
            self.shared.folders.created(account, FolderId(folder.id));
            list::mailbox_id(folder.id)
        });
        let answer = Answer::ok("CREATE completed");
        Ok(match id {
            Some(id) => answer.with_code(AnswerCode::MailboxId(id)),
            None => answer,
        })
    }

    /// Other sessions that have it selected lose their connection when they hear of it.
    pub(super) async fn delete(&mut self, name: String) -> Outcome {
        let account = self.account();
        let id = self.shared.store.folder(account, &name).await?.id;
        let version = self
            .shared
            .store
            .delete_folder(account, name)
            .await
            .map_err(cannot_delete)?;
        self.shared.watcher.reached(account, version);
        let own = self
            .selected
            .as_ref()
            .is_some_and(|selected| selected.folder.id == FolderId(id));
        if own {
            *self.selected = None;
            self.session.deselect();
            let reply = Reply::ok("the selected mailbox was deleted").with(Code::Closed);
            untagged(self.port.output(), reply);
        }
        Ok(Answer::ok("DELETE completed"))
    }

    pub(super) async fn rename(&mut self, rename: Rename) -> Outcome {
        let account = self.account();
        let version = self
            .shared
            .store
            .rename_folder(account, rename.from, rename.to)
            .await?;
        self.shared.watcher.reached(account, version);
        Ok(Answer::ok("RENAME completed"))
    }

    pub(super) async fn subscribe(&mut self, name: String, subscribed: bool) -> Outcome {
        self.shared
            .store
            .subscribe(self.account(), name, subscribed)
            .await?;
        Ok(Answer::ok(if subscribed {
            "SUBSCRIBE completed"
        } else {
            "UNSUBSCRIBE completed"
        }))
    }
}

fn cannot_delete(failure: Failure) -> Stop {
    let answer = match failure.kind {
        Kind::Precondition if failure.message.contains("INBOX") => {
            Answer::no(failure.message).with(Code::Cannot)
        }
        Kind::Precondition => Answer::no(failure.message).with(Code::HasChildren),
        _ => return failure.into(),
    };
    answer.into()
}
