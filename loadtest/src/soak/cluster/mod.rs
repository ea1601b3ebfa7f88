//! `postrider-loadtest soak --cluster`: a cluster of separate processes over three nodes of each engine, and everything that can
//! happen to one, in turns.
//!
//! **Needs:** the test engines, three nodes of each (`cargo xtask engines up --nodes 3`).
//!
//! **Duty:** for each [`Fault`](fault::Fault) a *round*: a mixed load with the ledger, the fault in the middle of it, its end,
//! probes of everything a user does until all of it works and every process says that it is ready, the end of the load, the
//! reconciliation. In the end all rounds are reconciled once more, together: what comes twice may come the second time in a
//! later round.
//!
//! **Must hold after every round:** 0 lost; 0 twice in a mailbox; twice at another server at most as many as were on their way at
//! the moment of the fault; nothing refused for good; service back, without help, within the fault's bound, and everything
//! promised there within its second one. `docs/operations.md` states both, and a test compares.
//!
//! **How it is built:** two processes of each role ([`site`]); a process that was killed is started again after a second, as a
//! supervisor does. Clients come through a proxy that takes the processes of a role in turn. The roles call each other, and
//! Redis, through proxies that can hold or delay what passes.
//!
//! **X does not know Y:** a fault knows processes, engines and connections, never what is in them.

pub mod command;
mod fault;
mod flight;
mod member;
mod probe;
mod round;
mod site;
mod table;

use std::time::Duration;

/// Whatever waits for processes or engines looks again after this.
const LOOK: Duration = Duration::from_millis(100);
