//! Latencies by operation and second, once the second is over.

use std::ops::Range;

use hdrhistogram::Histogram;

use super::shard::{histogram, record};
use super::{MOST_SECONDS, WHOLE_SECONDS, encode, summary};
use crate::operation::Operation;
use crate::report::data::Latency;

/// Shards hand in a second within the next one or two; after so many it is sealed, when it is to be sealed at all.
const SEALED_AFTER: u32 = 10;

#[derive(Debug, Default)]
pub(super) struct Timeline {
    operations: [Vec<Row>; Operation::ALL.len()],
}

/// One second of one operation.
#[derive(Debug)]
enum Row {
    /// Values (each the highest of its bucket in a histogram of 2 digits) and how often they came; ascending.
    Whole(Vec<(u32, u32)>),
    /// Only the percentiles are left.
    Sealed(Box<Latency>),
}

impl Timeline {
    /// Adds values and how often they came; what comes for a sealed second is dropped (it is in the totals).
    pub(super) fn add(
        &mut self,
        operation: Operation,
        second: u32,
        values: impl Iterator<Item = (u64, u64)>,
    ) {
        if second >= MOST_SECONDS {
            return;
        }
        let rows = &mut self.operations[operation as usize];
        let at = second as usize;
        if rows.len() <= at {
            rows.resize_with(at + 1, || Row::Whole(Vec::new()));
        }
        if let Some(Row::Whole(row)) = rows.get_mut(at) {
            for (value, count) in values {
                add(row, saturated(value), saturated(count));
            }
            row.shrink_to_fit();
        }
        if let Some(over) = second
            .checked_sub(SEALED_AFTER)
            .filter(|over| *over >= WHOLE_SECONDS)
        {
            seal(rows, over as usize);
        }
    }

    /// What a report tells of a second: percentiles and the histogram, which is empty when nothing ended well or the
    /// second kept only its percentiles.
    pub(super) fn told(&self, operation: Operation, second: u32) -> (Latency, String) {
        match self.operations[operation as usize].get(second as usize) {
            None => (Latency::default(), String::new()),
            Some(Row::Sealed(latency)) => (**latency, String::new()),
            Some(Row::Whole(row)) => {
                let histogram = whole([row.as_slice()]);
                let text = match second {
                    0..WHOLE_SECONDS => encode(&histogram),
                    _ => String::new(),
                };
                (summary(&histogram), text)
            }
        }
    }

    /// Percentiles over several seconds (of those that are not sealed).
    pub(super) fn latency(&self, operation: Operation, seconds: Range<u32>) -> Latency {
        let rows = &self.operations[operation as usize];
        let rows = seconds.filter_map(|at| match rows.get(at as usize) {
            Some(Row::Whole(row)) => Some(row.as_slice()),
            _ => None,
        });
        summary(&whole(rows))
    }
}

fn add(row: &mut Vec<(u32, u32)>, value: u32, count: u32) {
    match row.binary_search_by_key(&value, |(value, _)| *value) {
        Ok(at) => row[at].1 = row[at].1.saturating_add(count),
        Err(at) => row.insert(at, (value, count)),
    }
}

/// Seals every row up to `last` that is past those kept whole. Walks back from the newest, so it is one row at a time in
/// a run that goes on, and a gap is caught up with.
fn seal(rows: &mut [Row], last: usize) {
    let late = rows.iter_mut().take(last + 1).skip(WHOLE_SECONDS as usize);
    for row in late.rev() {
        match row {
            Row::Sealed(_) => return,
            Row::Whole(values) => *row = Row::Sealed(Box::new(summary(&whole([values.as_slice()])))),
        }
    }
}

fn whole<'a>(rows: impl IntoIterator<Item = &'a [(u32, u32)]>) -> Histogram<u64> {
    let mut sum = histogram(2);
    for (value, count) in rows.into_iter().flatten() {
        record(&mut sum, u64::from(*value), u64::from(*count));
    }
    sum
}

fn saturated(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
