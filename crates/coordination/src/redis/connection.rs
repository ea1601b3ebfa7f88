//! One connection, to a server or to a cluster.

use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, Pipeline, ProtocolVersion, PushInfo, RedisFuture, RedisResult, Value,
};

use super::config::{Config, Target};

/// How often a command to a cluster is sent again after a redirection or a lost node, within the call's deadline.
const CLUSTER_RETRIES: u32 = 3;
/// The longest pause between those, in milliseconds.
const CLUSTER_RETRY_WAIT: u64 = 50;

/// Shared by all callers: cloning is cheap, answers find their way.
#[derive(Clone)]
pub enum Connection {
    /// To one server.
    Single(MultiplexedConnection),
    /// To every node of a cluster.
    Cluster(ClusterConnection),
}

impl Connection {
    /// Connects, logs in and hears an answer. `pushed` is called with everything that arrives unasked, and must not block.
    pub async fn open(
        target: &Target,
        config: &Config,
        pushed: impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
    ) -> RedisResult<Self> {
        match target {
            Target::Single(server) => {
                let settings = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(config.connect))
                    .set_response_timeout(Some(config.connect))
                    .set_push_sender(pushed);
                let server = server.as_ref().clone();
                let client = match config.tls.read()? {
                    None => Client::open(server)?,
                    Some(files) => Client::build_with_tls(server, files)?,
                };
                let mut connection = client
                    .get_multiplexed_async_connection_with_config(&settings)
                    .await?;
                // A server that loads its data, or is stopped, lets itself be connected to.
                ::redis::cmd("PING").exec_async(&mut connection).await?;
                connection.set_response_timeout(config.deadline);
                Ok(Self::Single(connection))
            }
            Target::Cluster(nodes) => {
                let mut builder = ClusterClient::builder(nodes.iter().cloned());
                if let Some(files) = config.tls.read()? {
                    builder = builder.certs(files);
                }
                let client = builder
                    .use_protocol(ProtocolVersion::RESP3)
                    .connection_timeout(config.connect)
                    .response_timeout(config.deadline)
                    .retries(CLUSTER_RETRIES)
                    .max_retry_wait(CLUSTER_RETRY_WAIT)
                    .push_sender(pushed)
                    .build()?;
                Ok(Self::Cluster(client.get_async_connection().await?))
            }
        }
    }

    /// Subscribes to a channel; messages arrive as pushes.
    pub async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Self::Single(connection) => connection.subscribe(channel).await,
            Self::Cluster(connection) => connection.subscribe(channel).await,
        }
    }

    /// Whether it is gone as soon as one socket is: a cluster's connection mends its own sockets.
    pub fn has_one_socket(&self) -> bool {
        matches!(self, Self::Single(_))
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// A pause of `length`, up to a half longer or shorter, so that a thousand processes do not knock in step.
pub fn jittered(length: Duration) -> Duration {
    length.mul_f64(rand::random_range(0.5..1.5))
}
