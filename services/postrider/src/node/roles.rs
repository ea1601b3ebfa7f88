//! The roles of this process, and the way to those elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use postrider_proto::directory::directory_server::DirectoryServer;
use postrider_proto::mailstore::mail_store_server::MailStoreServer;
use postrider_proto::operations::operations_server::OperationsServer;
use postrider_proto::{Link, MAX_MESSAGE_BYTES};
use postrider_runtime::Identity;
use postrider_runtime::config::{Config, Role, StorageEngine};
use postrider_runtime::journal::Journal;
use tonic::transport::Endpoint;

use super::Parts;
use super::engines::Engines;
use crate::admin::{Contracts, OperationsService};

/// What roles are made from.
pub struct Roles<'a> {
    /// All of it; each role takes what concerns it.
    pub config: &'a Arc<Config>,
    /// What keeps something.
    pub engines: &'a Engines,
    /// The node's certificate.
    pub identity: &'a Arc<Identity>,
    /// Where steps of messages go.
    pub journal: &'a Arc<dyn Journal>,
}

impl Roles<'_> {
    /// Makes the roles of this process and binds their listeners.
    pub async fn wire(
        &self,
        parts: &mut Parts,
        contracts: &mut Contracts,
        addresses: &mut Vec<(&'static str, SocketAddr)>,
    ) -> Result<()> {
        let services = &self.config.services;
        contracts.directory = match self.config.plays(Role::Directory) {
            true => Some(self.directory().await?),
            false => remote(&services.directory)?,
        };
        contracts.mail_store = match self.config.plays(Role::MailStore) {
            true => Some(self.mail_store(parts)?),
            false => remote(&services.mail_store)?,
        };
        let _ = addresses;
        Ok(())
    }

    async fn directory(&self) -> Result<Link> {
        let engine = self.engines.directory.clone();
        let directory =
            postrider_directory::Directory::open(engine, postrider_directory::Config::default()).await?;
        Ok(Link::local(DirectoryServer::new(directory)))
    }

    fn mail_store(&self, parts: &mut Parts) -> Result<Link> {
        let config = postrider_mail_store::Config {
            sole_instance: self.config.storage.engine != StorageEngine::Cql,
            max_message_bytes: self.config.limits.message_size,
            change_retention: self.config.storage.changes_kept,
            content_grace: self.config.storage.grace,
            ..postrider_mail_store::Config::default()
        };
        let Engines {
            accounts,
            contents,
            hints,
            ..
        } = self.engines;
        let store = postrider_mail_store::service(accounts.clone(), contents.clone(), hints.clone(), config)?;
        parts.background.push(Box::pin(store.background()));
        Ok(Link::local(
            MailStoreServer::new(store)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        ))
    }
}

/// The operations of this node.
pub fn local_operations(operations: OperationsService) -> Link {
    Link::local(OperationsServer::new(operations))
}

/// The way to a role elsewhere; connects when it is first used, and again when it is lost.
fn remote(url: &str) -> Result<Option<Link>> {
    if url.is_empty() {
        return Ok(None);
    }
    let endpoint = Endpoint::from_shared(url.to_owned()).with_context(|| format!("`{url}` is not a URL"))?;
    Ok(Some(Link::remote(endpoint.connect_lazy())))
}
