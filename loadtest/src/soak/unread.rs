//! **Unread:** clients that pipeline commands and never read an answer, on SMTP, IMAP and POP3.
//!
//! **Must hold:** the server stops reading them rather than keep what they do not take; memory stays within the budget.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use futures::future::{BoxFuture, join_all};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::fault::{Fault, MIB, Seen};
use super::probe;
use super::scene::Scene;
use super::seconds;
use crate::report::amount;
use crate::target::Target;

/// Clients of each protocol.
const EACH: usize = 20;

/// How long they go on, in seconds.
const LENGTH: u64 = 10;

/// At most so many bytes of commands from each: far more than any buffer on the way.
const MOST: u64 = 64 * MIB;

/// The fault.
#[derive(Debug)]
pub struct Unread;

impl Fault for Unread {
    fn name(&self) -> &'static str {
        "unread"
    }

    fn about(&self) -> &'static str {
        "60 clients pipeline and never read"
    }

    fn length(&self) -> u64 {
        LENGTH + 4
    }

    fn inflict<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Seen>> {
        Box::pin(async move {
            let target = scene.target();
            scene.mark("clients that never read");
            let clients = floods(&target);
            let all = join_all(clients.into_iter().map(|flood| {
                // The connection stays open until all have ended.
                flood.pour()
            }));
            let (poured, served) = tokio::join!(all, async {
                tokio::time::sleep(seconds(LENGTH / 2)).await;
                probe::all(&target).await
            });
            served?;
            tokio::time::sleep(seconds(2)).await;
            probe::all(&target).await?;
            let bytes: u64 = poured.iter().map(|(_, bytes)| bytes).sum();
            drop(poured);
            scene.mark("those clients went");
            Ok(Seen::Done(format!(
                "{} taken from them",
                amount::bytes(bytes as f64)
            )))
        })
    }
}

/// What one client says, once and then again and again.
struct Flood {
    address: SocketAddr,
    hello: String,
    again: &'static str,
}

fn floods(target: &Target) -> Vec<Flood> {
    let accounts = &target.accounts;
    let password = String::from_utf8_lossy(accounts.password.expose()).into_owned();
    let mut floods = Vec::new();
    for rank in 0..EACH as u64 {
        let address = accounts.address(rank);
        let kinds = [
            (target.smtp, "EHLO load.example\r\n".to_owned(), "NOOP\r\n"),
            (
                target.imap,
                format!("a LOGIN {address} {password}\r\nb SELECT INBOX\r\n"),
                "c FETCH 1:* (FLAGS BODY.PEEK[])\r\n",
            ),
            (
                target.pop3,
                format!("USER {address}\r\nPASS wrong\r\n"),
                "CAPA\r\n",
            ),
        ];
        for (at, hello, again) in kinds {
            floods.extend(at.map(|address| Flood {
                address,
                hello,
                again,
            }));
        }
    }
    floods
}

impl Flood {
    /// Writes until nothing more is taken for two seconds, the connection ends, or the time or the bytes are over. The
    /// connection, so that it stays open, and how many bytes were taken.
    async fn pour(self) -> (Option<TcpStream>, u64) {
        let Ok(Ok(mut stream)) = timeout(Duration::from_secs(5), TcpStream::connect(self.address)).await
        else {
            return (None, 0);
        };
        let block = self.again.repeat(1 + 16_384 / self.again.len());
        let end = tokio::time::Instant::now() + seconds(LENGTH);
        let mut taken = 0;
        let mut next = self.hello.into_bytes();
        while taken < MOST && tokio::time::Instant::now() < end {
            match timeout(seconds(2), stream.write(&next)).await {
                Ok(Ok(0) | Err(_)) => return (None, taken),
                Ok(Ok(written)) => {
                    taken += written as u64;
                    next.drain(..written);
                }
                Err(_) => break,
            }
            if next.is_empty() {
                next.extend_from_slice(block.as_bytes());
            }
        }
        (Some(stream), taken)
    }
}
