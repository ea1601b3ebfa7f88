//! The two systems, and how CPU and memory are read around timed work.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::process::{tree_cpu, tree_memory};
use crate::server::{Options, Postrider};
use crate::target::Target;

/// A system at rest uses less than this share of a processor.
const REST: f64 = 0.03;
/// How long to wait for that; a system that is never at rest is measured all the same.
const SETTLE: Duration = Duration::from_secs(15);

/// One of the two systems.
#[derive(Debug)]
pub struct System {
    /// `Postrider` or the peer's own name.
    pub name: String,
    /// Where it is.
    pub target: Target,
    node: Option<Postrider>,
}

/// What a round of timed work was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The figure that is compared: units per second, bytes or milliseconds, as the row says.
    pub value: f64,
    /// How many units of work were done.
    pub units: u64,
    /// How long they took.
    pub seconds: f64,
    /// CPU seconds of the server's processes meanwhile.
    pub server_cpu: f64,
    /// CPU seconds of what the server stands on (databases, brokers, a balancer), where that is not a part of it.
    #[serde(default)]
    pub engines_cpu: f64,
    /// CPU seconds of this process meanwhile (client and sink).
    pub generator_cpu: f64,
    /// Bytes of memory of the server's processes afterwards, shared pages counted once (PSS).
    pub memory: u64,
}

impl System {
    /// A Postrider node of our own.
    pub fn postrider(binary: &Path, directory: &Path, options: Options) -> Result<Self> {
        let node = Postrider::start(binary, directory, options)?;
        Ok(Self {
            name: "Postrider".into(),
            target: node.target()?,
            node: Some(node),
        })
    }

    /// A system that runs already.
    pub fn peer(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!(
                "{}: `cargo xtask peers up` writes one, and `cargo xtask cluster up --load`",
                path.display()
            )
        })?;
        let target: Target = toml::from_str(&text).with_context(|| path.display().to_string())?;
        if target.processes.is_empty() {
            bail!("{}: without `processes` its CPU cannot be told", path.display());
        }
        for pid in target.processes.iter().chain(&target.engines) {
            if !Path::new(&format!("/proc/{pid}")).exists() {
                bail!(
                    "{} names process {pid}, which does not run: `cargo xtask peers up` and `cargo xtask cluster up --load` start the peers",
                    path.display()
                );
            }
        }
        // "Postfix 3.7 + Dovecot 2.3" is told with its versions elsewhere.
        let is_word = |word: &&str| !word.starts_with(|first: char| first.is_ascii_digit());
        let name: Vec<&str> = target.name.split(' ').filter(is_word).collect();
        Ok(Self {
            name: name.join(" "),
            target,
            node: None,
        })
    }

    /// Whether it is ours.
    pub fn is_postrider(&self) -> bool {
        self.node.is_some()
    }

    /// Ends and starts it again, so that nothing is left in its memory. Only what is ours can be.
    pub fn restart(&mut self) -> Result<()> {
        let Some(node) = &mut self.node else {
            bail!("{} cannot be started again from here", self.name);
        };
        node.stop()?;
        node.restart()?;
        self.target = node.target()?;
        Ok(())
    }

    /// Where IMAP is.
    pub fn imap(&self) -> Result<SocketAddr> {
        self.target
            .imap
            .with_context(|| format!("{} has no imap address", self.name))
    }

    /// Where POP3 is.
    pub fn pop3(&self) -> Result<SocketAddr> {
        self.target
            .pop3
            .with_context(|| format!("{} has no pop3 address", self.name))
    }

    /// Where other servers bring mail.
    pub fn smtp(&self) -> Result<SocketAddr> {
        self.target
            .smtp
            .with_context(|| format!("{} has no smtp address", self.name))
    }

    /// Where users hand in mail.
    pub fn submission(&self) -> Result<SocketAddr> {
        let address = self.target.submission;
        address.with_context(|| format!("{} has no submission address", self.name))
    }

    /// The password of every account.
    pub fn password(&self) -> Result<&str> {
        let password = self.target.accounts.password.expose_str();
        password.with_context(|| format!("the password of {} is not text", self.name))
    }

    /// Does work that returns how many units it did; units per second is its value.
    pub fn timed(&self, work: impl FnOnce() -> Result<u64>) -> Result<Sample> {
        let engines = || trees_cpu(&self.target.engines);
        let (server, under, generator, begin) = (self.cpu(), engines(), own_cpu(), Instant::now());
        let units = work()?;
        let seconds = begin.elapsed().as_secs_f64();
        let (generator, server, under) = (own_cpu() - generator, self.cpu() - server, engines() - under);
        Ok(Sample {
            value: units as f64 / seconds.max(1e-9),
            units,
            seconds,
            server_cpu: server.max(0.0),
            engines_cpu: under.max(0.0),
            generator_cpu: generator,
            memory: self.memory(),
        })
    }

    /// Bytes of memory of its processes, shared pages counted once.
    pub fn memory(&self) -> u64 {
        tree_memory(&self.target.processes)
    }

    /// Waits until it does nothing, so that what it still does for one round is not charged to the next.
    pub fn settle(&self) {
        let begin = Instant::now();
        while begin.elapsed() < SETTLE {
            let (before, since) = (self.cpu(), Instant::now());
            pause(Duration::from_millis(300));
            if (self.cpu() - before) / since.elapsed().as_secs_f64() < REST {
                return;
            }
        }
    }

    /// CPU seconds its processes have used so far.
    fn cpu(&self) -> f64 {
        trees_cpu(&self.target.processes)
    }
}

fn trees_cpu(processes: &[u32]) -> f64 {
    processes.iter().map(|pid| tree_cpu(*pid)).sum()
}

/// Waits without taking a processor.
pub fn pause(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        thread::park_timeout(left);
    }
}

/// CPU seconds of this process alone, to the nanosecond.
fn own_cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
