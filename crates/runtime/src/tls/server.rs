//! The server's end of TLS, without buffers of its own while nothing is under way.
//!
//! rustls' buffered connections keep 4 KiB for what may come in, for as long as they live. Over its unbuffered interface the
//! buffers are ours: they come from the pool and go back to it, so that an idle connection costs its keys and little more.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError};
use rustls::{CommonState, ServerConfig};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use crate::buffer;

/// The largest piece of plaintext in one record (RFC 8446 §5.1).
const FRAGMENT: usize = 16 * 1024;

/// What a record may add to its plaintext: header, content type, padding of old ciphers, tag.
const OVERHEAD: usize = 512;

/// The largest record, and then some: more than this without a whole record is an attack.
const LONGEST_RECORD: usize = FRAGMENT + 2 * OVERHEAD;

/// A TLS connection as its server sees it.
pub(crate) struct ServerStream {
    tcp: TcpStream,
    session: UnbufferedServerConnection,
    /// Records that are not whole yet.
    incoming: BytesMut,
    /// Records that are not written yet.
    outgoing: BytesMut,
    /// Plaintext that nobody has taken yet; at most what was in `incoming`.
    plaintext: BytesMut,
    /// The peer has said, or shown, that it sends no more.
    ended: bool,
    /// We have said so.
    closing: bool,
}

impl ServerStream {
    /// Performs the handshake.
    pub(crate) async fn accept(config: Arc<ServerConfig>, tcp: TcpStream) -> io::Result<Self> {
        let mut stream = Self {
            tcp,
            session: UnbufferedServerConnection::new(config).map_err(broken)?,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            plaintext: BytesMut::new(),
            ended: false,
            closing: false,
        };
        std::future::poll_fn(|cx| stream.poll_handshake(cx)).await?;
        stream.release_buffers();
        Ok(stream)
    }

    /// What was agreed on.
    pub(crate) fn state(&self) -> &CommonState {
        &self.session
    }

    /// Gives empty buffers back to the pool.
    pub(crate) fn release_buffers(&mut self) {
        for buffer in [&mut self.incoming, &mut self.outgoing, &mut self.plaintext] {
            buffer::give_back(buffer);
        }
    }

    /// Ready when a read would bring bytes, the end, an error, or nothing after all.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Tickets and key updates have nobody else who would send them.
        let sent = self.poll_flush(cx);
        if !self.plaintext.is_empty() || self.ended || matches!(sent, Poll::Ready(Err(_))) {
            return Poll::Ready(());
        }
        self.tcp.poll_read_ready(cx).map(drop)
    }

    /// Reads at most `limit` bytes to the end of `buffer`; 0 at the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            self.process()?;
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Err(error));
            }
            if !self.plaintext.is_empty() {
                let taken = limit.min(self.plaintext.len());
                buffer.extend_from_slice(&self.plaintext.split_to(taken));
                return Poll::Ready(Ok(taken));
            }
            if self.ended {
                return Poll::Ready(Ok(0));
            }
            ready!(self.poll_fill(cx))?;
        }
    }

    /// Encrypts as much of `data` as goes into one record; [`ServerStream::poll_flush`] sends it.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        self.process()?;
        let piece = data.get(..FRAGMENT).unwrap_or(data);
        let status = self.session.process_tls_records(&mut self.incoming);
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        append(&mut self.outgoing, piece.len() + OVERHEAD, |room| {
            traffic.encrypt(piece, room).map_err(needs)
        })?;
        Poll::Ready(Ok(piece.len()))
    }

    /// Sends what is encrypted.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.outgoing))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Says close_notify, once, and then FIN.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            self.closing = true;
            self.process()?;
            let status = self.session.process_tls_records(&mut self.incoming);
            if let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state {
                append(&mut self.outgoing, OVERHEAD, |room| {
                    traffic.queue_close_notify(room).map_err(needs)
                })?;
            }
        }
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let processed = self.process();
            // An alert that says what was wrong with the peer's handshake is worth a try, not a wait.
            let flushed = self.poll_flush(cx);
            processed?;
            ready!(flushed)?;
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            ready!(self.poll_fill(cx))?;
        }
    }

    /// Reads from the peer what is there, up to a whole record.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let room = LONGEST_RECORD.saturating_sub(self.incoming.len());
        if room == 0 {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a record that does not end",
            )));
        }
        if self.incoming.capacity() == 0 {
            self.incoming = buffer::take();
        }
        self.incoming.reserve(room);
        let read = poll_read_buf(Pin::new(&mut self.tcp), cx, &mut (&mut self.incoming).limit(room));
        if self.incoming.is_empty() {
            buffer::give_back(&mut self.incoming);
        }
        // Gone without close_notify. Commands and messages bear their own ends, so nothing can be cut unseen.
        self.ended |= ready!(read)? == 0;
        Poll::Ready(Ok(()))
    }

    /// Lets the session work on every whole record: plaintext and records to send are collected.
    fn process(&mut self) -> io::Result<()> {
        loop {
            let status = self.session.process_tls_records(&mut self.incoming);
            let discard = status.discard;
            let more = match status.state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        self.plaintext.extend_from_slice(record.map_err(broken)?.payload);
                    }
                    true
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut self.outgoing, OVERHEAD, |room| {
                        data.encode(room).map_err(|error| match error {
                            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
                                Some(required_size)
                            }
                            EncodeError::AlreadyEncoded => None,
                        })
                    })?;
                    true
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    // It is in `outgoing`, which is sent before anything is waited for.
                    data.done();
                    true
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.ended = true;
                    false
                }
                Ok(_) => false,
                Err(error) => {
                    self.incoming.advance(discard.min(self.incoming.len()));
                    self.collect_alert();
                    return Err(broken(error));
                }
            };
            self.incoming.advance(discard.min(self.incoming.len()));
            if !more {
                return Ok(());
            }
        }
    }

    /// What the session would still like to tell a peer that has broken the protocol.
    fn collect_alert(&mut self) {
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = self.session.process_tls_records(&mut []).state
        {
            // Courtesy; the connection ends either way.
            let _ = append(&mut self.outgoing, OVERHEAD, |room| {
                data.encode(room).map_err(|_| None)
            });
        }
    }
}

/// Appends what `encode` writes. It says how much room it needs where there is too little, or `None` where it cannot.
fn append(
    out: &mut BytesMut,
    guess: usize,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> io::Result<()> {
    if out.capacity() == 0 {
        *out = buffer::take();
    }
    let start = out.len();
    let mut size = guess;
    loop {
        out.resize(start + size, 0);
        let written = encode(out.get_mut(start..).unwrap_or_default());
        out.truncate(start + *written.as_ref().unwrap_or(&0));
        match written {
            Ok(_) => return Ok(()),
            Err(Some(needed)) if needed > size => size = needed,
            Err(_) => return Err(io::Error::other("TLS cannot encrypt any more")),
        }
    }
}

fn needs(error: EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => Some(required_size),
        EncryptError::EncryptExhausted => None,
    }
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
