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

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures::future::try_join_all;
use postrider_cql::{Conditional, DeserializeRow, SerializeRow, Session, Statement};
use postrider_types::{AccountId, Domain};
use uuid::Uuid;

use super::{
    AccountRow, AliasRow, AppPasswordRow, Credential, DirectoryEngine, DomainRow, Written, domain_of,
};
use crate::{Error, Result};

const DOMAIN: Statement =
    Statement::read("SELECT name, created FROM directory_domain WHERE bucket = 0 AND name = ?");
const DOMAINS: Statement =
    Statement::read("SELECT name, created FROM directory_domain WHERE bucket = 0 AND name > ? LIMIT ?");
const DOMAIN_SERIAL: Statement =
    Statement::serial_read("SELECT name, created FROM directory_domain WHERE bucket = 0 AND name = ?");
const INSERT_DOMAIN: Statement = Statement::conditional(
    "INSERT INTO directory_domain (bucket, name, created) VALUES (0, ?, ?) IF NOT EXISTS",
);
const DELETE_DOMAIN: Statement =
    Statement::conditional("DELETE FROM directory_domain WHERE bucket = 0 AND name = ? IF EXISTS");

macro_rules! address {
    () => {
        "SELECT address, revision, id, display_name, enabled, quota, created, credential_version, argon2id, salt, iterations, \
         stored_key, server_key, app_passwords, targets FROM directory_address WHERE address = ?"
    };
}
const ADDRESS: Statement = Statement::read(address!());
const ADDRESS_SERIAL: Statement = Statement::serial_read(address!());
const INSERT_ACCOUNT: Statement = Statement::conditional(
    "INSERT INTO directory_address (address, revision, id, display_name, enabled, quota, created, credential_version, \
     argon2id, salt, iterations, stored_key, server_key, app_passwords) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
     IF NOT EXISTS",
);
const UPDATE_ACCOUNT: Statement = Statement::conditional(
    "UPDATE directory_address SET revision = ?, display_name = ?, enabled = ?, quota = ?, created = ?, \
     credential_version = ?, argon2id = ?, salt = ?, iterations = ?, stored_key = ?, server_key = ?, app_passwords = ? \
     WHERE address = ? IF revision = ?",
);
const INSERT_ALIAS: Statement = Statement::conditional(
    "INSERT INTO directory_address (address, revision, targets) VALUES (?, ?, ?) IF NOT EXISTS",
);
const UPDATE_ALIAS: Statement = Statement::conditional(
    "UPDATE directory_address SET revision = ?, targets = ? WHERE address = ? IF revision = ?",
);
const DELETE_ADDRESS: Statement =
    Statement::conditional("DELETE FROM directory_address WHERE address = ? IF revision = ?");

const ID: Statement = Statement::read("SELECT address FROM directory_account_id WHERE id = ?");
const ID_SERIAL: Statement = Statement::serial_read("SELECT address FROM directory_account_id WHERE id = ?");
const CLAIM_ID: Statement =
    Statement::conditional("INSERT INTO directory_account_id (id, address) VALUES (?, ?) IF NOT EXISTS");
const FREE_ID: Statement =
    Statement::conditional("DELETE FROM directory_account_id WHERE id = ? IF address = ?");

const LIST: Statement =
    Statement::read("SELECT address FROM directory_list WHERE list = ? AND kind = ? AND address > ? LIMIT ?");
const PUT_LISTED: Statement =
    Statement::write("INSERT INTO directory_list (list, kind, address) VALUES (?, ?, ?)");
const DELETE_LISTED: Statement =
    Statement::write("DELETE FROM directory_list WHERE list = ? AND kind = ? AND address = ?");

const SECRET_SERIAL: Statement = Statement::serial_read("SELECT value FROM directory_secret WHERE name = ?");
const SECRET: Statement = Statement::read("SELECT value FROM directory_secret WHERE name = ?");
const INSERT_SECRET: Statement =
    Statement::conditional("INSERT INTO directory_secret (name, value) VALUES (?, ?) IF NOT EXISTS");

/// `directory_list.kind`
const ACCOUNT: i8 = 0;
const ALIAS: i8 = 1;

/// Addresses asked at the same time.
const AT_ONCE: usize = 32;
/// How often a write of unknown outcome is sent.
const ATTEMPTS: u32 = 3;

/// The directory of a cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CqlDirectory {
    session: Session,
}

/// A row of `directory_address`.
#[derive(Debug, Clone, DeserializeRow)]
#[scylla(crate = postrider_cql::driver)]
struct AddressColumns {
    address: String,
    revision: Option<Uuid>,
    id: Option<i64>,
    display_name: Option<String>,
    enabled: Option<bool>,
    quota: Option<i64>,
    created: Option<i64>,
    credential_version: Option<i64>,
    argon2id: Option<String>,
    salt: Option<Vec<u8>>,
    iterations: Option<i64>,
    stored_key: Option<Vec<u8>>,
    server_key: Option<Vec<u8>>,
    app_passwords: Option<Vec<AppPasswordColumns>>,
    targets: Option<Vec<String>>,
}

/// `id, label, created, sha256`
type AppPasswordColumns = (String, String, i64, Vec<u8>);

/// What an address is.
enum Meaning {
    Account(AccountRow),
    Alias(AliasRow),
}

/// By what a conditional write is found again when its outcome is unknown.
enum Check<'a> {
    /// A domain with this creation time. Two who insert a domain at the same millisecond and hear nothing may both be told that they did.
    Domain(&'a str, i64),
    /// The domain is gone.
    NoDomain(&'a str),
    /// The id belongs to this address.
    Claimed(i64, &'a str),
    /// The address has our revision, not the one from before.
    Revision {
        address: &'a str,
        ours: Uuid,
        before: Option<Uuid>,
    },
    /// The address no longer has this revision.
    Gone(&'a str, Uuid),
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

    /// Runs a conditional write until its outcome is known.
    async fn settle(
        &self,
        statement: Statement,
        values: impl SerializeRow + Send + Sync,
        check: Check<'_>,
    ) -> Result<Written> {
        let mut reason = None;
        for _ in 0..ATTEMPTS {
            match self.session.conditional(statement, &values).await {
                Ok(Conditional::Applied) => return Ok(Written::Yes),
                Ok(Conditional::NotApplied(_)) if reason.is_none() => return Ok(Written::No),
                // An earlier try may have been.
                Ok(Conditional::NotApplied(_)) => {
                    return Ok(self.look(&check).await?.unwrap_or(Written::No));
                }
                Ok(Conditional::Unknown(text)) => {
                    if let Some(written) = self.look(&check).await? {
                        return Ok(written);
                    }
                    reason = Some(text);
                }
                Err(error) if reason.is_none() => return Err(error.into()),
                Err(error) => reason = Some(error.to_string()),
            }
        }
        Err(Error::Unknown(reason.unwrap_or_default()))
    }

    /// Reads back serially whether a write was done; `None`: not, and it may be tried again.
    async fn look(&self, check: &Check<'_>) -> Result<Option<Written>> {
        let yes_if = |yes| if yes { Written::Yes } else { Written::No };
        match *check {
            Check::Domain(name, created) => {
                let rows = self.session.read(DOMAIN_SERIAL, (name,)).await?;
                let found: Option<(String, i64)> = rows.first()?;
                Ok(found.map(|(_, found)| yes_if(found == created)))
            }
            Check::NoDomain(name) => {
                let rows = self.session.read(DOMAIN_SERIAL, (name,)).await?;
                Ok(rows.is_empty().then_some(Written::Yes))
            }
            Check::Claimed(id, address) => {
                let rows = self.session.read(ID_SERIAL, (id,)).await?;
                let found: Option<(Option<String>,)> = rows.first()?;
                Ok(found.map(|(found,)| yes_if(found.as_deref() == Some(address))))
            }
            Check::Revision {
                address,
                ours,
                before,
            } => {
                let now = self.address(ADDRESS_SERIAL, address).await?;
                let now = now.map(|(revision, _)| revision);
                // A third one came after ours, if ours was written at all; its writer has seen which.
                Ok((now != before).then(|| yes_if(now == Some(ours))))
            }
            Check::Gone(address, revision) => {
                let now = self.address(ADDRESS_SERIAL, address).await?;
                let still = now.is_some_and(|(now, _)| now == revision);
                Ok((!still).then_some(Written::Yes))
            }
        }
    }

    /// Writes rows of lists.
    async fn enlist(&self, kind: i8, address: &str, lists: &BTreeSet<String>) -> Result<()> {
        let put = |list: &String| {
            let values = (list.clone(), kind, address.to_owned());
            self.session.write(PUT_LISTED, values)
        };
        try_join_all(lists.iter().map(put)).await?;
        Ok(())
    }

    /// Takes rows of lists away, unless the address is there again and belongs there.
    async fn delist(&self, kind: i8, address: &str, lists: &BTreeSet<String>) -> Result<()> {
        let delete = |list: &String| {
            let values = (list.clone(), kind, address.to_owned());
            self.session.write(DELETE_LISTED, values)
        };
        try_join_all(lists.iter().map(delete)).await?;
        let again = match self.address(ADDRESS_SERIAL, address).await? {
            Some((_, Meaning::Account(_))) if kind == ACCOUNT => lists_of(address, &[]),
            Some((_, Meaning::Alias(row))) if kind == ALIAS => lists_of(address, &row.targets),
            _ => return Ok(()),
        };
        self.enlist(kind, address, &again).await
    }

    /// Addresses of a list above `after`, whatever they are now.
    async fn listed(&self, list: &str, kind: i8, after: &str, limit: usize) -> Result<Vec<String>> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX).max(1);
        let rows = self.session.read(LIST, (list, kind, after, limit)).await?;
        Ok(rows
            .all::<(String,)>()?
            .into_iter()
            .map(|(address,)| address)
            .collect())
    }

    /// A page of what is at the addresses of some lists, one list after the other.
    async fn page<T>(
        &self,
        lists: impl Iterator<Item = String>,
        kind: i8,
        after: Option<&str>,
        limit: usize,
        pick: impl Fn(Meaning) -> Option<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        for list in lists {
            let mut after = after.unwrap_or_default().to_owned();
            while found.len() < limit {
                let wanted = (limit - found.len()).clamp(1, 1000);
                let addresses = self.listed(&list, kind, &after, wanted).await?;
                let last = addresses.len() < wanted;
                for some in addresses.chunks(AT_ONCE) {
                    let read = async |address: &String| self.address(ADDRESS, address).await;
                    let rows = try_join_all(some.iter().map(read)).await?;
                    found.extend(
                        rows.into_iter()
                            .flatten()
                            .filter_map(|(_, meaning)| pick(meaning)),
                    );
                }
                if last {
                    break;
                }
                after = addresses.last().cloned().unwrap_or_default();
            }
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
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
            self.enlist(ACCOUNT, address, &lists).await?;
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
            self.session
                .conditional(FREE_ID, (row.id.get() as i64, address))
                .await?;
            self.delist(ACCOUNT, address, &lists_of(address, &[])).await?;
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
                self.enlist(ALIAS, address, &lists).await?;
                let had = old.map_or_else(BTreeSet::new, |old| lists_of(address, &old.targets));
                let gone: BTreeSet<String> = had.difference(&lists).cloned().collect();
                if !gone.is_empty() {
                    self.delist(ALIAS, address, &gone).await?;
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
            self.delist(ALIAS, address, &lists_of(address, &row.targets))
                .await?;
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

impl CqlDirectory {
    async fn remove_address(&self, address: &str, revision: Uuid) -> Result<Written> {
        let key = (address, revision);
        self.settle(DELETE_ADDRESS, key, Check::Gone(address, revision))
            .await
    }
}

/// The lists to read for a page, in order.
fn lists(domain: Option<&Domain>, after: Option<&str>) -> impl Iterator<Item = String> {
    let one = domain.map(|domain| domain_list(domain.as_str()));
    let first = after.and_then(|after| after.bytes().next()).unwrap_or(0);
    let all = one.is_none().then(|| (first..=u8::MAX).map(byte_list));
    one.into_iter().chain(all.into_iter().flatten())
}

/// The lists an address belongs to.
fn lists_of(address: &str, targets: &[String]) -> BTreeSet<String> {
    let first = address.bytes().next().unwrap_or(0);
    let own = [domain_list(domain_of(address)), byte_list(first)];
    own.into_iter()
        .chain(targets.iter().map(|target| target_list(target)))
        .collect()
}

fn domain_list(domain: &str) -> String {
    format!("@{domain}")
}

fn byte_list(first: u8) -> String {
    format!("={first:02x}")
}

fn target_list(target: &str) -> String {
    format!(">{target}")
}

fn domain_row((name, created): (String, i64)) -> Result<DomainRow> {
    let name = Domain::new(&name)
        .map_err(|_| Error::Damaged(format!("`{name}` in directory_domain is no domain")))?;
    Ok(DomainRow {
        name,
        created: created as u64,
    })
}

fn meaning(columns: AddressColumns) -> Result<(Uuid, Meaning)> {
    let damaged = || Error::Damaged(format!("the directory's row of {}", columns.address));
    let revision = columns.revision.ok_or_else(damaged)?;
    if let Some(targets) = columns.targets {
        let address = columns.address;
        return Ok((revision, Meaning::Alias(AliasRow { address, targets })));
    }
    let id = columns.id.ok_or_else(damaged)?;
    let app_password = |(id, label, created, sha256): AppPasswordColumns| AppPasswordRow {
        id,
        label,
        created: created as u64,
        sha256,
    };
    let iterations = u32::try_from(columns.iterations.unwrap_or(0)).map_err(|_| damaged())?;
    let row = AccountRow {
        id: AccountId::new(id as u64),
        address: columns.address,
        display_name: columns.display_name.unwrap_or_default(),
        enabled: columns.enabled.unwrap_or(false),
        quota: columns.quota.unwrap_or(0) as u64,
        created: columns.created.unwrap_or(0) as u64,
        credential_version: columns.credential_version.unwrap_or(0) as u64,
        credential: Credential {
            argon2id: columns.argon2id.unwrap_or_default(),
            salt: columns.salt.unwrap_or_default(),
            iterations,
            stored_key: columns.stored_key.unwrap_or_default(),
            server_key: columns.server_key.unwrap_or_default(),
        },
        app_passwords: columns
            .app_passwords
            .unwrap_or_default()
            .into_iter()
            .map(app_password)
            .collect(),
    };
    Ok((revision, Meaning::Account(row)))
}

fn app_passwords(row: &AccountRow) -> Vec<AppPasswordColumns> {
    let columns = |app: &AppPasswordRow| {
        (
            app.id.clone(),
            app.label.clone(),
            app.created as i64,
            app.sha256.clone(),
        )
    };
    row.app_passwords.iter().map(columns).collect()
}

/// In the order of [`INSERT_ACCOUNT`].
fn insert_values(row: &AccountRow, revision: Uuid) -> impl SerializeRow + Send + Sync + use<> {
    (
        row.address.clone(),
        revision,
        row.id.get() as i64,
        row.display_name.clone(),
        row.enabled,
        row.quota as i64,
        row.created as i64,
        row.credential_version as i64,
        row.credential.argon2id.clone(),
        row.credential.salt.clone(),
        i64::from(row.credential.iterations),
        row.credential.stored_key.clone(),
        row.credential.server_key.clone(),
        app_passwords(row),
    )
}

/// In the order of [`UPDATE_ACCOUNT`].
fn update_values(row: &AccountRow, revision: Uuid, before: Uuid) -> impl SerializeRow + Send + Sync + use<> {
    (
        revision,
        row.display_name.clone(),
        row.enabled,
        row.quota as i64,
        row.created as i64,
        row.credential_version as i64,
        row.credential.argon2id.clone(),
        row.credential.salt.clone(),
        i64::from(row.credential.iterations),
        row.credential.stored_key.clone(),
        row.credential.server_key.clone(),
        app_passwords(row),
        row.address.clone(),
        before,
    )
}

#[cfg(test)]
mod tests {
    use postrider_cql::testing::Fresh;

    use super::*;

    async fn open_fresh() -> (CqlDirectory, Fresh) {
        let tables = [
            "directory_domain",
            "directory_address",
            "directory_account_id",
            "directory_list",
            "directory_secret",
        ];
        let fresh = Fresh::open(&tables).await.unwrap();
        (CqlDirectory::new(fresh.session.clone()), fresh)
    }

    crate::directory_suite!(open_fresh);
}
