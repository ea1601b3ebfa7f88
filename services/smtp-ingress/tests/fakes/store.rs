//! A mail store in memory that can be away, slow, full and of unknown outcome.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use postrider_proto::mailstore as pb;
use postrider_proto::mailstore::deliver_result::Outcome;
use postrider_proto::mailstore::mail_store_server::MailStore;
use postrider_types::ContentId;
use tonic::{Request, Response, Status, Streaming};

use super::{Answer, Log, Rows, not_here};

/// How a delivery to an account ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Temporary,
    Full,
    /// Does not happen, and does not answer.
    Hangs,
    /// Happens, and does not answer.
    HappensUnheard,
}

/// Delivery id and content.
type Message = (Vec<u8>, Vec<u8>);

#[derive(Default)]
pub struct Rest {
    pub contents: HashMap<Vec<u8>, Vec<u8>>,
    /// By account.
    pub mailboxes: HashMap<u64, Vec<Message>>,
    pub moods: HashMap<u64, Mood>,
    pub put_away: bool,
    pub deliver_away: bool,
    pub incomplete_puts: usize,
}

#[derive(Clone, Default)]
pub struct FakeStore {
    pub rest: Arc<Mutex<Rest>>,
    pub log: Log,
}

impl FakeStore {
    /// The messages of an account.
    pub fn mailbox(&self, account: u64) -> Vec<String> {
        let rest = self.rest.lock();
        let text = |(_, content): &Message| String::from_utf8_lossy(content).into_owned();
        rest.mailboxes
            .get(&account)
            .map(|messages| messages.iter().map(text).collect())
            .unwrap_or_default()
    }

    pub fn delivery_ids(&self, account: u64) -> Vec<Vec<u8>> {
        let rest = self.rest.lock();
        rest.mailboxes
            .get(&account)
            .map(|it| it.iter().map(|(id, _)| id.clone()).collect())
            .unwrap_or_default()
    }

    pub fn set_mood(&self, account: u64, mood: Option<Mood>) {
        let mut rest = self.rest.lock();
        match mood {
            Some(mood) => drop(rest.moods.insert(account, mood)),
            None => drop(rest.moods.remove(&account)),
        }
    }

    /// Delivers once per delivery id, as the real one.
    pub fn append(&self, account: u64, delivery: Vec<u8>, content: Vec<u8>) -> Outcome {
        let mut rest = self.rest.lock();
        let messages = rest.mailboxes.entry(account).or_default();
        let known: HashSet<&Vec<u8>> = messages.iter().map(|(id, _)| id).collect();
        if known.contains(&delivery) {
            return Outcome::AlreadyDelivered;
        }
        messages.push((delivery, content));
        Outcome::Delivered
    }
}

#[tonic::async_trait]
impl MailStore for FakeStore {
    type ListMessagesStream = Rows<pb::ListMessagesResponse>;
    type ListChangesStream = Rows<pb::ListChangesResponse>;
    type WatchStream = Rows<pb::WatchResponse>;

    async fn put_message(
        &self,
        request: Request<Streaming<pb::PutMessageRequest>>,
    ) -> Answer<pb::PutMessageResponse> {
        let mut parts = request.into_inner();
        if self.rest.lock().put_away {
            return Err(Status::unavailable("away"));
        }
        let (mut content, mut first) = (Vec::new(), true);
        self.rest.lock().incomplete_puts += 1;
        while let Some(part) = parts.message().await? {
            match part.part {
                Some(pb::put_message_request::Part::Options(_)) if first => {}
                Some(pb::put_message_request::Part::Chunk(chunk)) if !first => {
                    content.extend_from_slice(&chunk)
                }
                _ => return Err(Status::invalid_argument("options first, then chunks")),
            }
            first = false;
        }
        let mut rest = self.rest.lock();
        rest.incomplete_puts -= 1;
        let (id, size) = (ContentId::generate().as_bytes().to_vec(), content.len() as u64);
        rest.contents.insert(id.clone(), content);
        self.log.add("put");
        Ok(Response::new(pb::PutMessageResponse {
            content_id: id.into(),
            size,
            facts: None,
        }))
    }

    async fn deliver(&self, request: Request<pb::DeliverRequest>) -> Answer<pb::DeliverResponse> {
        let request = request.into_inner();
        let (id, content) = match request.content {
            Some(pb::deliver_request::Content::Inline(content)) => {
                (request.inline_id.to_vec(), content.to_vec())
            }
            Some(pb::deliver_request::Content::ContentId(id)) => {
                let content = self.rest.lock().contents.get(&id[..]).cloned();
                (id.to_vec(), content.ok_or(Status::not_found("no content"))?)
            }
            None => return Err(Status::invalid_argument("no content")),
        };
        if self.rest.lock().deliver_away {
            return Err(Status::unavailable("away"));
        }
        self.log.add("deliver");
        {
            // As the real one: an id names the same octets for ever.
            let mut rest = self.rest.lock();
            if rest.contents.entry(id.clone()).or_insert_with(|| content.clone()) != &content {
                return Err(Status::invalid_argument("content exists with other bytes"));
            }
        }
        let (mut results, mut hangs) = (Vec::new(), false);
        for recipient in &request.recipients {
            let mood = self.rest.lock().moods.get(&recipient.account).copied();
            let outcome = match mood {
                Some(Mood::Temporary) => Outcome::Temporary,
                Some(Mood::Full) => Outcome::OverQuota,
                Some(Mood::Hangs) => {
                    hangs = true;
                    Outcome::Temporary
                }
                other => {
                    hangs |= other == Some(Mood::HappensUnheard);
                    self.append(recipient.account, recipient.delivery_id.to_vec(), content.clone())
                }
            };
            results.push(pb::DeliverResult {
                outcome: outcome.into(),
                ..pb::DeliverResult::default()
            });
        }
        if hangs {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(pb::DeliverResponse {
            content_id: id.into(),
            results,
        }))
    }

    async fn read_content(
        &self,
        request: Request<pb::ReadContentRequest>,
    ) -> Answer<pb::ReadContentResponse> {
        let request = request.into_inner();
        let rest = self.rest.lock();
        let content = rest
            .contents
            .get(&request.content_id[..])
            .ok_or(Status::not_found("no content"))?;
        let from = content.len().min(request.offset as usize);
        let to = content.len().min(from + request.length as usize);
        let data = content[from..to].to_vec().into();
        Ok(Response::new(pb::ReadContentResponse {
            data,
            total_size: content.len() as u64,
        }))
    }

    async fn watch(&self, _: Request<Streaming<pb::WatchRequest>>) -> Answer<Rows<pb::WatchResponse>> {
        Err(not_here())
    }

    async fn read_contents(&self, _: Request<pb::ReadContentsRequest>) -> Answer<pb::ReadContentsResponse> {
        Err(not_here())
    }
    async fn get_account(&self, _: Request<pb::GetAccountRequest>) -> Answer<pb::GetAccountResponse> {
        Err(not_here())
    }
    async fn remove_account(
        &self,
        _: Request<pb::RemoveAccountRequest>,
    ) -> Answer<pb::RemoveAccountResponse> {
        Err(not_here())
    }
    async fn list_folders(&self, _: Request<pb::ListFoldersRequest>) -> Answer<pb::ListFoldersResponse> {
        Err(not_here())
    }
    async fn create_folder(&self, _: Request<pb::CreateFolderRequest>) -> Answer<pb::CreateFolderResponse> {
        Err(not_here())
    }
    async fn rename_folder(&self, _: Request<pb::RenameFolderRequest>) -> Answer<pb::RenameFolderResponse> {
        Err(not_here())
    }
    async fn delete_folder(&self, _: Request<pb::DeleteFolderRequest>) -> Answer<pb::DeleteFolderResponse> {
        Err(not_here())
    }
    async fn set_subscription(
        &self,
        _: Request<pb::SetSubscriptionRequest>,
    ) -> Answer<pb::SetSubscriptionResponse> {
        Err(not_here())
    }
    async fn open_folder(&self, _: Request<pb::OpenFolderRequest>) -> Answer<pb::OpenFolderResponse> {
        Err(not_here())
    }
    async fn list_messages(
        &self,
        _: Request<pb::ListMessagesRequest>,
    ) -> Answer<Rows<pb::ListMessagesResponse>> {
        Err(not_here())
    }
    async fn append_messages(
        &self,
        _: Request<pb::AppendMessagesRequest>,
    ) -> Answer<pb::AppendMessagesResponse> {
        Err(not_here())
    }
    async fn store_flags(&self, _: Request<pb::StoreFlagsRequest>) -> Answer<pb::StoreFlagsResponse> {
        Err(not_here())
    }
    async fn copy_messages(&self, _: Request<pb::CopyMessagesRequest>) -> Answer<pb::CopyMessagesResponse> {
        Err(not_here())
    }
    async fn expunge_messages(
        &self,
        _: Request<pb::ExpungeMessagesRequest>,
    ) -> Answer<pb::ExpungeMessagesResponse> {
        Err(not_here())
    }
    async fn search_messages(
        &self,
        _: Request<pb::SearchMessagesRequest>,
    ) -> Answer<pb::SearchMessagesResponse> {
        Err(not_here())
    }
    async fn list_changes(
        &self,
        _: Request<pb::ListChangesRequest>,
    ) -> Answer<Rows<pb::ListChangesResponse>> {
        Err(not_here())
    }
}
