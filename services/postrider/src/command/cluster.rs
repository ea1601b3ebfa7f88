//! `postrider cluster`: the tables and topics that the processes of a cluster share.

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use postrider_cql::schema::{self, Status};
use postrider_runtime::config::{Config, QueueEngine, StorageEngine};
use serde::Serialize;

use super::{NODE, Place};
use crate::node::settings;
use crate::output::Output;

/// Make, bring forward or look at what a cluster's processes share: tables and topics
///
/// Where the engines are is read from the configuration of any process of the cluster: [storage.cql] and [queue.kafka].
#[derive(Args)]
pub struct Cluster {
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
    /// Make the keyspace, its tables and the topics, as far as they are missing; safe to run again, and twice at once
    Init,
    /// Bring the tables to the version this program needs; safe to run again, and twice at once
    Migrate,
    /// Say which version the tables are at, and which one this program needs
    Status,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    keyspace: String,
    exists: bool,
    database: String,
    version: u32,
    needed: u32,
    missing: Vec<String>,
}

impl Cluster {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        let config = self.place.load()?;
        let cql = config.storage.engine == StorageEngine::Cql || config.queue.engine == QueueEngine::Kafka;
        ensure!(
            cql,
            "the configuration is of one machine; a cluster has storage.engine = \"cql\" and queue.engine = \"kafka\""
        );
        let tables = settings::cql(&config);
        let status = match self.action {
            Action::Init => {
                let status = schema::init(&tables).await.context("storage.cql")?;
                prepare_topics(&config).await?;
                status
            }
            Action::Migrate => schema::migrate(&tables).await.context("storage.cql")?,
            Action::Status => schema::status(&tables).await.context("storage.cql")?,
        };
        let report = Report::new(tables.keyspace, status);
        let mut output = Output::new(self.json);
        output.record(&report, Report::text)?;
        output.flush()
    }
}

async fn prepare_topics(config: &Config) -> Result<()> {
    if config.queue.engine == QueueEngine::Kafka {
        postrider_queue::kafka::prepare(&settings::kafka(config))
            .await
            .context("queue.kafka")?;
    }
    Ok(())
}

impl Report {
    fn new(keyspace: String, status: Status) -> Self {
        Self {
            keyspace,
            exists: status.keyspace,
            database: format!("{:?}", status.dialect),
            version: status.version,
            needed: status.needed,
            missing: status.missing,
        }
    }

    fn text(&self) -> String {
        let Self {
            keyspace,
            version,
            needed,
            ..
        } = self;
        let state = match self {
            Self { exists: false, .. } => "is not there; make it with `postrider cluster init`".to_owned(),
            _ if version == needed => format!("is at version {version}, as this program needs it"),
            _ if version > needed => {
                format!("is at version {version}, newer than the {needed} of this program: run a newer one")
            }
            _ => format!(
                "is at version {version} and lacks {}; bring it forward with `postrider cluster migrate`",
                self.missing.join(", ")
            ),
        };
        format!("keyspace {keyspace} ({}) {state}", self.database)
    }
}
