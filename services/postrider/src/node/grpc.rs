//! gRPC: the operators' listener, the one between roles, and the way to roles elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use postrider_proto::Link;
use postrider_rpc::{Cluster, Door, Ending, Guard, Limits, Mutual, Server, Settings};
use postrider_runtime::Identity;
use postrider_runtime::config::{Config, Rpc};
use postrider_runtime::ops::Readiness;
use postrider_smtp_ingress::Neighbours;
use tonic::Status;

use super::Parts;
use crate::admin::{Contracts, Token, follow, token_file, url_file};

/// Opens the gRPC listeners of a node.
pub struct Listeners<'a> {
    /// All of it.
    pub config: &'a Config,
    /// The node's certificate.
    pub identity: &'a Arc<Identity>,
    /// What is served.
    pub contracts: &'a Contracts,
    /// What the health service says.
    pub readiness: &'a Readiness,
}

impl Listeners<'_> {
    /// Binds both, and leaves the address of the operators' one where commands find it.
    pub fn open(&self, parts: &mut Parts, addresses: &mut Vec<(&'static str, SocketAddr)>) -> Result<()> {
        let admin = Server::bind("admin", &self.config.listeners.admin.bind)?;
        let beyond = admin
            .addresses()
            .iter()
            .any(|address| !address.ip().is_loopback());
        if let Some(address) = admin.addresses().first() {
            let url = format!("{}://{address}\n", if beyond { "https" } else { "http" });
            std::fs::write(url_file(&self.config.data_dir), url)
                .context("cannot say where the admin listener is")?;
        }
        let token = Token::read_or_create(&token_file(&self.config.data_dir))?;
        let guard = Guard {
            door: match beyond {
                true => Door::Tls(self.identity.clone()),
                false => Door::Plain,
            },
            admit: Some(Arc::new(move |headers| match headers.get("authorization") {
                Some(header) if token.admits(header.as_bytes()) => Ok(()),
                _ => Err(Status::unauthenticated(
                    "the administration token is missing or wrong",
                )),
            })),
        };
        self.serve("admin", admin, guard, parts, addresses)?;

        let rpc = Server::bind("rpc", &self.config.listeners.rpc.bind)?;
        let guard = Guard {
            door: mutual(&self.config.rpc)?.map_or(Door::Plain, Door::Mutual),
            admit: None,
        };
        self.serve("rpc", rpc, guard, parts, addresses)
    }

    fn serve(
        &self,
        name: &'static str,
        server: Server,
        guard: Guard,
        parts: &mut Parts,
        addresses: &mut Vec<(&'static str, SocketAddr)>,
    ) -> Result<()> {
        if server.addresses().is_empty() {
            return Ok(());
        }
        addresses.extend(server.addresses().iter().map(|address| (name, *address)));
        let (routes, health) = self.contracts.routes()?;
        parts.background.push(Box::pin(follow(
            self.readiness.clone(),
            health,
            parts.drain.clone(),
        )));
        let limits = Limits {
            calls: self.config.rpc.calls,
        };
        let ending = Ending {
            notice: parts.drain.clone(),
            end: parts.end.clone(),
            // Commands have no other node to ask.
            grace: if name == "rpc" {
                Ending::GRACE
            } else {
                Duration::ZERO
            },
        };
        let served = server.serve(routes, guard, limits, ending);
        parts.last.push((name, Box::pin(served)));
        Ok(())
    }
}

/// The way to each instance of a role, looked up when it is asked for; `None` when the configuration does not say where they are.
pub fn instances(config: &Config, service: &'static str, url: &str) -> Result<Option<Neighbours>> {
    let settings = settings(config, service, url)?;
    Ok(settings.map(|settings| -> Neighbours {
        Arc::new(move || {
            let cluster = Cluster::new(settings.clone());
            Box::pin(async move {
                let instances = cluster.instances().await.into_iter();
                instances.map(|(_, link)| link).collect()
            })
        })
    }))
}

/// The way to a role elsewhere; `None` when the configuration does not say where it is.
pub fn elsewhere(config: &Config, service: &'static str, url: &str) -> Result<Option<Link>> {
    let settings = settings(config, service, url)?;
    Ok(settings.map(|settings| Link::remote(Cluster::new(settings))))
}

/// How a service is spoken to; `None` when the configuration does not say where it is.
pub fn settings(config: &Config, service: &'static str, url: &str) -> Result<Option<Settings>> {
    if url.is_empty() {
        return Ok(None);
    }
    Ok(Some(Settings {
        service,
        url: url.parse().with_context(|| format!("services: {service}"))?,
        mutual: mutual(&config.rpc)?,
    }))
}

/// The certificates of both sides of a call; `None`: in the clear.
fn mutual(rpc: &Rpc) -> Result<Option<Arc<Mutual>>> {
    let (Some(certificate), Some(key), Some(authority)) = (&rpc.certificate, &rpc.key, &rpc.authority) else {
        return Ok(None);
    };
    let mutual = Mutual {
        certificate: certificate.clone(),
        key: key.clone(),
        authority: authority.clone(),
    };
    mutual.check().context("rpc")?;
    Ok(Some(Arc::new(mutual)))
}
