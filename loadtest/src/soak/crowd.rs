//! **Crowd:** ten thousand connections from one address, which say nothing.
//!
//! **Must hold:** others are served while they stand there, memory stays within the budget, and when they go so does what
//! they cost.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::fault::{BUDGET, Fault, Seen};
use super::probe;
use super::scene::Scene;
use super::seconds;
use crate::report::amount;

/// How many come.
const MANY: u64 = 10_000;

/// Files that both sides need beside these connections.
const OTHERS: u64 = 1_500;

/// How long they stay, in seconds.
const STAY: u64 = 8;

/// The fault.
#[derive(Debug)]
pub struct Crowd;

impl Fault for Crowd {
    fn name(&self) -> &'static str {
        "crowd"
    }

    fn about(&self) -> &'static str {
        "10,000 silent connections from one address"
    }

    fn length(&self) -> u64 {
        STAY + 12
    }

    fn budget(&self) -> u64 {
        // What a connection to port 25 that has said nothing may cost: 16 KiB.
        BUDGET + MANY * 16 * 1024
    }

    fn inflict<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Seen>> {
        Box::pin(async move {
            let number = MANY.min(room());
            let Some(smtp) = scene.target().smtp else {
                return Ok(Seen::Impossible("no SMTP address".to_owned()));
            };
            scene.mark(&format!("{} connections", amount::count(number)));
            let crowd = come(smtp, number).await;
            let stood = crowd.len() as u64;
            probe::all(&scene.target()).await?;
            tokio::time::sleep(seconds(STAY)).await;
            probe::all(&scene.target()).await?;
            drop(crowd);
            scene.mark("the crowd went");
            ensure!(
                stood > number / 2,
                "only {stood} of {number} connections could be made"
            );
            Ok(Seen::Done(format!("{} at once", amount::count(stood))))
        })
    }
}

async fn come(address: SocketAddr, number: u64) -> Vec<TcpStream> {
    stream::iter(0..number)
        .map(|_| timeout(Duration::from_secs(10), TcpStream::connect(address)))
        .buffer_unordered(200)
        .filter_map(async |stream| stream.ok().and_then(Result::ok))
        .collect()
        .await
}

/// How many fit below the limit of open files, which is raised as far as it may be. The server has the same limit.
fn room() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let allowed = if setrlimit(Resource::Nofile, raised).is_ok() {
        limit.maximum
    } else {
        limit.current
    };
    allowed.map_or(MANY, |allowed| allowed.saturating_sub(OTHERS))
}
