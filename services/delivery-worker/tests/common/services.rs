//! The mail-store and the directory as the worker sees them: a table each.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use postrider_proto::directory as dir;
use postrider_proto::directory::directory_server::Directory;
use postrider_proto::mailstore as ms;
use postrider_proto::mailstore::mail_store_server::MailStore;
use tonic::{Request, Response, Status, Streaming};

type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = BoxStream<'static, Result<T, Status>>;

/// A mail-store that keeps contents, and mailboxes as lists of contents.
#[derive(Clone, Default)]
pub struct Store(pub Arc<Mutex<Mailboxes>>);

#[derive(Default)]
pub struct Mailboxes {
    pub contents: HashMap<Vec<u8>, Bytes>,
    pub accounts: HashMap<u64, Vec<Bytes>>,
    pub receipts: HashSet<Vec<u8>>,
    /// Every call fails.
    pub away: bool,
}

impl Store {
    pub fn put(&self, text: &str) -> postrider_types::ContentId {
        let id = postrider_types::ContentId::generate();
        self.0
            .lock()
            .contents
            .insert(id.as_bytes().to_vec(), Bytes::from(text.to_owned()));
        id
    }

    pub fn mailbox(&self, account: u64) -> Vec<String> {
        let boxes = self.0.lock();
        let messages = boxes.accounts.get(&account).cloned().unwrap_or_default();
        messages
            .iter()
            .map(|message| String::from_utf8_lossy(message).into_owned())
            .collect()
    }

    fn here(&self) -> Result<parking_lot::MutexGuard<'_, Mailboxes>, Status> {
        let boxes = self.0.lock();
        if boxes.away {
            Err(Status::unavailable("away"))
        } else {
            Ok(boxes)
        }
    }
}

macro_rules! not_here {
    ($($name:ident($request:ty) -> $answer:ty;)*) => {
        $(fn $name<'a, 'b>(&'a self, _: Request<$request>)
            -> std::pin::Pin<Box<dyn Future<Output = Answer<$answer>> + Send + 'b>> where 'a: 'b, Self: 'b {
            Box::pin(async { Err(Status::unimplemented("not here")) })
        })*
    };
}

#[tonic::async_trait]
impl MailStore for Store {
    async fn put_message(
        &self,
        request: Request<Streaming<ms::PutMessageRequest>>,
    ) -> Answer<ms::PutMessageResponse> {
        drop(self.here()?);
        let (mut pieces, mut whole) = (request.into_inner(), Vec::new());
        while let Some(piece) = pieces.next().await {
            if let Some(ms::put_message_request::Part::Chunk(piece)) = piece?.part {
                whole.extend_from_slice(&piece);
            }
        }
        let size = whole.len() as u64;
        let id = postrider_types::ContentId::generate().as_bytes().to_vec();
        self.here()?.contents.insert(id.clone(), whole.into());
        Ok(Response::new(ms::PutMessageResponse {
            content_id: id.into(),
            size,
            facts: None,
        }))
    }

    async fn deliver(&self, request: Request<ms::DeliverRequest>) -> Answer<ms::DeliverResponse> {
        let request = request.into_inner();
        let mut boxes = self.here()?;
        let Some(ms::deliver_request::Content::ContentId(id)) = request.content else {
            return Err(Status::invalid_argument("by id"));
        };
        let Some(content) = boxes.contents.get(&id[..]).cloned() else {
            return Err(Status::not_found("content"));
        };
        let deliver = |to: ms::DeliverRecipient| {
            let outcome = if boxes.receipts.insert(to.delivery_id.to_vec()) {
                boxes
                    .accounts
                    .entry(to.account)
                    .or_default()
                    .push(content.clone());
                ms::deliver_result::Outcome::Delivered
            } else {
                ms::deliver_result::Outcome::AlreadyDelivered
            };
            ms::DeliverResult {
                outcome: outcome.into(),
                ..Default::default()
            }
        };
        let results = request.recipients.into_iter().map(deliver).collect();
        Ok(Response::new(ms::DeliverResponse {
            content_id: id,
            results,
        }))
    }

    async fn read_content(
        &self,
        request: Request<ms::ReadContentRequest>,
    ) -> Answer<ms::ReadContentResponse> {
        let request = request.into_inner();
        assert!(request.length > 0 && request.length <= 1 << 20);
        let boxes = self.here()?;
        let Some(content) = boxes.contents.get(&request.content_id[..]) else {
            return Err(Status::not_found("content"));
        };
        let from = usize::try_from(request.offset).unwrap().min(content.len());
        let to = (from + usize::try_from(request.length).unwrap()).min(content.len());
        Ok(Response::new(ms::ReadContentResponse {
            data: content.slice(from..to),
            total_size: content.len() as u64,
        }))
    }

    type ListMessagesStream = Streamed<ms::ListMessagesResponse>;
    type ListChangesStream = Streamed<ms::ListChangesResponse>;
    type WatchStream = Streamed<ms::WatchResponse>;

    not_here! {
        read_contents(ms::ReadContentsRequest) -> ms::ReadContentsResponse;
        get_account(ms::GetAccountRequest) -> ms::GetAccountResponse;
        remove_account(ms::RemoveAccountRequest) -> ms::RemoveAccountResponse;
        list_folders(ms::ListFoldersRequest) -> ms::ListFoldersResponse;
        create_folder(ms::CreateFolderRequest) -> ms::CreateFolderResponse;
        rename_folder(ms::RenameFolderRequest) -> ms::RenameFolderResponse;
        delete_folder(ms::DeleteFolderRequest) -> ms::DeleteFolderResponse;
        set_subscription(ms::SetSubscriptionRequest) -> ms::SetSubscriptionResponse;
        open_folder(ms::OpenFolderRequest) -> ms::OpenFolderResponse;
        list_messages(ms::ListMessagesRequest) -> Streamed<ms::ListMessagesResponse>;
        append_messages(ms::AppendMessagesRequest) -> ms::AppendMessagesResponse;
        store_flags(ms::StoreFlagsRequest) -> ms::StoreFlagsResponse;
        copy_messages(ms::CopyMessagesRequest) -> ms::CopyMessagesResponse;
        expunge_messages(ms::ExpungeMessagesRequest) -> ms::ExpungeMessagesResponse;
        search_messages(ms::SearchMessagesRequest) -> ms::SearchMessagesResponse;
        list_changes(ms::ListChangesRequest) -> Streamed<ms::ListChangesResponse>;
        watch(Streaming<ms::WatchRequest>) -> Streamed<ms::WatchResponse>;
    }
}

/// A directory in which `alice@crepes.fr` has account 1, and every other address is elsewhere.
#[derive(Clone, Default)]
pub struct Addresses;

#[tonic::async_trait]
impl Directory for Addresses {
    async fn resolve(&self, request: Request<dir::ResolveRequest>) -> Answer<dir::ResolveResponse> {
        let address = request.into_inner().address;
        let (kind, targets) = if address == "alice@crepes.fr" {
            let local = dir::LocalTarget {
                account: 1,
                quota: 0,
                address,
            };
            (
                dir::resolve_response::Kind::Local,
                vec![dir::Target {
                    to: Some(dir::target::To::Local(local)),
                }],
            )
        } else if address.ends_with("@crepes.fr") {
            (dir::resolve_response::Kind::UnknownUser, Vec::new())
        } else {
            (dir::resolve_response::Kind::Remote, Vec::new())
        };
        Ok(Response::new(dir::ResolveResponse {
            kind: kind.into(),
            targets,
        }))
    }

    type ListDomainsStream = Streamed<dir::Domain>;
    type ListAccountsStream = Streamed<dir::Account>;
    type ListAliasesStream = Streamed<dir::Alias>;

    not_here! {
        authenticate(dir::AuthenticateRequest) -> dir::AuthenticateResponse;
        get_scram_verifier(dir::GetScramVerifierRequest) -> dir::GetScramVerifierResponse;
        may_send_as(dir::MaySendAsRequest) -> dir::MaySendAsResponse;
        add_domain(dir::AddDomainRequest) -> dir::Domain;
        list_domains(dir::ListDomainsRequest) -> Streamed<dir::Domain>;
        remove_domain(dir::RemoveDomainRequest) -> dir::RemoveDomainResponse;
        add_account(dir::AddAccountRequest) -> dir::AddAccountResponse;
        list_accounts(dir::ListAccountsRequest) -> Streamed<dir::Account>;
        get_account(dir::GetAccountRequest) -> dir::Account;
        set_password(dir::SetPasswordRequest) -> dir::SetPasswordResponse;
        update_account(dir::UpdateAccountRequest) -> dir::Account;
        remove_account(dir::RemoveAccountRequest) -> dir::RemoveAccountResponse;
        add_app_password(dir::AddAppPasswordRequest) -> dir::AddAppPasswordResponse;
        list_app_passwords(dir::ListAppPasswordsRequest) -> dir::ListAppPasswordsResponse;
        remove_app_password(dir::RemoveAppPasswordRequest) -> dir::RemoveAppPasswordResponse;
        add_alias(dir::AddAliasRequest) -> dir::Alias;
        list_aliases(dir::ListAliasesRequest) -> Streamed<dir::Alias>;
        remove_alias(dir::RemoveAliasRequest) -> dir::RemoveAliasResponse;
    }
}
