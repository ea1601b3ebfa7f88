//! `postrider-loadtest sink`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Counts, Options, Rules, Sink};

/// Takes mail as the rest of the Internet does: mostly well.
///
/// Runs until it is interrupted (SIGINT or SIGTERM), then says how much there was. Route the server's outbound mail here.
#[derive(Debug, clap::Args)]
pub struct Command {
    /// Where to listen; may be given more than once.
    #[arg(long, required = true, value_name = "ADDRESS:PORT", num_args = 1..)]
    listen: Vec<SocketAddr>,
    /// How to answer: `internet`, `perfect`, or a file of rules.
    #[arg(long, default_value = "internet", value_name = "FILE")]
    rules: String,
    /// Where to write down what was received, for `reconcile --sink-record`; a record that is there is continued.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Say every so often how much there was.
    #[arg(long, value_name = "TIME", value_parser = postrider_runtime::config::parse_duration)]
    every: Option<Duration>,
}

impl Command {
    /// Runs it to its end. One thread: what the sink uses, the server under load has not.
    pub fn run(self) -> Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.serve())?;
        Ok(ExitCode::SUCCESS)
    }

    async fn serve(self) -> Result<()> {
        let rules = Rules::load(&self.rules)?;
        let name = rules.name.clone();
        let options = Options {
            listen: self.listen,
            rules,
            record: self.record,
            watch: None,
        };
        let sink = Sink::start(options).await.context("the sink cannot begin")?;
        for address in sink.addresses() {
            eprintln!("listening on {address} ({name})");
        }
        let interrupted = interrupted()?;
        tokio::pin!(interrupted);
        let mut every = tokio::time::interval(
            self.every
                .unwrap_or(Duration::from_secs(3600))
                .max(Duration::from_secs(1)),
        );
        loop {
            tokio::select! {
                () = &mut interrupted => break,
                _ = every.tick(), if self.every.is_some() => eprintln!("{}", sentence(sink.counts())),
            }
        }
        eprintln!("{}", sentence(sink.stop().await));
        Ok(())
    }
}

fn sentence(counts: Counts) -> String {
    format!(
        "{} connections, {} messages taken ({} copies), {} received but not answered, {} answers of 4yz, {} of 5yz",
        counts.connections,
        counts.messages,
        counts.copies,
        counts.unanswered,
        counts.deferred,
        counts.refused
    )
}

/// Resolves when the process is asked to end.
fn interrupted() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    })
}
