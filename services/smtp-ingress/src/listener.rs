//! The role and its listeners.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use postrider_coordination::Counters;
use postrider_proto::Link;
use postrider_runtime::config::PlaintextAuth;
use postrider_runtime::journal::Journal;
use postrider_runtime::{Budget, Gateway, Peer, Refusal};
use postrider_smtp::server::{self, AuthMode, Server};
use postrider_smtp::{Enhanced, Reply};

use crate::accept::Acceptor;
use crate::config::Config;
use crate::conversation::Conversation;
use crate::directory::Directory;
use crate::identity::Unresolved;
use crate::neighbours::Neighbours;
use crate::outbound::Outbound;
use crate::store::Store;

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Mail from other servers for our users (port 25).
    Mx,
    /// Mail from our users, STARTTLS (port 587).
    Submission,
    /// Mail from our users, TLS from the first octet (port 465).
    Submissions,
}

impl Kind {
    /// The listener's name in configuration and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Mx => "smtp",
            Kind::Submission => "submission",
            Kind::Submissions => "submissions",
        }
    }

    /// Whether clients are our users.
    pub const fn is_submission(self) -> bool {
        !matches!(self, Kind::Mx)
    }
}

/// What the role works with.
pub struct Services {
    /// `postrider.directory.v1.Directory`
    pub directory: Link,
    /// `postrider.mailstore.v1.MailStore`
    pub mail_store: Link,
    /// The queue.
    pub outbound: Arc<dyn Outbound>,
    /// Rates.
    pub counters: Arc<dyn Counters>,
    /// The record of every message's steps.
    pub journal: Arc<dyn Journal>,
    /// Message bytes in flight, one for the process.
    pub budget: Budget,
    /// The other instances of the role; `None`: there are none.
    pub neighbours: Option<Neighbours>,
}

/// The role: what all its listeners share.
pub struct Ingress {
    pub(crate) config: Arc<Config>,
    pub(crate) directory: Directory,
    pub(crate) store: Store,
    pub(crate) acceptor: Acceptor,
    pub(crate) counters: Arc<dyn Counters>,
    pub(crate) budget: Budget,
}

impl Ingress {
    /// Puts it together; connects to nothing yet.
    pub fn new(config: Config, services: Services) -> Arc<Self> {
        let config = Arc::new(config);
        let store = Store::new(services.mail_store);
        let unresolved = Unresolved::new(services.neighbours);
        Arc::new(Self {
            directory: Directory::new(services.directory, config.timeouts.directory, config.believed),
            acceptor: Acceptor::new(
                store.clone(),
                services.outbound,
                services.journal,
                config.clone(),
                unresolved,
            ),
            store,
            counters: services.counters,
            budget: services.budget,
            config,
        })
    }
}

/// One listener of the role.
pub struct Listener {
    ingress: Arc<Ingress>,
    kind: Kind,
    smtp: Arc<server::Config>,
}

impl Listener {
    /// A listener of a kind.
    pub fn new(ingress: Arc<Ingress>, kind: Kind) -> Self {
        let config = &ingress.config;
        let smtp = server::Config {
            hostname: config.hostname.clone(),
            starttls: config.starttls && kind != Kind::Submissions,
            auth: if kind.is_submission() {
                AuthMode::Required
            } else {
                AuthMode::Off
            },
            binary_mime: config.binary_mime,
            limits: server::Limits {
                message_size: config.message_size,
                recipients: config.recipients,
                transactions: config.transactions,
                errors: config.errors,
                auth_failures: config.rates.auth_failures,
                ..server::Limits::default()
            },
            timeouts: server::Timeouts {
                command: config.timeouts.command,
                data: config.timeouts.data,
                ..server::Timeouts::default()
            },
        };
        Self {
            smtp: Arc::new(smtp),
            ingress,
            kind,
        }
    }
}

impl Gateway for Listener {
    type Session = Server;
    type Handler = Conversation;

    fn open(&self, peer: &Peer) -> (Server, Conversation) {
        let plaintext_auth = match self.ingress.config.plaintext_auth {
            PlaintextAuth::Never => false,
            PlaintextAuth::Loopback => peer.is_loopback(),
            PlaintextAuth::Always => true,
        };
        let session = Server::new(self.smtp.clone(), plaintext_auth);
        (session, Conversation::new(self.ingress.clone(), self.kind, *peer))
    }

    fn refuse(&self, why: Refusal) -> Bytes {
        let hostname = &self.ingress.config.hostname;
        let reply = match why {
            Refusal::TooMany => Reply::new(
                421,
                Enhanced(4, 3, 2),
                format!("{hostname} is busy, try again later"),
            ),
            Refusal::TooManyFromAddress => Reply::new(
                421,
                Enhanced(4, 7, 0),
                format!("{hostname}: too many connections from your address"),
            ),
            Refusal::ShuttingDown => Reply::new(
                421,
                Enhanced(4, 3, 2),
                format!("{hostname} is shutting down, try again"),
            ),
        };
        let mut line = BytesMut::new();
        reply.encode(true, &mut line);
        line.freeze()
    }
}
