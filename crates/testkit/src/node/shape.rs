//! What a node consists of: one process that does everything, or a cluster of one process a role over real engines.
//!
//! `POSTRIDER_TEST_SHAPE=cluster` makes every node of a test a cluster, so that the same tests run against both.

use std::time::Duration;

use postrider_cql::testing::Fresh;

/// The processes of a cluster. Stores, directories and workers are there twice; what listens for the world once, since most tests
/// know one address.
pub const CLUSTER: [Member; 9] = [
    Member::new("smtp-ingress", "smtp-ingress"),
    Member::new("imap-gateway", "imap-gateway"),
    Member::new("pop3-gateway", "pop3-gateway"),
    Member::new("delivery-worker-1", "delivery-worker"),
    Member::new("delivery-worker-2", "delivery-worker"),
    Member::new("mail-store-1", "mail-store"),
    Member::new("mail-store-2", "mail-store"),
    Member::new("directory-1", "directory"),
    Member::new("directory-2", "directory"),
];

const ONE: [Member; 1] = [Member::new("node", "")];

/// A process of a node.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// What it is called.
    pub name: &'static str,
    /// What it does; empty: everything.
    pub role: &'static str,
    /// The processes it calls, by name, of roles that have one named here; of other roles it calls all.
    pub calls: &'static [&'static str],
}

impl Member {
    /// A process that calls all of the others.
    pub const fn new(name: &'static str, role: &'static str) -> Self {
        Self {
            name,
            role,
            calls: &[],
        }
    }

    /// A process that of some roles calls only these.
    pub const fn calling(self, calls: &'static [&'static str]) -> Self {
        Self { calls, ..self }
    }
}

/// What a node consists of.
#[derive(Debug)]
pub enum Shape {
    /// One process.
    One,
    /// A process a role.
    Cluster {
        /// Its processes. The first is the one that commands talk to. The first of a role listens for the world on the node's
        /// address, others on their own.
        members: Vec<Member>,
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
        Self::cluster_of(&CLUSTER)
    }

    /// A cluster of these processes.
    pub fn cluster_of(members: &[Member]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        // More nodes than keyspaces: one waits until another ends.
        for _ in 0..120 {
            match runtime.block_on(Fresh::open()) {
                Ok(keyspace) => {
                    let begun = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
                    let run = format!("test-{}-{}", std::process::id(), begun.as_micros());
                    let keyspace = Box::new(keyspace);
                    return Shape::Cluster {
                        members: members.to_vec(),
                        keyspace,
                        run,
                    };
                }
                Err(error) if error.to_string().contains("use the database already") => {
                    crate::wire::pause(Duration::from_millis(500));
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no keyspace became free within a minute")
    }

    /// Its processes.
    pub fn members(&self) -> &[Member] {
        match self {
            Shape::One => &ONE,
            Shape::Cluster { members, .. } => members,
        }
    }

    /// What stands over the configuration of every process: the engines.
    pub fn environment(&self) -> Vec<(String, String)> {
        let Shape::Cluster { keyspace, run, .. } = self else {
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
