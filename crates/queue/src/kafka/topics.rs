//! The topics: names, what each is for, making them, and seeing that they are there.
//!
//! | Topic | Holds | Kept |
//! |---|---|---|
//! | `PREFIX.ready.fresh`, `PREFIX.ready.later` | wake-ups that are due, by lane | 7 days |
//! | `PREFIX.delay.10s` … `PREFIX.delay.16m` | wake-ups that are not due yet, in order of when they leave | 7 days |
//! | `PREFIX.dead` | records nobody can read | 30 days |
//! | `PREFIX.control` | domains whose suspension has changed, one partition | compacted |

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaErrorCode;

use super::config::KafkaConfig;
use crate::engine::Lane;
use crate::{Error, Result};

/// How long each delay topic keeps a wake-up, in milliseconds. Each is twice the one before, so that any wait is a few of them: a retry
/// after half an hour passes 16, 8, 4 and 2 minutes. What is due within [`super::flight::HOLD`] is not put into another.
pub(super) const DELAYS: [u64; 6] = [10_000, 60_000, 120_000, 240_000, 480_000, 960_000];
const DELAY_NAMES: [&str; 6] = ["10s", "1m", "2m", "4m", "8m", "16m"];

/// How long a request to the brokers about topics may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long to wait for an answer that is only looked at.
const LOOK: Duration = Duration::from_secs(10);
const DAY: u64 = 24 * 3600 * 1000;

/// One of the topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Topic {
    /// Due wake-ups of a lane.
    Ready(Lane),
    /// Wake-ups that wait: position in [`DELAYS`].
    Delay(usize),
    /// What cannot be read.
    Dead,
    /// Suspensions.
    Control,
}

impl Topic {
    /// All of them.
    pub fn all() -> Vec<Topic> {
        let mut all = Self::consumed();
        all.extend([Topic::Dead, Topic::Control]);
        all
    }

    /// Those that workers consume as a group.
    pub fn consumed() -> Vec<Topic> {
        let ready = Lane::ALL.map(Topic::Ready).into_iter();
        ready.chain((0..DELAYS.len()).map(Topic::Delay)).collect()
    }

    /// Where a wake-up waits that is due in so many milliseconds: the longest delay that is not longer. What is due goes to its lane.
    pub fn for_wait(wait: u64, lane: Lane) -> Self {
        if wait == 0 {
            return Topic::Ready(lane);
        }
        let at = DELAYS.iter().rposition(|delay| *delay <= wait).unwrap_or(0);
        Topic::Delay(at)
    }

    /// Its kind in metrics.
    pub fn kind(self) -> &'static str {
        match self {
            Topic::Ready(_) => "ready",
            Topic::Delay(_) => "delay",
            Topic::Dead => "dead",
            Topic::Control => "control",
        }
    }

    pub fn name(self, prefix: &str) -> String {
        match self {
            Topic::Ready(Lane::Fresh) => format!("{prefix}.ready.fresh"),
            Topic::Ready(Lane::Later) => format!("{prefix}.ready.later"),
            Topic::Delay(at) => format!(
                "{prefix}.delay.{}",
                DELAY_NAMES.get(at).copied().unwrap_or_default()
            ),
            Topic::Dead => format!("{prefix}.dead"),
            Topic::Control => format!("{prefix}.control"),
        }
    }

    fn partitions(self, config: &KafkaConfig) -> u32 {
        match self {
            Topic::Ready(_) | Topic::Delay(_) => config.partitions,
            Topic::Dead | Topic::Control => 1,
        }
    }
}

/// How a topic is, and how it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// Its name.
    pub name: String,
    /// Its partitions; 0: it is missing.
    pub partitions: usize,
    /// As many as it should have at least.
    pub needed: usize,
}

impl TopicState {
    /// What is wrong with it, and what to do.
    pub fn trouble(&self) -> Option<String> {
        let Self {
            name,
            partitions,
            needed,
        } = self;
        match *partitions {
            0 => Some(format!(
                "topic {name} is missing: `postrider cluster init` makes it"
            )),
            there if there < *needed => Some(format!(
                "topic {name} has {there} partitions instead of {needed}: `postrider cluster init` adds them"
            )),
            _ => None,
        }
    }
}

/// How all topics are: for `cluster status`. An error when no broker answers.
pub async fn look(config: &KafkaConfig) -> Result<Vec<TopicState>> {
    config.validate()?;
    match partitions(config.client(), LOOK).await {
        Ok(found) => Ok(states(config, &found)),
        Err(error) => Err(Error::Unavailable(no_broker(config, &error))),
    }
}

/// What to say when the brokers do not answer.
pub(super) fn no_broker(config: &KafkaConfig, error: &dyn std::fmt::Display) -> String {
    let brokers = config.brokers.join(", ");
    format!("no broker of {brokers} answers, check that they run and queue.kafka.brokers: {error}")
}

/// Names of all topics, for tests that take them away again.
#[cfg(test)]
pub(crate) fn topic_names(prefix: &str) -> Vec<String> {
    Topic::all().into_iter().map(|topic| topic.name(prefix)).collect()
}

/// Makes the topics that are missing, and gives more partitions to those that have too few. Running it again, or twice at once, does no
/// harm. Permanent errors say what the brokers refuse.
pub async fn prepare(config: &KafkaConfig) -> Result<()> {
    config.validate()?;
    make(config).await?;
    grow(config).await
}

/// Makes the topics that are missing. Running it again, or twice at once, does no harm.
pub(super) async fn make(config: &KafkaConfig) -> Result<()> {
    let (admin, options) = admin(config)?;
    let names = names(config);
    let in_sync = config.replication_factor.saturating_sub(1).max(1).to_string();
    let (week, month) = ((7 * DAY).to_string(), (30 * DAY).to_string());
    let make: Vec<NewTopic<'_>> = names
        .iter()
        .map(|(topic, name)| {
            let partitions = i32::try_from(topic.partitions(config)).unwrap_or(i32::MAX);
            let copies = i32::try_from(config.replication_factor).unwrap_or(i32::MAX);
            let new = NewTopic::new(name, partitions, TopicReplication::Fixed(copies))
                .set("min.insync.replicas", &in_sync);
            match topic {
                Topic::Control => new.set("cleanup.policy", "compact"),
                Topic::Dead => new.set("retention.ms", &month),
                _ => new.set("retention.ms", &week),
            }
        })
        .collect();
    let made = admin.create_topics(&make, &options).await.map_err(unavailable)?;
    for result in made {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(refused(&name, code)),
        }
    }
    Ok(())
}

fn names(config: &KafkaConfig) -> Vec<(Topic, String)> {
    let named = |topic: Topic| (topic, topic.name(&config.topic_prefix));
    Topic::all().into_iter().map(named).collect()
}

fn admin(config: &KafkaConfig) -> Result<(AdminClient<DefaultClientContext>, AdminOptions)> {
    let admin = config.client().create().map_err(settings)?;
    let options = AdminOptions::new()
        .operation_timeout(Some(DEADLINE))
        .request_timeout(Some(DEADLINE));
    Ok((admin, options))
}

async fn grow(config: &KafkaConfig) -> Result<()> {
    let ((admin, options), names) = (admin(config)?, names(config));
    // A topic made a moment ago may not be known to every broker yet.
    let mut tries = 0;
    let found = loop {
        let found = partitions(config.client(), DEADLINE).await?;
        tries += 1;
        if names
            .iter()
            .all(|(_, name)| found.iter().any(|(there, _)| there == name))
        {
            break found;
        }
        if tries == 50 {
            return Err(Error::Unavailable(
                "the brokers do not show the new topics".into(),
            ));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for (topic, name) in &names {
        let wanted = topic.partitions(config) as usize;
        let there = found.iter().find(|(there, _)| there == name);
        if there.is_none_or(|(_, number)| *number >= wanted) {
            continue;
        }
        let more = NewPartitions::new(name, wanted);
        for result in admin
            .create_partitions(&[more], &options)
            .await
            .map_err(unavailable)?
        {
            if let Err((name, code)) = result {
                return Err(refused(&name, code));
            }
        }
    }
    Ok(())
}

/// Names of the topics there are, and their numbers of partitions.
async fn partitions(client: ClientConfig, deadline: Duration) -> Result<Vec<(String, usize)>> {
    let read = tokio::task::spawn_blocking(move || {
        let admin: AdminClient<DefaultClientContext> = client.create()?;
        let metadata = admin.inner().fetch_metadata(None, deadline)?;
        Ok(listed(&metadata))
    });
    let read = read
        .await
        .map_err(|error| Error::Unavailable(error.to_string()))?;
    read.map_err(unavailable)
}

fn listed(metadata: &Metadata) -> Vec<(String, usize)> {
    metadata
        .topics()
        .iter()
        .filter(|topic| topic.error().is_none())
        .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
        .collect()
}

fn states(config: &KafkaConfig, found: &[(String, usize)]) -> Vec<TopicState> {
    let state = |topic: Topic| {
        let name = topic.name(&config.topic_prefix);
        let there = found.iter().find(|(there, _)| *there == name);
        TopicState {
            partitions: there.map_or(0, |(_, partitions)| *partitions),
            needed: topic.partitions(config) as usize,
            name,
        }
    };
    Topic::all().into_iter().map(state).collect()
}

/// What the brokers lack, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lack {
    /// A topic.
    Topic(String),
    /// Partitions of one.
    Partitions(String),
}

/// Whether all topics are there, with enough partitions.
pub(super) fn check(config: &KafkaConfig, metadata: &Metadata) -> std::result::Result<(), Lack> {
    let states = states(config, &listed(metadata));
    let lack = |state: &TopicState| {
        state.trouble().map(|trouble| match state.partitions {
            0 => Lack::Topic(trouble),
            _ => Lack::Partitions(trouble),
        })
    };
    // One that is missing first: that can be helped.
    let (missing, others): (Vec<_>, Vec<_>) = states.iter().partition(|state| state.partitions == 0);
    missing
        .into_iter()
        .chain(others)
        .find_map(lack)
        .map_or(Ok(()), Err)
}

fn settings(error: rdkafka::error::KafkaError) -> Error {
    Error::Invalid(format!("kafka settings: {error}"))
}

fn unavailable(error: rdkafka::error::KafkaError) -> Error {
    Error::Unavailable(format!("kafka: {error}"))
}

fn refused(topic: &str, code: RDKafkaErrorCode) -> Error {
    match code {
        RDKafkaErrorCode::InvalidReplicationFactor
        | RDKafkaErrorCode::InvalidPartitions
        | RDKafkaErrorCode::InvalidConfig
        | RDKafkaErrorCode::InvalidTopic
        | RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed
        | RDKafkaErrorCode::PolicyViolation => Error::Refused(format!("kafka, topic {topic}: {code}")),
        _ => Error::Unavailable(format!("kafka, topic {topic}: {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_overshot() {
        for wait in [1, 9_999, 10_000, 59_999, 60_000, 130_000, 1_800_000, u64::MAX] {
            let Topic::Delay(at) = Topic::for_wait(wait, Lane::Fresh) else {
                unreachable!("it waits")
            };
            assert!(DELAYS[at] <= wait || at == 0, "{wait}");
        }
        assert_eq!(Topic::for_wait(0, Lane::Later), Topic::Ready(Lane::Later));
    }

    #[test]
    fn half_an_hour_is_a_handful_of_records() {
        for minutes in [24, 30, 36] {
            let (mut wait, mut hops) = (minutes * 60_000, 0);
            while wait > super::super::flight::HOLD {
                let Topic::Delay(at) = Topic::for_wait(wait, Lane::Later) else {
                    unreachable!("it waits")
                };
                wait = wait.saturating_sub(DELAYS[at]);
                hops += 1;
            }
            assert!(hops <= 4, "{minutes} minutes: {hops}");
        }
    }
}
