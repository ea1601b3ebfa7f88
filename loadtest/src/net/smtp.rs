//! SMTP: a connection over which messages go one after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postrider_smtp::client::{
    Client, Config, Credentials, Envelope, Event, Failure as Trouble, Timeouts, Tls, Verdict,
};
use postrider_types::Secret;

use super::link::Link;
use super::{Failure, Patience};
use crate::operation::Outcome;
use crate::target::{self, Target};

/// Message bytes given to the session at a time.
const PIECE: usize = 64 * 1024;

/// The longest a whole transaction may take; its parts have time-outs of their own.
const TRANSACTION: Duration = Duration::from_secs(900);

/// What all connections of one purpose have in common: our name, TLS as the target says, AUTH when an account is given.
///
/// AUTH takes the strongest mechanism that is offered (SCRAM-SHA-256, PLAIN, LOGIN), also in the clear.
pub fn config(target: &Target, account: Option<&str>, patience: Patience) -> Arc<Config> {
    let credentials = account.map(|account| Credentials {
        user: account.to_owned(),
        password: Secret::clone(&target.accounts.password),
        allow_plaintext: true,
    });
    Arc::new(Config {
        name: "load.example".into(),
        tls: match target.tls {
            target::Tls::Never => Tls::Off,
            target::Tls::Start => Tls::Required,
        },
        credentials,
        chunking: false,
        timeouts: Timeouts {
            greeting: patience.answer,
            command: patience.answer,
            data: patience.answer,
            end: patience.end,
            quit: Duration::from_secs(5),
        },
    })
}

/// A connection that is ready for a message.
#[derive(Debug)]
pub struct Smtp {
    link: Link<Client>,
    open: bool,
    sent: u32,
}

/// How a transaction ended.
#[derive(Debug)]
pub struct Sent {
    /// One for each recipient, in the envelope's order.
    pub verdicts: Vec<Verdict>,
}

impl Smtp {
    /// Connects, says EHLO, does STARTTLS and AUTH as `config` says; done when the server has taken all of it.
    pub async fn connect(
        address: SocketAddr,
        config: Arc<Config>,
        patience: Patience,
    ) -> Result<Self, Failure> {
        let mut link = Link::connect(address, Client::new(config), patience).await?;
        // Greeting, EHLO, STARTTLS, EHLO, AUTH and its challenge: each has a time-out of its own.
        match link.event(Instant::now() + 6 * patience.answer).await? {
            Event::Ready => Ok(Self {
                link,
                open: true,
                sent: 0,
            }),
            Event::Failed(trouble) => Err(trouble.into()),
            Event::Content | Event::Ahead | Event::Finished(_) => {
                Err(Failure::broken("an answer to nothing"))
            }
        }
    }

    /// Sends one message. Whatever happens to the connection, each recipient gets a verdict: `Unknown` when the message
    /// was sent whole and no reply came.
    pub async fn send(&mut self, envelope: Envelope, mut content: Bytes) -> Sent {
        let recipients = envelope.recipients.len();
        let until = Instant::now() + TRANSACTION;
        self.sent += 1;
        self.link.session.send(envelope);
        let verdicts = loop {
            match self.link.event(until).await {
                Ok(Event::Content) if content.len() > PIECE => {
                    self.link.session.content(content.split_to(PIECE));
                }
                Ok(Event::Content) => self.link.session.last(std::mem::take(&mut content)),
                // One message at a time: its time is what is measured.
                Ok(Event::Ahead) => {}
                Ok(Event::Finished(outcome)) => break outcome.verdicts,
                // Not in a transaction: then nothing of this one was said.
                Ok(Event::Failed(trouble)) => break vec![Verdict::Failed(trouble); recipients],
                Ok(Event::Ready) | Err(_) => {
                    self.open = false;
                    break vec![Verdict::Unknown(Trouble::TimedOut); recipients];
                }
            }
        };
        self.open = self.open && matches!(self.link.event(until).await, Ok(Event::Ready));
        Sent { verdicts }
    }

    /// Whether another message may go over it, as far as can be known: the server may close at any time.
    pub fn is_usable(&mut self) -> bool {
        self.open && self.link.session.may_send_more() && self.link.is_quiet()
    }

    /// Messages that went over it.
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// What the server offers.
    pub fn capabilities(&self) -> &postrider_smtp::Capabilities {
        self.link.session.capabilities()
    }

    /// Gives the buffers back until the next message.
    pub fn rest(&mut self) {
        self.link.release();
    }

    /// Says QUIT, waits at most 5 seconds for the answer, and closes.
    pub async fn quit(mut self) {
        self.link.session.quit();
        // The only event there can be is the end.
        let _ = self.link.event(Instant::now() + Duration::from_secs(6)).await;
    }
}

impl Sent {
    /// How it ended as a whole: done when the server is responsible for somebody's copy, unless another's is unknown.
    pub fn outcome(&self) -> Outcome {
        let outcomes = || self.verdicts.iter().map(outcome_of);
        let any = |wanted| outcomes().any(|outcome| outcome == wanted);
        if any(Outcome::Broken) {
            Outcome::Broken
        } else if any(Outcome::Done) {
            Outcome::Done
        } else if any(Outcome::Deferred) {
            Outcome::Deferred
        } else {
            Outcome::Refused
        }
    }
}

/// How it ended for one recipient.
pub fn outcome_of(verdict: &Verdict) -> Outcome {
    match verdict {
        Verdict::Delivered(_) => Outcome::Done,
        Verdict::Refused(reply) if reply.is_temporary() => Outcome::Deferred,
        Verdict::Refused(_) => Outcome::Refused,
        Verdict::Failed(trouble) => Failure::from(trouble.clone()).outcome(),
        Verdict::Unknown(_) => Outcome::Broken,
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let text = trouble.to_string().into();
        match trouble {
            Trouble::Greeting(reply) | Trouble::Hello(reply) | Trouble::Authentication(reply) => {
                if reply.is_temporary() {
                    Self::Deferred(text)
                } else {
                    Self::Refused(text)
                }
            }
            Trouble::TooManyRecipients => Self::Deferred(text),
            Trouble::NoTls | Trouble::NoMechanism | Trouble::Unsupported(_) | Trouble::TooLarge(_) => {
                Self::Refused(text)
            }
            Trouble::Sasl(_)
            | Trouble::TimedOut
            | Trouble::Closed
            | Trouble::Reply(_)
            | Trouble::Abandoned => Self::Broken(text),
        }
    }
}
