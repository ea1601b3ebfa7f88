//! Ports 587 and 465, and the contract of the web gateway: mail of our own users.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod fakes;

use std::sync::atomic::Ordering;

use fakes::World;
use postrider_proto::Link;
use postrider_proto::submission::submission_client::SubmissionClient;
use postrider_proto::submission::submission_server::SubmissionServer;
use postrider_proto::submission::submit_request::Part;
use postrider_proto::submission::{SubmitEnvelope, SubmitRequest};
use postrider_queue::Destination;
use postrider_runtime::config::PlaintextAuth;
use postrider_sasl::{Client as SaslClient, Mechanism};
use postrider_smtp_ingress::{Kind, SubmissionService};
use postrider_types::Secret;

const LETTER: &str = "From: alice@hamburger.edu\r\nSubject: ketchup\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\
    Message-ID: <1@hamburger.edu>\r\n\r\nDo you like ketchup?\r\n";

#[tokio::test]
async fn nobody_submits_without_saying_who_they_are() {
    let world = World::new();
    let mut client = world.connect(Kind::Submission).await;
    client.say("EHLO laptop", "250-").await;
    client.say("MAIL FROM:<alice@hamburger.edu>", "530 5.7.0 ").await;
    let token = postrider_sasl::encode(b"\0alice@hamburger.edu\0angry");
    client.say(&format!("AUTH PLAIN {token}"), "535 5.7.8 ").await;
    client.say("MAIL FROM:<alice@hamburger.edu>", "530 5.7.0 ").await;
}

#[tokio::test]
async fn passwords_travel_only_where_they_may() {
    let world = World::with(|config| config.plaintext_auth = PlaintextAuth::Never);
    let mut client = world.connect(Kind::Submission).await;
    client.say("EHLO laptop", "250-").await;
    client.say("AUTH PLAIN", "538 ").await;
    assert!(scram(&mut client, "alice@hamburger.edu", "hungry").await);
    client.say("MAIL FROM:<alice@hamburger.edu>", "250 ").await;
}

#[tokio::test]
async fn scram_needs_the_password_and_a_user() {
    let world = World::new();
    for (user, password) in [
        ("alice@hamburger.edu", "angry"),
        ("nobody@hamburger.edu", "hungry"),
    ] {
        let mut client = world.connect(Kind::Submission).await;
        client.say("EHLO laptop", "250-").await;
        assert!(!scram(&mut client, user, password).await, "{user}");
    }
}

async fn scram(client: &mut fakes::Client, user: &str, password: &str) -> bool {
    let mut sasl = SaslClient::new(Mechanism::ScramSha256, user, Secret::new(password)).unwrap();
    let mut line = format!(
        "AUTH SCRAM-SHA-256 {}",
        postrider_sasl::encode(&sasl.initial_response().unwrap())
    );
    for _ in 0..2 {
        client.write(&format!("{line}\r\n")).await;
        let reply = client.expect("").await;
        let Some(challenge) = reply.trim_end().strip_prefix("334 ") else {
            return false;
        };
        let challenge = postrider_sasl::decode(challenge.as_bytes()).unwrap();
        line = postrider_sasl::encode(&sasl.respond(&challenge).unwrap());
    }
    client.say(&line, "235 ").await;
    sasl.is_complete()
}

#[tokio::test]
async fn senders_use_their_own_addresses() {
    let world = World::new();
    let mut client = world.alice().await;
    client.say("MAIL FROM:<bob@hamburger.edu>", "553 5.7.1 ").await;
    client
        .envelope("sales@hamburger.edu", &["bob@hamburger.edu"])
        .await;
    client.message(LETTER, "250 ").await;
    client
        .envelope("alice@hamburger.edu", &["bob@hamburger.edu"])
        .await;
    client
        .message(&LETTER.replace("From: alice", "From: bob"), "550 5.7.1 ")
        .await;
    client.envelope("", &["bob@hamburger.edu"]).await;
    client.message(LETTER, "250 ").await;
    world.directory.away.store(true, Ordering::Relaxed);
    client.say("MAIL FROM:<sales@hamburger.edu>", "451 4.3.0 ").await;
    assert_eq!(world.store.mailbox(1).len(), 2);
}

#[tokio::test]
async fn mail_goes_elsewhere_with_what_it_lacked() {
    let world = World::new();
    let mut client = world.alice().await;
    client
        .envelope(
            "alice@hamburger.edu",
            &["x@crepes.fr", "y@crepes.fr", "z@baguette.fr"],
        )
        .await;
    client.message("Subject: hi\r\n\r\nhi\r\n", "250 ").await;
    assert_eq!(world.log.take(), ["enqueue"], "with its content");
    let units = world.queue.units.lock().clone();
    assert_eq!(units.len(), 2, "one for each domain");
    let crepes = units
        .iter()
        .find(|unit| unit.destination == Destination::Remote("crepes.fr".parse().unwrap()))
        .unwrap();
    assert_eq!(
        (crepes.recipients.len(), crepes.submitter.map(|id| id.get())),
        (2, Some(4))
    );
    let content = world.queue.bodies.lock()[&crepes.content].clone();
    let content = String::from_utf8(content.to_vec()).unwrap();
    assert!(content.contains("with ESMTPA"), "{content}");
    for lacked in ["Date: ", "Message-ID: <", "From: alice@hamburger.edu"] {
        assert!(content.contains(lacked), "{content}");
    }
    assert!(content.ends_with("Subject: hi\r\n\r\nhi\r\n"));
    assert!(crepes.message_id.ends_with("@hamburger.edu"));
    assert_eq!(world.steps("queued"), 3);
}

#[tokio::test]
async fn without_the_queue_remote_recipients_wait() {
    let world = World::new();
    world.queue.away.store(true, Ordering::Relaxed);
    let mut client = world.alice().await;
    client
        .envelope("alice@hamburger.edu", &["x@crepes.fr", "bob@hamburger.edu"])
        .await;
    client.message(LETTER, "451 4.3.0 ").await;
    assert!(
        world.store.mailbox(1).is_empty(),
        "nothing was done that a repetition could double"
    );
    // From now on it is known.
    client.say("MAIL FROM:<alice@hamburger.edu>", "250 ").await;
    client.say("RCPT TO:<x@crepes.fr>", "451 4.3.0 ").await;
    client.say("RCPT TO:<bob@hamburger.edu>", "250 ").await;
    client.message(LETTER, "250 ").await;
    assert_eq!(world.store.mailbox(1).len(), 1);
}

#[tokio::test]
async fn here_and_elsewhere_in_one_transaction() {
    let world = World::new();
    let mut client = world.alice().await;
    client
        .envelope("alice@hamburger.edu", &["x@crepes.fr", "bob@hamburger.edu"])
        .await;
    client.message(LETTER, "250 ").await;
    assert_eq!(world.log.take(), ["put", "enqueue", "deliver", "settle"]);
    assert_eq!(world.store.mailbox(1).len(), 1);
    let units = world.queue.units.lock().clone();
    let (local, remote): (Vec<_>, Vec<_>) = units
        .iter()
        .partition(|unit| unit.destination == Destination::Local);
    assert_eq!((local.len(), remote.len()), (1, 1));
    assert_eq!(remote[0].not_before, 0, "due now");
    assert!(local[0].not_before > 0);
}

#[tokio::test]
async fn rates_are_limited_as_long_as_somebody_counts() {
    let world = World::with(|config| config.rates.submitted_per_hour = 2);
    let mut client = world.alice().await;
    client
        .envelope(
            "alice@hamburger.edu",
            &["bob@hamburger.edu", "carol@hamburger.edu"],
        )
        .await;
    client.message(LETTER, "250 ").await;
    client.say("MAIL FROM:<alice@hamburger.edu>", "450 4.7.1 ").await;
    world.counters.away.store(true, Ordering::Relaxed);
    client.say("MAIL FROM:<alice@hamburger.edu>", "250 ").await;
}

#[tokio::test]
async fn guessing_passwords_is_slowed_down() {
    let world = World::with(|config| config.rates.logins.per_account = 2);
    let mut client = world.connect(Kind::Submission).await;
    client.say("EHLO laptop", "250-").await;
    let wrong = postrider_sasl::encode(b"\0alice@hamburger.edu\0angry");
    let right = postrider_sasl::encode(b"\0alice@hamburger.edu\0hungry");
    client.say(&format!("AUTH PLAIN {wrong}"), "535 ").await;
    client.say(&format!("AUTH PLAIN {wrong}"), "535 ").await;
    client.say(&format!("AUTH PLAIN {right}"), "454 4.7.0 ").await;
    world.directory.away.store(true, Ordering::Relaxed);
    let bob = postrider_sasl::encode(b"\0bob@hamburger.edu\0hungry");
    client.say(&format!("AUTH PLAIN {bob}"), "454 4.7.0 ").await;
}

fn parts(
    envelope: SubmitEnvelope,
    chunks: &[&str],
) -> impl futures::Stream<Item = SubmitRequest> + Send + 'static {
    let mut parts = vec![SubmitRequest {
        part: Some(Part::Envelope(envelope)),
    }];
    let chunk = |text: &&str| SubmitRequest {
        part: Some(Part::Chunk(text.as_bytes().to_vec().into())),
    };
    parts.extend(chunks.iter().map(chunk));
    futures::stream::iter(parts)
}

fn envelope(recipients: &[&str]) -> SubmitEnvelope {
    SubmitEnvelope {
        account: 4,
        sender: "alice@hamburger.edu".into(),
        recipients: recipients.iter().map(|it| (*it).to_owned()).collect(),
        content_id: Default::default(),
        peer: "192.0.2.7".into(),
    }
}

#[tokio::test]
async fn the_web_gateway_submits_by_the_same_rules() {
    let world = World::new();
    let link = Link::local(SubmissionServer::new(SubmissionService::new(
        world.ingress.clone(),
    )));
    let mut client = SubmissionClient::new(link);
    let (front, back) = LETTER.split_at(40);
    let to = envelope(&["bob@hamburger.edu", "nobody@hamburger.edu", "x@crepes.fr"]);
    let answer = client
        .submit(parts(to, &[front, back]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        answer.refused.iter().map(String::is_empty).collect::<Vec<_>>(),
        [true, false, true]
    );
    assert!(answer.refused[1].starts_with("550 5.1.1"));
    assert!(world.store.mailbox(1)[0].ends_with(LETTER));
    assert!(world.store.mailbox(1)[0].contains("[192.0.2.7]"));
    assert_eq!(world.queue.units.lock().len(), 2);

    let refused = client
        .submit(parts(envelope(&["nobody@hamburger.edu"]), &[LETTER]))
        .await
        .unwrap()
        .into_inner();
    assert!(refused.content_id.is_empty());

    let wrong = SubmitEnvelope {
        sender: "bob@hamburger.edu".into(),
        ..envelope(&["bob@hamburger.edu"])
    };
    assert_eq!(
        client.submit(parts(wrong, &[LETTER])).await.unwrap_err().code(),
        tonic::Code::PermissionDenied
    );
    let spoofed = client
        .submit(parts(
            envelope(&["bob@hamburger.edu"]),
            &[&LETTER.replace("alice@", "bob@")],
        ))
        .await;
    assert_eq!(spoofed.unwrap_err().code(), tonic::Code::PermissionDenied);
    world.queue.away.store(true, Ordering::Relaxed);
    let away = client.submit(parts(envelope(&["x@crepes.fr"]), &[LETTER])).await;
    assert_eq!(away.unwrap_err().code(), tonic::Code::Unavailable);
    let chunk = SubmitRequest {
        part: Some(Part::Chunk(Default::default())),
    };
    let without = client.submit(futures::stream::iter([chunk])).await;
    assert_eq!(without.unwrap_err().code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn the_web_gateway_submits_what_is_stored() {
    let world = World::new();
    let link = Link::local(SubmissionServer::new(SubmissionService::new(
        world.ingress.clone(),
    )));
    let body: String = (0..60_000).map(|line| format!("line {line}\r\n")).collect();
    let stored = format!("{LETTER}{body}");
    world
        .store
        .rest
        .lock()
        .contents
        .insert(vec![7; 16], stored.clone().into_bytes());
    let with = SubmitEnvelope {
        content_id: vec![7; 16].into(),
        ..envelope(&["bob@hamburger.edu"])
    };
    SubmissionClient::new(link)
        .submit(parts(with, &[]))
        .await
        .unwrap();
    assert!(world.store.mailbox(1)[0].starts_with("Return-Path: <alice@hamburger.edu>\r\n"));
    assert!(world.store.mailbox(1)[0].ends_with(&stored));
}
