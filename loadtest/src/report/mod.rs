//! The report of a run: [`data`] is the JSON, [`page`] makes one HTML page of it that needs no network, [`text`] what a
//! terminal shows at the end.
//!
//! Neither judges: both say what [`data`] holds and what [`summary`] adds up. Everything that came from outside (names,
//! command lines, recipients) is escaped.

pub mod amount;
pub mod command;
pub mod data;
pub mod histogram;
pub mod page;
pub mod summary;
pub mod text;

use std::path::Path;

use anyhow::{Context, Result};

use data::Report;

/// Reads a report that a run wrote. Errors name the file.
pub fn read(path: &Path) -> Result<Report> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let report: Report = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not a report of this program", path.display()))?;
    anyhow::ensure!(
        report.format == 1,
        "{} has format {}; this program reads format 1",
        path.display(),
        report.format
    );
    Ok(report)
}
