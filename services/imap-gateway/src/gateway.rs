//! The role: what its sessions share, and how they begin.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use postrider_coordination::Counters;
use postrider_imap::session::{self, Limits};
use postrider_imap::{Session, response};
use postrider_proto::Link;
use postrider_runtime::config::PlaintextAuth;
use postrider_runtime::{Budget, Gateway, Peer, Refusal};

use crate::directory::Directory;
use crate::folder_cache::FolderCache;
use crate::handler::Conversation;
use crate::listings::Listings;
use crate::settings::Settings;
use crate::store::Store;
use crate::users::Users;
use crate::watch::Watcher;

/// What the gateway works with.
pub struct Services {
    /// `postrider.directory.v1.Directory`
    pub directory: Link,
    /// `postrider.mailstore.v1.MailStore`
    pub mail_store: Link,
    /// Penalties for failed logins.
    pub counters: Arc<dyn Counters>,
    /// Message bytes in flight, one for the process.
    pub budget: Budget,
}

/// What all sessions share.
pub(crate) struct Shared {
    pub settings: Settings,
    pub directory: Directory,
    pub store: Store,
    pub counters: Arc<dyn Counters>,
    pub budget: Budget,
    pub users: Arc<Users>,
    pub watcher: Arc<Watcher>,
    pub folders: Arc<FolderCache>,
    pub listings: Listings,
}

/// The role. One of it serves all its listeners, with TLS from the first byte or not.
pub struct ImapGateway {
    shared: Arc<Shared>,
    session: Arc<session::Config>,
}

impl ImapGateway {
    /// Puts it together; connects to nothing yet.
    pub fn new(settings: Settings, services: Services) -> Arc<Self> {
        let session = session::Config {
            hostname: settings.hostname.clone(),
            starttls: settings.starttls,
            append_limit: settings.append_limit,
            login_timeout: settings.timeouts.login,
            idle_timeout: settings.timeouts.idle,
            max_failures: settings.auth_failures.max(1),
            limits: Limits {
                // ID may come first, with as many and as long fields as RFC 2971 §3.3 allows.
                line_before_login: 40 << 10,
                ..Limits::default()
            },
            ..session::Config::default()
        };
        let shared = Shared {
            directory: Directory::new(services.directory, settings.timeouts.directory),
            store: Store::new(services.mail_store, &settings.timeouts),
            counters: services.counters,
            budget: services.budget,
            users: Arc::default(),
            watcher: Arc::default(),
            folders: FolderCache::new(settings.index_cache_bytes),
            listings: Listings::new(settings.listing_cache_bytes),
            settings,
        };
        Arc::new(Self {
            shared: Arc::new(shared),
            session: Arc::new(session),
        })
    }

    /// What has to run beside the sessions: hearing of what happens to accounts. It never ends; drop it to stop it.
    pub fn background(&self) -> impl Future<Output = ()> + Send + 'static {
        self.shared.watcher.clone().run(self.shared.store.clone())
    }
}

impl Gateway for ImapGateway {
    type Session = Session;
    type Handler = Conversation;

    fn open(&self, peer: &Peer) -> (Session, Conversation) {
        let mut session = Session::new(self.session.clone());
        let plaintext = match self.shared.settings.plaintext_auth {
            PlaintextAuth::Never => false,
            PlaintextAuth::Loopback => peer.is_loopback(),
            PlaintextAuth::Always => true,
        };
        if plaintext {
            session.allow_plaintext();
        }
        let handler = Conversation::new(self.shared.clone(), peer.address.ip());
        (session, handler)
    }

    fn refuse(&self, why: Refusal) -> Bytes {
        let mut session = Session::new(self.session.clone());
        let mut line = BytesMut::new();
        let text = match why {
            Refusal::TooMany => "too many connections, try again later",
            Refusal::TooManyFromAddress => "too many connections from your address",
            Refusal::ShuttingDown => "shutting down, connect again",
        };
        session.refuse(&mut line, Some(response::Code::Unavailable), text);
        line.freeze()
    }
}
