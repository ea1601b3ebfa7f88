//! What types alone cannot rule out.

use std::collections::HashMap;

use postrider_types::Domain;

use super::{Config, CoordinationEngine, QueueEngine, Role, StorageEngine};

impl Config {
    /// Checks what the parts have to do with each other.
    ///
    /// # Errors
    /// Everything that is wrong, a line each: which key, and what to do.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        let mut check = |fine: bool, message: &str| {
            if !fine {
                wrong.push(message.to_owned());
            }
        };
        check(!self.roles.is_empty(), "roles: name at least one, or \"all\"");
        check(
            self.tls.certificate.is_some() == self.tls.key.is_some(),
            "tls: set both certificate and key, or neither for a self-signed one",
        );
        self.check_engines(&mut check);
        self.check_numbers(&mut check);
        for role in [
            Role::SmtpIngress,
            Role::DeliveryWorker,
            Role::ImapGateway,
            Role::Pop3Gateway,
            Role::WebGateway,
        ] {
            let needs = self.plays(role);
            let store = self.plays(Role::MailStore) || !self.services.mail_store.is_empty();
            let directory = self.plays(Role::Directory) || !self.services.directory.is_empty();
            let name = role.name();
            check(
                !needs || store,
                &format!("services.mail_store: {name} needs one, here or elsewhere"),
            );
            check(
                !needs || directory,
                &format!("services.directory: {name} needs one, here or elsewhere"),
            );
        }
        for (domain, target) in &self.outbound.routes {
            check(
                Domain::new(domain).is_ok(),
                &format!("outbound.routes: `{domain}` is not a domain"),
            );
            check(
                is_target(target),
                &format!("outbound.routes: `{target}` is not `host` or `host:port`"),
            );
        }
        self.check_listeners(&mut check);
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn check_engines(&self, check: &mut impl FnMut(bool, &str)) {
        let (cql, kafka, redis) = (&self.storage.cql, &self.queue.kafka, &self.coordination.redis);
        for (section, certificate, key) in [
            ("storage.cql", &cql.certificate, &cql.key),
            ("queue.kafka", &kafka.certificate, &kafka.key),
            ("coordination.redis", &redis.certificate, &redis.key),
        ] {
            check(
                certificate.is_some() == key.is_some(),
                &format!("{section}: set both certificate and key, or neither"),
            );
        }
        for (section, certificate, ca) in [
            ("storage.cql", &cql.certificate, &cql.ca),
            ("queue.kafka", &kafka.certificate, &kafka.ca),
        ] {
            check(
                certificate.is_none() || ca.is_some(),
                &format!("{section}: a certificate is for TLS, which needs ca as well"),
            );
        }
        let cql = self.storage.engine == StorageEngine::Cql || self.queue.engine == QueueEngine::Kafka;
        check(
            !cql || !self.storage.cql.contact_points.is_empty(),
            "storage.cql.contact_points: name at least one node, as in [\"scylla-0:9042\"]",
        );
        check(
            self.queue.engine != QueueEngine::Embedded || self.storage.engine == StorageEngine::Embedded,
            "queue.engine: \"embedded\" shares the database of storage.engine = \"embedded\"; set queue.engine = \"memory\" or \"kafka\"",
        );
        check(
            self.queue.engine != QueueEngine::Kafka || !self.queue.kafka.brokers.is_empty(),
            "queue.kafka.brokers: name at least one broker, as in [\"kafka-0:9092\"]",
        );
        check(
            self.coordination.engine != CoordinationEngine::Redis
                || !self.coordination.redis.url.expose().is_empty(),
            "coordination.redis.url: name the server, as in \"redis://redis:6379\"",
        );
    }

    fn check_numbers(&self, check: &mut impl FnMut(bool, &str)) {
        let (limits, retry) = (&self.limits, &self.queue.retry);
        check(
            (0.0..=1.0).contains(&self.telemetry.sample_ratio),
            "telemetry.sample_ratio: from 0 to 1",
        );
        check(
            (0.0..1.0).contains(&retry.jitter),
            "queue.retry.jitter: from 0 to below 1",
        );
        check(!retry.first.is_zero(), "queue.retry.first: more than 0");
        check(
            retry.first <= retry.max,
            "queue.retry: first must not be longer than max",
        );
        check(
            retry.max <= retry.give_up,
            "queue.retry: max must not be longer than give_up",
        );
        check(
            limits.message_size >= 64 << 10,
            "limits.message_size: at least 64KiB (RFC 5321 §4.5.3.1.7)",
        );
        check(
            limits.recipients >= 100,
            "limits.recipients: at least 100 (RFC 5321 §4.5.3.1.8)",
        );
        check(
            limits.in_flight_bytes >= limits.message_size,
            "limits.in_flight_bytes: at least one message of limits.message_size must fit",
        );
        check(!limits.smtp_idle.is_zero(), "limits.smtp_idle: more than 0");
        check(!limits.pop3_idle.is_zero(), "limits.pop3_idle: more than 0");
        check(!limits.imap_idle.is_zero(), "limits.imap_idle: more than 0");
    }

    fn check_listeners(&self, check: &mut impl FnMut(bool, &str)) {
        let mut seen = HashMap::new();
        for (name, listener) in self.listeners.named() {
            for address in listener.bind.iter().filter(|address| address.port() != 0) {
                if let Some(other) = seen.insert(address, name) {
                    check(
                        false,
                        &format!("listeners.{name}.bind: {address} is taken by listeners.{other}"),
                    );
                }
            }
            check(
                !listener.proxy_protocol || !listener.proxy_trusted.is_empty(),
                &format!(
                    "listeners.{name}.proxy_trusted: name the balancers' networks, as in [\"10.0.0.0/8\"]"
                ),
            );
        }
        let rpc = &self.rpc;
        let given = [&rpc.certificate, &rpc.key, &rpc.authority].map(|file| file.is_some());
        check(
            given == [given[0]; 3],
            "rpc: set certificate, key and authority, or none of them",
        );
        let bind = &self.listeners.rpc.bind;
        check(
            given[0] || rpc.insecure || bind.iter().all(|address| address.ip().is_loopback()),
            "listeners.rpc.bind: beyond loopback it needs rpc.certificate, rpc.key and rpc.authority (whoever connects can read all \
             mail), or rpc.insecure = true where the network itself is trusted",
        );
        check(rpc.calls > 0, "rpc.calls: at least 1");
        let outside = self
            .listeners
            .admin
            .bind
            .iter()
            .any(|address| !address.ip().is_loopback());
        check(
            !outside || self.tls.certificate.is_some(),
            "listeners.admin.bind: beyond loopback it needs tls.certificate and tls.key, or its token travels in the clear",
        );
    }
}

impl Role {
    /// As the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Role::All => "all",
            Role::SmtpIngress => "smtp-ingress",
            Role::DeliveryWorker => "delivery-worker",
            Role::ImapGateway => "imap-gateway",
            Role::Pop3Gateway => "pop3-gateway",
            Role::WebGateway => "web-gateway",
            Role::MailStore => "mail-store",
            Role::Directory => "directory",
        }
    }
}

/// `host`, `host:port`, `[literal]`, `[literal]:port`.
fn is_target(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        _ => (text, "25"),
    };
    let literal = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<std::net::IpAddr>()
        .is_ok();
    port.parse::<u16>().is_ok() && (literal || Domain::new(host).is_ok())
}
