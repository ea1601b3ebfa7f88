//! COPY of a whole mailbox.

use std::time::Instant;

use anyhow::Result;

use super::fetch::folder;
use crate::compare::imap::Imap;
use crate::compare::rows::{Bench, READER, Work};
use crate::compare::system::{Sample, System};

const MESSAGES: u64 = 10_000;

/// COPY 1:* into a new mailbox, as often as there is time.
pub struct Copy;

impl Work for Copy {
    fn prepare(&mut self, system: &mut System, _bench: &Bench) -> Result<()> {
        folder(system, MESSAGES).map(drop)
    }

    fn round(&mut self, system: &mut System, round: u32, bench: &Bench) -> Result<Sample> {
        let mut imap = Imap::login(system, READER)?;
        imap.command(&format!("SELECT Folder{MESSAGES}"))?;
        let mut copies = 0;
        let sample = system.timed(|| {
            let until = Instant::now() + bench.time;
            while copies == 0 || Instant::now() < until {
                imap.command(&format!("CREATE Copy{round}x{copies}"))?;
                imap.command(&format!("COPY 1:* Copy{round}x{copies}"))?;
                copies += 1;
            }
            Ok(copies * MESSAGES)
        })?;
        for copy in 0..copies {
            imap.command(&format!("DELETE Copy{round}x{copy}"))?;
        }
        imap.logout()?;
        Ok(sample)
    }
}
