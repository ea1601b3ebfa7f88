//! The directory over ScyllaDB or Cassandra.
//!
//! # Tables
//! ```text
//! directory_domain      bucket, name → created                one partition: read in order
//! directory_address     address → revision, id, …             what an address is: account (`id`) or alias (`targets`)
//! directory_account_id  id → address                          true if the address says so too
//! directory_list        list, kind, address                   addresses in order, see below
//! directory_secret      name → value
//! ```
//! An address is one row, so that it is an account or an alias and never both; every write of it is conditional on its `revision`, which is
//! fresh each time: a write of unknown outcome is found by it. An id is claimed before the address that gets it.
//!
//! `directory_list` are hints in order: `@domain` lists the addresses of a domain, `=x` those of all domains that begin with the byte x (in
//! hexadecimal), `>target` the aliases that name a target. A row is written before and after the address, and taken away after it; whoever takes it away
//! looks whether the address is there again. Who reads a list asks the addresses.

mod lists;
mod rows;
mod settle;
mod statements;

use std::collections::BTreeSet;

use async_trait::async_trait;
use postrider_cql::{Session, Statement};
use postrider_types::{AccountId, Domain};
use uuid::Uuid;

use self::lists::{ACCOUNT, ALIAS, lists, lists_of, target_list};
use self::rows::{AddressColumns, Meaning, domain_row, insert_values, meaning, update_values};
use self::settle::{ATTEMPTS, Check, in_doubt};
use self::statements::{
    ADDRESS, ADDRESS_SERIAL, CLAIM_ID, DELETE_ADDRESS, DELETE_DOMAIN, DOMAIN, DOMAINS, FREE_ID, ID,
    INSERT_ACCOUNT, INSERT_ALIAS, INSERT_DOMAIN, INSERT_SECRET, SECRET, SECRET_SERIAL, UPDATE_ACCOUNT,
    UPDATE_ALIAS,
};
use super::{AccountRow, AliasRow, DirectoryEngine, DomainRow, Written};
use crate::{Error, Result};

/// The directory of a cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CqlDirectory {
    session: Session,
}

impl CqlDirectory {
    /// Over a session; does no I/O.
    pub fn new(session: Session) -> Self {
        Self { session }
    }

    /// What an address is now, and its revision.
    async fn address(&self, statement: Statement, address: &str) -> Result<Option<(Uuid, Meaning)>> {
        let columns: Option<AddressColumns> = self.session.read(statement, (address,)).await?.first()?;
        columns.map(meaning).transpose()
    }

    async fn account_at(&self, statement: Statement, address: &str) -> Result<Option<(Uuid, AccountRow)>> {
        Ok(match self.address(statement, address).await? {
            Some((revision, Meaning::Account(row))) => Some((revision, row)),
            _ => None,
        })
    }

    async fn alias_at(&self, statement: Statement, address: &str) -> Result<Option<(Uuid, AliasRow)>> {
        Ok(match self.address(statement, address).await? {
            Some((revision, Meaning::Alias(row))) => Some((revision, row)),
            _ => None,
        })
    }

    async fn remove_address(&self, address: &str, revision: Uuid) -> Result<Written> {
        let key = (address, revision);
        self.settle(DELETE_ADDRESS, key, Check::Gone(address, revision))
            .await
    }
}

#[async_trait]
impl DirectoryEngine for CqlDirectory {
    async fn domain(&self, name: &Domain) -> Result<Option<DomainRow>> {
        let row: Option<(String, i64)> = self.session.read(DOMAIN, (name.as_str(),)).await?.first()?;
        row.map(domain_row).transpose()
    }

    async fn domains(&self, after: Option<&Domain>, limit: usize) -> Result<Vec<DomainRow>> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX).max(1);
        let after = after.map_or("", Domain::as_str);
        let rows = self.session.read(DOMAINS, (after, limit)).await?;
        rows.all::<(String, i64)>()?.into_iter().map(domain_row).collect()
    }

    async fn insert_domain(&self, row: DomainRow) -> Result<Written> {
        let (name, created) = (row.name.as_str(), row.created as i64);
        let check = Check::Domain(name, created);
        self.settle(INSERT_DOMAIN, (name, created), check).await
    }

    async fn remove_domain(&self, name: &Domain) -> Result<Written> {
        let in_use = !self.accounts(Some(name), None, 1).await?.is_empty()
            || !self.aliases(Some(name), None, 1).await?.is_empty();
        if in_use {
            return Ok(Written::No);
        }
        let name = name.as_str();
        self.settle(DELETE_DOMAIN, (name,), Check::NoDomain(name)).await
    }

    async fn account(&self, address: &str) -> Result<Option<AccountRow>> {
        Ok(self.account_at(ADDRESS, address).await?.map(|(_, row)| row))
    }

    async fn account_by_id(&self, id: AccountId) -> Result<Option<AccountRow>> {
        let key = (id.get() as i64,);
        let address: Option<(Option<String>,)> = self.session.read(ID, key).await?.first()?;
        let Some((Some(address),)) = address else {
            return Ok(None);
        };
        Ok(self.account(&address).await?.filter(|row| row.id == id))
    }

    async fn accounts(
        &self,
        domain: Option<&Domain>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AccountRow>> {
        let pick = |meaning| match meaning {
            Meaning::Account(row) => Some(row),
            Meaning::Alias(_) => None,
        };
        self.page(lists(domain, after), ACCOUNT, after, limit, pick).await
    }

    async fn insert_account(&self, row: AccountRow) -> Result<Written> {
        let (id, address) = (row.id.get() as i64, row.address.as_str());
        let claimed = self
            .settle(CLAIM_ID, (id, address), Check::Claimed(id, address))
            .await?;
        // An earlier insert of the same account may have come this far.
        if claimed == Written::No && self.look(&Check::Claimed(id, address)).await? != Some(Written::Yes) {
            return Ok(Written::No);
        }
        let lists = lists_of(address, &[]);
        self.enlist(ACCOUNT, address, &lists).await?;
        let ours = Uuid::new_v4();
        let check = Check::Revision {
            address,
            ours,
            before: None,
        };
        let written = self
            .settle(INSERT_ACCOUNT, insert_values(&row, ours), check)
            .await?;
        if written == Written::Yes {
            self.enlist(ACCOUNT, address, &lists).await.map_err(in_doubt)?;
            return Ok(written);
        }
        // The id is free again, unless it is this very account that is there.
        let there = self.account_at(ADDRESS_SERIAL, address).await?;
        if there.as_ref().is_none_or(|(_, there)| there.id != row.id) {
            self.session.conditional(FREE_ID, (id, address)).await?;
        }
        if there.is_none() {
            self.delist(ACCOUNT, address, &lists).await?;
        }
        Ok(Written::No)
    }

    async fn update_account(&self, old: &AccountRow, new: AccountRow) -> Result<Written> {
        if (old.id, &old.address) != (new.id, &new.address) {
            return Err(Error::Invalid("an account keeps its address and id".into()));
        }
        let found = self.account_at(ADDRESS, &old.address).await?;
        let Some((before, _)) = found.filter(|(_, found)| found == old) else {
            return Ok(Written::No);
        };
        let ours = Uuid::new_v4();
        let check = Check::Revision {
            address: &new.address,
            ours,
            before: Some(before),
        };
        let values = update_values(&new, ours, before);
        self.settle(UPDATE_ACCOUNT, values, check).await
    }

    async fn remove_account(&self, address: &str) -> Result<Written> {
        let Some((revision, row)) = self.account_at(ADDRESS_SERIAL, address).await? else {
            return Ok(Written::No);
        };
        let written = self.remove_address(address, revision).await?;
        if written == Written::Yes {
            // Both are read with the address only, so that what stays of them says nothing.
            let id = (row.id.get() as i64, address);
            let freed = self.session.conditional(FREE_ID, id).await;
            freed.map_err(|error| in_doubt(error.into()))?;
            let lists = lists_of(address, &[]);
            self.delist(ACCOUNT, address, &lists).await.map_err(in_doubt)?;
        }
        Ok(written)
    }

    async fn alias(&self, address: &str) -> Result<Option<AliasRow>> {
        Ok(self.alias_at(ADDRESS, address).await?.map(|(_, row)| row))
    }

    async fn aliases(
        &self,
        domain: Option<&Domain>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AliasRow>> {
        let pick = |meaning| match meaning {
            Meaning::Alias(row) => Some(row),
            Meaning::Account(_) => None,
        };
        self.page(lists(domain, after), ALIAS, after, limit, pick).await
    }

    async fn put_alias(&self, old: Option<&AliasRow>, new: AliasRow) -> Result<Written> {
        if old.is_some_and(|old| old.address != new.address) {
            return Err(Error::Invalid("an alias keeps its address".into()));
        }
        if new.targets.is_empty() {
            return Err(Error::Invalid("an alias has at least one target".into()));
        }
        let address = new.address.as_str();
        let before = match old {
            None => None,
            Some(old) => match self.alias_at(ADDRESS, address).await? {
                Some((revision, found)) if found == *old => Some(revision),
                _ => return Ok(Written::No),
            },
        };
        let lists = lists_of(address, &new.targets);
        self.enlist(ALIAS, address, &lists).await?;
        let ours = Uuid::new_v4();
        let check = Check::Revision {
            address,
            ours,
            before,
        };
        let written = match before {
            None => {
                let values = (address, ours, &new.targets);
                self.settle(INSERT_ALIAS, values, check).await?
            }
            Some(before) => {
                let values = (ours, &new.targets, address, before);
                self.settle(UPDATE_ALIAS, values, check).await?
            }
        };
        match (written, old) {
            (Written::Yes, old) => {
                self.enlist(ALIAS, address, &lists).await.map_err(in_doubt)?;
                let had = old.map_or_else(BTreeSet::new, |old| lists_of(address, &old.targets));
                let gone: BTreeSet<String> = had.difference(&lists).cloned().collect();
                if !gone.is_empty() {
                    self.delist(ALIAS, address, &gone).await.map_err(in_doubt)?;
                }
            }
            // Hints to what did not come to be.
            (Written::No, _) => self.delist(ALIAS, address, &lists).await?,
        }
        Ok(written)
    }

    async fn remove_alias(&self, address: &str) -> Result<Written> {
        let Some((revision, row)) = self.alias_at(ADDRESS_SERIAL, address).await? else {
            return Ok(Written::No);
        };
        let written = self.remove_address(address, revision).await?;
        if written == Written::Yes {
            let lists = lists_of(address, &row.targets);
            self.delist(ALIAS, address, &lists).await.map_err(in_doubt)?;
        }
        Ok(written)
    }

    async fn aliases_to(&self, target: &str, after: Option<&str>, limit: usize) -> Result<Vec<AliasRow>> {
        let pick = |meaning| match meaning {
            Meaning::Alias(row) if row.targets.iter().any(|other| other == target) => Some(row),
            _ => None,
        };
        let list = std::iter::once(target_list(target));
        self.page(list, ALIAS, after, limit, pick).await
    }

    async fn secret(&self, name: &str, fresh: &[u8]) -> Result<Vec<u8>> {
        if let Some((Some(value),)) = self
            .session
            .read(SECRET, (name,))
            .await?
            .first::<(Option<Vec<u8>>,)>()?
        {
            return Ok(value);
        }
        for _ in 0..ATTEMPTS {
            // Whatever the outcome: what stands there then is the secret.
            self.session.conditional(INSERT_SECRET, (name, fresh)).await?;
            let rows = self.session.read(SECRET_SERIAL, (name,)).await?;
            if let Some((Some(value),)) = rows.first::<(Option<Vec<u8>>,)>()? {
                return Ok(value);
            }
        }
        Err(Error::Unavailable(format!(
            "the secret {name} could not be stored"
        )))
    }
}

#[cfg(test)]
mod tests;
