//! Roles in processes of their own, which meet over gRPC.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use postrider_testkit::imap::Imap;
use postrider_testkit::node::{Node, Wish};
use postrider_testkit::wire::{Wire, deliver, eventually};

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");
const LETTER: &str =
    "From: alice@crepes.fr\r\nTo: bob@hamburger.edu\r\nSubject: Condiments\r\n\r\nDo you like ketchup?\r\n";

/// A process with the stores, and one with everything that speaks to the world.
fn apart() -> (Node, Node) {
    let mut stores = Wish {
        hostname: "stores.hamburger.edu".into(),
        roles: vec!["mail-store", "directory"],
        ..Wish::default()
    };
    let mut back = Node::prepare(BINARY, &stores);
    let rpc = format!("{}:7025", back.ip());
    stores.more = format!("[listeners.rpc]\nbind = [\"{rpc}\"]\n");
    back.configure(&stores);
    back.restart();
    let front = Node::start(
        BINARY,
        &Wish {
            hostname: "mx.hamburger.edu".into(),
            roles: vec!["smtp-ingress", "delivery-worker", "imap-gateway", "pop3-gateway"],
            more: format!(
                "[storage]\nengine = \"memory\"\n[queue]\nengine = \"memory\"\n\
                 [services]\nmail_store = \"http://{rpc}\"\ndirectory = \"http://{rpc}\"\n"
            ),
            ..Wish::default()
        },
    );
    (back, front)
}

fn send(front: &Node) -> String {
    deliver(
        front.address("smtp"),
        "alice@crepes.fr",
        &["bob@hamburger.edu"],
        LETTER,
    )
}

#[test]
fn a_letter_goes_through_processes_and_a_store_may_go_and_come_back() {
    let (mut back, front) = apart();
    front.add_account("bob@hamburger.edu", "hungry");
    assert!(send(&front).starts_with("250"));
    let mut imap = Imap::login(front.address("imap"), "bob@hamburger.edu", "hungry");
    assert_eq!(imap.select("INBOX"), 1);

    back.kill();
    let mut wire = Wire::connect(front.address("smtp"));
    wire.reply("220");
    wire.command("EHLO client.example", "250");
    wire.command("MAIL FROM:<alice@crepes.fr>", "250");
    // Who asks when the directory is away is told to come back, not that nobody lives here.
    wire.command("RCPT TO:<carol@hamburger.edu>", "451 4.3.0");
    let (_, answer) = imap.command("STATUS INBOX (MESSAGES)");
    assert!(answer.contains("NO [UNAVAILABLE]"), "{answer}");

    back.restart();
    eventually("the directory is found again", Duration::from_secs(20), || {
        wire.send("RCPT TO:<bob@hamburger.edu>");
        wire.line().starts_with("250").then_some(())
    });
    wire.command("RSET", "250");
    assert!(send(&front).starts_with("250"));
    eventually("the open session sees it", Duration::from_secs(20), || {
        let (lines, _) = imap.command("STATUS INBOX (MESSAGES)");
        lines.concat().contains("MESSAGES 2").then_some(())
    });
}

#[test]
fn beyond_loopback_roles_are_not_served_in_the_clear() {
    let wish = Wish {
        hostname: "stores.hamburger.edu".into(),
        more: "[listeners.rpc]\nbind = [\"0.0.0.0:0\"]\n".into(),
        ..Wish::default()
    };
    let node = Node::prepare(BINARY, &wish);
    let output = node.run(&["config", "check"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("rpc.insecure = true"),
        "{said}"
    );
}
