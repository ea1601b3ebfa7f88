//! How much a delivery costs: 4 KiB messages through the client in process, over the embedded engine in a temporary directory.
//!
//! `cargo run --release -p postrider-mail-store --example deliver [SECONDS [DIRECTORY]]`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use postrider_coordination::Memory as Coordination;
use postrider_mail_store::{Config, service};
use postrider_proto::Link;
use postrider_proto::mailstore::mail_store_client::MailStoreClient;
use postrider_proto::mailstore::mail_store_server::MailStoreServer;
use postrider_proto::mailstore::{
    DeliverRecipient, DeliverRequest, deliver_request::Content, deliver_result::Outcome,
};
use postrider_store::embedded::Embedded;
use postrider_types::{ContentId, DeliveryId};

type Client = MailStoreClient<Link>;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(5, |text| text.parse().unwrap());
    let dir = match arguments.next() {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let database =
        postrider_embedded::Database::open(dir.path(), postrider_embedded::Options::default()).unwrap();
    let engine = Arc::new(Embedded::open(database).await.unwrap());
    let config = Config {
        sole_instance: true,
        ..Config::default()
    };
    let store = service(engine.clone(), engine, Arc::new(Coordination::new()), config).unwrap();
    let client = MailStoreClient::new(Link::local(MailStoreServer::new(store)));
    println!("{:<44}{:>10}{:>12}{:>12}", "", "msgs/s", "CPU µs/msg", "ms/msg");
    for (workers, accounts) in [(1, 1), (1, 1000), (50, 1000), (50, 1)] {
        measure(&client, workers, accounts, Duration::from_secs(seconds)).await;
    }
}

async fn measure(client: &Client, workers: u64, accounts: u64, time: Duration) {
    let sent = Arc::new(AtomicU64::new(0));
    // Accounts that exist, as nearly all do.
    for account in 0..accounts {
        deliver(&mut client.clone(), account, &sent).await;
    }
    sent.store(0, Ordering::Relaxed);
    let (start, cpu) = (Instant::now(), cpu_micros());
    let tasks: Vec<_> = (0..workers)
        .map(|worker| {
            let (mut client, sent) = (client.clone(), sent.clone());
            tokio::spawn(async move {
                let mut account = worker * 7919;
                while start.elapsed() < time {
                    account += 1;
                    deliver(&mut client, account % accounts, &sent).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (elapsed, cpu, sent) = (start.elapsed(), cpu_micros() - cpu, sent.load(Ordering::Relaxed));
    println!(
        "{:<44}{:>10.0}{:>12.0}{:>12.2}",
        format!("{workers} at a time, to {accounts} accounts"),
        sent as f64 / elapsed.as_secs_f64(),
        cpu as f64 / sent as f64,
        elapsed.as_secs_f64() * 1000.0 * workers as f64 / sent as f64,
    );
}

async fn deliver(client: &mut Client, account: u64, sent: &AtomicU64) {
    let number = sent.fetch_add(1, Ordering::Relaxed);
    let recipient = DeliverRecipient {
        account: account + 1,
        delivery_id: Bytes::copy_from_slice(DeliveryId::generate().as_bytes()),
        quota: 1 << 40,
        ..DeliverRecipient::default()
    };
    let request = DeliverRequest {
        content: Some(Content::Inline(message(account, number))),
        recipients: vec![recipient],
        received: 1_700_000_000_000,
        inline_id: Bytes::copy_from_slice(ContentId::generate().as_bytes()),
    };
    let results = client.deliver(request).await.unwrap().into_inner().results;
    assert_eq!(results[0].outcome(), Outcome::Delivered, "{}", results[0].detail);
}

fn message(account: u64, number: u64) -> Bytes {
    let mut text = format!(
        "Received: from crepes.fr by hamburger.edu; Sun, 22 Nov 2026 09:16:00 +0000\r\nMessage-ID: <{account}.{number}@crepes.fr>\r\n\
         Date: Sun, 22 Nov 2026 09:16:00 +0000\r\nFrom: Alice <alice@crepes.fr>\r\nTo: Bob <bob@hamburger.edu>\r\n\
         Subject: Do you like ketchup?\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    );
    while text.len() < 4096 {
        text.push_str(
            "How about pickles? They are green, and they are sour, and they go with everything.\r\n",
        );
    }
    text.into()
}

/// Processor time of this process so far.
fn cpu_micros() -> u64 {
    // Fields 14 and 15 of the line, counted behind the name in brackets, in hundredths of a second.
    let line = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = line.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10_000
}
