//! EXPUNGE and UID EXPUNGE (RFC 9051 §6.4.3, RFC 4315 §2.1).

use postrider_imap::response::Code;
use postrider_imap::set::MessageSet;
use postrider_types::Version;

use super::Exec;
use crate::answer::{Answer, Outcome};

impl Exec<'_> {
    /// Removes what is marked; the news that follow tell which.
    pub(super) async fn expunge(&mut self, set: Option<MessageSet>) -> Outcome {
        let uids = match &set {
            Some(set) => Some(self.resolve(set, true)?.uids),
            None => None,
        };
        if uids.as_ref().is_some_and(|uids| uids.is_empty()) {
            return Ok(Answer::ok("EXPUNGE completed"));
        }
        let selected = self.mailbox()?;
        let (account, folder) = (selected.folder.account, selected.folder.id);
        let expunged = self.shared.store.expunge(account, folder, uids.as_ref()).await?;
        self.mailbox()?.news.reached(Version(expunged.version));
        let answer = Answer::ok("EXPUNGE completed");
        // RFC 7162 §3.2.7: so that the client knows up to where it is informed.
        Ok(if self.session.enabled().qresync {
            answer.with(Code::HighestModSeq(expunged.version))
        } else {
            answer
        })
    }
}
