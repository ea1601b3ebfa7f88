//! Latencies and counts, by operation and second.
//!
//! A call locks the shard of its thread, which no other thread uses while there are fewer threads than shards, and records
//! into two histograms: one of the whole run (3 significant digits) and one of the second that goes on (2 digits). A
//! second that is over is folded into a short list of values and counts in the timeline all shards share.
//!
//! Memory: some 200 KiB per operation, shard and run, and a few hundred bytes per operation and second. After
//! [`WHOLE_SECONDS`] a second keeps its percentiles only, and [`MOST_SECONDS`] are told apart at all, so that a run of
//! days needs some tens of megabytes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::operation::{Operation, Outcome};
use crate::report::data::{Latency, Mark, Measured, Second};
use crate::report::histogram::latency;

mod encode;
mod shard;
mod timeline;

pub use encode::encode;
use shard::{Shard, Tally, record};
use timeline::Timeline;

/// The longest latency told apart, in microseconds; whatever takes longer counts as this. 10 minutes.
pub const LONGEST: u64 = 600_000_000;

/// So many seconds of a run keep their whole histograms; later ones only their percentiles.
pub const WHOLE_SECONDS: u32 = 3600;

/// So many seconds are told apart; what happens later is in the totals only. Two days.
pub const MOST_SECONDS: u32 = 2 * 24 * 3600;

/// Marks after these are dropped: a mark is something a person reads.
const MOST_MARKS: usize = 10_000;

/// Where actors say what was due and how it ended. Cheap to clone; calls are wait-free in practice (sharded by thread).
#[derive(Debug, Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    begin: Instant,
    length: Duration,
    shards: Vec<Mutex<Shard>>,
    timeline: Mutex<Timeline>,
    marks: Mutex<Vec<Mark>>,
}

/// One operation, so far or lately.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    /// How many were due.
    pub offered: u64,
    /// How many ended well.
    pub done: u64,
    /// How many ended otherwise.
    pub failed: u64,
    /// Latencies of those that ended well.
    pub latency: Latency,
}

impl Recorder {
    /// A recorder for a run that begins at `begin` and whose arrivals go on for `length`.
    pub fn new(begin: Instant, length: Duration) -> Self {
        // One more than workers: the thread that waits for the runtime may record, too.
        let shards = 1 + available_parallelism().map_or(4, usize::from).min(15);
        Self {
            shared: Arc::new(Shared {
                begin,
                length,
                shards: (0..shards).map(|_| Mutex::default()).collect(),
                timeline: Mutex::default(),
                marks: Mutex::default(),
            }),
        }
    }

    /// When the run began; times in promises and reports count from here.
    pub fn begin(&self) -> Instant {
        self.shared.begin
    }

    /// How long arrivals go on.
    pub fn length(&self) -> Duration {
        self.shared.length
    }

    /// An operation was due at `intended`.
    pub fn offered(&self, operation: Operation, intended: Instant) {
        let second = self.second(intended);
        self.with_shard(|shard| {
            let tally = shard.tally(operation);
            tally.offered += 1;
            if let Some(count) = tally.second(second) {
                count.offered += 1;
            }
        });
    }

    /// An operation that was due at `intended` has ended now.
    pub fn ended(&self, operation: Operation, intended: Instant, outcome: Outcome) {
        self.ended_at(operation, intended, Instant::now(), outcome);
    }

    /// An operation that was due at `intended` ended at `end`. What ended otherwise than well has no latency: a refusal is
    /// quick, and would make a failing server look fast.
    pub fn ended_at(&self, operation: Operation, intended: Instant, end: Instant, outcome: Outcome) {
        let second = self.second(end);
        let took = end.saturating_duration_since(intended).as_micros();
        let took = u64::try_from(took).unwrap_or(LONGEST).clamp(1, LONGEST);
        self.with_shard(|shard| {
            let tally = shard.tally(operation);
            tally.end(outcome);
            if let Some(count) = tally.second(second) {
                match outcome {
                    Outcome::Done => count.done += 1,
                    _ => count.failed += 1,
                }
            }
            if outcome == Outcome::Done {
                record(&mut tally.all, took, 1);
                self.record_second(operation, tally, second, took);
            }
        });
    }

    /// Something happened to the server that a reader of the report should see: "killed (SIGKILL)".
    pub fn mark(&self, what: impl Into<String>) {
        let mut marks = self.shared.marks.lock();
        if marks.len() < MOST_MARKS {
            marks.push(Mark {
                at: self.shared.begin.elapsed().as_secs_f64(),
                what: what.into(),
            });
        }
    }

    /// The marks so far, in order.
    pub fn marks(&self) -> Vec<Mark> {
        self.shared.marks.lock().clone()
    }

    /// How many operations were due, and how many of them have ended.
    pub fn progress(&self) -> (u64, u64) {
        let mut sum = (0, 0);
        for shard in &self.shared.shards {
            for tally in shard.lock().tallies() {
                sum.0 += tally.1.offered;
                sum.1 += tally.1.ended();
            }
        }
        sum
    }

    /// The last `seconds` full seconds, by operation; for people who watch.
    pub fn recent(&self, seconds: u32) -> BTreeMap<Operation, Recent> {
        let now = self.second(Instant::now());
        let range = now.saturating_sub(seconds.max(1))..now;
        let mut recent: BTreeMap<Operation, Recent> = BTreeMap::new();
        for shard in &self.shared.shards {
            let mut shard = shard.lock();
            for (operation, tally) in shard.tallies() {
                self.flush(operation, tally);
                let entry = recent.entry(operation).or_default();
                for count in range.clone().filter_map(|at| tally.seconds.get(at as usize)) {
                    entry.offered += u64::from(count.offered);
                    entry.done += u64::from(count.done);
                    entry.failed += u64::from(count.failed);
                }
            }
        }
        let timeline = self.shared.timeline.lock();
        for (operation, entry) in &mut recent {
            entry.latency = timeline.latency(*operation, range.clone());
        }
        recent
    }

    /// Everything, as a report holds it. May be called while the run goes on.
    pub fn measured(&self) -> BTreeMap<Operation, Measured> {
        let mut all: BTreeMap<Operation, Tally> = BTreeMap::new();
        for shard in &self.shared.shards {
            let mut shard = shard.lock();
            for (operation, tally) in shard.tallies() {
                self.flush(operation, tally);
                all.entry(operation).or_default().add(tally);
            }
        }
        let timeline = self.shared.timeline.lock();
        all.into_iter()
            .map(|(operation, tally)| (operation, measured(operation, &tally, &timeline)))
            .collect()
    }

    fn second(&self, at: Instant) -> u32 {
        let seconds = at.saturating_duration_since(self.shared.begin).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    fn record_second(&self, operation: Operation, tally: &mut Tally, second: u32, took: u64) {
        if second >= MOST_SECONDS {
            return;
        }
        if second > tally.live_second {
            self.flush(operation, tally);
            tally.live_second = second;
        }
        if second == tally.live_second {
            record(&mut tally.live, took, 1);
        } else {
            // Told late; rare enough to go to the timeline by itself.
            let value = tally.live.highest_equivalent(took);
            let mut timeline = self.shared.timeline.lock();
            timeline.add(operation, second, std::iter::once((value, 1)));
        }
    }

    /// Hands the second that goes on to the timeline. Always shard before timeline, so that locks cannot cross.
    fn flush(&self, operation: Operation, tally: &mut Tally) {
        if tally.live.is_empty() {
            return;
        }
        let values = tally
            .live
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), step.count_at_value()));
        let mut timeline = self.shared.timeline.lock();
        timeline.add(operation, tally.live_second, values);
        drop(timeline);
        tally.live.reset();
    }

    fn with_shard<T>(&self, use_it: impl FnOnce(&mut Shard) -> T) -> Option<T> {
        let shards = &self.shared.shards;
        let shard = shards.get(own_number() % shards.len())?;
        Some(use_it(&mut shard.lock()))
    }
}

/// A number that this thread has and most likely no other one.
fn own_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    OWN.with(Cell::get)
}

fn measured(operation: Operation, tally: &Tally, timeline: &Timeline) -> Measured {
    let seconds = (0..).zip(&tally.seconds).map(|(at, count)| {
        let (latency, histogram) = timeline.told(operation, at);
        Second {
            at,
            offered: u64::from(count.offered),
            done: u64::from(count.done),
            failed: u64::from(count.failed),
            latency,
            histogram,
        }
    });
    Measured {
        offered: tally.offered,
        done: tally.done,
        deferred: tally.deferred,
        refused: tally.refused,
        broken: tally.broken,
        latency: summary(&tally.all),
        seconds: seconds.collect(),
        histogram: encode(&tally.all),
    }
}

/// Percentiles; all 0 when nothing was recorded (an empty histogram's minimum would be the largest number).
fn summary(histogram: &Histogram<u64>) -> Latency {
    if histogram.is_empty() {
        return Latency::default();
    }
    latency(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::histogram::decode;

    const OPERATION: Operation = Operation::MxMessage;

    fn recorder(ago: Duration) -> Recorder {
        let begin = Instant::now()
            .checked_sub(ago)
            .expect("the machine is up for longer");
        Recorder::new(begin, Duration::from_secs(60))
    }

    #[test]
    fn counts_and_percentiles_are_told_by_second() {
        let recorder = recorder(Duration::from_secs(10));
        for number in 1..=100 {
            let intended = recorder.begin() + Duration::from_millis(2000 + number);
            recorder.offered(OPERATION, intended);
            let end = intended + Duration::from_millis(number);
            recorder.ended_at(OPERATION, intended, end, Outcome::Done);
        }
        let late = recorder.begin() + Duration::from_millis(2900);
        recorder.offered(OPERATION, late);
        recorder.ended_at(OPERATION, late, late + Duration::from_secs(2), Outcome::Deferred);

        let all = recorder.measured();
        let measured = &all[&OPERATION];
        assert_eq!(
            (measured.offered, measured.done, measured.deferred),
            (101, 100, 1)
        );
        let p50 = measured.latency.p50 as f64;
        assert!((p50 / 50_000.0 - 1.0).abs() < 0.001, "{p50}");
        assert_eq!(measured.seconds.len(), 5);
        assert_eq!(
            (measured.seconds[2].offered, measured.seconds[2].done),
            (101, 100)
        );
        assert_eq!((measured.seconds[4].done, measured.seconds[4].failed), (0, 1));
        let p99 = measured.seconds[2].latency.p99 as f64;
        assert!((p99 / 99_000.0 - 1.0).abs() < 0.01, "{p99}");
        assert_eq!(decode(&measured.histogram).expect("a histogram").len(), 100);
        assert_eq!(decode(&measured.seconds[2].histogram).expect("one").len(), 100);
        assert_eq!(measured.seconds[4].histogram, "");
    }

    #[test]
    fn threads_add_up() {
        let recorder = recorder(Duration::ZERO);
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let intended = Instant::now();
                        recorder.offered(OPERATION, intended);
                        recorder.ended(OPERATION, intended, Outcome::Done);
                    }
                });
            }
        });
        let measured = &recorder.measured()[&OPERATION];
        assert_eq!((measured.offered, measured.done), (40_000, 40_000));
        let by_second: u64 = measured
            .seconds
            .iter()
            .filter_map(|second| decode(&second.histogram))
            .map(|histogram| histogram.len())
            .sum();
        assert_eq!(by_second, 40_000);
        assert_eq!(recorder.progress(), (40_000, 40_000));
    }

    #[test]
    fn telling_twice_is_telling_the_same() {
        let recorder = recorder(Duration::from_secs(5));
        recorder.ended(OPERATION, recorder.begin(), Outcome::Done);
        let first = recorder.measured();
        let second = recorder.measured();
        assert_eq!(
            serde_json::to_string(&first).expect("JSON"),
            serde_json::to_string(&second).expect("JSON")
        );
    }

    #[test]
    fn out_of_range_is_clamped_and_never_lost() {
        let recorder = recorder(Duration::from_secs(3));
        let begin = recorder.begin();
        let day = Duration::from_secs(24 * 3600);
        recorder.ended_at(OPERATION, begin, begin + day, Outcome::Done);
        recorder.ended_at(OPERATION, begin + day, begin, Outcome::Done);
        recorder.ended_at(OPERATION, begin, begin + 3 * day, Outcome::Done);
        let measured = &recorder.measured()[&OPERATION];
        assert_eq!(measured.done, 3);
        assert!(measured.latency.max >= LONGEST && measured.latency.max < LONGEST + LONGEST / 100);
        assert_eq!(measured.latency.min, 1);
        assert!(measured.seconds.len() <= MOST_SECONDS as usize);
    }

    #[test]
    fn late_seconds_keep_percentiles_without_their_histogram() {
        let recorder = recorder(Duration::ZERO);
        let begin = recorder.begin();
        for second in 0..u64::from(WHOLE_SECONDS) + 100 {
            let end = begin + Duration::from_secs(second);
            let intended = end.checked_sub(Duration::from_millis(5)).unwrap_or(end);
            recorder.ended_at(OPERATION, intended, end, Outcome::Done);
        }
        let seconds = &recorder.measured()[&OPERATION].seconds;
        assert_ne!(seconds[100].histogram, "");
        let late = &seconds[WHOLE_SECONDS as usize + 50];
        assert_eq!(late.histogram, "");
        assert!((4950..=5050).contains(&late.latency.p50), "{}", late.latency.p50);
    }

    #[test]
    fn what_is_recent_is_the_last_full_seconds() {
        let recorder = recorder(Duration::from_secs(10));
        let intended = recorder.begin() + Duration::from_secs(8);
        recorder.offered(OPERATION, intended);
        let end = intended + Duration::from_millis(20);
        recorder.ended_at(OPERATION, intended, end, Outcome::Done);
        let long_ago = recorder.begin();
        recorder.offered(OPERATION, long_ago);
        recorder.ended_at(OPERATION, long_ago, long_ago, Outcome::Broken);
        let recent = &recorder.recent(3)[&OPERATION];
        assert_eq!((recent.offered, recent.done, recent.failed), (1, 1, 0));
        assert!(recent.latency.p50 >= 20_000);
    }

    #[test]
    fn marks_have_their_time() {
        let recorder = recorder(Duration::from_secs(7));
        recorder.mark("killed (SIGKILL)");
        let marks = recorder.marks();
        assert!(marks[0].at >= 7.0 && marks[0].at < 8.0);
        assert_eq!(marks[0].what, "killed (SIGKILL)");
    }
}
