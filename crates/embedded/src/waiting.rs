//! Work between a caller and the committer: jobs, and the bounded queue they wait in.

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
}

struct State {
    entries: VecDeque<Entry>,
    closed: bool,
}

impl Waiting {
    pub(crate) fn new(budget_bytes: usize) -> Self {
        let budget_bytes = budget_bytes.clamp(JOB_BYTES, u32::MAX as usize);
        Self {
            state: Mutex::new(State {
                entries: VecDeque::new(),
                closed: false,
            }),
            arrived: Condvar::new(),
            budget: Arc::new(Semaphore::new(budget_bytes)),
            budget_bytes,
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
        state.entries.push_back(entry);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes what waits, in order, at most `jobs` and about `bytes`; waits for the first. Nothing: closed and drained.
    pub(crate) fn take(&self, jobs: usize, bytes: usize) -> Vec<Entry> {
        let mut state = self.state.lock();
        while state.entries.is_empty() && !state.closed {
            self.arrived.wait(&mut state);
        }
        let mut sum = 0;
        let mut count = 0;
        for entry in state.entries.iter().take(jobs.max(1)) {
            sum += entry.bytes();
            if count > 0 && sum > bytes {
                break;
            }
            count += 1;
        }
        state.entries.drain(..count).collect()
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
