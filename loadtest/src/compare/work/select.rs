//! Opening a mailbox.

use std::time::Instant;

use anyhow::Result;

use super::fetch::folder;
use crate::compare::imap::Imap;
use crate::compare::rows::{Bench, READER, Work};
use crate::compare::system::{Sample, System};

/// SELECT.
pub struct Select {
    messages: u64,
    cold: bool,
}

impl Select {
    /// Again and again.
    pub fn warm(messages: u64) -> Self {
        Self {
            messages,
            cold: false,
        }
    }

    /// The first one after a start; the value is milliseconds.
    pub fn cold(messages: u64) -> Self {
        Self { messages, cold: true }
    }
}

impl Work for Select {
    fn prepare(&mut self, system: &mut System, _bench: &Bench) -> Result<()> {
        folder(system, self.messages).map(drop)
    }

    fn round(&mut self, system: &mut System, _round: u32, bench: &Bench) -> Result<Sample> {
        let select = format!("SELECT Folder{}", self.messages);
        if self.cold {
            system.restart()?;
            system.settle();
        }
        let mut imap = Imap::login(system, READER)?;
        let mut sample = system.timed(|| {
            let until = Instant::now() + bench.time;
            let mut done = 0;
            while done == 0 || !self.cold && Instant::now() < until {
                imap.command(&select)?;
                done += 1;
            }
            Ok(done)
        })?;
        if self.cold {
            sample.value = sample.seconds * 1e3;
        }
        imap.logout()?;
        Ok(sample)
    }
}
