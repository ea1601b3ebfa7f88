//! SELECT and EXAMINE (RFC 9051 §6.3.2, §6.3.3; CONDSTORE and QRESYNC, RFC 7162 §3.1.2, §3.2.5), CLOSE.

use postrider_imap::command::{QResync, Select};
use postrider_imap::response::{
    self, Attribute, Code, FetchLine, ListLine, Numbers, Reply, exists, recent, untagged, vanished,
};
use postrider_index::UidSet;
use postrider_proto::mailstore::OpenFolderResponse;
use postrider_types::{Uid, Version};

use super::{Exec, list};
use crate::answer::{Answer, Outcome, Stop};
use crate::folder_cache::FlagState;
use crate::rows;
use crate::selected::Selected;

impl Exec<'_> {
    pub(super) async fn select(&mut self, select: Select) -> Outcome {
        // Closed already, whatever becomes of this.
        *self.selected = None;
        let account = self.account();
        // Before the folder is opened, so that nothing that happens in between is missed.
        let news = self.shared.watcher.subscribe(account);
        let (folder, opened) = self
            .shared
            .folders
            .open(&self.shared.store, account, &select.mailbox)
            .await?;
        let snapshot = folder.snapshot();
        let validity = opened.folder.as_ref().map_or(0, |folder| folder.uid_validity);
        let mut selected = Box::new(Selected::new(folder, validity, &snapshot, news, select.read_only));
        self.tell_folder(&mut selected, &opened);
        if let Some(qresync) = &select.qresync
            && qresync.uid_validity == validity
        {
            self.resynchronise(&mut selected, &opened, qresync).await?;
        }
        *self.selected = Some(selected);
        Ok(if select.read_only {
            Answer::ok("EXAMINE completed").with(Code::ReadOnly)
        } else {
            Answer::ok("SELECT completed").with(Code::ReadWrite)
        })
    }

    /// Everything that is true of a mailbox as a whole.
    fn tell_folder(&mut self, selected: &mut Selected, opened: &OpenFolderResponse) {
        let Some(folder) = &opened.folder else {
            return;
        };
        let enabled = self.session.enabled();
        let out = self.port.output();
        selected.tell_all_flags(out, &rows::parse_keywords(&opened.keywords));
        if !enabled.rev2 {
            selected.claim_recent(&self.shared.folders);
        }
        let index = selected.view.current();
        exists(out, index.len());
        if !enabled.rev2 {
            recent(out, selected.view.recent().len());
            if let Some(first) = index.first_unseen() {
                untagged(out, Reply::ok("first unseen").with(Code::Unseen(first)));
            }
        }
        // A message may have come since the row was read.
        let next = index.uids().max().and_then(Uid::checked_next);
        let next = next.map_or(folder.uid_next, |next| next.0.max(folder.uid_next));
        let highest = folder.highest_modseq.max(1);
        for (code, text) in [
            (Code::UidNext(next), "predicted next UID"),
            (Code::UidValidity(folder.uid_validity), "UIDs are valid"),
            (Code::HighestModSeq(highest), "highest mod-sequence"),
            (Code::MailboxId(&list::mailbox_id(folder.id)), "mailbox id"),
        ] {
            untagged(out, Reply::ok(text).with(code));
        }
        if enabled.rev2 {
            let attributes: Vec<Attribute> = list::special_use(folder).into_iter().collect();
            let line = ListLine {
                attributes: &attributes,
                name: &folder.name,
                ..ListLine::default()
            };
            response::list(out, line, enabled.syntax());
        }
    }

    /// What became of the mailbox since the client last knew it.
    async fn resynchronise(
        &mut self,
        selected: &mut Selected,
        opened: &OpenFolderResponse,
        qresync: &QResync,
    ) -> Result<(), Stop> {
        let next = opened.folder.as_ref().map_or(1, |folder| folder.uid_next);
        let current = selected.view.current().uids().clone();
        let since = Version(qresync.modseq);
        let largest = next.saturating_sub(1);
        let asked = qresync.known_uids.as_ref().map(|set| {
            let ranges = set.resolve(largest).map(|range| {
                let (first, last) = range.into_inner();
                Uid(first)..=Uid(last.min(largest))
            });
            UidSet::from_ranges(ranges)
        });
        let gone = match selected.removed_since(&self.shared.store, since).await? {
            Some(removed) => {
                let removed = removed.difference(&current);
                asked
                    .as_ref()
                    .map_or(removed.clone(), |asked| removed.intersection(asked))
            }
            None => qresync.vanished(&current, Uid(next)),
        };
        vanished(self.port.output(), Numbers::Set(&gone), true);
        let changed = asked.map_or(current.clone(), |asked| asked.intersection(&current));
        if changed.is_empty() {
            return Ok(());
        }
        let (account, folder) = (selected.folder.account, selected.folder.id);
        let mut pieces = self
            .shared
            .store
            .messages(account, folder, &changed, since, false)
            .await?;
        while let Some(piece) = pieces.next().await? {
            for row in &piece.messages {
                let state = FlagState::of(row);
                let Some(sequence) = selected.view.sequence(state.uid) else {
                    continue;
                };
                let out = self.port.output();
                let mut line = FetchLine::start(out, sequence, self.session.syntax());
                line.uid(out, state.uid.0);
                line.flags(out, state.flags, &state.keywords);
                line.modseq(out, state.modseq);
                line.end(out);
            }
            self.relieve().await?;
        }
        Ok(())
    }

    /// Removes what is marked, without a word, and leaves.
    pub(super) async fn close(&mut self) -> Outcome {
        let selected = self.mailbox()?;
        let (account, folder) = (selected.folder.account, selected.folder.id);
        if !selected.read_only {
            let expunged = self.shared.store.expunge(account, folder, None).await?;
            self.shared.watcher.reached(account, Version(expunged.version));
        }
        *self.selected = None;
        Ok(Answer::ok("CLOSE completed"))
    }
}
