//! A TCP proxy for tests: it stands between two processes and is the network at its worst.
//!
//! ```text
//! client ── connection ──▶ Proxy ── connection ──▶ the first of its servers, in turn, that takes it
//! ```
//!
//! * [`Mode`] says what becomes of what passes; it counts at once, for open connections as well.
//! * [`Proxy::delay`] makes the way longer: each direction by so much, without making it narrower.
//! * Several servers are taken in turn; one that refuses is passed over, as clients do with a name of several addresses.
//!
//! **Limits:** for each direction of a connection at most 16 pieces of 64 KiB wait; then the sender waits as well.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long a server may take to take a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Octets read at once.
const PIECE: usize = 64 << 10;
/// Pieces of a direction that wait for their time.
const PIECES: usize = 16;
/// Between two attempts to listen again.
const PAUSE: Duration = Duration::from_millis(20);

/// What becomes of what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is passed on.
    Pass,
    /// Requests are passed on and answers swallowed: what was asked for happens, and nobody hears of it. A connection that
    /// lost something is of no use and stays silent from then on.
    Deaf,
    /// Both are swallowed.
    Dead,
    /// Nothing passes, and all of it does as soon as this is over: as when a network drops packets, which are sent again.
    /// New connections wait as well.
    Hold,
    /// Every connection is ended, and new ones are at once.
    Cut,
    /// Nobody listens: new connections are refused. Open ones go on.
    Refuse,
}

#[derive(Debug, Clone, Copy)]
struct State {
    mode: Mode,
    delay: Duration,
}

/// A proxy on a port of the loopback address. When it is dropped its connections end.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes on to these servers, in turn. Must be called within a tokio runtime.
    pub async fn open(servers: impl Into<Vec<SocketAddr>>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let start = State {
            mode: Mode::Pass,
            delay: Duration::ZERO,
        };
        let (state, seen) = watch::channel(start);
        let way = Way {
            servers: servers.into(),
            turn: AtomicUsize::new(0),
        };
        let task = tokio::spawn(serve(listener, address, Arc::new(way), seen));
        Ok(Self { address, state, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on.
    pub fn set(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }

    /// From now on each direction takes so much longer.
    pub fn delay(&self, each_way: Duration) {
        self.state.send_modify(|state| state.delay = each_way);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.set(Mode::Cut);
    }
}

/// Where to, and whose turn it is.
#[derive(Debug)]
struct Way {
    servers: Vec<SocketAddr>,
    turn: AtomicUsize,
}

impl Way {
    async fn connect(&self) -> io::Result<TcpStream> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for next in 0..self.servers.len() {
            let Some(server) = self.servers.get((turn + next) % self.servers.len()) else {
                break;
            };
            match timeout(CONNECT, TcpStream::connect(server)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed = error,
                Err(_) => failed = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failed)
    }
}

async fn serve(listener: TcpListener, address: SocketAddr, way: Arc<Way>, seen: watch::Receiver<State>) {
    let (mut listener, mut refusing) = (Some(listener), seen.clone());
    loop {
        let open = match listener.take() {
            Some(open) => open,
            None => match TcpListener::bind(address).await {
                Ok(open) => open,
                Err(_) => {
                    sleep(PAUSE).await;
                    continue;
                }
            },
        };
        loop {
            tokio::select! {
                biased;
                refuses = until(&mut refusing, |mode| mode == Mode::Refuse) => match refuses {
                    Ok(()) => break,
                    Err(_) => return,
                },
                accepted = open.accept() => if let Ok((client, _)) = accepted {
                    tokio::spawn(relay(client, way.clone(), seen.clone()));
                },
            }
        }
        drop(open);
        if until(&mut refusing, |mode| mode != Mode::Refuse).await.is_err() {
            return;
        }
    }
}

async fn relay(client: TcpStream, way: Arc<Way>, seen: watch::Receiver<State>) {
    let mut cut = seen.clone();
    let mut held = seen.clone();
    let work = async {
        until(&mut held, |mode| mode != Mode::Hold).await?;
        let server = way.connect().await?;
        // Latency is what is asked for, and nothing beside it.
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::try_join!(
            pump(from_client, to_server, seen.clone(), |mode| mode == Mode::Dead),
            pump(from_server, to_client, seen.clone(), |mode| matches!(
                mode,
                Mode::Dead | Mode::Deaf
            )),
        )
    };
    tokio::select! {
        // How a connection ended is for its two ends to see.
        _ = work => {}
        _ = until(&mut cut, |mode| mode == Mode::Cut) => {}
    }
}

/// Passes one direction on until it ends; the other end is told of the end, too.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    seen: watch::Receiver<State>,
    swallowed: fn(Mode) -> bool,
) -> io::Result<()> {
    let (put, mut take) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let now = seen.clone();
    let read = async move {
        let mut silent = false;
        let mut buffer = vec![0; PIECE];
        loop {
            let count = from.read(&mut buffer).await?;
            let State { mode, delay } = *now.borrow();
            silent |= count > 0 && swallowed(mode);
            let piece = buffer.get(..count).unwrap_or_default().to_vec();
            if !silent && put.send((Instant::now() + delay, piece)).await.is_err() {
                return Ok(());
            }
            if count == 0 {
                return Ok(());
            }
        }
    };
    let mut held = seen;
    let write = async move {
        while let Some((due, piece)) = take.recv().await {
            sleep_until(due).await;
            until(&mut held, |mode| mode != Mode::Hold).await?;
            if piece.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&piece).await?;
        }
        // Something was swallowed: nobody hears of the end either.
        std::future::pending().await
    };
    tokio::try_join!(read, write).map(drop)
}

/// Waits for a mode; an error: the proxy is gone.
async fn until(seen: &mut watch::Receiver<State>, is: fn(Mode) -> bool) -> io::Result<()> {
    match seen.wait_for(|state| is(state.mode)).await {
        Ok(_) => Ok(()),
        Err(_) => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}
