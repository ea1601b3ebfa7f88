//! **Killed:** `kill -9`, and started again at once, twice in a row.
//!
//! **Must hold:** what was answered is there; it is ready again within the bound, whatever its data looked like.

use anyhow::Result;
use futures::future::BoxFuture;

use super::fault::{Fault, Seen};
use super::scene::Scene;
use super::seconds;

/// The fault.
#[derive(Debug)]
pub struct Killed;

impl Fault for Killed {
    fn name(&self) -> &'static str {
        "killed"
    }

    fn about(&self) -> &'static str {
        "kill -9 and start again, twice"
    }

    fn length(&self) -> u64 {
        8
    }

    fn inflict<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Seen>> {
        Box::pin(async move {
            scene.kill_and_restart().await?;
            // The second time strikes while clients come back and recovery may still go on.
            tokio::time::sleep(seconds(4)).await;
            scene.kill_and_restart().await?;
            Ok(Seen::Done("2 kills".to_owned()))
        })
    }
}
