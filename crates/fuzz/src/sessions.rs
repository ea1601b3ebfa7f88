//! The protocol sessions, with owners who say yes (mostly).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use postrider_sasl::Verifier;
use postrider_smtp::server::{self, PasswordCheck};
use postrider_smtp::{Enhanced, Mail, Rcpt, Reply};
use postrider_types::{Address, ReversePath};

use crate::pump::pump;

/// The verifier of the password `pencil`, derived with few iterations: fuzzing wants speed.
fn verifier() -> Verifier {
    Verifier::derive(b"pencil", b"salt", 1)
}

fn yes() -> Reply {
    Reply::new(250, Enhanced(2, 0, 0), "ok")
}

/// An SMTP server that takes everything, with every extension on.
pub fn smtp_server(data: &[u8]) {
    let limits = server::Limits {
        message_size: 4096,
        ..server::Limits::default()
    };
    let auth = server::AuthMode::Optional;
    let config = server::Config {
        starttls: true,
        auth,
        binary_mime: true,
        limits,
        ..server::Config::default()
    };
    let session = server::Server::new(Arc::new(config), true);
    let mut received = 0;
    pump(session, data, |session, event, _| match event {
        server::Event::Mail(_) | server::Event::Rcpt(_) => session.answer(yes()),
        server::Event::Data => session.answer(Reply::start_mail_input()),
        server::Event::Chunk(piece) => {
            received += piece.len();
            assert!(received <= data.len(), "more content than input");
        }
        server::Event::MessageEnd(end) => {
            assert!(end.size <= 4096, "a message over the limit was let through");
            session.answer(yes());
        }
        server::Event::Password { .. } => session.password_checked(PasswordCheck::Right),
        server::Event::Verifier { .. } => session.verifier(Some(verifier())),
        server::Event::Aborted(_)
        | server::Event::Authenticated { .. }
        | server::Event::AuthenticationFailed => {}
    });
}

fn envelope() -> postrider_smtp::client::Envelope {
    let address = |text| Address::new(text).ok();
    let recipients = ["bob@hamburger.edu", "carol@hamburger.edu"]
        .into_iter()
        .filter_map(address)
        .map(Rcpt::to);
    postrider_smtp::client::Envelope {
        mail: Mail::from(ReversePath(address("alice@crepes.fr"))),
        recipients: recipients.collect(),
    }
}

/// An SMTP client that has two messages to send to whatever answers.
pub fn smtp_client(data: &[u8]) {
    use postrider_smtp::client::{Client, Config, Event};
    let (mut messages, mut pieces) = (2, 0);
    pump(
        Client::new(Arc::new(Config::default())),
        data,
        |client, event, _| match event {
            Event::Ready if messages > 0 => {
                (messages, pieces) = (messages - 1, 2);
                client.send(envelope());
            }
            Event::Ready => client.quit(),
            Event::Ahead if messages > 0 => {
                (messages, pieces) = (messages - 1, 2);
                client.send(envelope());
            }
            Event::Ahead => {}
            Event::Content if pieces > 0 => {
                pieces -= 1;
                client.content(Bytes::from_static(b"Subject: fuzz\r\n\r\n.dot\r\n"));
            }
            Event::Content => client.end(),
            Event::Finished(outcome) => assert_eq!(outcome.verdicts.len(), 2, "a verdict for each recipient"),
            Event::Failed(_) => {}
        },
    );
}

/// An IMAP server that says OK to every command.
pub fn imap_server(data: &[u8]) {
    use postrider_imap::response::Reply;
    use postrider_imap::session::{AppendDone, Config, Event};
    let config = Arc::new(Config {
        starttls: true,
        append_limit: 4096,
        ..Config::default()
    });
    let mut session = postrider_imap::Session::new(config);
    session.allow_plaintext();
    pump(
        session,
        data,
        |session, event, output: &mut BytesMut| match event {
            Event::Verifier { .. } => session.verifier(output, verifier()),
            Event::Append(message) => {
                assert!(message.size <= 4096, "a message over the limit was let through");
                session.accept_message(output);
            }
            Event::AppendData(_) | Event::AppendEnd(AppendDone::Aborted) | Event::Idle => {}
            Event::Password { .. }
            | Event::Proved { .. }
            | Event::Command(_)
            | Event::AppendEnd(AppendDone::Complete)
            | Event::Done => session.complete(output, Reply::ok("done")),
        },
    );
}

/// A maildrop of two messages.
#[derive(Debug)]
struct TwoMessages;

impl postrider_pop3::server::Maildrop for TwoMessages {
    fn len(&self) -> usize {
        2
    }

    fn size(&self, message: usize) -> u64 {
        [MESSAGE.len() as u64, 0].get(message).copied().unwrap_or(0)
    }

    fn write_unique_id(&self, message: usize, output: &mut BytesMut) {
        output.extend_from_slice(
            [&b"first"[..], b"second"]
                .get(message)
                .copied()
                .unwrap_or(b"none"),
        );
    }
}

const MESSAGE: &[u8] = b"Subject: fuzz\r\n\r\n.dot\r\n";

/// A POP3 server with two messages for everybody.
pub fn pop3_server(data: &[u8]) {
    use postrider_pop3::server::{Config, Event, Refusal, Server};
    pump(
        Server::new(Arc::new(Config {
            starttls: true,
            plaintext_auth: true,
            ..Config::default()
        })),
        data,
        |session, event, output| match event {
            Event::LogIn { .. } | Event::Open { .. } => session.opened(TwoMessages),
            Event::FetchVerifier { .. } => session.verifier(verifier()),
            Event::ProofFailed { .. } => session.refused(Refusal::Credentials),
            Event::Retrieve { message } => {
                assert!(message < 2, "there is no message {message}");
                session.begin_message(output);
                session.write_message(MESSAGE, output);
                session.end_message(output);
            }
            Event::Update => {
                assert!(session.marked().all(|message| message < 2));
                session.updated();
            }
            Event::Flush => {}
        },
    );
}
