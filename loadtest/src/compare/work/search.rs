//! SEARCH in a mailbox of 100,000 messages.

use std::time::Instant;

use anyhow::{Result, bail};

use super::fetch::folder;
use crate::compare::imap::Imap;
use crate::compare::rows::{Bench, READER, Work};
use crate::compare::system::{Sample, System};

const MESSAGES: u64 = 100_000;
const UNSEEN: u64 = 1000;

/// SEARCH for something.
pub struct Search {
    /// What for.
    pub criterion: &'static str,
}

impl Work for Search {
    fn prepare(&mut self, system: &mut System, _bench: &Bench) -> Result<()> {
        let mailbox = folder(system, MESSAGES)?;
        let mut imap = Imap::login(system, READER)?;
        imap.command(&format!("SELECT {mailbox}"))?;
        imap.command(&format!("STORE 1:{} +FLAGS.SILENT (\\Seen)", MESSAGES - UNSEEN))?;
        imap.logout()
    }

    fn round(&mut self, system: &mut System, _round: u32, bench: &Bench) -> Result<Sample> {
        let mut imap = Imap::login(system, READER)?;
        imap.command(&format!("SELECT Folder{MESSAGES}"))?;
        let search = format!("SEARCH {}", self.criterion);
        let sample = system.timed(|| {
            let until = Instant::now() + bench.time;
            let mut done = 0;
            while done == 0 || Instant::now() < until {
                let mut found = false;
                imap.each(&search, |line| {
                    // "* SEARCH 7 …": something must be found, or it was no search.
                    found |= line
                        .strip_prefix(b"* SEARCH ")
                        .is_some_and(|rest| !rest.is_empty());
                })?;
                if !found {
                    bail!("{search} found nothing");
                }
                done += 1;
            }
            Ok(done)
        })?;
        imap.logout()?;
        Ok(sample)
    }
}
