//! Listeners for contracts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Frame;
use postrider_proto::Call;
use postrider_runtime::listen::{Acceptor, listen};
use postrider_runtime::{Identity, Trace};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::{Layer, Service};
use tracing::Instrument;

use crate::deadline::Deadline;
use crate::fault::{LEAVING, PUSHBACK};
use crate::metrics;
use crate::tls::{self, Mutual, Wire};

/// Connections that have been accepted (and have shaken hands) and wait to be served.
const WAITING: usize = 16;

/// Handshakes at once.
const HANDSHAKES: usize = 64;

/// How often a silent connection is asked whether its client is still there, and how long the answer may take.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_WAIT: Duration = Duration::from_secs(10);

/// When a client that was turned away may ask here again, in milliseconds.
const COME_BACK: &str = "100";

/// How connections come in.
#[derive(Clone)]
pub enum Door {
    /// In the clear: whoever can connect may call.
    Plain,
    /// Inside TLS with the node's certificate.
    Tls(Arc<Identity>),
    /// Inside TLS, from those with a certificate of the cluster's authority.
    Mutual(Arc<Mutual>),
}

/// Whether a call is let in, judged by its headers; the status is the answer to one that is not.
pub type Admit = Arc<dyn Fn(&HeaderMap) -> Result<(), Status> + Send + Sync>;

/// What a listener asks of its callers before it listens to them.
#[derive(Clone)]
pub struct Guard {
    /// Of connections.
    pub door: Door,
    /// Of calls; `None`: nothing more.
    pub admit: Option<Admit>,
}

/// How much a listener takes on.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Calls at work at once; more are turned away.
    pub calls: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { calls: 4096 }
    }
}

/// How a listener ends: its callers are told first, so that none of their calls fails.
#[derive(Debug, Clone)]
pub struct Ending {
    /// From now on answers say that the server goes away, and answers without end are ended.
    pub notice: CancellationToken,
    /// No more calls are taken, once the notice has been out for `grace`.
    pub end: CancellationToken,
    /// Longer than callers rely on an answer they have had: [`Ending::GRACE`]; zero where nobody would ask another instance.
    pub grace: Duration,
}

impl Ending {
    /// Every caller that relies on an old answer has had another one, or asks how the server is.
    pub const GRACE: Duration = Duration::from_millis(1500);

    /// Waits until no more calls are taken.
    async fn come(self) {
        tokio::select! {
            biased;
            () = self.notice.cancelled() => {
                tokio::time::sleep(self.grace).await;
                self.end.cancelled().await;
            }
            // Without notice nobody could have been told.
            () = self.end.cancelled() => {}
        }
    }
}

/// A bound listener.
pub struct Server {
    name: &'static str,
    acceptors: Vec<Acceptor>,
    addresses: Vec<SocketAddr>,
}

impl Server {
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

    /// Serves until its end has come and the calls that are running have ended.
    ///
    /// # Errors
    /// When a connection cannot be served at all; a caller's own failures only end that caller's connection.
    pub async fn serve(self, routes: Routes, guard: Guard, limits: Limits, ending: Ending) -> Result<()> {
        let gate = Gate {
            places: Arc::new(Semaphore::new(limits.calls)),
            admit: guard.admit,
            notice: ending.notice.clone(),
        };
        let serving = self.acceptors.into_iter().map(|acceptor| {
            tonic::transport::Server::builder()
                .http2_keepalive_interval(Some(PING_EVERY))
                .http2_keepalive_timeout(Some(PING_WAIT))
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(4 << 20)
                .layer(gate.clone())
                .add_routes(routes.clone())
                .serve_with_incoming_shutdown(
                    connections(acceptor, guard.door.clone()),
                    ending.clone().come(),
                )
        });
        let ended = futures::future::try_join_all(serving).await;
        ended
            .map(drop)
            .with_context(|| format!("the {} listener failed", self.name))
    }
}

/// The connections of a listener that have come through its door.
fn connections(mut acceptor: Acceptor, door: Door) -> ReceiverStream<std::io::Result<Wire>> {
    let (sender, connections) = mpsc::channel(WAITING);
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    tokio::spawn(async move {
        loop {
            let tcp: TcpStream = tokio::select! {
                () = sender.closed() => return,
                (tcp, _) = acceptor.accept() => tcp,
            };
            let _ = tcp.set_nodelay(true);
            if let Door::Plain = door {
                if sender.send(Ok(Wire::Plain(tcp))).await.is_err() {
                    return;
                }
                continue;
            }
            let Ok(place) = handshakes.clone().acquire_owned().await else {
                return;
            };
            let (sender, door) = (sender.clone(), door.clone());
            tokio::spawn(async move {
                match shake_hands(&door, tcp).await {
                    Ok(wire) => drop(sender.send(Ok(wire)).await),
                    Err(error) => tracing::debug!("a connection was not let in: {error:#}"),
                }
                drop(place);
            });
        }
    });
    ReceiverStream::new(connections)
}

async fn shake_hands(door: &Door, tcp: TcpStream) -> Result<Wire> {
    match door {
        Door::Plain => Ok(Wire::Plain(tcp)),
        Door::Tls(identity) => {
            let mut config = (*identity.server_config()).clone();
            config.alpn_protocols = vec![b"h2".to_vec()];
            tls::accept(config, tcp).await
        }
        Door::Mutual(mutual) => tls::accept(mutual.server_config()?, tcp).await,
    }
}

/// Lets so many calls in at once, turns the others away, keeps each one's deadline, and says when the server goes away.
#[derive(Clone)]
struct Gate {
    places: Arc<Semaphore>,
    admit: Option<Admit>,
    notice: CancellationToken,
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated {
            inner,
            gate: self.clone(),
        }
    }
}

#[derive(Clone)]
struct Gated<S> {
    inner: S,
    gate: Gate,
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + From<Infallible>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = Call::of(request.uri().path());
        let admitted = self
            .gate
            .admit
            .as_ref()
            .map_or(Ok(()), |admit| admit(request.headers()));
        if let Err(status) = admitted {
            return Box::pin(std::future::ready(Ok(status.into_http())));
        }
        let Ok(place) = self.gate.places.clone().try_acquire_owned() else {
            metrics::shed();
            let mut away = Status::unavailable("too many calls are at work here");
            away.metadata_mut()
                .insert(PUSHBACK, tonic::metadata::MetadataValue::from_static(COME_BACK));
            return Box::pin(std::future::ready(Ok(away.into_http())));
        };
        let notice = self.gate.notice.clone();
        if call.endless && notice.is_cancelled() {
            let mut gone = going_away().into_http();
            say_leaving(&mut gone);
            return Box::pin(std::future::ready(Ok(gone)));
        }
        metrics::served(call.path);
        let deadline = Deadline::of(request.headers()).unwrap_or_else(|| Deadline::after(call.deadline));
        let trace = Trace::of(request.headers());
        let inner = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, inner);
        Box::pin(async move {
            let answering = deadline.scope(ready.call(request));
            let answered = match trace {
                Some(trace) => {
                    let (span, _) = trace.span(|| tracing::info_span!("serve", call = call.path));
                    answering.instrument(span).await
                }
                None => answering.await,
            };
            drop(place);
            let mut response = answered?;
            if notice.is_cancelled() {
                say_leaving(&mut response);
            }
            Ok(match call.endless {
                true => response.map(|body| Body::new(Endless::new(body, notice))),
                false => response,
            })
        })
    }
}

fn going_away() -> Status {
    Status::unavailable("the server goes away")
}

fn say_leaving(response: &mut Response<Body>) {
    response
        .headers_mut()
        .insert(LEAVING, HeaderValue::from_static("1"));
}

/// An answer that would have no end: it ends when the server goes away.
struct Endless {
    inner: Body,
    notice: Pin<Box<WaitForCancellationFutureOwned>>,
    over: bool,
}

impl Endless {
    fn new(inner: Body, notice: CancellationToken) -> Self {
        Self {
            inner,
            notice: Box::pin(notice.cancelled_owned()),
            over: false,
        }
    }
}

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.notice.as_mut().poll(cx).is_pending() {
            return Pin::new(&mut self.inner).poll_frame(cx);
        }
        self.over = true;
        // Whatever it was made from is let go of now.
        self.inner = Body::empty();
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(
            going_away()
                .add_header(&mut trailers)
                .map(|()| Frame::trailers(trailers)),
        ))
    }
}
