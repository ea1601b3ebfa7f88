//! The client half and the server half, joined in memory.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, too, fail by panicking"
)]

mod support;

use std::sync::Arc;

use bytes::BytesMut;
use postrider_imap::client::{Response, Value};
use postrider_imap::command::*;
use postrider_imap::response::Kind;
use postrider_imap::session::Config;
use postrider_imap::set::MessageSet;
use postrider_imap::{Client, Session};
use postrider_sasl::Mechanism;
use postrider_types::{Flags, Secret, SystemFlag};
use postrider_wire::{Session as _, Step};
use support::{Account, Owner};

struct Pair {
    client: Client,
    server: Owner,
    to_client: BytesMut,
    to_server: BytesMut,
}

impl Pair {
    fn new(session: Session) -> Self {
        let server = Owner::with(session, Account::textbook());
        Self {
            client: Client::new(),
            server,
            to_client: BytesMut::new(),
            to_server: BytesMut::new(),
        }
    }

    /// Until neither has anything to say.
    fn settle(&mut self) -> Vec<Response> {
        let mut responses = Vec::new();
        loop {
            let said = self.server.hear(&std::mem::take(&mut self.to_server));
            self.to_client.extend_from_slice(&said);
            let server_secures = matches!(self.server.last, Some(Step::StartTls));
            loop {
                match self
                    .client
                    .step(self.server.now, &mut self.to_client, &mut self.to_server)
                {
                    Step::Event(response) => responses.push(response),
                    Step::StartTls => {
                        assert!(server_secures);
                        self.client.tls_started();
                        self.server.session.tls_started();
                    }
                    _ => break,
                }
            }
            if self.to_server.is_empty() {
                return responses;
            }
        }
    }

    fn command(&mut self, command: &Command) -> Vec<Response> {
        let tag = self.client.send(&mut self.to_server, command);
        let responses = self.settle();
        let last = responses.last().and_then(|last| last.completes(&tag));
        assert_eq!(last, Some(Kind::Ok), "{command:?}: {responses:?}");
        responses
    }
}

fn set(text: &str) -> MessageSet {
    match Command::parse(format!("COPY {text} x").as_bytes(), false) {
        Ok(Command::Copy(copy)) => copy.set,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_visit() {
    let config = Config {
        starttls: true,
        ..Config::default()
    };
    let mut pair = Pair::new(Session::new(Arc::new(config)));
    let greeting = pair.settle();
    let names: Vec<_> = greeting[0].capabilities().expect("capabilities").collect();
    assert!(names.contains(&"STARTTLS") && names.contains(&"LOGINDISABLED"));

    pair.command(&Command::StartTls);
    pair.command(&Command::Capability);
    let exchange = postrider_sasl::Client::new(Mechanism::ScramSha256, "bob", Secret::new("hungry")).unwrap();
    let tag = pair.client.authenticate(&mut pair.to_server, exchange);
    assert_eq!(
        pair.settle().last().and_then(|last| last.completes(&tag)),
        Some(Kind::Ok)
    );

    let name = "Entwürfe \"neu\"\\ & mehr";
    pair.command(&Command::Create(Create {
        mailbox: name.into(),
        special_use: Vec::new(),
    }));
    pair.command(&Command::Enable(Enable(vec![Extension::Imap4Rev2])));
    let list = List {
        patterns: vec!["*".into()],
        ..List::default()
    };
    let listed = pair.command(&Command::List(list));
    let names = listed.iter().filter_map(|response| match response {
        Response::Data { name, values, .. } if name == "LIST" => values.last().and_then(Value::as_bytes),
        _ => None,
    });
    assert!(names.into_iter().any(|found| found == name.as_bytes()));

    let message = AppendMessage {
        mailbox: name.into(),
        index: 0,
        flags: Flags::EMPTY.with(SystemFlag::Seen),
        keywords: Vec::new(),
        received: Some(1_000_000_000_000),
        size: 0,
        literal8: false,
    };
    let content = b"Subject: x\r\n\r\n{5}\r\nbody\r\n";
    let tag = pair.client.append(&mut pair.to_server, message, content);
    assert_eq!(
        pair.settle().last().and_then(|last| last.completes(&tag)),
        Some(Kind::Ok)
    );

    let select = Select {
        mailbox: name.into(),
        read_only: false,
        condstore: false,
        qresync: None,
    };
    pair.command(&Command::Select(select));
    let section = FetchItem::Section {
        section: Section::default(),
        partial: None,
        peek: true,
    };
    let items = vec![FetchItem::Flags, FetchItem::InternalDate, section];
    let fetch = Fetch {
        uid: true,
        set: set("1:*"),
        items,
        changed_since: None,
        vanished: false,
    };
    let fetched = pair.command(&Command::Fetch(fetch));
    assert_eq!(
        fetched[0].attribute("BODY[]").and_then(Value::as_bytes),
        Some(&content[..])
    );
    assert_eq!(
        fetched[0].attribute("INTERNALDATE").and_then(Value::as_bytes),
        Some(&b" 9-Sep-2001 01:46:40 +0000"[..])
    );
    assert_eq!(
        fetched[0].attribute("FLAGS").and_then(Value::as_list),
        Some(&[Value::Atom("\\Seen".into())][..])
    );

    let select = Select {
        mailbox: "INBOX".into(),
        read_only: false,
        condstore: false,
        qresync: None,
    };
    pair.command(&Command::Select(select));
    let tag = pair.client.send(&mut pair.to_server, &Command::Idle);
    assert!(matches!(pair.settle()[..], [Response::Continue(_)]));
    pair.server.account.deliver("And mustard?");
    let pushed = pair.server.push();
    pair.to_client.extend_from_slice(&pushed);
    let told = pair.settle();
    assert_eq!(
        told,
        [Response::Data {
            number: Some(3),
            name: "EXISTS".into(),
            values: Vec::new()
        }]
    );
    pair.client.done(&mut pair.to_server);
    assert_eq!(
        pair.settle().last().and_then(|last| last.completes(&tag)),
        Some(Kind::Ok)
    );
    pair.command(&Command::Logout);
    assert_eq!(pair.server.last, Some(Step::Close));
}

#[test]
fn literals_wait_and_refused_ones_are_forgotten() {
    let mut session = Session::new(Arc::new(Config {
        append_limit: 10,
        ..Config::default()
    }));
    session.allow_plaintext();
    let mut pair = Pair::new(session);
    // The greeting is not read yet: the client knows of no LITERAL+.
    let login = Command::Login(Login {
        user: "bob".into(),
        password: Secret::new("hungry"),
    });
    let tag = pair.client.send(&mut pair.to_server, &login);
    let message = |mailbox: &str| AppendMessage {
        mailbox: mailbox.into(),
        index: 0,
        flags: Flags::EMPTY,
        keywords: Vec::new(),
        received: None,
        size: 0,
        literal8: false,
    };
    let too_big = pair
        .client
        .append(&mut pair.to_server, message("INBOX"), &[b'x'; 11]);
    let nowhere = pair.client.append(&mut pair.to_server, message("nowhere"), b"x");
    let good = pair.client.append(&mut pair.to_server, message("Saved"), b"x");
    let responses = pair.settle();
    let outcome = |tag: &str| responses.iter().find_map(|response| response.completes(tag));
    assert_eq!(outcome(&tag), Some(Kind::Ok));
    assert_eq!(outcome(&too_big), Some(Kind::No));
    assert_eq!(outcome(&nowhere), Some(Kind::No));
    assert_eq!(outcome(&good), Some(Kind::Ok));
    assert_eq!(pair.server.account.folders["Saved"].messages[&1].raw, b"x");
}

#[test]
fn a_wrong_password_is_refused_with_every_mechanism() {
    for mechanism in Mechanism::ALL {
        let mut session = Session::new(Arc::new(Config::default()));
        session.allow_plaintext();
        let mut pair = Pair::new(session);
        let exchange = postrider_sasl::Client::new(mechanism, "bob", Secret::new("thirsty")).unwrap();
        let tag = pair.client.authenticate(&mut pair.to_server, exchange);
        let last = pair.settle().pop().expect("an answer");
        assert_eq!(last.completes(&tag), Some(Kind::No), "{mechanism}");
    }
}
