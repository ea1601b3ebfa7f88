//! The contract `postrider.mailstore.v1`: decode, call, encode.

use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use postrider_proto::Failure;
use postrider_proto::mailstore::list_messages_request::Brief;
use postrider_proto::mailstore::{self as wire, mail_store_server};
use postrider_types::{FolderId, Version};
use tonic::{Request, Response, Status, Streaming};

use crate::append::NewEntry;
use crate::changes::{Changes, Page};
use crate::columns::Columns;
use crate::copy::Copy;
use crate::delivery::{MAX_RECIPIENTS, Recipient, Source};
use crate::failure::invalid;
use crate::flags::{self, StoreFlags};
use crate::folders::FolderRef;
use crate::rows::Pages;
use crate::service::Service;
use crate::watch::Watch;
use crate::{decode, encode};

/// The server of the contract; cheap to clone. `MailStoreServer::new(mail_store)` serves it, over the network or through
/// `postrider_proto::Link::local`.
#[derive(Clone)]
pub struct MailStore {
    service: Arc<Service>,
}

impl MailStore {
    pub(crate) fn new(service: Service) -> Self {
        Self {
            service: Arc::new(service),
        }
    }

    /// What has to run beside the server: expiry and sweeping, hints of other instances, a slow look at watched
    /// accounts. It never ends; drop it to stop it, at any moment.
    pub fn background(&self) -> impl Future<Output = ()> + Send + 'static {
        let service = self.service.clone();
        async move {
            tokio::join!(
                service.keep_house(),
                service.follow_hints(),
                service.poll_watched()
            );
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl mail_store_server::MailStore for MailStore {
    async fn put_message(
        &self,
        request: Request<Streaming<wire::PutMessageRequest>>,
    ) -> Answer<wire::PutMessageResponse> {
        use wire::put_message_request::Part;
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|request| request.part);
        let Some(Part::Options(options)) = first else {
            return Err(invalid("the first request of a message has its options").into());
        };
        let chunks = requests.map(|request| match request.map_err(Failure::from)?.part {
            Some(Part::Chunk(chunk)) => Ok(chunk),
            _ => Err(invalid("the options are followed by chunks only")),
        });
        let (id, described) = self.service.put_message(options.max_size, chunks).await?;
        answer(wire::PutMessageResponse {
            content_id: id.as_bytes().to_vec().into(),
            size: described.size,
            facts: Some(encode::facts(&described.facts)),
        })
    }

    async fn deliver(&self, request: Request<wire::DeliverRequest>) -> Answer<wire::DeliverResponse> {
        let wire::DeliverRequest {
            content,
            recipients,
            received,
            inline_id,
        } = request.into_inner();
        let source = match content {
            Some(wire::deliver_request::Content::Inline(data)) => {
                Source::Inline(decode::inline_id(&inline_id)?, decode::inline(data)?)
            }
            Some(wire::deliver_request::Content::ContentId(id)) => Source::Stored(decode::content(&id)?),
            None => return Err(invalid("there is nothing to deliver").into()),
        };
        if recipients.len() > MAX_RECIPIENTS {
            return Err(invalid(format!(
                "a message is delivered to at most {MAX_RECIPIENTS} recipients at a time"
            ))
            .into());
        }
        let recipients = recipients
            .into_iter()
            .map(recipient)
            .collect::<Result<Vec<_>, _>>()?;
        let (id, results) = self
            .service
            .deliver(source, decode::time(received)?, recipients)
            .await?;
        answer(wire::DeliverResponse {
            content_id: id.as_bytes().to_vec().into(),
            results: results.into_iter().map(encode::delivered).collect(),
        })
    }

    async fn read_content(
        &self,
        request: Request<wire::ReadContentRequest>,
    ) -> Answer<wire::ReadContentResponse> {
        let range = decode::content_range(&request.into_inner())?;
        let piece = self.service.read_content(range).await?;
        answer(wire::ReadContentResponse {
            data: piece.data,
            total_size: piece.total,
        })
    }

    async fn read_contents(
        &self,
        request: Request<wire::ReadContentsRequest>,
    ) -> Answer<wire::ReadContentsResponse> {
        let ranges = request.into_inner().ranges;
        let ranges = ranges
            .iter()
            .map(decode::content_range)
            .collect::<Result<Vec<_>, _>>()?;
        let pieces = self.service.read_contents(&ranges).await?;
        let pieces = pieces.into_iter().map(|piece| wire::ReadContentResponse {
            data: piece.data,
            total_size: piece.total,
        });
        answer(wire::ReadContentsResponse {
            pieces: pieces.collect(),
        })
    }

    async fn get_account(
        &self,
        request: Request<wire::GetAccountRequest>,
    ) -> Answer<wire::GetAccountResponse> {
        let head = self
            .service
            .account(decode::account(request.into_inner().account)?)
            .await?;
        answer(wire::GetAccountResponse {
            version: head.version.0,
            used_bytes: head.used,
            messages: head.messages,
        })
    }

    async fn remove_account(
        &self,
        request: Request<wire::RemoveAccountRequest>,
    ) -> Answer<wire::RemoveAccountResponse> {
        self.service
            .remove_account(decode::account(request.into_inner().account)?)
            .await?;
        answer(wire::RemoveAccountResponse {})
    }

    async fn list_folders(
        &self,
        request: Request<wire::ListFoldersRequest>,
    ) -> Answer<wire::ListFoldersResponse> {
        let (version, rows) = self
            .service
            .list_folders(decode::account(request.into_inner().account)?)
            .await?;
        let folders = rows.iter().map(|row| encode::folder(row)).collect();
        answer(wire::ListFoldersResponse {
            version: version.0,
            folders,
        })
    }

    async fn create_folder(
        &self,
        request: Request<wire::CreateFolderRequest>,
    ) -> Answer<wire::CreateFolderResponse> {
        let wire::CreateFolderRequest { account, name, role } = request.into_inner();
        let (version, row) = self
            .service
            .create_folder(decode::account(account)?, &name, &role)
            .await?;
        answer(wire::CreateFolderResponse {
            version: version.0,
            folder: Some(encode::folder(&row)),
        })
    }

    async fn rename_folder(
        &self,
        request: Request<wire::RenameFolderRequest>,
    ) -> Answer<wire::RenameFolderResponse> {
        let wire::RenameFolderRequest { account, from, to } = request.into_inner();
        let version = self
            .service
            .rename_folder(decode::account(account)?, &from, &to)
            .await?;
        answer(wire::RenameFolderResponse { version: version.0 })
    }

    async fn delete_folder(
        &self,
        request: Request<wire::DeleteFolderRequest>,
    ) -> Answer<wire::DeleteFolderResponse> {
        let wire::DeleteFolderRequest { account, name } = request.into_inner();
        let version = self
            .service
            .delete_folder(decode::account(account)?, &name)
            .await?;
        answer(wire::DeleteFolderResponse { version: version.0 })
    }

    async fn set_subscription(
        &self,
        request: Request<wire::SetSubscriptionRequest>,
    ) -> Answer<wire::SetSubscriptionResponse> {
        let wire::SetSubscriptionRequest {
            account,
            name,
            subscribed,
        } = request.into_inner();
        let version = self
            .service
            .set_subscription(decode::account(account)?, &name, subscribed)
            .await?;
        answer(wire::SetSubscriptionResponse { version: version.0 })
    }

    async fn open_folder(
        &self,
        request: Request<wire::OpenFolderRequest>,
    ) -> Answer<wire::OpenFolderResponse> {
        let wire::OpenFolderRequest {
            account,
            folder,
            known_version,
        } = request.into_inner();
        let folder = match folder {
            Some(wire::open_folder_request::Folder::Name(name)) => FolderRef::Name(name),
            Some(wire::open_folder_request::Folder::Id(id)) => FolderRef::Id(decode::folder(id)?),
            None => return Err(invalid("no folder is named").into()),
        };
        let opened = self
            .service
            .open_folder(decode::account(account)?, folder, Version(known_version))
            .await?;
        answer(wire::OpenFolderResponse {
            version: opened.version.0,
            folder: Some(encode::folder(&opened.row)),
            index: opened.index.map(|index| index.to_bytes()).unwrap_or_default(),
            keywords: encode::keywords(&opened.row.keywords),
        })
    }

    type ListMessagesStream = Answers<wire::ListMessagesResponse>;

    async fn list_messages(
        &self,
        request: Request<wire::ListMessagesRequest>,
    ) -> Answer<Self::ListMessagesStream> {
        let wire::ListMessagesRequest {
            account,
            folder,
            uids,
            changed_since,
            with_description,
            brief,
        } = request.into_inner();
        let uids = decode::uids_or_all(&uids)?;
        let (account, folder) = (decode::account(account)?, decode::folder(folder)?);
        let since = Version(changed_since);
        let brief = Brief::try_from(brief).map_err(|_| invalid("unknown brevity"))?;
        if brief != Brief::Unspecified {
            if since > Version(0) || with_description {
                return Err(invalid("what is brief has neither changes nor descriptions").into());
            }
            let with_sizes = brief == Brief::Sizes;
            let columns = self
                .service
                .list_columns(account, folder, uids.as_ref(), with_sizes);
            if let Some(columns) = columns.await? {
                return answer(columns_of(columns).boxed());
            }
        }
        let pages = self
            .service
            .list_messages(account, folder, uids, since, with_description)
            .await?;
        answer(messages(pages, since).boxed())
    }

    async fn append_messages(
        &self,
        request: Request<wire::AppendMessagesRequest>,
    ) -> Answer<wire::AppendMessagesResponse> {
        let wire::AppendMessagesRequest {
            account,
            folder,
            quota,
            messages,
        } = request.into_inner();
        let (account, folder) = (decode::account(account)?, decode::folder(folder)?);
        let entries = messages.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let appended = self.service.append(account, folder, quota, entries).await?;
        answer(wire::AppendMessagesResponse {
            version: appended.version.0,
            uid_validity: appended.uid_validity,
            uids: appended.uids.iter().map(|uid| uid.0).collect(),
            content_ids: appended
                .contents
                .iter()
                .map(|id| id.as_bytes().to_vec().into())
                .collect(),
        })
    }

    async fn store_flags(
        &self,
        request: Request<wire::StoreFlagsRequest>,
    ) -> Answer<wire::StoreFlagsResponse> {
        use wire::store_flags_request::Operation;
        let request = request.into_inner();
        let change = match request.operation() {
            Operation::Add => flags::Change::Add,
            Operation::Remove => flags::Change::Remove,
            Operation::Replace => flags::Change::Replace,
            Operation::Unspecified => return Err(invalid("flags are added, removed or replaced").into()),
        };
        let store = StoreFlags {
            folder: decode::folder(request.folder)?,
            change,
            flags: decode::flags(request.flags)?,
            keywords: decode::keywords(&request.keywords)?,
            unchanged_since: request.unchanged_since.map(Version),
        };
        let uids = decode::uids(&request.uids)?;
        let stored = self
            .service
            .store_flags(decode::account(request.account)?, &uids, store)
            .await?;
        answer(wire::StoreFlagsResponse {
            version: stored.version.0,
            messages: stored.messages.iter().map(encode::flags_of).collect(),
            modified: stored.modified.to_bytes(),
            changed: stored.changed.to_bytes(),
        })
    }

    async fn copy_messages(
        &self,
        request: Request<wire::CopyMessagesRequest>,
    ) -> Answer<wire::CopyMessagesResponse> {
        let wire::CopyMessagesRequest {
            account,
            folder,
            uids,
            destination,
            r#move,
            quota,
        } = request.into_inner();
        let copy = Copy {
            from: decode::folder(folder)?,
            to: decode::folder(destination)?,
            remove: r#move,
            quota,
        };
        let copied = self
            .service
            .copy(decode::account(account)?, &decode::uids(&uids)?, copy)
            .await?;
        let (source_uids, destination_uids) = copied.pairs.iter().map(|(from, to)| (from.0, to.0)).unzip();
        answer(wire::CopyMessagesResponse {
            version: copied.version.0,
            uid_validity: copied.uid_validity,
            source_uids,
            destination_uids,
        })
    }

    async fn expunge_messages(
        &self,
        request: Request<wire::ExpungeMessagesRequest>,
    ) -> Answer<wire::ExpungeMessagesResponse> {
        let wire::ExpungeMessagesRequest {
            account,
            folder,
            uids,
            force,
        } = request.into_inner();
        let (account, folder) = (decode::account(account)?, decode::folder(folder)?);
        let uids = decode::uids_or_all(&uids)?;
        let (version, gone) = self
            .service
            .expunge(account, folder, uids.as_ref(), force)
            .await?;
        answer(wire::ExpungeMessagesResponse {
            version: version.0,
            expunged: gone.to_bytes(),
        })
    }

    async fn search_messages(
        &self,
        request: Request<wire::SearchMessagesRequest>,
    ) -> Answer<wire::SearchMessagesResponse> {
        let wire::SearchMessagesRequest { account, folder, key } = request.into_inner();
        let key = key.ok_or_else(|| invalid("nothing is searched for"))?;
        let found = self
            .service
            .search(decode::account(account)?, decode::folder(folder)?, key)
            .await?;
        answer(wire::SearchMessagesResponse {
            version: found.version.0,
            uids: found.uids.to_bytes(),
            highest_modseq: found.highest_modseq.0,
        })
    }

    type ListChangesStream = Answers<wire::ListChangesResponse>;

    async fn list_changes(
        &self,
        request: Request<wire::ListChangesRequest>,
    ) -> Answer<Self::ListChangesStream> {
        let wire::ListChangesRequest {
            account,
            since,
            folder,
        } = request.into_inner();
        let folder = (folder != 0).then_some(FolderId(folder));
        let account = decode::account(account)?;
        let (changes, first) = Changes::new(self.service.clone(), account, Version(since), folder).await?;
        let rest = stream::try_unfold(changes, |mut changes| async move {
            Ok(changes.next().await?.map(|page| (page, changes)))
        });
        let pages = stream::iter(first.map(Ok)).chain(rest);
        let pages = pages.map_err(|failure: Failure| Status::from(failure));
        answer(pages.map_ok(commits).try_flatten().boxed())
    }

    type WatchStream = Answers<wire::WatchResponse>;

    async fn watch(&self, request: Request<Streaming<wire::WatchRequest>>) -> Answer<Self::WatchStream> {
        answer(news(Watch::new(self.service.clone()), request.into_inner()).boxed())
    }
}

fn answer<T>(value: T) -> Answer<T> {
    Ok(Response::new(value))
}

fn recipient(recipient: wire::DeliverRecipient) -> Result<Recipient, Failure> {
    Ok(Recipient {
        account: decode::account(recipient.account)?,
        delivery: decode::delivery(&recipient.delivery_id)?,
        folder: recipient.folder,
        quota: recipient.quota,
        flags: decode::flags(recipient.flags)?,
        keywords: decode::keywords(&recipient.keywords)?,
    })
}

fn entry(message: wire::AppendMessage) -> Result<NewEntry, Failure> {
    use wire::append_message::Content;
    let source = match message.content {
        Some(Content::Inline(data)) => Source::Inline(decode::inline_id(&[])?, decode::inline(data)?),
        Some(Content::ContentId(id)) => Source::Stored(decode::content(&id)?),
        None => return Err(invalid("there is nothing to append")),
    };
    Ok(NewEntry {
        source,
        received: decode::time(message.received)?,
        flags: decode::flags(message.flags)?,
        keywords: decode::keywords(&message.keywords)?,
    })
}

/// Pages of rows as answers; rows that did not change since are left out.
fn messages(pages: Pages, since: Version) -> impl Stream<Item = Result<wire::ListMessagesResponse, Status>> {
    stream::try_unfold(pages, move |mut pages| async move {
        let Some(page) = pages.next().await? else {
            return Ok(None);
        };
        let answers = encode::portions(encode::messages(page, since), encode::message_size)
            .into_iter()
            .map(|messages| {
                Ok(wire::ListMessagesResponse {
                    messages,
                    columns: None,
                })
            });
        Ok::<_, Status>(Some((stream::iter(answers), pages)))
    })
    .try_flatten()
}

/// Pieces of columns as answers.
fn columns_of(columns: Columns) -> impl Stream<Item = Result<wire::ListMessagesResponse, Status>> {
    stream::try_unfold(columns, |mut columns| async move {
        let piece = columns.next().await?;
        Ok(piece.map(|piece| (encode::columns(piece), columns)))
    })
}

/// A page of commits as answers.
fn commits(page: Page) -> impl Stream<Item = Result<wire::ListChangesResponse, Status>> {
    let all = page.commits.iter().map(|row| encode::commit(row)).collect();
    let mut portions = encode::portions(all, encode::commit_size);
    if page.resync {
        // It says something without commits too.
        portions.resize_with(portions.len().max(1), Vec::new);
    }
    stream::iter(portions.into_iter().map(move |commits| {
        Ok(wire::ListChangesResponse {
            resync: page.resync,
            commits,
        })
    }))
}

/// What a watcher is told, while what it asks is taken in. Ends when the requests end.
fn news(
    watch: Watch,
    requests: Streaming<wire::WatchRequest>,
) -> impl Stream<Item = Result<wire::WatchResponse, Status>> {
    /// How many accounts' versions are looked up at once.
    const PARALLEL: usize = 32;
    let watch = Arc::new(watch);
    let asked = watch.clone();
    let asking = requests
        .map(move |request| {
            let watch = asked.clone();
            // Entered in the order of the requests; only the look at the account may be overtaken.
            let entered = request.map_err(Failure::from).and_then(|request| {
                let account = decode::account(request.account)?;
                if request.stop {
                    watch.stop(account);
                    return Ok(None);
                }
                watch.enter(account, Version(request.since))?;
                Ok(Some(account))
            });
            async move {
                match entered? {
                    Some(account) => watch.look(account).await,
                    None => Ok(()),
                }
            }
        })
        .buffer_unordered(PARALLEL)
        .filter_map(|looked| async move { looked.err() })
        .map(|failure| Some(Err(failure.into())))
        .chain(stream::once(async { None }));
    let telling = stream::unfold(watch, |watch| async move {
        let (account, version) = watch.next().await;
        let response = wire::WatchResponse {
            account: account.get(),
            version: version.0,
        };
        Some((Some(Ok(response)), watch))
    });
    // `None`: the requests have ended.
    stream::select(asking, telling)
        .take_while(|news| std::future::ready(news.is_some()))
        .filter_map(std::future::ready)
}
