//! One process: opens the engines, wires the roles, runs them, and ends them in order.
//!
//! A role that runs here is called through the same generated client as one elsewhere, without a socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::BoxFuture;
use postrider_runtime::config::{Config, Role};
use postrider_runtime::journal::{FileJournal, Journal, NoJournal};
use postrider_runtime::ops::{Ops, Readiness};
use postrider_runtime::{Budget, Identity};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin::{Client, Contracts, OperationsService, Others, url_file};

mod engines;
mod front;
mod grpc;
mod holds;
mod roles;
pub mod settings;
mod watch;

use engines::Engines;
pub use grpc::settings as service_settings;
use roles::Roles;

/// How long the parts may take to end beyond the sessions' own time.
const LAST_MOMENTS: Duration = Duration::from_secs(10);

/// A part of the node that runs until it is told to drain.
type Part = BoxFuture<'static, Result<()>>;

/// A node that is built: everything is open and bound, nothing runs yet.
pub struct Node {
    config: Arc<Config>,
    parts: Parts,
    addresses: Vec<(&'static str, SocketAddr)>,
    contracts: Contracts,
    readiness: Readiness,
    // Dropped last: what the parts have recorded is written then.
    _journal: Arc<dyn Journal>,
    engines: Engines,
}

/// What runs, by the order in which it ends.
#[derive(Default)]
struct Parts {
    /// Listeners and workers: they end their sessions and attempts when the node drains.
    first: Vec<(&'static str, Part)>,
    /// What they need meanwhile: it is told to end when they have ended.
    last: Vec<(&'static str, Part)>,
    /// Housekeeping: just stopped.
    background: Vec<BoxFuture<'static, ()>>,
    /// Tells `first` to end.
    drain: CancellationToken,
    /// Tells `last` to end.
    end: CancellationToken,
    ops: Option<Ops>,
}

impl Node {
    /// Opens the engines, wires the roles and binds every listener; whatever is wrong shows now.
    pub async fn build(config: Config) -> Result<Self> {
        let config = Arc::new(config);
        let data = &config.data_dir;
        std::fs::create_dir_all(data)
            .with_context(|| format!("cannot use {} as the data directory", data.display()))?;
        let engines = Engines::open(&config).await?;
        let identity = Arc::new(identity(&config)?);
        let mut parts = Parts::default();
        parts.background.push(Box::pin(identity.clone().watch()));

        let (journal, journal_directory) = journal(&config)?;
        let budget = Budget::new(config.limits.in_flight_bytes);
        let roles = Roles {
            config: &config,
            engines: &engines,
            identity: &identity,
            journal: &journal,
            budget,
        };
        let mut contracts = Contracts::default();
        let mut addresses = Vec::new();
        roles.wire(&mut parts, &mut contracts, &mut addresses).await?;
        let operations =
            OperationsService::new(journal_directory, engines.database.clone(), Others::new(&config)?);
        contracts.operations = Some(roles::local_operations(operations));

        let readiness = Readiness::default();
        readiness.set("node", Err("starting".into()));
        let listeners = grpc::Listeners {
            config: &config,
            identity: &identity,
            contracts: &contracts,
            readiness: &readiness,
        };
        listeners.open(&mut parts, &mut addresses)?;
        let ops = Ops::bind(&config.listeners.ops.bind)?;
        addresses.extend(ops.addresses().iter().map(|address| ("ops", *address)));
        parts.ops = Some(ops);
        Ok(Self {
            config,
            parts,
            addresses,
            contracts,
            readiness,
            _journal: journal,
            engines,
        })
    }

    /// Every listener with its address.
    pub fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.addresses
    }

    /// The operators' client, without a socket.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::over(self.contracts.local()?))
    }

    /// Runs until `stop` is cancelled, or a part fails; then ends in order: sessions and attempts, what they need, housekeeping.
    pub async fn run(
        self,
        stop: CancellationToken,
        metrics: impl Fn() -> String + Send + Sync + 'static,
    ) -> Result<()> {
        for (listener, address) in &self.addresses {
            tracing::info!(listener, %address, "listening");
        }
        let (config, readiness) = (self.config.clone(), self.readiness.clone());
        let Parts {
            first,
            last,
            background,
            drain,
            end,
            ops,
        } = self.parts;
        let mut housekeeping = JoinSet::new();
        for part in background {
            housekeeping.spawn(part);
        }
        if let Some(database) = self.engines.database.clone() {
            housekeeping.spawn(watch::store(database, readiness.clone()));
        }
        if let Some(session) = self.engines.session.clone() {
            readiness.set("database", Err("connecting".into()));
            housekeeping.spawn(watch::clock(session.clone()));
            let readiness = Some(readiness.clone());
            housekeeping.spawn(watch::engine("database", readiness, move || {
                let session = session.clone();
                async move { session.ready().await.map_err(|error| error.to_string()) }
            }));
        }
        if let Some(kafka) = self.engines.kafka.clone() {
            // Without Kafka mail is still taken in: its rows are durable, and it is sent later.
            let needs = config.plays(Role::DeliveryWorker) && !config.plays(Role::SmtpIngress);
            let readiness = needs.then(|| readiness.clone());
            // Of its rows the line before speaks.
            housekeeping.spawn(watch::engine("queue", readiness, move || {
                let wakes = kafka.wakes().map_err(|error| error.to_string());
                std::future::ready(wakes)
            }));
        }
        if let Some(ops) = ops {
            housekeeping.spawn(ops.serve(readiness.clone(), metrics));
        }
        let mut last = spawn_all(last);
        let mut first = spawn_all(first);
        readiness.set("node", Ok(()));
        tracing::info!(hostname = %config.hostname, roles = ?config.roles, "ready");

        let failed = tokio::select! {
            () = stop.cancelled() => None,
            failed = first_failure(&mut first) => Some(failed),
            failed = first_failure(&mut last) => Some(failed),
        };
        readiness.set("node", Err("shutting down".into()));
        drain.cancel();
        let until = Instant::now() + config.limits.drain + LAST_MOMENTS;
        wait_for_all(&mut first, until).await;
        end.cancel();
        // A message that a slow sender is still at may take as long as sessions may.
        wait_for_all(&mut last, until.max(Instant::now() + LAST_MOMENTS)).await;
        housekeeping.shutdown().await;
        let _ = std::fs::remove_file(url_file(&config.data_dir));
        tracing::info!("ended");
        failed.map_or(Ok(()), Err)
    }
}

fn identity(config: &Config) -> Result<Identity> {
    match (&config.tls.certificate, &config.tls.key) {
        (Some(certificate), Some(key)) => Identity::open(certificate, key),
        _ => Identity::self_signed(&config.data_dir.join("tls"), config.hostname.as_str()),
    }
}

fn journal(config: &Config) -> Result<(Arc<dyn Journal>, Option<std::path::PathBuf>)> {
    if config.journal.kept.is_zero() {
        return Ok((Arc::new(NoJournal), None));
    }
    let directory = config.data_dir.join("journal");
    let journal = FileJournal::open(&directory, config.journal.kept);
    let journal = journal.with_context(|| format!("cannot open the journal {}", directory.display()))?;
    Ok((Arc::new(journal), Some(directory)))
}

fn spawn_all(parts: Vec<(&'static str, Part)>) -> JoinSet<Result<()>> {
    let mut running = JoinSet::new();
    for (name, part) in parts {
        running.spawn(async move { part.await.with_context(|| format!("{name} failed")) });
    }
    running
}

/// Waits for a part to fail; a part that just ends has nothing to do here.
async fn first_failure(parts: &mut JoinSet<Result<()>>) -> anyhow::Error {
    while let Some(ended) = parts.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(error) => return error.into(),
        }
    }
    std::future::pending().await
}

async fn wait_for_all(parts: &mut JoinSet<Result<()>>, until: Instant) {
    let all_ended = async {
        while let Some(ended) = parts.join_next().await {
            if let Ok(Err(error)) = ended {
                tracing::error!("{error:#}");
            }
        }
    };
    if tokio::time::timeout_at(until, all_ended).await.is_err() {
        tracing::warn!(parts = parts.len(), "parts of the node did not end in time");
    }
}
