//! One of the two nodes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use postrider_proto::directory::get_account_request::Key;
use postrider_proto::directory::{AddAccountRequest, AddDomainRequest, GetAccountRequest};
use postrider_runtime::Config;
use postrider_runtime::config::OutboundTls;
use postrider_types::Domain;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::admin::{Client, failure};
use crate::node::Node;

/// A running node.
pub struct Place {
    /// Its host name, which is its domain as well.
    pub name: &'static str,
    /// Its data directory.
    pub data: PathBuf,
    /// The operators' client.
    pub client: Client,
    addresses: Vec<(&'static str, SocketAddr)>,
    stop: CancellationToken,
    running: JoinHandle<Result<()>>,
}

impl Place {
    /// Starts a node with its ports moved up by `ports`, or any free ones where those are taken.
    pub async fn open(
        name: &'static str,
        data: &Path,
        ports: u16,
        route: Option<(&str, SocketAddr)>,
    ) -> Result<Self> {
        let mut config = Config {
            hostname: Domain::new(name)?,
            data_dir: data.to_owned(),
            ..Config::default()
        };
        config.outbound.routes =
            BTreeMap::from_iter(route.map(|(domain, address)| (domain.to_owned(), address.to_string())));
        // Between these two there is nothing to hide, and much to see.
        config.outbound.tls = OutboundTls::Never;
        config.outbound.chunking = false;
        config.outbound.idle = Duration::from_millis(100);
        for listener in config.listeners.all_mut() {
            for address in &mut listener.bind {
                *address = free(address.port() + ports);
            }
        }
        let node = Node::build(config)
            .await
            .with_context(|| format!("{name} does not start"))?;
        let (client, addresses) = (node.client()?, node.addresses().to_vec());
        let stop = CancellationToken::new();
        let running = tokio::spawn(node.run(stop.clone(), String::new));
        Ok(Self {
            name,
            data: data.to_owned(),
            client,
            addresses,
            stop,
            running,
        })
    }

    /// Makes the domain and a mailbox, where they are not there from an earlier run.
    pub async fn welcome(&self, address: &str, name: &str, password: &str) -> Result<()> {
        let mut directory = self.client.directory();
        let exists = |status: &tonic::Status| status.code() == Code::AlreadyExists;
        match directory
            .add_domain(AddDomainRequest {
                name: self.name.into(),
            })
            .await
        {
            Err(status) if !exists(&status) => return Err(failure(status)),
            _ => {}
        }
        let request = AddAccountRequest {
            address: address.into(),
            password: password.as_bytes().to_vec().into(),
            display_name: name.into(),
            quota: 0,
        };
        match directory.add_account(request).await {
            Err(status) if !exists(&status) => Err(failure(status)),
            _ => Ok(()),
        }
    }

    /// The id of an account.
    pub async fn account(&self, address: &str) -> Result<u64> {
        let request = GetAccountRequest {
            key: Some(Key::Address(address.into())),
        };
        let account = self
            .client
            .directory()
            .get_account(request)
            .await
            .map_err(failure)?;
        Ok(account.into_inner().id)
    }

    /// Where a listener is.
    pub fn address(&self, listener: &str) -> Result<SocketAddr> {
        let found = self.addresses.iter().find(|(name, _)| *name == listener);
        found
            .map(|(_, address)| *address)
            .ok_or_else(|| anyhow!("{} has no {listener} listener", self.name))
    }

    /// Every listener.
    pub fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.addresses
    }

    /// Ends it in an orderly way.
    pub async fn close(self) {
        self.stop.cancel();
        let _ = self.running.await;
    }
}

/// This port of loopback, or when it is taken (or none), any free one.
fn free(port: u16) -> SocketAddr {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    if TcpListener::bind(wanted).is_ok() {
        wanted
    } else {
        any
    }
}
