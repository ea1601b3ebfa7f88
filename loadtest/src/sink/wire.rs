//! A connection's octets, at the pace the rules ask for.

use std::io;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// Octets read at once.
const READ: usize = 16 * 1024;

/// How long a peer may take to read an answer, or to shake hands.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a slow reader reads.
const TICKS_PER_SECOND: u64 = 10;

/// The receive buffer of a slow reader, in octets; the kernel makes it a little larger.
const SMALL_WINDOW: usize = 4096;

/// A connection.
pub(super) struct Wire {
    stream: Stream,
    tarpit: Option<Duration>,
    read_rate: Option<u64>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake has failed.
    Gone,
}

/// What waiting for input came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// There is more input, or it is time for the session's time-out.
    Go,
    /// The peer sends no more.
    Closed,
    /// The sink is stopping.
    Stopping,
}

impl Wire {
    /// A connection whose answers come with `tarpit` between two octets, and whose input is read at `read_rate` octets per second.
    pub(super) fn new(tcp: TcpStream, tarpit: Option<Duration>, read_rate: Option<u64>) -> Self {
        if read_rate.is_some() {
            // What the kernel takes in advance would hide the slow reader; where it cannot be told so, it is a little faster.
            let _ = SockRef::from(&tcp).set_recv_buffer_size(SMALL_WINDOW);
        }
        Self {
            stream: Stream::Plain(tcp),
            tarpit,
            read_rate,
        }
    }

    /// Waits for input until `deadline`.
    pub(super) async fn fill(
        &mut self,
        input: &mut BytesMut,
        deadline: Option<Instant>,
        stopping: Option<&CancellationToken>,
    ) -> Filled {
        let mut most = READ;
        if let Some(rate) = self.read_rate {
            sleep(Duration::from_millis(1000 / TICKS_PER_SECOND)).await;
            most = usize::try_from(rate.div_ceil(TICKS_PER_SECOND))
                .unwrap_or(READ)
                .min(READ);
        }
        // Without a deadline the session is not waiting for anything; no session waits for ever.
        let deadline = deadline.unwrap_or_else(|| Instant::now() + PATIENCE);
        let stopped = async {
            match stopping {
                Some(token) => token.cancelled().await,
                None => std::future::pending().await,
            }
        };
        input.reserve(most);
        let mut room = input.limit(most);
        let reading = async {
            match &mut self.stream {
                Stream::Plain(tcp) => tcp.read_buf(&mut room).await,
                Stream::Tls(tls) => tls.read_buf(&mut room).await,
                Stream::Gone => Ok(0),
            }
        };
        tokio::select! {
            biased;
            read = timeout_at(deadline.into(), reading) => match read {
                Ok(Ok(0) | Err(_)) => Filled::Closed,
                Ok(Ok(_)) | Err(_) => Filled::Go,
            },
            () = stopped => Filled::Stopping,
        }
    }

    /// Writes all of `output`, which is empty afterwards. An error means that the peer is gone, or does not read.
    pub(super) async fn flush(&mut self, output: &mut BytesMut) -> io::Result<()> {
        if output.is_empty() {
            return Ok(());
        }
        let pause = self.tarpit.unwrap_or_default();
        let step = if pause.is_zero() { output.len() } else { 1 };
        for (index, piece) in output.chunks(step.max(1)).enumerate() {
            if index > 0 {
                sleep(pause).await;
            }
            timeout(PATIENCE, self.stream.write(piece)).await??;
        }
        output.clear();
        Ok(())
    }

    /// Shakes hands.
    pub(super) async fn start_tls(&mut self, acceptor: &TlsAcceptor) -> io::Result<()> {
        let Stream::Plain(tcp) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let tls = Box::pin(timeout(PATIENCE, acceptor.accept(tcp))).await??;
        self.stream = Stream::Tls(Box::new(tls));
        Ok(())
    }

    /// Ends the connection in good order.
    pub(super) async fn close(mut self) {
        let closing = async {
            match &mut self.stream {
                Stream::Plain(tcp) => tcp.shutdown().await,
                Stream::Tls(tls) => tls.shutdown().await,
                Stream::Gone => Ok(()),
            }
        };
        // The peer has its last answer; whether it still listens is its affair.
        let _ = timeout(PATIENCE, closing).await;
    }

    /// Ends the connection in disorder: what was not acknowledged is lost, the peer gets a reset.
    pub(super) fn vanish(self) {
        let tcp = match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
            Stream::Gone => return,
        };
        reset_on_close(tcp);
    }
}

impl Stream {
    async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.write_all(piece).await,
            Self::Tls(tls) => {
                tls.write_all(piece).await?;
                tls.flush().await
            }
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// Has a connection end with a reset when it is closed.
pub(super) fn reset_on_close(tcp: &TcpStream) {
    // If it cannot be set the peer sees an orderly end: no answer either way.
    let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}
