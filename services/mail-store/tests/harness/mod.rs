//! A mail store over an engine, reached as other roles reach it: through the generated client, in process.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use bytes::Bytes;
use postrider_coordination::Memory as Coordination;
use postrider_index::{FolderIndex, UidSet};
use postrider_mail_store::{Config, MailStore, service};
use postrider_proto::Link;
use postrider_proto::mailstore::deliver_request::Content;
use postrider_proto::mailstore::mail_store_client::MailStoreClient;
use postrider_proto::mailstore::mail_store_server::MailStoreServer;
use postrider_proto::mailstore::*;
use postrider_store::memory::Memory;
use postrider_store::{AccountEngine, ContentEngine};
use postrider_types::{DeliveryId, Uid};

pub type Client = MailStoreClient<Link>;

/// An instance over an engine of accounts and content.
pub fn instance_over<E: AccountEngine + ContentEngine + Clone>(
    engine: &E,
    hints: &Arc<Coordination>,
) -> MailStore {
    let engine = Arc::new(engine.clone());
    service(engine.clone(), engine, hints.clone(), Config::default()).unwrap()
}

pub fn client(store: &MailStore) -> Client {
    MailStoreClient::new(Link::local(MailStoreServer::new(store.clone())))
}

/// One instance over a fresh memory engine.
pub fn fresh() -> (Memory, Client) {
    let engine = Memory::new();
    let client = client(&instance_over(&engine, &Arc::default()));
    (engine, client)
}

pub fn letter(id: &str, subject: &str, references: &str, body: &str) -> Bytes {
    let references = if references.is_empty() {
        String::new()
    } else {
        format!("References: {references}\r\n")
    };
    format!(
        "Message-ID: <{id}>\r\nDate: Sun, 22 Nov 2026 09:16:00 +0000\r\nFrom: alice@crepes.fr\r\nTo: bob@hamburger.edu\r\n\
         Subject: {subject}\r\n{references}\r\n{body}\r\n"
    )
    .into()
}

pub fn recipient(account: u64) -> DeliverRecipient {
    let delivery_id = DeliveryId::generate().as_bytes().to_vec().into();
    DeliverRecipient {
        account,
        delivery_id,
        ..DeliverRecipient::default()
    }
}

pub fn delivery(data: Bytes, recipients: Vec<DeliverRecipient>) -> DeliverRequest {
    DeliverRequest {
        content: Some(Content::Inline(data)),
        recipients,
        received: 1_700_000_000_000,
        ..Default::default()
    }
}

/// Delivers to one account; the UID.
pub async fn deliver(client: &mut Client, account: u64, data: Bytes) -> u32 {
    let results = client
        .deliver(delivery(data, vec![recipient(account)]))
        .await
        .unwrap()
        .into_inner()
        .results;
    assert_eq!(
        results[0].outcome(),
        deliver_result::Outcome::Delivered,
        "{}",
        results[0].detail
    );
    results[0].uid
}

pub async fn folders(client: &mut Client, account: u64) -> Vec<Folder> {
    client
        .list_folders(ListFoldersRequest { account })
        .await
        .unwrap()
        .into_inner()
        .folders
}

pub async fn folder(client: &mut Client, account: u64, name: &str) -> Folder {
    folders(client, account)
        .await
        .into_iter()
        .find(|it| it.name == name)
        .unwrap_or_else(|| panic!("no folder {name}"))
}

pub async fn open(client: &mut Client, account: u64, folder: u32) -> (u64, Folder, FolderIndex) {
    let folder = Some(open_folder_request::Folder::Id(folder));
    let opened = client
        .open_folder(OpenFolderRequest {
            account,
            folder,
            known_version: 0,
        })
        .await
        .unwrap()
        .into_inner();
    (
        opened.version,
        opened.folder.unwrap(),
        FolderIndex::from_bytes(&opened.index).unwrap(),
    )
}

pub async fn list(client: &mut Client, account: u64, folder: u32) -> Vec<MessageRow> {
    rows(
        client,
        ListMessagesRequest {
            account,
            folder,
            ..Default::default()
        },
    )
    .await
}

pub async fn rows(client: &mut Client, request: ListMessagesRequest) -> Vec<MessageRow> {
    let mut stream = client.list_messages(request).await.unwrap().into_inner();
    let mut rows = Vec::new();
    while let Some(page) = stream.message().await.unwrap() {
        assert!((1..=256).contains(&page.messages.len()));
        rows.extend(page.messages);
    }
    rows
}

/// The commits after a version; `None`: a resync is asked for.
pub async fn changes(client: &mut Client, account: u64, since: u64, folder: u32) -> Option<Vec<Commit>> {
    let request = ListChangesRequest {
        account,
        since,
        folder,
    };
    let mut stream = client.list_changes(request).await.unwrap().into_inner();
    let mut commits = Vec::new();
    while let Some(page) = stream.message().await.unwrap() {
        if page.resync {
            return None;
        }
        commits.extend(page.commits);
    }
    Some(commits)
}

pub async fn store(
    client: &mut Client,
    account: u64,
    folder: u32,
    uids: Bytes,
    flags: u32,
) -> StoreFlagsResponse {
    let operation = store_flags_request::Operation::Add.into();
    let request = StoreFlagsRequest {
        account,
        folder,
        uids,
        operation,
        flags,
        ..Default::default()
    };
    client.store_flags(request).await.unwrap().into_inner()
}

pub async fn search(client: &mut Client, account: u64, folder: u32, key: search_key::Key) -> Vec<u32> {
    let key = Some(SearchKey { key: Some(key) });
    let found = client
        .search_messages(SearchMessagesRequest { account, folder, key })
        .await
        .unwrap()
        .into_inner();
    members(&found.uids)
}

pub fn uids(uids: &[u32]) -> Bytes {
    uids.iter().map(|uid| Uid(*uid)).collect::<UidSet>().to_bytes()
}

pub fn members(bytes: &[u8]) -> Vec<u32> {
    UidSet::from_bytes(bytes)
        .unwrap()
        .iter()
        .map(|uid| uid.0)
        .collect()
}

pub const INBOX: u32 = 1;
