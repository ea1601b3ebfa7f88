//! First figures of a node, closed loop, generator and server on the same machine, everything durable:
//!
//! ```text
//! cargo build --release && cargo run --release -p postrider-testkit --example measure -- target/release/postrider
//! ```
//! Rates depend on the machine and what else it does; the server's CPU time per operation does so less.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::print_stdout)]

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postrider_testkit::imap::Imap;
use postrider_testkit::node::{Node, Wish};
use postrider_testkit::peer::{Manner, Peer};
use postrider_testkit::wire::{Wire, eventually};

const ACCOUNTS: u64 = 50;
const TIME: Duration = Duration::from_secs(10);
const OUTBOUND: u64 = 10_000;
const IDLE: u64 = 2_000;
const PASSWORD: &str = "hungry";

fn main() {
    let binary = std::env::args()
        .nth(1)
        .expect("the path of a release build of postrider");
    let peer = Peer::start(Manner {
        offers: vec!["8BITMIME".into(), "PIPELINING".into()],
        ..Manner::default()
    });
    let limits = "[limits]\nconnections_per_address = 0\nconnections_per_account = 0\nsubmitted_per_hour = 0\nmessages_per_connection = 10000000\n";
    let node = Node::start(
        &binary,
        &Wish {
            hostname: "hamburger.edu".into(),
            routes: (0..100)
                .map(|number| (format!("far{number}.example"), peer.address()))
                .collect(),
            more: limits.into(),
            ..Wish::default()
        },
    );
    (0..ACCOUNTS).for_each(|number| node.add_account(&account(number), PASSWORD));
    // First, while the allocator holds nothing that other work has left behind.
    idle(&node);
    for connections in [1, 10, 50] {
        inbound(&node, connections, 4 << 10);
    }
    inbound(&node, 10, 75 << 10);
    outbound(&node, &peer);
    logins(&node);
}

fn account(number: u64) -> String {
    format!("user{number}@hamburger.edu")
}

fn letter(from: &str, size: usize) -> Vec<u8> {
    let mut text = format!("From: {from}\r\nTo: bob@hamburger.edu\r\nSubject: Condiments\r\n\r\n");
    while text.len() < size {
        text.push_str("Do you like ketchup? How about pickles? And what of mustard?\r\n");
    }
    text.into_bytes()
}

/// Sends over one connection until told to stop; `next` names the next recipient, or none.
fn send(mut wire: Wire, from: &str, body: &[u8], mut next: impl FnMut() -> Option<String>) {
    wire.reply("220");
    wire.command("EHLO client.example", "250");
    if from.ends_with("hamburger.edu") {
        // "\0user0@hamburger.edu\0hungry"
        wire.command("AUTH PLAIN AHVzZXIwQGhhbWJ1cmdlci5lZHUAaHVuZ3J5", "235");
    }
    while let Some(to) = next() {
        wire.send_bytes(format!("MAIL FROM:<{from}>\r\nRCPT TO:<{to}>\r\nDATA\r\n").as_bytes());
        wire.reply("250");
        wire.reply("250");
        wire.reply("354");
        wire.send_bytes(body);
        wire.send_bytes(b".\r\n");
        wire.reply("250");
    }
    wire.command("QUIT", "221");
}

fn inbound(node: &Node, connections: u64, size: usize) {
    let (count, body) = (AtomicU64::new(0), letter("alice@crepes.fr", size));
    let (cpu, begin) = (cpu(node), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                send(
                    Wire::connect(node.address("smtp")),
                    "alice@crepes.fr",
                    &body,
                    || {
                        (begin.elapsed() < TIME)
                            .then(|| account(count.fetch_add(1, Ordering::Relaxed) % ACCOUNTS))
                    },
                );
            });
        }
    });
    let what = format!(
        "in: {} KiB messages into mailboxes, {connections} connections",
        size >> 10
    );
    report(&what, count.into_inner(), begin.elapsed(), cpu, node);
}

fn outbound(node: &Node, peer: &Peer) {
    let (count, body) = (AtomicU64::new(0), letter(&account(0), 4 << 10));
    let (cpu, begin) = (cpu(node), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                send(
                    Wire::connect(node.address("submission")),
                    &account(0),
                    &body,
                    || {
                        let number = count.fetch_add(1, Ordering::Relaxed);
                        (number < OUTBOUND).then(|| format!("someone@far{}.example", number % 100))
                    },
                );
            });
        }
    });
    let accepted = begin.elapsed();
    eventually("all to have gone out", Duration::from_secs(120), || {
        (peer.count() >= OUTBOUND as usize).then_some(())
    });
    report(
        "out: 4 KiB, 100 domains, SMTP in → queue → SMTP out",
        OUTBOUND,
        begin.elapsed(),
        cpu,
        node,
    );
    println!("     accepted in {:.1} s", accepted.as_secs_f64());
}

fn logins(node: &Node) {
    let count = AtomicU64::new(0);
    let (cpu, begin) = (cpu(node), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                while begin.elapsed() < TIME / 2 {
                    let number = count.fetch_add(1, Ordering::Relaxed);
                    let mut imap = Imap::login(node.address("imap"), &account(number % ACCOUNTS), PASSWORD);
                    imap.select("INBOX");
                    imap.ok("LOGOUT");
                }
            });
        }
    });
    report(
        "IMAP: connect, LOGIN, SELECT, LOGOUT",
        count.into_inner(),
        begin.elapsed(),
        cpu,
        node,
    );
}

fn idle(node: &Node) {
    let resident = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    };
    let begin = |number: u64| {
        let mut imap = Imap::login(node.address("imap"), &account(number % ACCOUNTS), PASSWORD);
        imap.select("INBOX");
        imap.idle();
        imap
    };
    // The first ones fill caches that are not theirs.
    let mut sessions: Vec<Imap> = (0..ACCOUNTS * 2).map(begin).collect();
    let before = resident();
    sessions.extend((0..IDLE).map(begin));
    std::thread::park_timeout(Duration::from_secs(1));
    let bytes = resident().saturating_sub(before) / IDLE;
    println!("idle: {bytes} bytes of resident memory per plain IMAP session in IDLE ({IDLE} sessions)");
}

/// Seconds of CPU the server has used so far.
fn cpu(node: &Node) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", node.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // utime and stime, in hundredths of a second.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn report(what: &str, count: u64, time: Duration, cpu_before: f64, node: &Node) {
    let rate = count as f64 / time.as_secs_f64();
    let each = (cpu(node) - cpu_before) * 1e6 / count as f64;
    println!("{what}: {rate:.0}/s, {each:.0} µs of server CPU each");
}
