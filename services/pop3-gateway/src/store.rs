//! The mail store as POP3 needs it.

use std::time::Duration;

use bytes::Bytes;
use postrider_index::UidSet;
use postrider_proto::mailstore::mail_store_client::MailStoreClient;
use postrider_proto::mailstore::open_folder_request::Folder;
use postrider_proto::mailstore::{
    ExpungeMessagesRequest, ListMessagesRequest, MessageRow, OpenFolderRequest, ReadContentRequest,
    ReadContentsRequest,
};
use postrider_proto::{Failure, Kind, Link};
use postrider_types::{AccountId, ContentId, FolderId, Uid};

use crate::failure::within;
use crate::maildrop::{Inbox, Message};

/// Bytes of a message read at a time.
pub const PIECE: u64 = 64 * 1024;

/// The mail store.
#[derive(Clone)]
pub(crate) struct Store {
    client: MailStoreClient<Link>,
    timeout: Duration,
}

impl Store {
    pub(crate) fn new(client: MailStoreClient<Link>, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// An account's INBOX, at most `limit` messages of it, the oldest first.
    pub(crate) async fn open_inbox(&self, account: AccountId, limit: usize) -> Result<Inbox, Failure> {
        let request = OpenFolderRequest {
            account: account.get(),
            folder: Some(Folder::Id(FolderId::INBOX.0)),
            known_version: 0,
        };
        let opened = within(self.timeout, self.client.clone().open_folder(request)).await?;
        let folder = opened
            .folder
            .ok_or_else(|| Failure::new(Kind::Internal, "INBOX without a description"))?;
        let mut inbox = Inbox {
            uid_validity: folder.uid_validity,
            messages: Vec::new(),
        };
        if folder.messages == 0 {
            return Ok(inbox);
        }
        inbox.messages.reserve_exact(limit.min(folder.messages as usize));
        let request = ListMessagesRequest {
            account: account.get(),
            folder: FolderId::INBOX.0,
            ..ListMessagesRequest::default()
        };
        let mut rows = within(self.timeout, self.client.clone().list_messages(request)).await?;
        while let Some(batch) = self.next(&mut rows).await? {
            for row in batch {
                if inbox.messages.len() == limit {
                    return Ok(inbox);
                }
                inbox.messages.push(message(&row)?);
            }
        }
        Ok(inbox)
    }

    /// A piece of a message; empty behind its end.
    pub(crate) async fn read(&self, content: ContentId, offset: u64) -> Result<Bytes, Failure> {
        let content_id = Bytes::copy_from_slice(content.as_bytes());
        let request = ReadContentRequest {
            content_id,
            offset,
            length: PIECE,
        };
        Ok(within(self.timeout, self.client.clone().read_content(request))
            .await?
            .data)
    }

    /// The first pieces of several messages: of as many of them, from the first on, as the mail store gives at once.
    pub(crate) async fn read_many(&self, contents: Vec<ContentId>) -> Result<Vec<Bytes>, Failure> {
        let range = |content: ContentId| ReadContentRequest {
            content_id: Bytes::copy_from_slice(content.as_bytes()),
            offset: 0,
            length: PIECE,
        };
        let request = ReadContentsRequest {
            ranges: contents.into_iter().map(range).collect(),
        };
        let answer = within(self.timeout, self.client.clone().read_contents(request)).await?;
        Ok(answer.pieces.into_iter().map(|piece| piece.data).collect())
    }

    /// Deletes messages from INBOX for good.
    pub(crate) async fn delete(&self, account: AccountId, uids: &UidSet) -> Result<(), Failure> {
        // No UIDs at all would mean every message.
        if uids.is_empty() {
            return Ok(());
        }
        let request = ExpungeMessagesRequest {
            account: account.get(),
            folder: FolderId::INBOX.0,
            uids: uids.to_bytes(),
            force: true,
        };
        within(self.timeout, self.client.clone().expunge_messages(request))
            .await
            .map(drop)
    }

    async fn next(
        &self,
        rows: &mut tonic::Streaming<postrider_proto::mailstore::ListMessagesResponse>,
    ) -> Result<Option<Vec<MessageRow>>, Failure> {
        match tokio::time::timeout(self.timeout, rows.message()).await {
            Ok(batch) => Ok(batch?.map(|batch| batch.messages)),
            Err(_) => Err(Failure::new(Kind::Deadline, "no answer in time")),
        }
    }
}

fn message(row: &MessageRow) -> Result<Message, Failure> {
    let content = ContentId::from_slice(&row.content_id)
        .ok_or_else(|| Failure::new(Kind::Internal, "a message without a content id"))?;
    Ok(Message {
        content,
        size: row.size,
        uid: Uid(row.uid),
    })
}
