//! The directory in the node's SQLite database.
//!
//! # Tables
//! ```text
//! directory_domain        name → created
//! directory_account       address → domain, id, …                   unique id; index (domain, address)
//! directory_app_password  address, position → id, label, …          of directory_account
//! directory_alias         address, position → domain, target        a row a target; indexes by domain and target
//! directory_secret        name → value
//! ```
//! Addresses are in key form. Every write is one job of the one committer, so a condition and what depends on it are
//! never apart.

use async_trait::async_trait;
use postrider_embedded::{Database, Error as Substrate, Transaction};
use postrider_types::{AccountId, Domain};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row, params};

use super::{
    AccountRow, AliasRow, AppPasswordRow, Credential, DirectoryEngine, DomainRow, Written, domain_of,
};
use crate::{Error, Result};

const STEPS: &[&str] = &["
    CREATE TABLE directory_domain (
        name TEXT PRIMARY KEY NOT NULL,
        created INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE directory_account (
        address TEXT PRIMARY KEY NOT NULL,
        domain TEXT NOT NULL,
        id INTEGER UNIQUE NOT NULL,
        display_name TEXT NOT NULL,
        enabled INTEGER NOT NULL,
        quota INTEGER NOT NULL,
        created INTEGER NOT NULL,
        credential_version INTEGER NOT NULL,
        argon2id TEXT NOT NULL,
        salt BLOB NOT NULL,
        iterations INTEGER NOT NULL,
        stored_key BLOB NOT NULL,
        server_key BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX directory_account_by_domain ON directory_account (domain, address);
    -- In the order in which they were made.
    CREATE TABLE directory_app_password (
        address TEXT NOT NULL,
        position INTEGER NOT NULL,
        id TEXT NOT NULL,
        label TEXT NOT NULL,
        created INTEGER NOT NULL,
        sha256 BLOB NOT NULL,
        PRIMARY KEY (address, position)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE directory_alias (
        address TEXT NOT NULL,
        position INTEGER NOT NULL,
        domain TEXT NOT NULL,
        target TEXT NOT NULL,
        PRIMARY KEY (address, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX directory_alias_by_domain ON directory_alias (domain, address);
    CREATE INDEX directory_alias_by_target ON directory_alias (target, address);
    CREATE TABLE directory_secret (
        name TEXT PRIMARY KEY NOT NULL,
        value BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
"];

/// Accounts with their app passwords in one statement, so that both are of one state. `$which` selects the accounts.
macro_rules! select_accounts {
    ($which:literal) => {
        concat!(
            "SELECT a.address, a.id, a.display_name, a.enabled, a.quota, a.created, a.credential_version, a.argon2id, \
             a.salt, a.iterations, a.stored_key, a.server_key, p.id, p.label, p.created, p.sha256 \
             FROM (SELECT * FROM directory_account ",
            $which,
            ") AS a LEFT JOIN directory_app_password AS p ON p.address = a.address ORDER BY a.address, p.position"
        )
    };
}

/// Aliases with all their targets; `$which` selects their addresses.
macro_rules! select_aliases {
    ($which:literal) => {
        concat!(
            "SELECT address, target FROM directory_alias WHERE address IN (SELECT DISTINCT address FROM directory_alias ",
            $which,
            ") ORDER BY address, position"
        )
    };
}

/// The directory of one machine.
#[derive(Clone)]
pub struct EmbeddedDirectory {
    db: Database,
}

impl EmbeddedDirectory {
    /// Opens the directory in a database, creating its tables or bringing them forward.
    pub async fn open(db: Database) -> Result<Self> {
        db.migrate("directory", STEPS).await.map_err(failure)?;
        Ok(Self { db })
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> postrider_embedded::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.db.read(job).await.map_err(failure)
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl Fn(&mut Transaction<'_>) -> postrider_embedded::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.db.write(Vec::new(), job).await.map_err(failure)
    }
}

#[async_trait]
impl DirectoryEngine for EmbeddedDirectory {
    async fn domain(&self, name: &Domain) -> Result<Option<DomainRow>> {
        let name = name.clone();
        self.read(move |rows| {
            let mut select = rows.prepare_cached("SELECT created FROM directory_domain WHERE name = ?1")?;
            let created = select
                .query_row([name.as_str()], |row| row.get::<_, i64>(0))
                .optional()?;
            Ok(created.map(|created| DomainRow {
                name,
                created: created as u64,
            }))
        })
        .await
    }

    async fn domains(&self, after: Option<&Domain>, limit: usize) -> Result<Vec<DomainRow>> {
        let after = after.map_or_else(String::new, Domain::to_string);
        self.read(move |rows| {
            let mut select = rows.prepare_cached(
                "SELECT name, created FROM directory_domain WHERE name > ?1 ORDER BY name LIMIT ?2",
            )?;
            let mut rows = select.query(params![after, sql_limit(limit)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(domain_row(row)?);
            }
            Ok(found)
        })
        .await
    }

    async fn insert_domain(&self, row: DomainRow) -> Result<Written> {
        self.write(move |tx| {
            let mut insert =
                tx.prepare_cached("INSERT OR IGNORE INTO directory_domain (name, created) VALUES (?1, ?2)")?;
            Ok(written(
                insert.execute(params![row.name.as_str(), row.created as i64])?,
            ))
        })
        .await
    }

    async fn remove_domain(&self, name: &Domain) -> Result<Written> {
        let name = name.clone();
        self.write(move |tx| {
            let mut delete = tx.prepare_cached(
                "DELETE FROM directory_domain WHERE name = ?1 \
                 AND NOT EXISTS (SELECT 1 FROM directory_account WHERE domain = ?1) \
                 AND NOT EXISTS (SELECT 1 FROM directory_alias WHERE domain = ?1)",
            )?;
            Ok(written(delete.execute([name.as_str()])?))
        })
        .await
    }

    async fn account(&self, address: &str) -> Result<Option<AccountRow>> {
        let address = address.to_owned();
        self.read(move |rows| account(rows, &address)).await
    }

    async fn account_by_id(&self, id: AccountId) -> Result<Option<AccountRow>> {
        self.read(move |rows| {
            let select = rows.prepare_cached(select_accounts!("WHERE id = ?1"))?;
            Ok(accounts(select, [id.get() as i64])?.pop())
        })
        .await
    }

    async fn accounts(
        &self,
        domain: Option<&Domain>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AccountRow>> {
        let (domain, after) = (domain.cloned(), after.unwrap_or_default().to_owned());
        self.read(move |rows| match domain {
            None => {
                let select =
                    rows.prepare_cached(select_accounts!("WHERE address > ?1 ORDER BY address LIMIT ?2"))?;
                accounts(select, params![after, sql_limit(limit)])
            }
            Some(domain) => {
                let select = rows.prepare_cached(select_accounts!(
                    "WHERE domain = ?3 AND address > ?1 ORDER BY address LIMIT ?2"
                ))?;
                accounts(select, params![after, sql_limit(limit), domain.as_str()])
            }
        })
        .await
    }

    async fn insert_account(&self, row: AccountRow) -> Result<Written> {
        self.write(move |tx| {
            let taken = tx
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM directory_account WHERE address = ?1 OR id = ?2) \
                     OR EXISTS (SELECT 1 FROM directory_alias WHERE address = ?1)",
                )?
                .query_row(params![row.address, row.id.get() as i64], |row| {
                    row.get::<_, bool>(0)
                })?;
            if taken {
                return Ok(Written::No);
            }
            put_account(tx, &row)?;
            Ok(Written::Yes)
        })
        .await
    }

    async fn update_account(&self, old: &AccountRow, new: AccountRow) -> Result<Written> {
        if (old.id, &old.address) != (new.id, &new.address) {
            return Err(Error::Invalid("an account keeps its address and id".into()));
        }
        let old = old.clone();
        self.write(move |tx| {
            if account(tx, &old.address)?.as_ref() != Some(&old) {
                return Ok(Written::No);
            }
            delete_account(tx, &old.address)?;
            put_account(tx, &new)?;
            Ok(Written::Yes)
        })
        .await
    }

    async fn remove_account(&self, address: &str) -> Result<Written> {
        let address = address.to_owned();
        self.write(move |tx| delete_account(tx, &address).map(written))
            .await
    }

    async fn alias(&self, address: &str) -> Result<Option<AliasRow>> {
        let address = address.to_owned();
        self.read(move |rows| alias(rows, &address)).await
    }

    async fn aliases(
        &self,
        domain: Option<&Domain>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AliasRow>> {
        let (domain, after) = (domain.cloned(), after.unwrap_or_default().to_owned());
        self.read(move |rows| match domain {
            None => {
                let select =
                    rows.prepare_cached(select_aliases!("WHERE address > ?1 ORDER BY address LIMIT ?2"))?;
                aliases(select, params![after, sql_limit(limit)])
            }
            Some(domain) => {
                let select = rows.prepare_cached(select_aliases!(
                    "WHERE domain = ?3 AND address > ?1 ORDER BY address LIMIT ?2"
                ))?;
                aliases(select, params![after, sql_limit(limit), domain.as_str()])
            }
        })
        .await
    }

    async fn put_alias(&self, old: Option<&AliasRow>, new: AliasRow) -> Result<Written> {
        if old.is_some_and(|old| old.address != new.address) {
            return Err(Error::Invalid("an alias keeps its address".into()));
        }
        if new.targets.is_empty() {
            return Err(Error::Invalid("an alias has at least one target".into()));
        }
        let old = old.cloned();
        self.write(move |tx| {
            let is_account = tx
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM directory_account WHERE address = ?1)")?
                .query_row([&new.address], |row| row.get::<_, bool>(0))?;
            if is_account || alias(tx, &new.address)? != old {
                return Ok(Written::No);
            }
            delete_alias(tx, &new.address)?;
            let mut insert = tx.prepare_cached(
                "INSERT INTO directory_alias (address, position, domain, target) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for (position, target) in new.targets.iter().enumerate() {
                insert.execute(params![
                    new.address,
                    position as i64,
                    domain_of(&new.address),
                    target
                ])?;
            }
            Ok(Written::Yes)
        })
        .await
    }

    async fn remove_alias(&self, address: &str) -> Result<Written> {
        let address = address.to_owned();
        self.write(move |tx| delete_alias(tx, &address).map(written))
            .await
    }

    async fn aliases_to(&self, target: &str, after: Option<&str>, limit: usize) -> Result<Vec<AliasRow>> {
        let (target, after) = (target.to_owned(), after.unwrap_or_default().to_owned());
        self.read(move |rows| {
            let select = rows.prepare_cached(select_aliases!(
                "WHERE target = ?3 AND address > ?1 ORDER BY address LIMIT ?2"
            ))?;
            aliases(select, params![after, sql_limit(limit), target])
        })
        .await
    }

    async fn secret(&self, name: &str, fresh: &[u8]) -> Result<Vec<u8>> {
        let (name, fresh) = (name.to_owned(), fresh.to_vec());
        self.write(move |tx| {
            tx.prepare_cached("INSERT OR IGNORE INTO directory_secret (name, value) VALUES (?1, ?2)")?
                .execute(params![name, fresh])?;
            let mut select = tx.prepare_cached("SELECT value FROM directory_secret WHERE name = ?1")?;
            Ok(select.query_row([&name], |row| row.get(0))?)
        })
        .await
    }
}

fn domain_row(row: &Row<'_>) -> postrider_embedded::Result<DomainRow> {
    let name = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
    let name = Domain::new(name).map_err(|_| Substrate::Damaged(format!("`{name}` in directory_domain")))?;
    Ok(DomainRow {
        name,
        created: row.get::<_, i64>(1)? as u64,
    })
}

fn account(rows: &Connection, address: &str) -> postrider_embedded::Result<Option<AccountRow>> {
    Ok(accounts(
        rows.prepare_cached(select_accounts!("WHERE address = ?1"))?,
        [address],
    )?
    .pop())
}

/// Reads the rows of `select_accounts!`: one for each app password, or one without any.
fn accounts(
    mut select: CachedStatement<'_>,
    params: impl Params,
) -> postrider_embedded::Result<Vec<AccountRow>> {
    let mut rows = select.query(params)?;
    let mut found: Vec<AccountRow> = Vec::new();
    while let Some(row) = rows.next()? {
        let address = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        if found.last().is_none_or(|last| last.address != address) {
            found.push(account_row(row)?);
        }
        if let (Some(last), Some(id)) = (found.last_mut(), row.get(12)?) {
            last.app_passwords.push(AppPasswordRow {
                id,
                label: row.get(13)?,
                created: row.get::<_, i64>(14)? as u64,
                sha256: row.get(15)?,
            });
        }
    }
    Ok(found)
}

fn account_row(row: &Row<'_>) -> rusqlite::Result<AccountRow> {
    Ok(AccountRow {
        address: row.get(0)?,
        id: AccountId::new(row.get::<_, i64>(1)? as u64),
        display_name: row.get(2)?,
        enabled: row.get(3)?,
        quota: row.get::<_, i64>(4)? as u64,
        created: row.get::<_, i64>(5)? as u64,
        credential_version: row.get::<_, i64>(6)? as u64,
        credential: Credential {
            argon2id: row.get(7)?,
            salt: row.get(8)?,
            iterations: row.get(9)?,
            stored_key: row.get(10)?,
            server_key: row.get(11)?,
        },
        app_passwords: Vec::new(),
    })
}

fn put_account(tx: &Connection, row: &AccountRow) -> postrider_embedded::Result<()> {
    tx.prepare_cached(
        "INSERT INTO directory_account (address, domain, id, display_name, enabled, quota, created, \
         credential_version, argon2id, salt, iterations, stored_key, server_key) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(params![
        row.address,
        domain_of(&row.address),
        row.id.get() as i64,
        row.display_name,
        row.enabled,
        row.quota as i64,
        row.created as i64,
        row.credential_version as i64,
        row.credential.argon2id,
        row.credential.salt,
        row.credential.iterations,
        row.credential.stored_key,
        row.credential.server_key,
    ])?;
    let mut insert = tx.prepare_cached(
        "INSERT INTO directory_app_password (address, position, id, label, created, sha256) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (position, app) in row.app_passwords.iter().enumerate() {
        insert.execute(params![
            row.address,
            position as i64,
            app.id,
            app.label,
            app.created as i64,
            app.sha256
        ])?;
    }
    Ok(())
}

/// Deletes an account's rows; how many accounts there were.
fn delete_account(tx: &Connection, address: &str) -> postrider_embedded::Result<usize> {
    tx.prepare_cached("DELETE FROM directory_app_password WHERE address = ?1")?
        .execute([address])?;
    Ok(tx
        .prepare_cached("DELETE FROM directory_account WHERE address = ?1")?
        .execute([address])?)
}

fn alias(rows: &Connection, address: &str) -> postrider_embedded::Result<Option<AliasRow>> {
    Ok(aliases(
        rows.prepare_cached(select_aliases!("WHERE address = ?1"))?,
        [address],
    )?
    .pop())
}

/// Reads the rows of `select_aliases!`: one for each target.
fn aliases(
    mut select: CachedStatement<'_>,
    params: impl Params,
) -> postrider_embedded::Result<Vec<AliasRow>> {
    let mut rows = select.query(params)?;
    let mut found: Vec<AliasRow> = Vec::new();
    while let Some(row) = rows.next()? {
        let address: String = row.get(0)?;
        match found.last_mut() {
            Some(last) if last.address == address => last.targets.push(row.get(1)?),
            _ => found.push(AliasRow {
                address,
                targets: vec![row.get(1)?],
            }),
        }
    }
    Ok(found)
}

/// Deletes an alias's rows; how many there were.
fn delete_alias(tx: &Connection, address: &str) -> postrider_embedded::Result<usize> {
    Ok(tx
        .prepare_cached("DELETE FROM directory_alias WHERE address = ?1")?
        .execute([address])?)
}

fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn written(rows: usize) -> Written {
    if rows > 0 { Written::Yes } else { Written::No }
}

fn failure(error: Substrate) -> Error {
    let text = error.to_string();
    match error {
        Substrate::Unavailable(text) => Error::Unavailable(text),
        Substrate::Unknown(text) => Error::Unknown(text),
        Substrate::Full(text) => Error::Full(text),
        Substrate::Damaged(text) => Error::Damaged(text),
        Substrate::NotFound(text) => Error::NotFound(text),
        Substrate::Invalid(text) => Error::Invalid(text),
        Substrate::InUse(_) | Substrate::TooNew { .. } => Error::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use postrider_embedded::Options;

    use super::*;

    async fn open_fresh() -> (EmbeddedDirectory, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::open(folder.path(), Options::default()).unwrap();
        (EmbeddedDirectory::open(db).await.unwrap(), folder)
    }

    crate::directory_suite!(open_fresh);

    #[tokio::test]
    async fn rows_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let row = DomainRow {
            name: Domain::new("a.example").unwrap(),
            created: 3,
        };
        let alias = AliasRow {
            address: "@a.example".into(),
            targets: vec!["b@c.example".into()],
        };
        {
            let db = Database::open(folder.path(), Options::default()).unwrap();
            let directory = EmbeddedDirectory::open(db).await.unwrap();
            directory.insert_domain(row.clone()).await.unwrap();
            directory.put_alias(None, alias.clone()).await.unwrap();
        }
        let db = Database::open(folder.path(), Options::default()).unwrap();
        let directory = EmbeddedDirectory::open(db).await.unwrap();
        assert_eq!(directory.domain(&row.name).await.unwrap(), Some(row));
        assert_eq!(directory.alias("@a.example").await.unwrap(), Some(alias));
    }
}
