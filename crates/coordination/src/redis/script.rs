//! Scripts that Redis carries out as one step.

use std::sync::OnceLock;

use ::redis::{ErrorKind, FromRedisValue, RedisResult, ServerErrorKind};

use super::connection::Connection;

/// A script in Lua.
pub struct Script {
    source: &'static str,
    hash: OnceLock<String>,
}

impl Script {
    /// Of this source.
    pub const fn new(source: &'static str) -> Self {
        Self {
            source,
            hash: OnceLock::new(),
        }
    }

    /// Runs it, by its hash where the server has met it before. A script is sent whole to the one server that forgot it: to load it
    /// on all nodes of a cluster, all would have to be there.
    pub async fn run<T: FromRedisValue>(
        &self,
        mut connection: Connection,
        keys: &[String],
        arguments: &[u64],
    ) -> RedisResult<T> {
        let hash = self
            .hash
            .get_or_init(|| ::redis::Script::new(self.source).get_hash().to_owned());
        let command = |name, script: &str| {
            let mut command = ::redis::cmd(name);
            command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
            command
        };
        match command("EVALSHA", hash).query_async(&mut connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                command("EVAL", self.source).query_async(&mut connection).await
            }
            done => done,
        }
    }
}
