//! The worker as a whole: built, run, drained.

use std::sync::Arc;
use std::time::Duration;

use postrider_proto::Link;
use postrider_proto::MAX_MESSAGE_BYTES;
use postrider_proto::directory::directory_client::DirectoryClient;
use postrider_proto::mailstore::mail_store_client::MailStoreClient;
use postrider_queue::Queue;
use postrider_runtime::config::OutboundTls;
use postrider_runtime::journal::Journal;
use postrider_runtime::{Budget, tls};
use postrider_smtp::client;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dispatch::Dispatcher;
use crate::record::Record;
use crate::resolve::Resolver;
use crate::settings::Settings;
use crate::shared::{RECORDING, Shared, Speech};
use crate::site::Site;

/// Between two tries to reach the queue.
const PAUSE: Duration = Duration::from_secs(1);

/// What a worker works with.
pub struct Parts {
    /// The outbound queue.
    pub queue: Queue,
    /// The way to the mail-store.
    pub store: Link,
    /// The way to the directory.
    pub directory: Link,
    /// Where steps are recorded.
    pub journal: Arc<dyn Journal>,
    /// Message bytes in flight; `None`: a budget of its own, as the settings say.
    pub budget: Option<Budget>,
}

/// A delivery worker, built and not yet running.
pub struct Worker {
    shared: Arc<Shared>,
    growing: mpsc::Receiver<Arc<Site>>,
}

impl Worker {
    /// Builds a worker. Connects to nothing yet.
    ///
    /// # Errors
    /// The system's resolver configuration cannot be read.
    pub fn new(parts: Parts, settings: Settings) -> anyhow::Result<Self> {
        let speech = |tls| {
            Arc::new(client::Config {
                name: settings.hostname.to_string(),
                tls,
                credentials: None,
                chunking: settings.network.chunking,
                timeouts: settings.network.timeouts.clone(),
            })
        };
        let usual = match settings.network.tls {
            OutboundTls::Never => client::Tls::Off,
            OutboundTls::Opportunistic => client::Tls::Opportunistic,
            OutboundTls::Required => client::Tls::Required,
        };
        let (grow, growing) = mpsc::channel(settings.limits.connections.max(1));
        let shared = Shared {
            grow,
            resolver: Resolver::new(&settings)?,
            store: MailStoreClient::new(parts.store).max_decoding_message_size(MAX_MESSAGE_BYTES),
            directory: DirectoryClient::new(parts.directory),
            record: Record::new(parts.journal),
            budget: parts
                .budget
                .unwrap_or_else(|| Budget::new(settings.limits.in_flight_bytes)),
            speech: Speech {
                usual: speech(usual),
                clear: speech(client::Tls::Off),
            },
            tls: tls::opportunistic_client(),
            connections: Arc::new(Semaphore::new(settings.limits.connections.max(1))),
            keeper: Arc::default(),
            recording: Arc::new(Semaphore::new(RECORDING)),
            tasks: TaskTracker::new(),
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
            queue: parts.queue,
            settings,
        };
        Ok(Self {
            shared: Arc::new(shared),
            growing,
        })
    }

    /// Works until `drain` is cancelled; then takes no more, finishes what is being sent for at most [`Settings::drain`], and
    /// gives back the rest.
    pub async fn run(self, drain: CancellationToken) {
        let Self { shared, growing } = self;
        know_suspensions(&shared, &drain).await;
        let reconciler = tokio::spawn(reconcile(shared.clone()));
        let keeper = tokio::spawn({
            let shared = shared.clone();
            async move { shared.keeper.run(&shared.queue).await }
        });
        let depth = tokio::spawn({
            let shared = shared.clone();
            async move { crate::depth::watch(&shared.queue).await }
        });
        let mut dispatcher = tokio::spawn(Dispatcher::new(shared.clone()).run(growing));
        tokio::select! {
            () = drain.cancelled() => {}
            ended = &mut dispatcher => tracing::error!(?ended, "the dispatcher ended by itself"),
        }
        shared.drain.cancel();
        reconciler.abort();
        depth.abort();
        let _ = dispatcher.await;
        shared.tasks.close();
        if tokio::time::timeout(shared.settings.drain, shared.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(left = shared.tasks.len(), "attempts under way are given up");
            shared.stop.cancel();
            // What is left now only records its outcome.
            let _ = tokio::time::timeout(shared.settings.drain, shared.tasks.wait()).await;
        }
        keeper.abort();
    }
}

/// Nothing is claimed before it is known where nothing may go.
async fn know_suspensions(shared: &Shared, drain: &CancellationToken) {
    while let Err(error) = shared.queue.refresh().await {
        tracing::warn!(%error, "suspensions cannot be read; nothing is sent before they can");
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = drain.cancelled() => return,
        }
    }
}

/// Looks after what may get lost: wake-ups, and suspensions made by other processes.
async fn reconcile(shared: Arc<Shared>) {
    let mut timer = tokio::time::interval(shared.settings.reconcile_every);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        if let Err(error) = shared.queue.refresh().await {
            tracing::warn!(%error, "suspensions cannot be read");
        }
        if let Err(error) = shared.queue.reconcile().await {
            tracing::warn!(%error, "units without a wake-up cannot be looked for");
        }
    }
}
