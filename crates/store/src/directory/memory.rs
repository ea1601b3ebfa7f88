//! The directory in memory: for tests, and for a node that keeps nothing.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use parking_lot::Mutex;
use postrider_types::{AccountId, Domain};

use super::{AccountRow, AliasRow, DirectoryEngine, DomainRow, Written, domain_of};
use crate::{Error, Result};

/// All rows of a directory behind one lock, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryDirectory(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    domains: BTreeMap<Domain, DomainRow>,
    accounts: BTreeMap<String, AccountRow>,
    addresses: BTreeMap<AccountId, String>,
    aliases: BTreeMap<String, AliasRow>,
    secrets: BTreeMap<String, Vec<u8>>,
}

impl MemoryDirectory {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl DirectoryEngine for MemoryDirectory {
    async fn domain(&self, name: &Domain) -> Result<Option<DomainRow>> {
        Ok(self.0.lock().domains.get(name).cloned())
    }

    async fn domains(&self, after: Option<&Domain>, limit: usize) -> Result<Vec<DomainRow>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let tables = self.0.lock();
        Ok(tables
            .domains
            .range::<Domain, _>((start, Bound::Unbounded))
            .take(limit)
            .map(|(_, row)| row.clone())
            .collect())
    }

    async fn insert_domain(&self, row: DomainRow) -> Result<Written> {
        let mut tables = self.0.lock();
        if tables.domains.contains_key(&row.name) {
            return Ok(Written::No);
        }
        tables.domains.insert(row.name.clone(), row);
        Ok(Written::Yes)
    }

    async fn remove_domain(&self, name: &Domain) -> Result<Written> {
        let mut tables = self.0.lock();
        let mut addresses = tables.accounts.keys().chain(tables.aliases.keys());
        if addresses.any(|address| domain_of(address) == name.as_str()) {
            return Ok(Written::No);
        }
        Ok(written(tables.domains.remove(name).is_some()))
    }

    async fn account(&self, address: &str) -> Result<Option<AccountRow>> {
        Ok(self.0.lock().accounts.get(address).cloned())
    }

    async fn account_by_id(&self, id: AccountId) -> Result<Option<AccountRow>> {
        let tables = self.0.lock();
        Ok(tables
            .addresses
            .get(&id)
            .and_then(|address| tables.accounts.get(address))
            .cloned())
    }

    async fn accounts(
        &self,
        domain: Option<&Domain>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AccountRow>> {
        Ok(page(&self.0.lock().accounts, domain, after, limit, |_| true))
    }

    async fn insert_account(&self, row: AccountRow) -> Result<Written> {
        let mut tables = self.0.lock();
        if tables.accounts.contains_key(&row.address)
            || tables.aliases.contains_key(&row.address)
            || tables.addresses.contains_key(&row.id)
        {
            return Ok(Written::No);
        }
        tables.addresses.insert(row.id, row.address.clone());
        tables.accounts.insert(row.address.clone(), row);
        Ok(Written::Yes)
    }

    async fn update_account(&self, old: &AccountRow, new: AccountRow) -> Result<Written> {
        if (old.id, &old.address) != (new.id, &new.address) {
            return Err(Error::Invalid("an account keeps its address and id".into()));
        }
        let mut tables = self.0.lock();
        match tables.accounts.get_mut(&old.address) {
            Some(stored) if stored == old => {
                *stored = new;
                Ok(Written::Yes)
            }
            _ => Ok(Written::No),
        }
    }

    async fn remove_account(&self, address: &str) -> Result<Written> {
        let mut tables = self.0.lock();
        let removed = tables.accounts.remove(address);
        if let Some(row) = &removed {
            tables.addresses.remove(&row.id);
        }
        Ok(written(removed.is_some()))
    }

    async fn alias(&self, address: &str) -> Result<Option<AliasRow>> {
        Ok(self.0.lock().aliases.get(address).cloned())
    }

    async fn aliases(
        &self,
        domain: Option<&Domain>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AliasRow>> {
        Ok(page(&self.0.lock().aliases, domain, after, limit, |_| true))
    }

    async fn put_alias(&self, old: Option<&AliasRow>, new: AliasRow) -> Result<Written> {
        if old.is_some_and(|old| old.address != new.address) {
            return Err(Error::Invalid("an alias keeps its address".into()));
        }
        if new.targets.is_empty() {
            return Err(Error::Invalid("an alias has at least one target".into()));
        }
        let mut tables = self.0.lock();
        if tables.aliases.get(&new.address) != old || tables.accounts.contains_key(&new.address) {
            return Ok(Written::No);
        }
        tables.aliases.insert(new.address.clone(), new);
        Ok(Written::Yes)
    }

    async fn remove_alias(&self, address: &str) -> Result<Written> {
        Ok(written(self.0.lock().aliases.remove(address).is_some()))
    }

    async fn aliases_to(&self, target: &str, after: Option<&str>, limit: usize) -> Result<Vec<AliasRow>> {
        let has_target = |row: &AliasRow| row.targets.iter().any(|other| other == target);
        Ok(page(&self.0.lock().aliases, None, after, limit, has_target))
    }

    async fn secret(&self, name: &str, fresh: &[u8]) -> Result<Vec<u8>> {
        Ok(self
            .0
            .lock()
            .secrets
            .entry(name.to_owned())
            .or_insert_with(|| fresh.to_vec())
            .clone())
    }
}

fn page<T: Clone>(
    rows: &BTreeMap<String, T>,
    domain: Option<&Domain>,
    after: Option<&str>,
    limit: usize,
    wanted: impl Fn(&T) -> bool,
) -> Vec<T> {
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    rows.range::<str, _>((start, Bound::Unbounded))
        .filter(|(address, row)| {
            domain.is_none_or(|domain| domain_of(address) == domain.as_str()) && wanted(row)
        })
        .take(limit)
        .map(|(_, row)| row.clone())
        .collect()
}

fn written(done: bool) -> Written {
    if done { Written::Yes } else { Written::No }
}

#[cfg(test)]
mod tests {
    async fn open_fresh() -> (super::MemoryDirectory, ()) {
        (super::MemoryDirectory::new(), ())
    }

    crate::directory_suite!(open_fresh);
}
