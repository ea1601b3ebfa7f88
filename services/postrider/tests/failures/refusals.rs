//! What is no failure of ours: full mailboxes, too large messages, unknown users; and an end in good order.

use postrider_testkit::imap::Imap;
use postrider_testkit::node::Wish;
use postrider_testkit::wire::Wire;

use crate::support::*;

#[test]
fn full_too_large_and_unknown_are_told_apart_and_sigterm_lets_everybody_finish() {
    let mut node = cluster(&Wish {
        more: "[limits]\nmessage_size = \"200KiB\"\n".into(),
        ..wish()
    });
    node.restart();
    node.add_account(BOB, PASSWORD);
    node.add_account("full@hamburger.edu", PASSWORD);
    node.admin(&["account", "set", "full@hamburger.edu", "--quota", "4KiB"]);

    let mut wire = smtp(&node);
    wire.command("MAIL FROM:<alice@crepes.fr>", "250");
    wire.command("RCPT TO:<nobody@hamburger.edu>", "550 5.1.1");
    wire.command("RSET", "250");
    wire.command("MAIL FROM:<alice@crepes.fr> SIZE=204801", "552 5.3.4");
    // Who does not say the size hears it at the end.
    let long = format!("{LETTER}{}", format!("{}\r\n", "x".repeat(76)).repeat(2700));
    assert!(send(&mut wire, BOB, &long).starts_with("552 5.3.4"));
    let fits = format!("{LETTER}{}", "y\r\n".repeat(800));
    assert!(send(&mut wire, "full@hamburger.edu", &fits).starts_with("250"));
    assert!(send(&mut wire, "full@hamburger.edu", &fits).starts_with("452 4.2.2"));
    let never = format!("{LETTER}{}", "y\r\n".repeat(2000));
    assert!(send(&mut wire, "full@hamburger.edu", &never).starts_with("552 5.2.2"));
    let mut imap = Imap::login(node.address("imap"), "full@hamburger.edu", PASSWORD);
    assert_eq!(imap.select("INBOX"), 1);
    let (_, said) = imap.command("COPY 1 INBOX");
    assert!(said.starts_with("NO [OVERQUOTA]"), "{said}");
    drop(imap);

    sigterm(&mut node);
}

/// One message; the reply to its end, or to the refusal of its recipient.
fn send(wire: &mut Wire, to: &str, message: &str) -> String {
    wire.command("MAIL FROM:<alice@crepes.fr>", "250");
    wire.command(&format!("RCPT TO:<{to}>"), "250");
    wire.command("DATA", "354");
    wire.send_bytes(message.as_bytes());
    wire.send(".");
    wire.line()
}

fn sigterm(node: &mut postrider_testkit::node::Node) {
    let mut working = smtp(node);
    working.command("MAIL FROM:<alice@crepes.fr>", "250");
    working.command(&format!("RCPT TO:<{BOB}>"), "250");
    working.command("DATA", "354");
    let mut quiet = smtp(node);
    let mut submitting = submission(node);
    let mut idling = Imap::login(node.address("imap"), BOB, PASSWORD);
    let here = idling.select("INBOX");
    idling.idle();
    let mut quiet_imap = Imap::login(node.address("imap"), BOB, PASSWORD);
    let (mut pop, said) = pop3(node);
    assert!(said.starts_with("+OK"), "{said}");
    for name in ["smtp-ingress", "imap-gateway", "pop3-gateway"] {
        node.process(name).signal("TERM");
    }
    quiet.reply("421");
    quiet.expect_close();
    submitting.reply("421");
    submitting.expect_close();
    // The transaction under way is finished first.
    working.send_bytes(LETTER.as_bytes());
    working.command(".", "250");
    working.reply("421");
    working.expect_close();
    for imap in [&mut idling, &mut quiet_imap] {
        let mut line = imap.next_line();
        while line.ends_with("EXISTS") || line.ends_with("RECENT") {
            line = imap.next_line();
        }
        assert!(line.starts_with("* BYE"), "{line}");
    }
    pop.expect_close();
    for name in ["smtp-ingress", "imap-gateway", "pop3-gateway"] {
        let process = node.process(name);
        assert!(process.wait(), "{name} did not end well");
        assert!(
            process.log().lines().last().unwrap_or_default().contains("ended"),
            "{name}"
        );
    }
    // What was answered with 250 is there, and those behind them end as well.
    for name in ["smtp-ingress", "imap-gateway", "pop3-gateway"] {
        node.process(name).launch();
    }
    wait_ready(node);
    assert_eq!(inbox(node), here + 1);
    assert!(node.stop(), "everything ends well");
}
