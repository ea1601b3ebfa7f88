//! What a run looks like while it goes on: a block of lines that is drawn again every second on a terminal, a plain line every
//! five seconds elsewhere. On standard error, so that results can be piped.

use std::fmt::Write;
use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::operation::Operation;
use crate::process::{GENERATOR, SERVER, Sampler};
use crate::recorder::{Recent, Recorder};
use crate::report::amount;

const PLAIN_EVERY: Duration = Duration::from_secs(5);
const DRAWN_EVERY: Duration = Duration::from_secs(1);

/// How progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// A block on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// Plain lines.
    Plain,
    /// Not at all.
    Silent,
}

/// Progress that is being shown; ends when it is finished or dropped.
#[derive(Debug)]
pub struct Progress {
    task: Option<JoinHandle<()>>,
    bar: Option<ProgressBar>,
}

/// A moment of a run.
#[derive(Debug)]
struct Moment {
    title: String,
    at: f64,
    length: f64,
    /// Over how many seconds rates are told.
    window: u32,
    /// Due and not ended.
    waiting: u64,
    recent: Vec<(Operation, Recent)>,
    queued: Option<f64>,
    used: Vec<(&'static str, f64, u64)>,
}

impl Progress {
    /// Begins to show a run.
    pub fn start(title: &str, recorder: &Recorder, sampler: &Sampler, style: Style) -> Self {
        if style == Style::Silent {
            return Self {
                task: None,
                bar: None,
            };
        }
        let drawn = style == Style::Auto && stderr().is_terminal();
        let bar = drawn.then(|| bar(recorder.length()));
        let task = tokio::spawn(show(
            title.to_owned(),
            recorder.clone(),
            sampler.clone(),
            bar.clone(),
        ));
        Self {
            task: Some(task),
            bar,
        }
    }

    /// Says something beside the lines: a mark, a warning.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None if self.task.is_some() => eprintln!("{line}"),
            None => {}
        }
    }

    /// Ends it; the block is taken away.
    pub fn finish(self) {}
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(length: Duration) -> ProgressBar {
    let bar = ProgressBar::new(length.as_secs());
    if let Ok(style) = ProgressStyle::with_template("{msg}\n{wide_bar:.dim}") {
        bar.set_style(style);
    }
    bar
}

async fn show(title: String, recorder: Recorder, sampler: Sampler, bar: Option<ProgressBar>) {
    let every = if bar.is_some() { DRAWN_EVERY } else { PLAIN_EVERY };
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let window = u32::try_from(every.as_secs()).unwrap_or(1).max(2);
        let moment = Moment::of(&title, &recorder, &sampler, window);
        match &bar {
            Some(bar) => {
                bar.set_message(moment.block());
                bar.set_position((moment.at.min(moment.length)) as u64);
            }
            None => eprintln!("{}", moment.line()),
        }
    }
}

impl Moment {
    fn of(title: &str, recorder: &Recorder, sampler: &Sampler, window: u32) -> Self {
        let (due, ended) = recorder.progress();
        let used = [SERVER, GENERATOR].into_iter().filter_map(|name| {
            let sample = sampler.last(name)?;
            Some((name, sample.cpu, sample.resident))
        });
        Self {
            title: title.to_owned(),
            at: recorder.begin().elapsed().as_secs_f64(),
            length: recorder.length().as_secs_f64(),
            window,
            waiting: due.saturating_sub(ended),
            recent: recorder.recent(window).into_iter().collect(),
            queued: sampler.queued(),
            used: used.collect(),
        }
    }

    fn rate(&self, number: u64) -> String {
        format!("{:.1}/s", number as f64 / f64::from(self.window))
    }

    /// One line that says it all.
    fn line(&self) -> String {
        let mut line = self.head();
        for (operation, recent) in self.acceptances() {
            let _ = write!(
                line,
                "  {} p50 {} p99 {}",
                operation.name(),
                amount::micros(recent.latency.p50 as f64),
                amount::micros(recent.latency.p99 as f64)
            );
        }
        for (name, cpu, resident) in &self.used {
            let _ = write!(line, "  {name} {cpu:.2} CPU {}", amount::bytes(*resident as f64));
        }
        line
    }

    /// Several lines, one by operation.
    fn block(&self) -> String {
        let mut block = self.head();
        for (name, cpu, resident) in &self.used {
            let _ = write!(
                block,
                "\n  {name:<9} {cpu:>5.2} CPU {:>10}",
                amount::bytes(*resident as f64)
            );
        }
        let _ = write!(
            block,
            "\n  {:<15} {:>10} {:>10} {:>9} {:>9} {:>8}",
            "operation", "due", "done", "p50", "p99", "failed"
        );
        for (operation, recent) in &self.recent {
            let _ = write!(
                block,
                "\n  {:<15} {:>10} {:>10} {:>9} {:>9} {:>8}",
                operation.name(),
                self.rate(recent.offered),
                self.rate(recent.done),
                told(recent, recent.latency.p50),
                told(recent, recent.latency.p99),
                recent.failed
            );
        }
        block
    }

    fn head(&self) -> String {
        let sum = |of: fn(&Recent) -> u64| self.recent.iter().map(|(_, recent)| of(recent)).sum::<u64>();
        let mut head = format!(
            "{} of {}  {}  due {}  done {}  waiting {}  failed {}",
            amount::clock(self.at),
            amount::clock(self.length),
            self.title,
            self.rate(sum(|recent| recent.offered)),
            self.rate(sum(|recent| recent.done)),
            self.waiting,
            sum(|recent| recent.failed)
        );
        if let Some(queued) = self.queued {
            let _ = write!(head, "  queue {queued}");
        }
        head
    }

    fn acceptances(&self) -> impl Iterator<Item = &(Operation, Recent)> {
        self.recent
            .iter()
            .filter(|(operation, recent)| operation.is_acceptance() && recent.done > 0)
    }
}

/// A latency, when anything has one.
fn told(recent: &Recent, micros: u64) -> String {
    match recent.done {
        0 => "–".to_owned(),
        _ => amount::micros(micros as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::data::Latency;

    fn moment() -> Moment {
        let recent = Recent {
            offered: 210,
            done: 200,
            failed: 10,
            latency: Latency {
                p50: 4_200,
                p99: 31_000,
                ..Latency::default()
            },
        };
        Moment {
            title: "smoke".to_owned(),
            at: 65.0,
            length: 120.0,
            window: 5,
            waiting: 7,
            recent: vec![
                (Operation::MxConnect, Recent::default()),
                (Operation::MxMessage, recent),
            ],
            queued: Some(12.0),
            used: vec![(SERVER, 0.7, 90 << 20)],
        }
    }

    #[test]
    fn a_line_says_it_all() {
        let line = moment().line();
        for part in [
            "1:05 of 2:00",
            "due 42.0/s",
            "done 40.0/s",
            "waiting 7",
            "failed 10",
            "queue 12",
            "mx-message p50",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(!line.contains("mx-connect") && !line.contains('\n'));
    }

    #[test]
    fn a_block_has_a_line_for_each() {
        let block = moment().block();
        assert_eq!(block.lines().count(), 1 + 1 + 1 + 2, "{block}");
        assert!(
            block
                .lines()
                .any(|line| line.contains("mx-connect") && line.contains('–'))
        );
    }
}
