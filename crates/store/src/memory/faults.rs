//! What goes wrong on purpose.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;

use crate::{Error, Result};

/// Which calls a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`crate::AccountEngine::commit`].
    Commit,
    /// Every other write of either engine: snapshots, removal, expiry, put, finish, hold, release, sweep.
    Write,
    /// Every read of either engine.
    Read,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A commit finds `Conflict` though nobody else committed. Other calls: as `Unavailable`.
    Conflict,
    /// It is done, and the caller is told `Unknown`. A read: as `Unavailable`.
    UnknownApplied,
    /// It is not done, and the caller is told `Unknown`. A read: as `Unavailable`.
    UnknownNotApplied,
    /// It is not done: `Unavailable`.
    Unavailable,
    /// A write is not done: `Full`. A read: as `Unavailable`.
    Full,
    /// It is done after this time.
    Delay(Duration),
    /// The engine goes down before it is done: this call is `Unknown` (a read `Unavailable`), every later one `Unavailable`,
    /// until [`super::Memory::restart`]. What was acknowledged before is there again then.
    Crash,
}

/// Faults waiting for their call, in order.
#[derive(Debug, Default)]
pub(super) struct Faults {
    planned: Mutex<VecDeque<(Operation, Fault)>>,
    down: std::sync::atomic::AtomicBool,
}

/// What a call has to do.
pub(super) enum Course {
    /// Do it.
    Do,
    /// Do it, then report this.
    DoAndReport(Error),
    /// A commit: report a conflict.
    Conflict,
}

impl Faults {
    pub(super) fn plan(&self, operation: Operation, fault: Fault) {
        self.planned.lock().push_back((operation, fault));
    }

    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, std::sync::atomic::Ordering::SeqCst);
    }

    /// Meets the next fault for this operation, if there is one; waits out a delay.
    pub(super) async fn meet(&self, operation: Operation) -> Result<Course> {
        if self.down.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(Error::Unavailable("the engine is down".into()));
        }
        let fault = {
            let mut planned = self.planned.lock();
            let next = planned.iter().position(|(of, _)| *of == operation);
            next.and_then(|next| planned.remove(next))
        };
        let Some((_, fault)) = fault else {
            return Ok(Course::Do);
        };
        let injected = || "injected".to_owned();
        let read = operation == Operation::Read;
        match fault {
            Fault::Delay(time) => {
                tokio::time::sleep(time).await;
                Ok(Course::Do)
            }
            Fault::Conflict if operation == Operation::Commit => Ok(Course::Conflict),
            Fault::UnknownApplied if !read => Ok(Course::DoAndReport(Error::Unknown(injected()))),
            Fault::UnknownNotApplied if !read => Err(Error::Unknown(injected())),
            Fault::Full if !read => Err(Error::Full(injected())),
            Fault::Crash => {
                self.set_down(true);
                Err(if read {
                    Error::Unavailable(injected())
                } else {
                    Error::Unknown(injected())
                })
            }
            _ => Err(Error::Unavailable(injected())),
        }
    }
}
