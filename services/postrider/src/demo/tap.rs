//! A tap on a line: passes bytes on and prints them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::{Dialogue, Speaker};

/// Without a word for so long, a dialogue has come to rest.
const REST: Duration = Duration::from_millis(300);

/// How long [`Tap::quiet`] waits at most.
const PATIENCE: Duration = Duration::from_secs(15);

/// Accepts connections, makes one to the real server for each, and shows what goes over them, until it is dropped.
pub struct Tap {
    address: SocketAddr,
    task: JoinHandle<()>,
    heard: Arc<AtomicU64>,
    turned_on: CancellationToken,
}

impl Tap {
    /// A tap in front of a server, on any free port.
    pub async fn open(server: SocketAddr, dialogue: Dialogue) -> Result<Self> {
        let tap = Self::closed(server, dialogue).await?;
        tap.turn_on();
        Ok(tap)
    }

    /// A tap through which nothing goes before it is turned on.
    pub async fn closed(server: SocketAddr, dialogue: Dialogue) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (heard, turned_on) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let (on, count) = (turned_on.clone(), heard.clone());
        let task = tokio::spawn(async move {
            on.cancelled().await;
            accept(listener, server, dialogue, count).await;
        });
        Ok(Self {
            address,
            task,
            heard,
            turned_on,
        })
    }

    /// Lets everything through that waits.
    pub fn turn_on(&self) {
        self.turned_on.cancel();
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until nothing more is said.
    pub async fn quiet(&self) {
        let rest = async {
            let mut before = self.heard.load(Ordering::Relaxed);
            loop {
                tokio::time::sleep(REST).await;
                let now = self.heard.load(Ordering::Relaxed);
                if now == before {
                    return;
                }
                before = now;
            }
        };
        // Whoever talks on and on is left to it.
        let _ = tokio::time::timeout(PATIENCE, rest).await;
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, dialogue: Dialogue, heard: Arc<AtomicU64>) {
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(server).await else {
            continue;
        };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (shown, counted) = (dialogue.clone(), heard.clone());
        tokio::spawn(pass(from_client, to_server, Speaker::Client, shown, counted));
        tokio::spawn(pass(
            from_server,
            to_client,
            Speaker::Server,
            dialogue.clone(),
            heard.clone(),
        ));
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    speaker: Speaker,
    dialogue: Dialogue,
    heard: Arc<AtomicU64>,
) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        let Some(piece) = piece.get(..read) else { return };
        heard.fetch_add(1, Ordering::Relaxed);
        // Shown first: the answer must not be printed before the question.
        dialogue.octets(speaker, piece);
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
