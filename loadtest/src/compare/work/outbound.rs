//! Mail from users through the queue to other servers, until the last message has arrived there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::on_threads;
use crate::compare::letters::Letters;
use crate::compare::rows::{Bench, Work};
use crate::compare::smtp::Smtp;
use crate::compare::system::{Sample, System, pause};

/// How long what was accepted may take to arrive.
const ARRIVED: Duration = Duration::from_secs(180);

/// So many users who submit one message after the other.
pub struct Outbound {
    connections: u64,
    letters: Letters,
    next: AtomicU64,
}

impl Outbound {
    /// Messages of `size` bytes.
    pub fn new(connections: u64, size: usize) -> Self {
        Self {
            connections,
            letters: Letters::new(size),
            next: AtomicU64::new(0),
        }
    }

    fn submit(&self, system: &System, until: Instant) -> Result<u64> {
        let domains = &system.target.remote_domains;
        let (submission, password) = (system.submission()?, system.password()?);
        on_threads(self.connections, |rank| {
            let from = system.target.accounts.address(rank);
            let mut session = Smtp::connect(submission)?;
            session.authenticate(&from, password)?;
            let (mut count, mut content) = (0, Vec::new());
            while Instant::now() < until {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let to = format!("bob@{}", domains[(number % domains.len() as u64) as usize]);
                content.clear();
                self.letters.write_from(number, &from, &to, &mut content);
                content.extend_from_slice(b".\r\n");
                session.begin(&from, &to)?;
                session.content(&content)?;
                session.accepted()?;
                count += 1;
            }
            session.quit()?;
            Ok(count)
        })
    }
}

impl Work for Outbound {
    fn prepare(&mut self, system: &mut System, _bench: &Bench) -> Result<()> {
        if system.target.remote_domains.is_empty() {
            bail!(
                "{} has no remote_domains: nothing is routed to the sink",
                system.name
            );
        }
        Ok(())
    }

    fn round(&mut self, system: &mut System, _round: u32, bench: &Bench) -> Result<Sample> {
        let before = bench.sink.messages();
        system.timed(|| {
            let submitted = self.submit(system, Instant::now() + bench.time)?;
            let since = Instant::now();
            while bench.sink.messages() - before < submitted {
                if since.elapsed() > ARRIVED {
                    let arrived = bench.sink.messages() - before;
                    bail!("{arrived} of {submitted} messages have arrived at the sink after {ARRIVED:?}");
                }
                pause(Duration::from_millis(2));
            }
            Ok(submitted)
        })
    }
}
