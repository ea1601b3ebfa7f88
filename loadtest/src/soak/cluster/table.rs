//! The table at the end: a line for every round.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use super::fault::Fault;
use crate::ledger::Verdict;
use crate::operation::Operation;
use crate::report::amount;
use crate::report::data::Report;
use crate::target::Target;

/// What a round came to. Times in JSON are in seconds.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The fault's name.
    pub fault: &'static str,
    /// What was done.
    pub about: String,
    /// From the fault's beginning to its end.
    #[serde(serialize_with = "in_seconds")]
    pub held: Duration,
    /// From its end until everything worked.
    #[serde(serialize_with = "perhaps_in_seconds")]
    pub back_after: Option<Duration>,
    /// Within how many seconds it has to.
    pub back: u64,
    /// From the end of the load until everything promised was found.
    #[serde(serialize_with = "perhaps_in_seconds")]
    pub kept_after: Option<Duration>,
    /// Within how many seconds it has to be.
    pub late: u64,
    /// The longest that a sender waited for the answer to a message.
    #[serde(serialize_with = "in_seconds")]
    pub worst: Duration,
    /// How often a sender was refused for now.
    pub deferred: u64,
    /// How often a sender got no answer.
    pub broken: u64,
    /// Copies that came to other servers more than once.
    pub twice: u64,
    /// Copies that were on their way to other servers when the fault struck.
    pub on_their_way: u64,
    /// What the ledger says.
    pub verdict: Option<Verdict>,
    /// Everything that did not hold.
    pub violations: Vec<String>,
}

/// All rounds.
#[derive(Debug)]
pub struct Table<'a>(pub &'a [Row]);

impl Row {
    /// Nothing known yet.
    pub fn new(fault: &Fault) -> Self {
        Self {
            fault: fault.name,
            about: fault.about(),
            held: Duration::ZERO,
            back_after: None,
            back: fault.back,
            kept_after: None,
            late: fault.late,
            worst: Duration::ZERO,
            deferred: 0,
            broken: 0,
            twice: 0,
            on_their_way: 0,
            verdict: None,
            violations: Vec::new(),
        }
    }

    /// What senders met.
    pub fn sending(&mut self, report: &Report, operations: [Operation; 4]) {
        let mut refused = 0;
        for measured in operations.iter().filter_map(|one| report.operations.get(one)) {
            self.worst = self.worst.max(Duration::from_micros(measured.latency.max));
            self.deferred += measured.deferred;
            self.broken += measured.broken;
            refused += measured.refused;
        }
        if refused > 0 {
            self.violations
                .push(format!("senders were refused for good {refused} times"));
        }
    }

    /// What must hold of promises.
    pub fn judge(&mut self, verdict: Verdict, target: &Target) {
        let (here, elsewhere) = duplicates(&verdict, target);
        self.twice = elsewhere;
        if verdict.promised == 0 {
            self.violations.push("no message was accepted".to_owned());
        }
        for (count, what) in [
            (verdict.lost.count, "lost"),
            (here, "twice in a mailbox"),
            (verdict.altered.count, "altered"),
        ] {
            if count > 0 {
                let examples = [&verdict.lost, &verdict.duplicated, &verdict.altered];
                let examples = examples.iter().flat_map(|findings| findings.examples.iter());
                let some: Vec<&str> = examples.take(3).map(String::as_str).collect();
                self.violations
                    .push(format!("{count} {what}: {}", some.join("; ")));
            }
        }
        if elsewhere > self.on_their_way {
            self.violations.push(format!(
                "{elsewhere} came to other servers twice, and {} were on their way",
                self.on_their_way
            ));
        }
        self.verdict = Some(verdict);
    }
}

/// How many are twice in a mailbox, and how many came to other servers twice.
pub fn duplicates(verdict: &Verdict, target: &Target) -> (u64, u64) {
    let ours = format!("@{}", target.accounts.domain).to_lowercase();
    let is_ours = |example: &&String| {
        let recipient = example.split(' ').nth(1).unwrap_or_default();
        recipient.to_lowercase().ends_with(&ours)
    };
    let here = verdict.duplicated.examples.iter().filter(is_ours).count() as u64;
    (here, verdict.duplicated.count.saturating_sub(here))
}

impl Display for Row {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let time = |time: Duration| amount::duration(time.as_secs_f64());
        let perhaps = |one: Option<Duration>| one.map_or_else(|| "–".to_owned(), time);
        let of = |count: fn(&Verdict) -> u64| {
            self.verdict
                .as_ref()
                .map_or_else(|| "–".to_owned(), |verdict| amount::count(count(verdict)))
        };
        let doubled = |verdict: &Verdict| verdict.duplicated.count;
        let local = self.verdict.as_ref().map_or_else(
            || "–".to_owned(),
            |verdict| amount::count(doubled(verdict).saturating_sub(self.twice)),
        );
        write!(
            out,
            "{:<24} {:<8} {:>7} {:>8} {:>6} {:>8} {:>6} {:>8} {:>7} {:>6} {:>8} {:>5} {:>6} {:>9}",
            self.fault,
            if self.violations.is_empty() {
                "ok"
            } else {
                "VIOLATED"
            },
            time(self.held),
            perhaps(self.back_after),
            format!("{} s", self.back),
            perhaps(self.kept_after),
            format!("{} s", self.late),
            time(self.worst),
            self.deferred,
            self.broken,
            of(|verdict| verdict.promised),
            of(|verdict| verdict.lost.count),
            local,
            format!("{}/{}", self.twice, self.on_their_way),
        )?;
        for violation in &self.violations {
            write!(out, "\n    {violation}")?;
        }
        Ok(())
    }
}

impl Display for Table<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<24} {:<8} {:>7} {:>8} {:>6} {:>8} {:>6} {:>8} {:>7} {:>6} {:>8} {:>5} {:>6} {:>9}",
            "fault",
            "",
            "held",
            "back in",
            "bound",
            "kept in",
            "bound",
            "slowest",
            "put off",
            "broken",
            "promised",
            "lost",
            "twice",
            "outside"
        )?;
        for row in self.0 {
            writeln!(out, "{row}")?;
        }
        writeln!(
            out,
            "\nback in: from the end of the fault until everything worked. kept in: from the end of the load until everything promised\n\
             was found. slowest: the longest that a sender waited. put off: senders told to come again. twice: in a mailbox.\n\
             outside: came to another server twice / were on their way there when it struck."
        )?;
        let violated = self.0.iter().filter(|row| !row.violations.is_empty()).count();
        let rounds = if self.0.len() == 1 { "round" } else { "rounds" };
        let word = if violated == 0 { "OK" } else { "FAILED" };
        writeln!(
            out,
            "{} {rounds}, {violated} with violations: {word}",
            self.0.len()
        )
    }
}

fn in_seconds<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

fn perhaps_in_seconds<S: serde::Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(to)
}

#[cfg(test)]
mod tests {
    use super::super::fault::FAULTS;
    use super::*;
    use crate::ledger::Findings;

    fn target() -> Target {
        toml::from_str(
            "name = \"a\"\n[accounts]\ndomain = \"a.test\"\npattern = \"u{}\"\ncount = 1\npassword = \"x\"\n",
        )
        .unwrap()
    }

    fn verdict(doubled: &[&str]) -> Verdict {
        Verdict {
            promised: 3,
            found: 3,
            duplicated: Findings {
                count: doubled.len() as u64,
                examples: doubled.iter().map(|line| (*line).to_owned()).collect(),
            },
            ..Verdict::default()
        }
    }

    #[test]
    fn what_was_on_its_way_may_come_twice_elsewhere_and_nowhere_else() {
        let judged = |doubled: &[&str], on_their_way| {
            let mut row = Row::new(&FAULTS[0]);
            row.on_their_way = on_their_way;
            row.judge(verdict(doubled), &target());
            row
        };
        let (here, away) = (
            "7-1 u1@A.test INBOX 1/1, INBOX 1/2",
            "7-2 b@far.test sink 1, sink 2",
        );
        assert!(judged(&[], 0).violations.is_empty());
        let one = judged(&[away], 1);
        assert!(one.violations.is_empty() && one.twice == 1, "{one:?}");
        assert_eq!(judged(&[away, away], 1).violations.len(), 1);
        assert_eq!(judged(&[here], 5).violations.len(), 1);
        let mut lost = verdict(&[]);
        lost.lost.count = 1;
        let mut row = Row::new(&FAULTS[0]);
        row.judge(lost, &target());
        assert!(
            Table(&[row])
                .to_string()
                .ends_with("1 round, 1 with violations: FAILED\n")
        );
    }
}
