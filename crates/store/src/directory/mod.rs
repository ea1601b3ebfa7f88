//! Domains, accounts, aliases and credentials: rows and the engine trait over them.

mod cql;
mod embedded;
mod memory;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

use async_trait::async_trait;
use postrider_types::{AccountId, Domain};

use crate::Result;

pub use cql::CqlDirectory;
pub use embedded::EmbeddedDirectory;
pub use memory::MemoryDirectory;

/// Rows read at once by the default of [`DirectoryEngine::aliases_to`].
const SCAN_PAGE: usize = 500;

/// A domain that is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRow {
    /// Its name.
    pub name: Domain,
    /// Milliseconds since the Unix epoch.
    pub created: u64,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// Its id, for ever.
    pub id: AccountId,
    /// The key form of its address (`Address::key`): lower case.
    pub address: String,
    /// For people; may be empty.
    pub display_name: String,
    /// Whether it may log in and receive.
    pub enabled: bool,
    /// Bytes; 0: no limit.
    pub quota: u64,
    /// Milliseconds since the Unix epoch.
    pub created: u64,
    /// Moves with every change of a credential: caches compare it.
    pub credential_version: u64,
    /// The password.
    pub credential: Credential,
    /// App passwords.
    pub app_passwords: Vec<AppPasswordRow>,
}

/// What is stored of a password: nothing it could be read from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Credential {
    /// Argon2id in PHC string form.
    pub argon2id: String,
    /// SCRAM-SHA-256 (RFC 5802 §3): salt.
    pub salt: Vec<u8>,
    /// Iterations.
    pub iterations: u32,
    /// StoredKey.
    pub stored_key: Vec<u8>,
    /// ServerKey.
    pub server_key: Vec<u8>,
}

/// A password of one device or program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPasswordRow {
    /// Short id, for removing it.
    pub id: String,
    /// For people.
    pub label: String,
    /// Milliseconds since the Unix epoch.
    pub created: u64,
    /// SHA-256 of the generated password (128 random bits need no slow hash).
    pub sha256: Vec<u8>,
}

/// An alias: `user@domain`, or `@domain` for the catch-all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRow {
    /// In key form.
    pub address: String,
    /// Addresses, in key form for ours.
    pub targets: Vec<String>,
}

/// How a conditional write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Durable.
    Yes,
    /// A row of that key exists (insert), or none does or it changed meanwhile (update, remove).
    No,
}

/// Storage of the directory. Every write is durable when it returns; keys are unique; lists ascend by key, hold at
/// most `limit` rows above `after`, and a short page is the last.
#[async_trait]
pub trait DirectoryEngine: Send + Sync + 'static {
    /// One domain.
    async fn domain(&self, name: &Domain) -> Result<Option<DomainRow>>;
    /// Domains by name.
    async fn domains(&self, after: Option<&Domain>, limit: usize) -> Result<Vec<DomainRow>>;
    /// Inserts a domain unless it exists.
    async fn insert_domain(&self, row: DomainRow) -> Result<Written>;
    /// Removes a domain if it exists and has neither accounts nor aliases.
    async fn remove_domain(&self, name: &Domain) -> Result<Written>;

    /// An account by address in key form.
    async fn account(&self, address: &str) -> Result<Option<AccountRow>>;
    /// An account by id.
    async fn account_by_id(&self, id: AccountId) -> Result<Option<AccountRow>>;
    /// Accounts by address, of one domain or all.
    async fn accounts(
        &self,
        domain: Option<&Domain>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AccountRow>>;
    /// Inserts an account unless its address (as account or alias) or id exists. Whether its domain is ours is the
    /// caller's question.
    async fn insert_account(&self, row: AccountRow) -> Result<Written>;
    /// Replaces an account's row if its stored row is still `old`. Address and id stay as they are: a `new` with others
    /// is [`Invalid`](crate::Error::Invalid).
    async fn update_account(&self, old: &AccountRow, new: AccountRow) -> Result<Written>;
    /// Removes an account.
    async fn remove_account(&self, address: &str) -> Result<Written>;

    /// An alias by address in key form.
    async fn alias(&self, address: &str) -> Result<Option<AliasRow>>;
    /// Aliases by address, of one domain or all.
    async fn aliases(
        &self,
        domain: Option<&Domain>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AliasRow>>;
    /// Puts an alias if the stored row is still `old` (`None`: there is none, nor an account of that address). The
    /// address stays as it is and there is at least one target: a `new` that differs is
    /// [`Invalid`](crate::Error::Invalid).
    async fn put_alias(&self, old: Option<&AliasRow>, new: AliasRow) -> Result<Written>;
    /// Removes an alias.
    async fn remove_alias(&self, address: &str) -> Result<Written>;

    /// Aliases that have this target (compared as it is stored), by address. The default reads all aliases; an engine
    /// with an index over targets does better.
    async fn aliases_to(&self, target: &str, after: Option<&str>, limit: usize) -> Result<Vec<AliasRow>> {
        let mut found = Vec::new();
        let mut after = after.map(str::to_owned);
        loop {
            let page = self.aliases(None, after.as_deref(), SCAN_PAGE).await?;
            let last_page = page.len() < SCAN_PAGE;
            after = page.last().map(|row| row.address.clone());
            found.extend(
                page.into_iter()
                    .filter(|row| row.targets.iter().any(|other| other == target)),
            );
            if last_page || found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
        }
    }

    /// The secret of that name, the same for every process over this storage and for ever: the stored one, or `fresh`
    /// when there was none, which then is stored.
    async fn secret(&self, name: &str, fresh: &[u8]) -> Result<Vec<u8>>;
}

/// The domain of an address in key form (of `@domain` too): what stands behind the last `@`.
pub(crate) fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}
