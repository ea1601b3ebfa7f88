//! `postrider-loadtest report`: a report that was written earlier, once more as text and as a page.
#![allow(clippy::print_stdout, reason = "a command talks to a person")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::data::Report;
use super::page::Page;
use super::text::Text;

/// Show a report: its text here, and as one HTML page that needs no network.
#[derive(Debug, Args)]
pub struct Command {
    /// The report that `run`, `knee`, `merge` or `demo` wrote.
    report: PathBuf,
    /// Write the page to this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Command {
    /// Shows it. Succeeds when it could be read and written, whatever it says.
    pub fn run(&self) -> Result<ExitCode> {
        let report = super::read(&self.report)?;
        print!("{}", Text(&report));
        if let Some(path) = &self.html {
            write_page(&report, path)?;
            println!("Page: {}", path.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes the page of a report. Errors name the file.
pub fn write_page(report: &Report, path: &Path) -> Result<()> {
    std::fs::write(path, Page(report).to_string()).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the JSON of a report. Errors name the file.
pub fn write_json(report: &Report, path: &Path) -> Result<()> {
    let text = serde_json::to_vec(report).context("a report cannot be written as JSON")?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
