//! The role, and its listeners.

use std::sync::Arc;

use bytes::Bytes;
use postrider_coordination::{Counters, Leases};
use postrider_pop3::server::{Config as SessionConfig, Server};
use postrider_proto::Link;
use postrider_proto::directory::directory_client::DirectoryClient;
use postrider_proto::mailstore::mail_store_client::MailStoreClient;
use postrider_runtime::config::PlaintextAuth;
use postrider_runtime::{Gateway, Peer, Refusal};
use tokio::sync::Semaphore;

use crate::Config;
use crate::ahead;
use crate::conversation::Conversation;
use crate::maildrop::Inbox;
use crate::store::Store;

/// What the role needs of others.
#[derive(Clone)]
pub struct Services {
    /// The way to the directory.
    pub directory: Link,
    /// The way to the mail store.
    pub mail_store: Link,
    /// Failed logins.
    pub counters: Arc<dyn Counters>,
    /// Maildrop locks.
    pub leases: Arc<dyn Leases>,
}

/// The role; its listeners share all limits.
pub struct Pop3 {
    shared: Arc<Shared>,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) directory: DirectoryClient<Link>,
    pub(crate) store: Store,
    pub(crate) counters: Arc<dyn Counters>,
    pub(crate) leases: Arc<dyn Leases>,
    pub(crate) retrievals: Semaphore,
    /// Sessions that hold messages nobody has asked for yet.
    pub(crate) ahead: Arc<Semaphore>,
}

/// One listener's maker of sessions: `pop3` or `pop3s`.
pub struct Listener {
    shared: Arc<Shared>,
    plaintext_auth: PlaintextAuth,
    with_plaintext: Arc<SessionConfig>,
    without_plaintext: Arc<SessionConfig>,
}

impl Pop3 {
    /// The role over its services.
    pub fn new(config: Config, services: Services) -> Self {
        let directory = DirectoryClient::new(services.directory)
            .max_decoding_message_size(postrider_proto::MAX_MESSAGE_BYTES);
        let store = MailStoreClient::new(services.mail_store)
            .max_decoding_message_size(postrider_proto::MAX_MESSAGE_BYTES);
        Self {
            shared: Arc::new(Shared {
                store: Store::new(store, config.timeouts.store),
                retrievals: Semaphore::new(config.retrievals.clamp(1, Semaphore::MAX_PERMITS)),
                ahead: Arc::new(Semaphore::new(ahead::SESSIONS)),
                directory,
                counters: services.counters,
                leases: services.leases,
                config,
            }),
        }
    }

    /// A listener's gateway. `starttls`: the listener has a certificate, and begins in the clear.
    pub fn listener(&self, starttls: bool) -> Listener {
        let config = &self.shared.config;
        let session = SessionConfig {
            hostname: config.hostname.clone(),
            starttls,
            plaintext_auth: false,
            idle: config.timeouts.idle,
            login: config.timeouts.login,
            errors: config.errors,
            auth_failures: config.auth_failures,
            ..SessionConfig::default()
        };
        Listener {
            shared: self.shared.clone(),
            plaintext_auth: config.plaintext_auth,
            with_plaintext: Arc::new(SessionConfig {
                plaintext_auth: true,
                ..session.clone()
            }),
            without_plaintext: Arc::new(session),
        }
    }
}

impl Gateway for Listener {
    type Session = Server<Inbox>;
    type Handler = Conversation;

    fn open(&self, peer: &Peer) -> (Server<Inbox>, Conversation) {
        let plaintext = match self.plaintext_auth {
            PlaintextAuth::Never => false,
            PlaintextAuth::Loopback => peer.is_loopback(),
            PlaintextAuth::Always => true,
        };
        let config = if plaintext {
            &self.with_plaintext
        } else {
            &self.without_plaintext
        };
        (
            Server::new(config.clone()),
            Conversation::new(self.shared.clone(), peer.address.ip()),
        )
    }

    fn refuse(&self, why: Refusal) -> Bytes {
        Bytes::from_static(match why {
            Refusal::TooMany => b"-ERR [SYS/TEMP] too many connections, try again later\r\n",
            Refusal::ShuttingDown => b"-ERR [SYS/TEMP] shutting down, try again later\r\n",
            Refusal::TooManyFromAddress => b"-ERR [SYS/TEMP] too many connections from your address\r\n",
        })
    }
}
