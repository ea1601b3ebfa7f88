//! A connection with its buffers, as the driver needs it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures::future::BoxFuture;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::buffer;
use crate::drive::{FLUSH_AT, Port};
use crate::stream::{Stream, TlsFacts};
use crate::tls::{Identity, ServerStream};

/// How long a closing connection waits for the peer to close as well, so that the last reply is not lost to a reset.
const LINGER: Duration = Duration::from_secs(2);

/// The most bytes thrown away meanwhile.
const LINGER_BYTES: usize = 1 << 20;

/// What the driver does when the session asks for TLS.
#[derive(Clone)]
pub enum TlsRole {
    /// There is none; a session that asks for it loses its connection.
    None,
    /// Be the server, with the node's certificate as it is at that moment.
    Server(Arc<Identity>),
    /// Be the client, and verify (or not) as the configuration says.
    Client(Arc<rustls::ClientConfig>, ServerName<'static>),
}

/// Limits in time, and the TLS role; shared by all connections of one listener.
#[derive(Clone)]
pub struct Options {
    /// What to do when the session asks for TLS.
    pub tls: TlsRole,
    /// How long one flush may wait for a peer that does not read. Default: 5 minutes (RFC 5321 §4.5.3.2 allows 3 to 10).
    pub write_timeout: Duration,
    /// How long a TLS handshake may take. Default: 30 seconds.
    pub handshake_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: TlsRole::None,
            write_timeout: Duration::from_secs(300),
            handshake_timeout: Duration::from_secs(30),
        }
    }
}

/// A connection with its buffers.
pub struct Connection {
    /// `None` only while a handshake has taken it, and after one that failed.
    stream: Option<Stream>,
    input: BytesMut,
    output: BytesMut,
    options: Arc<Options>,
    peer_closed: bool,
}

impl Connection {
    /// A connection in the clear; [`Connection::start_tls`] may follow.
    pub fn new(tcp: TcpStream, options: Arc<Options>) -> Self {
        Self {
            stream: Some(Stream::Plain(tcp)),
            input: BytesMut::new(),
            output: BytesMut::new(),
            options,
            peer_closed: false,
        }
    }

    /// Throws away input that was read but not used, and performs the TLS handshake in the role of the options. TLS inside
    /// TLS is refused.
    pub async fn start_tls(&mut self) -> io::Result<()> {
        self.input.clear();
        let Some(Stream::Plain(tcp)) = self.stream.take() else {
            return Err(io::Error::other("already inside TLS"));
        };
        let options = self.options.clone();
        // Boxed: a handshake's state is large, and rare compared with the time the connection lives.
        let handshake = Box::pin(async move {
            io::Result::Ok(match &options.tls {
                TlsRole::None => return Err(io::Error::other("no TLS is configured here")),
                TlsRole::Server(identity) => Stream::Server(Box::new(
                    ServerStream::accept(identity.server_config(), tcp).await?,
                )),
                TlsRole::Client(config, name) => {
                    let connector = TlsConnector::from(config.clone());
                    Stream::Client(Box::new(connector.connect(name.clone(), tcp).await?))
                }
            })
        });
        self.stream = Some(timeout(self.options.handshake_timeout, handshake).await?);
        Ok(())
    }

    /// What TLS has agreed on; `None` in the clear.
    pub fn tls_facts(&self) -> Option<TlsFacts> {
        self.stream.as_ref().and_then(Stream::tls_facts)
    }

    /// Writes all output.
    pub async fn flush_output(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        timeout(self.options.write_timeout, stream.write_all(&mut self.output)).await
    }

    /// Input and output, with room in the output for a line or two.
    pub(crate) fn buffers(&mut self) -> (&mut BytesMut, &mut BytesMut) {
        if self.output.capacity() == 0 {
            self.output = buffer::take();
        }
        (&mut self.input, &mut self.output)
    }

    /// Whether the session has produced so much that it should be written before it goes on.
    pub(crate) fn wants_flush(&self) -> bool {
        self.output.len() >= FLUSH_AT
    }

    /// Bytes of input that wait to be used.
    pub(crate) fn buffered(&self) -> usize {
        self.input.len()
    }

    /// Whether the peer has said that it sends no more.
    pub(crate) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Gives empty buffers back to the pool.
    pub(crate) fn release_buffers(&mut self) {
        buffer::give_back(&mut self.input);
        buffer::give_back(&mut self.output);
        if let Some(stream) = &mut self.stream {
            stream.release_buffers();
        }
    }

    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.stream.as_mut() {
            Some(stream) => stream.poll_readable(cx),
            None => Poll::Ready(()),
        }
    }

    /// Reads what is there, without waiting, up to `max_buffered` bytes in the buffer; true when the peer has closed.
    pub(crate) async fn read(&mut self, max_buffered: usize) -> io::Result<bool> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        if self.input.is_empty() {
            buffer::give_back(&mut self.input);
            self.input = buffer::take();
        } else if self.input.capacity() - self.input.len() < buffer::SIZE / 4 {
            self.input.reserve(buffer::SIZE);
        }
        let limit = max_buffered.saturating_sub(self.input.len()).max(1);
        let input = &mut self.input;
        let read = poll_fn(|cx| match stream.poll_read(cx, input, limit) {
            // A false alarm; the caller waits again, without a buffer.
            Poll::Pending => Poll::Ready(Ok(None)),
            Poll::Ready(read) => Poll::Ready(read.map(Some)),
        });
        self.peer_closed = read.await? == Some(0);
        Ok(self.peer_closed)
    }

    /// Writes what is left and closes in an orderly way: FIN, then a bounded wait for the peer's own.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.flush_output().await?;
        let Some(stream) = self.stream.as_mut() else {
            return Ok(());
        };
        self.input.clear();
        let input = &mut self.input;
        let orderly = async {
            stream.shutdown().await?;
            let mut thrown_away = 0;
            while !self.peer_closed && thrown_away < LINGER_BYTES {
                poll_fn(|cx| stream.poll_readable(cx)).await;
                if input.capacity() == 0 {
                    *input = buffer::take();
                }
                input.clear();
                match poll_fn(|cx| stream.poll_read(cx, input, buffer::SIZE)).await? {
                    0 => break,
                    read => thrown_away += read,
                }
            }
            Ok(())
        };
        // The session is over: what goes wrong now concerns nobody.
        let _: io::Result<()> = timeout(LINGER, orderly).await;
        self.input.clear();
        self.release_buffers();
        Ok(())
    }
}

impl Port for Connection {
    fn output(&mut self) -> &mut BytesMut {
        self.buffers().1
    }

    fn flush(&mut self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.flush_output())
    }

    fn tls(&self) -> Option<TlsFacts> {
        self.tls_facts()
    }
}

async fn timeout<T>(time: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(time, work).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}
