//! **Slowloris:** a hundred clients on every port, each writing one byte a second of something that never ends.
//!
//! **Must hold:** others are served all the while; memory stays within the budget.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use futures::future::{BoxFuture, join_all};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::fault::{Fault, Seen};
use super::probe;
use super::scene::Scene;
use super::seconds;

/// Clients on every port.
const EACH: usize = 100;

/// How long they go on, in seconds.
const LENGTH: u64 = 15;

/// What they write, without end: a line of none of the protocols is so long.
const DRIP: &[u8] = b"NOOP AND SO ON ";

/// The fault.
#[derive(Debug)]
pub struct Slowloris;

impl Fault for Slowloris {
    fn name(&self) -> &'static str {
        "slowloris"
    }

    fn about(&self) -> &'static str {
        "100 clients on every port write a byte a second"
    }

    fn length(&self) -> u64 {
        LENGTH
    }

    fn inflict<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Seen>> {
        Box::pin(async move {
            let ports = scene.listeners();
            scene.mark("slowloris on every port");
            let end = Instant::now() + seconds(LENGTH);
            let drips = ports
                .iter()
                .flat_map(|port| (0..EACH).map(move |_| drip(*port, end)));
            let all = join_all(drips);
            let served = async {
                while Instant::now() + seconds(3) < end {
                    probe::all(&scene.target()).await?;
                    sleep(seconds(2)).await;
                }
                Ok::<_, anyhow::Error>(())
            };
            let (stayed, served) = tokio::join!(all, served);
            scene.mark("slowloris gone");
            served?;
            let stayed = stayed.into_iter().filter(|stayed| *stayed).count();
            Ok(Seen::Done(format!(
                "{stayed} of {} to the end",
                ports.len() * EACH
            )))
        })
    }
}

/// One slow client; whether the server bore with it to the end (it may well close sooner).
async fn drip(port: SocketAddr, end: Instant) -> bool {
    let Ok(Ok(mut stream)) = timeout(Duration::from_secs(5), TcpStream::connect(port)).await else {
        return false;
    };
    for byte in DRIP.iter().cycle() {
        if Instant::now() >= end {
            break;
        }
        match timeout(Duration::from_secs(2), stream.write_all(&[*byte])).await {
            Ok(Ok(())) => sleep(seconds(1)).await,
            _ => return false,
        }
    }
    true
}
