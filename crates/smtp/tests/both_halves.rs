//! The client half against the server half, in memory; and the server half against anything.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use postrider_sasl::Verifier;
use postrider_smtp::client::{self, Client, Credentials, Envelope, Failure, Outcome, Tls, Verdict};
use postrider_smtp::server::{self, AuthMode, PasswordCheck, Server};
use postrider_smtp::{Body, Direction, Enhanced, ForwardPath, Mail, Observer, Rcpt, Reply};
use postrider_types::{Address, ReversePath, Secret};
use postrider_wire::{Session, Step};
use proptest::prelude::*;

/// What the server's owner got.
#[derive(Debug, Default, PartialEq)]
struct Received {
    mail: Option<Mail>,
    recipients: Vec<String>,
    content: Vec<u8>,
    whole: bool,
}

/// A wire that carries at most `most` octets at a time, one way after the other.
struct Joined {
    server: Server,
    client: Client,
    now: Instant,
    to_server: BytesMut,
    to_client: BytesMut,
    server_out: BytesMut,
    client_out: BytesMut,
    most: usize,
    messages: Vec<Received>,
    current: Received,
    outcomes: Vec<Outcome>,
    failure: Option<Failure>,
    /// What is to be sent: envelope and pieces of content.
    queue: Vec<(Envelope, Vec<Bytes>)>,
    pieces: Vec<Bytes>,
    cut_after_end: bool,
    /// Messages begun before the reply to the one before them.
    ahead: usize,
}

impl Joined {
    fn new(server: server::Config, client: client::Config, most: usize) -> Self {
        Self {
            server: Server::new(Arc::new(server), false),
            client: Client::new(Arc::new(client)),
            now: Instant::now(),
            to_server: BytesMut::new(),
            to_client: BytesMut::new(),
            server_out: BytesMut::new(),
            client_out: BytesMut::new(),
            most,
            messages: Vec::new(),
            current: Received::default(),
            outcomes: Vec::new(),
            failure: None,
            queue: Vec::new(),
            pieces: Vec::new(),
            cut_after_end: false,
            ahead: 0,
        }
    }

    fn send(mut self, messages: Vec<(Envelope, Vec<Bytes>)>) -> Self {
        self.queue = messages;
        self.queue.reverse();
        for _ in 0..1_000_000 {
            let server_over = self.step_server();
            let client_over = self.step_client();
            if client_over {
                return self;
            }
            if server_over && self.to_client.is_empty() && self.server_out.is_empty() {
                self.client.input_closed();
            }
            carry(&mut self.server_out, &mut self.to_client, self.most);
            carry(&mut self.client_out, &mut self.to_server, self.most);
        }
        panic!("the two go round in circles");
    }

    fn step_server(&mut self) -> bool {
        loop {
            match self
                .server
                .step(self.now, &mut self.to_server, &mut self.server_out)
            {
                Step::Event(event) => {
                    if self.cut_after_end && matches!(event, server::Event::MessageEnd(_)) {
                        return true;
                    }
                    self.serve(event);
                }
                Step::NeedInput => return false,
                Step::Waiting => return true,
                Step::StartTls => {
                    // The client starts its own half when it has read 220.
                    self.server.tls_started();
                    return false;
                }
                Step::Close => return true,
            }
        }
    }

    fn serve(&mut self, event: server::Event) {
        match event {
            server::Event::Mail(mail) => {
                self.server.answer(Reply::sender_ok(&mail.reverse_path));
                self.current = Received {
                    mail: Some(mail),
                    ..Received::default()
                };
            }
            server::Event::Rcpt(rcpt) => {
                let name = rcpt.to.to_string();
                if name.starts_with("nobody") {
                    return self
                        .server
                        .answer(Reply::new(550, Enhanced(5, 1, 1), "no such user"));
                }
                self.server.answer(Reply::recipient_ok(&rcpt.to));
                self.current.recipients.push(name);
            }
            server::Event::Data => self.server.answer(Reply::start_mail_input()),
            server::Event::Chunk(piece) => self.current.content.extend_from_slice(&piece),
            server::Event::MessageEnd(end) => {
                assert_eq!(end.size, self.current.content.len() as u64);
                assert_eq!(end.eight_bit, !self.current.content.is_ascii());
                self.current.whole = true;
                self.messages.push(std::mem::take(&mut self.current));
                self.server.answer(Reply::new(
                    250,
                    Enhanced(2, 0, 0),
                    "Message accepted for delivery",
                ));
            }
            server::Event::Password { user, password } => {
                let right = user == "alice" && password.expose() == b"secret";
                let check = if right {
                    PasswordCheck::Right
                } else {
                    PasswordCheck::Wrong
                };
                self.server.password_checked(check);
            }
            server::Event::Verifier { .. } => {
                self.server
                    .verifier(Some(Verifier::derive(b"secret", b"salt", 4096)));
            }
            server::Event::Aborted(_)
            | server::Event::Authenticated { .. }
            | server::Event::AuthenticationFailed => {}
        }
    }

    fn step_client(&mut self) -> bool {
        loop {
            match self
                .client
                .step(self.now, &mut self.to_client, &mut self.client_out)
            {
                Step::Event(client::Event::Ready) => match self.queue.pop() {
                    Some((envelope, mut pieces)) => {
                        pieces.reverse();
                        self.pieces = pieces;
                        self.client.send(envelope);
                    }
                    None => self.client.quit(),
                },
                Step::Event(client::Event::Ahead) => {
                    if let Some((envelope, mut pieces)) = self.queue.pop() {
                        pieces.reverse();
                        self.pieces = pieces;
                        self.client.send(envelope);
                        self.ahead += 1;
                    }
                }
                Step::Event(client::Event::Content) => match self.pieces.pop() {
                    Some(piece) => self.client.content(piece),
                    None => self.client.end(),
                },
                Step::Event(client::Event::Finished(outcome)) => self.outcomes.push(outcome),
                Step::Event(client::Event::Failed(failure)) => self.failure = Some(failure),
                Step::NeedInput => return false,
                Step::Waiting => panic!("the client waits for nothing"),
                Step::StartTls => {
                    assert!(self.to_client.is_empty());
                    self.client.tls_started();
                }
                Step::Close => return true,
            }
        }
    }
}

fn carry(from: &mut BytesMut, to: &mut BytesMut, most: usize) {
    let some = from.split_to(from.len().min(most));
    to.extend_from_slice(&some);
}

fn rcpt(address: &str) -> Rcpt {
    Rcpt::to(address.parse().unwrap())
}

fn envelope(recipients: &[&str]) -> Envelope {
    let alice: Address = "alice@crepes.fr".parse().unwrap();
    Envelope {
        mail: Mail {
            body: Body::EightBitMime,
            ..Mail::from(ReversePath(Some(alice)))
        },
        recipients: recipients.iter().map(|address| rcpt(address)).collect(),
    }
}

fn delivered(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Delivered(_))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_sent_arrives(
        bodies in prop::collection::vec(prop::collection::vec("[.a\u{e9}]{0,5}", 0..20), 1..4),
        piece in 1usize..40, most in 1usize..200, chunking: bool,
    ) {
        let bodies: Vec<String> =
            bodies.iter().map(|lines| lines.iter().map(|line| format!("{line}\r\n")).collect()).collect();
        let messages = bodies.iter().map(|body| {
            let pieces = body.as_bytes().chunks(piece).map(Bytes::copy_from_slice).collect();
            (envelope(&["bob@hamburger.edu", "nobody@hamburger.edu", "carol@hamburger.edu"]), pieces)
        });
        let config = client::Config { chunking, ..client::Config::default() };
        let joined = Joined::new(server::Config::default(), config, most).send(messages.collect());
        prop_assert_eq!(joined.failure, None);
        let arrived: Vec<&[u8]> = joined.messages.iter().map(|message| &message.content[..]).collect();
        let sent: Vec<&[u8]> = bodies.iter().map(|body| body.as_bytes()).collect();
        prop_assert_eq!(arrived, sent);
        for outcome in &joined.outcomes {
            prop_assert_eq!(outcome.verdicts.iter().map(delivered).collect::<Vec<_>>(), [true, false, true]);
            prop_assert!(outcome.verdicts[1].is_permanent());
        }
        prop_assert_eq!(&joined.messages[0].recipients, &["bob@hamburger.edu", "carol@hamburger.edu"]);
    }

    /// Any octets in any pieces: no panic, no end without input, no buffer over its limit.
    #[test]
    fn the_server_bears_anything(
        pieces in prop::collection::vec(
            prop_oneof![
                "(EHLO x|HELO y|MAIL FROM:<a@b>|RCPT TO:<c@d>|DATA|BDAT 5|BDAT 3 LAST|RSET|AUTH PLAIN|AUTH LOGIN|STARTTLS|\\.|x|QUIT)(\r\n|\n|\r)?"
                    .prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..300),
                Just(vec![b'a'; 9000]),
            ],
            0..60,
        )
    ) {
        let config = server::Config { auth: AuthMode::Optional, starttls: true, ..server::Config::default() };
        let mut server = Server::new(Arc::new(config), true);
        let (mut input, mut output, now) = (BytesMut::new(), BytesMut::new(), Instant::now());
        let mut pieces = pieces.into_iter();
        for _ in 0..100_000 {
            match server.step(now, &mut input, &mut output) {
                Step::Event(server::Event::Password { .. }) => server.password_checked(PasswordCheck::Wrong),
                Step::Event(server::Event::Verifier { .. }) => server.verifier(None),
                Step::Event(server::Event::Data) => server.answer(Reply::start_mail_input()),
                Step::Event(_) => server.answer(Reply::plain(250, "fine")),
                Step::Waiting => panic!("an answer was given"),
                Step::StartTls => {
                    input.clear();
                    server.tls_started();
                }
                Step::NeedInput => {
                    prop_assert!(input.len() < Server::MAX_BUFFERED);
                    prop_assert!(server.deadline().is_some());
                    match pieces.next() {
                        Some(piece) => input.extend_from_slice(&piece),
                        None => server.input_closed(),
                    }
                    output.clear();
                }
                Step::Close => return Ok(()),
            }
        }
        prop_assert!(false, "no end");
    }

    /// The same for the client half, whose server says anything.
    #[test]
    fn the_client_bears_anything(
        pieces in prop::collection::vec(
            prop_oneof![
                "(220|250|250-PIPELINING|250-|354|334|235|421|550|5)( x)?(\r\n|\n)?".prop_map(String::into_bytes),
                "(250|354) ok\r\n".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..300),
            ],
            0..40,
        ), chunking: bool,
    ) {
        let mut client = Client::new(Arc::new(client::Config { chunking, ..client::Config::default() }));
        let (mut input, mut output, now) = (BytesMut::new(), BytesMut::new(), Instant::now());
        let (mut pieces, mut messages, mut left) = (pieces.into_iter(), 3, 5);
        for _ in 0..100_000 {
            match client.step(now, &mut input, &mut output) {
                Step::Event(client::Event::Ready) if messages > 0 => {
                    messages -= 1;
                    client.send(Envelope { mail: Mail::default(), recipients: vec![rcpt("a@b"), rcpt("c@d")] });
                }
                Step::Event(client::Event::Ready) => client.quit(),
                Step::Event(client::Event::Ahead) if messages > 0 => {
                    messages -= 1;
                    client.send(Envelope { mail: Mail::default(), recipients: vec![rcpt("a@b"), rcpt("c@d")] });
                }
                Step::Event(client::Event::Ahead) => {}
                Step::Event(client::Event::Content) if left > 0 => {
                    left -= 1;
                    client.content(Bytes::from_static(b"x\r\n"));
                }
                Step::Event(client::Event::Content) => client.end(),
                Step::Event(client::Event::Finished(outcome)) => prop_assert_eq!(outcome.verdicts.len(), 2),
                Step::Event(client::Event::Failed(_)) => {}
                Step::Waiting => panic!("an answer was given"),
                Step::StartTls => client.tls_started(),
                Step::NeedInput => {
                    prop_assert!(input.len() < Client::MAX_BUFFERED);
                    match pieces.next() {
                        Some(piece) => input.extend_from_slice(&piece),
                        None => client.input_closed(),
                    }
                    output.clear();
                }
                Step::Close => return Ok(()),
            }
        }
        prop_assert!(false, "no end");
    }
}

#[test]
fn nobody_gets_a_message_to_nobody() {
    for chunking in [true, false] {
        let config = client::Config {
            chunking,
            ..client::Config::default()
        };
        let messages = vec![
            (
                envelope(&["nobody@hamburger.edu"]),
                vec![Bytes::from_static(b"x\r\n")],
            ),
            (
                envelope(&["bob@hamburger.edu"]),
                vec![Bytes::from_static(b"y\r\n")],
            ),
        ];
        let joined = Joined::new(server::Config::default(), config, 1000).send(messages);
        assert_eq!(joined.messages.len(), 1);
        assert_eq!(joined.messages[0].content, b"y\r\n");
        assert!(joined.outcomes[0].verdicts[0].is_permanent());
        assert!(delivered(&joined.outcomes[1].verdicts[0]));
    }
}

/// RSET and the MAIL behind it are said together; the reply to RSET does not mean that nothing is open.
#[test]
fn refusals_in_a_row_do_not_reach_the_next_message() {
    for refused in 1..4 {
        let mut messages = vec![(envelope(&["nobody@hamburger.edu"]), vec![]); refused];
        let good = (
            envelope(&["bob@hamburger.edu"]),
            vec![Bytes::from_static(b"y\r\n")],
        );
        messages.extend([good.clone(), good]);
        let joined =
            Joined::new(server::Config::default(), client::Config::default(), 100_000).send(messages);
        assert_eq!(joined.messages.len(), 2, "after {refused} refused ones");
        assert!(delivered(&joined.outcomes[refused].verdicts[0]));
        assert!(delivered(&joined.outcomes[refused + 1].verdicts[0]));
    }
}

#[test]
fn many_recipients_and_a_limit() {
    let mut config = server::Config::default();
    config.limits.recipients = 150;
    let addresses: Vec<String> = (0..200).map(|n| format!("user{n}@hamburger.edu")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let joined =
        Joined::new(config, client::Config::default(), 4000).send(vec![(envelope(&addresses), vec![])]);
    assert_eq!(joined.messages[0].recipients.len(), 150);
    let verdicts = &joined.outcomes[0].verdicts;
    assert!(verdicts[..150].iter().all(delivered));
    assert!(
        verdicts[150..]
            .iter()
            .all(|verdict| *verdict == Verdict::Failed(Failure::TooManyRecipients))
    );
}

#[test]
fn tls_then_authentication() {
    let server = server::Config {
        starttls: true,
        auth: AuthMode::Required,
        ..server::Config::default()
    };
    let credentials = |password: &str| Credentials {
        user: "alice".into(),
        password: Secret::new(password),
        allow_plaintext: false,
    };
    let config = |password| client::Config {
        tls: Tls::Required,
        credentials: Some(credentials(password)),
        ..client::Config::default()
    };
    let message = || {
        vec![(
            envelope(&["bob@hamburger.edu"]),
            vec![Bytes::from_static(b"hi\r\n")],
        )]
    };
    let joined = Joined::new(server.clone(), config("secret"), 100_000).send(message());
    assert_eq!((joined.failure, joined.messages.len()), (None, 1));
    assert!(joined.client.is_tls());
    let joined = Joined::new(server.clone(), config("wrong"), 100_000).send(message());
    assert!(
        matches!(joined.failure, Some(Failure::Authentication(_))),
        "{:?}",
        joined.failure
    );
    let without = server::Config {
        starttls: false,
        ..server
    };
    let joined = Joined::new(without, config("secret"), 100_000).send(message());
    assert_eq!(joined.failure, Some(Failure::NoTls));
}

#[test]
fn an_unanswered_end_is_unknown() {
    let message = vec![(
        envelope(&["bob@hamburger.edu", "nobody@hamburger.edu"]),
        vec![Bytes::from_static(b"hi\r\n")],
    )];
    let mut joined = Joined::new(server::Config::default(), client::Config::default(), 100_000);
    joined.cut_after_end = true;
    let joined = joined.send(message);
    assert_eq!(joined.outcomes[0].verdicts[0], Verdict::Unknown(Failure::Closed));
    assert!(joined.outcomes[0].verdicts[1].is_permanent());
}

#[test]
fn what_the_server_cannot_take_is_not_sent() {
    let mut config = server::Config {
        binary_mime: false,
        ..server::Config::default()
    };
    config.limits.message_size = 100;
    let with = |mail: Mail| {
        (
            Envelope {
                mail,
                recipients: vec![rcpt("bob@hamburger.edu")],
            },
            vec![],
        )
    };
    let messages = vec![
        with(Mail {
            size: Some(101),
            ..Mail::default()
        }),
        with(Mail {
            body: Body::BinaryMime,
            ..Mail::default()
        }),
        with(Mail::default()),
    ];
    let joined = Joined::new(config, client::Config::default(), 1000).send(messages);
    let verdicts: Vec<&Verdict> = joined
        .outcomes
        .iter()
        .map(|outcome| &outcome.verdicts[0])
        .collect();
    assert_eq!(*verdicts[0], Verdict::Failed(Failure::TooLarge(100)));
    assert_eq!(*verdicts[1], Verdict::Failed(Failure::Unsupported("BINARYMIME")));
    assert!(delivered(verdicts[2]));
}

#[test]
fn the_dialogue_can_be_watched_without_secrets() {
    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<String>>>);
    impl Observer for Lines {
        fn line(&mut self, direction: Direction, line: &[u8]) {
            let who = if direction == Direction::Sent { "C" } else { "S" };
            self.0
                .lock()
                .unwrap()
                .push(format!("{who}: {}", String::from_utf8_lossy(line)));
        }
        fn content(&mut self, _: Direction, piece: &[u8]) {
            self.0
                .lock()
                .unwrap()
                .push(format!("content {}", String::from_utf8_lossy(piece).trim_end()));
        }
    }
    let lines = Lines::default();
    let server = server::Config {
        auth: AuthMode::Optional,
        hostname: "h".into(),
        ..server::Config::default()
    };
    let credentials = Credentials {
        user: "alice".into(),
        password: Secret::new("secret"),
        allow_plaintext: false,
    };
    let config = client::Config {
        credentials: Some(credentials),
        ..client::Config::default()
    };
    let mut joined = Joined::new(server, config, 1000);
    joined.client.observe(Box::new(lines.clone()));
    let joined = joined.send(vec![(
        envelope(&["bob@hamburger.edu"]),
        vec![Bytes::from_static(b"hi\r\n")],
    )]);
    assert_eq!(
        joined.messages[0].recipients,
        [ForwardPath::Address("bob@hamburger.edu".parse().unwrap()).to_string()]
    );
    let seen = lines.0.lock().unwrap().join("\n");
    for wanted in [
        "S: 220 h",
        "C: EHLO localhost",
        "C: AUTH SCRAM-SHA-256 ****",
        "C: ****",
        "C: RCPT TO:<bob@hamburger.edu>",
        "content hi",
        "S: 221 2.0.0",
    ] {
        assert!(seen.contains(wanted), "{wanted} in {seen}");
    }
    assert!(!seen.contains("n,,n="), "{seen}");
}

/// A client that has sent one message to a server with PIPELINING, begun a second behind it, and was not answered yet.
fn one_ahead() -> (Client, BytesMut, BytesMut) {
    let config = client::Config {
        chunking: false,
        ..client::Config::default()
    };
    let (mut client, mut input, mut output) =
        (Client::new(Arc::new(config)), BytesMut::new(), BytesMut::new());
    let now = Instant::now();
    let mut step = |client: &mut Client, said: &str, output: &mut BytesMut| {
        input.extend_from_slice(said.as_bytes());
        client.step(now, &mut input, output)
    };
    assert_eq!(
        step(&mut client, "220 hamburger.edu\r\n", &mut output),
        Step::NeedInput
    );
    let offers = "250-hamburger.edu\r\n250-8BITMIME\r\n250 PIPELINING\r\n";
    assert_eq!(
        step(&mut client, offers, &mut output),
        Step::Event(client::Event::Ready)
    );
    client.send(envelope(&["bob@hamburger.edu"]));
    assert_eq!(step(&mut client, "", &mut output), Step::NeedInput);
    let asked = step(&mut client, "250 ok\r\n250 ok\r\n354 go on\r\n", &mut output);
    assert_eq!(asked, Step::Event(client::Event::Content));
    client.last(Bytes::from_static(b"ketchup\r\n"));
    output.clear();
    assert_eq!(
        step(&mut client, "", &mut output),
        Step::Event(client::Event::Ahead)
    );
    client.send(envelope(&["carol@hamburger.edu"]));
    assert_eq!(step(&mut client, "", &mut output), Step::NeedInput);
    (client, input, output)
}

#[test]
fn a_message_is_begun_behind_the_one_before() {
    let (mut client, mut input, mut output) = one_ahead();
    let said = String::from_utf8(output.to_vec()).unwrap();
    assert!(
        said.starts_with("ketchup\r\n.\r\nMAIL FROM:<alice@crepes.fr>"),
        "{said}"
    );
    assert!(
        said.ends_with("RCPT TO:<carol@hamburger.edu>\r\nDATA\r\n"),
        "{said}"
    );
    input.extend_from_slice(b"250 taken\r\n250 ok\r\n550 nobody\r\n554 nobody\r\n");
    let verdicts =
        std::array::from_fn::<_, 2, _>(|_| match client.step(Instant::now(), &mut input, &mut output) {
            Step::Event(client::Event::Finished(outcome)) => outcome.verdicts[0].clone(),
            other => panic!("{other:?}"),
        });
    assert!(
        delivered(&verdicts[0]) && verdicts[1].is_permanent(),
        "{verdicts:?}"
    );
    let ready = client.step(Instant::now(), &mut input, &mut output);
    assert_eq!(ready, Step::Event(client::Event::Ready));
    // The second transaction is still open on the server.
    output.clear();
    client.send(envelope(&["bob@hamburger.edu"]));
    assert_eq!(
        client.step(Instant::now(), &mut input, &mut output),
        Step::NeedInput
    );
    assert!(output.starts_with(b"RSET\r\nMAIL FROM:"), "{output:?}");
}

#[test]
fn what_was_begun_behind_a_message_falls_with_its_connection() {
    for closed_with in ["421 too busy\r\n", ""] {
        let (mut client, mut input, mut output) = one_ahead();
        input.extend_from_slice(closed_with.as_bytes());
        client.input_closed();
        let mut finished = Vec::new();
        loop {
            match client.step(Instant::now(), &mut input, &mut output) {
                Step::Event(client::Event::Finished(outcome)) => finished.extend(outcome.verdicts),
                Step::Close => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(finished.len(), 2, "{finished:?}");
        assert!(
            matches!(&finished[0], Verdict::Refused(_) | Verdict::Unknown(_)),
            "{finished:?}"
        );
        assert_eq!(
            finished[1],
            Verdict::Failed(Failure::Closed),
            "the server does not have it"
        );
    }
}

#[test]
fn a_small_chunk_goes_right_behind_its_envelope() {
    let config = client::Config {
        chunking: true,
        ..client::Config::default()
    };
    let (mut client, mut input, mut output) = (
        Client::new(Arc::new(config)),
        BytesMut::from("220 hamburger.edu\r\n"),
        BytesMut::new(),
    );
    let now = Instant::now();
    assert_eq!(client.step(now, &mut input, &mut output), Step::NeedInput);
    input.extend_from_slice(b"250-hamburger.edu\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 PIPELINING\r\n");
    let ready = client.step(now, &mut input, &mut output);
    assert_eq!(ready, Step::Event(client::Event::Ready));
    for (size, asked) in [(9, true), (1 << 20, false)] {
        output.clear();
        let mut envelope = envelope(&["nobody@hamburger.edu"]);
        envelope.mail.size = Some(size);
        client.send(envelope);
        let step = client.step(now, &mut input, &mut output);
        assert_eq!(step == Step::Event(client::Event::Content), asked, "{step:?}");
        client.last(Bytes::from_static(b"ketchup\r\n"));
        assert_eq!(client.step(now, &mut input, &mut output), Step::NeedInput);
        let said = String::from_utf8(output.to_vec()).unwrap();
        assert_eq!(said.ends_with("BDAT 9 LAST\r\nketchup\r\n"), asked, "{said}");
        assert_eq!(
            said.starts_with("RSET\r\n"),
            !asked,
            "nobody wanted the first: {said}"
        );
        // The second time RSET is answered instead of the chunk.
        let replies: &[u8] = if asked {
            b"250 ok\r\n550 nobody\r\n503 for whom?\r\n"
        } else {
            b"250 ok\r\n250 ok\r\n550 nobody\r\n"
        };
        input.extend_from_slice(replies);
        match client.step(now, &mut input, &mut output) {
            Step::Event(client::Event::Finished(outcome)) => assert!(outcome.verdicts[0].is_permanent()),
            other => panic!("{other:?}"),
        }
        let ready = client.step(now, &mut input, &mut output);
        assert_eq!(ready, Step::Event(client::Event::Ready));
    }
}
