//! `postrider trace`: where is my mail.

use std::time::SystemTime;

use anyhow::{Result, ensure};
use clap::Args;
use postrider_proto::operations::{TraceRequest, TraceStep};
use postrider_runtime::config::parse_duration;
use serde::Serialize;

use crate::admin::{AdminArgs, failure};
use crate::output;

/// Where is my mail: every recorded step of a message, newest last
#[derive(Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub struct Trace {
    #[command(flatten)]
    admin: AdminArgs,
    /// A Message-ID, a queue id, a content id, or a trace id
    #[arg(long, group = "which")]
    id: Option<String>,
    /// Everything from this sender
    #[arg(long, group = "which", value_name = "ADDRESS")]
    from: Option<String>,
    /// Everything to this recipient
    #[arg(long, group = "which", value_name = "ADDRESS")]
    to: Option<String>,
    /// How far back, as in 2h or 3d, or from when, as in 2026-11-22T09:00:00Z [default: all that is kept]
    #[arg(long, value_parser = parse_since, value_name = "TIME")]
    since: Option<u64>,
    /// From the journal of the process that is asked alone, not from those of all that its [services] name
    #[arg(long)]
    here: bool,
}

#[derive(Serialize)]
struct Row {
    time: u64,
    step: String,
    content: String,
    message_id: String,
    unit: String,
    from: String,
    to: String,
    detail: String,
    trace: String,
}

impl Trace {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        let mut operations = self.admin.connect().await?.operations();
        let mut output = self.admin.output();
        let request = TraceRequest {
            id: self.id.unwrap_or_default(),
            from: self.from.unwrap_or_default(),
            to: self.to.unwrap_or_default(),
            since: self.since.unwrap_or_default(),
            here: self.here,
        };
        let mut steps = operations.trace(request).await.map_err(failure)?.into_inner();
        let mut found = false;
        while let Some(step) = steps.message().await.map_err(failure)? {
            found = true;
            output.record(&Row::from(step), Row::line)?;
        }
        output.flush()?;
        ensure!(
            found,
            "nothing is recorded of that; is the id right, and was it longer ago than journal.kept?"
        );
        Ok(())
    }
}

impl Row {
    fn line(&self) -> String {
        let way = match (self.from.as_str(), self.to.as_str()) {
            ("", "") => String::new(),
            ("", to) => format!("-> {to}  "),
            (from, "") => format!("{from}  "),
            (from, to) => format!("{from} -> {to}  "),
        };
        format!(
            "{}  {:<9} {way}{}",
            output::time(self.time),
            self.step,
            self.detail
        )
        .trim_end()
        .to_owned()
    }
}

impl From<TraceStep> for Row {
    fn from(step: TraceStep) -> Self {
        Self {
            time: step.time,
            step: step.step,
            content: step.content_id,
            message_id: step.message_id,
            unit: step.unit_id,
            from: step.sender,
            to: step.recipient,
            detail: step.detail,
            trace: step.trace_id,
        }
    }
}

/// A time back from now, or a moment; milliseconds since the Unix epoch.
fn parse_since(text: &str) -> Result<u64, String> {
    if let Ok(back) = parse_duration(text) {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        return Ok(now.saturating_sub(back).as_millis() as u64);
    }
    let moment: jiff::Timestamp = text.parse().map_err(|_| {
        format!("`{text}` is neither a time back such as `2h` nor a moment such as `2026-11-22T09:00:00Z`")
    })?;
    u64::try_from(moment.as_millisecond()).map_err(|_| "before 1970".into())
}
