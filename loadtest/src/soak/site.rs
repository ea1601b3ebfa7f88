//! A node to torment: in a directory of its own, with its mail for elsewhere routed to the sink.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;

use anyhow::{Context, Result};
use parking_lot::Mutex;

use super::dress::Dress;
use crate::server::{Options, Postrider};
use crate::target::Target;

/// Accounts of the load; one more belongs to the probe.
const ACCOUNTS: u64 = 20;

/// Domains that are elsewhere.
const DOMAINS: u32 = 5;

/// What a fault interrupts is tried again soon, so that a round sees the end of it.
pub const QUICK_RETRIES: &str = "[queue.retry]\nfirst = \"1s\"\nmax = \"4s\"\n";

/// A node that runs.
#[derive(Debug)]
pub struct Site {
    node: Arc<Mutex<Postrider>>,
    dress: Dress,
    sink: SocketAddr,
}

impl Site {
    /// Starts a node in `directory`, dressed; data that is there is kept.
    pub async fn start(binary: &Path, directory: PathBuf, dress: Dress) -> Result<Self> {
        let sink = free_address()?;
        let binary = binary.to_owned();
        let start = move || -> Result<Postrider> {
            std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
            let directory = directory.canonicalize()?;
            let program = dress.program(&binary, &directory)?;
            let mut options = Options::new(ACCOUNTS + 1).routed(DOMAINS, sink);
            options.more = QUICK_RETRIES.to_owned();
            Postrider::start(&program, &directory, options)
        };
        let node = tokio::task::spawn_blocking(start)
            .await
            .context("a task that starts the server broke off")??;
        Ok(Self {
            node: Arc::new(Mutex::new(node)),
            dress,
            sink,
        })
    }

    /// The node.
    pub fn node(&self) -> &Arc<Mutex<Postrider>> {
        &self.node
    }

    /// What it was started in.
    pub fn dress(&self) -> Dress {
        self.dress
    }

    /// Where it sends mail for elsewhere.
    pub fn sink(&self) -> SocketAddr {
        self.sink
    }

    /// The node for the load: without the probe's account.
    pub fn target(&self) -> Result<Target> {
        let mut target = self.node.lock().target()?;
        target.accounts.count = ACCOUNTS;
        Ok(target)
    }

    /// How it ended, when it has ended by itself.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        self.node.lock().ended()
    }

    /// Ends it in an orderly way.
    pub async fn stop(self) -> Result<()> {
        let node = self.node;
        tokio::task::spawn_blocking(move || node.lock().stop().map(drop))
            .await
            .context("a task that stops the server broke off")?
    }
}

/// An address on which nobody listens, for the sink.
pub fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?)
}
