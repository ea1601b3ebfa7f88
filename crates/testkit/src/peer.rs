//! A scripted SMTP server: another site on the Internet, as well or badly behaved as a test wants.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::wire::{PATIENCE, eventually};

/// How the peer behaves.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// What EHLO offers, a keyword each (`8BITMIME`, `SIZE 1000`).
    pub offers: Vec<String>,
    /// What RCPT is answered instead of 250; the first entry is used for the first RCPT and so on, then 250.
    pub recipient_replies: Vec<String>,
    /// What the end of DATA is answered instead of 250, likewise.
    pub message_replies: Vec<String>,
}

/// A message the peer has taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Which connection it came over, counted from 1.
    pub connection: u32,
    /// MAIL FROM as it was said.
    pub from: String,
    /// RCPT TO as they were said.
    pub to: Vec<String>,
    /// The message, unstuffed.
    pub data: String,
}

/// A running peer; it ends with its handle.
pub struct Peer {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Taken>>>,
    stopped: Arc<AtomicBool>,
}

struct Shared {
    manner: Mutex<Manner>,
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl Peer {
    /// Listens on a free loopback port.
    pub fn start(manner: Manner) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), manner)
    }

    /// Listens on a given address.
    pub fn start_at(address: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            manner: Mutex::new(manner),
            taken: taken.clone(),
        });
        let stop = stopped.clone();
        std::thread::spawn(move || {
            for (number, stream) in (1..).zip(listener.incoming()) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), shared) = (stream, shared.clone()) else {
                    return;
                };
                std::thread::spawn(move || drop(converse(&shared, number, stream)));
            }
        });
        Self {
            address,
            taken,
            stopped,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has taken so far.
    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    /// How many messages it has taken so far.
    pub fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    /// Waits until it has taken so many messages.
    pub fn wait_for(&self, count: usize, limit: Duration) -> Vec<Taken> {
        eventually(&format!("{count} messages at the peer"), limit, || {
            let taken = self.taken();
            (taken.len() >= count).then_some(taken)
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the accepting thread, so that it sees the flag and gives the port back.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn converse(shared: &Shared, connection: u32, stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE * 3))?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut envelope = (String::new(), Vec::new());
    writer.write_all(b"220 peer.example ESMTP\r\n")?;
    loop {
        let Some(line) = read_line(&mut reader)? else {
            return Ok(());
        };
        let upper = line.to_ascii_uppercase();
        let reply = if upper.starts_with("EHLO") {
            ehlo_reply(&shared.manner.lock().unwrap().offers)
        } else if upper.starts_with("MAIL FROM:") {
            envelope = (line["MAIL FROM:".len()..].to_owned(), Vec::new());
            "250 2.1.0 ok".into()
        } else if upper.starts_with("RCPT TO:") {
            let reply = next_reply(
                &mut shared.manner.lock().unwrap().recipient_replies,
                "250 2.1.5 ok",
            );
            if reply.starts_with('2') {
                envelope.1.push(line["RCPT TO:".len()..].to_owned());
            }
            reply
        } else if upper == "DATA" {
            if envelope.1.is_empty() {
                "554 5.5.1 no valid recipients".into()
            } else {
                writer.write_all(b"354 go on\r\n")?;
                let Some(data) = read_message(&mut reader)? else {
                    return Ok(());
                };
                let reply = next_reply(
                    &mut shared.manner.lock().unwrap().message_replies,
                    "250 2.0.0 taken",
                );
                if reply.starts_with('2') {
                    let (from, to) = envelope.clone();
                    shared.taken.lock().unwrap().push(Taken {
                        connection,
                        from,
                        to,
                        data,
                    });
                }
                reply
            }
        } else if upper == "QUIT" {
            writer.write_all(b"221 2.0.0 bye\r\n")?;
            return Ok(());
        } else {
            "250 2.0.0 ok".into()
        };
        writer.write_all(format!("{reply}\r\n").as_bytes())?;
        if reply.starts_with("421") {
            return Ok(());
        }
    }
}

fn ehlo_reply(offers: &[String]) -> String {
    let lines: Vec<&str> = std::iter::once("peer.example")
        .chain(offers.iter().map(String::as_str))
        .collect();
    let last = lines.len() - 1;
    let line = |(at, text): (usize, &&str)| format!("250{}{text}", if at == last { ' ' } else { '-' });
    lines
        .iter()
        .enumerate()
        .map(line)
        .collect::<Vec<_>>()
        .join("\r\n")
}

fn next_reply(replies: &mut Vec<String>, otherwise: &str) -> String {
    if replies.is_empty() {
        otherwise.into()
    } else {
        replies.remove(0)
    }
}

fn read_line(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    let text = String::from_utf8_lossy(&line);
    Ok((!line.is_empty()).then(|| text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn read_message(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut data = Vec::new();
    loop {
        let begin = data.len();
        if reader.read_until(b'\n', &mut data)? == 0 {
            return Ok(None);
        }
        if &data[begin..] == b".\r\n" {
            data.truncate(begin);
            return Ok(Some(String::from_utf8_lossy(&data).into_owned()));
        }
        if data[begin] == b'.' {
            data.remove(begin);
        }
    }
}
