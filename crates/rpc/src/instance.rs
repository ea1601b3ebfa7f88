//! One instance of a service: its connection, and whether it answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::fault::NotConnected;
use crate::tls::{Mutual, Wire};

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(2);

/// How often a connection is asked whether the other end is there, and how long the answer may take. A process that
/// stands still is found within the sum of both.
const PING_EVERY: Duration = Duration::from_secs(2);
const PING_WAIT: Duration = Duration::from_secs(2);

/// How long an instance that is left out may take to say that it is well.
const PROBE: Duration = Duration::from_secs(1);

/// For so long an instance that has answered is taken to answer.
const FRESH: Duration = Duration::from_secs(1);

/// The pause before the first such question, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One instance. Calls go over one HTTP/2 connection, which is made when it is first needed and again when it is lost.
pub(crate) struct Instance {
    pub address: SocketAddr,
    pub channel: Channel,
    busy: AtomicUsize,
    /// Left out until a probe says otherwise.
    out: AtomicBool,
    /// Being asked whether it is well.
    suspected: AtomicBool,
    /// When it last answered.
    answered: Mutex<Option<Instant>>,
    service: String,
}

/// A call that an instance is busy with.
pub(crate) struct Busy(Arc<Instance>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Instance {
    /// An instance at an address; `host` is the name its certificate must bear.
    pub(crate) fn new(
        service: &str,
        host: &str,
        address: SocketAddr,
        mutual: Option<&Arc<Mutual>>,
    ) -> Arc<Self> {
        let (host, mutual) = (host.to_owned(), mutual.cloned());
        let connector = tower::service_fn(move |_: http::Uri| {
            let (host, mutual) = (host.clone(), mutual.clone());
            async move {
                let connecting = connect(address, &host, mutual.as_deref());
                match tokio::time::timeout(CONNECT, connecting).await {
                    Ok(connected) => connected.map(TokioIo::new),
                    Err(_) => Err(NotConnected(format!("no connection within {CONNECT:?}"))),
                }
            }
        });
        // The scheme is the transport's business above; towards HTTP/2 it only fills `:scheme`.
        let endpoint = Endpoint::from(uri(address))
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_WAIT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20);
        Arc::new(Self {
            address,
            channel: endpoint.connect_with_connector_lazy(connector),
            busy: AtomicUsize::new(0),
            out: AtomicBool::new(false),
            suspected: AtomicBool::new(false),
            answered: Mutex::new(None),
            service: service.to_owned(),
        })
    }

    /// Calls it is busy with.
    pub(crate) fn load(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Counts a call until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Whether it is asked first.
    pub(crate) fn is_in(&self) -> bool {
        !self.out.load(Ordering::Relaxed)
    }

    /// A call was not answered in its time, which may have been short: leaves the instance out unless it says that it is well.
    pub(crate) fn suspect(self: &Arc<Self>) {
        if self.suspected.swap(true, Ordering::Relaxed) {
            return;
        }
        let instance = self.clone();
        tokio::spawn(async move {
            instance.answers_now("no answer in time").await;
            instance.suspected.store(false, Ordering::Relaxed);
        });
    }

    /// Leaves it out until it says that it is well; it is asked for that in growing pauses.
    pub(crate) fn leave_out(self: &Arc<Self>, why: &str) {
        if self.out.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(service = %self.service, instance = %self.address, "left out: {why}");
        self.probe();
    }

    /// It says that it is about to end: nothing more is asked of it until it is back.
    pub(crate) fn leaves(self: &Arc<Self>) {
        if !self.out.swap(true, Ordering::Relaxed) {
            tracing::info!(service = %self.service, instance = %self.address, "goes away");
            self.probe();
        }
    }

    fn probe(self: &Arc<Self>) {
        let instance = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                tokio::time::sleep(pause).await;
                // Nobody knows the instance any more: it has left the service.
                let Some(instance) = instance.upgrade() else {
                    return;
                };
                if instance.is_in() {
                    return;
                }
                if instance.is_well().await {
                    return instance.comes_back();
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }

    /// It is well: it is asked again.
    pub(crate) fn comes_back(&self) {
        if self.out.swap(false, Ordering::Relaxed) {
            tracing::info!(service = %self.service, instance = %self.address, "answers again");
        }
    }

    /// It has answered a call.
    pub(crate) fn has_answered(&self) {
        *self.answered.lock() = Some(Instant::now());
    }

    /// Whether it answers: it did a moment ago, or it does now.
    pub(crate) async fn answers(self: &Arc<Self>) -> bool {
        let last = *self.answered.lock();
        if self.is_in() && last.is_some_and(|last| last.elapsed() < FRESH) {
            return true;
        }
        self.answers_now("does not answer").await
    }

    /// Whether it says that it is well; leaves it out, for that reason, if not.
    pub(crate) async fn answers_now(self: &Arc<Self>, why: &str) -> bool {
        let well = self.is_well().await;
        match well {
            true => self.has_answered(),
            false => self.leave_out(why),
        }
        well
    }

    async fn is_well(&self) -> bool {
        let mut health = HealthClient::new(self.channel.clone());
        let asked = health.check(HealthCheckRequest::default());
        match tokio::time::timeout(PROBE, asked).await {
            Ok(Ok(answer)) => answer.get_ref().status == ServingStatus::Serving as i32,
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

fn uri(address: SocketAddr) -> http::Uri {
    let text = format!("http://{address}");
    // An address and a scheme are always a URI.
    text.parse().unwrap_or_default()
}

async fn connect(address: SocketAddr, host: &str, mutual: Option<&Mutual>) -> Result<Wire, NotConnected> {
    let said = |error: &dyn std::fmt::Display| NotConnected(error.to_string());
    let tcp = TcpStream::connect(address).await.map_err(|error| said(&error))?;
    tcp.set_nodelay(true).map_err(|error| said(&error))?;
    match mutual {
        None => Ok(Wire::Plain(tcp)),
        Some(mutual) => mutual
            .connect(host, tcp)
            .await
            .map_err(|error| NotConnected(format!("{error:#}"))),
    }
}
