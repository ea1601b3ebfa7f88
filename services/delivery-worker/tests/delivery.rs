//! Units on their way to other servers, good and bad.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::peer::{Act, Peer};
use common::{LETTER, quick, route, routes, start, start_failing};
use postrider_queue::RetryPolicy;
use postrider_runtime::Identity;
use postrider_types::{Address, Domain, ReversePath};

#[tokio::test]
async fn a_letter_goes_to_the_recipients_server_as_it_is() {
    let peer = Peer::start(&["8BITMIME", "PIPELINING", "DSN", "SIZE 10000"]).await;
    let node = start(quick(), |settings| route(settings, "hamburger.edu", peer.address)).await;
    let mut unit = node.letter(&["bob@hamburger.edu", "carol@hamburger.edu"]);
    unit.envelope_id = "QQ".into();
    node.send(unit).await;
    let taken = peer.wait_for(1).await.remove(0);
    assert_eq!(taken.data, LETTER);
    assert!(
        taken.mail.starts_with("MAIL FROM:<alice@crepes.fr>"),
        "{}",
        taken.mail
    );
    assert!(
        taken.mail.contains(&format!("SIZE={}", LETTER.len())),
        "{}",
        taken.mail
    );
    assert!(taken.mail.contains("ENVID=QQ"), "{}", taken.mail);
    assert_eq!(taken.rcpt.len(), 2);
    node.wait_until_empty().await;
    let steps = node.wait_for_step("delivered", 2).await;
    assert_eq!(steps[0].to, "bob@hamburger.edu");
    assert!(steps[0].detail.contains("250 2.0.0 taken"), "{}", steps[0].detail);
    assert_eq!(steps[0].trace, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(node.steps("attempt").len(), 1);
}

#[tokio::test]
async fn twenty_messages_go_over_one_connection() {
    let peer = Peer::start(&["PIPELINING"]).await;
    let node = start(quick(), |settings| {
        route(settings, "hamburger.edu", peer.address);
        settings.limits.per_destination = 1;
    })
    .await;
    let units = (0..20).map(|_| node.letter(&["bob@hamburger.edu"])).collect();
    node.queue.enqueue(units).await.unwrap();
    let taken = peer.wait_for(20).await;
    assert!(taken.iter().all(|taken| taken.connection == 1), "{taken:?}");
    node.wait_until_empty().await;
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_worn_connection_is_replaced() {
    let peer = Peer::start(&[]).await;
    let node = start(quick(), |settings| {
        route(settings, "hamburger.edu", peer.address);
        settings.limits.per_destination = 1;
        settings.reuse.messages = 4;
    })
    .await;
    node.queue
        .enqueue((0..10).map(|_| node.letter(&["bob@hamburger.edu"])).collect())
        .await
        .unwrap();
    let taken = peer.wait_for(10).await;
    assert_eq!(taken.iter().filter(|taken| taken.connection == 1).count(), 4);
    assert_eq!(peer.connections(), 3);
    node.wait_until_empty().await;
}

#[tokio::test]
async fn concurrency_grows_with_success() {
    let peer = Peer::start(&[]).await;
    let node = start(quick(), |settings| {
        route(settings, "hamburger.edu", peer.address);
        settings.limits.per_destination = 8;
    })
    .await;
    node.queue
        .enqueue((0..300).map(|_| node.letter(&["bob@hamburger.edu"])).collect())
        .await
        .unwrap();
    peer.wait_for(300).await;
    node.wait_until_empty().await;
    assert!((4..=12).contains(&peer.connections()), "{}", peer.connections());
}

#[tokio::test]
async fn a_server_that_is_down_for_a_while_gets_it_later() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let node = start(quick(), |settings| route(settings, "hamburger.edu", address)).await;
    let id = node.send(node.letter(&["bob@hamburger.edu"])).await;
    node.wait_for_step("deferred", 1).await;
    assert_eq!(node.queue.get(id).await.unwrap().attempts, 1);
    let peer = Peer::start_at(address).await;
    peer.wait_for(1).await;
    node.wait_until_empty().await;
    assert!(node.store.mailbox(1).is_empty());
}

#[tokio::test]
async fn operators_see_and_move_units() {
    use postrider_proto::queue as contract;
    use postrider_proto::queue::queue_client::QueueClient;
    use postrider_proto::queue::queue_server::QueueServer;

    let (down, peer) = (
        Peer::scripted(&[], |_, _, _| Act::Close).await,
        Peer::start(&[]).await,
    );
    let node = start(RetryPolicy::default(), |settings| {
        route(settings, "hamburger.edu", down.address)
    })
    .await;
    let mut client = QueueClient::new(postrider_proto::Link::local(QueueServer::new(node.operator())));
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(node.send(node.letter(&["bob@hamburger.edu"])).await.to_string());
    }
    node.wait_for_step("deferred", 3).await;
    let filter = |sender: &str| contract::Filter {
        sender: sender.into(),
        ..Default::default()
    };
    let listed = |filter, limit| contract::ListUnitsRequest { filter, limit };
    let mut count = async |request| {
        let mut units = client.list_units(request).await.unwrap().into_inner();
        let mut seen = Vec::new();
        while let Some(unit) = units.message().await.unwrap() {
            seen.push(unit);
        }
        seen
    };
    assert_eq!(count(listed(None, 2)).await.len(), 2);
    assert_eq!(count(listed(Some(filter("bob@hamburger.edu")), 0)).await.len(), 0);
    let all = count(listed(Some(filter("Alice@crepes.fr")), 0)).await;
    assert_eq!(all.iter().map(|unit| unit.id.clone()).collect::<Vec<_>>(), ids);
    assert_eq!(
        (all[0].attempts, all[0].destination.as_str(), all[0].state()),
        (1, "hamburger.edu", contract::State::Queued)
    );
    assert!(all[0].last_reply.contains("4.4.2"), "{}", all[0].last_reply);
    assert_eq!(all[0].trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");

    let mut act = async |action: contract::act_request::Action, ids: &[String], reroute: &str| {
        let request = contract::ActRequest {
            action: action.into(),
            ids: ids.to_vec(),
            reroute: reroute.into(),
            ..Default::default()
        };
        let mut answers = client.act(request).await.unwrap().into_inner();
        let mut refused = Vec::new();
        while let Some(answer) = answers.message().await.unwrap() {
            refused.push(answer.refused);
        }
        refused
    };
    use contract::act_request::Action;
    assert_eq!(act(Action::Hold, &ids[..1], "").await, [""]);
    assert_eq!(act(Action::Hold, &ids[..1], "").await, ["it is held already"]);
    assert_eq!(act(Action::Cancel, &ids[1..2], "").await, [""]);
    assert!(act(Action::Cancel, &ids[1..2], "").await[0].contains("not found"));
    assert_eq!(
        act(Action::Hold, &[], "").await.len(),
        0,
        "an empty filter matches nothing"
    );
    assert_eq!(
        act(Action::Reroute, &ids[2..], &peer.address.to_string()).await,
        [""]
    );
    peer.wait_for(1).await;
    assert_eq!(act(Action::Release, &ids[..1], "").await, [""]);
    assert_eq!(
        act(Action::Reroute, &ids[..1], &peer.address.to_string())
            .await
            .len(),
        1
    );
    node.wait_for_step("cancelled", 1).await;
    let missing = client
        .get_unit(contract::GetUnitRequest { id: ids[1].clone() })
        .await
        .unwrap_err();
    assert_eq!(missing.code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn a_server_that_says_later_is_asked_again() {
    let peer = Peer::scripted(&[], |at, _, message| match (at, message) {
        ("END", 1) => Act::Say("451 4.3.0 not now"),
        _ => Act::Normal,
    })
    .await;
    let node = start(quick(), |settings| route(settings, "hamburger.edu", peer.address)).await;
    node.send(node.letter(&["bob@hamburger.edu"])).await;
    peer.wait_for(1).await;
    node.wait_until_empty().await;
    let deferred = node.steps("deferred");
    assert_eq!(deferred.len(), 1);
    assert!(deferred[0].detail.contains("451 4.3.0 not now"));
}

#[tokio::test]
async fn an_outcome_that_cannot_be_recorded_is_recorded_later_and_not_sent_again() {
    let peer = Peer::start(&[]).await;
    let left = std::sync::atomic::AtomicUsize::new(3);
    let full = move |call: &'static str| {
        let fails = call == "apply"
            && left
                .try_update(
                    std::sync::atomic::Ordering::SeqCst,
                    std::sync::atomic::Ordering::SeqCst,
                    |left| left.checked_sub(1),
                )
                .is_ok();
        fails.then_some(postrider_queue::memory::Fault::Fail)
    };
    let node = start_failing(Arc::new(full), |settings| {
        route(settings, "hamburger.edu", peer.address);
    })
    .await;
    node.send(node.letter(&["bob@hamburger.edu"])).await;
    node.wait_until_empty().await;
    assert_eq!(peer.taken().len(), 1);
    assert_eq!(node.steps("delivered").len(), 1);
}

#[tokio::test]
async fn recipients_beyond_what_the_server_takes_follow_at_once() {
    let counts = parking_lot::Mutex::new(std::collections::HashMap::new());
    let peer = Peer::scripted(&["PIPELINING"], move |at, _, message| {
        // It is asked twice about each RCPT.
        let mut counts = counts.lock();
        let count = counts.entry(message).or_insert(0);
        *count += usize::from(at == "RCPT");
        match at {
            "RCPT" if *count > 4 => Act::Say("452 4.5.3 too many recipients"),
            _ => Act::Normal,
        }
    })
    .await;
    let node = start(RetryPolicy::default(), |settings| {
        route(settings, "hamburger.edu", peer.address);
    })
    .await;
    let to: Vec<String> = (0..5).map(|at| format!("user{at}@hamburger.edu")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    node.send(node.letter(&to)).await;
    let taken = peer.wait_for(3).await;
    let numbers: Vec<usize> = taken.iter().map(|taken| taken.rcpt.len()).collect();
    assert_eq!(numbers, [2, 2, 1]);
    node.wait_until_empty().await;
}

#[tokio::test]
async fn a_small_message_is_one_chunk() {
    let chunks = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counting = chunks.clone();
    let peer = Peer::scripted(&["CHUNKING"], move |at, _, _| {
        counting.fetch_add(usize::from(at == "BDAT"), std::sync::atomic::Ordering::SeqCst);
        Act::Normal
    })
    .await;
    let node = start(quick(), |settings| route(settings, "hamburger.edu", peer.address)).await;
    node.send(node.letter(&["bob@hamburger.edu"])).await;
    assert_eq!(peer.wait_for(1).await[0].data, LETTER);
    assert_eq!(chunks.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn of_what_a_server_says_only_text_is_kept_and_not_too_much() {
    let line = format!("450-4.2.0 \x1b[2J{}\r\n", "x".repeat(1800));
    let reply: &'static str = format!("{}450 4.2.0 end", line.repeat(8)).leak();
    let peer = Peer::scripted(&[], move |at, _, _| match at {
        "RCPT" => Act::Say(reply),
        _ => Act::Normal,
    })
    .await;
    let node = start(RetryPolicy::default(), |settings| {
        route(settings, "hamburger.edu", peer.address);
    })
    .await;
    let id = node.send(node.letter(&["bob@hamburger.edu"])).await;
    node.wait_for_step("deferred", 1).await;
    let unit = node.queue.get(id).await.unwrap();
    for kept in [&unit.last_reply, &unit.new.recipients[0].last_reply] {
        assert!(kept.contains("450 4.2.0 ") && kept.len() <= 1000, "{kept}");
        assert!(!kept.contains(char::is_control), "{kept:?}");
    }
}

#[tokio::test]
async fn down_for_ever_comes_back_to_the_sender() {
    let peer = Peer::scripted(&[], |at, _, _| match at {
        "RCPT" => Act::Say("450 4.2.1 mailbox busy"),
        _ => Act::Normal,
    })
    .await;
    let retry = RetryPolicy {
        give_up: Duration::from_millis(900),
        warn_after: Duration::from_millis(200),
        ..quick()
    };
    let node = start(retry, |settings| route(settings, "hamburger.edu", peer.address)).await;
    node.send(node.letter(&["bob@hamburger.edu"])).await;
    node.wait_for_step("failed", 1).await;
    node.wait_until_empty().await;
    let mailbox = node.store.mailbox(1);
    assert_eq!(mailbox.len(), 2, "a warning and a failure: {mailbox:#?}");
    assert!(mailbox[0].contains("Action: delayed"), "{}", mailbox[0]);
    assert!(mailbox[1].starts_with("Return-Path: <>\r\n"), "{}", mailbox[1]);
    assert!(mailbox[1].contains("Action: failed"), "{}", mailbox[1]);
    assert!(mailbox[1].contains("450 4.2.1 mailbox busy"), "{}", mailbox[1]);
    assert!(mailbox[1].contains("Subject: ketchup"), "{}", mailbox[1]);
    assert_eq!(node.steps("notified").len(), 2);
}

#[tokio::test]
async fn a_refused_recipient_is_told_of_and_the_others_get_it() {
    let peer = Peer::scripted(&["PIPELINING"], {
        let count = std::sync::atomic::AtomicUsize::new(0);
        move |at, _, _| match at {
            "RCPT" if count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) / 2 == 0 => {
                Act::Say("550 5.1.1 no such user")
            }
            _ => Act::Normal,
        }
    })
    .await;
    let node = start(quick(), |settings| route(settings, "hamburger.edu", peer.address)).await;
    node.send(node.letter(&["nobody@hamburger.edu", "bob@hamburger.edu"]))
        .await;
    peer.wait_for(1).await;
    node.wait_until_empty().await;
    let mailbox = node.store.mailbox(1);
    assert_eq!(mailbox.len(), 1);
    assert!(mailbox[0].contains("Status: 5.1.1"), "{}", mailbox[0]);
    assert!(mailbox[0].contains("nobody@hamburger.edu"));
    assert!(!mailbox[0].contains("Final-Recipient: rfc822; bob@"));
    assert!(
        !mailbox[0].contains("Do you like ketchup"),
        "only the header comes back"
    );
}

#[tokio::test]
async fn a_remote_sender_is_told_over_smtp_and_nobody_else() {
    let peer = Peer::start(&[]).await;
    let refusing = Peer::scripted(&[], |at, _, _| {
        if at == "MAIL" {
            Act::Say("550 5.7.1 go away")
        } else {
            Act::Normal
        }
    })
    .await;
    let node = start(quick(), |settings| {
        routes(
            settings,
            &[
                ("hamburger.edu", refusing.address),
                ("elsewhere.example", peer.address),
            ],
        );
    })
    .await;
    let mut unit = node.letter(&["bob@hamburger.edu"]);
    unit.sender = ReversePath(Some(Address::new("dave@elsewhere.example").unwrap()));
    unit.return_full = true;
    node.send(unit).await;
    let mut null = node.letter(&["bob@hamburger.edu"]);
    null.sender = ReversePath::NULL;
    node.send(null).await;
    let mut gone = node.letter(&["bob@hamburger.edu"]);
    gone.sender = ReversePath(Some(Address::new("gone@crepes.fr").unwrap()));
    node.send(gone).await;
    let taken = peer.wait_for(1).await.remove(0);
    assert!(taken.mail.starts_with("MAIL FROM:<>"), "{}", taken.mail);
    assert!(taken.rcpt[0].contains("<dave@elsewhere.example>"));
    assert!(!taken.data.contains("Return-Path"));
    assert!(
        taken.data.contains("How about pickles?"),
        "RET=FULL returns all of it: {}",
        taken.data
    );
    node.wait_until_empty().await;
    assert_eq!(peer.taken().len(), 1);
}

#[tokio::test]
async fn eight_bits_are_converted_for_a_server_that_takes_seven() {
    let text = "From: alice@crepes.fr\r\nSubject: crepes\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: 8bit\r\n\r\nCrêpes à la française\r\n";
    let (seven, eight) = (
        Peer::start(&[]).await,
        Peer::start(&["8BITMIME", "CHUNKING"]).await,
    );
    let node = start(quick(), |settings| {
        routes(
            settings,
            &[("seven.example", seven.address), ("eight.example", eight.address)],
        );
    })
    .await;
    node.send(node.message(text, &["bob@seven.example"])).await;
    node.send(node.message(text, &["bob@eight.example"])).await;
    let (seven, eight) = (
        seven.wait_for(1).await.remove(0),
        eight.wait_for(1).await.remove(0),
    );
    assert!(seven.data.is_ascii(), "{}", seven.data);
    assert!(
        seven.data.contains("quoted-printable") || seven.data.contains("base64"),
        "{}",
        seven.data
    );
    assert!(!seven.data.contains("Return-Path"), "{}", seven.data);
    assert!(!seven.mail.contains("BODY=8BITMIME"), "{}", seven.mail);
    assert_eq!(eight.data, text);
    assert!(eight.mail.contains("BODY=8BITMIME"), "{}", eight.mail);
    node.wait_until_empty().await;
}

#[tokio::test]
async fn an_address_beyond_ascii_needs_a_server_that_takes_it() {
    let (plain, utf8) = (
        Peer::start(&["8BITMIME"]).await,
        Peer::start(&["8BITMIME", "SMTPUTF8"]).await,
    );
    let node = start(quick(), |settings| {
        routes(
            settings,
            &[("plain.example", plain.address), ("utf8.example", utf8.address)],
        );
    })
    .await;
    for to in ["π@plain.example", "π@utf8.example"] {
        let mut unit = node.letter(&[to]);
        unit.utf8 = true;
        node.send(unit).await;
    }
    let taken = utf8.wait_for(1).await.remove(0);
    assert!(taken.mail.contains("SMTPUTF8"), "{}", taken.mail);
    node.wait_until_empty().await;
    assert!(
        node.store.mailbox(1)[0].contains("5.6.7"),
        "{:#?}",
        node.store.mailbox(1)
    );
    assert!(plain.taken().is_empty());
}

#[tokio::test]
async fn a_connection_that_has_had_its_share_delays_and_loses_nothing() {
    let peer = Peer::scripted(&["PIPELINING"], |at, connection, message| {
        match (at, connection, message) {
            ("MAIL", 1, 3) => Act::SayAndClose("421 4.3.2 going down"),
            _ => Act::Normal,
        }
    })
    .await;
    let node = start(RetryPolicy::default(), |settings| {
        route(settings, "hamburger.edu", peer.address);
        settings.limits.per_destination = 1;
    })
    .await;
    node.queue
        .enqueue((0..6).map(|_| node.letter(&["bob@hamburger.edu"])).collect())
        .await
        .unwrap();
    peer.wait_for(6).await;
    node.wait_until_empty().await;
    assert_eq!(peer.taken().len(), 6);
    assert!(
        node.steps("deferred").is_empty(),
        "nothing is wrong with the unit"
    );
    let steps = node.steps("attempt");
    assert!(
        steps.iter().any(|step| step.detail.contains("421 4.3.2")),
        "{steps:?}"
    );
}

#[tokio::test]
async fn a_connection_closed_while_idle_costs_no_attempt() {
    // Closes without a word when the connection is used for the second time.
    let peer = Peer::scripted(&[], |at, connection, message| match (at, connection, message) {
        ("MAIL", 1, 2) => Act::Close,
        _ => Act::Normal,
    })
    .await;
    let node = start(quick(), |settings| route(settings, "hamburger.edu", peer.address)).await;
    for count in 1..4 {
        node.send(node.letter(&["bob@hamburger.edu"])).await;
        peer.wait_for(count).await;
        // Longer than the connection stays open without work, at last.
        tokio::time::sleep(Duration::from_millis(if count == 2 { 700 } else { 50 })).await;
    }
    node.wait_until_empty().await;
    assert_eq!(peer.connections(), 3);
    assert!(node.steps("deferred").is_empty());
}

#[tokio::test]
async fn a_connection_lost_behind_the_final_dot_is_sent_again() {
    let peer = Peer::scripted(&[], |at, connection, _| match (at, connection) {
        ("END", 1) => Act::Close,
        _ => Act::Normal,
    })
    .await;
    let node = start(quick(), |settings| route(settings, "hamburger.edu", peer.address)).await;
    node.send(node.letter(&["bob@hamburger.edu"])).await;
    peer.wait_for(2).await;
    node.wait_until_empty().await;
    assert_eq!(peer.taken().len(), 2, "the documented window");
    assert!(node.steps("deferred")[0].detail.contains("may arrive twice"));
}

#[tokio::test]
async fn a_silent_server_is_given_up_in_time() {
    for at in ["CONNECT", "EHLO", "MAIL", "DATA", "END"] {
        let peer = Peer::scripted(&[], move |now, connection, _| {
            if now == at && connection == 1 {
                Act::Hang
            } else {
                Act::Normal
            }
        })
        .await;
        let node = start(quick(), |settings| route(settings, "hamburger.edu", peer.address)).await;
        let begun = Instant::now();
        node.send(node.letter(&["bob@hamburger.edu"])).await;
        node.wait_for_step("deferred", 1).await;
        assert!(begun.elapsed() < Duration::from_secs(4), "{at}");
    }
}

#[tokio::test]
async fn a_dead_destination_does_not_slow_another() {
    // Accepts and never says a word: the worst kind.
    let (dead, alive) = (
        Peer::scripted(&[], |_, _, _| Act::Hang).await,
        Peer::start(&[]).await,
    );
    let node = start(quick(), |settings| {
        routes(
            settings,
            &[("dead.example", dead.address), ("alive.example", alive.address)],
        );
        settings.network.timeouts.greeting = Duration::from_secs(60);
        settings.limits.waiting_per_destination = 50;
    })
    .await;
    node.dns
        .fault("slow.example", postrider_testkit::dns::Fault::Silence);
    for _ in 0..5 {
        node.queue
            .enqueue((0..100).map(|_| node.letter(&["bob@dead.example"])).collect())
            .await
            .unwrap();
        node.queue
            .enqueue((0..10).map(|_| node.letter(&["bob@slow.example"])).collect())
            .await
            .unwrap();
    }
    let begun = Instant::now();
    node.queue
        .enqueue((0..20).map(|_| node.letter(&["bob@alive.example"])).collect())
        .await
        .unwrap();
    alive.wait_for(20).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let _ = dead;
}

#[tokio::test]
async fn tls_is_used_where_offered_and_done_without_where_broken() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Arc::new(Identity::self_signed(dir.path(), "peer.example").unwrap());
    let (good, broken) = (Peer::with_tls(Some(identity)).await, Peer::with_tls(None).await);
    let node = start(quick(), |settings| {
        routes(
            settings,
            &[("good.example", good.address), ("broken.example", broken.address)],
        );
    })
    .await;
    node.send(node.letter(&["bob@good.example"])).await;
    node.send(node.letter(&["bob@broken.example"])).await;
    assert!(good.wait_for(1).await[0].tls);
    assert!(!broken.wait_for(1).await[0].tls);
    node.wait_until_empty().await;
    let attempts = node.steps("attempt");
    assert!(
        attempts
            .iter()
            .any(|step| step.detail.contains("TLSv1.3") && step.detail.contains("not verified")),
        "{attempts:#?}"
    );
    assert!(
        attempts.iter().any(|step| step.detail.contains("in the clear")),
        "{attempts:#?}"
    );
    assert_eq!(broken.connections(), 2);
}

#[tokio::test]
async fn a_success_is_told_when_the_other_side_does_not() {
    let (plain, dsn) = (Peer::start(&[]).await, Peer::start(&["DSN"]).await);
    let node = start(quick(), |settings| {
        routes(
            settings,
            &[("plain.example", plain.address), ("dsn.example", dsn.address)],
        );
    })
    .await;
    for to in ["bob@plain.example", "bob@dsn.example"] {
        let mut unit = node.letter(&[to]);
        unit.recipients[0].notify.success = true;
        node.send(unit).await;
    }
    assert!(
        dsn.wait_for(1).await[0].rcpt[0].contains("NOTIFY="),
        "{:?}",
        dsn.taken()
    );
    plain.wait_for(1).await;
    node.wait_until_empty().await;
    let mailbox = node.store.mailbox(1);
    assert_eq!(mailbox.len(), 1);
    assert!(mailbox[0].contains("Action: relayed"), "{}", mailbox[0]);
}

#[tokio::test]
async fn a_notification_that_cannot_be_made_stays_owed() {
    let peer = Peer::scripted(&[], |at, _, _| {
        if at == "MAIL" {
            Act::Say("550 5.7.1 no")
        } else {
            Act::Normal
        }
    })
    .await;
    let node = start(quick(), |settings| {
        route(settings, "hamburger.edu", peer.address);
        settings.owed = Duration::from_millis(200);
    })
    .await;
    node.send(node.letter(&["bob@hamburger.edu"])).await;
    node.wait_for_step("notified", 1).await;
    node.wait_until_empty().await;
    node.store.0.lock().away = true;
    let id = node.send(node.letter(&["bob@hamburger.edu"])).await;
    node.wait_for_step("failed", 2).await;
    assert_eq!(node.queue.get(id).await.unwrap().owed, [0]);
    assert_eq!(peer.connections(), 1, "nothing is sent again for it");
    node.store.0.lock().away = false;
    node.wait_for_step("notified", 2).await;
    node.wait_until_empty().await;
    assert!(node.queue.get(id).await.is_err());
    assert_eq!(node.store.mailbox(1).len(), 2);
}

#[tokio::test]
async fn a_drain_finishes_what_is_sent_and_gives_back_the_rest() {
    let peer = Peer::scripted(&[], |at, _, _| match at {
        "END" => Act::Late(Duration::from_millis(100)),
        _ => Act::Normal,
    })
    .await;
    let node = start(quick(), |settings| {
        route(settings, "hamburger.edu", peer.address);
        settings.limits.per_destination = 1;
    })
    .await;
    node.queue
        .enqueue((0..20).map(|_| node.letter(&["bob@hamburger.edu"])).collect())
        .await
        .unwrap();
    peer.wait_for(2).await;
    let queue = node.stop().await;
    let counts = queue.statistics().await.unwrap();
    let taken = peer.taken().len() as u64;
    assert_eq!((counts.sending, counts.queued + taken), (0, 20), "{counts:?}");
    assert!(taken < 20);
}

#[tokio::test]
async fn a_suspended_domain_waits_until_it_is_resumed() {
    let peer = Peer::start(&[]).await;
    let node = start(quick(), |settings| route(settings, "hamburger.edu", peer.address)).await;
    node.queue
        .suspend(Domain::new("hamburger.edu").unwrap(), "their request")
        .await
        .unwrap();
    node.send(node.letter(&["bob@hamburger.edu"])).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(peer.taken().is_empty());
    node.queue
        .resume(Domain::new("hamburger.edu").unwrap())
        .await
        .unwrap();
    peer.wait_for(1).await;
    node.wait_until_empty().await;
}
