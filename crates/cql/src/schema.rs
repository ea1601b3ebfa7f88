//! The tables of all engines, as numbered migrations, and bringing a keyspace forward.
//!
//! A migration is a file `migrations/NNNN_name.cql` whose statements can be run again, because no database makes several of them
//! one step. The table `schema_migration` says which are done, `schema_lease` who is at it. A released migration is never changed.

mod lease;

use std::time::Duration;

use scylla::client::session::Session as Driver;
use scylla::errors::ExecutionError;
use scylla::statement::{Consistency, SerialConsistency, Statement as Text};
use scylla::value::{CqlValue, Row};

use self::lease::Lease;
use crate::connect::connect;
use crate::error::classify;
use crate::{Config, Error, Result};

/// All migrations, in order.
const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "initial",
        text: include_str!("../migrations/0001_initial.cql"),
        oldest: 1,
    },
    Migration {
        name: "suspensions",
        text: include_str!("../migrations/0002_suspensions.cql"),
        oldest: 2,
    },
];

/// A step forward. Its version is its position, from 1 on.
#[derive(Hash)]
struct Migration {
    name: &'static str,
    text: &'static str,
    /// The version that a program must know to work with the tables as they are afterwards. Lower than the migration's own where it only
    /// adds what older programs can leave alone: these then go on working while one process after another is upgraded.
    oldest: u32,
}

/// Lists of versions, a partition each.
const MIGRATION_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migration \
    (component text, version int, name text, applied bigint, PRIMARY KEY ((component), version))";
/// The list of what is applied.
const APPLIED: &str = "postrider";
/// The list of what programs must know. What counts is its highest version; it is written before the migration that needs it begins.
const OLDEST: &str = "oldest program";

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
    /// The version a program must know to work with these tables; 0: not said.
    pub oldest: u32,
    /// What is applied, in order: version, name, when (milliseconds since the Unix epoch).
    pub applied: Vec<(u32, String, u64)>,
    /// Names of the migrations that are missing, in order.
    pub missing: Vec<String>,
}

impl Status {
    /// Whether this program can work with it.
    pub fn is_well(&self) -> bool {
        self.keyspace && self.missing.is_empty() && judge(self.version, self.oldest).is_ok()
    }
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
        Applied::read(&driver).await?
    } else {
        Applied::default()
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

/// Refuses a keyspace, which must be in use, with whose schema this program cannot work.
pub(crate) async fn check(driver: &Driver) -> Result<()> {
    let found = match list(driver, APPLIED).await {
        // No such table.
        Err(Error::Refused(_)) => 0,
        found => last(&found?),
    };
    if found > needed() {
        return judge(found, last(&list(driver, OLDEST).await?));
    }
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
    let lease = Lease::take(config, driver, dialect(driver)).await?;
    let done = run_missing(driver, &lease).await;
    lease.release(driver).await;
    done?;
    Ok(describe(driver, true, Applied::read(driver).await?))
}

async fn run_missing(driver: &Driver, lease: &Lease) -> Result<()> {
    change(driver, MIGRATION_TABLE).await?;
    let found = Applied::read(driver).await?;
    judge(found.version(), found.oldest)?;
    for (migration, version) in MIGRATIONS.iter().zip(1u32..).skip(found.version() as usize) {
        let Migration { name, text, oldest } = migration;
        note(driver, OLDEST, *oldest, name).await?;
        for statement in statements(text) {
            lease.renew(driver).await?;
            change(driver, &statement).await?;
        }
        note(driver, APPLIED, version, name).await?;
        tracing::info!(version, name, "schema migration applied");
    }
    Ok(())
}

/// Refuses a schema that a newer program made, unless that says that this one can work with it.
fn judge(found: u32, oldest: u32) -> Result<()> {
    let goes_on = (1..=needed()).contains(&oldest);
    if found > needed() && !goes_on {
        return Err(Error::Refused(format!(
            "the schema is at version {found}, made by a newer program; this one knows {}: upgrade it",
            needed()
        )));
    }
    Ok(())
}

fn describe(driver: &Driver, keyspace: bool, applied: Applied) -> Status {
    let version = applied.version();
    let missing = MIGRATIONS.iter().skip(version as usize);
    Status {
        dialect: dialect(driver),
        keyspace,
        version,
        needed: needed(),
        oldest: applied.oldest,
        applied: applied.migrations,
        missing: missing.map(|migration| migration.name.to_owned()).collect(),
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

/// A version, what it is called, and when it was noted.
type Noted = (u32, String, u64);

/// What a keyspace says of its schema.
#[derive(Default)]
struct Applied {
    migrations: Vec<Noted>,
    oldest: u32,
}

impl Applied {
    async fn read(driver: &Driver) -> Result<Self> {
        Ok(Self {
            migrations: list(driver, APPLIED).await?,
            oldest: last(&list(driver, OLDEST).await?),
        })
    }

    fn version(&self) -> u32 {
        last(&self.migrations)
    }
}

fn last(list: &[Noted]) -> u32 {
    list.last().map_or(0, |(version, _, _)| *version)
}

async fn note(driver: &Driver, component: &str, version: u32, name: &str) -> Result<()> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64);
    let note = format!(
        "INSERT INTO schema_migration (component, version, name, applied) \
         VALUES ('{component}', {version}, '{name}', {now})"
    );
    query(driver, &note, Consistency::LocalQuorum).await.map(drop)
}

/// Of a partition, in order.
async fn list(driver: &Driver, component: &str) -> Result<Vec<Noted>> {
    let select =
        format!("SELECT version, name, applied FROM schema_migration WHERE component = '{component}'");
    let rows = query(driver, &select, Consistency::LocalQuorum).await?;
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

/// The tables of a keyspace, without those about the schema itself.
#[cfg(any(test, feature = "testing"))]
pub(crate) async fn tables(driver: &Driver, keyspace: &str) -> Result<Vec<String>> {
    let select = format!("SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{keyspace}'");
    let rows = query(driver, &select, Consistency::LocalOne).await?;
    let names = rows
        .into_iter()
        .filter_map(|row| match row.columns.into_iter().next() {
            Some(Some(CqlValue::Text(name))) => Some(name),
            _ => None,
        });
    Ok(names.filter(|name| !name.starts_with("schema_")).collect())
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
        for (Migration { name, text, oldest }, version) in MIGRATIONS.iter().zip(1..) {
            assert!((1..=version).contains(oldest), "{name}");
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
