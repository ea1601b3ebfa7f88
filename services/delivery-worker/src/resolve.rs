//! Where a domain's mail exchangers are (RFC 5321 §5.1, RFC 7505), and their addresses.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver as Hickory, TokioResolver};
use postrider_runtime::config;
use postrider_types::Domain;
use rand::seq::SliceRandom;

use crate::routes::Host;
use crate::settings::Settings;

/// Exchangers of one domain that are looked at; more is nonsense.
const MOST_EXCHANGERS: usize = 50;
/// How long an answer is used at least and at most, whatever its time to live.
const USED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// Why there is nowhere to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// No later attempt will do better.
    pub permanent: bool,
    /// In one line, with an enhanced status code (RFC 3463).
    pub reply: String,
}

impl Trouble {
    pub(crate) fn permanent(reply: impl Into<String>) -> Self {
        Self {
            permanent: true,
            reply: reply.into(),
        }
    }

    pub(crate) fn temporary(reply: impl Into<String>) -> Self {
        Self {
            permanent: false,
            reply: reply.into(),
        }
    }
}

/// The hosts that take a domain's mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchangers {
    /// By preference, then by name.
    pub hosts: Vec<Host>,
    /// Until when the answer may be used.
    pub until: Instant,
}

/// Asks DNS. Answers are cached for their time to live.
pub struct Resolver {
    dns: TokioResolver,
    hostname: Domain,
    port: u16,
}

impl Resolver {
    /// A resolver as the settings say. Reads the system's configuration, and does nothing else yet.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let mut builder = match &settings.network.resolver {
            config::Resolver::Named(_) => TokioResolver::builder_tokio()?,
            config::Resolver::Servers(servers) => {
                let server = |address: &std::net::SocketAddr| {
                    let connection = |mut connection: ConnectionConfig| {
                        connection.port = address.port();
                        connection
                    };
                    let connections = vec![
                        connection(ConnectionConfig::udp()),
                        connection(ConnectionConfig::tcp()),
                    ];
                    NameServerConfig::new(address.ip(), true, connections)
                };
                let config =
                    ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect());
                Hickory::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        options.cache_size = 10_000;
        // A mistake at the other end should not be believed for a day.
        options.negative_max_ttl = Some(Duration::from_secs(300));
        Ok(Self {
            dns: builder.build()?,
            hostname: settings.hostname.clone(),
            port: settings.network.port,
        })
    }

    /// The hosts for a domain's mail: its MX, or the domain itself where there is none.
    pub async fn exchangers(&self, domain: &Domain) -> Result<Exchangers, Trouble> {
        if let Some(address) = domain.ip() {
            let host = Host {
                preference: 0,
                name: address.to_string(),
                port: self.port,
            };
            return Ok(Exchangers {
                hosts: vec![host],
                until: Instant::now() + USED.1,
            });
        }
        let lookup = match self.dns.lookup(format!("{domain}."), RecordType::MX).await {
            Ok(lookup) => lookup,
            Err(error) if error.is_nx_domain() => {
                return Err(Trouble::permanent(format!(
                    "5.1.2 the domain {domain} does not exist"
                )));
            }
            Err(error) if error.is_no_records_found() => return self.the_domain_itself(domain).await,
            Err(error) => return Err(failed(domain.as_str(), &error)),
        };
        let records = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::MX(mx) => Some(mx),
            _ => None,
        });
        let mut hosts: Vec<Host> = records
            .take(MOST_EXCHANGERS)
            .map(|mx| {
                let name = mx.exchange.to_ascii().trim_end_matches('.').to_ascii_lowercase();
                Host {
                    preference: mx.preference,
                    name,
                    port: self.port,
                }
            })
            .collect();
        hosts.sort();
        if hosts.is_empty() {
            return self.the_domain_itself(domain).await;
        }
        // RFC 7505 §3: the only record is `.`.
        hosts.retain(|host| !host.name.is_empty());
        if hosts.is_empty() {
            return Err(Trouble::permanent(format!(
                "556 5.1.10 the domain {domain} accepts no mail (null MX)"
            )));
        }
        let hosts = self.before_ourselves(domain, hosts)?;
        Ok(Exchangers {
            hosts,
            until: usable_until(lookup.valid_until()),
        })
    }

    /// The addresses of a host, as many of each family as there are, both families mixed.
    pub async fn addresses(&self, host: &Host) -> Result<Vec<IpAddr>, Trouble> {
        if let Some(address) = host.ip() {
            return Ok(vec![address]);
        }
        match self.dns.lookup_ip(format!("{}.", host.name)).await {
            Ok(found) => {
                let (mut six, mut four): (Vec<IpAddr>, Vec<IpAddr>) = found.iter().partition(IpAddr::is_ipv6);
                six.shuffle(&mut rand::rng());
                four.shuffle(&mut rand::rng());
                Ok(interleave(six, four))
            }
            Err(error) if error.is_no_records_found() => Err(Trouble::temporary(format!(
                "4.4.4 the mail exchanger {} has no address",
                host.name
            ))),
            Err(error) => Err(failed(&host.name, &error)),
        }
    }

    /// RFC 5321 §5.1: without MX records the domain itself is the exchanger, if it has an address.
    async fn the_domain_itself(&self, domain: &Domain) -> Result<Exchangers, Trouble> {
        let host = Host {
            preference: 0,
            name: domain.as_str().to_owned(),
            port: self.port,
        };
        match self.dns.lookup_ip(format!("{domain}.")).await {
            Ok(found) => {
                let until = usable_until(found.valid_until());
                Ok(Exchangers {
                    hosts: self.before_ourselves(domain, vec![host])?,
                    until,
                })
            }
            Err(error) if error.is_no_records_found() => Err(self.no_address(domain).await),
            Err(error) => Err(failed(domain.as_str(), &error)),
        }
    }

    /// "No records" of both families together is what was said of AAAA, whatever happened to the other question. Nobody's
    /// mail goes back because the server for A was silent, so that question is asked by itself.
    async fn no_address(&self, domain: &Domain) -> Trouble {
        match self.dns.lookup(format!("{domain}."), RecordType::A).await {
            Err(error) if error.is_no_records_found() => Trouble::permanent(format!(
                "5.1.2 the domain {domain} has neither mail exchanger nor address"
            )),
            Err(error) => failed(domain.as_str(), &error),
            Ok(_) => Trouble::temporary(format!("4.4.3 looking up {domain} gave no answer the first time")),
        }
    }

    /// Drops ourselves and everyone less preferred than we are (RFC 5321 §5.1): sending there would be a loop.
    fn before_ourselves(&self, domain: &Domain, mut hosts: Vec<Host>) -> Result<Vec<Host>, Trouble> {
        let ours = hosts
            .iter()
            .find(|host| host.name == self.hostname.as_str())
            .map(|host| host.preference);
        if let Some(ours) = ours {
            hosts.retain(|host| host.preference < ours);
        }
        if hosts.is_empty() {
            let reply =
                format!("5.4.6 mail for {domain} leads back to this host, which does not know the domain");
            return Err(Trouble::permanent(reply));
        }
        Ok(hosts)
    }
}

/// The order in which hosts are tried: by preference, equal ones shuffled, so that they share the load.
pub fn in_order(hosts: &[Host]) -> Vec<Host> {
    let mut hosts = hosts.to_vec();
    hosts.shuffle(&mut rand::rng());
    hosts.sort_by_key(|host| host.preference);
    hosts
}

fn failed(name: &str, error: &NetError) -> Trouble {
    Trouble::temporary(format!("4.4.3 looking up {name} failed: {error}"))
}

fn usable_until(valid: Instant) -> Instant {
    let now = Instant::now();
    valid.clamp(now + USED.0, now + USED.1)
}

fn interleave(first: Vec<IpAddr>, second: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        match (first.next(), second.next()) {
            (None, None) => return mixed,
            (one, other) => mixed.extend(one.into_iter().chain(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_preferences_are_shuffled_and_others_keep_their_order() {
        let host = |preference, name: &str| Host {
            preference,
            name: name.into(),
            port: 25,
        };
        let hosts = [host(10, "a"), host(10, "b"), host(20, "c")];
        let firsts: std::collections::HashSet<String> =
            (0..100).map(|_| in_order(&hosts)[0].name.clone()).collect();
        assert_eq!(firsts.len(), 2);
        assert!((0..100).all(|_| in_order(&hosts)[2].name == "c"));
    }

    #[test]
    fn families_are_mixed() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mixed = interleave(vec![ip("::1")], vec![ip("127.0.0.1"), ip("127.0.0.2")]);
        assert_eq!(mixed, [ip("::1"), ip("127.0.0.1"), ip("127.0.0.2")]);
    }
}
