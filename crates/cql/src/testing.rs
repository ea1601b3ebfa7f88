//! A keyspace for the tests of engines, on the real database, and a way to cut its connections.
//!
//! Making tables takes seconds, so keyspaces stay and are used again: [`Fresh::open`] takes one that nobody else uses, in this process or
//! another, and empties the tables it is told. A changed schema gets new keyspaces.

use std::fs::File;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use postrider_proxy::{Mode, Proxy};
use tokio::net::TcpStream;

use crate::connect::connect;
use crate::{Config, Error, Result, Session, schema};

/// Where the tests' database answers.
pub const CONTACT_POINT: &str = "127.0.0.1:19042";

/// Keyspaces for tests that run at the same time, of all suites together; who finds none waits.
const KEYSPACES: u32 = 16;
/// How long to wait for one.
const WAIT: Duration = Duration::from_secs(300);

/// Settings of the tests' database, with this keyspace. Fails with what to do when nobody answers.
pub async fn config(keyspace: &str) -> Result<Config> {
    let connect = TcpStream::connect(CONTACT_POINT);
    match tokio::time::timeout(Duration::from_secs(5), connect).await {
        Ok(Ok(_)) => {}
        _ => {
            return Err(Error::Unavailable(format!(
                "no database answers at {CONTACT_POINT}: start the test engines with `cargo xtask engines up`"
            )));
        }
    }
    Ok(Config {
        contact_points: vec![CONTACT_POINT.into()],
        keyspace: keyspace.into(),
        replication_factor: 1,
        read_deadline: Duration::from_secs(15),
        write_deadline: Duration::from_secs(15),
        conditional_deadline: Duration::from_secs(20),
        ..Config::default()
    })
}

/// Removes a keyspace a test has made.
pub async fn drop_keyspace(config: &Config) -> Result<()> {
    let driver = connect(config, None).await?;
    let statement = format!("DROP KEYSPACE IF EXISTS {}", config.keyspace);
    let dropped = driver.query_unpaged(statement, ()).await;
    dropped
        .map(|_| ())
        .map_err(|error| Error::Unavailable(error.to_string()))
}

/// A keyspace for one test, with empty tables. Nobody else gets it while this lives.
#[derive(Debug)]
pub struct Fresh {
    /// How to open another session in it.
    pub config: Config,
    /// A session in it.
    pub session: Session,
    _lock: File,
}

impl Fresh {
    /// Takes a keyspace and empties its tables.
    pub async fn open() -> Result<Self> {
        // On the heap: a test's own future is large enough.
        Box::pin(Self::open_one()).await
    }

    async fn open_one() -> Result<Self> {
        let (keyspace, lock) = take_keyspace().await?;
        let config = config(&keyspace).await?;
        let driver = connect(&config, None).await?;
        let found = schema::status(&config).await?;
        if !found.missing.is_empty() {
            schema::init(&config).await?;
        }
        let unavailable = |error: &dyn std::fmt::Display| Error::Unavailable(error.to_string());
        for table in schema::tables(&driver, &keyspace).await? {
            // Emptying an empty table takes as long as a full one.
            let any = driver
                .query_unpaged(format!("SELECT * FROM {keyspace}.{table} LIMIT 1"), ())
                .await
                .map(|result| result.into_rows_result().is_ok_and(|rows| rows.rows_num() > 0))
                .map_err(|error| unavailable(&error))?;
            if any {
                driver
                    .query_unpaged(format!("TRUNCATE {keyspace}.{table}"), ())
                    .await
                    .map_err(|error| unavailable(&error))?;
            }
        }
        let session = Session::open(&config)?;
        session.connected(Duration::from_secs(60)).await?;
        Ok(Self {
            config,
            session,
            _lock: lock,
        })
    }
}

/// A keyspace nobody uses, and the lock that keeps it so.
async fn take_keyspace() -> Result<(String, File)> {
    let name = schema::fingerprint();
    let deadline = Instant::now() + WAIT;
    loop {
        for number in 0..KEYSPACES {
            let keyspace = format!("test_{name}_{number}");
            let path = std::env::temp_dir().join(format!("postrider-{keyspace}.lock"));
            let file = File::create(&path)
                .map_err(|error| Error::Unavailable(format!("{}: {error}", path.display())))?;
            if file.try_lock().is_ok() {
                return Ok((keyspace, file));
            }
        }
        if Instant::now() > deadline {
            return Err(Error::Unavailable(format!(
                "{KEYSPACES} tests have been using the database for {WAIT:?}"
            )));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Has the database do these statements, in order: what no role of Postrider does.
pub async fn administer(config: &Config, statements: &[&str]) -> Result<()> {
    let driver = connect(config, None).await?;
    for statement in statements {
        let done = driver.query_unpaged(*statement, ()).await;
        done.map_err(|error| Error::Unavailable(format!("{statement}: {error}")))?;
    }
    Ok(())
}

/// Stands between a session and the tests' database.
pub async fn proxy() -> Result<Proxy> {
    let unavailable = |error: &dyn std::fmt::Display| Error::Unavailable(error.to_string());
    let database: SocketAddr = CONTACT_POINT.parse().map_err(|error| unavailable(&error))?;
    Proxy::open([database]).await.map_err(|error| unavailable(&error))
}
