//! The engines the configuration names, as far as the roles of this process need them.

use std::sync::Arc;

use anyhow::{Context, Result};
use postrider_coordination::{Counters, Hints, Leases};
use postrider_cql::Session;
use postrider_embedded::{Database, Options};
use postrider_queue::engine::{Units, WakeUps};
use postrider_queue::{Kafka, Queue, RetryPolicy, Settings, system_clock};
use postrider_runtime::config::{Config, CoordinationEngine, QueueEngine, Role, StorageEngine};
use postrider_store::directory::{CqlDirectory, EmbeddedDirectory, MemoryDirectory};
use postrider_store::{AccountEngine, ContentEngine, DirectoryEngine};

use super::holds::ContentHolds;
use super::settings;

/// Everything that keeps something.
pub struct Engines {
    /// Mailboxes and messages; where `mail-store` runs, and where the queue keeps messages there.
    pub storage: Option<Storage>,
    /// The outbound queue, where mail is put in or taken out.
    pub queue: Option<Queue>,
    /// Account versions that moved.
    pub hints: Arc<dyn Hints>,
    /// Rates and penalties.
    pub counters: Arc<dyn Counters>,
    /// Exclusive holds.
    pub leases: Arc<dyn Leases>,
    /// The embedded database below some of them, when there is one.
    pub database: Option<Database>,
    /// The way to ScyllaDB or Cassandra, when some of them need it.
    pub session: Option<Session>,
    /// The queue's engine in a cluster.
    pub kafka: Option<Kafka>,
}

/// What keeps mail and who it is for.
#[derive(Clone)]
pub struct Storage {
    /// Mailboxes.
    pub accounts: Arc<dyn AccountEngine>,
    /// Messages.
    pub contents: Arc<dyn ContentEngine>,
    /// Domains and accounts.
    pub directory: Arc<dyn DirectoryEngine>,
}

impl Engines {
    /// Opens what the configuration names. Databases and brokers elsewhere need not be there yet: they are looked for from now on.
    pub async fn open(config: &Config) -> Result<Self> {
        let plays = |roles: &[Role]| roles.iter().any(|role| config.plays(*role));
        let queues = plays(&[Role::SmtpIngress, Role::DeliveryWorker]);
        let stores = queues || plays(&[Role::MailStore, Role::Directory]);
        let database = database(config)?;
        let session = session(config, stores)?;
        let storage = storage(config, database.as_ref(), session.as_ref()).await?;
        let mut kafka = None;
        let queue = match &storage {
            Some(storage) if queues => {
                let (units, wake_ups) =
                    units(config, database.as_ref(), session.as_ref(), storage, &mut kafka).await?;
                Some(Queue::new(units, wake_ups, retries(config), system_clock()))
            }
            _ => None,
        };
        let (hints, counters, leases) = coordination(config).await?;
        Ok(Self {
            storage,
            queue,
            hints,
            counters,
            leases,
            database,
            session,
            kafka,
        })
    }

    /// Mailboxes, messages, directory.
    pub fn storage(&self) -> Result<&Storage> {
        self.storage
            .as_ref()
            .context("this process has no storage engine")
    }

    /// The outbound queue.
    pub fn queue(&self) -> Result<&Queue> {
        self.queue.as_ref().context("this process has no queue")
    }
}

fn retries(config: &Config) -> Settings {
    let retry = &config.queue.retry;
    Settings {
        retry: RetryPolicy {
            first: retry.first,
            max: retry.max,
            jitter: retry.jitter,
            give_up: retry.give_up,
            warn_after: retry.warn_after,
        },
        ..Settings::default()
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

fn session(config: &Config, stores: bool) -> Result<Option<Session>> {
    let wanted = config.storage.engine == StorageEngine::Cql || config.queue.engine == QueueEngine::Kafka;
    if !wanted || !stores {
        return Ok(None);
    }
    let session = Session::open(&settings::cql(config)).context("storage.cql")?;
    Ok(Some(session))
}

async fn storage(
    config: &Config,
    database: Option<&Database>,
    session: Option<&Session>,
) -> Result<Option<Storage>> {
    Ok(match (config.storage.engine, database, session) {
        (StorageEngine::Memory, ..) => {
            let memory = Arc::new(postrider_store::memory::Memory::new());
            Some(Storage {
                accounts: memory.clone(),
                contents: memory,
                directory: Arc::new(MemoryDirectory::new()),
            })
        }
        (StorageEngine::Embedded, Some(database), _) => {
            let embedded = postrider_store::embedded::Embedded::open(database.clone()).await?;
            Some(Storage {
                accounts: Arc::new(embedded.clone()),
                contents: Arc::new(embedded),
                directory: Arc::new(EmbeddedDirectory::open(database.clone()).await?),
            })
        }
        (StorageEngine::Cql, _, Some(session)) => {
            let options = postrider_store::cql::Options {
                change_retention: config.storage.changes_kept,
                ..Default::default()
            };
            let cql = Arc::new(postrider_store::cql::Cql::new(session.clone(), options));
            Some(Storage {
                accounts: cql.clone(),
                contents: cql,
                directory: Arc::new(CqlDirectory::new(session.clone())),
            })
        }
        (StorageEngine::Embedded | StorageEngine::Cql, ..) => None,
    })
}

async fn units(
    config: &Config,
    database: Option<&Database>,
    session: Option<&Session>,
    storage: &Storage,
    kafka: &mut Option<Kafka>,
) -> Result<(Arc<dyn Units>, Arc<dyn WakeUps>)> {
    let holds = Arc::new(ContentHolds(storage.contents.clone()));
    Ok(match config.queue.engine {
        QueueEngine::Memory => {
            let memory = Arc::new(postrider_queue::Memory::new(holds, system_clock()));
            (memory.clone(), memory)
        }
        QueueEngine::Embedded => {
            let database = database
                .context("queue.engine = \"embedded\" has no database")?
                .clone();
            let embedded = Arc::new(postrider_queue::Embedded::open(database, system_clock()).await?);
            (embedded.clone(), embedded)
        }
        QueueEngine::Kafka => {
            let session = session
                .context("queue.engine = \"kafka\" has no database")?
                .clone();
            let engine = Kafka::open(&settings::kafka(config), session, holds, system_clock());
            let engine = kafka.insert(engine.context("queue.kafka")?);
            (Arc::new(engine.clone()), Arc::new(engine.clone()))
        }
    })
}

type Coordination = (Arc<dyn Hints>, Arc<dyn Counters>, Arc<dyn Leases>);

async fn coordination(config: &Config) -> Result<Coordination> {
    Ok(match config.coordination.engine {
        CoordinationEngine::Memory => {
            let memory = Arc::new(postrider_coordination::Memory::new());
            (memory.clone(), memory.clone(), memory)
        }
        CoordinationEngine::Redis => {
            let redis = postrider_coordination::Redis::open(settings::redis(config)).await;
            let redis = Arc::new(redis.context("coordination.redis")?);
            (redis.clone(), redis.clone(), redis)
        }
    })
}
