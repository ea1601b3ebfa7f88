//! Where outbound mail ends: takes everything, keeps nothing, counts. As lean as the clients, for the same reason.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, Result};

use super::line::Line;

/// Threads need little: a session calls a few functions deep.
const STACK: usize = 128 * 1024;
/// Connections at once; the one after that is closed.
const CONNECTIONS: u64 = 4000;

/// A listening sink; it ends when dropped, sessions when their peers close.
pub struct Sink {
    shared: Arc<Shared>,
    address: SocketAddr,
}

#[derive(Default)]
struct Shared {
    messages: AtomicU64,
    connections: AtomicU64,
    closed: AtomicBool,
}

impl Sink {
    /// Listens at once.
    pub fn listen(address: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind(address).with_context(|| format!("the sink cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::Builder::new().spawn(move || accept(&listener, &accepting))?;
        Ok(Self { shared, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many messages it has answered 250.
    pub fn messages(&self) -> u64 {
        self.shared.messages.load(Ordering::Acquire)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // Wakes the thread that accepts; when that fails it sees the mark with the next connection.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.closed.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if shared.connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            shared.connections.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let session = Arc::clone(shared);
        let started = thread::Builder::new().stack_size(STACK).spawn(move || {
            // A peer that breaks off ends its session; what it had no answer for is not counted.
            let _ = serve(stream, &session.messages);
            session.connections.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            shared.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// One session. Replies are gathered while commands are at hand, so that a pipelined group has one answer.
fn serve(stream: TcpStream, messages: &AtomicU64) -> Result<()> {
    let mut line = Line::over(stream)?;
    let mut replies = b"220 sink.example ESMTP\r\n".to_vec();
    loop {
        if line.is_empty() {
            line.send(&replies)?;
            replies.clear();
        }
        let command = line.line()?;
        let verb = command.get(..4).unwrap_or_default().to_ascii_uppercase();
        match verb.as_slice() {
            b"EHLO" => replies
                .extend_from_slice(b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n"),
            b"HELO" | b"MAIL" | b"RCPT" | b"RSET" | b"NOOP" => replies.extend_from_slice(b"250 2.0.0 Ok\r\n"),
            b"DATA" => {
                replies.extend_from_slice(b"354 Go on\r\n");
                line.send(&replies)?;
                replies.clear();
                while line.line()? != b"." {}
                messages.fetch_add(1, Ordering::Release);
                replies.extend_from_slice(b"250 2.0.0 Taken\r\n");
            }
            b"QUIT" => {
                replies.extend_from_slice(b"221 2.0.0 Bye\r\n");
                return line.send(&replies);
            }
            _ => replies.extend_from_slice(b"500 5.5.2 What?\r\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sink;
    use crate::compare::smtp::Smtp;

    #[test]
    fn what_it_answers_it_counts() {
        let sink = Sink::listen("127.0.0.1:0".parse().expect("an address")).expect("a sink");
        let mut session = Smtp::connect(sink.address()).expect("connected");
        for _ in 0..3 {
            session.begin("alice@crepes.fr", "bob@far1.example").expect("354");
            session
                .content(b"Subject: x\r\n\r\n..dot\r\n.\r\n")
                .expect("sent");
            session.accepted().expect("250");
        }
        session.quit().expect("221");
        assert_eq!(sink.messages(), 3);
    }
}
