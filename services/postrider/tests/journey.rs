//! A letter's whole journey over real sockets: the textbook's dialogues as typed, and every way a journey can go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::HashSet;
use std::time::Duration;

use postrider_testkit::imap::Imap;
use postrider_testkit::node::{Node, Shape, Wish};
use postrider_testkit::peer::{Manner, Peer};
use postrider_testkit::wire::{Wire, deliver, eventually, submit};

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");
const MINUTE: Duration = Duration::from_secs(60);
const LETTER: &str = "From: alice@crepes.fr\r\nTo: bob@hamburger.edu\r\nSubject: Condiments\r\n\r\nDo you like ketchup?\r\nHow about pickles?\r\n";

/// Impatient retries, so that a test sees in seconds what takes days.
fn impatient(give_up: &str, warn_after: &str) -> String {
    format!(
        "[queue]\nengine = \"embedded\"\nretry = {{ first = \"1s\", max = \"1s\", jitter = 0.0, give_up = \"{give_up}\", warn_after = \"{warn_after}\" }}\n"
    )
}

fn wish(hostname: &str) -> Wish {
    Wish {
        hostname: hostname.into(),
        ..Wish::default()
    }
}

fn hamburger() -> Node {
    let node = Node::start(BINARY, &wish("hamburger.edu"));
    node.add_account("bob@hamburger.edu", "hungry");
    node
}

/// Submits a message with AUTH PLAIN over loopback.
fn wait_for_mail(node: &Node, user: &str, password: &str, count: u32) -> Imap {
    eventually(&format!("{count} messages for {user}"), MINUTE, || {
        let mut imap = Imap::login(node.address("imap"), user, password);
        (imap.select("INBOX") >= count).then_some(imap)
    })
}

/// Nothing is left in the queue, a moment after it has been delivered.
fn empty_queue(node: &Node) {
    eventually("an empty queue", MINUTE, || {
        node.admin(&["queue", "list", "--json"]).is_empty().then_some(())
    });
}

#[test]
fn the_textbooks_dialogues_work_as_typed() {
    let node = hamburger();
    let mut smtp = Wire::connect(node.address("smtp"));
    smtp.reply("220");
    smtp.command("HELO crepes.fr", "250");
    smtp.command("MAIL FROM: <alice@crepes.fr>", "250");
    smtp.command("RCPT TO: <bob@hamburger.edu>", "250");
    smtp.command("DATA", "354");
    smtp.send("Do you like ketchup?");
    smtp.send("How about pickles?");
    smtp.command(".", "250");
    smtp.command("QUIT", "221");
    smtp.expect_close();
    deliver(
        node.address("smtp"),
        "alice@crepes.fr",
        &["bob@hamburger.edu"],
        LETTER,
    );

    let mut pop3 = Wire::connect(node.address("pop3"));
    pop3.expect("+OK");
    pop3.send("user bob");
    pop3.expect("+OK");
    pop3.send("pass hungry");
    pop3.expect("+OK");
    pop3.send("list");
    pop3.expect("+OK");
    assert_eq!(pop3.dot_block().len(), 2);
    for number in 1..=2 {
        pop3.send(&format!("retr {number}"));
        pop3.expect("+OK");
        let message = pop3.dot_block().join("\n");
        assert!(
            message.contains("Do you like ketchup?\nHow about pickles?"),
            "{message}"
        );
        assert!(message.contains("Received: from "), "{message}");
        pop3.send(&format!("dele {number}"));
        pop3.expect("+OK");
    }
    pop3.send("quit");
    pop3.expect("+OK");
    pop3.expect_close();

    let mut again = Wire::connect(node.address("pop3"));
    again.expect("+OK");
    again.send("USER bob@hamburger.edu");
    again.expect("+OK");
    again.send("PASS hungry");
    again.expect("+OK");
    again.send("STAT");
    again.expect("+OK 0 0");
}

#[test]
fn a_letter_goes_from_server_to_server() {
    let bobs = hamburger();
    let mut alices_wish = wish("crepes.fr");
    alices_wish.routes = vec![("hamburger.edu".into(), bobs.address("smtp"))];
    let alices = Node::start(BINARY, &alices_wish);
    alices.add_account("alice@crepes.fr", "fries-please");
    submit(
        alices.address("submission"),
        "alice@crepes.fr",
        "fries-please",
        &["bob@hamburger.edu"],
        LETTER,
    );

    let mut imap = wait_for_mail(&bobs, "bob@hamburger.edu", "hungry", 1);
    let message = imap.fetch(1);
    assert!(message.contains("How about pickles?"), "{message}");
    assert_eq!(
        message.matches("\r\nReceived: ").count(),
        2,
        "one line by each server: {message}"
    );

    let steps = ["\"accepted\"", "\"queued\"", "\"delivered\""];
    alices.trace(&["--to", "bob@hamburger.edu", "--json"], &steps);
    let trace = bobs.trace(&["--from", "alice@crepes.fr"], &["stored"]);
    assert!(!trace.contains("missing"), "{trace}");
    empty_queue(&alices);
}

#[test]
fn when_the_other_server_is_down_for_a_while_the_letter_waits_here() {
    let mut bobs = hamburger();
    let mut alices_wish = wish("crepes.fr");
    alices_wish.routes = vec![("hamburger.edu".into(), bobs.address("smtp"))];
    alices_wish.more = impatient("5m", "5m");
    let mut alices = Node::start(BINARY, &alices_wish);
    alices.add_account("alice@crepes.fr", "fries-please");
    assert!(bobs.stop());
    submit(
        alices.address("submission"),
        "alice@crepes.fr",
        "fries-please",
        &["bob@hamburger.edu"],
        LETTER,
    );
    eventually("an attempt that failed", MINUTE, || {
        let list = alices.admin(&["queue", "list", "--json"]);
        (list.contains("bob@hamburger.edu") && !list.contains("\"attempts\":0")).then_some(())
    });
    // The queue survives its own server's crash as well.
    alices.kill();
    alices.restart();
    assert!(
        alices
            .admin(&["queue", "list", "--json"])
            .contains("bob@hamburger.edu")
    );
    bobs.restart();
    let mut imap = wait_for_mail(&bobs, "bob@hamburger.edu", "hungry", 1);
    assert_eq!(imap.search("ALL").len(), 1);
}

#[test]
fn when_the_other_server_is_down_for_ever_the_sender_is_told_once() {
    let mut alices_wish = wish("crepes.fr");
    // Nothing listens there.
    alices_wish.routes = vec![("hamburger.edu".into(), "127.0.0.1:9".parse().unwrap())];
    // The workers of a cluster have to find each other first, which takes seconds.
    alices_wish.more = match Shape::cluster_wanted() {
        true => impatient("30s", "15s"),
        false => impatient("4s", "2s"),
    };
    let alices = Node::start(BINARY, &alices_wish);
    alices.add_account("alice@crepes.fr", "fries-please");
    submit(
        alices.address("submission"),
        "alice@crepes.fr",
        "fries-please",
        &["bob@hamburger.edu"],
        LETTER,
    );
    let mut imap = wait_for_mail(&alices, "alice@crepes.fr", "fries-please", 2);
    let notices: Vec<String> = imap
        .search("ALL")
        .into_iter()
        .map(|uid| imap.fetch(uid))
        .collect();
    let count = |action: &str| notices.iter().filter(|notice| notice.contains(action)).count();
    assert_eq!(
        (count("Action: delayed"), count("Action: failed")),
        (1, 1),
        "{notices:#?}"
    );
    for notice in &notices {
        assert!(notice.contains("multipart/report"), "{notice}");
        assert!(
            notice.contains("Final-Recipient: rfc822; bob@hamburger.edu"),
            "{notice}"
        );
        assert!(
            notice.contains("Subject: Condiments"),
            "the original header is returned: {notice}"
        );
        assert!(
            notice.starts_with("* 1 FETCH") || notice.contains("Return-Path: <>"),
            "{notice}"
        );
    }
    empty_queue(&alices);
}

#[test]
fn what_is_not_seven_bit_is_converted_for_a_seven_bit_server() {
    let peer = Peer::start(Manner::default());
    let mut alices_wish = wish("crepes.fr");
    alices_wish.routes = vec![("hamburger.edu".into(), peer.address())];
    let alices = Node::start(BINARY, &alices_wish);
    alices.add_account("alice@crepes.fr", "fries-please");
    let letter = "From: alice@crepes.fr\r\nTo: bob@hamburger.edu\r\nSubject: Menu\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nCrêpes à la carte\r\n";
    submit(
        alices.address("submission"),
        "alice@crepes.fr",
        "fries-please",
        &["bob@hamburger.edu"],
        letter,
    );
    let taken = peer.wait_for(1, MINUTE).remove(0);
    assert!(taken.data.is_ascii(), "{}", taken.data);
    assert!(
        taken.data.contains("Cr=C3=AApes =C3=A0 la carte")
            || taken.data.contains("Q3LDqnBlcyDDoCBsYSBjYXJ0ZQ"),
        "{}",
        taken.data
    );
    assert!(
        !taken.data.contains("Return-Path"),
        "a Return-Path is for mailboxes only"
    );
}

#[test]
fn twenty_messages_go_over_one_connection() {
    let peer = Peer::start(Manner {
        offers: vec!["8BITMIME".into(), "PIPELINING".into()],
        ..Manner::default()
    });
    let mut alices_wish = wish("crepes.fr");
    alices_wish.routes = vec![("hamburger.edu".into(), peer.address())];
    alices_wish.more = "[outbound]\nconnections_per_destination = 1\n".into();
    let alices = Node::start(BINARY, &alices_wish);
    alices.add_account("alice@crepes.fr", "fries-please");
    alices.admin(&["queue", "suspend", "hamburger.edu"]);
    for number in 0..20 {
        let letter = LETTER.replace("Condiments", &format!("Condiments {number}"));
        submit(
            alices.address("submission"),
            "alice@crepes.fr",
            "fries-please",
            &["bob@hamburger.edu"],
            &letter,
        );
    }
    assert!(peer.taken().is_empty(), "a suspended domain gets nothing");
    alices.admin(&["queue", "resume", "hamburger.edu"]);
    let taken = peer.wait_for(20, MINUTE);
    let mut subjects: Vec<&str> = taken
        .iter()
        .filter_map(|one| one.data.lines().find(|line| line.starts_with("Subject")))
        .collect();
    subjects.sort_unstable();
    subjects.dedup();
    assert_eq!(subjects.len(), 20, "each exactly once");
    let connections: HashSet<u32> = taken.iter().map(|one| one.connection).collect();
    assert_eq!(connections.len(), 1, "{connections:?}");
}

#[test]
fn aliases_and_the_catch_all_find_their_accounts() {
    let node = hamburger();
    node.add_account("carol@hamburger.edu", "salad-days");
    node.admin(&[
        "alias",
        "add",
        "team@hamburger.edu",
        "bob@hamburger.edu",
        "carol@hamburger.edu",
    ]);
    node.admin(&["alias", "add", "@hamburger.edu", "carol@hamburger.edu"]);
    let address = node.address("smtp");
    assert!(deliver(address, "alice@crepes.fr", &["team@hamburger.edu"], LETTER).starts_with("250"));
    assert!(deliver(address, "alice@crepes.fr", &["anybody@hamburger.edu"], LETTER).starts_with("250"));
    assert!(deliver(address, "alice@crepes.fr", &["Bob+news@Hamburger.EDU"], LETTER).starts_with("250"));
    wait_for_mail(&node, "bob@hamburger.edu", "hungry", 2);
    wait_for_mail(&node, "carol@hamburger.edu", "salad-days", 2);
}

#[test]
fn strangers_cannot_relay_and_unknown_users_are_refused_at_once() {
    let node = hamburger();
    let mut wire = Wire::connect(node.address("smtp"));
    wire.reply("220");
    wire.command("EHLO spam.example", "250");
    wire.command("MAIL FROM:<x@spam.example>", "250");
    wire.command("RCPT TO:<victim@elsewhere.example>", "550 5.7.1");
    wire.command("RCPT TO:<nobody@hamburger.edu>", "550 5.1.1");
    wire.command("RCPT TO:<bob@hamburger.edu>", "250");
    let mut submission = Wire::connect(node.address("submission"));
    submission.reply("220");
    submission.command("EHLO spam.example", "250");
    submission.command("MAIL FROM:<bob@hamburger.edu>", "530");
}

#[test]
fn a_full_mailbox_refuses_and_loses_nothing() {
    let node = Node::start(BINARY, &wish("hamburger.edu"));
    node.admin(&["domain", "add", "hamburger.edu"]);
    let output = node.run_with_input(
        &[
            "account",
            "add",
            "bob@hamburger.edu",
            "--quota",
            "20KiB",
            "--password-stdin",
        ],
        "hungry\n",
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let letter = format!(
        "Subject: big\r\n\r\n{}",
        "All work and no play makes Jack a dull boy.\r\n".repeat(200)
    );
    let address = node.address("smtp");
    assert!(deliver(address, "a@x.example", &["bob@hamburger.edu"], &letter).starts_with("250"));
    assert!(deliver(address, "a@x.example", &["bob@hamburger.edu"], &letter).starts_with("250"));
    let refusal = deliver(address, "a@x.example", &["bob@hamburger.edu"], &letter);
    assert!(
        refusal.starts_with("452 4.2.2") || refusal.starts_with("552 5.2.2"),
        "{refusal}"
    );
    let mut imap = Imap::login(node.address("imap"), "bob@hamburger.edu", "hungry");
    assert_eq!(imap.select("INBOX"), 2);
}

#[test]
fn two_devices_and_pop3_see_one_state() {
    let node = hamburger();
    let address = node.address("imap");
    let mut desk = Imap::login(address, "bob@hamburger.edu", "hungry");
    let mut phone = Imap::login(address, "bob@hamburger.edu", "hungry");
    assert_eq!((desk.select("INBOX"), phone.select("INBOX")), (0, 0));
    phone.idle();
    deliver(
        node.address("smtp"),
        "alice@crepes.fr",
        &["bob@hamburger.edu"],
        LETTER,
    );
    assert_eq!(phone.next_line(), "* 1 EXISTS");
    phone.done();
    let seen = desk.ok("NOOP");
    assert!(seen.iter().any(|line| line == "* 1 EXISTS"), "{seen:?}");

    phone.idle();
    desk.ok("STORE 1 +FLAGS (\\Flagged)");
    let line = phone.next_line();
    assert!(line.contains("FETCH") && line.contains("\\Flagged"), "{line}");
    phone.done();

    desk.ok("CREATE Recipes");
    desk.ok("COPY 1 Recipes");
    let mut pop3 = Wire::connect(node.address("pop3"));
    pop3.expect("+OK");
    for line in ["USER bob", "PASS hungry", "DELE 1"] {
        pop3.send(line);
        pop3.expect("+OK");
    }
    // A maildrop has one user at a time.
    let mut second = Wire::connect(node.address("pop3"));
    second.expect("+OK");
    second.send("USER bob");
    second.expect("+OK");
    second.send("PASS hungry");
    second.expect("-ERR [IN-USE]");
    assert_eq!(phone.search("ALL"), [1], "not deleted before QUIT");
    phone.idle();
    pop3.send("QUIT");
    pop3.expect("+OK");
    assert_eq!(phone.next_line(), "* 1 EXPUNGE");
    phone.done();
    assert_eq!(desk.select("Recipes"), 1, "the copy stays");
}

#[test]
fn operators_hold_release_and_cancel() {
    let peer = Peer::start(Manner::default());
    let mut alices_wish = wish("crepes.fr");
    alices_wish.routes = vec![("hamburger.edu".into(), peer.address())];
    let alices = Node::start(BINARY, &alices_wish);
    alices.add_account("alice@crepes.fr", "fries-please");
    alices.admin(&["queue", "suspend", "hamburger.edu"]);
    for to in ["bob@hamburger.edu", "carol@hamburger.edu"] {
        submit(
            alices.address("submission"),
            "alice@crepes.fr",
            "fries-please",
            &[to],
            LETTER,
        );
    }
    let list = alices.admin(&["queue", "list", "--json"]);
    let id = |recipient: &str| {
        let line = list.lines().find(|line| line.contains(recipient)).unwrap();
        line.split("\"id\":\"").nth(1).unwrap()[..32].to_owned()
    };
    let (bobs, carols) = (id("bob@"), id("carol@"));
    assert!(
        alices
            .admin(&["queue", "show", &bobs])
            .contains("bob@hamburger.edu")
    );
    alices.admin(&["queue", "hold", &bobs]);
    alices.admin(&["queue", "cancel", &carols]);
    alices.admin(&["queue", "resume", "hamburger.edu"]);
    std::thread::spawn(|| postrider_testkit::wire::pause(Duration::from_secs(2)))
        .join()
        .unwrap();
    assert!(peer.taken().is_empty(), "held and cancelled units are not sent");
    alices.admin(&["queue", "release", &bobs]);
    let taken = peer.wait_for(1, MINUTE);
    assert!(taken[0].to[0].contains("bob@"), "{taken:?}");
    empty_queue(&alices);
    assert_eq!(peer.taken().len(), 1);
}

#[test]
fn some_recipients_fail_and_only_they_come_back() {
    let peer = Peer::start(Manner {
        recipient_replies: vec!["550 5.1.1 no such user".into()],
        ..Manner::default()
    });
    let mut alices_wish = wish("crepes.fr");
    alices_wish.routes = vec![("hamburger.edu".into(), peer.address())];
    let alices = Node::start(BINARY, &alices_wish);
    alices.add_account("alice@crepes.fr", "fries-please");
    alices.add_account("anna@crepes.fr", "fries-please");
    let to = ["nobody@hamburger.edu", "bob@hamburger.edu", "anna@crepes.fr"];
    submit(
        alices.address("submission"),
        "alice@crepes.fr",
        "fries-please",
        &to,
        LETTER,
    );
    let taken = peer.wait_for(1, MINUTE);
    assert_eq!(taken[0].to.len(), 1, "{taken:?}");
    wait_for_mail(&alices, "anna@crepes.fr", "fries-please", 1);
    let mut imap = wait_for_mail(&alices, "alice@crepes.fr", "fries-please", 1);
    let notice = imap.fetch(1);
    assert!(
        notice.contains("nobody@hamburger.edu") && notice.contains("no such user"),
        "{notice}"
    );
    assert!(!notice.contains("Final-Recipient: rfc822; bob@"), "{notice}");
}
