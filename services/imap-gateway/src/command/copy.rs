//! COPY and MOVE (RFC 9051 §6.4.7, §6.4.8, RFC 4315 §3, RFC 6851).

use postrider_imap::command::Copy;
use postrider_imap::response::{Code, Reply, untagged};
use postrider_proto::mailstore::CopyMessagesRequest;
use postrider_types::Version;

use super::Exec;
use crate::answer::{Answer, AnswerCode, CopyUid, Outcome, Stop};
use crate::failure;

impl Exec<'_> {
    pub(super) async fn copy(&mut self, copy: Copy, remove: bool) -> Outcome {
        let done = if remove {
            "MOVE completed"
        } else {
            "COPY completed"
        };
        let named = self.resolve(&copy.set, copy.uid)?;
        if named.some_gone && !copy.uid {
            // RFC 2180 §4.4.1: all of them or none.
            return Ok(Answer::no("some of the messages no longer exist").with(Code::ExpungeIssued));
        }
        let account = self.account();
        let folder = self.shared.store.folder(account, &copy.mailbox).await;
        let destination = folder.map_err(|failure| Stop::Answer(failure::destination(&failure)))?;
        if named.uids.is_empty() {
            return Ok(Answer::ok(done));
        }
        let request = CopyMessagesRequest {
            account: account.get(),
            folder: self.mailbox()?.folder.id.0,
            uids: named.uids.to_bytes(),
            destination: destination.id,
            r#move: remove,
            quota: self.user.quota,
        };
        let copied = self.shared.store.copy(request).await;
        let copied = copied.map_err(|failure| Stop::Answer(failure::destination(&failure)))?;
        self.mailbox()?.news.reached(Version(copied.version));
        let copied = CopyUid {
            validity: copied.uid_validity,
            source: copied.source_uids,
            destination: copied.destination_uids,
        };
        if remove {
            // RFC 6851 §4.3: before the EXPUNGE responses.
            if !copied.source.is_empty() {
                untagged(self.port.output(), Reply::ok("moved").with(copied.code()));
            }
            return Ok(Answer::ok(done));
        }
        Ok(Answer::ok(done).with_code(AnswerCode::CopyUid(copied)))
    }
}
