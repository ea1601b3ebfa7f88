//! Port 25: who gets mail, and what is said when something is away (design: failure, seen from outside).

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod fakes;

use std::sync::atomic::Ordering;
use std::time::Duration;

use fakes::World;
use fakes::store::Mood;
use postrider_queue::Destination;
use postrider_smtp_ingress::Kind;

const LETTER: &str = "Subject: ketchup\r\nMessage-ID: <1@crepes.fr>\r\n\r\nDo you like ketchup?\r\n";

#[tokio::test]
async fn the_textbooks_dialogue_delivers() {
    let world = World::new();
    let mut client = world.connect(Kind::Mx).await;
    client
        .say("HELO crepes.fr", "250 hamburger.edu Hello crepes.fr")
        .await;
    client
        .say(
            "MAIL FROM: <alice@crepes.fr>",
            "250 alice@crepes.fr ... Sender ok",
        )
        .await;
    client
        .say(
            "RCPT TO: <bob@hamburger.edu>",
            "250 bob@hamburger.edu ... Recipient ok",
        )
        .await;
    client.say("DATA", "354 Enter mail").await;
    client
        .write("Do you like ketchup?\r\nHow about pickles?\r\n")
        .await;
    client.say(".", "250 Message accepted for delivery").await;
    client.say("QUIT", "221 hamburger.edu closing connection").await;
    let mailbox = world.store.mailbox(1);
    assert_eq!(mailbox.len(), 1);
    assert!(
        mailbox[0].starts_with("Return-Path: <alice@crepes.fr>\r\nReceived: from crepes.fr ([127.0.0.1])"),
        "{}",
        mailbox[0]
    );
    assert!(mailbox[0].contains("for <bob@hamburger.edu>"));
    assert!(
        mailbox[0].ends_with("\r\n\r\nDo you like ketchup?\r\nHow about pickles?\r\n"),
        "{}",
        mailbox[0]
    );
    assert_eq!(world.log.take(), ["deliver"], "one call and nothing else");
    assert_eq!((world.steps("accepted"), world.steps("stored")), (1, 1));
}

#[tokio::test]
async fn recipients_are_told_apart() {
    let world = World::new();
    let mut client = world.mx().await;
    client.say("MAIL FROM:<>", "250 ").await;
    client.say("RCPT TO:<nobody@hamburger.edu>", "550 ").await;
    client.say("RCPT TO:<old@hamburger.edu>", "550 ").await;
    client.say("RCPT TO:<somebody@elsewhere.example>", "550 ").await;
    client.say("RCPT TO:<broken@hamburger.edu>", "451 ").await;
    client.say("DATA", "554 ").await;
    client.say("RCPT TO:<Postmaster>", "250 ").await;
    client.say("RCPT TO:<bob@hamburger.edu>", "250 ").await;
    client.message(LETTER, "250 ").await;
    assert_eq!(
        world.store.mailbox(1).len(),
        1,
        "bob is the postmaster, and gets one copy"
    );
    assert!(world.store.mailbox(1)[0].starts_with("Return-Path: <>\r\n"));
}

#[tokio::test]
async fn enhanced_codes_say_what_is_wrong() {
    let world = World::new();
    let mut client = world.connect(Kind::Mx).await;
    client.say("EHLO crepes.fr", "250-").await;
    client.say("MAIL FROM:<a@crepes.fr>", "250 2.1.0 ").await;
    client.say("RCPT TO:<nobody@hamburger.edu>", "550 5.1.1 ").await;
    client.say("RCPT TO:<old@hamburger.edu>", "550 5.2.1 ").await;
    client.say("RCPT TO:<x@elsewhere.example>", "550 5.7.1 ").await;
    world.directory.away.store(true, Ordering::Relaxed);
    client.say("RCPT TO:<bob@hamburger.edu>", "451 4.3.0 ").await;
    client.say("AUTH PLAIN", "502 ").await;
}

#[tokio::test]
async fn what_the_directory_said_stands_in_for_it() {
    let world = World::new();
    let mut client = world.mx().await;
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client.message(LETTER, "250 ").await;
    world.directory.away.store(true, Ordering::Relaxed);
    client.say("MAIL FROM:<a@crepes.fr>", "250 ").await;
    client.say("RCPT TO:<carol@hamburger.edu>", "451 ").await;
    client.say("RCPT TO:<bob@hamburger.edu>", "250 ").await;
    client.message(LETTER, "250 ").await;
    assert_eq!(world.store.mailbox(1).len(), 2, "equal messages are two messages");
}

#[tokio::test]
async fn without_the_store_nothing_is_accepted_and_a_repetition_is_one_message() {
    let world = World::new();
    world.store.rest.lock().put_away = true;
    world.store.rest.lock().deliver_away = true;
    let mut client = world.mx().await;
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client.message(LETTER, "451 ").await;
    assert!(world.store.mailbox(1).is_empty() && world.queue.units.lock().is_empty());
    world.store.rest.lock().put_away = false;
    world.store.rest.lock().deliver_away = false;
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client.message(LETTER, "250 ").await;
    assert_eq!(world.store.mailbox(1).len(), 1);
}

#[tokio::test]
async fn a_delivery_that_cannot_finish_becomes_a_unit_with_the_same_id() {
    for mood in [Mood::Temporary, Mood::Hangs, Mood::HappensUnheard] {
        let world = World::new();
        world.store.set_mood(1, Some(mood));
        let mut client = world.mx().await;
        client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
        client.message(LETTER, "250 ").await;
        assert_eq!(world.log.take(), ["deliver", "put", "enqueue"], "{mood:?}");
        let units = world.queue.units.lock().clone();
        assert_eq!(units.len(), 1);
        assert_eq!(units[0].destination, Destination::Local);
        let local = units[0].recipients[0].local.clone().unwrap();
        assert_eq!(local.account.get(), 1);
        // The worker's delivery under the unit's id is the same delivery.
        let content = world.store.rest.lock().contents[&units[0].content.as_bytes()[..]].clone();
        assert!(content.starts_with(b"Return-Path: <a@crepes.fr>\r\n"));
        world.store.append(1, local.delivery.as_bytes().to_vec(), content);
        assert_eq!(world.store.mailbox(1).len(), 1, "{mood:?}");
    }
}

#[tokio::test]
async fn an_unknown_outcome_with_everything_away_is_not_doubled_by_the_repetition() {
    let world = World::new();
    world.store.set_mood(1, Some(Mood::HappensUnheard));
    world.store.rest.lock().put_away = true;
    let mut client = world.mx().await;
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client.message(LETTER, "451 ").await;
    assert_eq!(world.store.mailbox(1).len(), 1, "it happened all the same");
    world.store.set_mood(1, None);
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client.message(LETTER, "250 ").await;
    assert_eq!(world.store.mailbox(1).len(), 1);
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client.message(LETTER, "250 ").await;
    assert_eq!(world.store.mailbox(1).len(), 2, "the next one is another message");
}

#[tokio::test]
async fn a_repetition_at_another_instance_doubles_nothing_either() {
    let (here, there) = World::two();
    here.store.set_mood(1, Some(Mood::HappensUnheard));
    here.store.rest.lock().put_away = true;
    let mut client = here.mx().await;
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client.message(LETTER, "451 ").await;
    here.store.set_mood(1, None);
    // Senders wait for minutes, instances tell each other within a second.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut other = there.mx().await;
    other.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    other.message(LETTER, "250 ").await;
    assert_eq!(there.store.mailbox(1).len(), 1);
    // Both know that this is over.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for client in [&mut client, &mut other] {
        client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
        client.message(LETTER, "250 ").await;
    }
    assert_eq!(
        there.store.mailbox(1).len(),
        3,
        "the next ones are other messages"
    );
}

#[tokio::test]
async fn the_same_message_for_others_is_not_taken_for_the_unresolved_one() {
    let world = World::new();
    let mut client = world.mx().await;
    // The queue has the unit for Bob, and is not heard: 451.
    world.store.set_mood(1, Some(Mood::Temporary));
    world.store.set_mood(2, Some(Mood::Temporary));
    *world.queue.unheard.lock() = 3;
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client.message(LETTER, "451 ").await;
    client.envelope("a@crepes.fr", &["carol@hamburger.edu"]).await;
    client.message(LETTER, "250 ").await;
    let units = world.queue.units.lock().clone();
    let accounts: Vec<u64> = units
        .iter()
        .flat_map(|unit| &unit.recipients)
        .filter_map(|it| it.local.as_ref().map(|local| local.account.get()))
        .collect();
    assert_eq!(accounts, [1, 2]);
}

#[tokio::test]
async fn a_repetition_that_is_refused_too_does_not_forget_what_may_have_happened() {
    let world = World::new();
    let both = ["bob@hamburger.edu", "carol@hamburger.edu"];
    world.queue.away.store(true, Ordering::Relaxed);
    world.store.set_mood(2, Some(Mood::Temporary));
    let mut client = world.mx().await;
    client.envelope("a@crepes.fr", &both).await;
    client.message(LETTER, "451 ").await;
    assert_eq!(world.store.mailbox(1).len(), 1, "one of two has it");
    world.store.set_mood(2, None);
    world.store.rest.lock().put_away = true;
    client.envelope("a@crepes.fr", &both).await;
    client.message(LETTER, "451 ").await;
    world.store.rest.lock().put_away = false;
    client.envelope("a@crepes.fr", &both).await;
    client.message(LETTER, "250 ").await;
    let received = (world.store.mailbox(1).len(), world.store.mailbox(2).len());
    assert_eq!(received, (1, 1));
}

#[tokio::test]
async fn a_repetition_has_other_octets_and_another_content() {
    let world = World::new();
    world.store.set_mood(1, Some(Mood::HappensUnheard));
    world.store.rest.lock().put_away = true;
    let mut client = world.mx().await;
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client.message(LETTER, "451 ").await;
    // The same seed, and a `Received:` that differs: not "a message that is too large".
    client.envelope("a@crepes.fr", &["carol@hamburger.edu"]).await;
    client.message(LETTER, "250 ").await;
    assert_eq!(world.store.mailbox(2).len(), 1);
}

#[tokio::test]
async fn a_full_mailbox_is_told_apart_from_a_message_that_never_fits() {
    let world = World::new();
    world.store.set_mood(1, Some(Mood::Full));
    world.store.set_mood(3, Some(Mood::Full));
    let mut client = world.mx().await;
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client.message(LETTER, "452 ").await;
    client.envelope("a@crepes.fr", &["dave@hamburger.edu"]).await;
    client.message(LETTER, "552 ").await;
    assert!(world.queue.units.lock().is_empty());
    assert_eq!(world.steps("refused"), 2);
}

#[tokio::test]
async fn several_recipients_begin_with_the_intent() {
    let world = World::new();
    world.store.set_mood(2, Some(Mood::Temporary));
    world.store.set_mood(3, Some(Mood::Full));
    let mut client = world.mx().await;
    client
        .envelope(
            "a@crepes.fr",
            &["bob@hamburger.edu", "carol@hamburger.edu", "dave@hamburger.edu"],
        )
        .await;
    client.message(LETTER, "250 ").await;
    assert_eq!(world.log.take(), ["put", "enqueue", "deliver", "settle"]);
    let (units, settled) = (
        world.queue.units.lock().clone(),
        world.queue.settled.lock().clone(),
    );
    assert_eq!((units.len(), units[0].recipients.len()), (1, 3));
    assert!(
        units[0].not_before > units[0].recipients.len() as u64,
        "not before the deliveries of our own"
    );
    // Bob has it; Carol and Dave are left to the queue: one will get it, the other's sender will be told.
    assert_eq!(settled[0].0, units[0].id);
    let bob = units[0].recipients[0].local.as_ref().unwrap().delivery;
    assert_eq!(settled[0].1, [bob]);
    assert_eq!(world.store.delivery_ids(1), [bob.as_bytes().to_vec()]);
    assert!(
        !world.store.mailbox(1)[0].contains("for <"),
        "one recipient does not hear of the others"
    );
}

#[tokio::test]
async fn several_recipients_with_a_store_that_hangs_are_left_to_the_queue() {
    let world = World::new();
    world.store.set_mood(1, Some(Mood::Hangs));
    let mut client = world.mx().await;
    client
        .envelope("a@crepes.fr", &["bob@hamburger.edu", "carol@hamburger.edu"])
        .await;
    client.message(LETTER, "250 ").await;
    assert_eq!(world.log.take(), ["put", "enqueue", "deliver"]);
    let units = world.queue.units.lock().clone();
    let carol = units[0].recipients[1].local.clone().unwrap();
    // Carol has it although nobody heard so: the worker's attempt is the same delivery.
    world
        .store
        .append(2, carol.delivery.as_bytes().to_vec(), Vec::new());
    assert_eq!(world.store.mailbox(2).len(), 1);
}

#[tokio::test]
async fn local_recipients_do_without_the_queue() {
    let world = World::new();
    world.queue.away.store(true, Ordering::Relaxed);
    let mut client = world.mx().await;
    let both = ["bob@hamburger.edu", "carol@hamburger.edu"];
    client.envelope("a@crepes.fr", &both).await;
    client.message(LETTER, "250 ").await;
    assert_eq!(
        (world.store.mailbox(1).len(), world.store.mailbox(2).len()),
        (1, 1)
    );
    // One of two fails: nothing can promise the rest, so the sender repeats, and nobody gets it twice.
    world.store.set_mood(2, Some(Mood::Temporary));
    client.envelope("b@crepes.fr", &both).await;
    client.message(LETTER, "451 ").await;
    assert_eq!(
        (world.store.mailbox(1).len(), world.store.mailbox(2).len()),
        (2, 1)
    );
    world.store.set_mood(2, None);
    client.envelope("b@crepes.fr", &both).await;
    client.message(LETTER, "250 ").await;
    assert_eq!(
        (world.store.mailbox(1).len(), world.store.mailbox(2).len()),
        (2, 2)
    );
}

#[tokio::test]
async fn an_alias_reaches_here_and_elsewhere() {
    let world = World::new();
    let mut client = world.mx().await;
    client
        .envelope("a@crepes.fr", &["list@hamburger.edu", "bob@hamburger.edu"])
        .await;
    client.message(LETTER, "250 ").await;
    assert_eq!(
        (world.store.mailbox(1).len(), world.store.mailbox(2).len()),
        (1, 1)
    );
    let units = world.queue.units.lock().clone();
    assert_eq!(units.len(), 2);
    let remote = units
        .iter()
        .find(|unit| unit.destination != Destination::Local)
        .unwrap();
    assert_eq!(remote.recipients[0].address.to_string(), "erin@elsewhere.example");
    let content = world.store.rest.lock().contents[&remote.content.as_bytes()[..]].clone();
    assert!(content[remote.skip as usize..].starts_with(b"Received: from crepes.fr"));
    assert_eq!(remote.size, content.len() as u64);
    assert_eq!(remote.message_id, "1@crepes.fr");
    assert!(remote.trace.starts_with("00-"));
}

#[tokio::test]
async fn a_delivery_to_be_confirmed_is_the_queues() {
    let world = World::new();
    let mut client = world.mx().await;
    client
        .say("MAIL FROM:<a@crepes.fr> RET=FULL ENVID=QQ1", "250 ")
        .await;
    client
        .say(
            "RCPT TO:<bob@hamburger.edu> NOTIFY=SUCCESS ORCPT=rfc822;b@x.y",
            "250 ",
        )
        .await;
    client.message(LETTER, "250 ").await;
    let units = world.queue.units.lock().clone();
    assert_eq!(world.log.take(), ["enqueue"], "with its content");
    assert!(units[0].recipients[0].notify.success && units[0].return_full);
    assert_eq!(
        (
            units[0].envelope_id.as_str(),
            units[0].recipients[0].original.as_str()
        ),
        ("QQ1", "rfc822;b@x.y")
    );
}

#[tokio::test]
async fn a_queue_that_is_not_heard_is_asked_again_with_the_same_ids() {
    let world = World::new();
    *world.queue.unheard.lock() = 2;
    let mut client = world.mx().await;
    client
        .envelope("a@crepes.fr", &["bob@hamburger.edu", "carol@hamburger.edu"])
        .await;
    client.message(LETTER, "250 ").await;
    assert_eq!(
        world.log.take(),
        ["put", "enqueue", "enqueue", "enqueue", "deliver", "settle"]
    );
    assert_eq!(world.queue.units.lock().len(), 1);
}

#[tokio::test]
async fn a_large_message_is_streamed_whole() {
    let world = World::with(|config| config.inline_size = 10_000);
    let body: String = (0..5000).map(|line| format!("line {line}\r\n")).collect();
    let mut client = world.mx().await;
    let free = world.budget.free();
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client
        .message(&format!("Subject: long\r\n\r\n{body}"), "250 ")
        .await;
    assert_eq!(world.log.take(), ["put", "deliver"]);
    let mailbox = world.store.mailbox(1);
    assert!(mailbox[0].starts_with("Return-Path: <a@crepes.fr>\r\nReceived: "));
    assert!(mailbox[0].ends_with(&format!("Subject: long\r\n\r\n{body}")));
    assert_eq!(world.budget.free(), free, "memory comes back");
}

#[tokio::test]
async fn half_a_large_message_is_no_message() {
    let world = World::with(|config| config.inline_size = 10_000);
    let mut client = world.mx().await;
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client.say("DATA", "354 ").await;
    client.write(&"0123456789\r\n".repeat(5000)).await;
    let begun = async {
        while world.store.rest.lock().incomplete_puts == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), begun)
        .await
        .expect("it is being streamed");
    drop(client);
    let given_back = async {
        while world.budget.free() != 1 << 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), given_back)
        .await
        .expect("memory comes back");
    assert!(world.store.rest.lock().contents.is_empty());
    assert!(world.store.mailbox(1).is_empty());
}

#[tokio::test]
async fn when_memory_is_spent_354_waits() {
    let world = World::new();
    let everything = world.budget.reserve(u64::MAX).await;
    let mut client = world.mx().await;
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client.write("DATA\r\n").await;
    assert!(
        tokio::time::timeout(Duration::from_millis(100), client.expect("354 "))
            .await
            .is_err()
    );
    drop(everything);
    client.expect("354 ").await;
    client.write(LETTER).await;
    client.say(".", "250 ").await;
}

#[tokio::test]
async fn when_memory_stays_spent_nobody_waits_for_ever() {
    let world = World::with(|config| config.timeouts.storage = Duration::from_millis(100));
    let everything = world.budget.reserve(u64::MAX).await;
    let mut client = world.mx().await;
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client.say("DATA", "452 ").await;
    drop(everything);
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client.message(LETTER, "250 ").await;
}

#[tokio::test]
async fn a_message_that_goes_round_in_circles_is_stopped() {
    let world = World::with(|config| config.received_lines = 50);
    let mut client = world.mx().await;
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client
        .message(
            &format!(
                "{}Subject: x\r\n\r\n",
                "Received: from a by b; now\r\n".repeat(50)
            ),
            "554 ",
        )
        .await;
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client
        .message(
            &format!(
                "{}Subject: x\r\n\r\n",
                "Received: from a by b; now\r\n".repeat(49)
            ),
            "250 ",
        )
        .await;
}

#[tokio::test]
async fn deliveries_of_one_address_are_limited_as_long_as_somebody_counts() {
    let world = World::with(|config| config.rates.received_per_minute = 1);
    let mut client = world.mx().await;
    client.envelope("a@crepes.fr", &[]).await;
    client.say("RSET", "250 ").await;
    client.say("MAIL FROM:<a@crepes.fr>", "450 ").await;
    world.counters.away.store(true, Ordering::Relaxed);
    client.say("MAIL FROM:<a@crepes.fr>", "250 ").await;
}

#[tokio::test]
async fn a_reset_forgets_the_recipients() {
    let world = World::new();
    let mut client = world.mx().await;
    client.envelope("a@crepes.fr", &["bob@hamburger.edu"]).await;
    client.say("RSET", "250 ").await;
    client.envelope("a@crepes.fr", &["carol@hamburger.edu"]).await;
    client.message(LETTER, "250 ").await;
    assert_eq!(
        (world.store.mailbox(1).len(), world.store.mailbox(2).len()),
        (0, 1)
    );
}
