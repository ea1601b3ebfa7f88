//! What the way out does: submission in, queue, SMTP out to sinks, everything durable. Generator, sinks and server share
//! the machine, so the server's CPU time per message says more than the rate.
//!
//! ```text
//! cargo build --release --workspace --bins --examples
//! target/release/examples/outbound target/release/postrider rate [sites] [messages] [connections] [deferred units]
//! target/release/examples/outbound target/release/postrider start DEFERRED
//! target/release/examples/outbound target/release/postrider dead QUEUED
//! ```
//! * `rate`: messages of 4 KiB to 100 domains that lie at so many addresses, with so many units deferred in the queue.
//! * `start`: from the launch of the process to the first 250 and to the first delivery, with so many deferred units.
//! * `dead`: how long healthy destinations wait for mail, without and with so many units queued for one that never answers.
//!
//! Deferred units are made by the `deferred` example of `postrider-queue`, which has to lie beside this one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::print_stdout)]

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postrider_testkit::node::{Node, Wish};
use postrider_testkit::wire::{Wire, eventually, pause};

const DOMAINS: usize = 100;
const SENDER: &str = "user0@hamburger.edu";
const PASSWORD: &str = "hungry";
/// Where the destination is that never answers: it accepts connections and says nothing.
const DEAD: &str = "dead.example";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise: usize| {
        arguments
            .get(at)
            .map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let binary = arguments
        .first()
        .expect("the path of a release build of postrider");
    match arguments.get(1).map(String::as_str) {
        Some("rate") => rate(
            binary,
            number(2, 1),
            number(3, 20_000),
            number(4, 50),
            number(5, 0),
        ),
        Some("start") => start(binary, number(2, 1_000_000)),
        Some("dead") => dead(binary, number(2, 100_000)),
        _ => panic!("rate, start or dead?"),
    }
}

fn rate(binary: &str, sites: usize, messages: usize, connections: usize, deferred: usize) {
    let sinks = Sinks::start(sites);
    let mut node = Node::prepare(binary, &wish(&sinks));
    defer(&node, deferred, "later.example", 3600);
    node.restart();
    node.add_account(SENDER, PASSWORD);
    let resident = resident(&node);
    // What is done for the first time is not what is measured.
    submit(&node, 1000, connections);
    sinks.wait_for(1000);
    // Logging in is work of its own: the clock starts behind it.
    let (mut cpu_before, mut begin) = (0.0, Instant::now());
    submit_paced(&node, messages, connections, Duration::ZERO, || {
        (cpu_before, begin) = (cpu(&node), Instant::now());
    });
    let accepted = begin.elapsed();
    sinks.wait_for(messages + 1000);
    let (time, used) = (begin.elapsed(), cpu(&node) - cpu_before);
    println!(
        "{messages} messages to {sites} sites over {connections} connections, {deferred} deferred: {:.0}/s, \
         {:.0} µs of server CPU each; accepted {:.0}/s; {} connections at the sinks; {} MiB resident before, {} after",
        messages as f64 / time.as_secs_f64(),
        used * 1e6 / messages as f64,
        messages as f64 / accepted.as_secs_f64(),
        sinks.connections(),
        resident >> 20,
        self::resident(&node) >> 20,
    );
}

fn start(binary: &str, deferred: usize) {
    let sinks = Sinks::start(1);
    let mut node = Node::start(binary, &wish(&sinks));
    node.add_account(SENDER, PASSWORD);
    assert!(node.stop());
    defer(&node, deferred, "later.example", 3600);
    let begin = Instant::now();
    node.launch();
    submit(&node, 1, 1);
    let accepted = begin.elapsed();
    sinks.wait_for(1);
    println!(
        "start with {deferred} deferred: first 250 after {:.2} s, first delivery after {:.2} s, {} MiB resident",
        accepted.as_secs_f64(),
        begin.elapsed().as_secs_f64(),
        resident(&node) >> 20,
    );
}

fn dead(binary: &str, queued: usize) {
    for queued in [0, queued, 0, queued] {
        let sinks = Sinks::start(10);
        let mut node = Node::prepare(binary, &wish(&sinks));
        defer(&node, queued, DEAD, 0);
        node.restart();
        node.add_account(SENDER, PASSWORD);
        submit(&node, 200, 4);
        sinks.wait_for(200);
        // What is queued has to find out first that it has to wait.
        pause(Duration::from_secs(15));
        let before = sinks.total.times.lock().unwrap().len();
        // Far below what the node can do, so that waits are those of the queue and not of the generator.
        let mut begin = (cpu(&node), Instant::now());
        submit_paced(&node, 4000, 4, Duration::from_micros(10_000), || {
            begin = (cpu(&node), Instant::now());
        });
        sinks.wait_for(4200);
        let times = sinks.total.times.lock().unwrap();
        let mut waits: Vec<Duration> = times[before..].to_vec();
        waits.sort_unstable();
        let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
        println!(
            "{queued} units for a destination that never answers: healthy ones p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms ({:.0}/s, \
             {:.0} µs of server CPU each)",
            at(0.5),
            at(0.99),
            at(1.0),
            4000.0 / begin.1.elapsed().as_secs_f64(),
            (cpu(&node) - begin.0) * 1e6 / 4000.0,
        );
    }
}

fn wish(sinks: &Sinks) -> Wish {
    let mut routes: Vec<(String, SocketAddr)> = (0..DOMAINS)
        .map(|number| (domain(number), sinks.addresses[number % sinks.addresses.len()]))
        .collect();
    routes.push((DEAD.into(), sinks.tarpit));
    Wish {
        hostname: "hamburger.edu".into(),
        routes,
        more: "[limits]\nconnections_per_address = 0\nconnections_per_account = 0\nsubmitted_per_hour = 0\n\
               messages_per_connection = 10000000\n"
            .into(),
        ..Wish::default()
    }
}

fn domain(number: usize) -> String {
    format!("far{number}.example")
}

/// Puts deferred units into the queue of a node that does not run: due after so many seconds, or at once.
fn defer(node: &Node, count: usize, domain: &str, seconds: u64) {
    if count == 0 {
        return;
    }
    let tool = std::env::current_exe().unwrap().with_file_name("deferred");
    let begin = Instant::now();
    let status = Command::new(tool)
        .arg(node.data())
        .args([&count.to_string(), domain, &seconds.to_string()])
        .status()
        .expect("the example `deferred` of postrider-queue, built beside this one");
    assert!(status.success());
    println!("{count} units made in {:.1} s", begin.elapsed().as_secs_f64());
}

// === the generator

fn submit(node: &Node, messages: usize, connections: usize) {
    submit_paced(node, messages, connections, Duration::ZERO, || {});
}

/// Sends messages over connections of its own, each at least `pace` after the one before. `ready` is called when all have
/// logged in.
fn submit_paced(node: &Node, messages: usize, connections: usize, pace: Duration, ready: impl FnOnce()) {
    let next = AtomicUsize::new(0);
    let mut text = format!("From: {SENDER}\r\nTo: you@far.example\r\nMessage-ID: <1@hamburger.edu>\r\n");
    text.push_str("Date: Mon, 2 Nov 2026 10:00:00 +0000\r\nSubject: Condiments\r\n");
    let wires: Vec<Wire> = (0..connections).map(|_| log_in(node)).collect();
    ready();
    std::thread::scope(|scope| {
        for mut wire in wires {
            let (next, text) = (&next, &text);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= messages {
                        break;
                    }
                    let domain = domain(number % DOMAINS);
                    let begin = Instant::now();
                    wire.send_bytes(
                        format!("MAIL FROM:<{SENDER}>\r\nRCPT TO:<someone@{domain}>\r\nDATA\r\n").as_bytes(),
                    );
                    for code in ["250", "250", "354"] {
                        wire.reply(code);
                    }
                    let mut body = text.clone();
                    let since = now();
                    body.push_str(&format!("X-Sent: {since}\r\n\r\n"));
                    while body.len() < 4 << 10 {
                        body.push_str("Do you like ketchup? How about pickles? And what of mustard?\r\n");
                    }
                    body.push_str(".\r\n");
                    wire.send_bytes(body.as_bytes());
                    wire.reply("250");
                    pause(pace.saturating_sub(begin.elapsed()));
                }
                wire.command("QUIT", "221");
            });
        }
    });
}

fn log_in(node: &Node) -> Wire {
    let mut wire = Wire::connect(node.address("submission"));
    wire.reply("220");
    wire.command("EHLO client.example", "250");
    // "\0user0@hamburger.edu\0hungry"
    wire.command("AUTH PLAIN AHVzZXIwQGhhbWJ1cmdlci5lZHUAaHVuZ3J5", "235");
    wire
}

/// Microseconds since the Unix epoch.
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.unwrap().as_micros()).unwrap()
}

// === the sinks

/// SMTP servers that take everything and keep nothing but how long it was under way.
struct Sinks {
    addresses: Vec<SocketAddr>,
    tarpit: SocketAddr,
    total: Arc<Total>,
}

#[derive(Default)]
struct Total {
    messages: AtomicUsize,
    connections: AtomicUsize,
    times: Mutex<Vec<Duration>>,
}

impl Sinks {
    fn start(sites: usize) -> Self {
        let total = Arc::<Total>::default();
        let listen = |site: usize| {
            let [high, low] = u16::try_from(site).unwrap().to_be_bytes();
            let listener = TcpListener::bind(SocketAddr::from(([127, 254, high, low], 0))).unwrap();
            (listener.local_addr().unwrap(), listener)
        };
        let addresses = (1..=sites).map(|site| {
            let (address, listener) = listen(site);
            let total = total.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let total = total.clone();
                    total.connections.fetch_add(1, Ordering::Relaxed);
                    std::thread::Builder::new()
                        .stack_size(256 << 10)
                        .spawn(move || drop(take(stream, &total)))
                        .unwrap();
                }
            });
            address
        });
        let addresses = addresses.collect();
        let (tarpit, listener) = listen(0xfff0);
        std::thread::spawn(move || {
            let held: Vec<_> = listener.incoming().collect();
            drop(held);
        });
        Self {
            addresses,
            tarpit,
            total,
        }
    }

    fn connections(&self) -> usize {
        self.total.connections.load(Ordering::Relaxed)
    }

    fn wait_for(&self, messages: usize) {
        eventually("all to have gone out", Duration::from_secs(300), || {
            (self.total.messages.load(Ordering::Relaxed) >= messages).then_some(())
        });
    }
}

/// Serves one connection.
fn take(mut stream: TcpStream, total: &Total) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(b"220 sink.example ESMTP\r\n")?;
    let (mut input, mut piece, mut output) = (Vec::new(), vec![0; 64 << 10], Vec::new());
    let mut in_message = false;
    loop {
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        input.extend_from_slice(&piece[..read]);
        let mut used = 0;
        loop {
            let rest = &input[used..];
            if in_message {
                let Some(end) = find(rest, b"\r\n.\r\n") else {
                    break;
                };
                arrived(&rest[..end], total);
                used += end + 5;
                in_message = false;
                output.extend_from_slice(b"250 2.0.0 taken\r\n");
                continue;
            }
            let Some(end) = find(rest, b"\r\n") else { break };
            let line = rest[..end].to_ascii_uppercase();
            used += end + 2;
            if line.starts_with(b"DATA") {
                in_message = true;
                output.extend_from_slice(b"354 go on\r\n");
            } else if line.starts_with(b"EHLO") {
                output.extend_from_slice(b"250-sink.example\r\n250-8BITMIME\r\n250 PIPELINING\r\n");
            } else if line.starts_with(b"QUIT") {
                output.extend_from_slice(b"221 bye\r\n");
            } else {
                output.extend_from_slice(b"250 2.0.0 ok\r\n");
            }
        }
        input.drain(..used);
        stream.write_all(&output)?;
        output.clear();
    }
}

fn arrived(message: &[u8], total: &Total) {
    let sent = find(message, b"X-Sent: ").and_then(|at| {
        let digits = message[at + 8..].iter().take_while(|byte| byte.is_ascii_digit());
        String::from_utf8(digits.copied().collect())
            .ok()?
            .parse::<u64>()
            .ok()
    });
    if let Some(sent) = sent {
        let time = Duration::from_micros(now().saturating_sub(sent));
        total.times.lock().unwrap().push(time);
    }
    total.messages.fetch_add(1, Ordering::Relaxed);
}

/// Where `wanted` begins; looks for its rarest byte first, so that the sink costs little.
fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = wanted[0];
    let mut from = 0;
    while let Some(at) = text.get(from..)?.iter().position(|byte| *byte == first) {
        if text[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

// === the server as the system sees it

/// Seconds of CPU the server has used so far.
fn cpu(node: &Node) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", node.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // utime and stime, in hundredths of a second.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Bytes of resident memory that are the server's own (not of files).
fn resident(node: &Node) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let fields: HashMap<&str, &str> = status.lines().filter_map(|line| line.split_once(':')).collect();
    let anonymous = fields["RssAnon"].split_whitespace().next().unwrap();
    anonymous.parse::<u64>().unwrap() * 1024
}
