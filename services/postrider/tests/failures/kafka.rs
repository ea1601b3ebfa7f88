//! Kafka is away, empty, half made, silent.

use std::time::{Duration, Instant};

use postrider_testbed::{Kind, Own, Testbed};
use postrider_testkit::node::{Node, Wish};
use postrider_testkit::peer::{Manner, Peer};
use postrider_testkit::wire::{eventually, pause};

use crate::support::*;

const ELSEWHERE: &str = "dave@elsewhere.example";
/// How long accepting may take without Kafka: its patience of a second, the rows, and a slow machine.
const ACCEPTED: Duration = Duration::from_secs(8);

#[test]
fn without_kafka_mail_is_accepted_and_waits_in_its_rows() {
    let peer = Peer::start(Manner::default());
    let mut node = cluster(&Wish {
        routes: vec![("elsewhere.example".into(), peer.address())],
        ..wish()
    });
    let scratch = node.scratch().join("kafka");
    let kafka = Own::new(Kind::Kafka, &Testbed::new().unwrap(), &scratch, None).unwrap();
    set(
        &mut node,
        "POSTRIDER__QUEUE__KAFKA__BROKERS",
        &kafka.address().to_string(),
    );
    let logs = Log::of_all(&mut node);
    node.launch();
    let ready = [
        "smtp-ingress",
        "mail-store",
        "directory",
        "imap-gateway",
        "pop3-gateway",
    ];
    for name in ready {
        let process = node.process(name);
        eventually(&format!("{name} to be ready"), MINUTE, || {
            process.is_ready().then_some(())
        });
    }
    node.add_account(BOB, PASSWORD);

    // Not there at start.
    not_ready(
        &mut node,
        "no broker of 127.0.0.9:19092 answers, check that they run",
    );
    let said = status(&node, false);
    assert!(said.contains("no broker of 127.0.0.9:19092 answers"), "{said}");
    assert_eq!(within(ACCEPTED, "DATA", || submit(&node)), "250");
    assert_eq!(all_is_well(&node), 1);
    for log in &logs {
        let name = log.name();
        let all = log.warnings(&mut node);
        let expected = usize::from(["smtp-ingress", "delivery-worker"].contains(&name));
        assert_eq!(
            log.count(&mut node, "the queue is not ready"),
            expected,
            "{name}: {all:#?}"
        );
        assert!(all.len() <= 12, "{name} floods its log: {all:#?}");
    }
    for name in ["smtp-ingress", "delivery-worker"] {
        assert_eq!(
            metric(node.process(name), "postrider_engine_up", "queue"),
            0.0,
            "{name}"
        );
    }

    // There, without topics: whoever misses them makes them.
    kafka.start().unwrap();
    wait_ready(&mut node);
    let said = status(&node, true);
    assert!(
        said.contains("are there") && said.contains("redis answers"),
        "{said}"
    );

    // What was accepted meanwhile is in its row, and goes when it is woken: by the reconciler in some minutes, or now by a person.
    assert_eq!(submit(&node), "250");
    eventually("mail goes out again", MINUTE, || {
        (!peer.taken().is_empty()).then_some(())
    });
    if peer.taken().len() < 2 {
        node.admin(&["queue", "retry", "--destination", "elsewhere.example"]);
    }
    eventually("the letter that waited", MINUTE, || {
        (peer.taken().len() == 2).then_some(())
    });

    lost_and_silent(&mut node, &kafka, &peer);
}

/// The broker is killed and started again, stopped in its tracks and let go on.
fn lost_and_silent(node: &mut Node, kafka: &Own, peer: &Peer) {
    let logs = Log::of_all(node);
    let here = inbox(node);
    kafka.kill().unwrap();
    not_ready(node, "no broker of 127.0.0.9:19092 answers");
    // Who only puts wake-ups in notices too.
    let ingress = node.process("smtp-ingress");
    eventually("smtp-ingress to miss it", MINUTE, || {
        (metric(ingress, "postrider_engine_up", "queue") == 0.0).then_some(())
    });
    let before = metric(
        node.process("smtp-ingress"),
        "postrider_smtp_messages_total",
        "accepted",
    );
    for _ in 0..4 {
        assert_eq!(within(ACCEPTED, "DATA", || submit(node)), "250");
    }
    let after = metric(
        node.process("smtp-ingress"),
        "postrider_smtp_messages_total",
        "accepted",
    );
    assert_eq!(after - before, 4.0);
    assert_eq!(all_is_well(node), here + 1);
    assert_eq!(peer.taken().len(), 2, "nothing goes out");
    kafka.start().unwrap();
    wait_ready(node);
    arrived(node, peer, 6);
    for log in &logs {
        let name = log.name();
        let all = log.warnings(node);
        let expected = usize::from(["smtp-ingress", "delivery-worker"].contains(&name));
        assert_eq!(
            log.count(node, "the queue is not ready"),
            expected,
            "{name}: {all:#?}"
        );
        assert!(all.len() <= 15, "{name} floods its log: {all:#?}");
    }

    kafka.pause().unwrap();
    for _ in 0..3 {
        assert_eq!(within(ACCEPTED, "DATA", || submit(node)), "250");
    }
    kafka.resume().unwrap();
    arrived(node, peer, 9);
    pause(Duration::from_secs(1));
    assert_eq!(peer.taken().len(), 9, "each once");
    forgotten(node, kafka);
}

/// Records wait a minute for their broker. On a machine so slow that the outage was longer the units would be found in some minutes:
/// then a person wakes them.
fn arrived(node: &Node, peer: &Peer, count: usize) {
    let begin = Instant::now();
    let mut woken = false;
    eventually("what was accepted meanwhile", 2 * MINUTE, || {
        if !woken && begin.elapsed() > MINUTE / 2 {
            node.admin(&["queue", "retry", "--destination", "elsewhere.example"]);
            woken = true;
        }
        (peer.taken().len() == count).then_some(())
    });
}

/// The broker comes back without its data: the topics are made anew, mail is accepted and goes out.
fn forgotten(node: &mut Node, kafka: &Own) {
    kafka.kill().unwrap();
    not_ready(node, "no broker of 127.0.0.9:19092 answers");
    kafka.wipe().unwrap();
    kafka.start().unwrap();
    assert_eq!(within(ACCEPTED, "DATA", || submit(node)), "250");
    wait_ready(node);
    let said = status(node, true);
    assert!(said.contains("are there"), "{said}");
}

/// Bob writes to Dave; the reply's code.
fn submit(node: &Node) -> String {
    let said = letter(&mut submission(node), BOB, &[ELSEWHERE]);
    said.chars().take(3).collect()
}

/// The worker says this at `/readyz`.
fn not_ready(node: &mut Node, why: &str) {
    let process = node.process("delivery-worker");
    eventually(why, MINUTE, || {
        let answer = process.http("/readyz")?;
        (answer.starts_with("HTTP/1.1 503") && answer.contains(why)).then_some(())
    });
}

/// What `cluster status` prints, and whether it is content.
fn status(node: &Node, well: bool) -> String {
    let output = node.run(&["cluster", "status"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.success(), well, "{said}");
    said
}
