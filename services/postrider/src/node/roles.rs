//! The roles of this process, and the way to those elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use postrider_delivery_worker::{Operator, Worker};
use postrider_imap_gateway::ImapGateway;
use postrider_pop3_gateway::Pop3;
use postrider_proto::directory::directory_server::DirectoryServer;
use postrider_proto::mailstore::mail_store_server::MailStoreServer;
use postrider_proto::operations::operations_server::OperationsServer;
use postrider_proto::queue::queue_server::QueueServer;
use postrider_proto::submission::submission_server::SubmissionServer;
use postrider_proto::{Link, MAX_MESSAGE_BYTES};
use postrider_runtime::config::{Config, Role, StorageEngine};
use postrider_runtime::journal::Journal;
use postrider_runtime::{Budget, Identity};
use postrider_smtp_ingress::{Ingress, Kind, Listener, SubmissionService};

use super::Parts;
use super::engines::Engines;
use super::front::Front;
use super::grpc::{elsewhere, instances};
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
    /// Message bytes in flight, of all roles together.
    pub budget: Budget,
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
            false => elsewhere(self.config, "directory", &services.directory)?,
        };
        contracts.mail_store = match self.config.plays(Role::MailStore) {
            true => Some(self.mail_store(parts)?),
            false => elsewhere(self.config, "mail-store", &services.mail_store)?,
        };
        contracts.queue = match self.config.plays(Role::DeliveryWorker) {
            true => Some(self.delivery_worker(parts, contracts)?),
            false => elsewhere(self.config, "queue", &services.queue)?,
        };
        let mut front = Front {
            config: self.config,
            identity: self.identity,
            parts,
            addresses,
        };
        contracts.submission = match self.config.plays(Role::SmtpIngress) {
            true => Some(self.smtp_ingress(&mut front, contracts)?),
            false => elsewhere(self.config, "submission", &services.submission)?,
        };
        if self.config.plays(Role::Pop3Gateway) {
            self.pop3_gateway(&mut front, contracts)?;
        }
        if self.config.plays(Role::ImapGateway) {
            self.imap_gateway(&mut front, contracts)?;
        }
        Ok(())
    }

    async fn directory(&self) -> Result<Link> {
        let engine = self.engines.storage()?.directory.clone();
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
            receipt_retention: receipts_kept(self.config.queue.retry.give_up),
            ..postrider_mail_store::Config::default()
        };
        let storage = self.engines.storage()?.clone();
        let hints = self.engines.hints.clone();
        let store = postrider_mail_store::service(storage.accounts, storage.contents, hints, config)?;
        parts.background.push(Box::pin(store.background()));
        Ok(Link::local(
            MailStoreServer::new(store)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        ))
    }

    fn delivery_worker(&self, parts: &mut Parts, contracts: &Contracts) -> Result<Link> {
        let settings = postrider_delivery_worker::Settings::new(self.config).context("outbound.routes")?;
        let works_with = postrider_delivery_worker::Parts {
            queue: self.engines.queue()?.clone(),
            store: needed(&contracts.mail_store, "mail_store")?,
            directory: needed(&contracts.directory, "directory")?,
            journal: self.journal.clone(),
            budget: Some(self.budget.clone()),
        };
        let worker = Worker::new(works_with, settings)?;
        let (drain, kafka) = (parts.drain.clone(), self.engines.kafka.clone());
        parts.first.push((
            "delivery-worker",
            Box::pin(async move {
                worker.run(drain).await;
                // Others go on at once with what waits here.
                if let Some(kafka) = kafka {
                    kafka.leave().await;
                }
                Ok(())
            }),
        ));
        let operator = Operator::new(self.engines.queue()?.clone(), self.journal.clone());
        Ok(Link::local(QueueServer::new(operator)))
    }

    fn smtp_ingress(&self, front: &mut Front<'_>, contracts: &Contracts) -> Result<Link> {
        let services = postrider_smtp_ingress::Services {
            directory: needed(&contracts.directory, "directory")?,
            mail_store: needed(&contracts.mail_store, "mail_store")?,
            outbound: Arc::new(self.engines.queue()?.clone()),
            counters: self.engines.counters.clone(),
            journal: self.journal.clone(),
            budget: self.budget.clone(),
            neighbours: instances(self.config, "submission", &self.config.services.submission)?,
        };
        let mut config = postrider_smtp_ingress::Config::from(&**self.config);
        if !self.config.plays(Role::Directory) {
            config.believed = BELIEVED;
        }
        let ingress = Ingress::new(config, services);
        let listeners = &self.config.listeners;
        for (kind, listener) in [
            (Kind::Mx, &listeners.smtp),
            (Kind::Submission, &listeners.submission),
            (Kind::Submissions, &listeners.submissions),
        ] {
            let implicit_tls = kind == Kind::Submissions;
            front.open(
                kind.name(),
                listener,
                implicit_tls,
                Arc::new(Listener::new(ingress.clone(), kind)),
            )?;
        }
        Ok(Link::local(SubmissionServer::new(SubmissionService::new(
            ingress,
        ))))
    }

    fn pop3_gateway(&self, front: &mut Front<'_>, contracts: &Contracts) -> Result<()> {
        let services = postrider_pop3_gateway::Services {
            directory: needed(&contracts.directory, "directory")?,
            mail_store: needed(&contracts.mail_store, "mail_store")?,
            counters: self.engines.counters.clone(),
            leases: self.engines.leases.clone(),
        };
        let pop3 = Pop3::new(postrider_pop3_gateway::Config::from(&**self.config), services);
        let listeners = &self.config.listeners;
        front.open("pop3", &listeners.pop3, false, Arc::new(pop3.listener(true)))?;
        front.open("pop3s", &listeners.pop3s, true, Arc::new(pop3.listener(false)))
    }

    fn imap_gateway(&self, front: &mut Front<'_>, contracts: &Contracts) -> Result<()> {
        let services = postrider_imap_gateway::Services {
            directory: needed(&contracts.directory, "directory")?,
            mail_store: needed(&contracts.mail_store, "mail_store")?,
            counters: self.engines.counters.clone(),
            budget: self.budget.clone(),
        };
        let imap = ImapGateway::new(postrider_imap_gateway::Settings::from(&**self.config), services);
        front.parts.background.push(Box::pin(imap.background()));
        let listeners = &self.config.listeners;
        front.open("imap", &listeners.imap, false, imap.clone())?;
        front.open("imaps", &listeners.imaps, true, imap)
    }
}

/// How long `smtp-ingress` does not ask a directory elsewhere again about the same recipient: mail comes in bursts. A directory itself
/// hears of what another one changed later than that.
const BELIEVED: Duration = Duration::from_secs(10);

/// The operations of this node.
pub fn local_operations(operations: OperationsService) -> Link {
    Link::local(OperationsServer::new(operations))
}

fn needed(link: &Option<Link>, key: &str) -> Result<Link> {
    link.clone()
        .ok_or_else(|| anyhow!("services.{key}: say where it is, or add its role here"))
}

/// How long deliveries are remembered: the queue repeats them until it gives up, and a little later still when it was
/// stopped in between.
fn receipts_kept(give_up: Duration) -> Duration {
    const MARGIN: Duration = Duration::from_secs(2 * 24 * 3600);
    give_up.saturating_add(MARGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_remembered_for_longer_than_they_are_tried() {
        for days in [0, 5, 7, 30] {
            let give_up = Duration::from_secs(days * 24 * 3600);
            assert!(receipts_kept(give_up) > give_up);
        }
        assert!(receipts_kept(Duration::MAX) == Duration::MAX);
    }
}
