//! `postrider run`: a node.

use std::str::FromStr;

use anyhow::{Context, Result};
use clap::Args;
use postrider_runtime::config::Role;
use postrider_runtime::{Telemetry, shutdown};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;

use super::Place;
use crate::node::Node;

/// Run a node: every role, or some
///
/// It listens on loopback with unprivileged ports until the configuration says otherwise; SIGTERM or Ctrl-C ends it in
/// an orderly way.
#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    place: Place,
    /// What this process does [default: as configured; all]
    #[arg(long, value_delimiter = ',', value_parser = parse_role, value_name = "ROLE,…")]
    roles: Vec<Role>,
}

impl Run {
    /// Builds the node and runs it until it is told to stop.
    pub fn run(self) -> Result<()> {
        let mut config = self.place.load()?;
        if !self.roles.is_empty() {
            config.roles = self.roles;
            config
                .validate()
                .map_err(|wrong| anyhow::anyhow!(wrong.join("; ")))?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.context("cannot start the executor")?.block_on(async {
            let roles: Vec<&str> = config.roles.iter().map(|role| role.name()).collect();
            let telemetry = Telemetry::start(&config.telemetry, config.hostname.as_str(), &roles.join(","))?;
            let telemetry = std::sync::Arc::new(telemetry);
            let stop = shutdown::on_signal().context("cannot watch for signals")?;
            let node = Node::build(config).await?;
            let metrics = telemetry.clone();
            let ended = node.run(stop, move || metrics.metrics()).await;
            telemetry.shutdown();
            ended
        })
    }
}

fn parse_role(text: &str) -> Result<Role, String> {
    let text = String::from_str(text).unwrap_or_default();
    let role = Role::deserialize(IntoDeserializer::<ValueError>::into_deserializer(text));
    role.map_err(|error| error.to_string())
}
