//! Drives a sans-I/O session over a connection.
//!
//! An idle connection costs a task, the session and the socket: its buffers go back to a pool when they are empty.

use std::future::Future;

use bytes::BytesMut;
use postrider_wire::Session;

/// What a gateway adds to a session: acting on its events.
///
/// The future of `event` is boxed by the driver, so that an idle connection's task stays small.
pub trait Handler<S: Session>: Send {
    /// Something outside the connection that the session should hear of while it waits for input.
    type Outside: Send;

    /// Acts on an event: calls services, gives the session its answer, and may append protocol output of any size
    /// with [`Port::output`] and [`Port::flush`]. The connection closes when this returns an error (the peer is gone).
    fn event(
        &mut self, session: &mut S, event: S::Event, port: &mut dyn Port,
    ) -> impl Future<Output = std::io::Result<()>> + Send;

    /// Waits for something outside. Must be cancel-safe; by default never ready. Polled only while the driver waits for input.
    fn outside(&mut self) -> impl Future<Output = Self::Outside> + Send;

    /// Acts on what `outside` brought.
    fn on_outside(
        &mut self, session: &mut S, outside: Self::Outside, port: &mut dyn Port,
    ) -> impl Future<Output = std::io::Result<()>> + Send;

    /// The node is shutting down: tell the session to end politely at the next safe place (421, BYE).
    fn drain(&mut self, session: &mut S);
}

/// The connection as a handler sees it: somewhere to write.
pub trait Port: Send {
    /// The output buffer. Append encoded protocol text; call `flush` when it has grown past [`FLUSH_AT`].
    fn output(&mut self) -> &mut BytesMut;

    /// Writes the output to the peer, waiting as long as the peer's window is full (bounded by the write time-out).
    fn flush(&mut self) -> futures::future::BoxFuture<'_, std::io::Result<()>>;
}

/// Bytes of output after which a handler that produces a lot should flush.
pub const FLUSH_AT: usize = 64 * 1024;
