//! Who somebody is.

use hmac::{Hmac, KeyInit, Mac};
use moka::sync::Cache;
use postrider_sasl::prepare;
use postrider_store::directory::AccountRow;
use postrider_types::{AccountId, Address, LocalPart, Secret};
use sha2::Sha256;

use crate::password::{app_hash, constant_time_eq};
use crate::{Config, Directory, Error, Result, metrics};

/// Octets of a made-up salt: as many as a real one has.
const SALT: usize = 16;

/// Whom a login lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account: AccountId,
    /// Its address.
    pub address: String,
    /// Bytes; 0: no limit.
    pub quota: u64,
}

/// What a server needs to check a SCRAM-SHA-256 proof (RFC 5802 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramAnswer {
    /// Salt.
    pub salt: Vec<u8>,
    /// Iterations.
    pub iterations: u32,
    /// StoredKey.
    pub stored_key: Vec<u8>,
    /// ServerKey.
    pub server_key: Vec<u8>,
    /// Whom a right proof lets in; `None`: nobody, and no proof is right.
    pub identity: Option<Identity>,
}

/// Credentials that were right a while ago, by a keyed hash: the memory of this process holds no password.
pub(crate) struct Verified {
    entries: Cache<[u8; 32], (AccountId, u64)>,
    key: [u8; 32],
}

impl Verified {
    pub(crate) fn new(config: &Config) -> Self {
        let entries = Cache::builder()
            .max_capacity(config.verified_entries)
            .time_to_live(config.verified_ttl)
            .build();
        Self {
            entries,
            key: rand::random(),
        }
    }

    pub(crate) fn clear(&self) {
        self.entries.invalidate_all();
    }

    fn token(&self, address: &str, password: &Secret) -> [u8; 32] {
        // The length keeps `ab` + `c` and `a` + `bc` apart.
        let length = (address.len() as u64).to_be_bytes();
        keyed(&self.key, &[&length, address.as_bytes(), password.expose()])
    }
}

impl Directory {
    /// Checks a user name (an address, or a local part when there is exactly one domain) and password. `service` and
    /// `peer` are for logs and metrics.
    ///
    /// Storage is asked every time, so that a change of password or a disabled account counts at once, on every node; the
    /// slow hash is run only when the cache does not know the password as right.
    pub async fn authenticate(
        &self,
        user: &str,
        password: &Secret,
        service: &str,
        peer: &str,
    ) -> Result<Identity> {
        let outcome = self.check(user, password).await;
        let word = match &outcome {
            Ok((_, how)) => how,
            Err(Error::Credentials) => "refused",
            Err(_) => "failed",
        };
        metrics::authenticated(service, word);
        match outcome {
            Ok((row, _)) => Ok(identity(&row)),
            Err(error) => {
                tracing::info!(user, service, peer, %error, "login refused");
                Err(error)
            }
        }
    }

    async fn check(&self, user: &str, password: &Secret) -> Result<(AccountRow, &'static str)> {
        // The same time for everybody: it depends on the password alone.
        if prepare(password.expose()).is_none() {
            return Err(Error::Credentials);
        }
        let row = self.login_row(user).await?.filter(|row| row.enabled);
        let app = app_hash(password);
        let Some(row) = row else {
            self.hasher.verify(password, &self.nobody).await?;
            return Err(Error::Credentials);
        };
        if app.is_some_and(|hash| {
            row.app_passwords
                .iter()
                .any(|stored| constant_time_eq(&stored.sha256, &hash))
        }) {
            return Ok((row, "app-password"));
        }
        let token = self.verified.token(&row.address, password);
        if self.verified.entries.get(&token) == Some((row.id, row.credential_version)) {
            return Ok((row, "cached"));
        }
        if !self.hasher.verify(password, &row.credential.argon2id).await? {
            return Err(Error::Credentials);
        }
        let row = self.with_todays_cost(row, password).await;
        self.verified
            .entries
            .insert(token, (row.id, row.credential_version));
        Ok((row, "password"))
    }

    /// The stored half of SCRAM-SHA-256 for a user name. For whoever cannot log in it is made up, the same each time.
    pub async fn scram_verifier(&self, user: &str) -> Result<ScramAnswer> {
        let Some(row) = self.login_row(user).await? else {
            return self.made_up(user, None).await;
        };
        if !row.enabled {
            // The salt stays, so that nobody sees the moment of disabling.
            return self.made_up(user, Some(&row)).await;
        }
        Ok(ScramAnswer {
            identity: Some(identity(&row)),
            salt: row.credential.salt,
            iterations: row.credential.iterations,
            stored_key: row.credential.stored_key,
            server_key: row.credential.server_key,
        })
    }

    async fn made_up(&self, user: &str, disabled: Option<&AccountRow>) -> Result<ScramAnswer> {
        let user = user.to_lowercase();
        let secret = self.secret().await?;
        let part = |label: &[u8]| keyed(secret.expose(), &[label, user.as_bytes()]);
        let salt = part(b"salt\0").iter().copied().take(SALT).collect();
        Ok(ScramAnswer {
            salt: disabled.map_or(salt, |row| row.credential.salt.clone()),
            iterations: disabled.map_or(self.config.scram_iterations, |row| row.credential.iterations),
            stored_key: part(b"stored\0").to_vec(),
            server_key: part(b"server\0").to_vec(),
            identity: None,
        })
    }

    /// The account a user name means.
    async fn login_row(&self, user: &str) -> Result<Option<AccountRow>> {
        let address = if user.contains('@') {
            Address::new(user).ok()
        } else {
            let domains = self.engine.domains(None, 2).await?;
            match (LocalPart::new(user), domains.as_slice()) {
                (Ok(local), [only]) => Address::from_parts(local, only.name.clone()).ok(),
                _ => None,
            }
        };
        match address {
            Some(address) => Ok(self.engine.account(&address.key()).await?),
            None => Ok(None),
        }
    }

    /// Makes what is stored of a password anew when the configured cost has changed. A failure is no reason to refuse a
    /// login: the next one tries again.
    async fn with_todays_cost(&self, row: AccountRow, password: &Secret) -> AccountRow {
        if !self.hasher.is_outdated(&row.credential) {
            return row;
        }
        let Ok(credential) = self.hasher.derive(password).await else {
            return row;
        };
        // The credential stays the same one: no version moves, no other session's cache is emptied.
        let new = AccountRow {
            credential,
            ..row.clone()
        };
        if let Err(error) = self.engine.update_account(&row, new).await {
            tracing::warn!(%error, "could not store a password's hash of the new cost");
        }
        row
    }
}

fn identity(row: &AccountRow) -> Identity {
    Identity {
        account: row.id,
        address: row.address.clone(),
        quota: row.quota,
    }
}

#[allow(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104 §2)")]
fn keyed(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
