//! A rolling restart of a whole cluster under load: two processes of each role, and every process in turn is told to end, waited for and
//! started again, while mail comes in and goes out and IMAP and POP3 sessions work.
//!
//! No client sees more of it than 421, BYE or a closed connection, and those only between two commands; no message takes longer
//! than sessions have to end; every promise is kept once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postrider_testkit::node::{Member, Node, Shape, Wish};
use postrider_testkit::peer::{Manner, Peer};
use postrider_testkit::wire::{eventually, pause};

#[path = "rolling/client.rs"]
mod client;

use client::{Imap, Pop3, Smtp, number_after};

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");
const PASSWORD: &str = "hungry";
/// Has mail come in, and is watched.
const BOB: &str = "bob@hamburger.edu";
/// Works in her mailbox, and submits.
const ANN: &str = "ann@hamburger.edu";
/// Fetches mail by POP3.
const EVE: &str = "eve@hamburger.edu";
const FAR: &str = "far@crepes.fr";
/// "\0ann@hamburger.edu\0hungry"
const ANNS_LOGIN: &str = "AGFubkBoYW1idXJnZXIuZWR1AGh1bmdyeQ==";

/// How long sessions have to end (`limits.drain`), and a message to arrive.
const DRAIN: Duration = Duration::from_secs(20);
/// A process without sessions has its callers told, and ends.
const AT_ONCE: Duration = Duration::from_secs(9);

const MEMBERS: [Member; 12] = [
    Member::new("ingress-1", "smtp-ingress"),
    Member::new("ingress-2", "smtp-ingress"),
    Member::new("imap-1", "imap-gateway"),
    Member::new("imap-2", "imap-gateway"),
    Member::new("pop3-1", "pop3-gateway"),
    Member::new("pop3-2", "pop3-gateway"),
    Member::new("worker-1", "delivery-worker"),
    Member::new("worker-2", "delivery-worker"),
    Member::new("store-1", "mail-store"),
    Member::new("store-2", "mail-store"),
    Member::new("directory-1", "directory"),
    Member::new("directory-2", "directory"),
];

/// What was promised and what has come of it: moments by number.
#[derive(Default)]
struct Ledger {
    promised: Mutex<BTreeMap<u64, Instant>>,
    arrived: Mutex<BTreeMap<u64, Instant>>,
}

impl Ledger {
    fn promise(&self, number: u64) {
        self.promised.lock().unwrap().insert(number, Instant::now());
    }

    fn arrive(&self, number: u64) {
        let first = self.arrived.lock().unwrap().insert(number, Instant::now());
        assert!(first.is_none(), "message {number} has arrived twice");
    }

    fn is_within(&self, seen: &BTreeSet<u64>) -> bool {
        let promised = self.promised.lock().unwrap();
        promised.keys().all(|number| seen.contains(number))
    }

    fn is_complete(&self) -> bool {
        let arrived = self.arrived.lock().unwrap();
        self.promised
            .lock()
            .unwrap()
            .keys()
            .all(|number| arrived.contains_key(number))
    }

    /// All have arrived, nothing else has, and none was late.
    fn check(&self, what: &str) {
        let (promised, arrived) = (self.promised.lock().unwrap(), self.arrived.lock().unwrap());
        let keys = |map: &BTreeMap<u64, Instant>| map.keys().copied().collect::<BTreeSet<_>>();
        let (promises, arrivals) = (keys(&promised), keys(&arrived));
        let lost: Vec<_> = promises.difference(&arrivals).collect();
        let unknown: Vec<_> = arrivals.difference(&promises).collect();
        assert!(
            lost.is_empty() && unknown.is_empty(),
            "{what}: lost {lost:?}, not promised {unknown:?}"
        );
        let late = |number: &u64| arrived[number].saturating_duration_since(promised[number]);
        let (latest, number) = promised
            .keys()
            .map(|number| (late(number), number))
            .max()
            .unwrap();
        println!("{what}: {} messages, the slowest took {latest:?}", promised.len());
        assert!(latest < DRAIN, "{what}: message {number} took {latest:?}");
    }
}

/// What the load shares.
struct Load {
    next: AtomicU64,
    /// Nothing more is sent.
    over: AtomicBool,
    /// Nothing more is promised.
    sent: AtomicBool,
    ingresses: Vec<SocketAddr>,
    submission: Vec<SocketAddr>,
    gateways: Vec<SocketAddr>,
    pop3: Vec<SocketAddr>,
    bobs: Ledger,
    eves: Ledger,
    far: Ledger,
    /// Numbers Ann has appended, and those whose APPEND was not answered.
    appended: Mutex<BTreeSet<u64>>,
    unanswered: Mutex<BTreeSet<u64>>,
    /// The most milliseconds a message took from MAIL to its 250, reconnecting included.
    slowest: AtomicU64,
}

impl Load {
    fn new(node: &Node) -> Self {
        let both = |kind: &str, listener: &str| {
            let each = [1, 2].map(|number| node.address_of(&format!("{kind}-{number}"), listener));
            each.to_vec()
        };
        Self {
            next: AtomicU64::new(1),
            over: AtomicBool::new(false),
            sent: AtomicBool::new(false),
            ingresses: both("ingress", "smtp"),
            submission: both("ingress", "submission"),
            gateways: both("imap", "imap"),
            pop3: both("pop3", "pop3"),
            bobs: Ledger::default(),
            eves: Ledger::default(),
            far: Ledger::default(),
            appended: Mutex::default(),
            unanswered: Mutex::default(),
            slowest: AtomicU64::new(0),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Acquire)
    }
}

#[test]
fn every_process_is_restarted_under_load_and_nobody_notices() {
    let peer = Peer::start(Manner {
        offers: vec!["8BITMIME".into(), "PIPELINING".into()],
        ..Manner::default()
    });
    let wish = Wish {
        hostname: "hamburger.edu".into(),
        routes: vec![("crepes.fr".into(), peer.address())],
        more: format!("[limits]\ndrain = \"{}s\"\n", DRAIN.as_secs()),
        ..Wish::default()
    };
    let mut node = Node::shaped(Shape::cluster_of(&MEMBERS), BINARY, &wish);
    node.restart();
    [ANN, BOB, EVE]
        .iter()
        .for_each(|account| node.add_account(account, PASSWORD));
    let load = &Load::new(&node);
    std::thread::scope(|scope| {
        let mut senders = Vec::new();
        for first in [0, 1] {
            senders.push(scope.spawn(move || Sender::new(load, first, BOB, &load.bobs).run(load)));
            senders.push(scope.spawn(move || work(load, first)));
            scope.spawn(move || watch(load, first));
        }
        let slow = Sender {
            letter: large_letter,
            ..Sender::new(load, 1, BOB, &load.bobs)
        };
        let sizable = Sender {
            letter: sizable_letter,
            ..Sender::new(load, 0, BOB, &load.bobs)
        };
        let outbound = Sender {
            servers: load.submission.clone(),
            login: Some(ANNS_LOGIN),
            from: ANN,
            ..Sender::new(load, 0, FAR, &load.far)
        };
        for sender in [slow, sizable, outbound, Sender::new(load, 0, EVE, &load.eves)] {
            senders.push(scope.spawn(move || sender.run(load)));
        }
        scope.spawn(|| fetch_by_pop3(load));
        scope.spawn(|| receive(load, &peer));
        let ending = Over(load);
        pause(Duration::from_secs(2));
        for member in MEMBERS.iter().rev() {
            restart(&mut node, member);
        }
        pause(Duration::from_secs(2));
        drop(ending);
        let ended: Vec<_> = senders.into_iter().map(|sender| sender.join()).collect();
        load.sent.store(true, Ordering::Release);
        ended.into_iter().for_each(|sender| sender.unwrap());
    });
    let slowest = Duration::from_millis(load.slowest.load(Ordering::Relaxed));
    println!("the slowest message was answered after {slowest:?}");
    assert!(slowest < DRAIN);
    load.bobs.check("local mail");
    load.eves.check("mail fetched by POP3");
    load.far.check("outbound mail");
    check_ann(load);
    eventually("an empty queue", DRAIN, || {
        node.admin(&["queue", "list", "--json"]).is_empty().then_some(())
    });
    let bobs = Imap::open(&load.gateways, BOB, PASSWORD).numbers(1).unwrap();
    let numbers: Vec<u64> = bobs.iter().map(|(_, number)| *number).collect();
    let all: BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(numbers.len(), all.len(), "no message is there twice");
    assert!(load.bobs.promised.lock().unwrap().keys().eq(&all));
}

/// Ends the load, also when the test fails meanwhile.
struct Over<'a>(&'a Load);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
        if std::thread::panicking() {
            self.0.sent.store(true, Ordering::Release);
        }
    }
}

fn restart(node: &mut Node, member: &Member) {
    let process = node.process(member.name);
    let begin = Instant::now();
    process.signal("TERM");
    assert!(
        process.wait(),
        "{} did not end well:\n{}",
        member.name,
        process.log()
    );
    let ended = begin.elapsed();
    process.launch();
    eventually(member.name, Duration::from_secs(60), || {
        process.is_ready().then_some(())
    });
    println!(
        "{}: ended in {ended:?}, was back in {:?}",
        member.name,
        begin.elapsed()
    );
    let late = process.log().contains("did not end in time");
    assert!(!late, "{} has cut something off:\n{}", member.name, process.log());
    if ["mail-store", "directory"].contains(&member.role) {
        assert!(
            ended < AT_ONCE,
            "{} has nothing to wait for, and took {ended:?}",
            member.name
        );
    }
    pause(Duration::from_secs(1));
}

fn letter(from: &str, number: u64) -> String {
    letter_of(from, number, number as usize % 100)
}

/// Goes to the mail store as a stream, which is gone when it has been sent.
fn sizable_letter(from: &str, number: u64) -> String {
    letter_of(from, number, 7_000)
}

/// Goes to the mail store while it comes in, which takes longer than a mail store takes to end.
fn large_letter(from: &str, number: u64) -> String {
    letter_of(from, number, 25_000)
}

fn letter_of(from: &str, number: u64, lines: usize) -> String {
    let filler = "Do you like ketchup? How about pickles?\r\n".repeat(1 + lines);
    format!("From: {from}\r\nSubject: number {number}\r\n\r\n{filler}")
}

/// The servers, beginning with this one: sessions are spread.
fn from(servers: &[SocketAddr], first: usize) -> Vec<SocketAddr> {
    let mut servers = servers.to_vec();
    servers.rotate_left(first);
    servers
}

/// A client that sends one message after the other.
struct Sender<'a> {
    servers: Vec<SocketAddr>,
    login: Option<&'a str>,
    from: &'a str,
    to: &'a str,
    letter: fn(&str, u64) -> String,
    ledger: &'a Ledger,
}

impl<'a> Sender<'a> {
    fn new(load: &Load, first: usize, to: &'a str, ledger: &'a Ledger) -> Self {
        Self {
            servers: from(&load.ingresses, first),
            login: None,
            from: "alice@crepes.fr",
            to,
            letter,
            ledger,
        }
    }

    fn run(&self, load: &Load) {
        let mut smtp = Smtp::open(&self.servers, self.login);
        while !load.is_over() {
            let number = load.next.fetch_add(1, Ordering::Relaxed);
            let letter = (self.letter)(self.from, number);
            let begin = Instant::now();
            while smtp.send(self.from, self.to, &letter).is_err() {
                smtp = Smtp::open(&self.servers, self.login);
            }
            self.ledger.promise(number);
            load.slowest
                .fetch_max(begin.elapsed().as_millis() as u64, Ordering::Relaxed);
            pause(Duration::from_millis(60));
        }
    }
}

/// Watches Bob's inbox; the first of the watchers tells what has arrived.
fn watch(load: &Load, first: usize) {
    let servers = from(&load.gateways, first);
    let mut seen = BTreeSet::new();
    let mut next = 1;
    let mut imap = Imap::open(&servers, BOB, PASSWORD);
    while !load.is_sent() || !load.bobs.is_within(&seen) {
        let Ok(news) = imap.numbers(next) else {
            imap = Imap::open(&servers, BOB, PASSWORD);
            continue;
        };
        for (uid, number) in &news {
            next = uid + 1;
            seen.insert(*number);
            if first == 0 {
                load.bobs.arrive(*number);
            }
        }
        // Without news it waits for some.
        if news.is_empty() && !load.is_over() && imap.idle().is_err() {
            imap = Imap::open(&servers, BOB, PASSWORD);
        }
    }
}

/// Works in a mailbox of many messages.
fn work(load: &Load, first: usize) {
    let servers = from(&load.gateways, first);
    let mut imap = Imap::open(&servers, ANN, PASSWORD);
    while !load.is_over() {
        let number = load.next.fetch_add(1, Ordering::Relaxed);
        let letter = letter(ANN, number);
        let append = format!("APPEND INBOX {{{}+}}\r\n{letter}", letter.len());
        let done = match imap.command(&append) {
            Ok(_) => {
                load.appended.lock().unwrap().insert(number);
                look_and_flag(&mut imap)
            }
            Err(gone) => {
                load.unanswered.lock().unwrap().insert(number);
                Err(gone)
            }
        };
        if done.is_err() {
            imap = Imap::open(&servers, ANN, PASSWORD);
        }
        pause(Duration::from_millis(60));
    }
}

/// Reads the last message and the whole folder's flags, and changes some.
fn look_and_flag(imap: &mut Imap) -> Result<(), client::Gone> {
    let lines = imap.command("UID FETCH * (UID FLAGS BODY.PEEK[])")?;
    let last = lines.iter().find(|line| line.contains("BODY[]"));
    let uid = number_after(last.expect("the last message"), "UID ");
    imap.command(&format!("UID STORE {uid} +FLAGS (\\Flagged)"))?;
    imap.command("UID SEARCH UNFLAGGED").map(drop)
}

/// What was answered OK is there once; what was not answered was not begun.
fn check_ann(load: &Load) {
    let there = Imap::open(&load.gateways, ANN, PASSWORD).numbers(1).unwrap();
    let mut numbers: Vec<u64> = there.iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    let appended: Vec<u64> = load.appended.lock().unwrap().iter().copied().collect();
    let unanswered = load.unanswered.lock().unwrap();
    println!(
        "appended: {} messages; not answered: {unanswered:?}",
        appended.len()
    );
    assert_eq!(numbers, appended, "not answered: {unanswered:?}");
}

/// Fetches and deletes Eve's mail, a few messages a session.
fn fetch_by_pop3(load: &Load) {
    let mut idle = 0;
    let mut sessions = 0;
    while !load.is_sent() || (!load.eves.is_complete() && idle < 100) {
        idle += u32::from(load.is_sent());
        sessions += 1;
        let mut pop3 = Pop3::open(&from(&load.pop3, sessions % 2), EVE, PASSWORD);
        let fetched = (|| {
            let count = number_after(&pop3.ok("STAT")?, " ").min(5);
            let mut numbers = Vec::new();
            for message in 1..=count {
                numbers.push(pop3.retrieve(message)?);
                pop3.ok(&format!("DELE {message}"))?;
            }
            // They are deleted when this is answered (RFC 1939 §6).
            pop3.ok("QUIT")?;
            Ok::<_, client::Gone>(numbers)
        })();
        for number in fetched.unwrap_or_default() {
            load.eves.arrive(number);
        }
        pause(Duration::from_millis(150));
    }
}

/// Notes what comes to the other site.
fn receive(load: &Load, peer: &Peer) {
    let mut known = 0;
    let mut over = None;
    while !load.is_sent() || !load.far.is_complete() {
        if load.is_sent() {
            let since: &mut Instant = over.get_or_insert_with(Instant::now);
            assert!(since.elapsed() < DRAIN * 2, "outbound mail does not come");
        }
        if peer.count() > known {
            let taken = peer.taken();
            for message in &taken[known..] {
                load.far.arrive(number_after(&message.data, "Subject: number "));
            }
            known = taken.len();
        }
        pause(Duration::from_millis(50));
    }
}
