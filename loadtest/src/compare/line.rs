//! A connection for a generator that shares its processors with the server: blocking, buffered, one copy, no parsing beyond lines.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use postrider_runtime::tls::opportunistic_client;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// How long an answer may take: the slowest work of a row is one command that reads 100,000 messages.
const ANSWER: Duration = Duration::from_secs(300);
/// How long a connection or a write may take.
const CONNECT: Duration = Duration::from_secs(30);
/// The first buffer; it grows to what a row needs.
const BUFFER: usize = 1024;
const LARGE_BUFFER: usize = 64 * 1024;
/// The longest line that is believed.
const LONGEST: usize = 16 << 20;

static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(opportunistic_client);

/// A connection that is read line by line. Every wait ends after [`ANSWER`].
pub struct Line {
    stream: Stream,
    buffer: Vec<u8>,
    /// What is buffered and not yet taken: `buffer[start..end]`.
    start: usize,
    end: usize,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Gone,
}

impl Line {
    /// Connects; nothing is read yet.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, CONNECT).with_context(|| address.to_string())?)
    }

    /// A connection that is there already.
    pub fn over(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(CONNECT))?;
        Ok(Self {
            stream: Stream::Plain(stream),
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
        })
    }

    /// TLS from here on (after the answer to STARTTLS). The certificate is not verified.
    pub fn start_tls(&mut self, address: SocketAddr) -> Result<()> {
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            bail!("TLS within TLS");
        };
        let name = ServerName::IpAddress(address.ip().into());
        let mut tls = StreamOwned::new(ClientConnection::new(Arc::clone(&TLS), name)?, stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock).context("TLS handshake")?;
        }
        self.stream = Stream::Tls(Box::new(tls));
        Ok(())
    }

    /// Breaks the connection from another thread, which wakes whoever reads from it.
    pub fn breaker(&self) -> Result<TcpStream> {
        match &self.stream {
            Stream::Plain(stream) => Ok(stream.try_clone()?),
            Stream::Tls(stream) => Ok(stream.sock.try_clone()?),
            Stream::Gone => bail!("the connection is gone"),
        }
    }

    /// Sends everything.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes)?,
            Stream::Tls(stream) => {
                stream.write_all(bytes)?;
                stream.flush()?;
            }
            Stream::Gone => bail!("the connection is gone"),
        }
        Ok(())
    }

    /// The next line without its line end.
    pub fn line(&mut self) -> Result<&[u8]> {
        let mut looked = self.start;
        let newline = loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[looked..self.end]) {
                break looked + at;
            }
            let seen = self.end - self.start;
            self.more()?;
            looked = self.start + seen;
        };
        let line = &self.buffer[self.start..newline];
        self.start = newline + 1;
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The next line, which must begin with `expected`.
    pub fn expect(&mut self, expected: &str) -> Result<&[u8]> {
        let line = self.line()?;
        if !line.starts_with(expected.as_bytes()) {
            bail!("expected {expected:?}, got {:?}", String::from_utf8_lossy(line));
        }
        Ok(line)
    }

    /// Takes `count` bytes and forgets them.
    pub fn skip(&mut self, count: usize) -> Result<()> {
        let mut left = count;
        loop {
            let taken = left.min(self.end - self.start);
            self.start += taken;
            left -= taken;
            if left == 0 {
                return Ok(());
            }
            self.more()?;
        }
    }

    /// Whether nothing is buffered that no line has taken.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn more(&mut self) -> Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            if self.end >= LONGEST {
                bail!("a line of more than {LONGEST} bytes");
            }
            self.buffer.resize((self.end * 2).max(BUFFER), 0);
        } else if self.end == 0 && self.buffer.len() > BUFFER && self.buffer.len() < LARGE_BUFFER {
            // It has grown once, so much is being read: few large reads.
            self.buffer.resize(LARGE_BUFFER, 0);
        }
        let space = &mut self.buffer[self.end..];
        let count = loop {
            let read = match &mut self.stream {
                Stream::Plain(stream) => stream.read(space),
                Stream::Tls(stream) => stream.read(space),
                Stream::Gone => bail!("the connection is gone"),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => bail!("no answer in time"),
                other => break other?,
            }
        };
        if count == 0 {
            bail!("the server closed the connection");
        }
        self.end += count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::thread;

    use super::Line;

    #[test]
    fn lines_of_every_length_arrive_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let lines: Vec<Vec<u8>> = (0..40).map(|power| vec![b'x'; power * power * 61]).collect();
        let sent = lines.clone();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            for line in sent {
                stream.write_all(&line).expect("sent");
                stream.write_all(b"\r\n").expect("sent");
            }
            stream.write_all(b"0123456789 rest\n").expect("sent");
        });
        let mut line = Line::connect(address).expect("connected");
        for expected in lines {
            assert_eq!(line.line().expect("a line"), expected);
        }
        line.skip(11).expect("skipped");
        assert!(
            line.expect("other")
                .is_err_and(|error| error.to_string().contains("rest"))
        );
        assert!(
            line.line()
                .is_err_and(|error| error.to_string().contains("closed"))
        );
        server.join().expect("served");
    }
}
