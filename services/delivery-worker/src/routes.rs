//! The static table that overrides DNS: tests, smart hosts.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};

use postrider_types::Domain;

/// A host to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    /// The lower comes first (RFC 5321 §5.1).
    pub preference: u16,
    /// A name, or an address.
    pub name: String,
    /// TCP port.
    pub port: u16,
}

impl Host {
    /// The address, when it is named by one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.name.parse().ok()
    }
}

/// A route that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("outbound.routes: `{0}` is not {1}")]
pub struct RouteError(String, &'static str);

/// Destination domain to host.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    domains: HashMap<Domain, Host>,
    otherwise: Option<Host>,
}

impl Routes {
    /// Reads `"crepes.fr" = "127.0.0.1:3525"` and the like; without a port it is 25, and `*` stands for every domain that has
    /// no route of its own (a smart host).
    pub fn parse(table: &BTreeMap<String, String>) -> Result<Self, RouteError> {
        let mut routes = Self::default();
        for (domain, host) in table {
            let host = parse_host(host).ok_or_else(|| RouteError(host.clone(), "host[:port]"))?;
            if domain == "*" {
                routes.otherwise = Some(host);
            } else {
                let domain = Domain::new(domain).map_err(|_| RouteError(domain.clone(), "a domain"))?;
                routes.domains.insert(domain, host);
            }
        }
        Ok(routes)
    }

    /// Where mail for a domain goes, when the table says so.
    pub fn get(&self, domain: &Domain) -> Option<&Host> {
        self.domains.get(domain).or(self.otherwise.as_ref())
    }
}

/// Reads `host`, `host:port`, `[v6]:port` or an address.
pub fn parse_host(text: &str) -> Option<Host> {
    let host = |name: &str, port: u16| {
        let name = name.trim_end_matches('.');
        let valid =
            name.parse::<IpAddr>().is_ok() || Domain::new(name).is_ok_and(|domain| domain.ip().is_none());
        (valid && port != 0).then(|| Host {
            preference: 0,
            name: name.to_ascii_lowercase(),
            port,
        })
    };
    if text.parse::<Ipv6Addr>().is_ok() {
        return host(text, 25);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let address = address.strip_prefix("IPv6:").unwrap_or(address);
        return match rest.strip_prefix(':') {
            Some(port) => host(address, port.parse().ok()?),
            None if rest.is_empty() => host(address, 25),
            None => None,
        };
    }
    match text.rsplit_once(':') {
        Some((name, port)) => host(name, port.parse().ok()?),
        None => host(text, 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read() {
        let read = |text: &str| parse_host(text).map(|host| (host.name, host.port));
        let is = |name: &str, port| Some((name.to_owned(), port));
        assert_eq!(read("127.0.0.1:3525"), is("127.0.0.1", 3525));
        assert_eq!(read("Relay.Example."), is("relay.example", 25));
        assert_eq!(read("[::1]:2525"), is("::1", 2525));
        assert_eq!(read("[IPv6:::1]"), is("::1", 25));
        assert_eq!(read("::1"), is("::1", 25));
        for wrong in ["", ":25", "a b:25", "a:0", "a:x", "[::1]25", "a:99999"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_table_knows_its_domains_and_the_rest() {
        let table = |rows: &[(&str, &str)]| rows.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        let routes = Routes::parse(&table(&[("Crepes.FR", "127.0.0.1:3525")])).unwrap();
        assert_eq!(
            routes
                .get(&Domain::new("crepes.fr").unwrap())
                .map(|host| host.port),
            Some(3525)
        );
        assert_eq!(routes.get(&Domain::new("hamburger.edu").unwrap()), None);
        let routes = Routes::parse(&table(&[("*", "relay.example")])).unwrap();
        assert!(routes.get(&Domain::new("hamburger.edu").unwrap()).is_some());
        assert!(Routes::parse(&table(&[("a..b", "relay.example")])).is_err());
    }
}
