//! Where Redis is and how long it may take.

use std::path::PathBuf;
use std::time::Duration;

use ::redis::{
    ClientTlsConfig, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion, RedisError, RedisResult,
    TlsCertificates,
};
use postrider_types::Secret;

/// The longest prefix of keys, in characters.
const LONGEST_PREFIX: usize = 64;

/// How to reach Redis (version 6 or newer, or Valkey).
#[derive(Debug, Clone)]
pub struct Config {
    /// `redis://[user:password@]host[:port][/database]`, `rediss://…` with TLS, or `redis-cluster://[user:password@]host[:port],…`
    /// and `rediss-cluster://…` for some nodes of a cluster, which finds the others by itself. No default.
    pub url: Secret,
    /// What every key and channel begins with, so that installations can share a server: up to 64 of letters, digits and `.-_:`.
    /// Default: `postrider`.
    pub prefix: String,
    /// For `rediss`.
    pub tls: Tls,
    /// How long a call may take before Redis counts as away for this call. Default: 200 ms.
    pub deadline: Duration,
    /// How long making a connection may take, DNS, TLS and login included. Default: 2 seconds.
    pub connect: Duration,
    /// The longest pause between attempts to connect; the first is a tenth of a second. Default: 2 seconds.
    pub retry: Duration,
}

/// TLS towards the servers. Their certificates must name the host that is connected to. Files are read at each connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the authorities that sign the servers' certificates; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// PEM file of our own certificate chain, if the servers ask for one.
    pub certificate: Option<PathBuf>,
    /// PEM file of its key.
    pub key: Option<PathBuf>,
}

impl Tls {
    /// What the files hold; `None` when there are none.
    pub(super) fn read(&self) -> RedisResult<Option<TlsCertificates>> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| {
                let why = format!("{}: {error}", path.display());
                RedisError::from((ErrorKind::InvalidClientConfig, "cannot read a file for TLS", why))
            })
        };
        let root_cert = self.ca.as_ref().map(read).transpose()?;
        let client_tls = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some(ClientTlsConfig {
                client_cert: read(certificate)?,
                client_key: read(key)?,
            }),
            _ => None,
        };
        let any = root_cert.is_some() || client_tls.is_some();
        Ok(any.then_some(TlsCertificates {
            client_tls,
            root_cert,
        }))
    }
}

/// What is wrong with a configuration. Permanent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The URL is not one of Redis; the URL itself is not shown, for its password.
    #[error(
        "the Redis URL is wrong: {0}; write redis://[user:password@]host:port or redis-cluster://host:port,host:port"
    )]
    Url(String),
    /// The prefix would confuse keys.
    #[error(
        "the prefix of Redis keys is to be 1 to {LONGEST_PREFIX} letters, digits and any of .-_: and not {0:?}"
    )]
    Prefix(String),
}

/// Which nodes to ask first, and how.
pub(super) enum Target {
    /// One server.
    Single(Box<ConnectionInfo>),
    /// Some nodes of a cluster.
    Cluster(Vec<ConnectionInfo>),
}

impl Config {
    /// The defaults with this URL.
    pub fn new(url: impl Into<Vec<u8>>) -> Self {
        Self {
            url: Secret::new(url),
            prefix: "postrider".into(),
            tls: Tls::default(),
            deadline: Duration::from_millis(200),
            connect: Duration::from_secs(2),
            retry: Duration::from_secs(2),
        }
    }

    /// Checks everything; what the URL names.
    pub(super) fn target(&self) -> Result<Target, ConfigError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
        if self.prefix.is_empty() || self.prefix.len() > LONGEST_PREFIX || !self.prefix.chars().all(plain) {
            return Err(ConfigError::Prefix(self.prefix.clone()));
        }
        let wrong = |why: &str| ConfigError::Url(why.into());
        let url = self.url.expose_str().ok_or_else(|| wrong("it is not UTF-8"))?;
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        if self.tls != Tls::default() && !scheme.starts_with("rediss") {
            return Err(wrong("with ca or certificate it begins with rediss"));
        }
        match scheme.split_once('-') {
            Some((scheme, "cluster")) => {
                let (login, nodes) = match rest.rsplit_once('@') {
                    Some((login, nodes)) => (format!("{login}@"), nodes),
                    None => (String::new(), rest),
                };
                let nodes = nodes.split(',');
                let nodes = nodes.map(|node| server(&format!("{scheme}://{login}{node}")));
                Ok(Target::Cluster(nodes.collect::<Result<_, _>>()?))
            }
            _ => Ok(Target::Single(Box::new(server(url)?))),
        }
    }
}

impl Target {
    /// Where it is, for people: no user, no password.
    pub fn name(&self) -> String {
        match self {
            Self::Single(server) => server.addr().to_string(),
            Self::Cluster(nodes) => {
                let nodes: Vec<String> = nodes.iter().map(|node| node.addr().to_string()).collect();
                nodes.join(",")
            }
        }
    }
}

/// One server's URL, to be spoken to in RESP3: hints arrive on the connection that carries the calls.
fn server(url: &str) -> Result<ConnectionInfo, ConfigError> {
    let info = url
        .into_connection_info()
        .map_err(|error| ConfigError::Url(error.to_string()))?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(url: &str) -> Result<String, ConfigError> {
        Config::new(url).target().map(|target| target.name())
    }

    #[test]
    fn urls() {
        assert_eq!(name("redis://redis").unwrap(), "redis:6379");
        assert_eq!(name("redis://bob:hungry@redis:1/2").unwrap(), "redis:1");
        assert_eq!(name("rediss://redis:1").unwrap(), "redis:1");
        assert_eq!(name("redis-cluster://a:1,b,c:3").unwrap(), "a:1,b:6379,c:3");
        assert_eq!(name("redis-cluster://bob:hungry@a:1,b:2").unwrap(), "a:1,b:2");
        for wrong in [
            "",
            "redis",
            "http://redis",
            "redis-cluster://",
            "redis-sentinel://a",
            "redis://",
        ] {
            assert!(matches!(name(wrong), Err(ConfigError::Url(_))), "{wrong}");
        }
    }

    #[test]
    fn a_cluster_has_one_login() {
        let Ok(Target::Cluster(nodes)) = Config::new("redis-cluster://bob:hun%40gry@a:1,b:2").target() else {
            panic!("not a cluster");
        };
        for node in nodes {
            assert_eq!(node.redis_settings().username(), Some("bob"));
            assert_eq!(node.redis_settings().password(), Some("hun@gry"));
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let config = Config::new("redis://bob:hungry@redis");
        assert!(!format!("{config:?}").contains("hungry"));
        let error = name("redis://bob:hungry@redis:port").unwrap_err();
        assert!(!error.to_string().contains("hungry"), "{error}");
    }

    #[test]
    fn prefixes() {
        let with = |prefix: &str| {
            let config = Config {
                prefix: prefix.into(),
                ..Config::new("redis://redis")
            };
            config.target().map(|_| ())
        };
        assert_eq!(with("mail-1:a.b_c"), Ok(()));
        let long = "x".repeat(65);
        for wrong in ["", "{a}", "a b", long.as_str()] {
            assert!(matches!(with(wrong), Err(ConfigError::Prefix(_))), "{wrong}");
        }
    }
}
