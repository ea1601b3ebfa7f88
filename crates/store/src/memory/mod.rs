//! The memory engine of accounts and content: for tests, and for a node that keeps nothing.
//!
//! It does what the traits promise except surviving the process, and goes wrong on purpose: [`Memory::inject`] plans conflicts, unknown
//! outcomes (applied and not), delays, unavailability and a crash for later calls.

mod account;
mod content;
mod faults;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use postrider_types::AccountId;

pub use faults::{Fault, Operation};

use account::Account;
use content::Contents;
use faults::{Course, Faults};

use crate::Result;
use crate::account::CommitLimits;

/// Accounts and content of one process. Clones share them.
#[derive(Clone, Default)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    faults: Faults,
    limits: Option<CommitLimits>,
}

#[derive(Default)]
struct State {
    accounts: BTreeMap<AccountId, Account>,
    contents: Contents,
}

impl Memory {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty one with these limits, which it takes at their word: a larger commit is `Invalid`.
    pub fn with_limits(limits: CommitLimits) -> Self {
        let shared = Shared {
            limits: Some(limits),
            ..Shared::default()
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Plans a fault for the next call of the operation that has none planned yet. Faults of one operation happen in the order they
    /// were planned.
    pub fn inject(&self, operation: Operation, fault: Fault) {
        self.shared.faults.plan(operation, fault);
    }

    /// Goes down: every call is `Unavailable` from now on.
    pub fn crash(&self) {
        self.shared.faults.set_down(true);
    }

    /// Comes up again after a crash, with everything that was done before it.
    pub fn restart(&self) {
        self.shared.faults.set_down(false);
    }

    /// A read: meets its fault, then looks.
    async fn looking<T>(&self, look: impl FnOnce(&State) -> Result<T>) -> Result<T> {
        self.shared.faults.meet(Operation::Read).await?;
        look(&self.shared.state.lock())
    }

    /// A write that is no commit: meets its fault, then does it.
    async fn changing<T>(&self, change: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let course = self.shared.faults.meet(Operation::Write).await?;
        let done = change(&mut self.shared.state.lock())?;
        match course {
            Course::DoAndReport(error) => Err(error),
            Course::Do | Course::Conflict => Ok(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use postrider_types::Version;

    use super::*;
    use crate::account::Outcome;
    use crate::suite::delivery;
    use crate::{AccountEngine, ContentEngine, Error};

    crate::engine_suite!(async || Box::new(Memory::new()));

    const ACCOUNT: AccountId = AccountId::new(1);

    #[tokio::test]
    async fn an_unknown_outcome_is_told_by_the_head() {
        let memory = Memory::new();
        memory.inject(Operation::Commit, Fault::UnknownNotApplied);
        memory.inject(Operation::Commit, Fault::UnknownApplied);
        let first = delivery(ACCOUNT, Version(0), b"ketchup");
        assert!(matches!(
            memory.commit(first.clone()).await,
            Err(Error::Unknown(_))
        ));
        assert_eq!(memory.head(ACCOUNT).await.unwrap(), None);
        assert!(matches!(
            memory.commit(first.clone()).await,
            Err(Error::Unknown(_))
        ));
        let head = memory.head(ACCOUNT).await.unwrap().unwrap();
        assert_eq!(head.last_commit, first.head.last_commit);
        assert_eq!(memory.commit(first).await.unwrap(), Outcome::Conflict);
    }

    #[tokio::test]
    async fn an_injected_conflict_changes_nothing() {
        let memory = Memory::new();
        memory.inject(Operation::Commit, Fault::Conflict);
        let first = delivery(ACCOUNT, Version(0), b"pickles");
        assert_eq!(memory.commit(first.clone()).await.unwrap(), Outcome::Conflict);
        assert_eq!(memory.commit(first).await.unwrap(), Outcome::Committed);
    }

    #[tokio::test]
    async fn after_a_crash_nothing_works_until_the_restart_and_nothing_acknowledged_is_lost() {
        let memory = Memory::new();
        let first = delivery(ACCOUNT, Version(0), b"one");
        let id = first.contents[0].0;
        assert_eq!(memory.commit(first).await.unwrap(), Outcome::Committed);
        memory.inject(Operation::Commit, Fault::Crash);
        assert!(matches!(
            memory.commit(delivery(ACCOUNT, Version(1), b"two")).await,
            Err(Error::Unknown(_))
        ));
        assert!(matches!(memory.head(ACCOUNT).await, Err(Error::Unavailable(_))));
        memory.restart();
        assert_eq!(memory.head(ACCOUNT).await.unwrap().unwrap().version, Version(1));
        assert_eq!(memory.read(id, 0, 10).await.unwrap(), "one");
    }

    #[tokio::test]
    async fn faults_are_for_their_operation_only() {
        let memory = Memory::new();
        memory.inject(Operation::Read, Fault::Unavailable);
        memory.inject(Operation::Write, Fault::Full);
        memory.inject(Operation::Commit, Fault::Delay(Duration::from_millis(30)));
        let begun = Instant::now();
        assert_eq!(
            memory
                .commit(delivery(ACCOUNT, Version(0), b"one"))
                .await
                .unwrap(),
            Outcome::Committed
        );
        assert!(begun.elapsed() >= Duration::from_millis(30));
        assert!(matches!(memory.remove(ACCOUNT).await, Err(Error::Full(_))));
        assert!(matches!(memory.head(ACCOUNT).await, Err(Error::Unavailable(_))));
        assert!(memory.head(ACCOUNT).await.unwrap().is_some());
    }
}
