//! `postrider config`: validate, print.

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{NODE, Place};
use crate::output::Output;

/// Check the configuration, or print what is in effect
#[derive(Args)]
pub struct ConfigCommand {
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long, global = true, help_heading = NODE)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Read file and environment, and say what is wrong: key, file and line
    Check,
    /// Print the effective value of every key that has one, defaults included, secrets hidden
    Show,
}

impl ConfigCommand {
    /// Does it.
    pub fn run(self) -> Result<()> {
        let config = self.place.load()?;
        let mut output = Output::new(self.json);
        match self.action {
            Action::Check => {
                let file = self
                    .place
                    .file()
                    .map_or("no file: the defaults".to_owned(), |file| {
                        file.display().to_string()
                    });
                output.record(&serde_json::json!({ "file": file, "valid": true }), |_| {
                    format!("{file}: no mistakes")
                })?;
            }
            Action::Show => output.record(&config, |config| config.to_toml().trim_end().to_owned())?,
        }
        output.flush()
    }
}
