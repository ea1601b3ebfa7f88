//! What `postrider cluster` prints: tables, topics, Redis.

use postrider_coordination::Redis;
use postrider_cql::schema::{self, Status};
use postrider_runtime::config::{Config, CoordinationEngine, QueueEngine};
use serde::Serialize;

use crate::node::settings;

/// What is printed. Topics and Redis are looked at for `status` only.
#[derive(Serialize)]
pub struct Report {
    keyspace: String,
    exists: bool,
    database: String,
    version: u32,
    needed: u32,
    /// Whether the tables are such that this program can work with them.
    fits: bool,
    missing: Vec<String>,
    /// Why the database cannot be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topics: Option<Topics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<Answers>,
}

#[derive(Serialize)]
struct Topics {
    prefix: String,
    /// How many there are.
    there: usize,
    /// What is wrong with them, or that no broker answers; a line each.
    trouble: Vec<String>,
}

#[derive(Serialize)]
struct Answers {
    answers: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

/// Everything, looked at now. What does not answer is part of the report.
pub async fn all(config: &Config, tables: postrider_cql::Config) -> Report {
    let looked = schema::status(&tables).await;
    let status = looked.map_err(|error| error.to_string());
    let mut report = Report::new(tables.keyspace, status);
    if config.queue.engine == QueueEngine::Kafka {
        report.topics = Some(topics(config).await);
    }
    if config.coordination.engine == CoordinationEngine::Redis {
        report.redis = Some(redis(config).await);
    }
    report
}

async fn topics(config: &Config) -> Topics {
    let kafka = settings::kafka(config);
    let (there, trouble) = match postrider_queue::kafka::look(&kafka).await {
        Ok(states) => (
            states.iter().filter(|state| state.partitions > 0).count(),
            states.iter().filter_map(|state| state.trouble()).collect(),
        ),
        Err(error) => (0, vec![error.to_string()]),
    };
    Topics {
        prefix: kafka.topic_prefix,
        there,
        trouble,
    }
}

async fn redis(config: &Config) -> Answers {
    let trouble = match Redis::open(settings::redis(config)).await {
        Ok(redis) => redis.trouble(),
        Err(error) => Some(error.to_string()),
    };
    Answers {
        answers: trouble.is_none(),
        trouble,
    }
}

impl Report {
    /// Of the tables; `Err` says why they cannot be looked at.
    pub fn new(keyspace: String, status: Result<Status, String>) -> Self {
        let (status, unreachable) = match status {
            Ok(status) => (Some(status), None),
            Err(why) => (None, Some(why)),
        };
        let of = status.as_ref();
        Self {
            keyspace,
            exists: of.is_some_and(|status| status.keyspace),
            database: of.map_or_else(String::new, |status| format!("{:?}", status.dialect)),
            version: of.map_or(0, |status| status.version),
            needed: schema::needed(),
            fits: of.is_some_and(Status::is_well),
            missing: status.map_or_else(Vec::new, |status| status.missing),
            unreachable,
            topics: None,
            redis: None,
        }
    }

    /// Whether tables and topics are as this program needs them. Redis may be away: mail goes on without it.
    pub fn is_well(&self) -> bool {
        let topics = self
            .topics
            .as_ref()
            .is_none_or(|topics| topics.trouble.is_empty());
        self.fits && topics
    }

    /// A line for each thing.
    pub fn text(&self) -> String {
        let mut lines = vec![self.tables()];
        match &self.topics {
            None => {}
            Some(topics) if topics.trouble.is_empty() => {
                lines.push(format!(
                    "topics {}.*: all {} are there",
                    topics.prefix, topics.there
                ));
            }
            Some(topics) => lines.extend(topics.trouble.iter().cloned()),
        }
        match &self.redis {
            None => {}
            Some(Answers { trouble: None, .. }) => lines.push("redis answers".into()),
            Some(Answers {
                trouble: Some(why), ..
            }) => lines.push(format!(
                "{why}; mail goes on, limits are relaxed and new mail is noticed later"
            )),
        }
        lines.join("\n")
    }

    fn tables(&self) -> String {
        let Self {
            keyspace,
            version,
            needed,
            ..
        } = self;
        let state = match self {
            Self {
                unreachable: Some(why),
                ..
            } => return format!("keyspace {keyspace}: {why}"),
            Self { exists: false, .. } => "is not there; make it with `postrider cluster init`".to_owned(),
            _ if version == needed => format!("is at version {version}, as this program needs it"),
            _ if version > needed && self.fits => {
                format!(
                    "is at version {version}, newer than the {needed} of this program, which can work with it"
                )
            }
            _ if version > needed => {
                format!("is at version {version}, newer than the {needed} of this program: run a newer one")
            }
            _ => format!(
                "is at version {version} and lacks {}; bring it forward with `postrider cluster migrate`",
                self.missing.join(", ")
            ),
        };
        format!("keyspace {keyspace} ({}) {state}", self.database)
    }
}
