//! THREAD and UID THREAD (RFC 5256): what threading needs of each message; `postrider_imap::thread` does the rest.

use postrider_imap::command::Thread;
use postrider_imap::response;
use postrider_imap::thread::{Threadable, threads};
use postrider_message::word;
use postrider_types::Uid;

use super::Exec;
use super::sort::sent;
use crate::answer::{Answer, Outcome};

/// What is kept of a message until all have been seen.
struct Kept {
    uid: Uid,
    sent: i64,
    subject: String,
    message_id: String,
    references: Vec<String>,
}

impl Exec<'_> {
    pub(super) async fn thread(&mut self, thread: Thread) -> Outcome {
        let found = self.find(&thread.search).await?;
        let mut messages = Vec::new();
        self.each_row(&found.uids, true, |row, summary| {
            messages.push(Kept {
                uid: Uid(row.uid),
                sent: sent(row, summary),
                subject: word::decode(summary.envelope.subject.as_deref().unwrap_or_default()),
                message_id: summary.message_id.clone(),
                references: summary.references.clone(),
            });
        })
        .await?;
        let view = &self.mailbox()?.view;
        let threadable: Vec<Threadable<'_>> = messages
            .iter()
            .filter_map(|message| {
                Some(Threadable {
                    number: if thread.uid {
                        message.uid.0
                    } else {
                        view.sequence(message.uid)?
                    },
                    sent: message.sent,
                    subject: &message.subject,
                    message_id: &message.message_id,
                    references: &message.references,
                })
            })
            .collect();
        let threads = threads(thread.algorithm, &threadable);
        response::thread(self.port.output(), &threads);
        Ok(Answer::ok("THREAD completed"))
    }
}
