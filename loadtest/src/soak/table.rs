//! The table at the end of a soak: a line for every round.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use crate::ledger::Verdict;
use crate::report::amount;

/// What a round came to.
#[derive(Debug, Clone)]
pub struct Row {
    /// The fault's name.
    pub fault: &'static str,
    /// What the fault saw, or why it could not be.
    pub seen: String,
    /// What the ledger says; `None` when it did not come so far.
    pub verdict: Option<Verdict>,
    /// How long until every service answered again.
    pub recovery: Option<Duration>,
    /// Most resident bytes of the server.
    pub resident: u64,
    /// Everything that did not hold.
    pub violations: Vec<String>,
    /// Whether it could not be done here.
    pub skipped: bool,
}

/// All rounds.
#[derive(Debug)]
pub struct Table<'a>(pub &'a [Row]);

impl Row {
    /// Nothing known yet.
    pub fn new(fault: &'static str) -> Self {
        Self {
            fault,
            seen: String::new(),
            verdict: None,
            recovery: None,
            resident: 0,
            violations: Vec::new(),
            skipped: false,
        }
    }

    /// A fault that cannot be done here.
    pub fn impossible(fault: &'static str, why: String) -> Self {
        Self {
            seen: why,
            skipped: true,
            ..Self::new(fault)
        }
    }

    fn word(&self) -> &'static str {
        match (self.skipped, self.violations.is_empty()) {
            (true, _) => "not done",
            (false, true) => "ok",
            (false, false) => "VIOLATED",
        }
    }
}

impl Display for Row {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let of = |count: fn(&Verdict) -> u64| {
            self.verdict
                .as_ref()
                .map_or_else(|| "–".to_owned(), |verdict| amount::count(count(verdict)))
        };
        let recovery = self
            .recovery
            .map_or_else(|| "–".to_owned(), |time| amount::micros(time.as_micros() as f64));
        let resident = match self.resident {
            0 => "–".to_owned(),
            bytes => amount::bytes(bytes as f64),
        };
        write!(
            out,
            "{:<15} {:<8} {:>8} {:>5} {:>7} {:>9} {:>9}  {}",
            self.fault,
            self.word(),
            of(|verdict| verdict.promised),
            of(|verdict| verdict.lost.count),
            of(|verdict| verdict.duplicated.count),
            recovery,
            resident,
            self.seen
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
            "{:<15} {:<8} {:>8} {:>5} {:>7} {:>9} {:>9}  what was done",
            "fault", "", "promised", "lost", "doubled", "well in", "memory"
        )?;
        for row in self.0 {
            writeln!(out, "{row}")?;
        }
        let violated = self.0.iter().filter(|row| !row.violations.is_empty()).count();
        let undone = self.0.iter().filter(|row| row.skipped).count();
        let done = self.0.len() - undone;
        let rounds = if done == 1 { "round" } else { "rounds" };
        write!(out, "\n{done} {rounds}, {violated} with violations")?;
        if undone > 0 {
            write!(out, "; {undone} could not be done here")?;
        }
        writeln!(out, ": {}", if violated == 0 { "OK" } else { "FAILED" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_seen() {
        let skipped = Row::impossible("clock-stepped", "no libfaketime here".to_owned());
        let bad = Row {
            skipped: false,
            violations: vec!["the ledger: 1 lost".to_owned()],
            ..skipped.clone()
        };
        let text = Table(&[skipped, bad]).to_string();
        assert!(text.contains("not done"));
        assert!(text.contains("VIOLATED"));
        assert!(text.contains("    the ledger: 1 lost"));
        assert!(
            text.ends_with("1 round, 1 with violations; 1 could not be done here: FAILED\n"),
            "{text}"
        );
    }
}
