//! What a node consists of: one process that does everything, or a cluster of one process a role over real engines.
//!
//! `POSTRIDER_TEST_SHAPE=cluster` makes every node of a test a cluster, so that the same tests run against both.

use std::time::Duration;

use postrider_cql::testing::Fresh;

/// The processes of a cluster: name and role. Stores, directories and workers are there twice; what listens for the world once,
/// since a test knows one address.
const CLUSTER: [(&str, &str); 9] = [
    ("smtp-ingress", "smtp-ingress"),
    ("imap-gateway", "imap-gateway"),
    ("pop3-gateway", "pop3-gateway"),
    ("delivery-worker-1", "delivery-worker"),
    ("delivery-worker-2", "delivery-worker"),
    ("mail-store-1", "mail-store"),
    ("mail-store-2", "mail-store"),
    ("directory-1", "directory"),
    ("directory-2", "directory"),
];

/// Tables a test may have left something in.
const TABLES: [&str; 14] = [
    "account",
    "account_snapshot",
    "account_list",
    "content",
    "content_holder",
    "content_candidate",
    "progress",
    "directory_domain",
    "directory_address",
    "directory_account_id",
    "directory_list",
    "directory_secret",
    "unit",
    "unit_due",
];

/// What a node consists of.
#[derive(Debug)]
pub enum Shape {
    /// One process.
    One,
    /// A process a role.
    Cluster {
        /// Where its rows are.
        keyspace: Box<Fresh>,
        /// What its topics and its keys in Redis begin with: counts of an earlier test must not count in this one, nor its
        /// workers be waited for.
        run: String,
    },
}

impl Shape {
    /// As the environment says.
    pub fn wanted() -> Self {
        match Self::cluster_wanted() {
            true => Shape::cluster(),
            false => Shape::One,
        }
    }

    /// Whether the environment says that nodes are clusters.
    pub fn cluster_wanted() -> bool {
        match std::env::var("POSTRIDER_TEST_SHAPE").as_deref() {
            Err(_) | Ok("one") => false,
            Ok("cluster") => true,
            Ok(other) => panic!("POSTRIDER_TEST_SHAPE is `one` or `cluster`, not `{other}`"),
        }
    }

    /// A cluster over the test engines; they have to run.
    pub fn cluster() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        // More nodes than keyspaces: one waits until another ends.
        for _ in 0..120 {
            match runtime.block_on(Fresh::open(&TABLES)) {
                Ok(keyspace) => {
                    let begun = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
                    let run = format!("test-{}-{}", std::process::id(), begun.as_micros());
                    let keyspace = Box::new(keyspace);
                    return Shape::Cluster { keyspace, run };
                }
                Err(error) if error.to_string().contains("use the database already") => {
                    crate::wire::pause(Duration::from_millis(500));
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no keyspace became free within a minute")
    }

    /// The processes: name and role (empty: every role). The first is the one that commands talk to.
    pub fn processes(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Shape::One => &[("node", "")],
            Shape::Cluster { .. } => &CLUSTER,
        }
    }

    /// What stands over the configuration of every process: the engines.
    pub fn environment(&self) -> Vec<(String, String)> {
        let Shape::Cluster { keyspace, run } = self else {
            return Vec::new();
        };
        let (keyspace, run) = (&keyspace.config.keyspace, run.clone());
        [
            ("STORAGE__ENGINE", "cql".to_owned()),
            (
                "STORAGE__CQL__CONTACT_POINTS",
                postrider_cql::testing::CONTACT_POINT.to_owned(),
            ),
            ("STORAGE__CQL__KEYSPACE", keyspace.clone()),
            ("STORAGE__CQL__REPLICATION_FACTOR", "1".to_owned()),
            ("QUEUE__ENGINE", "kafka".to_owned()),
            ("QUEUE__KAFKA__BROKERS", "127.0.0.1:19092".to_owned()),
            ("QUEUE__KAFKA__PREFIX", run.clone()),
            ("QUEUE__KAFKA__PARTITIONS", "2".to_owned()),
            ("QUEUE__KAFKA__REPLICATION_FACTOR", "1".to_owned()),
            ("COORDINATION__ENGINE", "redis".to_owned()),
            ("COORDINATION__REDIS__URL", "redis://127.0.0.1:16379".to_owned()),
            ("COORDINATION__REDIS__PREFIX", run),
        ]
        .map(|(key, value)| (format!("POSTRIDER__{key}"), value))
        .into()
    }
}
