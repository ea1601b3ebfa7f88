//! Reconciling ledgers with what the server and the sinks show.

use std::fs;
use std::io::copy;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Options, outbound};
use crate::ledger::reconcile::{self, reconcile};
use crate::ledger::{Ledger, Verdict};
use crate::profile::{Actor, Profile};
use crate::target::Target;

/// Whether a run can be reconciled by itself. A part of several cannot when another part may have taken its mail out of a
/// maildrop, or received it at its sink: the parts are reconciled together.
pub(super) fn stands_alone(profile: &Profile, target: &Target, (_, parts): (u32, u32)) -> bool {
    let shares = |actor: &Actor| match actor {
        Actor::Pop3Poller(pollers) => pollers.drain,
        Actor::Submission(sender) => sender.remote_share > 0.0 && !target.remote_domains.is_empty(),
        Actor::Mx(_) | Actor::ImapDevice(_) => false,
    };
    parts <= 1 || !profile.actors.iter().any(shares)
}

/// Looks for everything that a run was promised; waits for mail that still comes, at most the run's patience.
pub(super) async fn verdict(ledger: &Ledger, options: &Options) -> Result<Verdict> {
    let records = match &options.sink {
        Some(_) => &[outbound::record(&options.out)],
        None => options.sink_records.as_slice(),
    };
    let ledgers = vec![ledger.directory().to_owned()];
    together(ledgers, &options.target, records, &options.out, options.patience).await
}

/// What to do when mail to elsewhere is missing: a queue may hold it for days, and that is no loss. None when nothing is.
pub(super) fn hint(verdict: &Verdict, ledger: &Ledger, options: &Options) -> Option<String> {
    let here = format!("@{} ", options.target.accounts.domain).to_lowercase();
    let elsewhere = |example: &&String| !example.to_lowercase().contains(&here);
    let missing = verdict.lost.examples.iter().filter(elsewhere).count();
    if missing == 0 {
        return None;
    }
    let record = match &options.sink {
        Some(_) => outbound::record(&options.out),
        None => options.sink_records.first().cloned().unwrap_or_default(),
    };
    Some(format!(
        "{missing} or more of the missing are for recipients elsewhere, and may wait in the server's queue. When it has \
         sent them (to `postrider-loadtest sink --record {record}`), look again:\n  \
         postrider-loadtest reconcile --ledger {ledger} --sink-record {record} --target TARGET",
        record = record.display(),
        ledger = ledger.directory().display(),
    ))
}

/// Reconciles several ledgers as one, with the records of any number of sinks. `out` is where several records are put
/// together.
pub async fn together(
    ledgers: Vec<PathBuf>,
    target: &Target,
    records: &[PathBuf],
    out: &Path,
    patience: Duration,
) -> Result<Verdict> {
    let sink_record = match records {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(join(several, out)?),
    };
    let first = ledgers.first().cloned().unwrap_or_default();
    let options = reconcile::Options {
        ledgers,
        sink_record,
        wait: patience,
        ..reconcile::Options::new(first, target.clone())
    };
    reconcile(&options)
        .await
        .context("whether anything was lost cannot be told")
}

/// Several records as one file: transactions have numbers of their own, so they do not mix.
fn join(records: &[PathBuf], out: &Path) -> Result<PathBuf> {
    let path = out.join("sink-records");
    let mut output = fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    for record in records {
        let mut input = fs::File::open(record)
            .with_context(|| format!("cannot read the sink's record {}", record.display()))?;
        copy(&mut input, &mut output).with_context(|| format!("cannot copy {}", record.display()))?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(remote: &str) -> Target {
        let text = format!(
            "name = \"a\"\nremote_domains = [{remote}]\n[accounts]\ndomain = \"a.test\"\npattern = \"u{{}}\"\n\
             count = 1\npassword = \"x\"\n"
        );
        toml::from_str(&text).expect("a target")
    }

    #[test]
    fn parts_that_share_mail_do_not_stand_alone() {
        let load = |name| Profile::load(name).expect("shipped");
        let (here, away) = (target(""), target("\"b.test\""));
        assert!(stands_alone(&load("smoke"), &away, (1, 1)));
        assert!(!stands_alone(&load("smoke"), &here, (1, 2)), "its pollers delete");
        assert!(
            !stands_alone(&load("outbound-bulk"), &away, (1, 2)),
            "another part's sink"
        );
        assert!(stands_alone(&load("outbound-bulk"), &here, (1, 2)));
        assert!(stands_alone(&load("inbound-flood"), &away, (2, 2)));
    }

    #[test]
    fn missing_mail_to_elsewhere_is_explained() {
        let out = tempfile::tempdir().expect("a directory");
        let ledger = Ledger::open(out.path(), 1).expect("a ledger");
        let profile = Profile::load("smoke").expect("shipped");
        let options = Options::new(profile, target("\"b.test\""), out.path());
        let lost = |examples: &[&str]| {
            let mut verdict = Verdict::default();
            verdict.lost.count = examples.len() as u64;
            verdict.lost.examples = examples.iter().map(|text| (*text).to_owned()).collect();
            verdict
        };
        let here = "1-1 u1@a.test answered 1 s after the run began";
        let away = "1-2 friend1@b.test answered 1 s after the run began";
        assert_eq!(hint(&lost(&[]), &ledger, &options), None);
        assert_eq!(hint(&lost(&[here]), &ledger, &options), None);
        let told = hint(&lost(&[here, away]), &ledger, &options).expect("a hint");
        assert!(
            told.starts_with("1 or more") && told.contains("reconcile --ledger"),
            "{told}"
        );
    }

    #[test]
    fn records_are_put_together() {
        let out = tempfile::tempdir().expect("a directory");
        let paths = ["a", "b"].map(|name| out.path().join(name));
        fs::write(&paths[0], "one\n").expect("written");
        fs::write(&paths[1], "two\n").expect("written");
        let joined = join(&paths, out.path()).expect("joined");
        assert_eq!(fs::read_to_string(joined).expect("read"), "one\ntwo\n");
        assert!(join(&[out.path().join("none")], out.path()).is_err());
    }
}
