//! Appending messages to a folder, all or none (IMAP APPEND, RFC 9051 §6.3.12; MULTIAPPEND, RFC 3502).

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_proto::Failure;
use postrider_types::{AccountId, ContentId, Flags, FolderId, Keyword, Uid, Version};

use crate::commit::Operation;
use crate::content::Described;
use crate::delivery::Source;
use crate::draft::{Draft, NewMessage};
use crate::failure::{invalid, over_quota};
use crate::lookup::Questions;
use crate::service::Service;
use crate::weight::Weight;

/// The most messages of one request: they are one commit.
pub(crate) const MAX_MESSAGES: usize = 1000;

/// A message to append.
#[derive(Debug)]
pub(crate) struct NewEntry {
    pub source: Source,
    pub received: u64,
    pub flags: Flags,
    pub keywords: Vec<Keyword>,
}

/// What was appended, in the order of the request.
#[derive(Debug)]
pub(crate) struct Appended {
    pub version: Version,
    pub uid_validity: u32,
    pub uids: Vec<Uid>,
    pub contents: Vec<ContentId>,
}

impl Service {
    /// Appends messages (AppendMessages).
    pub async fn append(
        self: &Arc<Self>,
        account: AccountId,
        folder: FolderId,
        quota: u64,
        entries: Vec<NewEntry>,
    ) -> Result<Appended, Failure> {
        if entries.is_empty() || entries.len() > MAX_MESSAGES {
            return Err(invalid(format!(
                "1 to {MAX_MESSAGES} messages are appended at a time"
            )));
        }
        let mut messages = Vec::with_capacity(entries.len());
        for entry in entries {
            let (content, message, data) = match entry.source {
                Source::Inline(id, data) => (id, Arc::new(Described::of(&data)), Some(data)),
                Source::Stored(id) => (id, self.described(id).await?, None),
            };
            let NewEntry {
                received,
                flags,
                keywords,
                ..
            } = entry;
            messages.push(Ready {
                content,
                message,
                data,
                received,
                flags,
                keywords,
            });
        }
        self.run(
            account,
            Append {
                folder,
                quota,
                messages,
            },
        )
        .await
    }
}

struct Append {
    folder: FolderId,
    quota: u64,
    messages: Vec<Ready>,
}

struct Ready {
    content: ContentId,
    message: Arc<Described>,
    data: Option<Bytes>,
    received: u64,
    flags: Flags,
    keywords: Vec<Keyword>,
}

#[async_trait]
impl Operation for Append {
    type Output = Appended;

    fn weight(&self) -> Weight {
        let each = |ready: &Ready| ready.message.weight(ready.data.as_ref(), 0);
        self.messages
            .iter()
            .map(each)
            .fold(Weight::default(), Weight::and)
    }

    fn look_up(&self, questions: &mut Questions) {
        self.messages
            .iter()
            .for_each(|ready| ready.message.look_up(questions));
    }

    async fn plan(&self, draft: &mut Draft<'_>) -> Result<Appended, Failure> {
        let uid_validity = draft.folder(self.folder)?.uid_validity;
        draft.has_uids(self.folder, self.messages.len())?;
        let more = self
            .messages
            .iter()
            .fold(0_u64, |sum, ready| sum.saturating_add(ready.message.size));
        if self.quota > 0 && draft.head().used.saturating_add(more) > self.quota {
            return Err(over_quota());
        }
        let mut uids = Vec::with_capacity(self.messages.len());
        for Ready {
            content,
            message,
            data,
            received,
            flags,
            keywords,
        } in &self.messages
        {
            let thread = message.join_thread(*content, draft);
            let new = NewMessage {
                content: *content,
                thread,
                size: message.size,
                received: *received,
                flags: *flags,
                keywords: keywords.clone(),
            };
            uids.push(draft.add_message(self.folder, new)?);
            draft.describe(*content, message.description.clone());
            if let Some(data) = data {
                draft.store(*content, data.clone());
            }
        }
        let contents = self.messages.iter().map(|ready| ready.content).collect();
        Ok(Appended {
            version: draft.version(),
            uid_validity,
            uids,
            contents,
        })
    }
}
