//! A TCP connection, plain or inside TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use rustls::CommonState;
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::io::poll_read_buf;

use crate::tls::ServerStream;

/// What the session has agreed on with its peer's TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The cipher suite's IANA name, as in `TLS_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
}

/// A TCP connection, plain or inside TLS.
pub(crate) enum Stream {
    /// In the clear.
    Plain(TcpStream),
    /// Inside TLS, and we are the server.
    Server(Box<ServerStream>),
    /// Inside TLS, and we are the client.
    Client(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// What TLS has agreed on; `None` in the clear.
    pub(crate) fn tls_facts(&self) -> Option<TlsFacts> {
        let state: &CommonState = match self {
            Stream::Plain(_) => return None,
            Stream::Server(tls) => tls.state(),
            Stream::Client(tls) => tls.get_ref().1,
        };
        let version = match state.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let cipher = state
            .negotiated_cipher_suite()?
            .suite()
            .as_str()
            .unwrap_or("unknown");
        // rustls names the suites of TLS 1.3 apart from those of 1.2; IANA does not.
        let cipher = match cipher {
            "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
            "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
            "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
            other => other,
        };
        Some(TlsFacts { version, cipher })
    }

    /// Gives up buffers that hold nothing.
    pub(crate) fn release_buffers(&mut self) {
        if let Stream::Server(tls) = self {
            tls.release_buffers();
        }
    }

    /// Ready when a read would bring bytes, the end, or an error. Needs no buffer, so that waiting costs none.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Stream::Plain(tcp) => tcp.poll_read_ready(cx).map(drop),
            Stream::Server(tls) => tls.poll_readable(cx),
            Stream::Client(tls) => Pin::new(tls.as_mut()).poll_fill_buf(cx).map(drop),
        }
    }

    /// Reads at most `limit` bytes to the end of `buffer`; 0 at the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let read = match self {
            Stream::Plain(tcp) => ready!(poll_read_buf(Pin::new(tcp), cx, &mut buffer.limit(limit))),
            Stream::Server(tls) => ready!(tls.poll_read(cx, buffer, limit)),
            Stream::Client(tls) => ready!(poll_read_buf(
                Pin::new(tls.as_mut()),
                cx,
                &mut buffer.limit(limit)
            )),
        };
        Poll::Ready(match read {
            // Gone without close_notify. Commands and messages bear their own ends, so nothing can be cut unseen.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            other => other,
        })
    }

    /// Writes all of `data`, which is emptied as far as was written.
    pub(crate) async fn write_all(&mut self, data: &mut impl bytes::Buf) -> io::Result<()> {
        std::future::poll_fn(|cx| {
            while data.has_remaining() {
                let written = ready!(self.poll_write(cx, data.chunk()))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                data.advance(written);
            }
            match self {
                Stream::Plain(_) => Poll::Ready(Ok(())),
                Stream::Server(tls) => tls.poll_flush(cx),
                Stream::Client(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
            }
        })
        .await
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, data),
            Stream::Server(tls) => tls.poll_write(cx, data),
            Stream::Client(tls) => Pin::new(tls.as_mut()).poll_write(cx, data),
        }
    }

    /// Says that nothing more will be written (close_notify, FIN).
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| match self {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Server(tls) => tls.poll_shutdown(cx),
            Stream::Client(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        })
        .await
    }
}
