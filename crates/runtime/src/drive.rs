//! Drives a sans-I/O session over a connection.
//!
//! An idle connection costs a task, the session and the socket: its buffers go back to a pool when they are empty.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures::future::BoxFuture;
use postrider_wire::{Session, Step};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::connection::Connection;
use crate::stream::TlsFacts;

/// Bytes of output after which a handler that produces a lot should flush.
pub const FLUSH_AT: usize = 64 * 1024;

/// How long a session may still wait for its own answers after the peer has gone.
const AFTER_PEER_CLOSED: Duration = Duration::from_secs(30);

/// What a gateway adds to a session: acting on its events.
///
/// The future of `event` is boxed by the driver, so that an idle connection's task stays small.
pub trait Handler<S: Session>: Send {
    /// Something outside the connection that the session should hear of while it waits for input.
    type Outside: Send;

    /// Acts on an event: calls services, gives the session its answer, and may append protocol output of any size
    /// with [`Port::output`] and [`Port::flush`]. The connection closes when this returns an error (the peer is gone).
    fn event(
        &mut self,
        session: &mut S,
        event: S::Event,
        port: &mut dyn Port,
    ) -> impl Future<Output = io::Result<()>> + Send;

    /// Waits for something outside. Must be cancel-safe; by default never ready. Polled only while the driver waits for
    /// input, or for an answer ([`Step::Waiting`]) that comes this way.
    fn outside(&mut self) -> impl Future<Output = Self::Outside> + Send {
        std::future::pending()
    }

    /// Acts on what `outside` brought. By default it is dropped.
    fn on_outside(
        &mut self,
        session: &mut S,
        outside: Self::Outside,
        port: &mut dyn Port,
    ) -> impl Future<Output = io::Result<()>> + Send {
        let _ = (session, outside, port);
        std::future::ready(Ok(()))
    }

    /// The node is shutting down: tell the session to end politely at the next safe place (421, BYE).
    fn drain(&mut self, session: &mut S);
}

/// The connection as a handler sees it: somewhere to write.
pub trait Port: Send {
    /// The output buffer. Append encoded protocol text; call `flush` when it has grown past [`FLUSH_AT`].
    fn output(&mut self) -> &mut BytesMut;

    /// Writes the output to the peer, waiting as long as the peer's window is full (bounded by the write time-out).
    fn flush(&mut self) -> BoxFuture<'_, io::Result<()>>;

    /// What TLS has agreed on; `None` in the clear (and in tests without a connection).
    fn tls(&self) -> Option<TlsFacts> {
        None
    }
}

/// Why a connection ended before its session did.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The TLS handshake failed, or the connection has no TLS to start.
    #[error("TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
    /// The connection broke, the peer did not read in time, or the handler gave up.
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    /// The session asked for more input than it allows itself: a defect on our side.
    #[error("session wants more than {0} buffered bytes")]
    Unbounded(usize),
}

/// What ended a wait.
enum Woken<O> {
    /// The peer sent something, or closed.
    Readable,
    /// The session's deadline is over.
    Deadline,
    /// The handler has something for the session.
    Outside(O),
    /// The node is shutting down.
    Drain,
}

/// Runs a session over a connection until the session closes it. The caller keeps session and handler, and may look at
/// both afterwards.
///
/// When `drain` is cancelled, [`Handler::drain`] is called once, at the next moment the session waits.
///
/// # Errors
/// When the connection ends in another way than the session's own. A peer that just closes is not an error: the session
/// hears `input_closed` and ends itself.
pub async fn drive<S, H>(
    connection: &mut Connection,
    session: &mut S,
    handler: &mut H,
    drain: &CancellationToken,
) -> Result<(), Error>
where
    S: Session + Send,
    S::Event: Send,
    H: Handler<S>,
{
    let cancelled = pin!(drain.cancelled());
    let mut drain = Drain {
        cancelled,
        seen: false,
    };
    loop {
        let (input, output) = connection.buffers();
        match session.step(Instant::now(), input, output) {
            Step::Event(event) => {
                Box::pin(handler.event(session, event, connection)).await?;
                tokio::task::coop::consume_budget().await;
            }
            Step::NeedInput if connection.peer_closed() => {
                return connection.close().await.map_err(Error::Lost);
            }
            Step::NeedInput if connection.buffered() >= S::MAX_BUFFERED => {
                return Err(Error::Unbounded(S::MAX_BUFFERED));
            }
            Step::NeedInput | Step::Waiting => {
                connection.flush_output().await?;
                match wait(connection, session.deadline(), handler, &mut drain).await {
                    Woken::Readable => {
                        if connection.read(S::MAX_BUFFERED).await? {
                            session.input_closed();
                        }
                    }
                    Woken::Deadline if connection.peer_closed() => return Ok(()),
                    Woken::Deadline => {}
                    Woken::Outside(outside) => {
                        Box::pin(handler.on_outside(session, outside, connection)).await?;
                    }
                    Woken::Drain => handler.drain(session),
                }
            }
            Step::StartTls => {
                connection.flush_output().await?;
                connection.start_tls().await.map_err(Error::Handshake)?;
                session.tls_started();
            }
            Step::Close => return connection.close().await.map_err(Error::Lost),
        }
        if connection.wants_flush() {
            connection.flush_output().await?;
        }
    }
}

/// The wait for the drain signal: registered once for the whole connection, not at every command.
struct Drain<'a, 'b> {
    cancelled: Pin<&'a mut WaitForCancellationFuture<'b>>,
    seen: bool,
}

/// Waits, holding no buffer that is empty, until there is something to do.
async fn wait<S, H>(
    connection: &mut Connection,
    deadline: Option<Instant>,
    handler: &mut H,
    drain: &mut Drain<'_, '_>,
) -> Woken<H::Outside>
where
    S: Session,
    H: Handler<S>,
{
    connection.release_buffers();
    let listens = !connection.peer_closed() && connection.buffered() < S::MAX_BUFFERED;
    let deadline = if connection.peer_closed() {
        Some(Instant::now() + AFTER_PEER_CLOSED)
    } else {
        deadline
    };
    let mut alarm = pin!(deadline.map(|at| tokio::time::sleep_until(at.into())));
    let mut outside = pin!(handler.outside());
    poll_fn(|cx| {
        if listens && connection.poll_readable(cx).is_ready() {
            return Poll::Ready(Woken::Readable);
        }
        if let Poll::Ready(outside) = outside.as_mut().poll(cx) {
            return Poll::Ready(Woken::Outside(outside));
        }
        if !drain.seen && drain.cancelled.as_mut().poll(cx).is_ready() {
            drain.seen = true;
            return Poll::Ready(Woken::Drain);
        }
        match alarm.as_mut().as_pin_mut().map(|alarm| alarm.poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Woken::Deadline),
            _ => Poll::Pending,
        }
    })
    .await
}
