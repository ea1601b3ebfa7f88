//! Listening, and not listening.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use postrider_runtime::listen::{Acceptor, listen};
use postrider_smtp::{Enhanced, Reply};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::Shared;
use super::record::count;
use super::visit::Visit;
use super::wire::{Wire, reset_on_close};

/// How often a listener looks whether it is to be there.
const LOOK: Duration = Duration::from_millis(100);

/// An address to listen on.
pub(super) struct Listener {
    address: SocketAddr,
    acceptor: Option<Acceptor>,
}

/// A client that is counted as long as this lives.
struct Guest {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Listener {
    pub(super) fn open(address: SocketAddr) -> io::Result<Self> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
        let listener = listen(address).map_err(named)?;
        Ok(Self {
            address: listener.local_addr()?,
            acceptor: Some(Acceptor::new(listener)),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the sink stops.
    pub(super) async fn serve(mut self, shared: Arc<Shared>, visits: TaskTracker, room: Arc<Semaphore>) {
        let stop = shared.stop.clone();
        let mut look = tokio::time::interval(LOOK);
        let comes_and_goes = shared.plan.ever_closes();
        loop {
            let accepted = async {
                // No permit is ever taken back by closing the semaphore.
                let permit = room.clone().acquire_owned().await.ok();
                match &mut self.acceptor {
                    Some(acceptor) => (acceptor.accept().await, permit),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick(), if comes_and_goes => self.come_or_go(&shared),
                ((tcp, client), permit) = accepted => {
                    let (shared, listener) = (shared.clone(), self.address);
                    visits.spawn(async move {
                        let abort = shared.abort.clone();
                        abort.run_until_cancelled(receive(shared, listener, tcp, client)).await;
                        drop(permit);
                    });
                }
            }
        }
    }

    /// Closes or opens the socket, as the rules say.
    fn come_or_go(&mut self, shared: &Shared) {
        if shared.plan.is_closed(self.address) {
            self.acceptor = None;
        } else if self.acceptor.is_none() {
            match listen(self.address) {
                Ok(listener) => self.acceptor = Some(Acceptor::new(listener)),
                Err(error) => tracing::error!("cannot listen on {} again: {error}", self.address),
            }
        }
    }
}

/// Receives a client as the rules say.
async fn receive(shared: Arc<Shared>, listener: SocketAddr, tcp: TcpStream, client: SocketAddr) {
    let mut dice = shared.plan.dice(count(&shared.counters.connections, 1));
    let manner = shared.plan.manner(listener, &mut dice);
    if manner.reset {
        return reset_on_close(&tcp);
    }
    let (guest, guests) = Guest::arrive(shared.clone(), client.ip());
    let mut wire = Wire::new(tcp, manner.tarpit, manner.read_rate);
    if manner.most_connections.is_some_and(|most| guests > most) {
        let mut output = BytesMut::new();
        let busy = Reply::new(
            421,
            Enhanced(4, 7, 0),
            "Too many concurrent SMTP connections from you; try again later",
        );
        busy.encode(false, &mut output);
        count(&shared.counters.deferred, 1);
        // It is told why, or it is gone.
        let _ = wire.flush(&mut output).await;
        return wire.close().await;
    }
    let visit = Visit::new(shared, listener, client, manner, dice);
    visit.play(wire).await;
    drop(guest);
}

impl Guest {
    /// Counts a client; how many there are of its address, itself included.
    fn arrive(shared: Arc<Shared>, address: IpAddr) -> (Self, u32) {
        let guests = {
            let mut clients = shared.clients.lock();
            let guests = clients.entry(address).or_default();
            *guests += 1;
            *guests
        };
        (Self { shared, address }, guests)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut clients = self.shared.clients.lock();
        if let Some(guests) = clients.get_mut(&self.address) {
            *guests -= 1;
            if *guests == 0 {
                clients.remove(&self.address);
            }
        }
    }
}
