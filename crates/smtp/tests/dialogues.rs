//! Plays `dialogues/*.txt` against the server half.
//!
//! ```text
//! # A comment; the first names the RFC section.
//! @ tls | starttls | auth | auth-required | no-plaintext | no-binary | drain | wait 301 | close
//! C: a line the client sends, CRLF added; \n \r \\ \xHH are themselves, and a trailing \ leaves the CRLF out
//! C+ a line sent together with the next one
//! S: 250* a line the server answers; `*` stands for the rest
//! T: the handshake STARTTLS asks for happens
//! E: what the owner is told, see `describe`
//! S. the server closes
//! ```
//!
//! The owner in these dialogues knows `bob@hamburger.edu` (password `hungry`) and `alice@…`, has no `nobody@…`, and is
//! temporarily unable to say anything about `later@…`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postrider_sasl::Verifier;
use postrider_smtp::server::{AuthMode, Config, Event, PasswordCheck, Server};
use postrider_smtp::{Enhanced, ForwardPath, Reply};
use postrider_wire::{Session, Step};

struct Player {
    server: Server,
    now: Instant,
    input: BytesMut,
    output: BytesMut,
    events: Vec<String>,
    content: String,
    closed: bool,
    tls: bool,
}

fn config() -> Config {
    let mut config = Config {
        hostname: "hamburger.edu".into(),
        ..Config::default()
    };
    config.limits.message_size = 1000;
    config.limits.recipients = 3;
    config.limits.transactions = 3;
    config.limits.errors = 3;
    config
}

impl Player {
    fn new(directives: &[&str]) -> Self {
        let mut config = config();
        for directive in directives {
            match *directive {
                "starttls" => config.starttls = true,
                "auth" => config.auth = AuthMode::Optional,
                "auth-required" => config.auth = AuthMode::Required,
                "no-binary" => config.binary_mime = false,
                "tls" | "no-plaintext" => {}
                other => panic!("unknown directive {other}"),
            }
        }
        let mut server = Server::new(Arc::new(config), !directives.contains(&"no-plaintext"));
        if directives.contains(&"tls") {
            server.tls_started();
        }
        Self {
            server,
            now: Instant::now(),
            input: BytesMut::new(),
            output: BytesMut::new(),
            events: Vec::new(),
            content: String::new(),
            closed: false,
            tls: false,
        }
    }

    /// Steps until the server wants something that is not there.
    fn run(&mut self) {
        for _ in 0..10_000 {
            match self.server.step(self.now, &mut self.input, &mut self.output) {
                Step::Event(event) => self.act(event),
                Step::NeedInput => return,
                Step::Waiting => panic!("an answer is missing"),
                Step::StartTls => {
                    self.tls = true;
                    self.input.clear();
                    return;
                }
                Step::Close => {
                    self.closed = true;
                    return;
                }
            }
        }
        panic!("the server goes round in circles");
    }

    fn act(&mut self, event: Event) {
        match &event {
            Event::Chunk(piece) => {
                self.content.push_str(&String::from_utf8_lossy(piece));
                return;
            }
            Event::Mail(mail) => self.server.answer(Reply::sender_ok(&mail.reverse_path)),
            Event::Rcpt(rcpt) => self.server.answer(match rcpt.to.to_string().split('@').next() {
                Some("nobody") => Reply::new(550, Enhanced(5, 1, 1), "no such user"),
                Some("later") => Reply::new(451, Enhanced(4, 3, 0), "not now"),
                _ => Reply::recipient_ok(&rcpt.to),
            }),
            Event::Data => self.server.answer(Reply::start_mail_input()),
            Event::MessageEnd(_) => {
                self.server.answer(Reply::new(
                    250,
                    Enhanced(2, 0, 0),
                    "Message accepted for delivery",
                ));
            }
            Event::Password { user, password } => self.server.password_checked(match user.as_str() {
                "bob@hamburger.edu" if password.expose() == b"hungry" => PasswordCheck::Right,
                "later@hamburger.edu" => PasswordCheck::Unavailable,
                _ => PasswordCheck::Wrong,
            }),
            Event::Verifier { .. } => {
                self.server
                    .verifier(Some(Verifier::derive(b"hungry", b"salt", 4096)));
            }
            _ => {}
        }
        self.events
            .push(describe(&event, &std::mem::take(&mut self.content)));
    }

    fn send(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        self.run();
    }

    fn next_line(&mut self) -> Option<String> {
        let end = self.output.windows(2).position(|pair| pair == b"\r\n")?;
        let line = self.output.split_to(end + 2);
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }
}

/// An event in one line.
fn describe(event: &Event, content: &str) -> String {
    match event {
        Event::Mail(mail) => format!(
            "mail {} size={:?} body={:?} utf8={} ret={:?} envid={:?}",
            mail.reverse_path, mail.size, mail.body, mail.utf8, mail.ret, mail.envid
        ),
        Event::Rcpt(rcpt) => {
            let to = match &rcpt.to {
                ForwardPath::Postmaster => "postmaster".to_owned(),
                ForwardPath::Address(address) => address.to_string(),
            };
            format!("rcpt {to} notify={:?} orcpt={:?}", rcpt.notify, rcpt.orcpt)
        }
        Event::MessageEnd(end) => format!(
            "message {content:?} size={} eight_bit={} long_line={}",
            end.size, end.eight_bit, end.long_line
        ),
        Event::Authenticated { user } => format!("authenticated {user}"),
        Event::Aborted(why) => format!("aborted {why:?}"),
        other => format!("{other:?}"),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            octets.extend(c.to_string().bytes());
            continue;
        }
        match chars.next().expect("something behind the backslash") {
            'r' => octets.push(b'\r'),
            'n' => octets.push(b'\n'),
            '\\' => octets.push(b'\\'),
            'x' => {
                let hex: String = chars.by_ref().take(2).collect();
                octets.push(u8::from_str_radix(&hex, 16).expect("two hexadecimal digits"));
            }
            'R' => {
                // \R{n}c: c n times.
                let count: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                let c = chars.next().expect("what to repeat");
                octets.extend(c.to_string().repeat(count.parse().expect("a count")).bytes());
            }
            other => panic!("unknown escape {other}"),
        }
    }
    octets
}

fn client_line(text: &str) -> Vec<u8> {
    match text.strip_suffix('\\') {
        Some(text) => unescape(text),
        None => [&unescape(text)[..], b"\r\n"].concat(),
    }
}

fn matches(pattern: &str, line: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => line.starts_with(prefix),
        None => line == pattern,
    }
}

fn play(path: &Path) {
    let text = std::fs::read_to_string(path).expect("a readable dialogue");
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(
        text.starts_with("# RFC "),
        "{name} begins with the section it is about"
    );
    let (mut player, mut directives, mut held) = (None, Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let at = format!("{name}:{}", number + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (kind, rest) = line.split_at_checked(2).expect("a kind of line");
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        if let ("@ ", None) = (kind, &player)
            && !matches!(rest.split(' ').next(), Some("drain" | "wait" | "close"))
        {
            directives.extend(rest.split(' '));
            continue;
        }
        let player = player.get_or_insert_with(|| {
            let mut player = Player::new(&directives);
            player.run();
            player
        });
        match kind {
            "@ " => {
                match rest.split(' ').collect::<Vec<_>>()[..] {
                    ["drain"] => player.server.drain(),
                    ["close"] => player.server.input_closed(),
                    ["wait", seconds] => player.now += Duration::from_secs(seconds.parse().expect("seconds")),
                    _ => panic!("{at}: unknown directive"),
                }
                player.run();
            }
            "C+" => held.extend(client_line(rest)),
            "C:" => {
                held.extend(client_line(rest));
                player.send(&std::mem::take(&mut held));
            }
            "S:" => {
                let line = player
                    .next_line()
                    .unwrap_or_else(|| panic!("{at}: nothing was said"));
                assert!(matches(rest, &line), "{at}: wanted {rest:?}, got {line:?}");
            }
            "S." => {
                assert!(player.closed, "{at}: the connection is still open");
                assert_eq!(player.next_line(), None, "{at}: more was said");
            }
            "T:" => {
                assert!(
                    std::mem::take(&mut player.tls),
                    "{at}: no handshake was asked for"
                );
                player.server.tls_started();
                player.run();
            }
            "E:" => {
                assert!(!player.events.is_empty(), "{at}: the owner was told nothing");
                let event = player.events.remove(0);
                assert!(matches(rest, &event), "{at}: wanted {rest:?}, got {event:?}");
            }
            _ => panic!("{at}: unknown kind of line"),
        }
    }
    let mut player = player.expect("a dialogue");
    assert_eq!(player.next_line(), None, "{name}: more was said at the end");
}

#[test]
fn every_dialogue_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the dialogues")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 20, "the dialogues are there");
    paths.iter().for_each(|path| play(path));
}
