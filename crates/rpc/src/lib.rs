//! gRPC between processes.
//!
//! * **Duty.** [`Cluster`] is the way to a role that runs elsewhere, once or many times over: it finds the instances, asks the right
//!   one, keeps deadlines, repeats what may be repeated, and leaves out instances that do not answer. [`Server`] is a listener for
//!   contracts, plain, with a token, or inside mutual TLS.
//! * **What it reads.** The table of calls in `postrider_proto::Call`: how long each may take, whether it may be sent twice, which
//!   instance it is for. Nobody who makes a call has to say.
//! * **Failures.** A call that cannot be made is `UNAVAILABLE`, one that is not answered in time `DEADLINE_EXCEEDED`; the message names
//!   the service, the instance and the reason.
//! * **Limits.** Repetitions are at most a fifth of all calls (a budget per service), so that a service in trouble is not asked more
//!   than before. A server takes so many calls at once and answers the rest at once with `UNAVAILABLE` and
//!   `grpc-retry-pushback-ms`, which sends the caller to another instance.
//! * **Going away.** A server that is about to end says so in every answer for a while, ends answers that have no end, and then finishes
//!   what it has. Callers ask others from the first word on, so that no call fails because of it.
//! * **Metrics.** `postrider_rpc_calls` by method and code, `postrider_rpc_repeats` and `postrider_rpc_served` by method,
//!   `postrider_rpc_shed`.
//!
//! This crate does not know what any call means.

mod cluster;
mod deadline;
mod fault;
mod instance;
mod members;
mod metrics;
mod server;
mod tls;

pub use cluster::{Cluster, Settings};
pub use deadline::Deadline;
pub use members::ServiceUrl;
pub use server::{Admit, Door, Ending, Guard, Limits, Server};
pub use tls::Mutual;
