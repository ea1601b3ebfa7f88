//! The tables of all engines, as numbered migrations, and bringing a keyspace forward.
//!
//! A migration is a file `migrations/NNNN_name.cql` whose statements can be run again, because no database makes several of them
//! one step. The table `schema_migration` says which are done, `schema_lease` who is at it. A released migration is never changed.

use std::time::{Duration, Instant};

use scylla::client::session::Session as Driver;
use scylla::errors::ExecutionError;
use scylla::statement::{Consistency, SerialConsistency, Statement as Text};
use scylla::value::{CqlValue, Row};
use uuid::Uuid;

use crate::connect::connect;
use crate::error::classify;
use crate::{Config, Error, Result};

/// All migrations, in order: name and text. The version of a migration is its position, from 1 on.
const MIGRATIONS: &[(&str, &str)] = &[("initial", include_str!("../migrations/0001_initial.cql"))];

/// What is applied. Of this keyspace there is one component; the partition makes its rows one ordered list.
const MIGRATION_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migration \
    (component text, version int, name text, applied bigint, PRIMARY KEY ((component), version))";

/// How long somebody who migrates may be silent before another one takes over, in seconds. Every statement renews it.
const LEASE: i32 = 60;
/// How long to wait for another one's migration.
const WAIT: Duration = Duration::from_secs(300);
/// How long one statement that changes the schema may take.
const STATEMENT: Duration = Duration::from_secs(60);

/// Which of the two databases it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Apache Cassandra.
    Cassandra,
    /// ScyllaDB.
    ScyllaDb,
}

/// The schema of a keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which database.
    pub dialect: Dialect,
    /// Whether the keyspace exists.
    pub keyspace: bool,
    /// The version the keyspace is at; 0: no tables yet.
    pub version: u32,
    /// The version this program needs.
    pub needed: u32,
    /// What is applied, in order: version, name, when (milliseconds since the Unix epoch).
    pub applied: Vec<(u32, String, u64)>,
    /// Names of the migrations that are missing, in order.
    pub missing: Vec<String>,
}

/// Makes the keyspace if it is missing, then its tables: for `cluster init`. Running it again, or twice at once, does no harm.
pub async fn init(config: &Config) -> Result<Status> {
    config.validate()?;
    let driver = connect(config, None).await?;
    let statement = create_keyspace(config, dialect(&driver), &datacenter(config, &driver)?);
    change(&driver, &statement).await?;
    bring_forward(config, &driver).await
}

/// Applies the migrations that are missing: for `cluster migrate`. Running it again, or twice at once, does no harm.
pub async fn migrate(config: &Config) -> Result<Status> {
    config.validate()?;
    let driver = connect(config, None).await?;
    check_keyspace(&driver, &config.keyspace).await?;
    bring_forward(config, &driver).await
}

/// What is there: for `cluster status`.
pub async fn status(config: &Config) -> Result<Status> {
    config.validate()?;
    let driver = connect(config, None).await?;
    let keyspace = has_keyspace(&driver, &config.keyspace).await?;
    let applied = if keyspace && has_table(&driver, &config.keyspace, "schema_migration").await? {
        use_keyspace(&driver, config).await?;
        applied(&driver).await?
    } else {
        Vec::new()
    };
    Ok(describe(&driver, keyspace, applied))
}

/// A short name of the schema's text: the same text, the same name.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn fingerprint() -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    MIGRATIONS.hash(&mut hasher);
    format!("{:08x}", hasher.finish() as u32)
}

/// The version this program needs.
pub fn needed() -> u32 {
    MIGRATIONS.len() as u32
}

/// Refuses a keyspace, which must be in use, whose schema is not the one this program needs.
pub(crate) async fn check(driver: &Driver) -> Result<()> {
    let found = match applied(driver).await {
        // No such table.
        Err(Error::Refused(_)) => 0,
        found => found?.last().map_or(0, |(version, _, _)| *version),
    };
    judge(found)?;
    if found < needed() {
        return Err(Error::Unavailable(format!(
            "the schema is at version {found}, this program needs {}: run `postrider cluster migrate`",
            needed()
        )));
    }
    Ok(())
}

/// Refuses a cluster without the keyspace.
pub(crate) async fn check_keyspace(driver: &Driver, keyspace: &str) -> Result<()> {
    if has_keyspace(driver, keyspace).await? {
        return Ok(());
    }
    Err(Error::Unavailable(format!(
        "there is no keyspace {keyspace}: run `postrider cluster init`"
    )))
}

async fn bring_forward(config: &Config, driver: &Driver) -> Result<Status> {
    use_keyspace(driver, config).await?;
    change(driver, &lease_table(config, dialect(driver))).await?;
    let lease = Lease::take(driver).await?;
    let done = run_missing(driver, &lease).await;
    lease.release(driver).await;
    done?;
    Ok(describe(driver, true, applied(driver).await?))
}

async fn run_missing(driver: &Driver, lease: &Lease) -> Result<()> {
    change(driver, MIGRATION_TABLE).await?;
    let found = applied(driver)
        .await?
        .last()
        .map_or(0, |(version, _, _)| *version);
    judge(found)?;
    for ((name, text), version) in MIGRATIONS.iter().zip(1u32..).skip(found as usize) {
        for statement in statements(text) {
            lease.renew(driver).await?;
            change(driver, &statement).await?;
        }
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64);
        let done = format!(
            "INSERT INTO schema_migration (component, version, name, applied) \
             VALUES ('postrider', {version}, '{name}', {now})"
        );
        query(driver, &done, Consistency::LocalQuorum).await?;
        tracing::info!(version, name, "schema migration applied");
    }
    Ok(())
}

/// Refuses a schema that a newer program made.
fn judge(found: u32) -> Result<()> {
    if found > needed() {
        return Err(Error::Refused(format!(
            "the schema is at version {found}, made by a newer program; this one knows {}: upgrade it",
            needed()
        )));
    }
    Ok(())
}

fn describe(driver: &Driver, keyspace: bool, applied: Vec<(u32, String, u64)>) -> Status {
    let version = applied.last().map_or(0, |(version, _, _)| *version);
    let missing = MIGRATIONS.iter().skip(version as usize);
    Status {
        dialect: dialect(driver),
        keyspace,
        version,
        needed: needed(),
        applied,
        missing: missing.map(|(name, _)| (*name).to_owned()).collect(),
    }
}

fn dialect(driver: &Driver) -> Dialect {
    let state = driver.get_cluster_state();
    let sharded = state.get_nodes_info().iter().any(|node| node.sharder().is_some());
    if sharded {
        Dialect::ScyllaDb
    } else {
        Dialect::Cassandra
    }
}

fn datacenter(config: &Config, driver: &Driver) -> Result<String> {
    let state = driver.get_cluster_state();
    let mut names: Vec<&str> = state
        .get_nodes_info()
        .iter()
        .filter_map(|node| node.datacenter.as_deref())
        .collect();
    names.sort_unstable();
    names.dedup();
    match (config.datacenter.as_str(), names.as_slice()) {
        ("", [only]) => Ok((*only).to_owned()),
        ("", _) => Err(Error::Refused(format!(
            "the cluster has the datacenters {}: say in which to work",
            names.join(", ")
        ))),
        (name, names) if names.contains(&name) => Ok(name.to_owned()),
        (name, names) => Err(Error::Refused(format!(
            "there is no datacenter {name}, only {}",
            names.join(", ")
        ))),
    }
}

fn create_keyspace(config: &Config, dialect: Dialect, datacenter: &str) -> String {
    // Conditional writes on tablets came late to ScyllaDB, and every version has them without.
    let tablets = match dialect {
        Dialect::ScyllaDb => " AND tablets = {'enabled': false}",
        Dialect::Cassandra => "",
    };
    format!(
        "CREATE KEYSPACE IF NOT EXISTS {} WITH replication = \
         {{'class': 'NetworkTopologyStrategy', '{datacenter}': {}}}{tablets}",
        config.keyspace, config.replication_factor
    )
}

/// The table of the lease, the only one that two may make at the same time. In Cassandra each of them would give it an id of its own, and
/// the nodes would never agree: so its id is fixed. All others are made under the lease.
fn lease_table(config: &Config, dialect: Dialect) -> String {
    let id = match dialect {
        Dialect::Cassandra => format!(" WITH id = {}", table_id(&config.keyspace)),
        Dialect::ScyllaDb => String::new(),
    };
    format!("CREATE TABLE IF NOT EXISTS schema_lease (name text PRIMARY KEY, holder uuid){id}")
}

/// Ids of tables are unique in a cluster: FNV-1a of the keyspace's name, twice.
fn table_id(keyspace: &str) -> Uuid {
    let hash = |start: u64| {
        keyspace.bytes().fold(start, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    Uuid::from_u64_pair(hash(0xcbf2_9ce4_8422_2325), hash(0x8422_2325_cbf2_9ce4))
}

/// The statements of a migration: comments left out, each up to its semicolon at the end of a line.
fn statements(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
    let text: Vec<&str> = lines.collect();
    text.join("\n")
        .split(";\n")
        .map(|statement| statement.trim().trim_end_matches(';').to_owned())
        .filter(|statement| !statement.is_empty())
        .collect()
}

/// The right to change the schema, for a while.
struct Lease(Uuid);

impl Lease {
    /// Waits while somebody else has it.
    async fn take(driver: &Driver) -> Result<Self> {
        let holder = Uuid::new_v4();
        let deadline = Instant::now() + WAIT;
        let take = format!(
            "INSERT INTO schema_lease (name, holder) VALUES ('migrate', {holder}) IF NOT EXISTS USING TTL {LEASE}"
        );
        let read = "SELECT holder FROM schema_lease WHERE name = 'migrate'";
        loop {
            // Whether it was taken is read back: an answer may be lost.
            let tried = query(driver, &take, Consistency::LocalQuorum).await;
            let found = match tried {
                Ok(_) | Err(Error::Unknown(_)) => query(driver, read, Consistency::LocalSerial).await?,
                Err(error) => return Err(error),
            };
            let found = found
                .first()
                .and_then(|row| row.columns.first().cloned().flatten());
            if found == Some(CqlValue::Uuid(holder)) {
                return Ok(Self(holder));
            }
            if Instant::now() > deadline {
                return Err(Error::Unavailable(
                    "somebody else has been migrating the schema for five minutes".into(),
                ));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Fails if it has been lost.
    async fn renew(&self, driver: &Driver) -> Result<()> {
        let renew = format!(
            "UPDATE schema_lease USING TTL {LEASE} SET holder = {} WHERE name = 'migrate' IF holder = {}",
            self.0, self.0
        );
        let rows = query(driver, &renew, Consistency::LocalQuorum).await?;
        let applied = rows
            .first()
            .and_then(|row| row.columns.first().cloned().flatten());
        if applied == Some(CqlValue::Boolean(true)) {
            return Ok(());
        }
        Err(Error::Unavailable(
            "the migration took longer than its lease and was handed over; run it again".into(),
        ))
    }

    /// Whoever comes next need not wait for its end.
    async fn release(self, driver: &Driver) {
        let release = format!(
            "DELETE FROM schema_lease WHERE name = 'migrate' IF holder = {}",
            self.0
        );
        if let Err(error) = query(driver, &release, Consistency::LocalQuorum).await {
            tracing::warn!(%error, "the migration lease ends by itself in {LEASE} s");
        }
    }
}

/// What the answering node's clock says, in milliseconds since the Unix epoch.
pub(crate) async fn clock(driver: &Driver) -> Result<u64> {
    let select = "SELECT toTimestamp(now()) FROM system.local";
    let rows = query(driver, select, Consistency::LocalOne).await?;
    let first = rows
        .into_iter()
        .next()
        .and_then(|row| row.columns.into_iter().next());
    match first.flatten() {
        Some(CqlValue::Timestamp(since)) => Ok(u64::try_from(since.0).unwrap_or(0)),
        _ => Err(Error::Damaged("the database does not say what time it is".into())),
    }
}

async fn applied(driver: &Driver) -> Result<Vec<(u32, String, u64)>> {
    let select = "SELECT version, name, applied FROM schema_migration WHERE component = 'postrider'";
    let rows = query(driver, select, Consistency::LocalQuorum).await?;
    let migration = |row: Row| {
        let mut columns = row.columns.into_iter().flatten();
        match (columns.next(), columns.next(), columns.next()) {
            (Some(CqlValue::Int(version)), Some(CqlValue::Text(name)), Some(CqlValue::BigInt(applied))) => {
                Ok((version as u32, name, applied as u64))
            }
            _ => Err(Error::Damaged("a row of schema_migration".into())),
        }
    };
    rows.into_iter().map(migration).collect()
}

async fn has_keyspace(driver: &Driver, keyspace: &str) -> Result<bool> {
    let select =
        format!("SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = '{keyspace}'");
    Ok(!query(driver, &select, Consistency::LocalOne).await?.is_empty())
}

async fn has_table(driver: &Driver, keyspace: &str, table: &str) -> Result<bool> {
    let select = format!(
        "SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{keyspace}' AND table_name = '{table}'"
    );
    Ok(!query(driver, &select, Consistency::LocalOne).await?.is_empty())
}

async fn use_keyspace(driver: &Driver, config: &Config) -> Result<()> {
    let done = driver.use_keyspace(&config.keyspace, true).await;
    done.map_err(|error| Error::Unavailable(error.to_string()))
}

/// Changes the schema and waits until all nodes agree on it.
async fn change(driver: &Driver, statement: &str) -> Result<()> {
    query(driver, statement, Consistency::LocalQuorum).await?;
    match driver.await_schema_agreement().await {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Unavailable(format!(
            "the nodes do not agree on the schema: {error}"
        ))),
    }
}

async fn query(driver: &Driver, text: &str, consistency: Consistency) -> Result<Vec<Row>> {
    let mut statement = Text::new(text);
    statement.set_consistency(consistency);
    statement.set_serial_consistency(Some(SerialConsistency::LocalSerial));
    statement.set_request_timeout(Some(STATEMENT));
    let classify = |error: ExecutionError| classify(&error, !text.starts_with("SELECT"));
    let result = driver.query_unpaged(statement, ()).await.map_err(classify)?;
    if !result.is_rows() {
        return Ok(Vec::new());
    }
    let damaged = |error: &dyn std::fmt::Display| Error::Damaged(error.to_string());
    let rows = result.into_rows_result().map_err(|error| damaged(&error))?;
    let rows = rows.rows::<Row>().map_err(|error| damaged(&error))?;
    rows.collect::<std::result::Result<_, _>>()
        .map_err(|error| damaged(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_can_be_run_again() {
        for (name, text) in MIGRATIONS {
            let all = statements(text);
            assert!(!all.is_empty(), "{name}");
            for statement in all {
                assert!(statement.contains("IF NOT EXISTS"), "{name}: {statement}");
                assert!(!statement.contains("--"), "{name}: {statement}");
            }
        }
    }

    #[test]
    fn a_keyspace_has_no_tablets_where_there_are_any() {
        let config = Config::default();
        let make = |dialect| create_keyspace(&config, dialect, "dc");
        assert!(make(Dialect::ScyllaDb).ends_with("'dc': 3} AND tablets = {'enabled': false}"));
        assert!(make(Dialect::Cassandra).ends_with("'dc': 3}"));
    }
}
