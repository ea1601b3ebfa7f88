//! The listeners of the protocols.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use postrider_runtime::admission::Admission;
use postrider_runtime::config::{Config, Listener};
use postrider_runtime::{Gateway, Identity, Options, Server, Settings, TlsRole};

use super::Parts;

/// Binds listeners and adds them to the parts of the node.
pub struct Front<'a> {
    /// Limits in number and time.
    pub config: &'a Config,
    /// The node's certificate.
    pub identity: &'a Arc<Identity>,
    /// Where to.
    pub parts: &'a mut Parts,
    /// Grows by what is bound.
    pub addresses: &'a mut Vec<(&'static str, SocketAddr)>,
}

impl Front<'_> {
    /// One listener; one without addresses is off.
    pub fn open<G: Gateway>(
        &mut self,
        name: &'static str,
        listener: &Listener,
        implicit_tls: bool,
        gateway: Arc<G>,
    ) -> Result<()> {
        if listener.bind.is_empty() {
            return Ok(());
        }
        let limits = &self.config.limits;
        let server = Server::bind(Settings {
            name,
            bind: listener.bind.clone(),
            implicit_tls,
            proxy: listener.proxy_protocol.then(|| listener.proxy_trusted.clone()),
            admission: Admission::new(limits.connections, limits.connections_per_address),
            options: Options {
                tls: TlsRole::Server(self.identity.clone()),
                write_timeout: limits.write,
                handshake_timeout: limits.handshake,
            },
            drain_timeout: limits.drain,
        })?;
        self.addresses
            .extend(server.addresses().iter().map(|address| (name, *address)));
        let drain = self.parts.drain.clone();
        let serving = server.serve(gateway, drain);
        self.parts.first.push((
            name,
            Box::pin(async move {
                serving.await;
                Ok(())
            }),
        ));
        Ok(())
    }
}
