//! Names and addresses: the one place that says where an engine listens.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::Failed;

/// The most nodes a kind of engine has.
pub(crate) const MOST_NODES: u8 = 3;

/// The node of an engine that one test has for itself.
const OWN: u8 = 9;

/// What an engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Apache Kafka: broker and controller in one process.
    Kafka,
    /// Apache Cassandra, which stands in for ScyllaDB.
    Cassandra,
    /// Redis, always one node.
    Redis,
}

impl Kind {
    /// Its name, as in `kafka`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Cassandra => "cassandra",
            Self::Redis => "redis",
        }
    }

    /// The port that clients connect to.
    pub fn port(self) -> u16 {
        match self {
            Self::Kafka => 19092,
            Self::Cassandra => 19042,
            Self::Redis => 16379,
        }
    }
}

/// One process: `kafka-2`, `cassandra-1`, `redis`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Engine {
    kind: Kind,
    node: u8,
}

impl Engine {
    /// A node of a kind; none when there is no such node.
    pub fn new(kind: Kind, node: u8) -> Option<Self> {
        let most = if kind == Kind::Redis { 1 } else { MOST_NODES };
        (1..=most).contains(&node).then_some(Self { kind, node })
    }

    /// The one that one test has for itself; it belongs to no testbed.
    pub(crate) fn own(kind: Kind) -> Self {
        Self { kind, node: OWN }
    }

    /// Whether it belongs to one test.
    pub(crate) fn is_own(self) -> bool {
        self.node == OWN
    }

    /// Every process of a testbed with so many nodes (1 to 3) of Kafka and of Cassandra.
    pub fn all(nodes: u8) -> Vec<Self> {
        let of = |kind| (1..=nodes).filter_map(move |node| Self::new(kind, node));
        of(Kind::Cassandra)
            .chain(of(Kind::Kafka))
            .chain(Self::new(Kind::Redis, 1))
            .collect()
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// Which node of its kind, from 1.
    pub fn node(self) -> u8 {
        self.node
    }

    /// Where clients reach it.
    pub fn address(self) -> SocketAddr {
        self.at(self.kind.port())
    }

    /// Another port of the same node.
    pub(crate) fn at(self, port: u16) -> SocketAddr {
        (Ipv4Addr::new(127, 0, 0, self.node), port).into()
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Redis => f.pad("redis"),
            kind => f.pad(&format!("{}-{}", kind.name(), self.node)),
        }
    }
}

impl FromStr for Engine {
    type Err = Failed;

    fn from_str(name: &str) -> Result<Self, Failed> {
        Self::all(MOST_NODES)
            .into_iter()
            .find(|engine| engine.to_string() == name)
            .ok_or_else(|| {
                Failed(format!(
                    "no engine is called `{name}`: kafka-1, kafka-2, kafka-3, cassandra-1, cassandra-2, cassandra-3 or redis"
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        let kafka: Engine = "kafka-2".parse().unwrap();
        assert_eq!(kafka.address(), "127.0.0.2:19092".parse().unwrap());
        assert_eq!(Engine::all(3).len(), 7);
        for engine in Engine::all(3) {
            assert_eq!(engine.to_string().parse(), Ok(engine));
        }
        assert_eq!(Engine::new(Kind::Redis, 2), None);
        assert_eq!(Engine::new(Kind::Kafka, 0), None);
        for wrong in ["kafka", "kafka-4", "kafka-0", "redis-1", ""] {
            assert!(wrong.parse::<Engine>().is_err(), "{wrong}");
        }
    }
}
