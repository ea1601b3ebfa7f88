//! Listening sockets, and accepting that survives whatever accepting can throw.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections the kernel may hold for us between two accepts.
const BACKLOG: i32 = 1024;

/// How long accepting pauses when the process is out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens a listening socket: `SO_REUSEADDR`, so that a restart needs no wait; an IPv6 address does not take IPv4 as well.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A listening socket with a descriptor in reserve, so that a connection can still be turned away when no more are left.
pub struct Acceptor {
    listener: TcpListener,
    reserve: Option<File>,
}

impl Acceptor {
    /// Accepts from a listening socket.
    pub fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            reserve: reserve(),
        }
    }

    /// The next connection, with keepalive set and without Nagle's delay. Cancel-safe.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    prepare(&stream);
                    return (stream, peer);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept a connection; trying again");
                    self.turn_one_away();
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Out of descriptors, a waiting connection would wait for ever, and wake us for ever: accept it on the reserve, and
    /// close it at once.
    fn turn_one_away(&mut self) {
        self.reserve = None;
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        drop(self.listener.poll_accept(&mut context));
        self.reserve = reserve();
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Errors that concern the connection that was about to be accepted, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

fn prepare(stream: &TcpStream) {
    // Both are improvements; a connection that refuses them still works.
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(300))
        .with_interval(Duration::from_secs(60))
        .with_retries(5);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}
