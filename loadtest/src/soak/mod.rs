//! `postrider-loadtest soak`: a Postrider node under a mixed load, and everything that can happen to a machine, in turns.
//!
//! **Duty:** for each [`Fault`](fault::Fault) a *round*: load with the ledger, the fault and its end in the middle, a probe of every service,
//! the end of the load, the reconciliation. Rounds go on until the time is over; every fault has at least one.
//!
//! **Must hold after every round:** 0 lost, 0 duplicated locally, 0 altered, 0 out of order; resident memory within the
//! fault's budget; every service answers by itself within the fault's bound; and what the fault's own file says.
//!
//! **Output:** a line for each round, a table at the end, exit status 1 when anything did not hold. Then the reports, ledgers
//! and logs are kept, and it says where.
//!
//! `--cluster` does the like to a cluster of processes: see [`cluster`].
//!
//! **X does not know Y:** a fault knows the server as an operator does (process, limits, files of its own), never its data.
//! The machine's clock, other processes and other disks are not touched; nothing needs root.

mod clock;
pub mod cluster;
pub mod command;
mod crowd;
mod descriptors;
mod disk_full;
mod dress;
mod fault;
mod killed;
mod probe;
mod round;
mod scene;
mod site;
mod slowloris;
mod stopped;
mod table;
mod unread;

use std::time::Duration;

use fault::Fault;
pub use site::{QUICK_RETRIES, free_address};

/// Every fault, in the order of their turns.
const FAULTS: [&dyn Fault; 8] = [
    &killed::Killed,
    &stopped::Stopped,
    &disk_full::DiskFull,
    &descriptors::Descriptors,
    &clock::Clock,
    &crowd::Crowd,
    &slowloris::Slowloris,
    &unread::Unread,
];

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
