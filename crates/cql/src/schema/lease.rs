//! Who may change the schema: one program at a time.

use std::time::{Duration, Instant};

use scylla::client::session::Session as Driver;
use scylla::statement::Consistency;
use scylla::value::CqlValue;
use uuid::Uuid;

use super::{change, query};
use crate::schema::Dialect;
use crate::{Config, Error, Result};

/// How long somebody who migrates may be silent before another one takes over, in seconds. Every statement renews it.
const LEASE: i32 = 60;
/// How long to wait for another one's migration.
const WAIT: Duration = Duration::from_secs(300);

/// The right to change the schema, for a while.
pub(super) struct Lease(Uuid);

impl Lease {
    /// Waits while somebody else has it.
    pub async fn take(config: &Config, driver: &Driver, dialect: Dialect) -> Result<Self> {
        change(driver, &table(config, dialect)).await?;
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
    pub async fn renew(&self, driver: &Driver) -> Result<()> {
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
    pub async fn release(self, driver: &Driver) {
        let release = format!(
            "DELETE FROM schema_lease WHERE name = 'migrate' IF holder = {}",
            self.0
        );
        if let Err(error) = query(driver, &release, Consistency::LocalQuorum).await {
            tracing::warn!(%error, "the migration lease ends by itself in {LEASE} s");
        }
    }
}

/// The table of the lease, the only one that two may make at the same time. In Cassandra each of them would give it an id of its own, and
/// the nodes would never agree: so its id is fixed. All others are made under the lease.
fn table(config: &Config, dialect: Dialect) -> String {
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
