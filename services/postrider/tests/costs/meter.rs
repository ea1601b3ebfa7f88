//! What the processes of a cluster count, read from their `/metrics`, and what of it an operation took.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use postrider_testkit::node::Node;
use postrider_testkit::wire::{eventually, pause};

/// How long nothing may move before an operation counts as over, and how often that is looked at.
const QUIET: Duration = Duration::from_millis(700);
const LOOK: Duration = Duration::from_millis(100);
/// How long that may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is counted, in the order of the page's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    /// gRPC calls of other processes.
    Calls,
    /// CQL reads, serial ones included.
    Reads,
    /// CQL writes without a condition; a batch is one.
    Writes,
    /// Conditional writes; a batch is one.
    Conditional,
    /// Records put into Kafka.
    Produced,
    /// Records taken out of Kafka.
    Consumed,
    /// Commands to Redis.
    Redis,
}

impl Column {
    /// All of them.
    pub const ALL: [Column; 7] = [
        Column::Calls,
        Column::Reads,
        Column::Writes,
        Column::Conditional,
        Column::Produced,
        Column::Consumed,
        Column::Redis,
    ];

    /// Its head on the page.
    pub fn title(self) -> &'static str {
        match self {
            Column::Calls => "gRPC calls",
            Column::Reads => "CQL reads",
            Column::Writes => "CQL writes",
            Column::Conditional => "CQL conditional",
            Column::Produced => "Kafka out",
            Column::Consumed => "Kafka in",
            Column::Redis => "Redis",
        }
    }
}

/// One thing that is counted: `Deliver` among the calls, `account` among the reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    pub column: Column,
    /// Method, table, kind of topic or command.
    pub name: String,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.column.title(), self.name)
    }
}

/// How often each thing was done.
pub type Counts = BTreeMap<Series, u64>;

/// The sum over all processes, without what goes on by itself.
pub fn read(node: &mut Node) -> Counts {
    let mut counts = Counts::new();
    for process in node.processes() {
        let page = eventually("the metrics of a process", PATIENCE, || process.http("/metrics"));
        for (series, value) in page.lines().filter_map(line) {
            *counts.entry(series).or_default() += value;
        }
    }
    counts
}

/// Waits until nothing moves any more; what stands then.
pub fn settled(node: &mut Node) -> Counts {
    let begin = Instant::now();
    let mut last = read(node);
    let mut since = Instant::now();
    while since.elapsed() < QUIET {
        pause(LOOK);
        let now = read(node);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "something goes on after {PATIENCE:?} that is neither the operation nor known to go on by itself: {last:?}"
        );
    }
    last
}

/// What was done between two readings.
pub fn between(before: &Counts, after: &Counts) -> Counts {
    let moved = after.iter().map(|(series, value)| {
        let was = before.get(series).copied().unwrap_or_default();
        (series.clone(), value.saturating_sub(was))
    });
    moved.filter(|(_, value)| *value > 0).collect()
}

/// What every one of several runs took: what only some of them met is not the operation's.
pub fn least(runs: &[Counts]) -> Counts {
    let Some((first, others)) = runs.split_first() else {
        return Counts::new();
    };
    let least = first.iter().map(|(series, value)| {
        let of_others = others
            .iter()
            .map(|run| run.get(series).copied().unwrap_or_default());
        (series.clone(), of_others.fold(*value, u64::min))
    });
    least.filter(|(_, value)| *value > 0).collect()
}

/// Both together.
pub fn sum(some: &Counts, more: &Counts) -> Counts {
    let mut sum = some.clone();
    for (series, value) in more {
        *sum.entry(series.clone()).or_default() += value;
    }
    sum
}

/// A part of what many did alike, rounded down.
pub fn shared(all: &Counts, among: usize) -> Counts {
    let each = all
        .iter()
        .map(|(series, value)| (series.clone(), value / among as u64));
    each.filter(|(_, value)| *value > 0).collect()
}

/// The sum of a column.
pub fn total(counts: &Counts, column: Column) -> u64 {
    let of_column = counts.iter().filter(|(series, _)| series.column == column);
    of_column.map(|(_, value)| value).sum()
}

/// A line of `/metrics`, when it counts something an operation may have caused.
fn line(line: &str) -> Option<(Series, u64)> {
    let (name, rest) = line.split_once('{')?;
    let (labels, value) = rest.rsplit_once("} ")?;
    let label = |key: &str| {
        let (_, rest) = labels.split_once(&format!("{key}=\""))?;
        Some(rest.split_once('"')?.0)
    };
    let (column, name) = match name {
        "postrider_rpc_calls_total" => (Column::Calls, label("method")?),
        "cql_statements_total" => {
            let column = match label("kind")? {
                "write" => Column::Writes,
                "conditional" => Column::Conditional,
                _ => Column::Reads,
            };
            (column, label("table")?)
        }
        "postrider_queue_kafka_produced_total" => (Column::Produced, label("topic")?),
        "postrider_queue_kafka_consumed_total" => (Column::Consumed, label("topic")?),
        "postrider_redis_commands_total" => (Column::Redis, label("command")?),
        _ => return None,
    };
    let name = name.to_owned();
    let series = Series { column, name };
    (!goes_on_by_itself(&series)).then(|| Some((series, value.trim().parse().ok()?)))?
}

/// What is done whether or not anything is asked for: questions after health, the reader of the queue's notes and its progress, the sweeper's
/// candidates, suspended destinations once a minute.
fn goes_on_by_itself(series: &Series) -> bool {
    let table = |name: &str| series.name == name;
    let one_of = |names: &[&str]| names.contains(&series.name.as_str());
    match series.column {
        Column::Calls => series.name.starts_with("Health/"),
        Column::Reads => one_of(&["unit_due", "progress", "content_candidate", "suspension"]),
        Column::Writes | Column::Conditional => table("progress"),
        Column::Redis => series.name == "ping",
        Column::Produced | Column::Consumed => series.name == "control",
    }
}
