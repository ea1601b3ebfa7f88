//! Handing a message to a server: the client side of SMTP.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use postrider_runtime::tls::{opportunistic_client, verifying_client};
use postrider_runtime::{Connection, Handler, Options, Port, TlsRole, drive};
use postrider_smtp::client::{
    Client, Config, Credentials, Envelope, Event, Failure, Outcome, Timeouts, Tls, Verdict,
};
use postrider_smtp::{Mail, Rcpt};
use postrider_types::{Address, ReversePath, Secret};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Dialogue;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);

/// Message bytes handed to the session at a time.
const PIECE: usize = 64 * 1024;

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// TLS where the server offers it, with whatever certificate it has.
    Opportunistic,
    /// STARTTLS or nothing, and a certificate that can be verified.
    StartTls,
    /// TLS from the first byte, and a certificate that can be verified.
    Implicit,
    /// In the clear.
    None,
}

/// A message and where to hand it.
pub struct Submission {
    /// The server's name, for its certificate.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub encryption: Encryption,
    /// Certificates (PEM) to trust beside the system's.
    pub roots: Option<PathBuf>,
    /// User name and password.
    pub credentials: Option<(String, Secret)>,
    /// Our name in EHLO.
    pub name: String,
    /// MAIL FROM.
    pub sender: Address,
    /// RCPT TO, at least one.
    pub recipients: Vec<Address>,
    /// What is sent.
    pub message: Bytes,
}

impl Submission {
    /// Connects, sends, and says how it ended for each recipient.
    pub async fn send(&self, dialogue: Option<&Dialogue>) -> Result<Outcome> {
        match self.try_send(self.encryption, dialogue).await {
            // RFC 7435: encryption that does not work must not keep mail back that would have gone in the clear.
            Err(error) if self.encryption == Encryption::Opportunistic && is_handshake(&error) => {
                self.try_send(Encryption::None, dialogue).await
            }
            ended => ended,
        }
    }

    async fn try_send(&self, encryption: Encryption, dialogue: Option<&Dialogue>) -> Result<Outcome> {
        let (tcp, address) = self.connect().await?;
        let mut connection = Connection::new(tcp, Arc::new(self.options(encryption)?));
        let mut session = Client::new(Arc::new(self.config(encryption, address)));
        if let Some(dialogue) = dialogue {
            session.observe(Box::new(dialogue.clone()));
        }
        if encryption == Encryption::Implicit {
            connection
                .start_tls()
                .await
                .with_context(|| format!("no TLS with {}", self.host))?;
            postrider_wire::Session::tls_started(&mut session);
        }
        let mut sender = Sender {
            envelope: Some(self.envelope()),
            content: self.message.clone(),
            outcome: None,
            failure: None,
        };
        let driven = drive(
            &mut connection,
            &mut session,
            &mut sender,
            &CancellationToken::new(),
        )
        .await;
        match (sender.outcome, sender.failure) {
            (Some(outcome), _) => Ok(outcome),
            (None, Some(failure)) => bail!("{} does not take it: {failure}", self.host),
            (None, None) => {
                driven.with_context(|| self.host.clone())?;
                bail!("{} closed the connection", self.host)
            }
        }
    }

    async fn connect(&self) -> Result<(TcpStream, SocketAddr)> {
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let connected = tokio::time::timeout(CONNECT, connect)
            .await
            .map_err(|_| io::ErrorKind::TimedOut.into());
        let tcp = connected.and_then(|tcp: io::Result<TcpStream>| tcp);
        let tcp = tcp.with_context(|| format!("cannot connect to {}:{}", self.host, self.port))?;
        let address = tcp.peer_addr()?;
        Ok((tcp, address))
    }

    fn options(&self, encryption: Encryption) -> Result<Options> {
        let config = match encryption {
            Encryption::None => return Ok(Options::default()),
            Encryption::Opportunistic => opportunistic_client(),
            Encryption::StartTls | Encryption::Implicit => verifying_client(self.roots.as_deref())?,
        };
        let name = ServerName::try_from(self.host.clone())
            .with_context(|| format!("`{}` is no host name", self.host))?;
        Ok(Options {
            tls: TlsRole::Client(config, name),
            ..Options::default()
        })
    }

    fn config(&self, encryption: Encryption, server: SocketAddr) -> Config {
        let credentials = self.credentials.as_ref().map(|(user, password)| Credentials {
            user: user.clone(),
            password: password.clone(),
            allow_plaintext: server.ip().is_loopback(),
        });
        let tls = match encryption {
            Encryption::Opportunistic => Tls::Opportunistic,
            Encryption::StartTls => Tls::Required,
            Encryption::Implicit | Encryption::None => Tls::Off,
        };
        Config {
            name: self.name.clone(),
            tls,
            credentials,
            chunking: false,
            timeouts: Timeouts::default(),
        }
    }

    fn envelope(&self) -> Envelope {
        let all_ascii = self.sender.is_ascii() && self.recipients.iter().all(Address::is_ascii);
        let mail = Mail {
            size: Some(self.message.len() as u64),
            utf8: !all_ascii,
            ..Mail::from(ReversePath(Some(self.sender.clone())))
        };
        Envelope {
            mail,
            recipients: self.recipients.iter().cloned().map(Rcpt::to).collect(),
        }
    }
}

/// One line about a recipient's verdict.
pub fn describe(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Delivered(reply) | Verdict::Refused(reply) => reply.to_string(),
        Verdict::Failed(failure) => failure.to_string(),
        Verdict::Unknown(failure) => format!("{failure}; the server may or may not have it"),
    }
}

fn is_handshake(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(
            cause.downcast_ref::<postrider_runtime::drive::Error>(),
            Some(postrider_runtime::drive::Error::Handshake(_))
        )
    })
}

struct Sender {
    envelope: Option<Envelope>,
    content: Bytes,
    outcome: Option<Outcome>,
    failure: Option<Failure>,
}

impl Handler<Client> for Sender {
    type Outside = Infallible;

    async fn event(&mut self, session: &mut Client, event: Event, port: &mut dyn Port) -> io::Result<()> {
        match event {
            Event::Ready => match self.envelope.take() {
                Some(envelope) => session.send(envelope),
                None => session.quit(),
            },
            Event::Content => {
                port.flush().await?;
                match self.content.split_to(self.content.len().min(PIECE)) {
                    piece if piece.is_empty() => session.end(),
                    piece => session.content(piece),
                }
            }
            // There is one message only.
            Event::Ahead => {}
            Event::Finished(outcome) => self.outcome = Some(outcome),
            Event::Failed(failure) => self.failure = Some(failure),
        }
        Ok(())
    }

    fn drain(&mut self, _: &mut Client) {}
}
