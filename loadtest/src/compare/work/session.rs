//! Short IMAP sessions, as those of phones and web mail: everything is asked for anew.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};

use super::on_threads;
use crate::compare::fill::fill;
use crate::compare::imap::Imap;
use crate::compare::letters::Letters;
use crate::compare::rows::{Bench, RECIPIENTS, Work};
use crate::compare::system::{Sample, System};

const AT_ONCE: u64 = 10;
const MESSAGES: u64 = 50;
const MAILBOX: &str = "Fifty";

/// LOGIN, SELECT, FETCH 1:50 ENVELOPE, LOGOUT.
pub struct Session;

impl Work for Session {
    fn prepare(&mut self, system: &mut System, _bench: &Bench) -> Result<()> {
        let letters = Letters::new(4 << 10);
        for rank in 0..RECIPIENTS {
            fill(system, rank, MAILBOX, MESSAGES, &letters)?;
            let mut imap = Imap::login(system, rank)?;
            session(&mut imap)?;
            imap.logout()?;
        }
        Ok(())
    }

    fn round(&mut self, system: &mut System, _round: u32, bench: &Bench) -> Result<Sample> {
        let next = AtomicU64::new(0);
        let system = &*system;
        system.timed(|| {
            let until = Instant::now() + bench.time;
            on_threads(AT_ONCE, |_| {
                let mut count = 0;
                while Instant::now() < until {
                    let rank = next.fetch_add(1, Ordering::Relaxed) % RECIPIENTS;
                    let mut imap = Imap::login(system, rank)?;
                    session(&mut imap)?;
                    imap.logout()?;
                    count += 1;
                }
                Ok(count)
            })
        })
    }
}

fn session(imap: &mut Imap) -> Result<()> {
    imap.command(&format!("SELECT {MAILBOX}"))?;
    let told = imap.command("FETCH 1:50 ENVELOPE")?;
    if told < MESSAGES {
        bail!("FETCH of {MESSAGES} envelopes had {told} answers");
    }
    Ok(())
}
