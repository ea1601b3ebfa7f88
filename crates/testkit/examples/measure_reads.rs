//! Figures of the reading side, closed loop, generator and server on the same machine:
//!
//! ```text
//! cargo build --release && cargo run --release -p postrider-testkit --example measure_reads -- target/release/postrider
//! ```
//! Words behind the path choose rows (`sessions`, `fetch`, `select`, `search`, `copy`, `pop3`, `idle`), all of them by default.
//! Instead of the path, `imap=ADDRESS,pop3=ADDRESS,process=NAME` measures another server that is already running and has
//! the accounts `user0@hamburger.edu` to `user49@hamburger.edu`.
//! Rates depend on the machine and what else it does; the server's CPU time per unit does so less.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr
)]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postrider_testkit::node::{Node, Wish};
use postrider_testkit::wire::{Wire, pause};

const ACCOUNTS: u64 = 50;
const PASSWORD: &str = "hungry";
const TIME: Duration = Duration::from_secs(5);
/// Messages of one APPEND, as many as one may have, and connections that fill a folder.
const BATCH: u32 = 500;
const FILLERS: u32 = 4;
const IDLE: u64 = 10_000;
const DROPS: u64 = 4;
const DROP: u64 = 1000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (what, rows) = arguments
        .split_first()
        .expect("the path of a release build of postrider");
    let mut server = Server::new(what);
    type Row = fn(&mut Server);
    let all: [(&str, Row); 7] = [
        // First, while the allocator holds nothing that other work has left behind.
        ("idle", idle),
        ("sessions", sessions),
        ("pop3", pop3),
        ("fetch", fetch),
        ("search", search),
        ("copy", copy),
        ("select", select),
    ];
    for (name, row) in all {
        if rows.is_empty() || rows.iter().any(|row| row == name) {
            row(&mut server);
        }
    }
}

/// Sessions as a mail program that looks at its INBOX has them.
fn sessions(server: &mut Server) {
    fill_inboxes(server, 50, 4 << 10);
    let count = AtomicU64::new(0);
    let usage = server.usage();
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                while usage.begin.elapsed() < TIME {
                    let number = count.fetch_add(1, Ordering::Relaxed);
                    let mut client = Client::login(server.imap, number % ACCOUNTS);
                    client.ok("SELECT INBOX");
                    client.ok("FETCH 1:50 (ENVELOPE)");
                    client.ok("LOGOUT");
                }
            });
        }
    });
    let sessions = count.into_inner();
    report(
        server,
        "LOGIN, SELECT, FETCH 1:50 (ENVELOPE), LOGOUT; command",
        sessions * 4,
        &usage,
    );
}

/// Whole folders.
fn fetch(server: &mut Server) {
    for (folder, messages) in [("ten", 10_000), ("hundred", 100_000)] {
        ensure(server, folder, messages);
        let mut client = Client::login(server.imap, 0);
        client.ok(&format!("SELECT {folder}"));
        for items in [
            "(FLAGS)",
            "(FLAGS RFC822.SIZE)",
            "(UID FLAGS ENVELOPE INTERNALDATE)",
            "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE MESSAGE-ID)])",
        ] {
            if items.contains("PEEK") && messages > 10_000 {
                continue;
            }
            let before = server.resident();
            best(
                server,
                &format!("FETCH 1:* {items} of {messages}"),
                messages,
                4,
                || {
                    let command = format!("FETCH 1:* {items}");
                    assert_eq!(client.ok(&command), u64::from(messages), "lines of {command}");
                },
            );
            let grown = server.resident().saturating_sub(before) >> 10;
            println!("     grown by {grown} KiB");
        }
    }
}

fn search(server: &mut Server) {
    ensure(server, "hundred", 100_000);
    let mut client = Client::login(server.imap, 0);
    client.ok("SELECT hundred");
    for key in [
        "UNSEEN",
        "FROM person77@",
        "SUBJECT \"nowhere to be found\"",
        "SINCE 1-Feb-2020 LARGER 1000000",
        "TEXT \"nowhere to be found\"",
    ] {
        let rounds = if key.starts_with("TEXT") { 1 } else { 3 };
        best(
            server,
            &format!("SEARCH {key} in 100000"),
            100_000,
            rounds,
            || {
                client.ok(&format!("SEARCH {key}"));
            },
        );
    }
}

fn copy(server: &mut Server) {
    ensure(server, "ten", 10_000);
    let mut client = Client::login(server.imap, 0);
    client.ok("SELECT ten");
    client.answer("CREATE other");
    best(server, "COPY 1:* of 10000", 10_000, 3, || {
        client.ok("COPY 1:* other");
    });
}

fn select(server: &mut Server) {
    ensure(server, "one", 1000);
    ensure(server, "hundred", 100_000);
    let mut client = Client::login(server.imap, 0);
    if client.status("million") == 0 {
        client.answer("CREATE million");
        client.ok("SELECT hundred");
        for _ in 0..100 {
            client.ok("COPY 1:10000 million");
        }
    }
    drop(client);
    for warm in [true, false] {
        for (folder, messages) in [("one", 1000), ("million", 1_000_000)] {
            let rounds = if warm { 500 } else { 3 };
            let mut times = Vec::new();
            let mut cpu = 0.0;
            if warm {
                let mut client = Client::login(server.imap, 0);
                client.ok(&format!("SELECT {folder}"));
                cpu = server.usage().cpu;
                for _ in 0..rounds {
                    times.push(timed(|| client.ok(&format!("SELECT {folder}"))));
                }
            } else {
                for _ in 0..rounds {
                    server.restart();
                    let mut client = Client::login(server.imap, 0);
                    client.ok("NOOP");
                    // The account itself is read by this.
                    client.ok("STATUS INBOX (MESSAGES)");
                    times.push(timed(|| client.ok(&format!("SELECT {folder}"))));
                }
            }
            times.sort();
            let cpu = if warm {
                (server.cpu() - cpu) * 1e6 / f64::from(rounds)
            } else {
                0.0
            };
            let how = if warm { "warm" } else { "cold" };
            println!(
                "SELECT of {messages} {how}: {:.0} µs (median of {rounds}), {cpu:.0} µs of server CPU",
                times[times.len() / 2].as_secs_f64() * 1e6
            );
        }
    }
}

/// Download and delete.
fn pop3(server: &mut Server) {
    let Some(address) = server.pop3 else { return };
    for pipelined in [false, true] {
        for number in 0..DROPS {
            let mut client = Client::login(server.imap, 40 + number);
            client.empty_inbox();
            client.fill("INBOX", 0..DROP as u32, 4 << 10);
        }
        let usage = server.usage();
        std::thread::scope(|scope| {
            for number in 0..DROPS {
                scope.spawn(move || drain(address, 40 + number, pipelined));
            }
        });
        let what = if pipelined { "pipelined" } else { "one by one" };
        report(
            server,
            &format!("POP3, RETR and DELE {what}: 4 KiB message"),
            DROPS * DROP,
            &usage,
        );
    }
}

fn drain(address: SocketAddr, number: u64, pipelined: bool) {
    let mut wire = Wire::connect(address);
    wire.expect("+OK");
    for command in [format!("USER {}", account(number)), format!("PASS {PASSWORD}")] {
        wire.send(&command);
        wire.expect("+OK");
    }
    let ahead = if pipelined { 50 } else { 1 };
    let mut next = 1;
    while next <= DROP {
        let last = (next + ahead - 1).min(DROP);
        if pipelined {
            let mut commands = String::new();
            (next..=last).for_each(|number| write!(commands, "RETR {number}\r\nDELE {number}\r\n").unwrap());
            wire.send_bytes(commands.as_bytes());
        }
        for number in next..=last {
            if !pipelined {
                wire.send(&format!("RETR {number}"));
            }
            wire.expect("+OK");
            while wire.line() != "." {}
            if !pipelined {
                wire.send(&format!("DELE {number}"));
            }
            wire.expect("+OK");
        }
        next = last + 1;
    }
    wire.send("QUIT");
    wire.expect("+OK");
}

/// Many devices that wait, and how soon those of them that have new mail hear of it.
fn idle(server: &mut Server) {
    server.restart();
    let imap = server.imap;
    let begin = |number: u64| {
        let mut client = Client::login(imap, number % ACCOUNTS);
        client.ok("SELECT INBOX");
        client.send(b"i IDLE\r\n");
        client.until(b"+ ");
        client
    };
    // What password hashing has used and given back would hide what sessions take: a fresh process is the measure, and what
    // its caches come to is counted with the sessions.
    let fresh = server.resident();
    let mut sessions: Vec<Client> = (0..ACCOUNTS).map(begin).collect();
    pause(Duration::from_secs(1));
    let first = server.resident();
    sessions.extend((0..IDLE - ACCOUNTS).map(|number| begin(number % (ACCOUNTS - 10))));
    pause(Duration::from_secs(2));
    let last = server.resident();
    println!(
        "idle: {} bytes of resident memory per plain IMAP session in IDLE ({IDLE} sessions; {} KiB fresh, {} KiB with \
         {ACCOUNTS}, {} KiB with all)",
        last.saturating_sub(fresh) / IDLE,
        fresh >> 10,
        first >> 10,
        last >> 10
    );
    let Some(smtp) = server.smtp else { return };
    // Of the last ten accounts only two devices each are there.
    let mut devices: Vec<Client> = (0..10).map(|number| begin(ACCOUNTS - 10 + number)).collect();
    let mut wire = Wire::connect(smtp);
    wire.reply("220");
    wire.command("EHLO client.example", "250");
    let (mut latencies, usage) = (Vec::new(), server.usage());
    for round in 0..400 {
        let at = round % devices.len();
        let to = account(ACCOUNTS - 10 + at as u64);
        wire.send_bytes(format!("MAIL FROM:<alice@crepes.fr>\r\nRCPT TO:<{to}>\r\nDATA\r\n").as_bytes());
        for code in ["250", "250", "354"] {
            wire.reply(code);
        }
        wire.send_bytes(&letter(round as u32, 4 << 10));
        wire.send_bytes(b".\r\n");
        wire.reply("250");
        let taken = timed(|| devices[at].until(b"EXISTS\r\n"));
        latencies.push(taken);
    }
    latencies.sort();
    let of =
        |part: usize| latencies[(latencies.len() * part / 100).min(latencies.len() - 1)].as_secs_f64() * 1e3;
    println!(
        "idle: new mail is seen {:.2} ms (median), {:.2} ms (p99) after the 250",
        of(50),
        of(99)
    );
    report(
        server,
        "idle: one delivery, two devices hear of it",
        latencies.len() as u64,
        &usage,
    );
}

/// The server that is measured.
struct Server {
    node: Option<Node>,
    imap: SocketAddr,
    pop3: Option<SocketAddr>,
    smtp: Option<SocketAddr>,
    process: String,
}

/// What was used when a row began.
struct Usage {
    begin: Instant,
    cpu: f64,
}

impl Server {
    fn new(what: &str) -> Self {
        if what.contains("imap=") {
            let word = |key: &str| {
                what.split(',')
                    .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
            };
            let address = |key: &str| word(key).map(|text| text.parse().expect("an address"));
            return Self {
                node: None,
                imap: address("imap").expect("imap="),
                pop3: address("pop3"),
                smtp: None,
                process: word("process").unwrap_or_default().into(),
            };
        }
        let limits = "[limits]\nconnections_per_address = 0\nconnections_per_account = 0\nconnections = 20000\n\
            messages_per_connection = 10000000\n";
        let node = Node::start(
            what,
            &Wish {
                hostname: "hamburger.edu".into(),
                more: limits.into(),
                ..Wish::default()
            },
        );
        (0..ACCOUNTS).for_each(|number| node.add_account(&account(number), PASSWORD));
        Self {
            imap: node.address("imap"),
            pop3: Some(node.address("pop3")),
            smtp: Some(node.address("smtp")),
            node: Some(node),
            process: String::new(),
        }
    }

    fn restart(&mut self) {
        if let Some(node) = &mut self.node {
            node.stop();
            node.restart();
        }
    }

    /// Begins a measurement; a line on standard error says so, for whoever attaches a profiler.
    fn usage(&self) -> Usage {
        eprintln!("measuring {:?}", self.pids());
        Usage {
            begin: Instant::now(),
            cpu: self.cpu(),
        }
    }

    fn pids(&self) -> Vec<u32> {
        match &self.node {
            Some(node) => vec![node.pid()],
            None => fs::read_dir("/proc")
                .unwrap()
                .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
                .filter(|pid| {
                    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                    String::from_utf8_lossy(&line).contains(&self.process)
                })
                .collect(),
        }
    }

    /// Seconds of CPU used so far, those of children that have ended included.
    fn cpu(&self) -> f64 {
        let used = self.pids().into_iter().map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let Some((_, fields)) = stat.rsplit_once(')') else {
                return 0.0;
            };
            let fields: Vec<&str> = fields.split_whitespace().collect();
            // utime, stime and those of children, in hundredths of a second.
            fields[11..15]
                .iter()
                .map(|field| field.parse::<f64>().unwrap())
                .sum::<f64>()
                / 100.0
        });
        used.sum()
    }

    fn resident(&self) -> u64 {
        let of = |pid: u32| -> Option<u64> {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("VmRSS"))?;
            Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
        };
        self.pids().into_iter().filter_map(of).sum()
    }
}

/// An IMAP client that costs little itself: it looks for the end of an answer and counts lines.
struct Client {
    stream: TcpStream,
    tag: u32,
    buffer: Vec<u8>,
}

impl Client {
    fn login(address: SocketAddr, number: u64) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let mut client = Self {
            stream,
            tag: 0,
            buffer: Vec::new(),
        };
        client.until(b"\r\n");
        client.ok(&format!("LOGIN {} {PASSWORD}", account(number)));
        client
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Reads until something has come; throws away everything.
    fn until(&mut self, what: &[u8]) {
        let mut piece = [0; 4096];
        self.buffer.clear();
        while !self.buffer.windows(what.len()).any(|window| window == what) {
            let read = self.stream.read(&mut piece).unwrap();
            assert!(read > 0, "closed by the server");
            self.buffer.extend_from_slice(&piece[..read]);
        }
    }

    /// Sends a command that must be answered OK; how many untagged lines came.
    fn ok(&mut self, command: &str) -> u64 {
        let (lines, end) = self.answer(command);
        assert!(end.contains(" OK"), "{command} → {end}");
        lines
    }

    /// Sends a command; how many untagged lines came, and how it ended.
    fn answer(&mut self, command: &str) -> (u64, String) {
        self.tag += 1;
        let tag = format!("\r\na{} ", self.tag);
        self.send(format!("{}{command}\r\n", &tag[2..]).as_bytes());
        self.finish(tag.as_bytes())
    }

    fn finish(&mut self, tag: &[u8]) -> (u64, String) {
        // An answer without untagged lines begins with the tag.
        self.buffer.clear();
        self.buffer.extend_from_slice(b"\r\n");
        let mut piece = vec![0; 256 << 10];
        let mut lines = 0;
        loop {
            let read = self.stream.read(&mut piece).unwrap();
            assert!(read > 0, "closed by the server");
            self.buffer.extend_from_slice(&piece[..read]);
            let end = self.buffer.len().saturating_sub(2);
            if self.buffer.ends_with(b"\r\n") {
                let last = self.buffer[..end]
                    .windows(2)
                    .rposition(|pair| pair == b"\r\n")
                    .unwrap_or(0);
                if self.buffer[last..].starts_with(tag) {
                    lines += count(&self.buffer);
                    return (
                        lines,
                        String::from_utf8_lossy(&self.buffer[last + 2..]).into_owned(),
                    );
                }
            }
            // The last line may not be whole yet.
            if let Some(last) = self.buffer[..end].windows(2).rposition(|pair| pair == b"\r\n")
                && last > 1 << 16
            {
                lines += count(&self.buffer[..last]);
                self.buffer.drain(..last);
            }
        }
    }

    /// How many messages a folder has; 0 also when there is none.
    fn status(&mut self, folder: &str) -> u32 {
        self.tag += 1;
        let tag = format!("\r\na{} ", self.tag);
        self.send(format!("{}STATUS {folder} (MESSAGES)\r\n", &tag[2..]).as_bytes());
        self.finish(tag.as_bytes());
        let text = String::from_utf8_lossy(&self.buffer).into_owned();
        let count = text
            .split_once("(MESSAGES ")
            .and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
        count.unwrap_or(0)
    }

    /// Appends messages, many with each command.
    fn fill(&mut self, folder: &str, numbers: std::ops::Range<u32>, size: usize) {
        let numbers: Vec<u32> = numbers.collect();
        for batch in numbers.chunks(BATCH as usize) {
            self.tag += 1;
            let mut command = format!("a{} APPEND {folder}", self.tag).into_bytes();
            for number in batch {
                let letter = letter(*number, size);
                let flags = if number % 3 == 0 { "" } else { "\\Seen" };
                write!(command, " ({flags}) {{{}+}}\r\n", letter.len()).unwrap();
                command.extend_from_slice(&letter);
            }
            command.extend_from_slice(b"\r\n");
            self.send(&command);
            let (_, end) = self.finish(format!("\r\na{} ", self.tag).as_bytes());
            assert!(end.contains(" OK"), "APPEND → {end}");
        }
    }

    fn empty_inbox(&mut self) {
        self.ok("SELECT INBOX");
        self.answer("STORE 1:* +FLAGS.SILENT (\\Deleted)");
        self.ok("CLOSE");
    }
}

/// Untagged lines; what a literal holds is not counted.
fn count(text: &[u8]) -> u64 {
    text.windows(4).filter(|window| window == b"\r\n* ").count() as u64
}

fn account(number: u64) -> String {
    format!("user{number}@hamburger.edu")
}

/// A message that differs from all others.
fn letter(number: u32, size: usize) -> Vec<u8> {
    let (from, to, day, hour) = (number % 997, number % 89, number % 28 + 1, number % 24);
    let mut text = format!(
        "Received: from mx{from}.crepes.fr (mx{from}.crepes.fr [192.0.2.{to}]) by mx.hamburger.edu with ESMTP id {number:x};\r\n\
         \tMon, {day} Feb 2021 {hour:02}:52:25 +0000\r\n\
         From: \"Person {from} of Crepes\" <person{from}@crepes.fr>\r\n\
         To: Bob <bob{to}@hamburger.edu>, Carol {to} <carol{to}@hamburger.edu>\r\n\
         Subject: Condiments, part {number}: do you like ketchup?\r\n\
         Date: Mon, {day} Feb 2021 {hour:02}:52:25 -0800\r\n\
         Message-ID: <{number}.20210207.215225@crepes.fr>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         Letter {number}.\r\n"
    );
    while text.len() < size {
        text.push_str("Do you like ketchup? How about pickles? And what of mustard?\r\n");
    }
    text.into_bytes()
}

/// Fills a folder of the first account, unless it is filled.
fn ensure(server: &Server, folder: &str, messages: u32) {
    let mut client = Client::login(server.imap, 0);
    if client.status(folder) == messages {
        return;
    }
    client.ok(&format!("CREATE {folder}"));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for part in 0..FILLERS {
            scope.spawn(move || {
                let share = messages / FILLERS;
                Client::login(server.imap, 0).fill(folder, part * share..(part + 1) * share, 2 << 10);
            });
        }
    });
    println!(
        "     filled with {messages} messages in {:.1} s",
        begin.elapsed().as_secs_f64()
    );
}

fn fill_inboxes(server: &Server, messages: u32, size: usize) {
    for number in 0..ACCOUNTS {
        let mut client = Client::login(server.imap, number);
        if client.status("INBOX") != messages {
            client.empty_inbox();
            client.fill("INBOX", 0..messages, size);
        }
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

/// The shortest time of a few rounds, and the mean CPU of all.
fn best(server: &Server, what: &str, units: u32, rounds: u32, mut work: impl FnMut()) {
    let Usage { cpu, .. } = server.usage();
    let shortest = (0..rounds).map(|_| timed(&mut work)).min().unwrap_or_default();
    let each = (server.cpu() - cpu) * 1e6 / f64::from(units * rounds);
    println!(
        "{what}: {:.3} s (best of {rounds}), {each:.2} µs of server CPU per message",
        shortest.as_secs_f64()
    );
}

fn report(server: &Server, what: &str, count: u64, usage: &Usage) {
    let rate = count as f64 / usage.begin.elapsed().as_secs_f64();
    let each = (server.cpu() - usage.cpu) * 1e6 / count as f64;
    println!("{what}: {rate:.0}/s, {each:.0} µs of server CPU each");
}
