//! Threads that read, each with its own connection.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use crate::{Error, Result};

/// Reads that wait or run at most; more callers wait for a place.
const PLACES: usize = 1024;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// The readers' queue.
pub(crate) struct Readers {
    state: Mutex<State>,
    arrived: Condvar,
    places: Semaphore,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Readers {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            arrived: Condvar::new(),
            places: Semaphore::new(PLACES),
        })
    }

    /// Starts a thread over each connection.
    pub(crate) fn start(self: &Arc<Self>, connections: Vec<Connection>) -> Result<Vec<JoinHandle<()>>> {
        let start = |connection| {
            let readers = Arc::clone(self);
            let thread = std::thread::Builder::new().name("postrider-read".into());
            thread.spawn(move || readers.run(&connection))
        };
        connections
            .into_iter()
            .map(start)
            .collect::<std::io::Result<_>>()
            .map_err(|error| Error::Unavailable(format!("cannot start a thread: {error}")))
    }

    /// Runs a job on one of the threads.
    pub(crate) async fn run_one<T, J>(&self, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let closed = || Error::Unavailable("the database is closed".into());
        let _place = self.places.acquire().await.map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move |connection: &Connection| {
            if reply.is_closed() {
                return;
            }
            let result = catch_unwind(AssertUnwindSafe(|| job(connection)));
            // A job that panicked may have left its transaction open.
            if !connection.is_autocommit() {
                let _ = connection.execute_batch("ROLLBACK");
            }
            let _ = reply.send(result.unwrap_or_else(|_| Err(Error::Invalid("a read job panicked".into()))));
        });
        {
            let mut state = self.state.lock();
            if state.closed {
                return Err(closed());
            }
            state.jobs.push_back(job);
        }
        self.arrived.notify_one();
        answer.await.map_err(|_| closed())?
    }

    /// Lets the threads end once nothing waits.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_all();
    }

    fn run(&self, connection: &Connection) {
        loop {
            let mut state = self.state.lock();
            let job = loop {
                match state.jobs.pop_front() {
                    Some(job) => break job,
                    None if state.closed => return,
                    None => self.arrived.wait(&mut state),
                }
            };
            drop(state);
            job(connection);
        }
    }
}
