//! Both halves against each other, and the server half against anything.

// A player fails by panicking, as a test does.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use postrider_pop3::client::{self, Client, ClientError};
use postrider_pop3::server::{Config, Event, Maildrop, Refusal, Server};
use postrider_pop3::{Auth, Command};
use postrider_sasl::{Client as SaslClient, Mechanism, Verifier};
use postrider_types::Secret;
use postrider_wire::{Session, Step};
use proptest::prelude::*;

/// `count` messages of the same text.
struct Copies {
    count: usize,
    text: &'static [u8],
}

impl Maildrop for Copies {
    fn len(&self) -> usize {
        self.count
    }

    fn size(&self, _: usize) -> u64 {
        self.text.len() as u64
    }

    fn write_unique_id(&self, message: usize, output: &mut BytesMut) {
        output.extend_from_slice(format!("{message:070}").as_bytes());
    }
}

/// A client and a server in memory, with an owner who lets `bob` in with the password `hungry`.
struct Joined {
    server: Server<Copies>,
    client: Client,
    upward: BytesMut,
    downward: BytesMut,
    count: usize,
    text: &'static [u8],
    /// The largest the server's output ever was.
    peak: usize,
    removed: Option<Vec<usize>>,
    heard: Vec<client::Event>,
}

impl Joined {
    fn new(config: Config, count: usize, text: &'static [u8]) -> Self {
        Self {
            server: Server::new(Arc::new(config)),
            client: Client::new(),
            upward: BytesMut::new(),
            downward: BytesMut::new(),
            count,
            text,
            peak: 0,
            removed: None,
            heard: Vec::new(),
        }
    }

    fn owner(&mut self, event: Event) {
        let maildrop = Copies {
            count: self.count,
            text: self.text,
        };
        match event {
            Event::LogIn { user, password } if user == "bob" && password.expose() == b"hungry" => {
                self.server.opened(maildrop);
            }
            Event::LogIn { .. } | Event::ProofFailed { .. } => self.server.refused(Refusal::Credentials),
            Event::FetchVerifier { .. } => self.server.verifier(Verifier::derive(b"hungry", b"salt", 4096)),
            Event::Open { .. } => self.server.opened(maildrop),
            Event::Retrieve { .. } => {
                self.server.begin_message(&mut self.downward);
                let _ = self
                    .text
                    .chunks(1000)
                    .all(|piece| self.server.write_message(piece, &mut self.downward));
                self.server.end_message(&mut self.downward);
            }
            Event::Update => {
                self.removed = Some(self.server.marked().collect());
                self.server.updated();
            }
            Event::Flush => {}
        }
    }

    /// Runs both until neither has anything to do; whether the connection is still open.
    fn run(&mut self) -> bool {
        let now = Instant::now();
        loop {
            let client_closed = loop {
                match self.client.step(now, &mut self.downward, &mut self.upward) {
                    Step::Event(event) => self.heard.push(event),
                    Step::StartTls => {
                        self.downward.clear();
                        self.client.tls_started();
                    }
                    Step::Close => break true,
                    Step::NeedInput | Step::Waiting => break false,
                }
            };
            let quiet = self.upward.is_empty();
            match self.server.step(now, &mut self.upward, &mut self.downward) {
                Step::Event(event) => self.owner(event),
                Step::StartTls => {
                    self.upward.clear();
                    self.server.tls_started();
                }
                Step::NeedInput if quiet && self.downward.is_empty() => return !client_closed,
                Step::Close if self.downward.is_empty() => return false,
                Step::NeedInput | Step::Close | Step::Waiting => {}
            }
            self.peak = self.peak.max(self.downward.len());
        }
    }

    /// Sends a command and runs; the response and the lines behind it.
    fn ask(&mut self, command: Command) -> (client::Response, Vec<u8>) {
        self.client.send(command);
        self.answer()
    }

    fn log_in(&mut self, mechanism: Mechanism, password: &str) -> client::Response {
        self.client
            .authenticate(SaslClient::new(mechanism, "bob", Secret::new(password)).unwrap());
        self.answer().0
    }

    fn answer(&mut self) -> (client::Response, Vec<u8>) {
        self.heard.clear();
        self.run();
        let mut heard = std::mem::take(&mut self.heard).into_iter();
        let response = match heard.next() {
            Some(client::Event::Response(response)) => response,
            other => panic!("no response but {other:?}"),
        };
        let mut text = Vec::new();
        for event in heard {
            match event {
                client::Event::Piece(piece) => text.extend_from_slice(&piece),
                client::Event::End => {}
                other => panic!("{other:?}"),
            }
        }
        (response, text)
    }

    fn greeted(mut self) -> Self {
        assert!(self.answer().0.ok);
        self
    }
}

fn open() -> Config {
    Config {
        plaintext_auth: true,
        starttls: true,
        ..Config::default()
    }
}

#[test]
fn a_session_from_greeting_to_quit() {
    let text = b"Subject: x\r\n\r\n.\r\n..two\r\nbare\n.line";
    let mut joined = Joined::new(
        Config {
            starttls: true,
            ..Config::default()
        },
        3,
        text,
    )
    .greeted();
    let capabilities = joined.ask(Command::Capa).1;
    assert!(String::from_utf8(capabilities).unwrap().contains("\r\nSTLS\r\n"));
    assert!(joined.ask(Command::Stls).0.ok);
    let wrong = joined.log_in(Mechanism::Plain, "angry");
    assert_eq!((wrong.ok, wrong.code().as_deref()), (false, Some("AUTH")));
    assert!(joined.log_in(Mechanism::ScramSha256, "hungry").ok);
    assert_eq!(joined.ask(Command::Stat).0.text, format!("3 {}", 3 * text.len()));
    // The dot behind a bare line feed is doubled for careless clients; a careful one reads both.
    assert_eq!(
        joined.ask(Command::Retr(2)).1,
        b"Subject: x\r\n\r\n.\r\n..two\r\nbare\n..line\r\n"
    );
    assert_eq!(joined.ask(Command::Top(2, 1)).1, b"Subject: x\r\n\r\n.\r\n");
    assert!(joined.ask(Command::Dele(2)).0.ok);
    assert!(!joined.ask(Command::Retr(2)).0.ok);
    assert_eq!(
        joined.ask(Command::List(None)).1,
        format!("1 {0}\r\n3 {0}\r\n", text.len()).as_bytes()
    );
    assert!(joined.ask(Command::Quit).0.ok);
    assert_eq!(joined.removed, Some(vec![1]));
    assert!(!joined.run());
}

#[test]
fn a_wrong_scram_password_is_refused_and_long_ones_are_sent() {
    let mut joined = Joined::new(open(), 0, b"").greeted();
    assert_eq!(
        joined.log_in(Mechanism::ScramSha256, "angry").code().as_deref(),
        Some("AUTH")
    );
    assert_eq!(
        joined
            .log_in(Mechanism::Plain, &"x".repeat(1000))
            .code()
            .as_deref(),
        Some("AUTH")
    );
    assert!(joined.log_in(Mechanism::ScramSha256, "hungry").ok);
}

#[test]
fn a_server_that_cannot_prove_itself_is_not_believed() {
    let mut client = Client::new();
    client.authenticate(SaslClient::new(Mechanism::ScramSha256, "bob", Secret::new("hungry")).unwrap());
    let (mut input, mut output) = (BytesMut::from("+OK hello\r\n"), BytesMut::new());
    let now = Instant::now();
    assert!(matches!(
        client.step(now, &mut input, &mut output),
        Step::Event(client::Event::Response(_))
    ));
    assert_eq!(client.step(now, &mut input, &mut output), Step::NeedInput);
    assert!(output.starts_with(b"AUTH SCRAM-SHA-256 "));
    input.extend_from_slice(b"+OK come in\r\n");
    let failed = ClientError::Sasl(postrider_sasl::ClientError::Signature);
    assert_eq!(
        client.step(now, &mut input, &mut output),
        Step::Event(client::Event::Failed(failed))
    );
    assert_eq!(client.step(now, &mut input, &mut output), Step::Close);
}

#[test]
fn a_client_notices_silence_closing_and_nonsense() {
    let now = Instant::now();
    let mut output = BytesMut::new();
    let mut client = Client::new();
    assert_eq!(
        client.step(now, &mut BytesMut::new(), &mut output),
        Step::NeedInput
    );
    let late = client.deadline().unwrap();
    let silent = client.step(late, &mut BytesMut::new(), &mut output);
    assert_eq!(silent, Step::Event(client::Event::Failed(ClientError::Silent)));
    let mut client = Client::new();
    client.input_closed();
    let closed = client.step(now, &mut BytesMut::new(), &mut output);
    assert_eq!(closed, Step::Event(client::Event::Failed(ClientError::Closed)));
    let mut client = Client::new();
    let nonsense = client.step(now, &mut BytesMut::from("220 smtp\r\n"), &mut output);
    assert_eq!(
        nonsense,
        Step::Event(client::Event::Failed(ClientError::Protocol))
    );
}

#[test]
fn a_huge_maildrop_is_listed_in_pieces() {
    let mut joined = Joined::new(open(), 100_000, b"x\r\n").greeted();
    assert!(joined.log_in(Mechanism::Plain, "hungry").ok);
    let listed = joined.ask(Command::Uidl(None)).1;
    assert_eq!(listed.iter().filter(|byte| **byte == b'\n').count(), 100_000);
    assert!(listed.starts_with(format!("1 {:070}\r\n2 ", 0).as_bytes()));
    assert!(listed.ends_with(format!("100000 {:070}\r\n", 99_999).as_bytes()));
    assert!(
        joined.peak < 64 * 1024,
        "{} bytes of output at a time",
        joined.peak
    );
}

#[test]
fn commands_sent_ahead_do_not_make_the_output_grow() {
    let mut joined = Joined::new(open(), 1000, b"x\r\n").greeted();
    assert!(joined.log_in(Mechanism::Plain, "hungry").ok);
    for _ in 0..200 {
        joined.client.send(Command::List(None));
    }
    joined.run();
    let ends = joined
        .heard
        .iter()
        .filter(|event| **event == client::Event::End)
        .count();
    assert_eq!(ends, 200);
    assert!(
        joined.peak < 64 * 1024,
        "{} bytes of output at a time",
        joined.peak
    );
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "USER bob",
        "PASS hungry",
        "AUTH PLAIN",
        "AGJvYgBodW5ncnk=",
        "LIST",
        "RETR 1",
        "TOP 1 1",
        "DELE 2",
        "RSET",
        "UIDL",
        "STLS",
        "CAPA",
        "QUIT",
        "*",
        "AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9eA==",
    ];
    prop_oneof![
        8 => proptest::sample::select(words.to_vec()).prop_map(|word| format!("{word}\r\n").into_bytes()),
        1 => any::<Vec<u8>>(),
        1 => (1..9000_usize).prop_map(|length| vec![b'x'; length]),
        1 => Just(b"\r\n".to_vec()),
        1 => Just(b"\n".to_vec()),
    ]
}

/// Everything the server says to these bytes in chunks of this size. Panics when the session breaks its contract.
fn said(input: &[u8], chunk: usize) -> Bytes {
    let mut joined = Joined::new(open(), 3, b"a: b\r\n\r\n.c\r\n");
    let now = Instant::now();
    let mut said = BytesMut::new();
    let mut chunks = input.chunks(chunk);
    loop {
        let step = joined.server.step(now, &mut joined.upward, &mut joined.downward);
        assert!(joined.downward.len() < 64 * 1024);
        said.extend_from_slice(&joined.downward.split());
        match step {
            Step::Event(event) => {
                joined.owner(event);
                said.extend_from_slice(&joined.downward.split());
            }
            // Without the discarding of input a real driver does, so that chunks cannot matter.
            Step::StartTls => joined.server.tls_started(),
            Step::Waiting => panic!("every event was answered"),
            Step::Close => return said.freeze(),
            Step::NeedInput => match chunks.next() {
                Some(chunk) => {
                    assert!(joined.upward.len() < Server::<Copies>::MAX_BUFFERED);
                    joined.upward.extend_from_slice(chunk);
                }
                None => joined.server.input_closed(),
            },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn anything_in_any_chunks_is_answered_alike(
        lines in proptest::collection::vec(line(), 0..30),
        chunk in 1..600_usize,
    ) {
        let input = lines.concat();
        // SCRAM's nonces differ from run to run.
        let stable = !input.windows(5).any(|word| word.eq_ignore_ascii_case(b"SCRAM"));
        let (whole, pieces) = (said(&input, 4096), said(&input, chunk));
        prop_assert!(!stable || whole == pieces);
    }

    #[test]
    fn a_client_survives_any_server(input in proptest::collection::vec(any::<u8>(), 0..300), chunk in 1..50_usize) {
        let mut client = Client::new();
        client.send(Command::Auth(Some(Auth { mechanism: Mechanism::Plain, initial_response: None })));
        client.send(Command::Retr(1));
        let (mut buffer, mut output) = (BytesMut::from("+OK\r\n+OK\r\n+OK\r\n"), BytesMut::new());
        let mut chunks = input.chunks(chunk);
        loop {
            match client.step(Instant::now(), &mut buffer, &mut output) {
                Step::Event(_) => {}
                Step::StartTls => client.tls_started(),
                Step::Close | Step::Waiting => break,
                Step::NeedInput => match chunks.next() {
                    Some(chunk) => buffer.extend_from_slice(chunk),
                    None => client.input_closed(),
                },
            }
        }
    }
}
