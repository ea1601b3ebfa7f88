//! What a folder of a million messages costs: builds one by copying, then times what users and senders do to it.
//!
//! `cargo run --release -p postrider-mail-store --example large_folder [MESSAGES [DIRECTORY]]`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postrider_coordination::Memory as Coordination;
use postrider_index::{FolderIndex, UidSet};
use postrider_mail_store::{Config, service};
use postrider_proto::mailstore::mail_store_client::MailStoreClient;
use postrider_proto::mailstore::mail_store_server::MailStoreServer;
use postrider_proto::mailstore::*;
use postrider_proto::{Link, MAX_MESSAGE_BYTES};
use postrider_store::embedded::Embedded;
use postrider_types::{DeliveryId, Uid};

type Client = MailStoreClient<Link>;

const ACCOUNT: u64 = 1;
const INBOX: u32 = 1;
/// How often each operation is timed.
const TIMES: u32 = 100;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let wanted = arguments
        .next()
        .map_or(1_000_000, |text| text.parse::<u32>().unwrap());
    let dir = match arguments.next() {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let database =
        postrider_embedded::Database::open(dir.path(), postrider_embedded::Options::default()).unwrap();
    let engine = Arc::new(Embedded::open(database).await.unwrap());
    let start = || client(&engine);
    let mut client = start();

    let began = Instant::now();
    let folder = build(&mut client, wanted).await;
    println!(
        "built {wanted} messages in {:.1} s\n",
        began.elapsed().as_secs_f64()
    );
    println!("{:<44}{:>12}{:>12}", "", "median µs", "worst µs");

    time(
        "deliver into a small folder",
        TIMES,
        &client,
        async |mut client, _| {
            deliver(&mut client, "").await;
        },
    )
    .await;
    time(
        "deliver into the large folder",
        TIMES,
        &client,
        async |mut client, _| {
            deliver(&mut client, "Large").await;
        },
    )
    .await;
    time("open it, index wanted", TIMES, &client, async |mut client, _| {
        open(&mut client, folder, 0).await;
    })
    .await;
    time("open it, index known", TIMES, &client, async |mut client, _| {
        open(&mut client, folder, u64::MAX).await;
    })
    .await;
    time(
        "set \\Seen on one message",
        TIMES,
        &client,
        async |mut client, at| {
            flag(&mut client, folder, [at * 7919 % wanted + 1]).await;
        },
    )
    .await;
    time(
        "set \\Seen on 1,000 scattered messages",
        10,
        &client,
        async |mut client, at| {
            flag(
                &mut client,
                folder,
                (0..1000).map(|next| (next * 997 + at * 31) % wanted + 1),
            )
            .await;
        },
    )
    .await;
    time("deliver into it now", TIMES, &client, async |mut client, _| {
        deliver(&mut client, "Large").await;
    })
    .await;
    time(
        "list one page of 256 rows",
        TIMES,
        &client,
        async |mut client, at| {
            list(&mut client, folder, at * 7919 % wanted + 1, 256).await;
        },
    )
    .await;
    time("search unseen", TIMES, &client, async |mut client, _| {
        search(&mut client, folder).await;
    })
    .await;
    time(
        "list the rows of all (flags)",
        1,
        &client,
        async |mut client, _| {
            list(&mut client, folder, 1, u32::MAX - 1).await;
        },
    )
    .await;
    let (bytes, heap) = open(&mut client, folder, 0).await;
    println!("\nthe index has {bytes} bytes ({heap} once it is compact)");

    // Time for the snapshot to be saved, then the cache of a new instance is cold.
    tokio::time::sleep(Duration::from_secs(1)).await;
    time("open it with a cold cache", 3, &client, async |_, _| {
        open(&mut start(), folder, 0).await;
    })
    .await;
}

fn client(engine: &Arc<Embedded>) -> Client {
    let config = Config {
        sole_instance: true,
        ..Config::default()
    };
    let store = service(
        engine.clone(),
        engine.clone(),
        Arc::new(Coordination::new()),
        config,
    )
    .unwrap();
    let server = MailStoreServer::new(store).max_encoding_message_size(MAX_MESSAGE_BYTES);
    MailStoreClient::new(Link::local(server)).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// A folder of `wanted` copies of 1,000 messages; its number.
async fn build(client: &mut Client, wanted: u32) -> u32 {
    for _ in 0..1000 {
        deliver(client, "").await;
    }
    let create = CreateFolderRequest {
        account: ACCOUNT,
        name: "Large".into(),
        ..Default::default()
    };
    let folder = client.create_folder(create).await.unwrap().into_inner();
    let folder = folder.folder.unwrap().id;
    for _ in 0..wanted.div_ceil(1000) {
        let copy = CopyMessagesRequest {
            account: ACCOUNT,
            folder: INBOX,
            uids: UidSet::from_ranges([Uid(1)..=Uid(1000)]).to_bytes(),
            destination: folder,
            ..Default::default()
        };
        client.copy_messages(copy).await.unwrap();
    }
    folder
}

async fn time(what: &str, times: u32, client: &Client, run: impl AsyncFn(Client, u32)) {
    let mut taken = Vec::new();
    for at in 0..times {
        let began = Instant::now();
        run(client.clone(), at).await;
        taken.push(began.elapsed().as_micros());
    }
    taken.sort_unstable();
    println!(
        "{what:<44}{:>12}{:>12}",
        taken[taken.len() / 2],
        taken[taken.len() - 1]
    );
}

async fn deliver(client: &mut Client, folder: &str) {
    let id = DeliveryId::generate();
    let data = format!("Message-ID: <{id}@crepes.fr>\r\nSubject: ketchup\r\n\r\nDo you like it?\r\n");
    let request = DeliverRequest {
        content: Some(deliver_request::Content::Inline(data.into())),
        recipients: vec![DeliverRecipient {
            account: ACCOUNT,
            delivery_id: Bytes::copy_from_slice(id.as_bytes()),
            folder: folder.into(),
            ..Default::default()
        }],
        received: 1_700_000_000_000,
        ..Default::default()
    };
    let results = client.deliver(request).await.unwrap().into_inner().results;
    assert_eq!(results[0].outcome(), deliver_result::Outcome::Delivered);
}

async fn open(client: &mut Client, folder: u32, known_version: u64) -> (usize, usize) {
    let request = OpenFolderRequest {
        account: ACCOUNT,
        folder: Some(open_folder_request::Folder::Id(folder)),
        known_version,
    };
    let opened = client.open_folder(request).await.unwrap().into_inner();
    if opened.index.is_empty() {
        return (0, 0);
    }
    let mut index = FolderIndex::from_bytes(&opened.index).unwrap();
    index.compact();
    (opened.index.len(), index.encoded_len())
}

async fn flag(client: &mut Client, folder: u32, uids: impl IntoIterator<Item = u32>) {
    let request = StoreFlagsRequest {
        account: ACCOUNT,
        folder,
        uids: uids.into_iter().map(Uid).collect::<UidSet>().to_bytes(),
        operation: store_flags_request::Operation::Add.into(),
        flags: 1,
        ..Default::default()
    };
    client.store_flags(request).await.unwrap();
}

async fn list(client: &mut Client, folder: u32, first: u32, count: u32) {
    let request = ListMessagesRequest {
        account: ACCOUNT,
        folder,
        uids: UidSet::from_ranges([Uid(first)..=Uid(first.saturating_add(count - 1))]).to_bytes(),
        ..Default::default()
    };
    let mut pages = client.list_messages(request).await.unwrap().into_inner();
    while pages.message().await.unwrap().is_some() {}
}

async fn search(client: &mut Client, folder: u32) {
    let seen = SearchKey {
        key: Some(search_key::Key::Flags(1)),
    };
    let unseen = SearchKey {
        key: Some(search_key::Key::Not(Box::new(seen))),
    };
    let request = SearchMessagesRequest {
        account: ACCOUNT,
        folder,
        key: Some(unseen),
    };
    client.search_messages(request).await.unwrap();
}
