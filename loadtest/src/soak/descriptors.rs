//! **No descriptors:** the limit of open files falls below what is open, for ten seconds: nothing can be accepted or opened.
//!
//! **Must hold:** it neither ends nor spins; with the old limit it goes on by itself.

use anyhow::Result;
use futures::future::BoxFuture;
use rustix::process::Resource;

use super::fault::{Fault, Seen};
use super::scene::Scene;
use super::seconds;

/// How long, in seconds.
const LENGTH: u64 = 10;

/// The fault.
#[derive(Debug)]
pub struct Descriptors;

impl Fault for Descriptors {
    fn name(&self) -> &'static str {
        "no-descriptors"
    }

    fn about(&self) -> &'static str {
        "no file or socket can be opened for 10 s"
    }

    fn length(&self) -> u64 {
        LENGTH
    }

    fn inflict<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Seen>> {
        Box::pin(async move {
            // Eight: those that are open stay open, a ninth cannot be.
            let before = scene.lower_limit(Resource::Nofile, 8)?;
            scene.mark("no descriptors");
            let cpu = scene.cpu();
            tokio::time::sleep(seconds(LENGTH)).await;
            let used = scene.cpu() - cpu;
            scene.set_limit(Resource::Nofile, before)?;
            scene.mark("descriptors again");
            anyhow::ensure!(
                used < 0.5 * LENGTH as f64,
                "it used {used:.1} s of CPU in {LENGTH} s without descriptors: it spins"
            );
            Ok(Seen::Done(format!("{LENGTH} s, {used:.1} s of CPU")))
        })
    }
}
