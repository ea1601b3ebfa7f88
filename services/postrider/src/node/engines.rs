//! The engines the configuration names.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use postrider_coordination::{Counters, Hints, Leases};
use postrider_embedded::{Database, Options};
use postrider_queue::engine::{Units, WakeUps};
use postrider_queue::{Queue, RetryPolicy, Settings, system_clock};
use postrider_runtime::config::{Config, CoordinationEngine, QueueEngine, StorageEngine};
use postrider_store::directory::{EmbeddedDirectory, MemoryDirectory};
use postrider_store::{AccountEngine, ContentEngine, DirectoryEngine};

use super::holds::ContentHolds;

/// Everything that keeps something.
pub struct Engines {
    /// Mailboxes.
    pub accounts: Arc<dyn AccountEngine>,
    /// Messages.
    pub contents: Arc<dyn ContentEngine>,
    /// Domains and accounts.
    pub directory: Arc<dyn DirectoryEngine>,
    /// The outbound queue.
    pub queue: Queue,
    /// Account versions that moved.
    pub hints: Arc<dyn Hints>,
    /// Rates and penalties.
    pub counters: Arc<dyn Counters>,
    /// Exclusive holds.
    pub leases: Arc<dyn Leases>,
    /// The embedded database below some of them, when there is one.
    pub database: Option<Database>,
}

impl Engines {
    /// Opens what the configuration names.
    pub async fn open(config: &Config) -> Result<Self> {
        let database = database(config)?;
        let (accounts, contents, directory) = storage(config, database.as_ref()).await?;
        let (units, wake_ups) = units(config, database.as_ref(), &contents).await?;
        let retry = &config.queue.retry;
        let settings = Settings {
            retry: RetryPolicy {
                first: retry.first,
                max: retry.max,
                jitter: retry.jitter,
                give_up: retry.give_up,
                warn_after: retry.warn_after,
            },
            ..Settings::default()
        };
        let coordination = match config.coordination.engine {
            CoordinationEngine::Memory => Arc::new(postrider_coordination::Memory::new()),
            CoordinationEngine::Redis => bail!("coordination.engine = \"redis\" is not part of this build"),
        };
        Ok(Self {
            accounts,
            contents,
            directory,
            queue: Queue::new(units, wake_ups, settings, system_clock()),
            hints: coordination.clone(),
            counters: coordination.clone(),
            leases: coordination,
            database,
        })
    }
}

fn database(config: &Config) -> Result<Option<Database>> {
    let wanted =
        config.storage.engine == StorageEngine::Embedded || config.queue.engine == QueueEngine::Embedded;
    if !wanted {
        return Ok(None);
    }
    let opened = Database::open(&config.data_dir, Options::default());
    opened
        .map(Some)
        .with_context(|| format!("cannot open the store in {}", config.data_dir.display()))
}

type Storage = (
    Arc<dyn AccountEngine>,
    Arc<dyn ContentEngine>,
    Arc<dyn DirectoryEngine>,
);

async fn storage(config: &Config, database: Option<&Database>) -> Result<Storage> {
    match (config.storage.engine, database) {
        (StorageEngine::Memory, _) => {
            let memory = Arc::new(postrider_store::memory::Memory::new());
            Ok((memory.clone(), memory, Arc::new(MemoryDirectory::new())))
        }
        (StorageEngine::Embedded, Some(database)) => {
            let embedded = postrider_store::embedded::Embedded::open(database.clone()).await?;
            let directory = EmbeddedDirectory::open(database.clone()).await?;
            Ok((
                Arc::new(embedded.clone()),
                Arc::new(embedded),
                Arc::new(directory),
            ))
        }
        (StorageEngine::Embedded, None) | (StorageEngine::Cql, _) => {
            bail!("storage.engine = \"cql\" is not part of this build")
        }
    }
}

async fn units(
    config: &Config,
    database: Option<&Database>,
    contents: &Arc<dyn ContentEngine>,
) -> Result<(Arc<dyn Units>, Arc<dyn WakeUps>)> {
    match (config.queue.engine, database) {
        (QueueEngine::Memory, _) => {
            let holds = Arc::new(ContentHolds(contents.clone()));
            let memory = Arc::new(postrider_queue::Memory::new(holds, system_clock()));
            Ok((memory.clone(), memory))
        }
        (QueueEngine::Embedded, Some(database)) => {
            let embedded = Arc::new(postrider_queue::Embedded::open(database.clone(), system_clock()).await?);
            Ok((embedded.clone(), embedded))
        }
        (QueueEngine::Embedded, None) | (QueueEngine::Kafka, _) => {
            bail!("queue.engine = \"kafka\" is not part of this build")
        }
    }
}
