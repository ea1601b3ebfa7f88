//! The command line: a file a command.

use std::future::Future;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use postrider_runtime::config::{self, Config};

mod account;
mod alias;
mod app_password;
mod cluster;
mod config_command;
mod demo;
mod domain;
mod queue;
mod run;
mod send;
mod store;
mod trace;

/// Where the configuration is looked for when nothing is said, first to last.
const USUAL_PLACES: [&str; 2] = ["postrider.toml", "/etc/postrider/postrider.toml"];

/// Over the options that every command of a node has, so that its own stand apart.
pub const NODE: &str = "Which node, and how to print";

/// A mail system: servers that accept, carry, keep and hand out mail.
#[derive(Parser)]
#[command(name = "postrider", version, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 done, 1 refused or failed (one line on standard error says why), 2 wrong usage."
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Demo(demo::Demo),
    Config(config_command::ConfigCommand),
    Domain(domain::Domain),
    Account(account::Account),
    Alias(alias::Alias),
    Queue(queue::Queue),
    Trace(trace::Trace),
    Send(send::Send),
    Store(store::Store),
    Cluster(cluster::Cluster),
}

impl Arguments {
    /// Does what was asked.
    pub fn run(self) -> Result<()> {
        // One provider of cryptography for everything that does not choose one itself.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        match self.command {
            Command::Run(command) => command.run(),
            Command::Demo(command) => command.run(),
            Command::Config(command) => command.run(),
            Command::Domain(command) => block_on(command.run()),
            Command::Account(command) => block_on(command.run()),
            Command::Alias(command) => block_on(command.run()),
            Command::Queue(command) => block_on(command.run()),
            Command::Trace(command) => block_on(command.run()),
            Command::Send(command) => block_on(command.run()),
            Command::Store(command) => block_on(command.run()),
            Command::Cluster(command) => block_on(command.run()),
        }
    }
}

/// Which node: its configuration and its data.
#[derive(Args, Clone, Default)]
pub struct Place {
    /// The configuration file [default: postrider.toml here, then /etc/postrider/postrider.toml]
    #[arg(long, value_name = "FILE", env = "POSTRIDER_CONFIG", hide_env_values = true, global = true, help_heading = NODE)]
    pub config: Option<PathBuf>,
    /// The data directory, in place of the configured one
    #[arg(long, value_name = "DIR", env = "POSTRIDER_DATA", hide_env_values = true, global = true, help_heading = NODE)]
    pub data: Option<PathBuf>,
}

impl Place {
    /// The effective configuration: file, environment, `--data`.
    pub fn load(&self) -> Result<Config> {
        let mut config = config::load(self.file().as_deref(), std::env::vars())?;
        if let Some(data) = &self.data {
            config.data_dir.clone_from(data);
        }
        Ok(config)
    }

    /// The file it is read from, if there is one.
    pub fn file(&self) -> Option<PathBuf> {
        let usual = || USUAL_PLACES.iter().map(PathBuf::from).find(|path| path.exists());
        self.config.clone().or_else(usual)
    }
}

/// Runs a command that waits for a server; one thread is enough.
fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    postrider_runtime::telemetry::log_for_command();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the executor")?.block_on(work)
}

/// A password typed or piped in: the first line of standard input, without its end.
fn read_password() -> Result<Vec<u8>> {
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .context("cannot read the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(
        !password.is_empty(),
        "no password on standard input; pipe it in, as in `echo hungry | postrider …`"
    );
    Ok(password.as_bytes().to_vec())
}
