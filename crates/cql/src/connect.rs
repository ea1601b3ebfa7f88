//! Connecting, and which policies each kind of work has.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::client::session::Session as Driver;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::{DefaultRetryPolicy, FallthroughRetryPolicy};
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::statement::{Consistency, SerialConsistency};

use crate::error::not_connected;
use crate::{Config, Error, Kind, Result, Tls};

/// How long a connection to a node may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Execution profiles, one for each kind of work.
#[derive(Debug)]
pub(crate) struct Profiles([ExecutionProfileHandle; 4]);

impl Profiles {
    pub fn new(config: &Config) -> Self {
        Self(Kind::ALL.map(|kind| profile(config, kind).into_handle_with_label(kind.as_str().into())))
    }

    pub fn of(&self, kind: Kind) -> ExecutionProfileHandle {
        self.0[kind as usize].clone()
    }
}

fn profile(config: &Config, kind: Kind) -> ExecutionProfile {
    let conditional = matches!(kind, Kind::Conditional | Kind::SerialRead);
    // Requests go to a replica (token aware) of the own datacenter. Reads and plain writes are spread over the replicas; for conditional
    // writes all clients take the same one first: two coordinators of one partition preempt each other's rounds and both lose.
    let mut balancing = DefaultPolicy::builder()
        .token_aware(true)
        .enable_shuffling_replicas(!conditional);
    if !config.datacenter.is_empty() {
        balancing = balancing.prefer_datacenter(config.datacenter.clone());
    }
    let builder = ExecutionProfile::builder()
        .load_balancing_policy(balancing.build())
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .consistency(if kind == Kind::SerialRead {
            Consistency::LocalSerial
        } else {
            Consistency::LocalQuorum
        });
    match kind {
        // Reads cost little and change nothing: on a broken connection the next node is asked, and a slow node (a pause of its collector, say)
        // is not waited for when another has the rows as well.
        Kind::Read => builder
            .request_timeout(Some(config.read_deadline))
            .retry_policy(Arc::new(DefaultRetryPolicy::new()))
            .speculative_execution_policy(Some(Arc::new(SimpleSpeculativeExecutionPolicy {
                max_retry_count: 1,
                retry_interval: config.speculate_after,
            }))),
        // Plain writes are idempotent by our own rule, so that the driver may send them to the next node. A second copy beside a slow one would
        // make an overloaded cluster write twice as much: no speculation.
        Kind::Write => builder
            .request_timeout(Some(config.write_deadline))
            .retry_policy(Arc::new(DefaultRetryPolicy::new()))
            .speculative_execution_policy(None),
        // Whoever sends a conditional write twice must look in between, and the driver cannot. Serial reads are repeated by the session:
        // the driver's policy never repeats them.
        Kind::Conditional | Kind::SerialRead => builder
            .request_timeout(Some(config.conditional_deadline))
            .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
            .speculative_execution_policy(None),
    }
    .build()
}

/// Opens a session of the driver. `keyspace`: use it, which fails where it does not exist.
pub(crate) async fn connect(config: &Config, keyspace: Option<&str>) -> Result<Driver> {
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.contact_points)
        .connection_timeout(CONNECT)
        // Pings find a dead peer behind a connection that nobody closed.
        .keepalive_interval(Duration::from_secs(10))
        .keepalive_timeout(Duration::from_secs(5))
        // How the keyspace is replicated decides which nodes have a row; other keyspaces are nothing to us.
        .keyspaces_to_fetch([&config.keyspace]);
    if !config.user.is_empty() {
        builder = builder.user(&config.user, &config.password.0);
    }
    if let Some(tls) = &config.tls {
        builder = builder.tls_context(Some(Arc::new(tls_config(tls)?)));
    }
    if let Some(keyspace) = keyspace {
        builder = builder.use_keyspace(keyspace, true);
    }
    let built = builder.build().await;
    built.map_err(|error| not_connected(&error, &config.contact_points))
}

fn tls_config(tls: &Tls) -> Result<rustls::ClientConfig> {
    let refused = |what: &std::path::Path, error: &dyn std::fmt::Display| {
        Error::Refused(format!("database TLS, {}: {error}", what.display()))
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&tls.ca).map_err(|error| refused(&tls.ca, &error))? {
        let certificate = certificate.map_err(|error| refused(&tls.ca, &error))?;
        roots.add(certificate).map_err(|error| refused(&tls.ca, &error))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&tls.ca, &error))?
        .with_root_certificates(roots);
    match (&tls.certificate, &tls.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
                .map_err(|error| refused(certificate, &error))?;
            let pair = PrivateKeyDer::from_pem_file(key).map_err(|error| refused(key, &error))?;
            builder
                .with_client_auth_cert(chain, pair)
                .map_err(|error| refused(certificate, &error))
        }
        _ => Err(Error::Refused(
            "database TLS: a certificate and its key belong together".into(),
        )),
    }
}
