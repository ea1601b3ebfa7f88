//! The drivers, one file per family: closed loop, blocking, prebuilt bytes.

pub mod append;
pub mod copy;
pub mod fetch;
pub mod idle;
pub mod inbound;
pub mod outbound;
pub mod pop3;
pub mod push;
pub mod search;
pub mod select;
pub mod session;

use std::thread;

use anyhow::{Result, anyhow};

/// Does the same on so many threads and adds up what they return; the first error is the error of all.
pub fn on_threads(threads: u64, work: impl Fn(u64) -> Result<u64> + Sync) -> Result<u64> {
    thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = (0..threads)
            .map(|number| scope.spawn(move || work(number)))
            .collect();
        // All are waited for before the first error counts.
        let ended: Vec<Result<u64>> = running
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(outcome) => outcome,
                Err(_) => Err(anyhow!("a thread of the generator has ended early")),
            })
            .collect();
        ended.into_iter().sum()
    })
}
