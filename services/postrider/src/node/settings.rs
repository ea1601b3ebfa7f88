//! The configuration in the engines' own words.

use postrider_queue::kafka::{KafkaConfig, KafkaTls, Scram};
use postrider_runtime::config::Config;
use postrider_types::Secret;

/// Of the session to ScyllaDB or Cassandra.
pub fn cql(config: &Config) -> postrider_cql::Config {
    let cql = &config.storage.cql;
    postrider_cql::Config {
        contact_points: cql.contact_points.clone(),
        keyspace: cql.keyspace.clone(),
        replication_factor: cql.replication_factor,
        datacenter: cql.datacenter.clone(),
        user: cql.username.clone(),
        password: postrider_cql::Secret(cql.password.expose().to_owned()),
        tls: cql.ca.clone().map(|ca| postrider_cql::Tls {
            ca,
            certificate: cql.certificate.clone(),
            key: cql.key.clone(),
        }),
        ..postrider_cql::Config::default()
    }
}

/// Of the queue's wake-ups.
pub fn kafka(config: &Config) -> KafkaConfig {
    let kafka = &config.queue.kafka;
    KafkaConfig {
        brokers: kafka.brokers.clone(),
        topic_prefix: kafka.prefix.clone(),
        group: format!("{}-workers", kafka.prefix),
        partitions: kafka.partitions,
        replication_factor: kafka.replication_factor,
        find_lost: kafka.find_lost,
        scram: (!kafka.username.is_empty()).then(|| Scram {
            user: kafka.username.clone(),
            password: Secret::new(kafka.password.expose()),
            sha512: true,
        }),
        tls: kafka.ca.clone().map(|ca| KafkaTls {
            ca,
            certificate: kafka.certificate.clone(),
            key: kafka.key.clone(),
        }),
        ..KafkaConfig::default()
    }
}

/// Of coordination.
pub fn redis(config: &Config) -> postrider_coordination::redis::Config {
    let redis = &config.coordination.redis;
    postrider_coordination::redis::Config {
        prefix: redis.prefix.clone(),
        tls: postrider_coordination::redis::Tls {
            ca: redis.ca.clone(),
            certificate: redis.certificate.clone(),
            key: redis.key.clone(),
        },
        ..postrider_coordination::redis::Config::new(redis.url.expose())
    }
}
