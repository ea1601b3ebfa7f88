//! Looking after the engines: how they are is said in the log when it changes, in `/readyz`, and in the metric `postrider_engine_up`.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use opentelemetry::metrics::Gauge;
use opentelemetry::{KeyValue, global};
use postrider_embedded::Database;
use postrider_runtime::ops::Readiness;

/// How often an engine is asked.
const EVERY: Duration = Duration::from_secs(2);
/// How long the log is silent about an engine whose trouble changes its name and does not end.
const SILENCE: Duration = Duration::from_secs(60);

static UP: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    let meter = global::meter("postrider");
    meter
        .u64_gauge("postrider_engine_up")
        .with_description("1 while an engine elsewhere answers and is as this program needs it")
        .build()
});

/// How often clocks are compared.
const CLOCK_EVERY: Duration = Duration::from_secs(30);
/// Clocks further apart than this are said to be. Leases of units bear with a few seconds, the queue's minutes with one.
const CLOCK_BOUND: f64 = 5.0;

static CLOCK: LazyLock<Gauge<f64>> = LazyLock::new(|| {
    let meter = global::meter("postrider");
    meter
        .f64_gauge("postrider_clock_offset_seconds")
        .with_description("This machine's clock minus that of the database's node asked last")
        .build()
});

/// A store that has stopped writing (a full or broken disk) takes no mail: load balancers should know.
pub async fn store(database: Database, readiness: Readiness) {
    loop {
        readiness.set("store", database.stopped().map_or(Ok(()), Err));
        tokio::time::sleep(EVERY).await;
    }
}

/// Asks an engine elsewhere how it is. What it cannot do meanwhile its callers hear as a temporary error; mail that needs other
/// engines goes on.
pub async fn engine<F>(name: &'static str, readiness: Option<Readiness>, ask: impl Fn() -> F)
where
    F: Future<Output = Result<(), String>>,
{
    let mut log = Log::default();
    loop {
        let now = ask().await;
        UP.record(u64::from(now.is_ok()), &[KeyValue::new("engine", name)]);
        match log.of(&now, Instant::now()) {
            Some(Line::Answers) => tracing::info!("the {name} answers"),
            Some(Line::AnswersAgain) => tracing::info!("the {name} answers again"),
            Some(Line::NotReady(why)) => tracing::warn!("the {name} is not ready, trying again: {why}"),
            None => {}
        }
        if let Some(readiness) = &readiness {
            readiness.set(name, now);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Compares this machine's clock with the database's: what processes write for each other has times in it.
pub async fn clock(session: postrider_cql::Session) {
    let mut apart = false;
    loop {
        let begin = Instant::now();
        let before = now();
        let Ok(theirs) = session.clock().await else {
            tokio::time::sleep(EVERY).await;
            continue;
        };
        let offset = Offset::of(before, begin.elapsed(), theirs);
        CLOCK.record(offset.seconds, &[]);
        match (offset.exceeds(CLOCK_BOUND), apart) {
            (true, false) => tracing::warn!(
                "this machine's clock is {:.1} s {} the database's: run NTP on both; units may be sent late, or twice",
                offset.seconds.abs(),
                if offset.seconds > 0.0 {
                    "ahead of"
                } else {
                    "behind"
                },
            ),
            (false, true) => tracing::info!("this machine's clock and the database's agree again"),
            _ => {}
        }
        apart = offset.exceeds(CLOCK_BOUND);
        tokio::time::sleep(CLOCK_EVERY).await;
    }
}

/// Milliseconds since the Unix epoch.
fn now() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How far our clock is ahead.
struct Offset {
    seconds: f64,
    /// It is known no better than this.
    within: f64,
}

impl Offset {
    /// `theirs` was read at some moment of `took`, which began at `before`.
    fn of(before: u64, took: Duration, theirs: u64) -> Self {
        let half = took.as_secs_f64() / 2.0;
        let between = before as f64 / 1000.0 - theirs as f64 / 1000.0;
        Self {
            seconds: between + half,
            within: half,
        }
    }

    fn exceeds(&self, bound: f64) -> bool {
        self.seconds.abs() - self.within > bound
    }
}

/// What the log was told.
#[derive(Default)]
struct Log {
    looks: u64,
    /// The trouble that was said last, and when.
    said: Option<(String, Instant)>,
    /// It answered before.
    answered: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Answers,
    AnswersAgain,
    NotReady(&'a str),
}

impl Log {
    /// What is to be said now. Of an outage one line, and another when its reason is a different one a minute later; the first look
    /// comes before anything can be known.
    fn of<'a>(&mut self, now: &'a Result<(), String>, at: Instant) -> Option<Line<'a>> {
        self.looks += 1;
        match now {
            Ok(()) => {
                let news = self.said.take().is_some() || !self.answered;
                let again = self.answered || self.looks > 2;
                self.answered = true;
                match (news, again) {
                    (false, _) => None,
                    (true, false) => Some(Line::Answers),
                    (true, true) => Some(Line::AnswersAgain),
                }
            }
            Err(_) if self.looks == 1 => None,
            Err(why) => {
                let silent = self
                    .said
                    .as_ref()
                    .is_some_and(|(said, when)| said == why || at.duration_since(*when) < SILENCE);
                if silent {
                    return None;
                }
                self.said = Some((why.clone(), at));
                Some(Line::NotReady(why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_one_line_and_its_end_another() {
        let mut log = Log::default();
        let begin = Instant::now();
        let mut say = |seconds: u64, now: Result<(), &str>| {
            let now = now.map_err(ToOwned::to_owned);
            log.of(&now, begin + Duration::from_secs(seconds))
                .map(|line| format!("{line:?}"))
        };
        assert_eq!(say(0, Err("connecting")), None);
        assert_eq!(say(2, Ok(())), Some("Answers".into()));
        assert_eq!(say(4, Ok(())), None);
        assert_eq!(say(6, Err("reset")), Some("NotReady(\"reset\")".into()));
        for (seconds, why) in [(8, "refused"), (10, "reset"), (64, "refused")] {
            assert_eq!(say(seconds, Err(why)), None);
        }
        assert_eq!(
            say(66, Err("wrong password")),
            Some("NotReady(\"wrong password\")".into())
        );
        assert_eq!(say(200, Err("wrong password")), None);
        assert_eq!(say(202, Ok(())), Some("AnswersAgain".into()));
    }

    #[test]
    fn an_offset_is_as_sure_as_the_answer_was_quick() {
        let second = Duration::from_secs(1);
        let offset = |before, took, theirs| Offset::of(before, took, theirs);
        assert!((offset(100_000, second, 100_500).seconds).abs() < 1e-6);
        assert!(offset(130_000, second, 100_500).exceeds(5.0));
        assert!(offset(100_000, second, 130_500).exceeds(5.0));
        // Ours might have been read four seconds before theirs was.
        assert!(!offset(100_000, 8 * second, 109_000).exceeds(5.0));
    }

    #[test]
    fn who_starts_without_an_engine_says_so_at_the_second_look() {
        let mut log = Log::default();
        let now = Instant::now();
        assert_eq!(log.of(&Err("connecting".into()), now), None);
        assert_eq!(
            log.of(&Err("refused".into()), now),
            Some(Line::NotReady("refused"))
        );
        assert_eq!(log.of(&Ok(()), now), Some(Line::AnswersAgain));
        assert_eq!(log.of(&Ok(()), now), None);
    }
}
