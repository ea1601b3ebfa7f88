//! gRPC listeners: the contracts of the roles that live here, for the operators (`admin`) or for the cluster (`rpc`).

use std::convert::Infallible;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use futures::Stream;
use postrider_proto::directory::directory_server::DirectoryServer;
use postrider_proto::mailstore::mail_store_server::MailStoreServer;
use postrider_proto::operations::operations_server::OperationsServer;
use postrider_proto::queue::queue_server::QueueServer;
use postrider_proto::submission::submission_server::SubmissionServer;
use postrider_proto::{DESCRIPTORS, Link};
use postrider_runtime::Identity;
use postrider_runtime::listen::{Acceptor, listen};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::service::{InterceptorLayer, Routes};
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Status};

use super::Token;

/// Connections that have been accepted (and have shaken hands) and wait to be served.
const WAITING: usize = 16;

/// How long a TLS handshake may take.
const HANDSHAKE: std::time::Duration = std::time::Duration::from_secs(10);

/// The contracts a listener serves. A link may lead to another process: the operators' listener then passes calls on.
#[derive(Clone, Default)]
pub struct Contracts {
    /// Domains and accounts.
    pub directory: Option<Link>,
    /// Mailboxes.
    pub mail_store: Option<Link>,
    /// The outbound queue.
    pub queue: Option<Link>,
    /// Mail in, without SMTP.
    pub submission: Option<Link>,
    /// The node as a whole.
    pub operations: Option<Link>,
}

impl Contracts {
    /// All of them without a socket.
    pub fn local(&self) -> Result<Link> {
        Ok(Link::local(self.routes()?))
    }

    /// All of them, with reflection and health.
    fn routes(&self) -> Result<Routes> {
        let (health, health_service) = tonic_health::server::health_reporter();
        drop(health);
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .build_v1()
            .context("the contracts cannot be described")?;
        let mut routes = Routes::new(health_service).add_service(reflection);
        routes = add::<DirectoryServer<()>>(routes, self.directory.as_ref());
        routes = add::<MailStoreServer<()>>(routes, self.mail_store.as_ref());
        routes = add::<QueueServer<()>>(routes, self.queue.as_ref());
        routes = add::<SubmissionServer<()>>(routes, self.submission.as_ref());
        routes = add::<OperationsServer<()>>(routes, self.operations.as_ref());
        Ok(routes)
    }
}

fn add<N: NamedService + 'static>(routes: Routes, link: Option<&Link>) -> Routes {
    match link {
        Some(link) => routes.add_service(Forward::<N> {
            link: link.clone(),
            name: PhantomData,
        }),
        None => routes,
    }
}

/// A bound gRPC listener.
pub struct AdminServer {
    name: &'static str,
    acceptors: Vec<Acceptor>,
    addresses: Vec<SocketAddr>,
}

impl AdminServer {
    /// Binds all addresses, or none.
    pub fn bind(name: &'static str, addresses: &[SocketAddr]) -> Result<Self> {
        let mut bound = Self {
            name,
            acceptors: Vec::new(),
            addresses: Vec::new(),
        };
        for address in addresses {
            let listener = listen(*address).with_context(|| format!("{name} cannot listen on {address}"))?;
            bound.addresses.push(listener.local_addr()?);
            bound.acceptors.push(Acceptor::new(listener));
        }
        Ok(bound)
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `drain` is cancelled and the calls that are running have ended. With a token, only to who shows it;
    /// with an identity, inside TLS.
    pub async fn serve(
        self,
        contracts: Contracts,
        token: Option<Token>,
        tls: Option<Arc<Identity>>,
        drain: CancellationToken,
    ) -> Result<()> {
        let routes = contracts.routes()?;
        let serving = self.acceptors.into_iter().map(|acceptor| {
            let (routes, token, drain) = (routes.clone(), token.clone(), drain.clone());
            let tls = tls.clone();
            async move {
                match tls {
                    None => serve_all(routes, token, plain(acceptor), drain).await,
                    Some(identity) => serve_all(routes, token, encrypted(acceptor, identity), drain).await,
                }
            }
        });
        let ended = futures::future::try_join_all(serving).await;
        ended
            .map(drop)
            .with_context(|| format!("the {} listener failed", self.name))
    }
}

async fn serve_all<I>(
    routes: Routes,
    token: Option<Token>,
    incoming: impl Stream<Item = std::io::Result<I>>,
    drain: CancellationToken,
) -> Result<()>
where
    I: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let check = InterceptorLayer::new(move |request: Request<()>| match &token {
        None => Ok(request),
        Some(token) => match request.metadata().get("authorization") {
            Some(header) if token.admits(header.as_bytes()) => Ok(request),
            _ => Err(Status::unauthenticated(
                "the administration token is missing or wrong",
            )),
        },
    });
    Server::builder()
        .layer(check)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, drain.cancelled_owned())
        .await?;
    Ok(())
}

fn plain(mut acceptor: Acceptor) -> ReceiverStream<std::io::Result<TcpStream>> {
    let (sender, connections) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = sender.closed() => return,
                (tcp, _) = acceptor.accept() => tcp,
            };
            if sender.send(Ok(accepted)).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(connections)
}

type Encrypted = tokio_rustls::server::TlsStream<TcpStream>;

fn encrypted(mut acceptor: Acceptor, identity: Arc<Identity>) -> ReceiverStream<std::io::Result<Encrypted>> {
    let (sender, connections) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = sender.closed() => return,
                (tcp, _) = acceptor.accept() => tcp,
            };
            let Ok(place) = sender.clone().reserve_owned().await else {
                return;
            };
            let mut config = (*identity.server_config()).clone();
            config.alpn_protocols = vec![b"h2".to_vec()];
            tokio::spawn(async move {
                let handshake = TlsAcceptor::from(Arc::new(config)).accept(accepted);
                if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, handshake).await {
                    place.send(Ok(stream));
                }
            });
        }
    });
    ReceiverStream::new(connections)
}

/// A link served under the name of a contract; what goes wrong on the way is UNAVAILABLE.
struct Forward<N> {
    link: Link,
    name: PhantomData<fn() -> N>,
}

impl<N> Clone for Forward<N> {
    fn clone(&self) -> Self {
        Self {
            link: self.link.clone(),
            name: PhantomData,
        }
    }
}

impl<N: NamedService> NamedService for Forward<N> {
    const NAME: &'static str = N::NAME;
}

impl<N> Service<http::Request<Body>> for Forward<N> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        use tower::ServiceExt;
        let link = self.link.clone();
        Box::pin(async move {
            let answered = link.oneshot(request).await;
            Ok(answered.unwrap_or_else(|error| Status::unavailable(error.to_string()).into_http()))
        })
    }
}
