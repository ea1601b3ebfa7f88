//! Another site on the Internet: a scripted SMTP server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use postrider_runtime::Identity;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the peer does at a point of the dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// As a good server.
    Normal,
    /// As a good server, after a while.
    Late(Duration),
    /// Says this.
    Say(&'static str),
    /// Says this and closes.
    SayAndClose(&'static str),
    /// Closes without a word.
    Close,
    /// Says nothing for ever.
    Hang,
}

/// Where in the dialogue it is: `CONNECT`, a verb, or `END` behind a message; which connection; which message in all, from 1.
pub type Script = dyn Fn(&str, usize, usize) -> Act + Send + Sync;

/// A message the peer has taken.
#[derive(Debug, Clone)]
pub struct Taken {
    pub connection: usize,
    pub mail: String,
    pub rcpt: Vec<String>,
    pub data: String,
    pub tls: bool,
}

pub struct Peer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    offers: Vec<&'static str>,
    script: Box<Script>,
    identity: Option<Arc<Identity>>,
    connections: AtomicUsize,
    messages: AtomicUsize,
    taken: Mutex<Vec<Taken>>,
}

impl Peer {
    pub async fn start(offers: &[&'static str]) -> Self {
        Self::scripted(offers, |_, _, _| Act::Normal).await
    }

    pub async fn scripted(
        offers: &[&'static str],
        script: impl Fn(&str, usize, usize) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::build(offers, Box::new(script), None, "127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_at(address: SocketAddr) -> Self {
        Self::build(&[], Box::new(|_, _, _| Act::Normal), None, address).await
    }

    /// Offers STARTTLS; without an identity the handshake fails.
    pub async fn with_tls(identity: Option<Arc<Identity>>) -> Self {
        Self::build(
            &["STARTTLS"],
            Box::new(|_, _, _| Act::Normal),
            identity,
            "127.0.0.1:0".parse().unwrap(),
        )
        .await
    }

    async fn build(
        offers: &[&'static str],
        script: Box<Script>,
        identity: Option<Arc<Identity>>,
        address: SocketAddr,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            offers: offers.to_vec(),
            script,
            identity,
            connections: AtomicUsize::new(0),
            messages: AtomicUsize::new(0),
            taken: Mutex::default(),
        });
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            let mut conversations = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = serving.connections.fetch_add(1, Ordering::SeqCst) + 1;
                let serving = serving.clone();
                conversations.spawn(async move {
                    let Some(stream) = converse(&serving, number, stream, false).await else {
                        return;
                    };
                    match &serving.identity {
                        Some(identity) => {
                            if let Ok(stream) = identity.acceptor().accept(stream).await {
                                converse(&serving, number, stream, true).await;
                            }
                        }
                        None => {
                            let mut stream = stream;
                            let _ = stream.write_all(b"this is no TLS\r\n").await;
                        }
                    }
                });
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().clone()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub async fn wait_for(&self, count: usize) -> Vec<Taken> {
        super::eventually("messages at the peer", || {
            let taken = self.taken();
            (taken.len() >= count).then_some(taken)
        })
        .await
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Talks until the end, or until STARTTLS (then the stream comes back).
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    shared: &Shared,
    connection: usize,
    stream: S,
    tls: bool,
) -> Option<S> {
    let mut stream = BufReader::new(stream);
    let (mut mail, mut rcpt) = (String::new(), Vec::new());
    if !tls
        && !act(
            shared,
            &mut stream,
            "CONNECT",
            connection,
            "220 peer.example ESMTP",
        )
        .await
    {
        return None;
    }
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let normal = match verb.as_str() {
            "EHLO" => {
                let offers = shared
                    .offers
                    .iter()
                    .filter(|offer| !(tls && **offer == "STARTTLS"));
                let mut lines = vec!["peer.example"];
                lines.extend(offers);
                let last = lines.len() - 1;
                let line =
                    |(at, text): (usize, &&str)| format!("250{}{text}", if at == last { ' ' } else { '-' });
                lines
                    .iter()
                    .enumerate()
                    .map(line)
                    .collect::<Vec<_>>()
                    .join("\r\n")
            }
            "STARTTLS" => {
                stream.get_mut().write_all(b"220 2.0.0 go\r\n").await.ok()?;
                return Some(stream.into_inner());
            }
            "MAIL" => {
                (mail, rcpt) = (line.to_owned(), Vec::new());
                "250 2.1.0 ok".into()
            }
            "RCPT" => "250 2.1.5 ok".into(),
            "DATA" => "354 go on".into(),
            "QUIT" => "221 2.0.0 bye".into(),
            "BDAT" => {
                let size: usize = line.split(' ').nth(1)?.parse().ok()?;
                let mut chunk = vec![0; size];
                stream.read_exact(&mut chunk).await.ok()?;
                mail.push('\0');
                mail.push_str(&String::from_utf8_lossy(&chunk));
                "250 2.0.0 chunk".into()
            }
            _ => "250 2.0.0 ok".to_owned(),
        };
        let decided = (shared.script)(&verb, connection, shared.messages.load(Ordering::SeqCst) + 1);
        if verb == "RCPT" && decided == Act::Normal {
            rcpt.push(line.to_owned());
        }
        if verb == "BDAT" && line.ends_with(" LAST") {
            let whole = std::mem::take(&mut mail);
            let mut parts = whole.split('\0');
            let from = parts.next().unwrap_or_default().to_owned();
            let data = parts.collect::<String>();
            if !ended(
                shared,
                &mut stream,
                Taken {
                    connection,
                    mail: from,
                    rcpt: rcpt.clone(),
                    data,
                    tls,
                },
            )
            .await
            {
                return None;
            }
            continue;
        }
        if !act(shared, &mut stream, &verb, connection, &normal).await || verb == "QUIT" {
            return None;
        }
        if verb == "DATA" && decided == Act::Normal {
            let data = read_data(&mut stream).await?;
            let taken = Taken {
                connection,
                mail: mail.clone(),
                rcpt: rcpt.clone(),
                data,
                tls,
            };
            if !ended(shared, &mut stream, taken).await {
                return None;
            }
        }
    }
}

/// The end of a message: it counts as taken when the answer is 250, said or not.
async fn ended<S: AsyncRead + AsyncWrite + Unpin>(
    shared: &Shared,
    stream: &mut BufReader<S>,
    taken: Taken,
) -> bool {
    let number = shared.messages.fetch_add(1, Ordering::SeqCst) + 1;
    let connection = taken.connection;
    let decided = (shared.script)("END", connection, number);
    if matches!(decided, Act::Normal | Act::Late(_) | Act::Close) {
        shared.taken.lock().push(taken);
    }
    perform(stream, decided, "250 2.0.0 taken").await
}

async fn act<S: AsyncRead + AsyncWrite + Unpin>(
    shared: &Shared,
    stream: &mut BufReader<S>,
    at: &str,
    connection: usize,
    normal: &str,
) -> bool {
    let message = shared.messages.load(Ordering::SeqCst) + 1;
    perform(stream, (shared.script)(at, connection, message), normal).await
}

/// Whether the dialogue goes on.
async fn perform<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    act: Act,
    normal: &str,
) -> bool {
    let (text, on) = match act {
        Act::Normal => (normal, true),
        Act::Late(wait) => {
            tokio::time::sleep(wait).await;
            (normal, true)
        }
        Act::Say(text) => (text, true),
        Act::SayAndClose(text) => (text, false),
        Act::Close => return false,
        Act::Hang => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            return false;
        }
    };
    let said = stream
        .get_mut()
        .write_all(format!("{text}\r\n").as_bytes())
        .await
        .is_ok();
    let flushed = stream.get_mut().flush().await.is_ok();
    if !on {
        let _ = stream.get_mut().shutdown().await;
    }
    said && flushed && on
}

async fn read_data<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<String> {
    let mut data = Vec::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await.ok()? == 0 {
            return None;
        }
        if line == b".\r\n" {
            return Some(String::from_utf8_lossy(&data).into_owned());
        }
        data.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}
