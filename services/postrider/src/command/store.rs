//! `postrider store`: the embedded engine as a whole.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use postrider_proto::operations::{BackupStoreRequest, GetStoreStatisticsRequest, VerifyStoreRequest};

use crate::admin::{AdminArgs, Client, failure};
use crate::output::Output;

/// Check, copy and measure the embedded store while it runs
#[derive(Args)]
pub struct Store {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Read every row and every content once, and say what is wrong
    Verify,
    /// Copy everything that is committed to an empty directory on the node's own disk
    Backup {
        /// Missing or empty; afterwards a data directory like any other
        directory: PathBuf,
    },
    /// What it holds and takes
    Stats,
}

impl Store {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        let client = self.admin.connect().await?;
        let mut output = self.admin.output();
        match self.action {
            Action::Verify => verify(&client, &mut output).await?,
            Action::Backup { directory } => backup(&client, directory, &mut output).await?,
            Action::Stats => statistics(&client, &mut output).await?,
        }
        output.flush()
    }
}

async fn verify(client: &Client, output: &mut Output) -> Result<()> {
    let mut reports = client
        .operations()
        .verify_store(VerifyStoreRequest {})
        .await
        .map_err(failure)?
        .into_inner();
    let bar = bar("{bar:40} {pos}/{len} messages, {eta} left");
    let mut findings = 0;
    let mut checked = 0;
    while let Some(report) = reports.message().await.map_err(failure)? {
        checked = checked.max(report.checked);
        bar.set_length(report.total);
        bar.set_position(report.checked);
        if !report.finding.is_empty() {
            findings += 1;
            let data = serde_json::json!({ "finding": report.finding });
            bar.suspend(|| output.record(&data, |_| report.finding.clone()))?;
        }
    }
    bar.finish_and_clear();
    let data = serde_json::json!({ "checked": checked, "findings": findings });
    output.record(&data, |_| {
        format!("{checked} contents checked, {findings} findings")
    })?;
    output.flush()?;
    match findings {
        0 => Ok(()),
        _ => bail!("the store is damaged: {findings} findings; restore them from a backup"),
    }
}

async fn backup(client: &Client, directory: PathBuf, output: &mut Output) -> Result<()> {
    let directory = std::path::absolute(&directory).context("the directory")?;
    let name = directory.display().to_string();
    let request = BackupStoreRequest {
        directory: name.clone(),
    };
    let mut reports = client
        .operations()
        .backup_store(request)
        .await
        .map_err(failure)?
        .into_inner();
    let bar = bar("{bar:40} {bytes}/{total_bytes}, {eta} left");
    let mut copied = 0;
    while let Some(report) = reports.message().await.map_err(failure)? {
        copied = report.copied_bytes;
        bar.set_length(report.total_bytes);
        bar.set_position(report.copied_bytes);
    }
    bar.finish_and_clear();
    let data = serde_json::json!({ "directory": name, "content_bytes": copied });
    output.record(&data, |_| {
        format!("{} of messages and every row are in {name}", HumanBytes(copied))
    })
}

async fn statistics(client: &Client, output: &mut Output) -> Result<()> {
    let request = GetStoreStatisticsRequest {};
    let store = client
        .operations()
        .get_store_statistics(request)
        .await
        .map_err(failure)?
        .into_inner();
    let data = serde_json::json!({
        "accounts": store.accounts,
        "messages": store.messages,
        "contents": store.contents,
        "content_bytes": store.content_bytes,
        "dead_bytes": store.dead_bytes,
        "segments": store.segments,
        "database_bytes": store.database_bytes,
        "queue_units": store.queue_units,
    });
    output.record(&data, |_| {
        format!(
            "mailboxes {}\nmessages  {}\ncontents  {} in {}\nsegments  {}, {} of them dead\ndatabase  {}\nqueue     {} units",
            store.accounts,
            store.messages,
            store.contents,
            HumanBytes(store.content_bytes),
            store.segments,
            HumanBytes(store.dead_bytes),
            HumanBytes(store.database_bytes),
            store.queue_units
        )
    })
}

/// A progress bar on standard error; it draws itself on a terminal only.
fn bar(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}
