//! A directory and a mail store in memory, behind the contracts' generated server traits, that can be switched off.

// A fake fails by panicking, as a test does.
#![allow(clippy::unwrap_used)]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::Stream;
use parking_lot::Mutex;
use postrider_index::UidSet;
use postrider_proto::directory::directory_server::Directory;
use postrider_proto::mailstore::mail_store_server::MailStore;
use postrider_proto::{directory as d, mailstore as m};
use postrider_sasl::Verifier;
use postrider_types::Uid;
use tonic::{Request, Response, Status, Streaming};

type Answer<T> = Result<Response<T>, Status>;
type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The account of `bob@hamburger.edu`.
pub const BOB: u64 = 7;

/// What both fakes share with the test.
#[derive(Default)]
pub struct World {
    pub directory_away: AtomicBool,
    pub store_away: AtomicBool,
    /// Reads fail behind this offset, when it is not 0.
    pub break_at: AtomicUsize,
    /// How many bytes one read gives at most, when it is not 0.
    pub most_at_once: AtomicUsize,
    pub messages: Mutex<Vec<(u32, Vec<u8>)>>,
    pub expunges: Mutex<Vec<Vec<u32>>>,
    /// How many messages each ReadContents gave.
    pub read_together: Mutex<Vec<usize>>,
    pub authentications: AtomicUsize,
}

impl World {
    pub fn with(messages: &[&[u8]]) -> Arc<Self> {
        let world = Self::default();
        *world.messages.lock() = messages
            .iter()
            .enumerate()
            .map(|(place, text)| (10 + place as u32, text.to_vec()))
            .collect();
        Arc::new(world)
    }

    fn check(away: &AtomicBool) -> Result<(), Status> {
        if away.load(Ordering::Relaxed) {
            Err(Status::unavailable("switched off"))
        } else {
            Ok(())
        }
    }
}

/// The content id of the message with this UID.
fn content_id(uid: u32) -> Vec<u8> {
    [&[0; 12], uid.to_be_bytes().as_slice()].concat()
}

fn identity() -> d::AuthenticateResponse {
    d::AuthenticateResponse {
        account: BOB,
        address: "bob@hamburger.edu".into(),
        quota: 0,
    }
}

pub struct FakeDirectory(pub Arc<World>);

macro_rules! not_needed {
    ($($name:ident($request:ty) -> $response:ty;)*) => {
        $(
            fn $name<'life0, 'async_trait>(
                &'life0 self,
                _: Request<$request>,
            ) -> Pin<Box<dyn Future<Output = Answer<$response>> + Send + 'async_trait>>
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                Box::pin(async { Err(Status::unimplemented(stringify!($name))) })
            }
        )*
    };
}

#[tonic::async_trait]
impl Directory for FakeDirectory {
    async fn authenticate(
        &self,
        request: Request<d::AuthenticateRequest>,
    ) -> Answer<d::AuthenticateResponse> {
        World::check(&self.0.directory_away)?;
        self.0.authentications.fetch_add(1, Ordering::Relaxed);
        let request = request.into_inner();
        assert_eq!(
            (request.service.as_str(), request.peer.as_str()),
            ("pop3", "127.0.0.1")
        );
        match (request.user.as_str(), request.password.as_ref()) {
            ("bob", b"hungry") => Ok(Response::new(identity())),
            _ => Err(Status::unauthenticated("wrong user name or password")),
        }
    }

    async fn get_scram_verifier(
        &self,
        request: Request<d::GetScramVerifierRequest>,
    ) -> Answer<d::GetScramVerifierResponse> {
        World::check(&self.0.directory_away)?;
        let known = request.into_inner().user == "bob";
        let verifier = Verifier::derive(if known { b"hungry" } else { b"nobody" }, b"salt", 4096);
        Ok(Response::new(d::GetScramVerifierResponse {
            salt: verifier.salt.into(),
            iterations: verifier.iterations,
            stored_key: verifier.stored_key.to_vec().into(),
            server_key: verifier.server_key.to_vec().into(),
            identity: Some(if known { identity() } else { Default::default() }),
        }))
    }

    type ListDomainsStream = Items<d::Domain>;
    type ListAccountsStream = Items<d::Account>;
    type ListAliasesStream = Items<d::Alias>;

    not_needed! {
        resolve(d::ResolveRequest) -> d::ResolveResponse;
        may_send_as(d::MaySendAsRequest) -> d::MaySendAsResponse;
        add_domain(d::AddDomainRequest) -> d::Domain;
        list_domains(d::ListDomainsRequest) -> Self::ListDomainsStream;
        remove_domain(d::RemoveDomainRequest) -> d::RemoveDomainResponse;
        add_account(d::AddAccountRequest) -> d::AddAccountResponse;
        list_accounts(d::ListAccountsRequest) -> Self::ListAccountsStream;
        get_account(d::GetAccountRequest) -> d::Account;
        set_password(d::SetPasswordRequest) -> d::SetPasswordResponse;
        update_account(d::UpdateAccountRequest) -> d::Account;
        remove_account(d::RemoveAccountRequest) -> d::RemoveAccountResponse;
        add_app_password(d::AddAppPasswordRequest) -> d::AddAppPasswordResponse;
        list_app_passwords(d::ListAppPasswordsRequest) -> d::ListAppPasswordsResponse;
        remove_app_password(d::RemoveAppPasswordRequest) -> d::RemoveAppPasswordResponse;
        add_alias(d::AddAliasRequest) -> d::Alias;
        list_aliases(d::ListAliasesRequest) -> Self::ListAliasesStream;
        remove_alias(d::RemoveAliasRequest) -> d::RemoveAliasResponse;
    }
}

pub struct FakeStore(pub Arc<World>);

#[tonic::async_trait]
impl MailStore for FakeStore {
    async fn open_folder(&self, request: Request<m::OpenFolderRequest>) -> Answer<m::OpenFolderResponse> {
        World::check(&self.0.store_away)?;
        assert_eq!(request.into_inner().account, BOB);
        let messages = self.0.messages.lock();
        let folder = m::Folder {
            id: 1,
            uid_validity: 99,
            messages: messages.len() as u32,
            exists: true,
            ..Default::default()
        };
        Ok(Response::new(m::OpenFolderResponse {
            folder: Some(folder),
            ..Default::default()
        }))
    }

    type ListMessagesStream = Items<m::ListMessagesResponse>;

    async fn list_messages(
        &self,
        request: Request<m::ListMessagesRequest>,
    ) -> Answer<Self::ListMessagesStream> {
        World::check(&self.0.store_away)?;
        let request = request.into_inner();
        assert_eq!(
            (request.account, request.folder, request.with_description),
            (BOB, 1, false)
        );
        let rows: Vec<_> = self
            .0
            .messages
            .lock()
            .iter()
            .map(|(uid, text)| m::MessageRow {
                uid: *uid,
                content_id: content_id(*uid).into(),
                size: text.len() as u64,
                ..Default::default()
            })
            .collect();
        let batches: Vec<_> = rows
            .chunks(2)
            .map(|rows| {
                Ok(m::ListMessagesResponse {
                    messages: rows.to_vec(),
                    ..m::ListMessagesResponse::default()
                })
            })
            .collect();
        Ok(Response::new(Box::pin(futures::stream::iter(batches))))
    }

    async fn read_content(&self, request: Request<m::ReadContentRequest>) -> Answer<m::ReadContentResponse> {
        World::check(&self.0.store_away)?;
        let request = request.into_inner();
        let messages = self.0.messages.lock();
        let found = messages
            .iter()
            .find(|(uid, _)| content_id(*uid) == request.content_id);
        let (_, text) = found.ok_or_else(|| Status::not_found("content"))?;
        let break_at = self.0.break_at.load(Ordering::Relaxed);
        if break_at != 0 && request.offset >= break_at as u64 {
            return Err(Status::unavailable("broken"));
        }
        let mut length = request.length as usize;
        if let most @ 1.. = self.0.most_at_once.load(Ordering::Relaxed) {
            length = length.min(most);
        }
        let data = text
            .iter()
            .skip(request.offset as usize)
            .take(length)
            .copied()
            .collect::<Vec<_>>();
        Ok(Response::new(m::ReadContentResponse {
            data: data.into(),
            total_size: text.len() as u64,
        }))
    }

    async fn read_contents(
        &self,
        request: Request<m::ReadContentsRequest>,
    ) -> Answer<m::ReadContentsResponse> {
        let mut pieces = Vec::new();
        for range in request.into_inner().ranges {
            match self.read_content(Request::new(range)).await {
                Ok(piece) => pieces.push(piece.into_inner()),
                Err(status) if pieces.is_empty() => return Err(status),
                Err(_) => break,
            }
        }
        self.0.read_together.lock().push(pieces.len());
        Ok(Response::new(m::ReadContentsResponse { pieces }))
    }

    async fn expunge_messages(
        &self,
        request: Request<m::ExpungeMessagesRequest>,
    ) -> Answer<m::ExpungeMessagesResponse> {
        World::check(&self.0.store_away)?;
        let request = request.into_inner();
        assert_eq!((request.account, request.folder, request.force), (BOB, 1, true));
        assert!(!request.uids.is_empty(), "no UIDs mean all messages");
        let uids = UidSet::from_bytes(&request.uids).unwrap();
        self.0
            .messages
            .lock()
            .retain(|(uid, _)| !uids.contains(Uid(*uid)));
        self.0
            .expunges
            .lock()
            .push(uids.iter().map(|uid| uid.0).collect());
        Ok(Response::new(m::ExpungeMessagesResponse {
            version: 1,
            expunged: request.uids,
        }))
    }

    type ListChangesStream = Items<m::ListChangesResponse>;
    type WatchStream = Items<m::WatchResponse>;

    not_needed! {
        put_message(Streaming<m::PutMessageRequest>) -> m::PutMessageResponse;
        deliver(m::DeliverRequest) -> m::DeliverResponse;
        get_account(m::GetAccountRequest) -> m::GetAccountResponse;
        remove_account(m::RemoveAccountRequest) -> m::RemoveAccountResponse;
        list_folders(m::ListFoldersRequest) -> m::ListFoldersResponse;
        create_folder(m::CreateFolderRequest) -> m::CreateFolderResponse;
        rename_folder(m::RenameFolderRequest) -> m::RenameFolderResponse;
        delete_folder(m::DeleteFolderRequest) -> m::DeleteFolderResponse;
        set_subscription(m::SetSubscriptionRequest) -> m::SetSubscriptionResponse;
        append_messages(m::AppendMessagesRequest) -> m::AppendMessagesResponse;
        store_flags(m::StoreFlagsRequest) -> m::StoreFlagsResponse;
        copy_messages(m::CopyMessagesRequest) -> m::CopyMessagesResponse;
        search_messages(m::SearchMessagesRequest) -> m::SearchMessagesResponse;
        list_changes(m::ListChangesRequest) -> Self::ListChangesStream;
        watch(Streaming<m::WatchRequest>) -> Self::WatchStream;
    }
}
