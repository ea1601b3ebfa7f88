//! A session, its socket and its buffers.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{BufMut, BytesMut};
use postrider_runtime::buffer;
use postrider_runtime::tls::opportunistic_client;
use postrider_wire::{Session, Step};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::io::poll_read_buf;

use super::{Failure, Patience};

/// Output that is written before the session goes on.
const FLUSH_AT: usize = 64 * 1024;

/// Shared by all connections, and with it the memory of TLS sessions to resume.
static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(opportunistic_client);

/// A client half on its connection.
pub(super) struct Link<S> {
    pub(super) session: S,
    stream: Stream,
    input: BytesMut,
    output: BytesMut,
    closed: bool,
    patience: Patience,
    peer: SocketAddr,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake has failed.
    Gone,
}

impl<S: Session> Link<S> {
    /// Connects; nothing is read yet.
    pub(super) async fn connect(peer: SocketAddr, session: S, patience: Patience) -> Result<Self, Failure> {
        let connecting = tokio::time::timeout(patience.connect, TcpStream::connect(peer));
        let tcp = match connecting.await {
            Err(_) => return Err(Failure::broken("no connection in time")),
            Ok(Err(error)) => return Err(Failure::Broken(format!("cannot connect: {error}").into())),
            Ok(Ok(tcp)) => tcp,
        };
        // Small commands are latency: Nagle would hold them back until the last answer is acknowledged.
        let _ = tcp.set_nodelay(true);
        Ok(Self {
            session,
            stream: Stream::Plain(tcp),
            input: BytesMut::new(),
            output: BytesMut::new(),
            closed: false,
            patience,
            peer,
        })
    }

    /// The next event, waiting as long as for an answer to a command.
    pub(super) async fn answer(&mut self) -> Result<S::Event, Failure> {
        self.event(Instant::now() + self.patience.answer).await
    }

    /// The next event, until a moment (and no longer than the session itself waits).
    pub(super) async fn event(&mut self, until: Instant) -> Result<S::Event, Failure> {
        let event = self.event_before(until).await?;
        event.ok_or(Failure::broken("no answer in time"))
    }

    /// The next event; `None` when none comes before a moment.
    ///
    /// May be dropped while it waits for input: nothing is lost but the wait.
    pub(super) async fn event_before(&mut self, until: Instant) -> Result<Option<S::Event>, Failure> {
        loop {
            if self.output.len() >= FLUSH_AT {
                self.flush().await;
            } else if self.output.capacity() == 0 {
                self.output = buffer::take();
            }
            match self
                .session
                .step(Instant::now(), &mut self.input, &mut self.output)
            {
                Step::Event(event) => return Ok(Some(event)),
                Step::Close => {
                    self.flush().await;
                    return Err(Failure::broken("the connection was lost"));
                }
                Step::StartTls => self.start_tls().await?,
                Step::NeedInput | Step::Waiting => {
                    if self.closed {
                        return Err(Failure::broken("the connection was lost"));
                    }
                    if self.input.len() >= S::MAX_BUFFERED {
                        return Err(Failure::broken("the server sent more than was asked for"));
                    }
                    self.flush().await;
                    buffer::give_back(&mut self.output);
                    if !self.wait(until).await {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Does the TLS handshake that the session has been told may come, before it is given anything to say.
    pub(super) async fn upgrade(&mut self) -> Result<(), Failure> {
        let Self {
            session,
            input,
            output,
            ..
        } = self;
        match session.step(Instant::now(), input, output) {
            Step::StartTls => self.start_tls().await,
            _ => Err(Failure::broken("STARTTLS was not what was answered")),
        }
    }

    /// The session, and where its commands go.
    pub(super) fn parts(&mut self) -> (&mut S, &mut BytesMut) {
        if self.output.capacity() == 0 {
            self.output = buffer::take();
        }
        (&mut self.session, &mut self.output)
    }

    /// Gives empty buffers back.
    pub(super) fn release(&mut self) {
        buffer::give_back(&mut self.input);
        buffer::give_back(&mut self.output);
    }

    /// Whether nothing has come, not even the end, since the last event.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        !self.closed && self.input.is_empty() && self.stream.poll_readable(&mut cx).is_pending()
    }

    /// Waits for something to read, and reads it; false when the time is over first.
    async fn wait(&mut self, until: Instant) -> bool {
        if self.closed {
            return true;
        }
        let own = self.session.deadline();
        let earliest = own.map_or(until, |own| own.min(until));
        match timeout_at(earliest.into(), self.read()).await {
            Ok(Ok(())) => true,
            Ok(Err(_)) => {
                self.end();
                true
            }
            // The session acts on its own time-out by itself.
            Err(_) => own.is_some_and(|own| own <= Instant::now()),
        }
    }

    /// Reads what is there once something is; an error or the end of the input is `Err`.
    async fn read(&mut self) -> io::Result<()> {
        let Self { stream, input, .. } = self;
        poll_fn(|cx| {
            loop {
                // Without a buffer until there is something to put into it.
                if stream.poll_readable(cx).is_pending() {
                    buffer::give_back(input);
                    return Poll::Pending;
                }
                if input.capacity() == 0 {
                    *input = buffer::take();
                } else if input.capacity() - input.len() < buffer::SIZE / 4 {
                    input.reserve(buffer::SIZE);
                }
                match stream.poll_read(cx, input) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    Poll::Ready(result) => return Poll::Ready(result.map(drop)),
                }
            }
        })
        .await
    }

    /// Writes everything; a peer that does not take it counts as gone, and the session hears so.
    async fn flush(&mut self) {
        if self.output.is_empty() || self.closed {
            self.output.clear();
            return;
        }
        let Self { stream, output, .. } = self;
        let writing = poll_fn(|cx| stream.poll_write_all(cx, output));
        let until = Instant::now() + self.patience.answer;
        if !matches!(timeout_at(until.into(), writing).await, Ok(Ok(()))) {
            self.end();
        }
    }

    fn end(&mut self) {
        self.output.clear();
        self.closed = true;
        self.session.input_closed();
    }

    async fn start_tls(&mut self) -> Result<(), Failure> {
        self.flush().await;
        // What came in the clear behind the answer is not the server's word (CVE-2011-0411).
        self.input.clear();
        let Stream::Plain(tcp) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(Failure::broken("TLS inside TLS"));
        };
        let name = ServerName::from(self.peer.ip());
        let handshake = Box::pin(TlsConnector::from(TLS.clone()).connect(name, tcp));
        match tokio::time::timeout(self.patience.connect, handshake).await {
            Err(_) => Err(Failure::broken("no TLS handshake in time")),
            Ok(Err(error)) => Err(Failure::Broken(format!("TLS handshake: {error}").into())),
            Ok(Ok(tls)) => {
                self.stream = Stream::Tls(Box::new(tls));
                self.session.tls_started();
                Ok(())
            }
        }
    }
}

impl<S> std::fmt::Debug for Link<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("peer", &self.peer)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl Stream {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(tcp) => tcp.poll_read_ready(cx).map(drop),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_fill_buf(cx).map(drop),
            Self::Gone => Poll::Ready(()),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, data: &mut BytesMut) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => poll_read_buf(Pin::new(tcp), cx, &mut data.limit(4 * buffer::SIZE)),
            Self::Tls(tls) => poll_read_buf(Pin::new(tls.as_mut()), cx, &mut data.limit(4 * buffer::SIZE)),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>, data: &mut BytesMut) -> Poll<io::Result<()>> {
        while !data.is_empty() {
            let written = match self {
                Self::Plain(tcp) => ready!(Pin::new(tcp).poll_write(cx, data))?,
                Self::Tls(tls) => ready!(Pin::new(tls.as_mut()).poll_write(cx, data))?,
                Self::Gone => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            bytes::Buf::advance(data, written);
        }
        match self {
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
            Self::Plain(_) | Self::Gone => Poll::Ready(Ok(())),
        }
    }
}
