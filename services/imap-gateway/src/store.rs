//! The mail store, asked with deadlines.

use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use postrider_index::UidSet;
use postrider_proto::mailstore::list_messages_request::Brief;
use postrider_proto::mailstore::mail_store_client::MailStoreClient;
use postrider_proto::mailstore::put_message_request::Part;
use postrider_proto::mailstore::{self as wire, open_folder_request};
use postrider_proto::{Failure, Link, MAX_MESSAGE_BYTES, name_account};
use postrider_types::{AccountId, FolderId, Version};
use tonic::{Request, Response, Status, Streaming};

use crate::failure::{damaged, unavailable};
use crate::settings::Timeouts;

/// Asks for rpcs; cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    link: Link,
    short: Duration,
    long: Duration,
}

/// An answer that comes in pieces; each piece is waited for as long as a short answer.
pub(crate) struct Pieces<T> {
    stream: Streaming<T>,
    deadline: Duration,
}

impl<T> Pieces<T> {
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<T>, Failure> {
        match tokio::time::timeout(self.deadline, self.stream.message()).await {
            Ok(piece) => Ok(piece?),
            Err(_) => Err(no_answer()),
        }
    }
}

impl Store {
    pub fn new(link: Link, timeouts: &Timeouts) -> Self {
        Self {
            link,
            short: timeouts.store,
            long: timeouts.long,
        }
    }

    /// Opens a folder by its name. `known`: the version its index is known at.
    pub async fn open_named(
        &self,
        account: AccountId,
        name: &str,
        known: Version,
    ) -> Result<wire::OpenFolderResponse, Failure> {
        let folder = open_folder_request::Folder::Name(name.into());
        self.open(account, folder, known).await
    }

    /// Opens a folder by its number.
    pub async fn open_numbered(
        &self,
        account: AccountId,
        folder: FolderId,
    ) -> Result<wire::OpenFolderResponse, Failure> {
        let folder = open_folder_request::Folder::Id(folder.0);
        self.open(account, folder, Version(0)).await
    }

    /// What is known of a folder without its index.
    pub async fn folder(&self, account: AccountId, name: &str) -> Result<wire::Folder, Failure> {
        // Whatever version the folder is at, it is not above this.
        let opened = self.open_named(account, name, Version(u64::MAX)).await?;
        opened
            .folder
            .ok_or_else(|| damaged("an opened folder is missing"))
    }

    async fn open(
        &self,
        account: AccountId,
        folder: open_folder_request::Folder,
        known: Version,
    ) -> Result<wire::OpenFolderResponse, Failure> {
        let request = wire::OpenFolderRequest {
            account: account.get(),
            folder: Some(folder),
            known_version: known.0,
        };
        self.ask(self.client().open_folder(request)).await
    }

    /// All folders, and names that are only subscribed.
    pub async fn folders(&self, account: AccountId) -> Result<Vec<wire::Folder>, Failure> {
        let request = wire::ListFoldersRequest {
            account: account.get(),
        };
        Ok(self.ask(self.client().list_folders(request)).await?.folders)
    }

    pub async fn create_folder(
        &self,
        account: AccountId,
        name: String,
        role: &str,
    ) -> Result<wire::CreateFolderResponse, Failure> {
        let request = wire::CreateFolderRequest {
            account: account.get(),
            name,
            role: role.into(),
        };
        self.ask(self.client().create_folder(request)).await
    }

    pub async fn rename_folder(
        &self,
        account: AccountId,
        from: String,
        to: String,
    ) -> Result<Version, Failure> {
        let request = wire::RenameFolderRequest {
            account: account.get(),
            from,
            to,
        };
        let answer = self.ask_long(self.client().rename_folder(request)).await?;
        Ok(Version(answer.version))
    }

    pub async fn delete_folder(&self, account: AccountId, name: String) -> Result<Version, Failure> {
        let request = wire::DeleteFolderRequest {
            account: account.get(),
            name,
        };
        let answer = self.ask_long(self.client().delete_folder(request)).await?;
        Ok(Version(answer.version))
    }

    pub async fn subscribe(&self, account: AccountId, name: String, subscribed: bool) -> Result<(), Failure> {
        let request = wire::SetSubscriptionRequest {
            account: account.get(),
            name,
            subscribed,
        };
        self.ask(self.client().set_subscription(request)).await.map(drop)
    }

    /// How much an account has.
    pub async fn account(&self, account: AccountId) -> Result<wire::GetAccountResponse, Failure> {
        let request = wire::GetAccountRequest {
            account: account.get(),
        };
        self.ask(self.client().get_account(request)).await
    }

    /// Rows of the messages of `uids` that exist, and changed after `since` (0: all).
    pub async fn messages(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: &UidSet,
        since: Version,
        with_description: bool,
    ) -> Result<Pieces<wire::ListMessagesResponse>, Failure> {
        let request = wire::ListMessagesRequest {
            account: account.get(),
            folder: folder.0,
            uids: uids.to_bytes(),
            changed_since: since.0,
            with_description,
            brief: Brief::Unspecified.into(),
        };
        let stream = self.ask(self.client().list_messages(request)).await?;
        Ok(self.pieces(stream))
    }

    /// Columns, or rows, of the messages of `uids` that exist, with as little as is enough.
    pub async fn briefs(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: &UidSet,
        brief: Brief,
    ) -> Result<Pieces<wire::ListMessagesResponse>, Failure> {
        let request = wire::ListMessagesRequest {
            account: account.get(),
            folder: folder.0,
            uids: uids.to_bytes(),
            brief: brief.into(),
            ..wire::ListMessagesRequest::default()
        };
        let stream = self.ask(self.client().list_messages(request)).await?;
        Ok(self.pieces(stream))
    }

    /// The commits after a version that touch a folder.
    pub async fn changes(
        &self,
        account: AccountId,
        folder: FolderId,
        since: Version,
    ) -> Result<Pieces<wire::ListChangesResponse>, Failure> {
        let request = wire::ListChangesRequest {
            account: account.get(),
            since: since.0,
            folder: folder.0,
        };
        let stream = self.ask(self.client().list_changes(request)).await?;
        Ok(self.pieces(stream))
    }

    pub async fn store_flags(
        &self,
        request: wire::StoreFlagsRequest,
    ) -> Result<wire::StoreFlagsResponse, Failure> {
        self.ask_long(self.client().store_flags(request)).await
    }

    pub async fn copy(
        &self,
        request: wire::CopyMessagesRequest,
    ) -> Result<wire::CopyMessagesResponse, Failure> {
        self.ask_long(self.client().copy_messages(request)).await
    }

    /// Removes the messages that bear `\Deleted`; `None`: of the whole folder.
    pub async fn expunge(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: Option<&UidSet>,
    ) -> Result<wire::ExpungeMessagesResponse, Failure> {
        let request = wire::ExpungeMessagesRequest {
            account: account.get(),
            folder: folder.0,
            // No bytes mean "all"; an empty set has some.
            uids: uids.map(UidSet::to_bytes).unwrap_or_default(),
            force: false,
        };
        self.ask_long(self.client().expunge_messages(request)).await
    }

    pub async fn search(
        &self,
        account: AccountId,
        folder: FolderId,
        key: wire::SearchKey,
    ) -> Result<wire::SearchMessagesResponse, Failure> {
        let request = wire::SearchMessagesRequest {
            account: account.get(),
            folder: folder.0,
            key: Some(key),
        };
        self.ask_long(self.client().search_messages(request)).await
    }

    pub async fn append(
        &self,
        request: wire::AppendMessagesRequest,
    ) -> Result<wire::AppendMessagesResponse, Failure> {
        self.ask_long(self.client().append_messages(request)).await
    }

    /// Bytes of a message from an offset; at most 1 MiB, fewer at the end.
    pub async fn content(&self, id: &Bytes, offset: u64, length: u64) -> Result<Bytes, Failure> {
        let request = wire::ReadContentRequest {
            content_id: id.clone(),
            offset,
            length,
        };
        Ok(self.ask(self.client().read_content(request)).await?.data)
    }

    /// Ranges of several messages: of as many of them, from the first on, as the mail store gives at once.
    pub async fn contents(&self, ranges: Vec<wire::ReadContentRequest>) -> Result<Vec<Bytes>, Failure> {
        let request = wire::ReadContentsRequest { ranges };
        let pieces = self.ask(self.client().read_contents(request)).await?.pieces;
        Ok(pieces.into_iter().map(|piece| piece.data).collect())
    }

    /// Stores content that will be in the account as it comes; the stream's end is the content's. The content's id.
    pub async fn put(
        &self,
        account: AccountId,
        max_size: u64,
        chunks: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Bytes, Failure> {
        use futures::StreamExt;
        let request = |part| wire::PutMessageRequest { part: Some(part) };
        let options = request(Part::Options(wire::PutMessageOptions { max_size }));
        let chunks = chunks.map(move |chunk| request(Part::Chunk(chunk)));
        let mut requests = Request::new(futures::stream::iter([options]).chain(chunks));
        name_account(requests.metadata_mut().as_mut(), account);
        // The client decides how long this takes; whoever sends the chunks watches over them.
        let answer = self.client().put_message(requests).await?;
        Ok(answer.into_inner().content_id)
    }

    /// How long the mail store may take over what is not expected to take long.
    pub fn patience(&self) -> Duration {
        self.short
    }

    /// One stream of news for all accounts that are watched.
    pub async fn watch(
        &self,
        requests: impl Stream<Item = wire::WatchRequest> + Send + 'static,
    ) -> Result<Streaming<wire::WatchResponse>, Failure> {
        Ok(self.client().watch(requests).await?.into_inner())
    }

    fn client(&self) -> MailStoreClient<Link> {
        MailStoreClient::new(self.link.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn pieces<T>(&self, stream: Streaming<T>) -> Pieces<T> {
        Pieces {
            stream,
            deadline: self.short,
        }
    }

    async fn ask<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
        within(self.short, call).await
    }

    async fn ask_long<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        within(self.long, call).await
    }
}

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(deadline, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(no_answer()),
    }
}

fn no_answer() -> Failure {
    unavailable("the mail store does not answer")
}
