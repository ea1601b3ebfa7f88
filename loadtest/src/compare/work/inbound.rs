//! Mail from other servers into mailboxes, until the last message can be read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::on_threads;
use crate::compare::imap::Imap;
use crate::compare::letters::Letters;
use crate::compare::rows::{Bench, RECIPIENTS, Work};
use crate::compare::smtp::Smtp;
use crate::compare::system::{Sample, System, pause};

/// How long what was accepted may take to be readable.
const VISIBLE: Duration = Duration::from_secs(180);
const SENDER: &str = "alice@crepes.fr";

/// So many connections that send one message after the other.
pub struct Inbound {
    connections: u64,
    letters: Letters,
    next: AtomicU64,
}

impl Inbound {
    /// Messages of `size` bytes.
    pub fn new(connections: u64, size: usize) -> Self {
        Self {
            connections,
            letters: Letters::new(size),
            next: AtomicU64::new(0),
        }
    }

    /// Sends until the time is over; how many were accepted, also by recipient.
    fn send(&self, system: &System, until: Instant, accepted: &[AtomicU64]) -> Result<u64> {
        let addresses: Vec<String> = (0..RECIPIENTS)
            .map(|rank| system.target.accounts.address(rank))
            .collect();
        let smtp = system.smtp()?;
        on_threads(self.connections, |_| {
            let mut session = Smtp::connect(smtp)?;
            let (mut count, mut content) = (0, Vec::new());
            while Instant::now() < until {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let rank = (number % RECIPIENTS) as usize;
                content.clear();
                self.letters.write(number, &addresses[rank], &mut content);
                content.extend_from_slice(b".\r\n");
                session.begin(SENDER, &addresses[rank])?;
                session.content(&content)?;
                session.accepted()?;
                accepted[rank].fetch_add(1, Ordering::Relaxed);
                count += 1;
            }
            session.quit()?;
            Ok(count)
        })
    }
}

impl Work for Inbound {
    fn round(&mut self, system: &mut System, _round: u32, bench: &Bench) -> Result<Sample> {
        let mut mailboxes = (0..RECIPIENTS)
            .map(|rank| Mailbox::open(system, rank))
            .collect::<Result<Vec<_>>>()?;
        let accepted: Vec<AtomicU64> = mailboxes.iter().map(|_| AtomicU64::new(0)).collect();
        system.timed(|| {
            let sent = self.send(system, Instant::now() + bench.time, &accepted)?;
            for (mailbox, accepted) in mailboxes.iter_mut().zip(&accepted) {
                mailbox.expected += accepted.load(Ordering::Relaxed);
            }
            wait_until_readable(&mut mailboxes)?;
            Ok(sent)
        })
    }
}

/// A recipient's INBOX, watched through IMAP.
struct Mailbox {
    imap: Imap,
    expected: u64,
}

impl Mailbox {
    fn open(system: &System, rank: u64) -> Result<Self> {
        let mut imap = Imap::login(system, rank)?;
        let expected = imap.messages("INBOX")?;
        Ok(Self { imap, expected })
    }
}

fn wait_until_readable(mailboxes: &mut [Mailbox]) -> Result<()> {
    let begin = Instant::now();
    let mut open: Vec<&mut Mailbox> = mailboxes.iter_mut().collect();
    loop {
        for mailbox in &mut open {
            mailbox.imap.ask()?;
        }
        let mut missing = 0;
        let mut still = Vec::new();
        for mailbox in open {
            let there = mailbox.imap.told()?;
            if there < mailbox.expected {
                missing += mailbox.expected - there;
                still.push(mailbox);
            }
        }
        if still.is_empty() {
            return Ok(());
        }
        if begin.elapsed() > VISIBLE {
            bail!("{missing} accepted messages are not readable after {VISIBLE:?}");
        }
        open = still;
        // Much is missing: asking more often would only take processor time from the server.
        pause(Duration::from_millis(if missing > 500 { 50 } else { 5 }));
    }
}
