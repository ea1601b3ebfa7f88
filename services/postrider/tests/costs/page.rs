//! `docs/costs.md`: written from what was counted, and read back to compare with.

use std::fmt::Write as _;

use crate::meter::{Column, Counts, Series, total};
use crate::work::Measured;

const PREFACE: &str = "\
# What an operation costs

What one operation takes of a cluster: calls between its processes, requests to the database, records of Kafka, commands to Redis. This page is
generated: `services/postrider/tests/costs/` runs one process a role (two of `mail-store`, `directory` and `delivery-worker`) over real Cassandra, Kafka
and Redis, does each operation as a client does, and reads the processes' `/metrics` before and after. The test fails when a cost rises, or
when a goal is missed.
";

const COUNTED: &str = "
## How it is counted

| Column | Metric, summed over all processes | Left out |
|---|---|---|
| gRPC calls | `postrider_rpc_calls_total`, by `method` | `Health/…`: each process asks after each other |
| CQL reads, writes, conditional | `cql_statements_total`, by `kind` and `table`; a batch is one, a page of a long answer is one | the table `progress`; reads of `unit_due` and `content_candidate`: reconciler and sweeper look there, whatever there is to do; of `suspension`: a worker that has work reads it once a minute |
| Kafka out, in | `postrider_queue_kafka_produced_total`, `postrider_queue_kafka_consumed_total`, by `topic` | `control`: suspensions |
| Redis | `postrider_redis_commands_total`, by `command` | `ping` |

On a cluster of your own: the same sums over the number of deliveries (`mailstore_deliveries_total`), logins or whatever it is about.

* A figure is what each of several runs took (five; three of what happens once a restart, and of what takes long): what goes on by itself meets some runs
  only. A run is over when nothing has moved for 0.7 s.
* Where chance decides, the most is shown: which `mail-store` a gateway's stream of news comes from, and which hints share a message.
* What is counted is what a process asks for. What drivers do below that is not: preparing a statement once, a speculative or repeated read, copies on replicas,
  commits of offsets, heartbeats.
* The idle session is 50 sessions of 50 accounts for 40 s, divided by 50. Less than one each is shown as none: every half hour each watched account is looked at
  once, in case whoever changed it died before it could say so. While Redis is away that is every half minute.
* Deferred means put off for a second. After a wait of minutes a wake-up passes several delay topics, a record out and one in for each: half an hour takes four.
* Not in it, since it comes after many operations only: a saved index of a folder (`account_snapshot`), and the sweeper's look at each content that may have lost its last
  holder (a day later: two reads, and a delete if it has).

## What it depends on

* Content: one write up to 64 KiB, and one for each further 64 KiB and one at the end; above 256 KiB it comes in a stream (`PutMessage`) before `Deliver`,
  to the same `mail-store`, which so has described it already and reads nothing again.
* An address of ours is resolved once in 10 s by an `smtp-ingress`, and read once in 15 s by a `directory`.
* Several recipients: the content is stored once, with an intent in the queue, so that a crash in between loses nobody; then one commit an account. Commits of
  20 ms share a message to Redis: the figure is the most.
* An account that a `mail-store` does not know yet costs its folders, and the index of the folder that is opened.
* Every read of an account asks for its head first (`account`, one read): another `mail-store` may have changed it.
";

/// Goals: operation, column, at most.
const GOALS: [(&str, Column, u64); 15] = [
    (crate::work::ONE, Column::Calls, 1),
    (crate::work::ONE, Column::Conditional, 1),
    (crate::work::ONE, Column::Writes, 1),
    (crate::work::AGAIN, Column::Reads, 2),
    (crate::work::AGAIN, Column::Writes, 0),
    (crate::work::AGAIN, Column::Conditional, 0),
    (crate::work::IDLE, Column::Calls, 0),
    (crate::work::IDLE, Column::Reads, 0),
    (crate::work::IDLE, Column::Writes, 0),
    (crate::work::IDLE, Column::Conditional, 0),
    (crate::work::IDLE, Column::Produced, 0),
    (crate::work::IDLE, Column::Consumed, 0),
    (crate::work::IDLE, Column::Redis, 0),
    (crate::work::FIRST_ATTEMPT, Column::Conditional, 3),
    (crate::work::FIRST_ATTEMPT, Column::Produced, 2),
];

/// Where the figures are that are read back.
const FENCE: &str = "```\n";

/// The page.
pub fn page(measured: &Measured) -> String {
    let mut page = PREFACE.to_owned();
    page.push_str("\n| Operation |");
    Column::ALL.iter().for_each(|column| {
        let _ = write!(page, " {} |", column.title());
    });
    page.push_str("\n|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for (operation, counts) in measured {
        let _ = write!(page, "| {operation} |");
        for column in Column::ALL {
            let goal = GOALS
                .iter()
                .find(|(of, in_column, _)| of == operation && *in_column == column);
            let _ = match goal {
                Some((.., most)) => write!(page, " **{}** (≤ {most}) |", total(counts, column)),
                None => write!(page, " {} |", total(counts, column)),
            };
        }
        page.push('\n');
    }
    page.push_str(
        "\nIn bold: figures with a goal, and the goal. A login reads the account's row of the directory, SELECT the head and nothing else. Sessions of an \
         account at the same gateway share one watch. The first begins it: that reads the head once more, unless the gateway's stream of news comes from the \
         account's own `mail-store`, which has just looked.\n",
    );
    let _ = write!(
        page,
        "\n## One by one\n\n{FENCE}{}{FENCE}{COUNTED}",
        details(measured)
    );
    page
}

/// What was counted, a line each.
pub fn details(measured: &Measured) -> String {
    let mut text = String::new();
    for (operation, counts) in measured {
        let _ = writeln!(text, "{operation}");
        for (series, value) in counts {
            let _ = writeln!(text, "    {value:3}  {series}");
        }
    }
    text
}

/// The figures of a page.
pub fn read(page: &str) -> Measured {
    let mut told = Measured::new();
    let lines = page.split(FENCE).nth(1).unwrap_or_default().lines();
    for line in lines {
        match (line.strip_prefix("    "), told.last_mut()) {
            (Some(line), Some((_, counts))) => counts.extend(figure(line)),
            _ => told.push((line.to_owned(), Counts::new())),
        }
    }
    told
}

fn figure(line: &str) -> Option<(Series, u64)> {
    let (value, series) = line.trim_start().split_once("  ")?;
    let (title, name) = series.split_once(": ")?;
    let column = Column::ALL.into_iter().find(|column| column.title() == title)?;
    let name = name.to_owned();
    Some((Series { column, name }, value.parse().ok()?))
}

/// What is higher now, or was not there.
pub fn risen(told: &Measured, now: &Measured) -> Vec<String> {
    let mut risen = Vec::new();
    for (operation, counts) in now {
        let Some((_, before)) = told.iter().find(|(of, _)| of == operation) else {
            risen.push(format!("{operation}: is not there"));
            continue;
        };
        for (series, value) in counts {
            let was = before.get(series).copied().unwrap_or_default();
            if *value > was {
                risen.push(format!("{operation}: {series}: {value} instead of {was}"));
            }
        }
    }
    risen
}

/// Goals that are not met.
pub fn missed(measured: &Measured) -> Vec<String> {
    let missed = GOALS.iter().filter_map(|(operation, column, most)| {
        let counts = measured.iter().find(|(of, _)| of == operation);
        let Some((_, counts)) = counts else {
            return Some(format!("{operation}: was not measured"));
        };
        let took = total(counts, *column);
        (took > *most).then(|| format!("{operation}: {took} instead of {most} of {}", column.title()))
    });
    missed.collect()
}
