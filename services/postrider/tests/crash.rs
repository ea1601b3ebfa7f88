//! Crash proof: load, `kill -9` at a random moment, restart, check; many rounds over one data directory.
//!
//! What was answered 250 is there exactly once, UIDs never repeat or go back, what was queued goes out, and the store
//! verifies clean. `POSTRIDER_SOAK_MINUTES` makes it go on for that long instead of for [`ROUNDS`] rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postrider_testkit::imap::Imap;
use postrider_testkit::node::{Node, Wish};
use postrider_testkit::peer::{Manner, Peer};
use postrider_testkit::wire::{Wire, eventually, pause};

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");
const ROUNDS: u32 = 50;
const SENDERS: u64 = 4;
const ACCOUNTS: [&str; 3] = ["ann@hamburger.edu", "bob@hamburger.edu", "eve@hamburger.edu"];
const FAR: &str = "far@crepes.fr";
const PASSWORD: &str = "hungry";

/// What was promised: message ids by recipient, written down when the 250 arrives.
#[derive(Default)]
struct Ledger {
    promised: Mutex<HashMap<&'static str, HashSet<u64>>>,
    next: AtomicU64,
}

/// What a mailbox has shown so far: UID and message id, for ever.
type Seen = BTreeMap<u32, u64>;

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_a_crash() {
    let peer = Peer::start(Manner {
        offers: vec!["8BITMIME".into(), "PIPELINING".into()],
        ..Manner::default()
    });
    let mut node = Node::start(
        BINARY,
        &Wish {
            hostname: "hamburger.edu".into(),
            routes: vec![("crepes.fr".into(), peer.address())],
            more: "[queue]\nretry = { first = \"1s\", max = \"1s\", jitter = 0.0 }\n".into(),
            ..Wish::default()
        },
    );
    ACCOUNTS
        .iter()
        .for_each(|account| node.add_account(account, PASSWORD));
    let ledger = Ledger::default();
    let mut seen: HashMap<&str, Seen> = HashMap::new();
    let begin = Instant::now();
    let minutes = std::env::var("POSTRIDER_SOAK_MINUTES")
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 1.. {
        let over = match minutes {
            Some(minutes) => begin.elapsed() > Duration::from_secs(60 * minutes),
            None => round > ROUNDS,
        };
        if over {
            break;
        }
        load_until_killed(
            &mut node,
            &ledger,
            Duration::from_millis(20 + random.next() % 500),
        );
        node.restart();
        for account in ACCOUNTS {
            look_at_what_is_new(&node, account, seen.entry(account).or_default());
        }
        if round % 10 == 0 {
            verify(&node);
        }
    }
    let promised = ledger.promised.lock().unwrap();
    let total: usize = promised.values().map(HashSet::len).sum();
    println!("{total} promises made in {:.0} s", begin.elapsed().as_secs_f64());
    assert!(
        total > 500,
        "only {total} messages were acknowledged: the load is too small to prove anything"
    );
    for account in ACCOUNTS {
        let there = whole_mailbox(&node, account);
        assert_eq!(
            &there, &seen[account],
            "{account}: what was seen after each crash is what is there at the end"
        );
        let mut ids: Vec<u64> = there.values().copied().collect();
        ids.sort_unstable();
        let doubled: Vec<_> = ids.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(doubled.is_empty(), "{account}: delivered twice: {doubled:?}");
        let lost: Vec<_> = promised[account]
            .iter()
            .filter(|id| ids.binary_search(id).is_err())
            .collect();
        assert!(lost.is_empty(), "{account}: acknowledged and lost: {lost:?}");
    }
    eventually(
        "everything queued to have gone out",
        Duration::from_secs(120),
        || {
            let taken: HashSet<u64> = peer
                .taken()
                .iter()
                .filter_map(|one| message_number(&one.data))
                .collect();
            promised[FAR].is_subset(&taken).then_some(())
        },
    );
    verify(&node);
}

fn load_until_killed(node: &mut Node, ledger: &Ledger, time: Duration) {
    let over = AtomicBool::new(false);
    let (inward, outward) = (node.address("smtp"), node.address("submission"));
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let over = &over;
            scope.spawn(move || {
                // One sender submits to another server; the others send to one or two mailboxes here. Each ends
                // when the server is killed under it.
                let ended = if sender == 0 {
                    send(ledger, over, Wire::connect(outward), ACCOUNTS[0], |_| vec![FAR])
                } else {
                    let pick = move |id: u64| match id % 4 {
                        3 => vec![ACCOUNTS[0], ACCOUNTS[1]],
                        n => vec![ACCOUNTS[n as usize % ACCOUNTS.len()]],
                    };
                    send(ledger, over, Wire::connect(inward), "alice@crepes.fr", pick)
                };
                drop(ended);
            });
        }
        pause(time);
        node.kill();
        over.store(true, Ordering::Relaxed);
    });
}

/// Sends message after message until the connection breaks; what was answered 250 is written into the ledger.
fn send(
    ledger: &Ledger,
    over: &AtomicBool,
    mut wire: Wire,
    from: &str,
    recipients: impl Fn(u64) -> Vec<&'static str>,
) -> std::io::Result<()> {
    wire.try_line()?;
    wire.try_send(b"EHLO client.example\r\n")?;
    while !wire.try_line()?.starts_with("250 ") {}
    if from.ends_with("hamburger.edu") {
        // "\0ann@hamburger.edu\0hungry"
        wire.try_send(b"AUTH PLAIN AGFubkBoYW1idXJnZXIuZWR1AGh1bmdyeQ==\r\n")?;
        assert!(wire.try_line()?.starts_with("235"));
    }
    while !over.load(Ordering::Relaxed) {
        let id = ledger.next.fetch_add(1, Ordering::Relaxed);
        let to = recipients(id);
        let mut text = format!("MAIL FROM:<{from}>\r\n");
        to.iter()
            .for_each(|recipient| text += &format!("RCPT TO:<{recipient}>\r\n"));
        text += "DATA\r\n";
        wire.try_send(text.as_bytes())?;
        for _ in 0..to.len() + 1 {
            let reply = wire.try_line()?;
            assert!(reply.starts_with("250"), "{reply}");
        }
        assert!(wire.try_line()?.starts_with("354"));
        let filler = "x".repeat(60) + "\r\n";
        let body = format!(
            "From: {from}\r\nSubject: crash\r\nX-Number: {id}\r\n\r\n{}.\r\n",
            filler.repeat(id as usize % 80)
        );
        wire.try_send(body.as_bytes())?;
        let reply = wire.try_line()?;
        assert!(reply.starts_with("250"), "{reply}");
        let mut promised = ledger.promised.lock().unwrap();
        for recipient in to {
            promised.entry(recipient).or_default().insert(id);
        }
    }
    Ok(())
}

fn look_at_what_is_new(node: &Node, account: &str, seen: &mut Seen) {
    let last = seen.last_key_value().map_or(0, |(uid, _)| *uid);
    for (uid, id) in fetch(node, account, last + 1) {
        // `n:*` names the last message even when it is below n (RFC 9051 §9, seq-range).
        if uid <= last {
            assert_eq!(
                seen.get(&uid),
                Some(&id),
                "{account}: UID {uid} names another message now"
            );
        } else {
            seen.insert(uid, id);
        }
    }
}

fn whole_mailbox(node: &Node, account: &str) -> Seen {
    let all = fetch(node, account, 1);
    let mailbox: Seen = all.iter().copied().collect();
    assert_eq!(mailbox.len(), all.len(), "{account}: no UID twice");
    mailbox
}

fn fetch(node: &Node, account: &str, from: u32) -> Vec<(u32, u64)> {
    let mut imap = Imap::login(node.address("imap"), account, PASSWORD);
    if imap.select("INBOX") == 0 {
        return Vec::new();
    }
    let lines = imap.ok(&format!(
        "UID FETCH {from}:* (BODY.PEEK[HEADER.FIELDS (X-Number)])"
    ));
    let parse = |line: &String| {
        let uid = line
            .split("UID ")
            .nth(1)?
            .split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()?;
        Some((uid, message_number(line)?))
    };
    lines
        .iter()
        .filter(|line| line.contains("FETCH"))
        .map(|line| parse(line).expect(line))
        .collect()
}

fn message_number(text: &str) -> Option<u64> {
    text.split("X-Number: ")
        .nth(1)?
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn verify(node: &Node) {
    let output = node.run(&["store", "verify"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Enough chance for picking moments (xorshift); the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
