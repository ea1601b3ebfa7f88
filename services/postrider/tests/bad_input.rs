//! What bad input gets: a clear reply, the connection kept or closed as the RFC says, nothing lost, nothing grown.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use postrider_testkit::imap::Imap;
use postrider_testkit::node::{Node, Wish};
use postrider_testkit::wire::{Wire, deliver, eventually, pause};

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");

fn node(more: &str) -> Node {
    let node = Node::start(
        BINARY,
        &Wish {
            hostname: "hamburger.edu".into(),
            more: more.into(),
            ..Wish::default()
        },
    );
    node.add_account("bob@hamburger.edu", "hungry");
    node
}

/// Resident memory of the node's process in MiB.
fn resident(node: &Node) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// The server still takes a letter and shows it.
fn still_works(node: &Node) {
    let reply = deliver(
        node.address("smtp"),
        "a@x.example",
        &["bob@hamburger.edu"],
        "Subject: proof\r\n\r\nhello\r\n",
    );
    assert!(reply.starts_with("250"), "{reply}");
    let mut imap = Imap::login(node.address("imap"), "bob@hamburger.edu", "hungry");
    assert!(imap.select("INBOX") >= 1);
}

#[test]
fn endless_lines_and_garbage_are_refused_and_cost_no_memory() {
    let node = node("");
    let before = resident(&node);
    for listener in ["smtp", "submission", "pop3", "imap"] {
        let mut wire = Wire::connect(node.address(listener));
        wire.line();
        // 32 MiB without a line end; the server may close in the middle.
        let block = vec![b'A'; 1 << 20];
        for _ in 0..32 {
            if wire.try_send(&block).is_err() {
                break;
            }
        }
        let _ = wire.try_send(b"\r\n");
        let mut garbage = Wire::connect(node.address(listener));
        garbage.line();
        let bytes: Vec<u8> = (0..100_000u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let _ = garbage.try_send(&bytes);
        let _ = garbage.try_send(b"\0\0\0\r\n\xff\xfe\r\n");
    }
    let grown = resident(&node).saturating_sub(before);
    assert!(grown < 64, "{grown} MiB more than before");
    still_works(&node);
}

#[test]
fn a_bare_line_feed_never_ends_a_message() {
    let node = node("");
    let smuggled = "MAIL FROM:<evil@x.example>\r\nRCPT TO:<bob@hamburger.edu>\r\nDATA\r\nSubject: smuggled\r\n\r\nboo\r\n";
    for end in [
        "\n.\n",
        "\n.\r\n",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\n",
        "\r\n.\r",
        "\r\n\0.\r\n",
    ] {
        let mut wire = Wire::connect(node.address("smtp"));
        wire.reply("220");
        wire.command("EHLO x.example", "250");
        wire.command("MAIL FROM:<a@x.example>", "250");
        wire.command("RCPT TO:<bob@hamburger.edu>", "250");
        wire.command("DATA", "354");
        wire.send_bytes(format!("Subject: outer\r\n\r\nhello{end}{smuggled}").as_bytes());
        wire.send_bytes(b".\r\n");
        let reply = wire.line();
        assert!(
            reply.starts_with('5') || reply.starts_with("250"),
            "{end:?}: {reply}"
        );
        let _ = wire.try_send(b"QUIT\r\n");
        let next = wire.try_line().unwrap_or_default();
        assert!(
            !next.starts_with("250"),
            "{end:?}: a second transaction was answered: {next}"
        );
    }
    let mut imap = Imap::login(node.address("imap"), "bob@hamburger.edu", "hungry");
    imap.select("INBOX");
    assert!(imap.search("FROM evil").is_empty());
    assert!(imap.search("HEADER Return-Path evil").is_empty());
}

#[test]
fn what_is_pipelined_behind_starttls_is_thrown_away() {
    let node = node("");
    let mut wires = ["submission", "imap", "pop3"].map(|listener| Wire::connect(node.address(listener)));
    let [smtp, imap, pop3] = &mut wires;
    smtp.reply("220");
    smtp.command("EHLO x.example", "250");
    smtp.send_bytes(b"STARTTLS\r\nMAIL FROM:<evil@x.example>\r\n");
    smtp.expect("220");
    imap.expect("* OK");
    imap.send_bytes(b"a STARTTLS\r\nb LOGIN bob@hamburger.edu hungry\r\n");
    imap.expect("a OK");
    pop3.expect("+OK");
    pop3.send_bytes(b"STLS\r\nUSER bob\r\n");
    pop3.expect("+OK");
    for wire in &mut wires {
        // The server waits for a TLS ClientHello now; nothing more is said in clear.
        let _ = wire.try_send(b"this is not TLS\r\n\r\n");
        let after = wire.try_line().unwrap_or_default();
        assert!(
            !after.starts_with("250") && !after.starts_with("b OK") && !after.starts_with("+OK"),
            "{after}"
        );
    }
    still_works(&node);
}

#[test]
fn monstrous_messages_are_taken_or_refused_but_never_fatal() {
    let node = node("");
    let before = resident(&node);
    let parts = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n",
        "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n".repeat(10_000)
    );
    let nested: String = (0..1_000)
        .map(|level| format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"))
        .collect();
    let headers = format!("{}\r\nbody\r\n", "X-Endless: header\r\n".repeat(100_000));
    let one_line = format!("Subject: long\r\n\r\n{}\r\n", "y".repeat(3_000_000));
    let addresses = format!("To: {}\r\n\r\nbody\r\n", "a@x.example,\r\n ".repeat(50_000));
    let odd =
        "Subject: \u{fffd}\0\r\nFrom: =?x?q?=FF?=\r\nContent-Type: multipart/\0; boundary=\"\r\n\r\n\0\0\r\n"
            .to_owned();
    let mut accepted = 0;
    for message in [&parts, &nested, &headers, &one_line, &addresses, &odd] {
        let reply = deliver(
            node.address("smtp"),
            "a@x.example",
            &["bob@hamburger.edu"],
            message,
        );
        assert!(reply.starts_with("250") || reply.starts_with('5'), "{reply}");
        accepted += u32::from(reply.starts_with("250"));
    }
    let mut imap = Imap::login(node.address("imap"), "bob@hamburger.edu", "hungry");
    assert_eq!(imap.select("INBOX"), accepted);
    if accepted > 0 {
        imap.ok("FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE RFC822.SIZE)");
        imap.ok("UID SEARCH TEXT nothing-like-this");
    }
    let grown = resident(&node).saturating_sub(before);
    assert!(grown < 200, "{grown} MiB more than before");
    still_works(&node);
}

#[test]
fn a_message_over_the_limit_is_refused_before_and_after_it_is_sent() {
    let node = node("[limits]\nmessage_size = \"100KiB\"\n");
    let mut wire = Wire::connect(node.address("smtp"));
    wire.reply("220");
    assert!(wire.command("EHLO x.example", "250").contains("SIZE 102400"));
    wire.command("MAIL FROM:<a@x.example> SIZE=200000", "552");
    wire.command("MAIL FROM:<a@x.example>", "250");
    wire.command("RCPT TO:<bob@hamburger.edu>", "250");
    wire.command("DATA", "354");
    wire.send_bytes(
        "0123456789012345678901234567890123456789\r\n"
            .repeat(5_000)
            .as_bytes(),
    );
    wire.command(".", "552");
    wire.command("NOOP", "250");
    let mut imap = Imap::login(node.address("imap"), "bob@hamburger.edu", "hungry");
    let (_, answer) = imap.command("APPEND INBOX {200000+}");
    assert!(answer.starts_with("NO") || answer.starts_with("BAD"), "{answer}");
    still_works(&node);
}

#[test]
fn a_crowd_from_one_address_is_turned_away_politely() {
    let node = node("[limits]\nconnections_per_address = 50\n");
    let mut crowd = Vec::new();
    let mut refused = 0;
    for _ in 0..200 {
        let mut wire = Wire::connect(node.address("smtp"));
        match wire.try_line() {
            Ok(line) if line.starts_with("220") => crowd.push(wire),
            Ok(line) => {
                assert!(line.starts_with("421"), "{line}");
                refused += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert_eq!((crowd.len(), refused), (50, 150));
    drop(crowd);
    eventually("room again", Duration::from_secs(20), || {
        Wire::connect(node.address("smtp"))
            .try_line()
            .ok()
            .filter(|line| line.starts_with("220"))
    });
    still_works(&node);
}

#[test]
fn a_client_that_never_reads_holds_nobody_up() {
    let node = node("");
    let big = format!(
        "Subject: big\r\n\r\n{}",
        "0123456789012345678901234567890123456789\r\n".repeat(100_000)
    );
    for _ in 0..5 {
        assert!(
            deliver(node.address("smtp"), "a@x.example", &["bob@hamburger.edu"], &big).starts_with("250")
        );
    }
    let before = resident(&node);
    let mut deaf = Vec::new();
    for _ in 0..5 {
        let mut imap = Imap::login(node.address("imap"), "bob@hamburger.edu", "hungry");
        imap.select("INBOX");
        imap.wire().send("z FETCH 1:* BODY[]");
        deaf.push(imap);
    }
    pause(Duration::from_secs(2));
    let grown = resident(&node).saturating_sub(before);
    assert!(
        grown < 60,
        "{grown} MiB for five clients that do not read 20 MiB each"
    );
    still_works(&node);
}

#[test]
fn half_a_command_and_then_silence_ends_in_a_time_out() {
    let node = node("[limits]\nlogin = \"1s\"\nsmtp_idle = \"1s\"\npop3_idle = \"1s\"\nimap_idle = \"1s\"\n");
    // RFC 1939 §3: a POP3 server that times out closes without a word.
    for (listener, half, farewell) in [
        ("smtp", "EHL", "421"),
        ("imap", "a LOG", "* BYE"),
        ("pop3", "US", ""),
    ] {
        let mut wire = Wire::connect(node.address(listener));
        wire.line();
        wire.send_bytes(half.as_bytes());
        let mut last = String::new();
        while let Ok(line) = wire.try_line() {
            last = line;
        }
        assert!(
            last.starts_with(farewell) && last.is_empty() == farewell.is_empty(),
            "{listener}: {last}"
        );
    }
}

#[test]
fn shutting_down_ends_every_session_politely() {
    let mut node = node("");
    let mut smtp = Wire::connect(node.address("smtp"));
    smtp.reply("220");
    let mut imap = Imap::login(node.address("imap"), "bob@hamburger.edu", "hungry");
    imap.select("INBOX");
    imap.idle();
    node.signal("TERM");
    smtp.expect("421");
    assert!(imap.next_line().starts_with("* BYE"));
    assert!(node.wait(), "it ends with status 0");
    assert!(TcpStream::connect(node.address("smtp")).is_err());
}
