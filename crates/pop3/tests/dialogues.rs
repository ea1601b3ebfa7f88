//! Plays `dialogues/*.txt` against the server half.
//!
//! ```text
//! # A comment; the first names the RFC section.
//! @ tls | starttls | plaintext | drain | wait 601 | close | store-away | update-fails
//! C: a line the client sends, CRLF added; \n \r \\ \xHH are themselves, and a trailing \ leaves the CRLF out
//! C+ a line sent together with the next one
//! S: +OK* a line the server answers; `*` stands for the rest
//! T: the handshake STLS asks for happens
//! E: what the owner is told, see `describe`
//! S. the server closes
//! ```
//!
//! The owner in these dialogues knows `bob` (password `hungry`), whose maildrop has two messages of 498 and 912 octets;
//! `busy` has a maildrop that is in use, and about `later` nobody can say anything now.

// A player fails by panicking, as a test does.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postrider_pop3::server::{Config, Event, Maildrop, Refusal, Server};
use postrider_sasl::Verifier;
use postrider_wire::{Session, Step};

struct Messages(Vec<Vec<u8>>);

impl Maildrop for Messages {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn size(&self, message: usize) -> u64 {
        self.0[message].len() as u64
    }

    fn write_unique_id(&self, message: usize, output: &mut BytesMut) {
        output.extend_from_slice(format!("id-{message}").as_bytes());
    }
}

/// Two messages of the sizes the textbook prints; the second has lines that begin with dots.
fn messages() -> Messages {
    let header = |subject: &str| format!("Subject: {subject}\r\n\r\n");
    let fill = |start: String, size: usize| {
        let mut text = start.into_bytes();
        while text.len() < size - 2 {
            text.push(b'x');
        }
        text.extend_from_slice(b"\r\n");
        text
    };
    Messages(vec![
        fill(header("ketchup"), 498),
        fill(header("pickles") + ".dot\r\n..two\r\n", 912),
    ])
}

struct Player {
    server: Server<Messages>,
    now: Instant,
    input: BytesMut,
    output: BytesMut,
    events: Vec<String>,
    store_away: bool,
    update_fails: bool,
    wants_tls: bool,
    closed: bool,
}

impl Player {
    fn new() -> Self {
        Self {
            server: Server::new(Arc::new(Config::default())),
            now: Instant::now(),
            input: BytesMut::new(),
            output: BytesMut::new(),
            events: Vec::new(),
            store_away: false,
            update_fails: false,
            wants_tls: false,
            closed: false,
        }
    }

    fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = Config {
            hostname: "hamburger.edu".into(),
            errors: 4,
            ..Config::default()
        };
        change(&mut config);
        self.server = Server::new(Arc::new(config));
    }

    /// Acts on a directive; the listener's come before anything is said.
    fn directive(&mut self, directive: &str) {
        match directive.split_once(' ').unwrap_or((directive, "")) {
            ("tls", _) => {
                self.configure(|_| ());
                self.server.tls_started();
            }
            ("starttls", _) => self.configure(|config| config.starttls = true),
            ("plaintext", _) => self.configure(|config| config.plaintext_auth = true),
            ("drain", _) => self.server.drain(),
            ("wait", seconds) => self.now += Duration::from_secs(seconds.parse().unwrap()),
            ("close", _) => self.server.input_closed(),
            ("store-away", _) => self.store_away = true,
            ("update-fails", _) => self.update_fails = true,
            (other, _) => panic!("unknown directive {other}"),
        }
    }

    fn play(&mut self) {
        loop {
            match self.server.step(self.now, &mut self.input, &mut self.output) {
                Step::Event(event) => self.event(event),
                Step::Waiting => panic!("every event is answered at once"),
                Step::NeedInput => return,
                Step::StartTls => {
                    self.wants_tls = true;
                    return;
                }
                Step::Close => {
                    self.closed = true;
                    return;
                }
            }
        }
    }

    fn event(&mut self, event: Event) {
        if event == Event::Flush {
            return;
        }
        self.events.push(self.describe(&event));
        match event {
            Event::LogIn { user, password } if user == "bob" && password.expose() == b"hungry" => {
                self.server.opened(messages());
            }
            Event::LogIn { user, .. } if user == "busy" => self.server.refused(Refusal::InUse),
            Event::LogIn { user, .. } if user == "later" => {
                self.server.refused(Refusal::Temporary(
                    "the directory is not available, try again later",
                ));
            }
            Event::LogIn { .. } | Event::ProofFailed { .. } => self.server.refused(Refusal::Credentials),
            Event::FetchVerifier { .. } => self.server.verifier(Verifier::derive(b"hungry", b"salt", 4096)),
            Event::Open { .. } => self.server.opened(messages()),
            Event::Retrieve { .. } if self.store_away => {
                self.server.refused(Refusal::Temporary(
                    "the message cannot be read now, try again later",
                ));
            }
            Event::Retrieve { message } => {
                self.server.begin_message(&mut self.output);
                for piece in messages().0[message].chunks(7) {
                    if !self.server.write_message(piece, &mut self.output) {
                        break;
                    }
                }
                self.server.end_message(&mut self.output);
            }
            Event::Update if self.update_fails => {
                self.server.refused(Refusal::Temporary("the store is away"))
            }
            Event::Update => self.server.updated(),
            Event::Flush => {}
        }
    }

    fn describe(&self, event: &Event) -> String {
        match event {
            Event::LogIn { user, password } => {
                format!("log in {user} {}", String::from_utf8_lossy(password.expose()))
            }
            Event::FetchVerifier { user } => format!("fetch verifier {user}"),
            Event::Open { user } => format!("open {user}"),
            Event::ProofFailed { user } => format!("proof failed {user}"),
            Event::Retrieve { message } => format!("retrieve {message}"),
            Event::Update => format!("update {:?}", self.server.marked().collect::<Vec<_>>()),
            Event::Flush => "flush".into(),
        }
    }

    /// The next line of the output.
    fn heard(&mut self) -> Option<String> {
        let end = self.output.windows(2).position(|pair| pair == b"\r\n")?;
        let line = self.output.split_to(end + 2);
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, c == '\\') {
            (_, true) => match rest.next() {
                Some('r') => octets.push(b'\r'),
                Some('n') => octets.push(b'\n'),
                Some('\\') => octets.push(b'\\'),
                Some('x') => {
                    let hex: String = rest.by_ref().take(2).collect();
                    octets.push(u8::from_str_radix(&hex, 16).unwrap());
                }
                None => return octets,
                Some(other) => panic!("unknown escape {other}"),
            },
            (c, false) => octets.extend_from_slice(c.to_string().as_bytes()),
        }
    }
    octets.extend_from_slice(b"\r\n");
    octets
}

fn matches(pattern: &str, line: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => line.starts_with(start),
        None => line == pattern,
    }
}

fn play_file(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut player = Player::new();
    player.configure(|_| ());
    let mut begun = false;
    for (number, line) in text.lines().enumerate() {
        let place = format!("{}:{}", path.display(), number + 1);
        let (mark, rest) = line.split_at(line.len().min(2));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let is_setting = mark.starts_with('@') && ["tls", "starttls", "plaintext"].contains(&rest);
        if !begun && !is_setting && !line.starts_with('#') {
            begun = true;
            player.play();
        }
        match mark {
            "" => {}
            _ if line.starts_with('#') => {}
            "@ " => {
                player.directive(rest);
                if begun {
                    player.play();
                }
            }
            "C:" | "C+" => {
                assert_eq!(player.heard(), None, "{place}: unread before this line");
                player.input.extend_from_slice(&unescape(rest));
                if mark == "C:" {
                    player.play();
                }
            }
            "S:" => {
                let heard = player
                    .heard()
                    .unwrap_or_else(|| panic!("{place}: nothing was said"));
                assert!(matches(rest, &heard), "{place}: heard {heard}");
            }
            "T:" => {
                assert!(
                    std::mem::take(&mut player.wants_tls),
                    "{place}: no handshake is asked for"
                );
                player.input.clear();
                player.server.tls_started();
                player.play();
            }
            "E:" => {
                assert!(!player.events.is_empty(), "{place}: the owner was told nothing");
                assert_eq!(player.events.remove(0), rest, "{place}");
            }
            "S." => assert!(player.closed, "{place}: still open"),
            other => panic!("{place}: unknown mark {other}"),
        }
    }
    let name = path.display();
    assert_eq!(player.heard(), None, "{name}: unread at the end");
    let unread: Vec<_> = player
        .events
        .iter()
        .filter(|event| event.starts_with("update [") && *event != "update []")
        .collect();
    assert!(unread.is_empty(), "{name}: nobody expected {unread:?}");
    assert_eq!(
        player.closed,
        text.lines().any(|line| line.starts_with("S.")),
        "{name}: closed?"
    );
}

#[test]
fn every_dialogue_plays_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 15, "the dialogues are missing");
    for file in files {
        play_file(&file);
    }
}
