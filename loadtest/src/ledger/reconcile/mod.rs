//! Reconciling: what was promised against what is there.
//!
//! **Inputs:** one ledger or several (the parts of one run), the accounts of the target, read through IMAP, POP3 or both, and the
//! sink's record. **Output:** a [`Verdict`]; and in the first ledger's directory `lost.txt`, `duplicated.txt`, `altered.txt` and
//! `out-of-order.txt` with every finding.
//!
//! What counts as what, for one message and one recipient:
//!
//! * A copy counts wherever it is in the account, so a message that was moved is there. A copy that a poller deleted counts
//!   by its sighting; another copy beside it is a duplicate. When QUIT was not answered nobody knows: not lost, no duplicate.
//! * A copy at the sink whose sender got no answer may come again: it is there, and does not count as a duplicate.
//! * A recipient that the sink refused for good is owed a notification; the promise counts as returned, not as lost.
//! * What nobody promised may be there once.
//! * Order is judged in INBOX: see `order`.
//!
//! Mail that is still queued is waited for: as long as more comes, at most [`Options::wait`].
//!
//! **Memory:** promises and copies go through files (see `shard`), some 40 MiB at a time for ten million of them.

mod command;
mod judge;
mod order;
mod read;
mod shard;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::sleep;

use super::journal::{About, PROMISES, SIGHTINGS};
use super::{Lines, Promise, Sighting, SinkEntry, Verdict};
use crate::target::Target;
pub use command::Command;
use judge::{Circumstances, Judgement, judge};
use read::{ReadError, Reader};
use shard::{Fact, Key, Promised, Seen, Shards};

/// How often an account is tried.
const ATTEMPTS: u32 = 3;

/// Time between two looks whether more mail has come.
const LOOK: Duration = Duration::from_secs(1);

/// Accounts that are looked at for more mail, at most.
const LOOK_AT: usize = 50;

/// Through which protocol accounts are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Verify {
    /// IMAP where the target has it, else POP3.
    #[default]
    Auto,
    /// Every mailbox.
    Imap,
    /// The maildrop.
    Pop3,
    /// Both, which must agree about INBOX.
    Both,
}

/// What is to be reconciled.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directories of ledgers; more than one when a run had parts.
    pub ledgers: Vec<PathBuf>,
    /// The server that made the promises.
    pub target: Target,
    /// What the sink wrote down, for promises to recipients elsewhere.
    pub sink_record: Option<PathBuf>,
    /// How accounts are read.
    pub verify: Verify,
    /// Content is compared; without it only ids are read (through IMAP), and nothing is found altered.
    pub content: bool,
    /// How long to wait for mail that is still queued, at most.
    pub wait: Duration,
    /// How long nothing may come before waiting is over: longer than the server pauses between two attempts.
    pub quiet: Duration,
    /// Accounts read at once.
    pub connections: usize,
}

/// A reconciliation under way.
struct Reconciliation<'a> {
    options: &'a Options,
    directory: &'a Path,
    work: tempfile::TempDir,
    runs: Vec<u32>,
    shards: Arc<Shards>,
    circumstances: Circumstances,
    /// Who was promised something here.
    accounts: BTreeSet<String>,
    /// How many were promised something elsewhere.
    remote: u64,
    /// How far the sink's record has been read, in octets.
    sink_read: u64,
}

impl Options {
    /// Everything as it should be for most: content compared, five minutes of patience, a minute of silence, four connections.
    pub fn new(ledger: PathBuf, target: Target) -> Self {
        Self {
            ledgers: vec![ledger],
            target,
            sink_record: None,
            verify: Verify::Auto,
            content: true,
            wait: Duration::from_secs(300),
            quiet: Duration::from_secs(60),
            connections: 4,
        }
    }
}

/// Compares promises with what is there. Fails when an account or a file cannot be read: then nobody knows.
pub async fn reconcile(options: &Options) -> Result<Verdict> {
    let mut reconciliation = Reconciliation::begin(options)?;
    let accounts = std::mem::take(&mut reconciliation.accounts);
    reconciliation.read_accounts(&accounts).await?;
    let until = Instant::now() + options.wait;
    loop {
        reconciliation.read_sink()?;
        let Judgement { verdict, missed } = reconciliation.judge().await?;
        if missed.is_empty() || !reconciliation.more_comes(&missed, until).await {
            return Ok(verdict);
        }
        let here = reconciliation.local(&missed);
        tracing::info!(lost = verdict.lost.count, "mail still comes in; looking again");
        reconciliation.read_accounts(&here).await?;
    }
}

impl<'a> Reconciliation<'a> {
    /// Reads the ledgers.
    fn begin(options: &'a Options) -> Result<Self> {
        let directory = options.ledgers.first().context("no ledger was given")?;
        // Of all of them before any is read: a part's poller may have deleted what was promised to another part.
        let run_of = |ledger: &PathBuf| About::read(ledger).with_context(|| unreadable(ledger));
        let runs = options
            .ledgers
            .iter()
            .map(|ledger| run_of(ledger).map(|about| about.run));
        let runs = runs.collect::<Result<Vec<_>>>()?;
        let work = tempfile::Builder::new()
            .prefix("reconcile-")
            .tempdir_in(directory)
            .with_context(|| format!("cannot work in {}", directory.display()))?;
        let mut reconciliation = Self {
            options,
            directory,
            runs,
            shards: Arc::new(Shards::create(&work.path().join("facts"))?),
            circumstances: Circumstances {
                refused: HashSet::new(),
                both: options.verify == Verify::Both,
            },
            accounts: BTreeSet::new(),
            remote: 0,
            sink_read: 0,
            work,
        };
        for (source, ledger) in options.ledgers.iter().enumerate() {
            let source = u16::try_from(source).context("too many ledgers")?;
            reconciliation
                .read_ledger(ledger, source)
                .with_context(|| unreadable(ledger))?;
        }
        reconciliation.check()?;
        Ok(reconciliation)
    }

    /// Whether everything that was promised can be looked for.
    fn check(&self) -> Result<()> {
        let Options {
            target,
            verify,
            sink_record,
            ..
        } = self.options;
        if self.remote > 0 && sink_record.is_none() {
            bail!(
                "{} promises are for recipients elsewhere than {}: say where the sink wrote down what it got (--sink-record)",
                self.remote,
                target.accounts.domain
            );
        }
        let (imap, pop3) = (target.imap.is_some(), target.pop3.is_some());
        let readable = match verify {
            Verify::Auto => imap || pop3,
            Verify::Imap => imap,
            Verify::Pop3 => pop3,
            Verify::Both => imap && pop3,
        };
        ensure!(
            readable || self.accounts.is_empty(),
            "the target names no address to read accounts from (imap, pop3)"
        );
        Ok(())
    }

    fn read_ledger(&mut self, ledger: &Path, source: u16) -> io::Result<()> {
        let mut promises = Lines::<Promise>::open(&ledger.join(PROMISES))?;
        for promise in promises.by_ref() {
            let promise = promise?;
            let key = Key::new(promise.id, &promise.recipient);
            let fact = Fact::Promised(Promised::new(&promise, source));
            self.shards.add_by_key(&key, &fact)?;
            if !self.is_local(&key.recipient) {
                self.remote += 1;
            } else if !self.accounts.contains(&promise.recipient) {
                // As it was written: some servers tell case apart at login.
                self.accounts.insert(promise.recipient);
            }
        }
        let mut sightings = Lines::<Sighting>::open(&ledger.join(SIGHTINGS))?;
        for sighting in sightings.by_ref() {
            self.add_sighting(&sighting?)?;
        }
        for (lines, name) in [(promises.damaged(), PROMISES), (sightings.damaged(), SIGHTINGS)] {
            if lines > 0 {
                tracing::warn!(
                    lines,
                    name,
                    "lines of the ledger are damaged; what a crash cut short was never confirmed"
                );
            }
        }
        Ok(())
    }

    /// Reads what the sink has written down since the last time.
    fn read_sink(&mut self) -> Result<()> {
        let Some(path) = &self.options.sink_record else {
            return Ok(());
        };
        let read = |this: &mut Self| -> io::Result<()> {
            let mut entries = Lines::<SinkEntry>::open_at(path, this.sink_read)?;
            for entry in entries.by_ref() {
                match entry? {
                    SinkEntry::Seen(sighting) => this.add_sighting(&sighting)?,
                    SinkEntry::Refused {
                        recipient,
                        message: Some(id),
                        ..
                    } => {
                        let key = Key::new(id, &recipient);
                        this.shards.add_by_key(&key, &Fact::Refused)?;
                    }
                    SinkEntry::Refused { recipient, .. } => {
                        this.circumstances.refused.insert(recipient.to_lowercase());
                    }
                }
            }
            this.sink_read = entries.whole();
            Ok(())
        };
        read(self).with_context(|| format!("cannot read the sink's record {}", path.display()))
    }

    fn add_sighting(&self, sighting: &Sighting) -> io::Result<()> {
        if !self.runs.contains(&sighting.id.run) {
            return Ok(());
        }
        let key = Key::new(sighting.id, &sighting.recipient);
        self.shards.add_by_key(&key, &Fact::Seen(Seen::during(sighting)))
    }

    async fn read_accounts(&self, accounts: &BTreeSet<String>) -> Result<()> {
        let work = stream::iter(accounts).map(|account| self.read_account(account));
        let at_once = self.options.connections.max(1);
        work.buffer_unordered(at_once).try_collect::<()>().await
    }

    /// Reads an account, again from its beginning when the server did not let us: a copy that is seen twice is one copy.
    async fn read_account(&self, account: &str) -> Result<()> {
        let reader = Reader {
            target: &self.options.target,
            shards: &self.shards,
            runs: &self.runs,
            content: self.options.content,
        };
        let has_imap = self.options.target.imap.is_some();
        let (imap, pop3) = match self.options.verify {
            Verify::Auto => (has_imap, !has_imap),
            Verify::Imap => (true, false),
            Verify::Pop3 => (false, true),
            Verify::Both => (true, true),
        };
        let mut attempt = 1;
        loop {
            let read = async {
                if imap {
                    reader.mailboxes(account).await?;
                }
                if pop3 {
                    reader.maildrop(account).await?;
                }
                Ok::<(), ReadError>(())
            };
            match Box::pin(read).await {
                Ok(()) => return Ok(()),
                Err(ReadError::Server(failure)) if attempt < ATTEMPTS => {
                    tracing::warn!(account, %failure, "cannot read the account; trying again");
                    sleep(LOOK * attempt).await;
                    attempt += 1;
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read the account {account}"));
                }
            }
        }
    }

    async fn judge(&mut self) -> Result<Judgement> {
        let shards = self.shards.clone();
        let circumstances = std::mem::take(&mut self.circumstances);
        let (directory, work) = (self.directory.to_owned(), self.work.path().join("order"));
        // Disk and processor for a while: whoever else runs here, the sink for one, must not stand still.
        let judging = tokio::task::spawn_blocking(move || {
            let judgement = judge(&shards, &circumstances, &directory, &work);
            (judgement, circumstances)
        });
        let (judgement, circumstances) = judging.await?;
        self.circumstances = circumstances;
        judgement.with_context(|| format!("cannot work in {}", self.directory.display()))
    }

    /// Waits until something has come for those who miss something; false when nothing does, or time is over.
    async fn more_comes(&self, missed: &BTreeSet<String>, until: Instant) -> bool {
        let here = self.local(missed);
        let before = self.amount(&here).await;
        let quiet = (Instant::now() + self.options.quiet).min(until);
        while Instant::now() < quiet {
            sleep(LOOK).await;
            let mut now = self.amount(&here).await;
            if now == before {
                continue;
            }
            // Until it comes more slowly than we can look, another look would be too early.
            while Instant::now() < until {
                sleep(LOOK).await;
                let next = self.amount(&here).await;
                if next == now {
                    break;
                }
                now = next;
            }
            return true;
        }
        false
    }

    /// A number that changes when something comes.
    async fn amount(&self, accounts: &BTreeSet<String>) -> u64 {
        let record = self.options.sink_record.as_ref();
        let octets = record
            .and_then(|path| fs::metadata(path).ok())
            .map_or(0, |data| data.len());
        let counts = stream::iter(accounts.iter().take(LOOK_AT)).map(|account| async move {
            // An account that cannot be looked at now will be at the next look.
            read::count(&self.options.target, account)
                .await
                .unwrap_or_default()
        });
        let at_once = self.options.connections.max(1);
        let messages = counts
            .buffer_unordered(at_once)
            .fold(0, |sum, count| async move { sum + count });
        octets + messages.await
    }

    /// Those of them that have an account here.
    fn local(&self, recipients: &BTreeSet<String>) -> BTreeSet<String> {
        recipients
            .iter()
            .filter(|recipient| self.is_local(recipient))
            .cloned()
            .collect()
    }

    fn is_local(&self, recipient: &str) -> bool {
        let domain = recipient.rsplit_once('@').map(|(_, domain)| domain);
        domain.is_some_and(|domain| domain.eq_ignore_ascii_case(&self.options.target.accounts.domain))
    }
}

fn unreadable(ledger: &Path) -> String {
    format!("cannot read the ledger {}", ledger.display())
}
