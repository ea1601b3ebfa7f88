//! One process of the cluster.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use postrider_proxy::Proxy;

use crate::server::{Options, Postrider};

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Domains, accounts, passwords.
    Directory,
    /// Mailboxes.
    MailStore,
    /// Sends elsewhere.
    DeliveryWorker,
    /// Takes mail.
    SmtpIngress,
    /// Shows it.
    ImapGateway,
    /// Hands it out.
    Pop3Gateway,
}

impl Role {
    /// All, in the order of start: those that the others need come first.
    pub const ALL: [Self; 6] = [
        Self::Directory,
        Self::MailStore,
        Self::DeliveryWorker,
        Self::SmtpIngress,
        Self::ImapGateway,
        Self::Pop3Gateway,
    ];

    /// As the configuration writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::MailStore => "mail-store",
            Self::DeliveryWorker => "delivery-worker",
            Self::SmtpIngress => "smtp-ingress",
            Self::ImapGateway => "imap-gateway",
            Self::Pop3Gateway => "pop3-gateway",
        }
    }
}

/// A process: where it is, and the way by which the others reach it.
#[derive(Debug)]
pub struct Member {
    /// What it does.
    pub role: Role,
    /// Which one of its role, from 1.
    pub number: u8,
    /// Its address.
    pub address: Ipv4Addr,
    /// Stands before its `rpc` listener.
    pub link: Proxy,
    node: Option<Arc<Mutex<Postrider>>>,
}

impl Member {
    /// A process that will be at this address.
    pub async fn new(role: Role, number: u8, address: Ipv4Addr) -> Result<Self> {
        let link = Proxy::open([(address, 7025).into()])
            .await
            .context("a proxy cannot listen")?;
        Ok(Self {
            role,
            number,
            address,
            link,
            node: None,
        })
    }

    /// `mail-store-2`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.role.name(), self.number)
    }

    /// Writes its configuration.
    pub fn prepare(&mut self, binary: &Path, base: &Path, options: Options) -> Result<()> {
        let options = Options {
            address: Some(self.address),
            roles: vec![self.role.name()],
            ..options
        };
        let node = Postrider::prepare(binary, &base.join(self.name()), options)?;
        self.node = Some(Arc::new(Mutex::new(node)));
        Ok(())
    }

    /// Does something with it, away from the tasks of the load.
    pub async fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Postrider) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let node = self
            .node
            .clone()
            .with_context(|| format!("{} has no configuration", self.name()))?;
        tokio::task::spawn_blocking(move || act(&mut node.lock()))
            .await
            .context("a task that acts on a process broke off")?
            .with_context(|| self.name())
    }
}
