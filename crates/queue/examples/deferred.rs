//! Fills the queue of a data directory whose node does not run, as a long outage of a peer would: a way to measure with a
//! long queue without waiting for one.
//!
//! ```text
//! cargo run --release -p postrider-queue --example deferred -- DATA_DIR COUNT [DOMAIN] [DUE_IN_SECONDS]
//! ```
//! A hundred units share one content of 4 KiB. Units due in 0 seconds have not been tried yet; others have been once, and
//! their next attempts are spread over an hour from then on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::sync::Arc;

use bytes::Bytes;
use postrider_embedded::{Database, Options};
use postrider_queue::engine::Units;
use postrider_queue::{
    Destination, Embedded, NewUnit, Notify, Priority, Recipient, RecipientState, State, Unit, system_clock,
};
use postrider_types::{AccountId, Address, ContentId, Domain, ReversePath, UnitId};

/// Units that share a content.
const SHARED: usize = 100;
/// Insertions under way at a time.
const AT_ONCE: usize = 64;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = arguments.first().expect("a data directory");
    let count: usize = arguments.get(1).expect("a count").parse().unwrap();
    let domain = arguments
        .get(2)
        .map_or("later.example", String::as_str)
        .to_owned();
    let seconds: u64 = arguments.get(3).map_or(3600, |text| text.parse().unwrap());

    let database = Database::open(directory, Options::default()).unwrap();
    let queue = Arc::new(Embedded::open(database.clone(), system_clock()).await.unwrap());
    let now = system_clock()();
    let mut under_way = tokio::task::JoinSet::new();
    for first in (0..count).step_by(SHARED) {
        if under_way.len() >= AT_ONCE {
            under_way.join_next().await.unwrap().unwrap();
        }
        let (database, queue, domain) = (database.clone(), queue.clone(), domain.clone());
        under_way.spawn(async move {
            let content = ContentId::generate();
            let body = Bytes::from(vec![b'.'; 4 << 10]);
            database.write(vec![(content, body)], |_| Ok(())).await.unwrap();
            let last = count.min(first + SHARED);
            let due = |at: usize| match seconds {
                0 => now,
                _ => now + seconds * 1000 + (at as u64 * 3_600_000) / count as u64,
            };
            let units = (first..last)
                .map(|at| unit(content, &domain, now, due(at)))
                .collect();
            queue.insert(units, None).await.unwrap();
        });
    }
    while let Some(done) = under_way.join_next().await {
        done.unwrap();
    }
    println!("{count} units for {domain}");
}

fn unit(content: ContentId, domain: &str, now: u64, due: u64) -> Unit {
    let tried = due > now;
    let reply = "host mx.later.example[127.0.0.1]: 451 4.3.0 try again later".to_owned();
    let recipient = Recipient {
        address: Address::new(&format!("someone@{domain}")).unwrap(),
        original: String::new(),
        notify: Notify::default(),
        state: RecipientState::Pending,
        last_reply: if tried { reply.clone() } else { String::new() },
        local: None,
    };
    Unit {
        new: NewUnit {
            id: UnitId::generate(),
            content,
            skip: 0,
            size: 4 << 10,
            sender: ReversePath(Some(Address::new("alice@crepes.fr").unwrap())),
            destination: Destination::Remote(Domain::new(domain).unwrap()),
            recipients: vec![recipient],
            priority: Priority::Normal,
            eight_bit: false,
            utf8: false,
            envelope_id: String::new(),
            return_full: false,
            submitter: Some(AccountId::new(7)),
            trace: String::new(),
            message_id: "1@crepes.fr".into(),
            not_before: 0,
        },
        state: State::Queued,
        generation: if tried { 2 } else { 1 },
        attempts: u32::from(tried),
        created: now,
        next_attempt: due,
        last_attempt: if tried { now } else { 0 },
        expires: now + 5 * 24 * 3_600_000,
        warned: false,
        last_reply: if tried { reply } else { String::new() },
        reroute: String::new(),
        lease: 0,
        owed: Vec::new(),
    }
}
