//! A listener that speaks one protocol: accepts, limits, shakes hands, drives, drains.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, UpDownCounter};
use postrider_wire::Session;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admission::{Admission, Admitted, Refusal};
use crate::connection::{Connection, Options, TlsRole};
use crate::drive::{self, Handler, drive};
use crate::listen::{Acceptor, listen};
use crate::proxy::{self, Network};

/// How long a trusted balancer may take to say whom it speaks for.
const PROXY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a gateway is to its listeners: the maker of sessions.
pub trait Gateway: Send + Sync + 'static {
    /// The protocol's server half.
    type Session: Session<Event: Send> + Send + 'static;
    /// What acts on its events.
    type Handler: Handler<Self::Session> + 'static;

    /// Begins a session for a connection. Where [`Peer::tls`] is set, the driver calls `tls_started` right after this.
    fn open(&self, peer: &Peer) -> (Self::Session, Self::Handler);

    /// The line that turns a connection away (421, `* BYE`, `-ERR`), with its CRLF.
    fn refuse(&self, why: Refusal) -> Bytes;
}

/// Who connected to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client; behind a trusted balancer, the one the balancer names.
    pub address: SocketAddr,
    /// Our end of the connection.
    pub local: SocketAddr,
    /// The connection began inside TLS.
    pub tls: bool,
}

impl Peer {
    /// Whether the client is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }
}

/// What a listener is made of. [`Default`] is a plain listener without limits on any free loopback port.
#[derive(Clone)]
pub struct Settings {
    /// For logs and metrics: `smtp`, `imaps`, …
    pub name: &'static str,
    /// Addresses to listen on; port 0 takes a free one.
    pub bind: Vec<SocketAddr>,
    /// TLS from the first byte; [`Options::tls`] must then be a server's.
    pub implicit_tls: bool,
    /// Expect the PROXY protocol from these sources, and nothing from others.
    pub proxy: Option<Vec<Network>>,
    /// Limits in number.
    pub admission: Admission,
    /// TLS and limits in time.
    pub options: Options,
    /// How long sessions may take to end once the node drains.
    pub drain_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "test",
            bind: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            implicit_tls: false,
            proxy: None,
            admission: Admission::new(0, 0),
            options: Options::default(),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// A bound listener; it accepts once it is served.
pub struct Server {
    settings: Settings,
    acceptors: Vec<Acceptor>,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Binds all addresses, or none.
    pub fn bind(settings: Settings) -> Result<Self> {
        let mut acceptors = Vec::with_capacity(settings.bind.len());
        let mut addresses = Vec::with_capacity(settings.bind.len());
        for address in &settings.bind {
            let listener =
                listen(*address).with_context(|| format!("{} cannot listen on {address}", settings.name))?;
            addresses.push(listener.local_addr()?);
            acceptors.push(Acceptor::new(listener));
        }
        Ok(Self {
            settings,
            acceptors,
            addresses,
        })
    }

    /// Where it listens, with the ports that were free.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `drain` is cancelled, then stops accepting, lets sessions end within the drain time-out, and closes the
    /// rest.
    pub async fn serve<G: Gateway>(self, gateway: Arc<G>, drain: CancellationToken) {
        let listener = Arc::new(Listener::new(gateway, self.settings, drain));
        let mut accepting = JoinSet::new();
        for acceptor in self.acceptors {
            accepting.spawn(listener.clone().accept_all(acceptor));
        }
        while accepting.join_next().await.is_some() {}
    }
}

/// What all connections of a listener share.
struct Listener<G> {
    gateway: Arc<G>,
    settings: Settings,
    options: Arc<Options>,
    drain: CancellationToken,
    metrics: Metrics,
}

struct Metrics {
    accepted: Counter<u64>,
    refused: Counter<u64>,
    open: UpDownCounter<i64>,
    listener: [KeyValue; 1],
}

impl Metrics {
    fn new(listener: &'static str) -> Self {
        let meter = opentelemetry::global::meter("postrider");
        let counter = |name, what| meter.u64_counter(name).with_description(what).build();
        Self {
            accepted: counter("postrider_connections_accepted", "Connections that were let in"),
            refused: counter(
                "postrider_connections_refused",
                "Connections turned away by a limit",
            ),
            open: meter
                .i64_up_down_counter("postrider_connections_open")
                .with_description("Connections that are open now")
                .build(),
            listener: [KeyValue::new("listener", listener)],
        }
    }
}

/// Counts a connection as open until it is dropped.
struct Open<'a>(&'a Metrics);

impl<'a> Open<'a> {
    fn count(metrics: &'a Metrics) -> Self {
        metrics.accepted.add(1, &metrics.listener);
        metrics.open.add(1, &metrics.listener);
        Self(metrics)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.add(-1, &self.0.listener);
    }
}

impl<G: Gateway> Listener<G> {
    fn new(gateway: Arc<G>, settings: Settings, drain: CancellationToken) -> Self {
        let options = Arc::new(settings.options.clone());
        let metrics = Metrics::new(settings.name);
        Self {
            gateway,
            settings,
            options,
            drain,
            metrics,
        }
    }

    async fn accept_all(self: Arc<Self>, mut acceptor: Acceptor) {
        let name = self.settings.name;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = self.drain.cancelled() => break,
                Some(ended) = connections.join_next() => note_panic(name, ended),
                (tcp, peer) = acceptor.accept() => {
                    connections.spawn(self.clone().run(tcp, peer));
                }
            }
        }
        drop(acceptor);
        let all_ended = async {
            while let Some(ended) = connections.join_next().await {
                note_panic(name, ended);
            }
        };
        if tokio::time::timeout(self.settings.drain_timeout, all_ended)
            .await
            .is_err()
        {
            tracing::warn!(
                listener = name,
                open = connections.len(),
                "closing sessions that did not end in time"
            );
            connections.shutdown().await;
        }
    }

    async fn run(self: Arc<Self>, tcp: TcpStream, peer: SocketAddr) {
        let Some((mut connection, peer, _admitted)) = self.prepare(tcp, peer).await else {
            return;
        };
        let _open = Open::count(&self.metrics);
        let (mut session, mut handler) = self.gateway.open(&peer);
        if peer.tls {
            session.tls_started();
        }
        match drive(&mut connection, &mut session, &mut handler, &self.drain).await {
            Ok(()) => {}
            Err(error @ drive::Error::Unbounded(_)) => {
                tracing::error!(listener = self.settings.name, peer = %peer.address, %error, "session closed");
            }
            Err(error) => {
                tracing::debug!(listener = self.settings.name, peer = %peer.address, %error, "session closed");
            }
        }
    }

    /// Everything before the session, boxed away so that the session's task does not carry it.
    fn prepare(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
    ) -> impl Future<Output = Option<(Connection, Peer, Admitted)>> + Send {
        Box::pin(async move {
            match self.try_prepare(tcp, peer).await {
                Ok(prepared) => prepared,
                Err(error) => {
                    tracing::debug!(listener = self.settings.name, %peer, %error, "connection not begun");
                    None
                }
            }
        })
    }

    async fn try_prepare(
        &self,
        mut tcp: TcpStream,
        source: SocketAddr,
    ) -> io::Result<Option<(Connection, Peer, Admitted)>> {
        let mut peer = Peer {
            address: source,
            local: tcp.local_addr()?,
            tls: self.settings.implicit_tls,
        };
        if let Some(trusted) = &self.settings.proxy {
            if !trusted.iter().any(|network| network.contains(source.ip())) {
                return Err(io::Error::other("source is not a trusted balancer"));
            }
            let header = tokio::time::timeout(PROXY_TIMEOUT, proxy::read_header(&mut tcp)).await;
            if let Some(address) = header.map_err(|_| io::ErrorKind::TimedOut)?? {
                peer.address = address;
            }
        }
        let admitted = match self.settings.admission.admit(peer.address.ip()) {
            Ok(admitted) => admitted,
            Err(why) => {
                self.turn_away(&tcp, why);
                return Ok(None);
            }
        };
        let mut connection = Connection::new(tcp, self.options.clone());
        if peer.tls {
            connection.start_tls().await?;
        }
        Ok(Some((connection, peer, admitted)))
    }

    /// One line without waiting: a refused connection must not cost more than that. Inside TLS there is nothing to say.
    fn turn_away(&self, tcp: &TcpStream, why: Refusal) {
        self.metrics.refused.add(1, &self.metrics.listener);
        tracing::debug!(listener = self.settings.name, ?why, "connection refused");
        if !self.settings.implicit_tls {
            let _ = tcp.try_write(&self.gateway.refuse(why));
        }
    }
}

fn note_panic(listener: &'static str, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(listener, %error, "a session panicked; its connection is closed");
    }
}

impl Settings {
    /// Whether a session can be encrypted on this listener.
    pub fn offers_tls(&self) -> bool {
        matches!(self.options.tls, TlsRole::Server(_))
    }
}
