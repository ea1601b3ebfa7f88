//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The listener has as many connections as it may have.
    TooMany,
    /// This address has as many connections as one address may have.
    TooManyFromAddress,
    /// The node is shutting down.
    ShuttingDown,
}

/// Counts connections; cheap to clone. IPv6 clients are counted by their /64, which is one customer.
#[derive(Clone)]
pub struct Admission(Arc<Shared>);

struct Shared {
    most: usize,
    most_per_address: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: usize,
    by_address: HashMap<IpAddr, u32>,
}

/// A connection that is let in, until it is dropped.
pub struct Admitted {
    admission: Admission,
    key: IpAddr,
}

impl Admission {
    /// Limits for one listener; 0 is no limit.
    pub fn new(most: usize, most_per_address: usize) -> Self {
        let no_limit = |limit| if limit == 0 { usize::MAX } else { limit };
        Self(Arc::new(Shared {
            most: no_limit(most),
            most_per_address: no_limit(most_per_address),
            state: Mutex::default(),
        }))
    }

    /// Lets a connection in, or says why not.
    pub fn admit(&self, address: IpAddr) -> Result<Admitted, Refusal> {
        let key = key(address);
        let mut state = self.0.state.lock();
        if state.open >= self.0.most {
            return Err(Refusal::TooMany);
        }
        let count = state.by_address.entry(key).or_insert(0);
        if *count as usize >= self.0.most_per_address {
            return Err(Refusal::TooManyFromAddress);
        }
        *count += 1;
        state.open += 1;
        Ok(Admitted {
            admission: self.clone(),
            key,
        })
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.0.state.lock().open
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut state = self.admission.0.state.lock();
        state.open -= 1;
        if let Some(count) = state.by_address.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                state.by_address.remove(&self.key);
            }
        }
        // After a flood the table would keep its size for ever.
        if state.by_address.capacity() > 1024 && state.by_address.len() < state.by_address.capacity() / 8 {
            state.by_address.shrink_to_fit();
        }
    }
}

fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !0 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_and_places_come_back() {
        let admission = Admission::new(3, 2);
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let two: IpAddr = "192.0.2.2".parse().unwrap();
        let first = admission.admit(one).unwrap();
        let _second = admission.admit(one).unwrap();
        assert_eq!(admission.admit(one).err(), Some(Refusal::TooManyFromAddress));
        let _third = admission.admit(two).unwrap();
        assert_eq!(admission.admit(two).err(), Some(Refusal::TooMany));
        drop(first);
        assert!(admission.admit(one).is_ok());
        assert_eq!(admission.open(), 2);
    }

    #[test]
    fn one_customer_is_one_ipv6_network() {
        let admission = Admission::new(0, 1);
        let _first = admission.admit("2001:db8::1".parse().unwrap()).unwrap();
        assert!(admission.admit("2001:db8::ffff".parse().unwrap()).is_err());
        assert!(admission.admit("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }
}
