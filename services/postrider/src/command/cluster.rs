//! `postrider cluster`: the tables and topics that the processes of a cluster share.

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use postrider_cql::schema;
use postrider_runtime::config::{Config, QueueEngine, StorageEngine};

use super::{NODE, Place};
use crate::node::settings;
use crate::output::Output;

mod report;

use report::Report;

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
    /// Say how tables, topics and Redis are, and what to do; fails when tables or topics are not as this program needs them
    Status,
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
        let mut output = Output::new(self.json);
        let report = match self.action {
            Action::Init => {
                let status = schema::init(&tables).await.context("storage.cql")?;
                prepare_topics(&config).await?;
                Report::new(tables.keyspace, Ok(status))
            }
            Action::Migrate => {
                let status = schema::migrate(&tables).await.context("storage.cql")?;
                Report::new(tables.keyspace, Ok(status))
            }
            Action::Status => report::all(&config, tables).await,
        };
        output.record(&report, Report::text)?;
        output.flush()?;
        ensure!(
            report.is_well(),
            "the cluster is not as this program needs it, see above"
        );
        Ok(())
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
