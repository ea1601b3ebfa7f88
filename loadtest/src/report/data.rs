//! What a report holds. The JSON of a run; several of one run merge into one (histograms are kept whole).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ledger::Verdict;
use crate::operation::Operation;
use crate::profile::Profile;

/// A run, whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The format's version; 1.
    pub format: u32,
    /// What this was.
    pub run: Run,
    /// On what machine.
    pub environment: Environment,
    /// The profile as it was used.
    pub profile: Profile,
    /// By operation.
    pub operations: BTreeMap<Operation, Measured>,
    /// CPU and memory of the server's processes, and of the generator's own.
    pub processes: Vec<ProcessSeries>,
    /// Gauges read from the server's metrics page: queue depth and the like, by name.
    pub gauges: BTreeMap<String, Vec<Point>>,
    /// What happened to the server on purpose (killed, stopped, started again), and other marks in time.
    pub marks: Vec<Mark>,
    /// What reconciling found, when it was done.
    pub ledger: Option<Verdict>,
    /// The steps of `knee`, when that is what ran.
    pub knee: Option<Knee>,
}

/// What ran and when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// The system's name and version, from the target.
    pub system: String,
    /// The command line, without secrets.
    pub command: String,
    /// When it began: RFC 3339.
    pub started: String,
    /// How long arrivals went on, in seconds.
    pub seconds: f64,
    /// What makes it reproducible.
    pub seed: u64,
    /// Which part of how many, (1, 1) for a whole run; a merged report says (1, 1) again.
    pub part: (u32, u32),
    /// Version of the generator.
    pub generator: String,
}

/// The machine.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Environment {
    /// Kernel and distribution.
    pub system: String,
    /// Processor's model name.
    pub processor: String,
    /// Processors that may be used.
    pub cores: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// File system of the server's data, when known.
    pub file_system: Option<String>,
}

/// One operation over the whole run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Measured {
    /// How many were due.
    pub offered: u64,
    /// How many ended well.
    pub done: u64,
    /// How many were refused for now.
    pub deferred: u64,
    /// How many were refused for good.
    pub refused: u64,
    /// How many got no answer.
    pub broken: u64,
    /// Percentiles of the latency of those that ended well.
    pub latency: Latency,
    /// By second since the run began.
    pub seconds: Vec<Second>,
    /// All latencies, microseconds: an HDR histogram (V2, deflated, base64), so that reports merge.
    pub histogram: String,
}

/// Percentiles, in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub min: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
    pub mean: f64,
}

/// One second of one operation. Those due in it and those ended in it need not be the same ones.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Second {
    /// Which second, from 0.
    pub at: u32,
    /// How many were due in it.
    pub offered: u64,
    /// How many ended well in it.
    pub done: u64,
    /// How many ended otherwise in it.
    pub failed: u64,
    /// Latency of those that ended well in it.
    pub latency: Latency,
    /// Those latencies (as above).
    pub histogram: String,
}

/// A process tree over time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ProcessSeries {
    /// `server`, `generator`, or the program's name.
    pub name: String,
    /// CPU seconds it has used in the run.
    pub cpu_seconds: f64,
    /// By second.
    pub samples: Vec<Sample>,
}

/// A process tree in one second.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the run began.
    pub at: f64,
    /// Processors in use (2.0 is two).
    pub cpu: f64,
    /// Resident bytes (proportional ones where the kernel tells them).
    pub resident: u64,
    /// Processes and threads in the tree.
    pub threads: u32,
    /// Open files.
    pub files: u32,
}

/// A gauge at a moment.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Point {
    /// Seconds since the run began.
    pub at: f64,
    /// Its value.
    pub value: f64,
}

/// A mark in time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mark {
    /// Seconds since the run began.
    pub at: f64,
    /// A few words: "killed (SIGKILL)".
    pub what: String,
}

/// How the rate was raised until a bound broke.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Knee {
    /// The bound on p99 of acceptance, microseconds.
    pub p99_bound: u64,
    /// The bound on the share of operations that did not end well.
    pub error_bound: f64,
    /// Every step, in the order they ran.
    pub steps: Vec<KneeStep>,
    /// Messages accepted per second at the last step that held.
    pub messages_per_second: f64,
    /// Users of the profile at that step; 0 when the profile does not say how many it stands for.
    pub users: u64,
}

/// One step of the search.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KneeStep {
    /// The profile's rates times this.
    pub factor: f64,
    /// Operations per second offered.
    pub offered: f64,
    /// Operations per second that ended well.
    pub achieved: f64,
    /// p99 of all acceptances, microseconds.
    pub p99: u64,
    /// Share that did not end well.
    pub errors: f64,
    /// CPU of the server, in processors.
    pub cpu: f64,
    /// Whether both bounds held.
    pub held: bool,
}
