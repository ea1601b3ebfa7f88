//! Processes of a role are killed while the others serve, and the rows of the queue are away while all else is there.

use std::time::Duration;

use postrider_cql::testing::Mode;
use postrider_testkit::imap::Imap;
use postrider_testkit::node::{Node, Wish};
use postrider_testkit::peer::{Manner, Peer};
use postrider_testkit::wire::{Wire, eventually, pause};

use crate::support::*;

const ELSEWHERE: &str = "dave@elsewhere.example";

/// What is not sent at once is tried again within seconds. (The engine is the cluster's, by environment.)
const IMPATIENT: &str = "first = \"1s\", max = \"2s\", jitter = 0.0, give_up = \"1h\", warn_after = \"1h\"";

/// A cluster that knows Bob, with a peer that takes mail for others.
fn with_peer() -> (Node, Peer) {
    let peer = Peer::start(Manner::default());
    let mut node = cluster(&Wish {
        routes: vec![("elsewhere.example".into(), peer.address())],
        more: format!("[queue]\nengine = \"embedded\"\nretry = {{ {IMPATIENT} }}\n"),
        ..wish()
    });
    node.launch();
    (node, peer)
}

#[test]
fn a_mail_store_or_a_directory_that_is_killed_is_missed_and_comes_back() {
    let (mut node, peer) = with_peer();
    wait_ready(&mut node);
    node.add_account(BOB, PASSWORD);
    node.add_account("carol@hamburger.edu", PASSWORD);
    let here = all_is_well(&node);
    let mut open = Imap::login(node.address("imap"), BOB, PASSWORD);
    open.select("INBOX");
    let mut submitting = submission(&node);

    node.process("mail-store").kill();
    let logs = Log::of_all(&mut node);
    let said = within(REPLY, "DATA", || {
        letter(&mut smtp(&node), "alice@crepes.fr", &[BOB])
    });
    assert!(said.starts_with("451 4.3.0"), "{said}");
    // What goes elsewhere is in the queue's rows, and waits there: its content is the mail store's to read.
    let said = within(REPLY, "DATA", || letter(&mut submitting, BOB, &[ELSEWHERE]));
    assert!(said.starts_with("250"), "{said}");
    let (_, said) = within(REPLY, "STATUS", || open.command("STATUS INBOX (MESSAGES)"));
    assert!(said.starts_with("NO [UNAVAILABLE]"), "{said}");
    let said = within(REPLY, "PASS", || pop3(&node).1);
    assert!(said.starts_with("-ERR [SYS/TEMP]"), "{said}");
    for log in logs.iter().filter(|log| log.name() != "mail-store") {
        let all = log.warnings(&mut node);
        assert!(all.len() <= 15, "{} floods its log: {all:#?}", log.name());
    }
    assert_eq!(
        logs[0].count(&mut node, "left out: "),
        1,
        "{:#?}",
        logs[0].warnings(&mut node)
    );
    assert!(
        metric(
            node.process("smtp-ingress"),
            "postrider_rpc_calls_total",
            "Unavailable"
        ) > 0.0
    );
    node.process("mail-store").launch();
    wait_ready(&mut node);
    eventually("the store is found again", MINUTE, || {
        let (_, said) = open.command("STATUS INBOX (MESSAGES)");
        said.starts_with("OK").then_some(())
    });
    assert_eq!(all_is_well(&node), here + 1);
    eventually("the letter elsewhere", MINUTE, || {
        (peer.taken().len() == 1).then_some(())
    });

    node.process("directory").kill();
    let logs = Log::of_all(&mut node);
    // Bob is remembered, Carol was never asked for.
    let mut wire = smtp(&node);
    wire.command("MAIL FROM:<alice@crepes.fr>", "250");
    within(REPLY, "RCPT", || {
        wire.command("RCPT TO:<carol@hamburger.edu>", "451 4.3.0")
    });
    wire.command("RSET", "250");
    let said = within(REPLY, "DATA", || letter(&mut wire, "alice@crepes.fr", &[BOB]));
    assert!(said.starts_with("250"), "{said}");
    let (lines, said) = open.command("STATUS INBOX (MESSAGES)");
    assert!(
        said.starts_with("OK") && lines.concat().contains(&format!("MESSAGES {}", here + 2)),
        "{lines:?}"
    );
    let said = within(REPLY, "LOGIN", || imap_login(&node));
    assert!(said.starts_with("NO [UNAVAILABLE]"), "{said}");
    let said = within(REPLY, "PASS", || pop3(&node).1);
    assert!(said.starts_with("-ERR [SYS/TEMP]"), "{said}");
    let mut wire = Wire::connect(node.address("submission"));
    wire.reply("220");
    wire.command("EHLO client.example", "250");
    within(REPLY, "AUTH", || wire.command(AUTH, "454 4.7.0"));
    for log in logs.iter().filter(|log| log.name() != "directory") {
        let all = log.warnings(&mut node);
        assert!(all.len() <= 15, "{} floods its log: {all:#?}", log.name());
    }
    node.process("directory").launch();
    wait_ready(&mut node);
    eventually("the directory is found again", MINUTE, || {
        imap_login(&node).starts_with("OK").then_some(())
    });
    assert_eq!(all_is_well(&node), here + 3);
}

#[test]
fn without_the_rows_of_the_queue_mail_for_others_waits_at_its_sender() {
    let (mut node, peer) = with_peer();
    wait_ready(&mut node);
    node.stop();
    // The store and the directory have their own ways to the database.
    let rows = database_between(&mut node, &["smtp-ingress"]);
    node.restart();
    node.add_account(BOB, PASSWORD);
    let here = all_is_well(&node);
    let mut wire = submission(&node);
    cut(&rows);
    // Nobody knows yet that the rows are away: all or none.
    let said = within(REPLY, "DATA", || letter(&mut wire, BOB, &[BOB, ELSEWHERE]));
    assert!(said.starts_with("451 4.3.0"), "{said}");
    // Now it is known, and said to whom it concerns.
    wire.command(&format!("MAIL FROM:<{BOB}>"), "250");
    wire.command(&format!("RCPT TO:<{ELSEWHERE}>"), "451 4.3.0");
    wire.command(&format!("RCPT TO:<{BOB}>"), "250");
    wire.command("DATA", "354");
    wire.send_bytes(LETTER.replace("alice@crepes.fr", BOB).as_bytes());
    wire.command(".", "250");
    assert_eq!(inbox(&node), here + 1, "the first attempt has left nothing");
    let log = Log::of(node.process("smtp-ingress"));
    for _ in 0..20 {
        let mut wire = smtp(&node);
        assert!(within(REPLY, "DATA", || letter(&mut wire, "alice@crepes.fr", &[BOB])).starts_with("250"));
    }
    let all = log.warnings(&mut node);
    assert!(all.len() <= 15, "{all:#?}");
    assert_eq!(inbox(&node), here + 21);
    assert!(peer.taken().is_empty());

    rows.set(Mode::Pass);
    wait_ready(&mut node);
    eventually("the sender's next attempt", MINUTE, || {
        let mut wire = submission(&node);
        wire.command(&format!("MAIL FROM:<{BOB}>"), "250");
        wire.send(&format!("RCPT TO:<{ELSEWHERE}>"));
        if !wire.line().starts_with("250") {
            pause(Duration::from_millis(500));
            return None;
        }
        wire.command("DATA", "354");
        wire.send_bytes(LETTER.replace("alice@crepes.fr", BOB).as_bytes());
        wire.send(".");
        wire.line().starts_with("250").then_some(())
    });
    eventually("the letter elsewhere", MINUTE, || {
        (!peer.taken().is_empty()).then_some(())
    });
    pause(Duration::from_secs(1));
    assert_eq!(peer.taken().len(), 1);
}
