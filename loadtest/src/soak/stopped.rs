//! **Stopped:** SIGSTOP, and SIGCONT ten seconds later: connections stay open, nothing answers.
//!
//! **Must hold:** clients that waited are served, those that gave up and tried again cause no duplicate.

use anyhow::Result;
use futures::future::BoxFuture;

use super::fault::{Fault, Seen};
use super::scene::Scene;
use super::seconds;

/// How long it stands still, in seconds.
const STILL: u64 = 10;

/// The fault.
#[derive(Debug)]
pub struct Stopped;

impl Fault for Stopped {
    fn name(&self) -> &'static str {
        "stopped"
    }

    fn about(&self) -> &'static str {
        "SIGSTOP, and SIGCONT after 10 s"
    }

    fn length(&self) -> u64 {
        STILL
    }

    fn inflict<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Seen>> {
        Box::pin(async move {
            scene.mark("stopped (SIGSTOP)");
            scene.node(|node| node.pause()).await?;
            tokio::time::sleep(seconds(STILL)).await;
            scene.node(|node| node.resume()).await?;
            scene.mark("continued (SIGCONT)");
            Ok(Seen::Done(format!("{STILL} s")))
        })
    }
}
