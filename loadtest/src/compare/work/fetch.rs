//! Listing a whole mailbox, as a client does that sees it for the first time.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::compare::fill::fill;
use crate::compare::imap::Imap;
use crate::compare::letters::Letters;
use crate::compare::rows::{Bench, READER, Work};
use crate::compare::system::{Sample, System};

/// What needs no message to be opened.
pub const FLAGS: &str = "(FLAGS RFC822.SIZE)";
/// What a mail program shows.
pub const ENVELOPE: &str = "(UID FLAGS ENVELOPE INTERNALDATE)";
/// Small messages: what is read is what the server knows about them.
pub const SIZE: usize = 1024;

/// FETCH 1:* of something.
pub struct Fetch {
    messages: u64,
    items: &'static str,
    cold: bool,
}

impl Fetch {
    /// Again and again.
    pub fn warm(messages: u64, items: &'static str) -> Self {
        Self {
            messages,
            items,
            cold: false,
        }
    }

    /// Once for every freshly filled mailbox.
    pub fn cold(messages: u64, items: &'static str) -> Self {
        Self {
            messages,
            items,
            cold: true,
        }
    }

    fn fetch(&self, imap: &mut Imap) -> Result<()> {
        let told = imap.command(&format!("FETCH 1:* {}", self.items))?;
        if told < self.messages {
            bail!("FETCH of {} messages had {told} answers", self.messages);
        }
        Ok(())
    }

    fn cold_round(&self, system: &mut System) -> Result<Sample> {
        let mailbox = format!("Cold{}", self.messages);
        // Emptied first: it may be left over from an earlier run that was interrupted.
        fill(system, READER, &mailbox, 0, &Letters::new(SIZE))?;
        fill(system, READER, &mailbox, self.messages, &Letters::new(SIZE))?;
        if system.is_postrider() {
            system.restart()?;
        }
        system.settle();
        let mut imap = Imap::login(system, READER)?;
        let sample = system.timed(|| {
            imap.command(&format!("SELECT {mailbox}"))?;
            self.fetch(&mut imap)?;
            Ok(self.messages)
        })?;
        imap.command("UNSELECT")?;
        imap.command(&format!("DELETE {mailbox}"))?;
        imap.logout()?;
        Ok(sample)
    }
}

impl Work for Fetch {
    fn prepare(&mut self, system: &mut System, _bench: &Bench) -> Result<()> {
        if self.cold {
            return Ok(());
        }
        let mailbox = folder(system, self.messages)?;
        let mut imap = Imap::login(system, READER)?;
        imap.command(&format!("SELECT {mailbox}"))?;
        self.fetch(&mut imap)?;
        imap.logout()
    }

    fn round(&mut self, system: &mut System, _round: u32, bench: &Bench) -> Result<Sample> {
        if self.cold {
            return self.cold_round(system);
        }
        let mut imap = Imap::login(system, READER)?;
        imap.command(&format!("SELECT {}", name(self.messages)))?;
        let sample = system.timed(|| {
            let until = Instant::now() + bench.time;
            let mut done = 0;
            while done == 0 || Instant::now() < until {
                self.fetch(&mut imap)?;
                done += self.messages;
            }
            Ok(done)
        })?;
        imap.logout()?;
        Ok(sample)
    }
}

/// The mailbox of so many messages that several rows share; filled when it is not there. Its name.
pub(super) fn folder(system: &System, messages: u64) -> Result<String> {
    fill(system, READER, &name(messages), messages, &Letters::new(SIZE))?;
    Ok(name(messages))
}

fn name(messages: u64) -> String {
    format!("Folder{messages}")
}
