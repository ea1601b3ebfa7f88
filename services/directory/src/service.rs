//! The service: what its parts share.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use postrider_store::DirectoryEngine;
use postrider_store::directory::AccountRow;
use postrider_types::{Address, Domain, Secret};
use tokio::sync::OnceCell;

use crate::authenticate::Verified;
use crate::hashing::Hasher;
use crate::resolve::Resolved;
use crate::{Config, Error, Result, password};

/// The name under which storage keeps what made-up SCRAM verifiers are made from.
const SECRET_NAME: &str = "scram-made-up";

/// Rows read at once for a list.
pub(crate) const PAGE: usize = 200;

/// How often a change is tried again when others change the same row.
pub(crate) const ATTEMPTS: usize = 10;

/// The directory of a node. Its methods are the contract's, in types of our own; `grpc.rs` implements the server trait,
/// so that `DirectoryServer::new(directory)` serves it.
pub struct Directory {
    pub(crate) engine: Arc<dyn DirectoryEngine>,
    pub(crate) config: Config,
    pub(crate) hasher: Hasher,
    pub(crate) verified: Verified,
    pub(crate) resolved: Resolved,
    /// The hash that unknown users are checked against.
    pub(crate) nobody: String,
    /// What made-up SCRAM verifiers are made from, once it was needed: storage need not be there when the directory opens.
    secret: OnceCell<Secret>,
}

impl Directory {
    /// Opens the directory over its rows, and makes the hash that stands for unknown users.
    pub async fn open(engine: Arc<dyn DirectoryEngine>, config: Config) -> Result<Self> {
        let hasher = Hasher::new(&config)?;
        let nobody = hasher.derive(&password::generate()).await?.argon2id;
        Ok(Self {
            verified: Verified::new(&config),
            resolved: Resolved::new(&config),
            engine,
            config,
            hasher,
            nobody,
            secret: OnceCell::new(),
        })
    }

    /// The directory's own secret: read, or the first time of all made and stored.
    pub(crate) async fn secret(&self) -> Result<&Secret> {
        let read = async || {
            let fresh: [u8; 32] = rand::random();
            let stored = self.engine.secret(SECRET_NAME, &fresh).await?;
            Result::Ok(Secret::new(stored))
        };
        self.secret.get_or_try_init(read).await
    }

    /// Whether a domain is ours.
    pub(crate) async fn is_ours(&self, domain: &Domain) -> Result<bool> {
        Ok(self.engine.domain(domain).await?.is_some())
    }

    /// The account of an address somebody administrates; NOT_FOUND says what is missing.
    pub(crate) async fn account_of(&self, address: &str) -> Result<AccountRow> {
        let address = own_address(address)?;
        match self.engine.account(&address.key()).await? {
            Some(row) => Ok(row),
            None => Err(Error::NotFound(format!("there is no account {address}"))),
        }
    }
}

/// Reads an address that may be an account or alias here: its local part needs no quotes.
pub(crate) fn own_address(text: &str) -> Result<Address> {
    let address = Address::new(text).map_err(|error| Error::Invalid(format!("`{text}`: {error}")))?;
    if !address.local().is_dot_string() {
        return Err(Error::Invalid(format!(
            "`{text}`: addresses here are without quotes"
        )));
    }
    Ok(address)
}

/// Reads a domain.
pub(crate) fn own_domain(text: &str) -> Result<Domain> {
    Domain::new(text).map_err(|error| Error::Invalid(format!("`{text}`: {error}")))
}

/// Checks a text that is only for people: no control characters, at most `max` characters.
pub(crate) fn check_label(what: &str, text: &str, max: usize) -> Result<()> {
    if text.chars().count() > max || text.chars().any(char::is_control) {
        return Err(Error::Invalid(format!(
            "{what} has at most {max} characters and no control characters"
        )));
    }
    Ok(())
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as u64)
}
