//! **Disk full:** not a byte more can be written for ten seconds.
//!
//! On a small tmpfs in a mount namespace of the server's own, filled with a file (ENOSPC). Where no such namespace is
//! allowed, by the limit on the size of files (`RLIMIT_FSIZE`, EFBIG): no file can grow.
//!
//! **Must hold:** mail is refused for now (4yz), nothing that was answered is lost, and when there is room again it goes on by
//! itself. After EFBIG it is started again: to the database that is a failed disk, not a full one, and then the server
//! promises no more than to stop writing until then.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use futures::future::BoxFuture;
use rustix::process::Resource;

use super::dress::{self, Dress};
use super::fault::{Fault, Seen};
use super::probe::{self, Answer};
use super::scene::Scene;
use super::seconds;

/// How long there is no room, in seconds.
const FULL: u64 = 10;

/// The fault.
#[derive(Debug)]
pub struct DiskFull;

impl Fault for DiskFull {
    fn name(&self) -> &'static str {
        "disk-full"
    }

    fn about(&self) -> &'static str {
        "no byte can be written for 10 s"
    }

    fn length(&self) -> u64 {
        FULL
    }

    fn dress(&self) -> Result<Dress, String> {
        Ok(if dress::may_mount() {
            Dress::SmallDisk
        } else {
            Dress::NoSignalForLargeFiles
        })
    }

    fn inflict<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Seen>> {
        Box::pin(async move {
            let pid = scene.pid()?;
            let small = scene.dress() == Dress::SmallDisk;
            // The same path, in the server's namespace.
            let filler = format!("/proc/{pid}/root{}/filler", scene.data().display());
            scene.mark("disk full");
            let held = if small {
                fill(Path::new(&filler))?;
                None
            } else {
                Some(scene.lower_limit(Resource::Fsize, 1)?)
            };
            let answer = while_full(scene).await;
            match held {
                Some(before) => drop(scene.set_limit(Resource::Fsize, before)?),
                None => std::fs::remove_file(&filler).context("the file that fills the disk")?,
            }
            scene.mark("room on the disk again");
            answer?;
            if small {
                return Ok(Seen::Done(format!("{FULL} s, tmpfs, ENOSPC")));
            }
            scene.kill_and_restart().await?;
            Ok(Seen::Done(format!(
                "{FULL} s, RLIMIT_FSIZE, EFBIG, started again"
            )))
        })
    }
}

/// Waits, and sees to it that mail is refused for now: anything else would mean that this tested nothing, or worse.
async fn while_full(scene: &Scene) -> Result<()> {
    tokio::time::sleep(seconds(FULL / 2)).await;
    match probe::message(&scene.target(), probe::LARGE).await {
        Answer::Deferred => {}
        Answer::Done => bail!("the disk is full, and a message was accepted"),
        Answer::Other(what) => bail!("the disk is full, and mail is not refused for now: {what}"),
    }
    tokio::time::sleep(seconds(FULL / 2)).await;
    Ok(())
}

fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path).with_context(|| path.display().to_string())?;
    let block = vec![b'x'; 64 << 10];
    for size in [block.len(), 4096, 1] {
        loop {
            match file.write_all(&block[..size]) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
        }
    }
    Ok(())
}
