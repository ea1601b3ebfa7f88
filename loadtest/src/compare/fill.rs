//! Filling mailboxes, which is not measured but has to end: both systems alike, over many connections into the same mailbox,
//! because a message that is synced alone takes as long as the disk does.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};

use super::imap::Imap;
use super::letters::Letters;
use super::system::System;
use super::work::on_threads;

/// Messages appended with one command, where the server can.
const WINDOW: u64 = 100;
/// Connections that append to one mailbox.
const CONNECTIONS: u64 = 24;

/// Makes sure that `mailbox` of the account with this rank exists and has exactly `count` messages, numbered from 0.
pub fn fill(system: &System, rank: u64, mailbox: &str, count: u64, letters: &Letters) -> Result<()> {
    let mut imap = Imap::login(system, rank)?;
    let has = imap.messages(mailbox).ok();
    if has == Some(count) {
        return imap.logout();
    }
    empty(&mut imap, mailbox, has)?;
    let next = AtomicU64::new(0);
    on_threads(CONNECTIONS.min(count.div_ceil(WINDOW)), |_| {
        let mut imap = Imap::login(system, rank)?;
        loop {
            let begin = next.fetch_add(WINDOW, Ordering::Relaxed);
            if begin >= count {
                break;
            }
            imap.append_all(mailbox, begin..count.min(begin + WINDOW), letters)?;
        }
        imap.logout()?;
        Ok(0)
    })?;
    match imap.messages(mailbox)? {
        there if there == count => imap.logout(),
        there => bail!("{mailbox} has {there} messages after {count} were appended"),
    }
}

/// A mailbox without messages; `has` is how many it has, none when there is no such mailbox.
fn empty(imap: &mut Imap, mailbox: &str, has: Option<u64>) -> Result<()> {
    if mailbox == "INBOX" {
        if has != Some(0) {
            imap.command("SELECT INBOX")?;
            imap.command("STORE 1:* +FLAGS.SILENT (\\Deleted)")?;
            imap.command("CLOSE")?;
        }
        return Ok(());
    }
    if has.is_some() {
        imap.command(&format!("DELETE {mailbox}"))?;
    }
    imap.command(&format!("CREATE {mailbox}")).map(drop)
}
