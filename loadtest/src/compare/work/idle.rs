//! What a connection costs that waits.

use std::time::Duration;

use anyhow::{Result, bail};
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::on_threads;
use crate::compare::imap::Imap;
use crate::compare::rows::{Bench, Work};
use crate::compare::system::{Sample, System, pause};

/// What the rows with idling connections say.
pub const NOTE: &str = "proportional memory (PSS) of all processes; what the kernel keeps for processes and sockets is not \
                        counted, which favours the system with one process per connection";
/// Connections that are made at the same time.
const AT_ONCE: u64 = 16;
/// Every account once, first: caches of accounts are not memory of connections.
const WARM_UP: u64 = 100;
/// Then so large a share of the connections that are measured: what checking the first passwords took is given back when the
/// allocator is next at work.
const WARM_UP_SHARE: u64 = 10;
/// How long memory that is free may take to be given back.
const FREED: Duration = Duration::from_secs(2);
/// Dovecot keeps processes that serve nobody for a minute; a connection that finds one would seem to cost nothing.
const LEFT_OVER: Duration = Duration::from_secs(65);

/// Connections in IDLE with INBOX selected.
pub struct Idle {
    /// Whether they use TLS.
    pub tls: bool,
}

impl Work for Idle {
    fn prepare(&mut self, system: &mut System, bench: &Bench) -> Result<()> {
        room_for(bench.idle_on(system))
    }

    fn round(&mut self, system: &mut System, _round: u32, bench: &Bench) -> Result<Sample> {
        if system.is_postrider() {
            system.restart()?;
        } else {
            pause(LEFT_OVER);
        }
        let count = bench.idle_on(system);
        let mut sessions = idling(system, WARM_UP, self.tls)?;
        pause(FREED);
        sessions.extend(idling(system, count / WARM_UP_SHARE, self.tls)?);
        pause(FREED);
        system.settle();
        let before = system.memory();
        let mut sample = system.timed(|| {
            sessions.extend(idling(system, count, self.tls)?);
            Ok(count)
        })?;
        pause(FREED);
        system.settle();
        sample.memory = system.memory();
        sample.value = sample.memory.saturating_sub(before) as f64 / count as f64;
        Ok(sample)
    }
}

/// Opens so many sessions, spread over the accounts, and leaves them in IDLE.
pub(super) fn idling(system: &System, count: u64, tls: bool) -> Result<Vec<Imap>> {
    let sessions = Mutex::new(Vec::with_capacity(count as usize));
    on_threads(AT_ONCE, |thread| {
        let mut rank = thread;
        while rank < count {
            let mut imap = if tls {
                Imap::login_tls(system, rank)?
            } else {
                Imap::login(system, rank)?
            };
            imap.command("SELECT INBOX")?;
            imap.idle()?;
            sessions.lock().push(imap);
            rank += AT_ONCE;
        }
        Ok(0)
    })?;
    Ok(sessions.into_inner())
}

/// Lets this process, and what it starts, open as many files as it may at all.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // When it is refused, the rows that need more say so.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Whether this process may have so many connections open.
pub(super) fn room_for(connections: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = connections + connections / WARM_UP_SHARE + WARM_UP + 200;
    if limit < needed {
        bail!(
            "{connections} connections need {needed} open files and `ulimit -n` is {limit}: raise it, or ask for fewer with --idle"
        );
    }
    Ok(())
}
