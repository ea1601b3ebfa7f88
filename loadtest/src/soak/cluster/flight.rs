//! What was on its way to other servers at a moment: from the ledger's promises and what the sink wrote down.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::ledger::{Lines, MessageId, PROMISES, Place, Promise, Sighting, SinkEntry};

/// How long a worker may take to write down that another server has taken a message: until then it is on its way.
const WRITTEN: Duration = Duration::from_secs(2);

/// A moment by two clocks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Microseconds since the run began, as promises have it.
    of_run: u64,
    /// Microseconds since 1970, as the sink has it.
    of_day: u64,
}

impl Moment {
    /// Now, in a run that began then.
    pub fn now(begin: Instant) -> Self {
        let day = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self {
            of_run: micros(begin.elapsed()),
            of_day: micros(day),
        }
    }
}

/// How many copies were on their way to other servers between two moments: handed in before the second, and not at the other
/// server [`WRITTEN`] before the first.
pub fn on_their_way(ledger: &Path, record: &Path, run: u32, from: Moment, to: Moment) -> io::Result<u64> {
    let mut first: HashMap<(MessageId, String), u64> = HashMap::new();
    for entry in Lines::<SinkEntry>::open(record)? {
        let SinkEntry::Seen(Sighting {
            id,
            recipient,
            place: Place::Sink { when, .. },
            ..
        }) = entry?
        else {
            continue;
        };
        if id.run == run {
            let seen = first.entry((id, recipient.to_lowercase())).or_insert(when);
            *seen = when.min(*seen);
        }
    }
    let begun = from.of_day.saturating_sub(micros(WRITTEN));
    let mut handed_in: HashMap<(MessageId, String), u64> = HashMap::new();
    for promise in Lines::<Promise>::open(&ledger.join(PROMISES))? {
        let Promise {
            id, recipient, began, ..
        } = promise?;
        handed_in.insert((id, recipient.to_lowercase()), began);
    }
    // Without an answer to its sender nobody knows when it was taken: it counts by when it arrived.
    let late = first.iter().filter(|(key, when)| {
        let before = handed_in
            .get(*key)
            .map_or(**when <= to.of_day, |began| *began <= to.of_run);
        before && **when >= begun
    });
    Ok(late.count() as u64)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Ledger, encode_line};

    const SECOND: u64 = 1_000_000;
    /// When the run began, by the sink's clock.
    const BEGUN: u64 = 5_000 * SECOND;

    fn at(second: u64) -> Moment {
        Moment {
            of_run: second * SECOND,
            of_day: BEGUN + second * SECOND,
        }
    }

    fn arrived(run: u32, number: u64, second: u64) -> SinkEntry {
        SinkEntry::Seen(Sighting {
            id: MessageId { run, number },
            recipient: "A@far.example".into(),
            digest: 0,
            decoded: None,
            place: Place::Sink {
                transaction: number * 1000 + second,
                answered: true,
                when: BEGUN + second * SECOND,
            },
        })
    }

    #[tokio::test]
    async fn what_was_handed_in_and_had_not_arrived() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&directory.path().join("ledger"), 7).unwrap();
        let promise = |number: u64, began: u64| Promise {
            id: MessageId { run: 7, number },
            recipient: "a@far.example".into(),
            digest: 0,
            decoded: None,
            began: began * SECOND,
            at: began * SECOND + 1,
        };
        // 1 had arrived long before, 2 arrives afterwards (twice), 3 was handed in afterwards.
        let promises = vec![promise(1, 1), promise(2, 9), promise(3, 20)];
        ledger.promise(promises).await.unwrap();
        let mut record = Vec::new();
        // 4 came while nobody knew whether it was taken; 5 is of another run.
        for entry in [
            arrived(7, 1, 2),
            arrived(7, 2, 11),
            arrived(7, 2, 40),
            arrived(7, 3, 21),
            arrived(7, 4, 10),
            arrived(8, 5, 10),
        ] {
            encode_line(&entry, &mut record).unwrap();
        }
        let path = directory.path().join("record");
        std::fs::write(&path, record).unwrap();
        let count = |from, to| on_their_way(ledger.directory(), &path, 7, at(from), at(to)).unwrap();
        assert_eq!(count(10, 10), 2);
        assert_eq!(count(10, 30), 3);
        assert_eq!(count(50, 60), 0);
    }
}
