//! What a fault may touch: the server under load, and the marks in the report of the run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::dress::{self, Dress};
use crate::process::{Sampler, tree_cpu};
use crate::recorder::Recorder;
use crate::server::Postrider;
use crate::target::Target;

/// The listeners that clients and operators may reach.
const LISTENERS: [&str; 7] = ["smtp", "submission", "pop3", "imap", "imaps", "admin", "ops"];

/// The run that goes on: it is told what happens to the server.
pub struct Control {
    recorder: Recorder,
    sampler: Sampler,
}

/// A server under load, about to suffer.
pub struct Scene {
    node: Arc<Mutex<Postrider>>,
    target: Target,
    dress: Dress,
    control: Control,
}

impl Control {
    /// Of the run with these.
    pub fn new(recorder: Recorder, sampler: Sampler) -> Self {
        Self { recorder, sampler }
    }
}

impl Scene {
    /// A node under the load of the run that `control` belongs to.
    pub fn new(node: Arc<Mutex<Postrider>>, target: Target, dress: Dress, control: Control) -> Self {
        Self {
            node,
            target,
            dress,
            control,
        }
    }

    /// Says in the report what happens now.
    pub fn mark(&self, what: &str) {
        self.control.recorder.mark(what);
    }

    /// The server as its clients see it. Its process ids are those of its first start.
    pub fn target(&self) -> Target {
        self.target.clone()
    }

    /// What it was started in.
    pub fn dress(&self) -> Dress {
        self.dress
    }

    /// Does something with the node, away from the tasks of the load.
    pub async fn node<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Postrider) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let node = Arc::clone(&self.node);
        tokio::task::spawn_blocking(move || act(&mut node.lock()))
            .await
            .context("a task that acts on the server broke off")?
    }

    /// Kills it and starts it again at once; done when it is ready.
    pub async fn kill_and_restart(&self) -> Result<()> {
        self.mark("killed (SIGKILL)");
        self.node(Postrider::kill).await?;
        let pid = self
            .node(|node| {
                node.restart()?;
                node.pid().context("it ended at once")
            })
            .await
            .context("it does not start again")?;
        self.control.sampler.follow(&[pid]);
        self.mark("ready again");
        Ok(())
    }

    /// Its process id.
    pub fn pid(&self) -> Result<u32> {
        // Nobody holds the lock for long but a start, and faults follow one another.
        self.node.lock().pid().context("the server does not run")
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.node.lock().data()
    }

    /// The file with the offset of its clock, when it is dressed for that.
    pub fn clock_file(&self) -> PathBuf {
        let data = self.node.lock().data();
        dress::clock_file(data.parent().unwrap_or(&data))
    }

    /// All its addresses.
    pub fn listeners(&self) -> Vec<SocketAddr> {
        let node = self.node.lock();
        LISTENERS.map(|name| node.listener(name)).to_vec()
    }

    /// CPU seconds it has used.
    pub fn cpu(&self) -> f64 {
        self.pid().map_or(0.0, tree_cpu)
    }

    /// Lowers a soft limit of the running server; what was there before, for [`set_limit`](Self::set_limit).
    pub fn lower_limit(&self, resource: Resource, to: u64) -> Result<Rlimit> {
        let maximum = rustix::process::getrlimit(resource).maximum;
        let lowered = Rlimit {
            current: Some(to),
            maximum,
        };
        self.set_limit(resource, lowered)
    }

    /// Sets a limit of the running server; what was there before.
    pub fn set_limit(&self, resource: Resource, limit: Rlimit) -> Result<Rlimit> {
        let pid = i32::try_from(self.pid()?).ok().and_then(Pid::from_raw);
        prlimit(pid, resource, limit).with_context(|| format!("the limit {resource:?} of the server"))
    }
}
