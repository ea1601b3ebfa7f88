//! Work between a caller and the committer: jobs, and the bounded queue they wait in.
//!
//! The queue also decides when a batch is taken: at once while nothing is being committed; else when as many jobs wait as the batch before
//! had, or many bytes. The price of a batch in syncs, pages and wake-ups is nearly the same for one job and for ten, so a few that come
//! while others are being committed had better wait for more.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use postrider_types::ContentId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::segment::{Located, Record};
use crate::transaction::Transaction;
use crate::{Error, Result};

/// What a job without contents counts against the budget of waiting bytes.
const JOB_BYTES: usize = 1024;
/// Bytes of contents that are worth writing while the batch before is being committed, however few jobs bring them.
const WORTH_OVERLAP: usize = 256 << 10;

/// A job whose type is hidden: run (again, if the batch has to be replayed), then told how it ended.
pub(crate) trait Work: Send {
    /// Runs it and keeps its result.
    fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<()>;
    /// Tells the caller: its result if `outcome` is good, else the error.
    fn finish(self: Box<Self>, outcome: Result<()>);
    /// Whether the caller still waits.
    fn is_wanted(&self) -> bool;
}

struct Job<T, J> {
    job: J,
    result: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, J> Work for Job<T, J>
where
    J: Fn(&mut Transaction<'_>) -> Result<T> + Send,
{
    fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<()> {
        self.result = Some((self.job)(transaction)?);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<()>) {
        let lost = || Error::Unavailable("the job was not run".into());
        // Nobody listens any more when the caller's future was dropped.
        let Job { result, reply, .. } = *self;
        let _ = reply.send(outcome.and_then(|()| result.ok_or_else(lost)));
    }

    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }
}

/// What a write brings.
pub(crate) enum Contents {
    /// To append, then to name in new rows.
    New(Vec<(ContentId, Bytes)>),
    /// In a segment already, written by a stream; to name in new rows.
    Written(Located),
    /// To append, then to name in the rows that name a copy in this segment now.
    Moved(u64, Vec<(ContentId, Bytes)>),
}

/// One write on its way: what stage 1 appends, what stage 2 runs.
pub(crate) struct Entry {
    /// To append.
    pub(crate) records: Vec<Record>,
    /// Where the contents are by now: filled by stage 1, or by a stream that wrote its own segment.
    pub(crate) located: Vec<Located>,
    /// Which segment the contents are moved out of.
    pub(crate) moved_from: Option<u64>,
    /// The job.
    pub(crate) work: Box<dyn Work>,
    /// Its share of the budget, given back when it is dropped.
    _budget: OwnedSemaphorePermit,
}

impl Entry {
    /// Bytes that stage 1 appends for it.
    pub(crate) fn bytes(&self) -> usize {
        self.records.iter().map(Record::length).sum()
    }
}

/// The queue before stage 1, bounded by a budget of bytes.
pub(crate) struct Waiting {
    state: Mutex<State>,
    arrived: Condvar,
    budget: Arc<Semaphore>,
    budget_bytes: usize,
    /// Jobs that one batch takes at most.
    batch_jobs: usize,
}

struct State {
    entries: VecDeque<Entry>,
    /// What stage 1 would append for them.
    bytes: usize,
    /// Batches that were taken and are not committed yet.
    under_way: usize,
    /// Jobs of the batch that was taken last.
    last: usize,
    closed: bool,
}

impl State {
    /// Whether a batch may be taken.
    fn is_ready(&self, jobs: usize) -> bool {
        let enough =
            self.under_way == 0 || self.bytes >= WORTH_OVERLAP || self.entries.len() >= self.last.min(jobs);
        !self.entries.is_empty() && (enough || self.closed)
    }
}

impl Waiting {
    pub(crate) fn new(budget_bytes: usize, batch_jobs: usize) -> Self {
        let budget_bytes = budget_bytes.clamp(JOB_BYTES, u32::MAX as usize);
        Self {
            state: Mutex::new(State {
                entries: VecDeque::new(),
                bytes: 0,
                under_way: 0,
                last: 0,
                closed: false,
            }),
            arrived: Condvar::new(),
            budget: Arc::new(Semaphore::new(budget_bytes)),
            budget_bytes,
            batch_jobs: batch_jobs.max(1),
        }
    }

    /// Waits for a share of the budget, queues the job, waits for its end.
    pub(crate) async fn submit<T, J>(&self, contents: Contents, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: Fn(&mut Transaction<'_>) -> Result<T> + Send + 'static,
    {
        let (contents, located, moved_from) = match contents {
            Contents::New(contents) => (contents, Vec::new(), None),
            Contents::Written(located) => (Vec::new(), vec![located], None),
            Contents::Moved(from, contents) => (contents, Vec::new(), Some(from)),
        };
        let bytes: usize = contents.iter().map(|(_, data)| data.len()).sum();
        // A write above the whole budget waits for all of it, so it can go at all.
        let share = bytes.saturating_add(JOB_BYTES).min(self.budget_bytes) as u32;
        let closed = || Error::Unavailable("the database is closed".into());
        let budget = Arc::clone(&self.budget)
            .acquire_many_owned(share)
            .await
            .map_err(|_| closed())?;
        // Checksums are computed here, in the caller's task, and not in the one thread that appends.
        let records = contents
            .into_iter()
            .map(|(id, data)| Record::new(id, data))
            .collect();
        let (reply, answer) = oneshot::channel();
        let work = Box::new(Job {
            job,
            result: None,
            reply,
        });
        self.push(Entry {
            records,
            located,
            moved_from,
            work,
            _budget: budget,
        })?;
        answer
            .await
            .map_err(|_| Error::Unknown("the database closed during the write".into()))?
    }

    fn push(&self, entry: Entry) -> Result<()> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::Unavailable("the database is closed".into()));
        }
        let was_ready = state.is_ready(self.batch_jobs);
        state.bytes += entry.bytes();
        state.entries.push_back(entry);
        // Whoever is awake is not woken: most entries join those that wait.
        let wake = !was_ready && state.is_ready(self.batch_jobs);
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Takes what waits, in order, at most `batch_jobs` and about `bytes`; waits until it is worth it. Nothing: closed and drained.
    /// [`Waiting::done`] is to be called when the batch has come to its end.
    pub(crate) fn take(&self, bytes: usize) -> Vec<Entry> {
        let mut state = self.state.lock();
        while !state.is_ready(self.batch_jobs) {
            if state.entries.is_empty() && state.closed {
                return Vec::new();
            }
            self.arrived.wait(&mut state);
        }
        let mut sum = 0;
        let mut count = 0;
        for entry in state.entries.iter().take(self.batch_jobs) {
            let more = entry.bytes();
            if count > 0 && sum + more > bytes {
                break;
            }
            sum += more;
            count += 1;
        }
        state.bytes = state.bytes.saturating_sub(sum);
        state.under_way += 1;
        state.last = count;
        state.entries.drain(..count).collect()
    }

    /// A batch that was taken has come to its end.
    pub(crate) fn done(&self) {
        let mut state = self.state.lock();
        state.under_way = state.under_way.saturating_sub(1);
        let wake = state.is_ready(self.batch_jobs);
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Refuses new work; what waits is still done.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Jobs that wait now.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().entries.len()
    }
}
