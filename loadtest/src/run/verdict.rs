//! Reconciling a run's ledger with what the server and the sink show.

use std::fs;
use std::io::copy;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Options, outbound};
use crate::ledger::reconcile::{self, reconcile};
use crate::ledger::{Ledger, Verdict};

/// Looks for everything that was promised; waits for mail that still comes, at most the run's patience.
pub(super) async fn verdict(ledger: &Ledger, options: &Options) -> Result<Verdict> {
    let options = reconcile::Options {
        sink_record: sink_record(options)?,
        wait: options.patience,
        ..reconcile::Options::new(ledger.directory().to_owned(), options.target.clone())
    };
    reconcile(&options)
        .await
        .context("whether anything was lost cannot be told")
}

/// What the sink here wrote down, or the sinks elsewhere; several as one file, for transactions have numbers of their own.
fn sink_record(options: &Options) -> Result<Option<PathBuf>> {
    if options.sink.is_some() {
        return Ok(Some(outbound::record(&options.out)));
    }
    match options.sink_records.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        several => {
            let together = outbound::record(&options.out);
            join(several, &together)?;
            Ok(Some(together))
        }
    }
}

fn join(records: &[PathBuf], together: &Path) -> Result<()> {
    let mut output =
        fs::File::create(together).with_context(|| format!("cannot write {}", together.display()))?;
    for record in records {
        let mut input = fs::File::open(record)
            .with_context(|| format!("cannot read the sink's record {}", record.display()))?;
        copy(&mut input, &mut output).with_context(|| format!("cannot copy {}", record.display()))?;
    }
    Ok(())
}
