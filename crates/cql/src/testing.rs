//! A keyspace for the tests of engines, on the real database, and a way to cut its connections.
//!
//! Making tables takes seconds, so keyspaces stay and are used again: [`Fresh::open`] takes one that nobody else uses, in this process or
//! another, and empties the tables it is told. A changed schema gets new keyspaces.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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
    /// Takes a keyspace and empties these tables of it.
    pub async fn open(tables: &[&str]) -> Result<Self> {
        // On the heap: a test's own future is large enough.
        Box::pin(Self::open_one(tables)).await
    }

    async fn open_one(tables: &[&str]) -> Result<Self> {
        let (keyspace, lock) = take_keyspace().await?;
        let config = config(&keyspace).await?;
        let driver = connect(&config, None).await?;
        let found = schema::status(&config).await?;
        if !found.missing.is_empty() {
            schema::init(&config).await?;
        }
        let unavailable = |error: &dyn std::fmt::Display| Error::Unavailable(error.to_string());
        for table in tables {
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

/// What a [`Proxy`] does with what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Passes it on.
    Pass = 0,
    /// Passes requests on and swallows answers: what was asked for happens, and nobody hears of it.
    Deaf = 1,
    /// Swallows both.
    Dead = 2,
    /// Ends every connection, and new ones at once.
    Cut = 3,
}

/// Stands between a session and the tests' database.
#[derive(Debug)]
pub struct Proxy {
    mode: Arc<AtomicU8>,
    address: String,
    listener: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of the loopback address.
    pub async fn open() -> Result<Self> {
        let unavailable = |error: std::io::Error| Error::Unavailable(error.to_string());
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(unavailable)?;
        let address = listener.local_addr().map_err(unavailable)?.to_string();
        let mode = Arc::new(AtomicU8::new(Mode::Pass as u8));
        let shared = mode.clone();
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, shared.clone()));
            }
        });
        Ok(Self {
            mode,
            address,
            listener,
        })
    }

    /// `host:port`, to be given to a session as its contact point.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on.
    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.set(Mode::Cut);
    }
}

async fn relay(client: TcpStream, mode: Arc<AtomicU8>) {
    let Ok(server) = TcpStream::connect(CONTACT_POINT).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let requests = pump(from_client, to_server, mode.clone(), Mode::Dead);
    let answers = pump(from_server, to_client, mode.clone(), Mode::Deaf);
    let cut = async {
        while mode.load(Ordering::SeqCst) != Mode::Cut as u8 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = requests => {}
        () = answers => {}
        () = cut => {}
    }
}

/// Passes bytes on until the mode is `swallows` or worse; a connection that lost some is of no use and stays silent.
async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mode: Arc<AtomicU8>,
    swallows: Mode,
) {
    let mut buffer = vec![0; 64 << 10];
    let mut silent = false;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        silent |= mode.load(Ordering::SeqCst) >= swallows as u8;
        if !silent && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
