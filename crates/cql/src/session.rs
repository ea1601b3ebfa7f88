//! The session: connects by itself, prepares statements once, keeps every deadline.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use scylla::client::session::Session as Driver;
use scylla::errors::ExecutionError;
use scylla::response::query_result::QueryResult;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch as DriverBatch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use tokio::sync::{Notify, Semaphore};

use crate::batch::{Batch, Conditional};
use crate::connect::{Profiles, connect};
use crate::error::classify;
use crate::metrics::{Metrics, Statistics};
use crate::rows::{PageState, Rows};
use crate::schema;
use crate::{Config, Error, Kind, Result, Statement};

/// Pauses between attempts to connect: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a call waits for a connection once an attempt to connect has failed: who comes while the database is away must not pile up
/// behind those who came before.
const AWAY: Duration = Duration::from_secs(1);
/// How long [`Session::ready`] waits for its read.
const PROBE: Duration = Duration::from_secs(2);
/// After temporary failures a call is answered this much later, doubling up to the second: a caller in a tight loop must not keep
/// a machine busy that has enough to do already.
const PACE: Duration = Duration::from_millis(10);
const SLOWEST_PACE: Duration = Duration::from_millis(640);

/// The way to the database. Cheap to clone; the connections end with the last clone.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    connected: OnceLock<Connected>,
    /// Told once it is connected.
    changed: Notify,
    /// Why it is not connected yet, after the first attempt.
    reason: Mutex<Option<Error>>,
    permits: Semaphore,
    metrics: Metrics,
    /// Temporary failures since the last success.
    failures: AtomicU32,
}

struct Connected {
    driver: Driver,
    profiles: Profiles,
    prepared: RwLock<HashMap<Statement, PreparedStatement>>,
}

impl Session {
    /// Begins to connect and returns at once; until the first attempt has ended, calls wait as long as their deadlines last, while the
    /// database is away for a second. An error means that the settings cannot work. Must be called within a tokio runtime.
    pub fn open(config: &Config) -> Result<Self> {
        config.validate()?;
        let inner = Arc::new(Inner {
            config: config.clone(),
            connected: OnceLock::new(),
            changed: Notify::new(),
            reason: Mutex::new(None),
            permits: Semaphore::new(config.concurrency),
            metrics: Metrics::default(),
            failures: AtomicU32::new(0),
        });
        tokio::spawn(keep_connecting(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// Whether the database answers and has the schema this program needs; the error says what is wrong. Takes up to two seconds.
    pub async fn ready(&self) -> Result<()> {
        let Some(connected) = self.inner.connected.get() else {
            let reason = self.inner.reason.lock().clone();
            return Err(reason.unwrap_or_else(|| Error::Unavailable("connecting".into())));
        };
        let silent = |why: &str| {
            let nodes = self.inner.config.contact_points.join(", ");
            Error::Unavailable(format!("none of {nodes} answers, check that it runs: {why}"))
        };
        match tokio::time::timeout(PROBE, schema::check(&connected.driver)).await {
            Ok(Err(Error::Unknown(why))) => Err(silent(&why)),
            // What a migration would mend says so itself.
            Ok(Err(Error::Unavailable(why))) if !why.contains("run `postrider") => Err(silent(&why)),
            Ok(result) => result,
            Err(_) => Err(silent(&format!("silence for {PROBE:?}"))),
        }
    }

    /// The clock of the node that answers, in milliseconds since the Unix epoch: as of some moment during this call, of at most two
    /// seconds.
    pub async fn clock(&self) -> Result<u64> {
        let Some(connected) = self.inner.connected.get() else {
            return Err(self.inner.not_connected());
        };
        match tokio::time::timeout(PROBE, schema::clock(&connected.driver)).await {
            Ok(result) => result,
            Err(_) => Err(Error::Unavailable(format!("no answer within {PROBE:?}"))),
        }
    }

    /// Waits until it is connected, at most so long.
    pub async fn connected(&self, most: Duration) -> Result<()> {
        self.connection(Instant::now() + most).await.map(|_| ())
    }

    /// What it was opened with.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// What was done through it and its clones so far.
    pub fn statistics(&self) -> Statistics {
        self.inner.metrics.statistics()
    }

    /// Reads rows of one partition, or few: all in one answer. A serial read is repeated until its deadline.
    pub async fn read(&self, statement: Statement, values: impl SerializeRow + Send + Sync) -> Result<Rows> {
        let deadline = self.deadline(statement.kind);
        let mut pause = Duration::from_millis(20);
        loop {
            let error = match self.unpaged(statement, &values, deadline).await {
                Err(error) if error.is_temporary() && statement.kind == Kind::SerialRead => error,
                result => return result,
            };
            // Meanwhile the cluster learns which node is gone.
            tokio::time::sleep(jitter(pause)).await;
            pause = (pause * 2).min(SLOWEST_PACE);
            if Instant::now() >= deadline {
                return Err(error);
            }
        }
    }

    /// Reads one page of at most `size` rows (it may hold fewer although more follows); where to go on, or `None` at the end.
    pub async fn page(
        &self,
        statement: Statement,
        values: impl SerializeRow + Send + Sync,
        size: usize,
        state: Option<PageState>,
    ) -> Result<(Rows, Option<PageState>)> {
        let deadline = self.deadline(statement.kind);
        let values = &values;
        let run = async move |connected: &Connected, mut prepared: PreparedStatement| {
            prepared.set_page_size(i32::try_from(size).unwrap_or(i32::MAX).max(1));
            let state = state.map_or_else(PagingState::start, |state| state.0);
            connected
                .driver
                .execute_single_page(&prepared, values, state)
                .await
        };
        let (result, next) = self.prepared(statement, deadline, run).await?;
        let next = match next {
            PagingStateResponse::HasMorePages { state } => Some(PageState(state)),
            PagingStateResponse::NoMorePages => None,
        };
        Ok((rows_of(result)?, next))
    }

    /// A write without a condition. It may be sent more than once.
    pub async fn write(&self, statement: Statement, values: impl SerializeRow + Send + Sync) -> Result<()> {
        let deadline = self.deadline(statement.kind);
        self.unpaged(statement, &values, deadline).await.map(|_| ())
    }

    /// A conditional write. An error means that nothing was done, and what is not known is [`Conditional::Unknown`].
    pub async fn conditional(
        &self,
        statement: Statement,
        values: impl SerializeRow + Send + Sync,
    ) -> Result<Conditional> {
        let deadline = self.deadline(statement.kind);
        match self.unpaged(statement, &values, deadline).await {
            Ok(rows) => Conditional::of(&rows),
            Err(Error::Unknown(text)) => Ok(Conditional::Unknown(text)),
            Err(error) => Err(error),
        }
    }

    /// Several writes without a condition. They may be sent more than once.
    pub async fn batch(&self, batch: &Batch) -> Result<()> {
        self.run_batch(batch, Kind::Write).await.map(|_| ())
    }

    /// Several writes of one table and partition, of which at least one has a condition: all are done, or none. An error means that nothing
    /// was done, and what is not known is [`Conditional::Unknown`].
    pub async fn conditional_batch(&self, batch: &Batch) -> Result<Conditional> {
        match self.run_batch(batch, Kind::Conditional).await {
            Ok(rows) => Conditional::of(&rows),
            Err(Error::Unknown(text)) => Ok(Conditional::Unknown(text)),
            Err(error) => Err(error),
        }
    }

    async fn unpaged(
        &self,
        statement: Statement,
        values: &(impl SerializeRow + Send + Sync),
        deadline: Instant,
    ) -> Result<Rows> {
        let run = async move |connected: &Connected, prepared: PreparedStatement| {
            connected.driver.execute_unpaged(&prepared, values).await
        };
        rows_of(self.prepared(statement, deadline, run).await?)
    }

    /// Runs one request of a prepared statement.
    async fn prepared<T>(
        &self,
        statement: Statement,
        deadline: Instant,
        run: impl AsyncFnOnce(&Connected, PreparedStatement) -> std::result::Result<T, ExecutionError>,
    ) -> Result<T> {
        let work = async move |connected: &Connected| {
            let prepared = connected.prepare(statement).await?;
            run(connected, prepared)
                .await
                .map_err(|error| classify(&error, statement.kind.writes()))
        };
        self.measured(statement.kind, statement.table(), deadline, work)
            .await
    }

    async fn run_batch(&self, batch: &Batch, kind: Kind) -> Result<Rows> {
        let deadline = self.deadline(kind);
        let work = async move |connected: &Connected| {
            let mut request = DriverBatch::new(BatchType::Unlogged);
            for statement in &batch.statements {
                request.append_statement(connected.prepare(*statement).await?);
            }
            request.set_is_idempotent(kind == Kind::Write);
            request.set_execution_profile_handle(Some(connected.profiles.of(kind)));
            let result = connected.driver.batch(&request, &batch.values).await;
            result.map_err(|error| classify(&error, true))
        };
        let table = batch.statements.first().map_or("none", Statement::table);
        rows_of(self.measured(kind, table, deadline, work).await?)
    }

    /// One request with its deadline, its turn and its figures.
    async fn measured<T>(
        &self,
        kind: Kind,
        table: &'static str,
        deadline: Instant,
        work: impl AsyncFnOnce(&Connected) -> Result<T>,
    ) -> Result<T> {
        let running = self.inner.metrics.begin(kind, table);
        let result = self.in_turn(kind, deadline, work).await;
        let took = running.end(result.as_ref().err());
        match &result {
            Err(error) if error.is_temporary() => self.pace(took).await,
            _ => self.inner.failures.store(0, Ordering::Relaxed),
        }
        result
    }

    async fn in_turn<T>(
        &self,
        kind: Kind,
        deadline: Instant,
        work: impl AsyncFnOnce(&Connected) -> Result<T>,
    ) -> Result<T> {
        let connected = self.connection_soon(deadline).await?;
        let permit = tokio::time::timeout_at(deadline.into(), self.inner.permits.acquire()).await;
        // Who gets a turn when its time is over sends nothing: those who wait behind a silence must not all be sent at its end.
        let (Ok(Ok(_permit)), true) = (permit, Instant::now() < deadline) else {
            let text = "too many requests wait for the database";
            return Err(Error::Unavailable(text.into()));
        };
        // Where a driver's own limit does not reach (preparing, say), ours does.
        match tokio::time::timeout_at(deadline.into(), work(connected)).await {
            Ok(result) => result,
            Err(_) if kind.writes() => Err(Error::Unknown("no answer within the deadline".into())),
            Err(_) => Err(Error::Unavailable("no answer within the deadline".into())),
        }
    }

    /// After a temporary failure that came at once, the answer waits, the longer the more of them there were.
    async fn pace(&self, took: Duration) {
        let failures = self.inner.failures.fetch_add(1, Ordering::Relaxed).min(6);
        let pause = (PACE * (1 << failures)).min(SLOWEST_PACE);
        if took < pause {
            tokio::time::sleep(jitter(pause)).await;
        }
    }

    /// The connection, for which nobody waits long while the database is known to be away.
    async fn connection_soon(&self, deadline: Instant) -> Result<&Connected> {
        let away = self.inner.reason.lock().is_some();
        let most = if away {
            deadline.min(Instant::now() + AWAY)
        } else {
            deadline
        };
        self.connection(most).await
    }

    async fn connection(&self, deadline: Instant) -> Result<&Connected> {
        loop {
            let changed = self.inner.changed.notified();
            if let Some(connected) = self.inner.connected.get() {
                return Ok(connected);
            }
            if tokio::time::timeout_at(deadline.into(), changed).await.is_err() {
                return Err(self.inner.not_connected());
            }
        }
    }

    fn deadline(&self, kind: Kind) -> Instant {
        let config = &self.inner.config;
        Instant::now()
            + match kind {
                Kind::Read => config.read_deadline,
                Kind::Write => config.write_deadline,
                Kind::SerialRead | Kind::Conditional => config.conditional_deadline,
            }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("keyspace", &self.inner.config.keyspace)
            .field("connected", &self.inner.connected.get().is_some())
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// What a call hears: temporary whatever the reason, since whoever mends it restarts no caller.
    fn not_connected(&self) -> Error {
        let text = match self.reason.lock().clone() {
            None => "connecting".to_owned(),
            Some(Error::Unavailable(text)) => text,
            Some(error) => error.to_string(),
        };
        Error::Unavailable(text)
    }
}

impl Connected {
    async fn prepare(&self, statement: Statement) -> Result<PreparedStatement> {
        if let Some(prepared) = self.prepared.read().get(&statement) {
            return Ok(prepared.clone());
        }
        let mut prepared = self.driver.prepare(statement.cql).await?;
        prepared.set_is_idempotent(statement.kind != Kind::Conditional);
        prepared.set_execution_profile_handle(Some(self.profiles.of(statement.kind)));
        let mut all = self.prepared.write();
        Ok(all.entry(statement).or_insert(prepared).clone())
    }
}

fn rows_of(result: QueryResult) -> Result<Rows> {
    if !result.is_rows() {
        return Ok(Rows(None));
    }
    let rows = result
        .into_rows_result()
        .map_err(|error| Error::Damaged(error.to_string()))?;
    Ok(Rows(Some(rows)))
}

/// Connects, however long it takes, while anybody still has the session.
async fn keep_connecting(inner: Weak<Inner>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(config) = inner.upgrade().map(|inner| inner.config.clone()) else {
            return;
        };
        match try_connect(&config).await {
            Ok(connected) => {
                if let Some(inner) = inner.upgrade() {
                    let _ = inner.connected.set(connected);
                    inner.changed.notify_waiters();
                }
                return;
            }
            Err(error) => {
                // Whoever runs the session says it, once, by asking `ready`.
                tracing::debug!(%error, "not connected to the database, trying again");
                if let Some(inner) = inner.upgrade() {
                    *inner.reason.lock() = Some(error);
                }
            }
        }
        tokio::time::sleep(jitter(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn try_connect(config: &Config) -> Result<Connected> {
    let driver = connect(config, None).await?;
    schema::check_keyspace(&driver, &config.keyspace).await?;
    if let Err(error) = driver.use_keyspace(&config.keyspace, true).await {
        return Err(Error::Unavailable(error.to_string()));
    }
    schema::check(&driver).await?;
    Ok(Connected {
        driver,
        profiles: Profiles::new(config),
        prepared: RwLock::default(),
    })
}

/// Between half of it and all of it.
fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}
