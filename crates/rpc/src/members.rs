//! Which instances a service has, and which of them is asked.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use arc_swap::ArcSwap;
use http::Uri;
use postrider_types::AccountId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::instance::Instance;
use crate::tls::Mutual;

/// How often names are looked up again.
const LOOK_UP_EVERY: Duration = Duration::from_secs(5);

/// How long the first call waits for the first answer of the resolver.
const FIRST_LOOK_UP: Duration = Duration::from_secs(5);

/// Where a service is: one URL or several, separated by commas; each name may stand for many addresses, and each address is one
/// instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    places: Vec<(String, u16)>,
}

impl FromStr for ServiceUrl {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut places = Vec::new();
        for url in text.split(',').map(str::trim) {
            let uri: Uri = url.parse().with_context(|| format!("`{url}` is not a URL"))?;
            // Whether TLS is spoken is said by the certificates, for all services at once.
            ensure!(
                matches!(uri.scheme_str(), Some("http" | "https")),
                "`{url}` must begin with http://"
            );
            let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
                bail!("`{url}` must name a host and a port, as in http://mail-store:7025");
            };
            places.push((host.trim_matches(['[', ']']).to_owned(), port));
        }
        Ok(Self { places })
    }
}

/// The instances of a service, kept up to date.
pub(crate) struct Members {
    service: String,
    url: ServiceUrl,
    mutual: Option<Arc<Mutual>>,
    current: ArcSwap<Vec<Arc<Instance>>>,
    found: tokio::sync::watch::Sender<bool>,
}

impl Members {
    /// Begins to look for the instances; goes on until the last clone of the answer is dropped.
    pub(crate) fn follow(service: &str, url: ServiceUrl, mutual: Option<Arc<Mutual>>) -> Arc<Self> {
        let members = Arc::new(Self {
            service: service.to_owned(),
            url,
            mutual,
            current: ArcSwap::default(),
            found: tokio::sync::watch::channel(false).0,
        });
        let following = Arc::downgrade(&members);
        tokio::spawn(async move {
            while let Some(members) = following.upgrade() {
                members.look_up().await;
                drop(members);
                tokio::time::sleep(LOOK_UP_EVERY).await;
            }
        });
        members
    }

    /// The instances of this moment; waits for the first look-up.
    pub(crate) async fn all(&self) -> Arc<Vec<Arc<Instance>>> {
        if !*self.found.borrow() {
            let mut found = self.found.subscribe();
            let _ = tokio::time::timeout(FIRST_LOOK_UP, found.wait_for(|found| *found)).await;
        }
        self.current.load_full()
    }

    /// Looks all names up. An instance that is still there keeps its connection; a name that cannot be looked up
    /// keeps the instances it had.
    async fn look_up(&self) {
        let old = self.current.load_full();
        let mut new: Vec<Arc<Instance>> = Vec::new();
        for (host, port) in &self.url.places {
            let addresses: Vec<SocketAddr> = match tokio::net::lookup_host((host.as_str(), *port)).await {
                Ok(addresses) => addresses.collect(),
                Err(error) => {
                    tracing::warn!(service = %self.service, %host, "cannot be looked up: {error}");
                    if !old.is_empty() {
                        return;
                    }
                    continue;
                }
            };
            for address in addresses {
                if new.iter().any(|instance| instance.address == address) {
                    continue;
                }
                let known = old.iter().find(|instance| instance.address == address);
                new.push(
                    known
                        .cloned()
                        .unwrap_or_else(|| Instance::new(&self.service, host, address, self.mutual.as_ref())),
                );
            }
        }
        if new.len() != old.len() || new.iter().any(|instance| !holds(&old, instance)) {
            let addresses: Vec<_> = new.iter().map(|instance| instance.address).collect();
            tracing::info!(service = %self.service, instances = ?addresses, "instances");
            self.current.store(Arc::new(new));
        }
        if !self.current.load().is_empty() {
            self.found.send_replace(true);
        }
    }
}

fn holds(instances: &[Arc<Instance>], wanted: &Arc<Instance>) -> bool {
    instances.iter().any(|instance| Arc::ptr_eq(instance, wanted))
}

/// The instance to ask: of those not yet `tried`, first those that answer; among them the account's own by rendezvous hashing (it
/// changes for an account only when its instance comes or goes), or without an account the less busy of two drawn by lot.
pub(crate) fn choose(
    instances: &[Arc<Instance>],
    account: Option<AccountId>,
    tried: &[SocketAddr],
) -> Option<Arc<Instance>> {
    let open = |instance: &&Arc<Instance>| !tried.contains(&instance.address);
    let mut candidates: Vec<_> = instances
        .iter()
        .filter(open)
        .filter(|instance| instance.is_in())
        .collect();
    if candidates.is_empty() {
        candidates = instances.iter().filter(open).collect();
    }
    let chosen = match account {
        Some(account) => candidates
            .into_iter()
            .max_by_key(|instance| weight(account, instance.address)),
        None => {
            let drawn = || candidates.get(rand::random_range(0..candidates.len().max(1)));
            let (one, other) = (drawn()?, drawn()?);
            Some(if one.load() <= other.load() { *one } else { *other })
        }
    };
    chosen.cloned()
}

/// How much an instance is an account's (highest random weight hashing).
fn weight(account: AccountId, address: SocketAddr) -> u64 {
    let mut bytes = [0; 18];
    let (ip, port) = bytes.split_at_mut(16);
    ip.copy_from_slice(&match address.ip() {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        std::net::IpAddr::V6(ip) => ip.octets(),
    });
    port.copy_from_slice(&address.port().to_be_bytes());
    xxh3_64_with_seed(&bytes, account.get())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn instances(count: u8) -> Vec<Arc<Instance>> {
        (1..=count)
            .map(|last| Instance::new("test", "test", ([127, 0, 0, last], 7025).into(), None))
            .collect()
    }

    #[test]
    fn urls_are_read() {
        let url: ServiceUrl = "http://a:1, http://[::1]:2,https://c.example:3".parse().unwrap();
        let places: Vec<_> = url
            .places
            .iter()
            .map(|(host, port)| (host.as_str(), *port))
            .collect();
        assert_eq!(places, [("a", 1), ("::1", 2), ("c.example", 3)]);
        for wrong in ["", "a:1", "http://a", "ftp://a:1", "http://a:1,"] {
            assert!(wrong.parse::<ServiceUrl>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn accounts_are_spread_and_few_move_when_an_instance_leaves() {
        let all = instances(5);
        let mut shares: HashMap<SocketAddr, usize> = HashMap::new();
        let mut moved = 0;
        for account in (0..5000).map(AccountId::new) {
            let before = choose(&all, Some(account), &[]).unwrap().address;
            let after = choose(&all[1..], Some(account), &[]).unwrap().address;
            *shares.entry(before).or_default() += 1;
            moved += usize::from(before != after);
            assert!(
                before == after || before == all[0].address,
                "only those of the one that left move"
            );
        }
        assert!(
            shares.len() == 5 && shares.values().all(|share| (800..1200).contains(share)),
            "{shares:?}"
        );
        assert_eq!(moved, shares[&all[0].address]);
    }

    #[tokio::test]
    async fn one_that_does_not_answer_is_asked_last() {
        let all = instances(2);
        let account = AccountId::new(7);
        let own = choose(&all, Some(account), &[]).unwrap();
        own.leave_out("a test");
        let second = choose(&all, Some(account), &[]).unwrap();
        assert_ne!(own.address, second.address);
        second.leave_out("a test");
        assert_eq!(choose(&all, Some(account), &[]).unwrap().address, own.address);
        assert_eq!(
            choose(&all, None, &[own.address]).unwrap().address,
            second.address
        );
        assert!(choose(&all, None, &[own.address, second.address]).is_none());
    }

    #[tokio::test]
    async fn a_name_that_stands_for_many_is_followed() {
        let members = Members::follow(
            "test",
            "http://127.0.0.1:1,http://127.0.0.2:1".parse().unwrap(),
            None,
        );
        assert_eq!(members.all().await.len(), 2);
        let first = members.all().await[0].clone();
        members.look_up().await;
        assert!(
            holds(&members.all().await, &first),
            "a connection outlives the look-up"
        );
    }
}
