//! APPEND: programs that save what they send, one message at a time.

use std::time::Instant;

use anyhow::Result;

use super::on_threads;
use crate::compare::fill::fill;
use crate::compare::imap::Imap;
use crate::compare::letters::Letters;
use crate::compare::rows::{APPENDERS, Bench, Work};
use crate::compare::system::{Sample, System};

const CONNECTIONS: u64 = 10;
const SIZE: usize = 4 << 10;

/// Ten accounts append to their own mailboxes.
pub struct Append;

impl Work for Append {
    fn round(&mut self, system: &mut System, round: u32, bench: &Bench) -> Result<Sample> {
        let letters = Letters::new(SIZE);
        let system = &*system;
        let mailbox = format!("Appended{round}");
        for number in 0..CONNECTIONS {
            fill(system, APPENDERS + number, &mailbox, 0, &letters)?;
        }
        system.timed(|| {
            let until = Instant::now() + bench.time;
            on_threads(CONNECTIONS, |number| {
                let rank = APPENDERS + number;
                let to = system.target.accounts.address(rank);
                let mut imap = Imap::login(system, rank)?;
                let (mut count, mut message) = (0, Vec::new());
                while Instant::now() < until {
                    message.clear();
                    letters.write(count, &to, &mut message);
                    imap.append(&mailbox, &message)?;
                    count += 1;
                }
                imap.logout()?;
                Ok(count)
            })
        })
    }
}
