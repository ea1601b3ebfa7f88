//! The `ops` listener: `/livez`, `/readyz`, `/metrics`, for probes and scrapers. Plain HTTP, no secrets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Duration;

use crate::listen::{Acceptor, listen};

/// Probes and scrapers are few.
const CONNECTIONS: usize = 64;

/// A connection that asks nothing for so long is closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Which parts of the node are ready; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<Parts>>);

type Parts = Vec<(&'static str, Result<(), String>)>;

impl Readiness {
    /// Says how a part is; it stays so until it is said again.
    pub fn set(&self, part: &'static str, state: Result<(), String>) {
        let mut parts = self.0.lock();
        match parts.iter_mut().find(|(name, _)| *name == part) {
            Some((_, old)) => *old = state,
            None => parts.push((part, state)),
        }
    }

    /// Whether all parts are ready; what is not, a line each.
    pub fn check(&self) -> Result<(), String> {
        let parts = self.0.lock();
        let missing: Vec<_> = parts
            .iter()
            .filter_map(|(name, state)| state.as_ref().err().map(|why| format!("{name}: {why}")))
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(missing.join("\n"))
        }
    }
}

/// The bound `ops` listener.
pub struct Ops {
    acceptors: Vec<Acceptor>,
    addresses: Vec<SocketAddr>,
}

impl Ops {
    /// Binds all addresses, or none.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self> {
        let mut bound = Self {
            acceptors: Vec::new(),
            addresses: Vec::new(),
        };
        for address in addresses {
            let listener = listen(*address).with_context(|| format!("ops cannot listen on {address}"))?;
            bound.addresses.push(listener.local_addr()?);
            bound.acceptors.push(Acceptor::new(listener));
        }
        Ok(bound)
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Answers until it is dropped: probes want to see a node drain to its end.
    pub async fn serve(self, readiness: Readiness, metrics: impl Fn() -> String + Send + Sync + 'static) {
        let shared = Arc::new(Answers {
            readiness,
            metrics: Box::new(metrics),
        });
        let accepting = self
            .acceptors
            .into_iter()
            .map(|acceptor| shared.clone().accept_all(acceptor));
        futures::future::join_all(accepting).await;
    }
}

struct Answers {
    readiness: Readiness,
    metrics: Box<dyn Fn() -> String + Send + Sync>,
}

impl Answers {
    async fn accept_all(self: Arc<Self>, mut acceptor: Acceptor) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = tokio::task::JoinSet::new();
        while let Ok(place) = places.clone().acquire_owned().await {
            let (tcp, _) = acceptor.accept().await;
            while connections.try_join_next().is_some() {}
            let answers = self.clone();
            connections.spawn(async move {
                let _place = place;
                let service = service_fn(move |request| {
                    let answer = answers.answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
                // A scraper that goes away is no news.
                let _ = http.serve_connection(TokioIo::new(tcp), service).await;
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let reply = |status, text: String| {
            let mut response = Response::new(Full::new(Bytes::from(text)));
            *response.status_mut() = status;
            let kind = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
            response
        };
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return reply(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
        }
        match request.uri().path() {
            "/livez" => reply(StatusCode::OK, "alive\n".into()),
            "/readyz" => match self.readiness.check() {
                Ok(()) => reply(StatusCode::OK, "ready\n".into()),
                Err(missing) => reply(StatusCode::SERVICE_UNAVAILABLE, missing + "\n"),
            },
            "/metrics" => reply(StatusCode::OK, (self.metrics)()),
            _ => reply(StatusCode::NOT_FOUND, "try /livez, /readyz or /metrics\n".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn probes_and_scrapers_are_answered() {
        let ops = Ops::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
        let address = ops.addresses()[0];
        let readiness = Readiness::default();
        readiness.set("store", Err("still opening".into()));
        let served = tokio::spawn(ops.serve(readiness.clone(), || "postrider_up 1\n".into()));
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let answer = get(address, "/readyz").await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.ends_with("store: still opening\n"),
            "{answer}"
        );
        readiness.set("store", Ok(()));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/metrics").await.ends_with("postrider_up 1\n"));
        assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));
        served.abort();
    }
}
