//! Accounts and their passwords.

use futures::Stream;
use postrider_store::directory::{AccountRow, AliasRow, Written};
use postrider_types::{AccountId, Secret};

use crate::domains::pages;
use crate::service::{ATTEMPTS, PAGE, check_label, now, own_address, own_domain};
use crate::{Directory, Error, Result, password};

const DISPLAY_NAME_MAX: usize = 200;

/// What an account is made from.
#[derive(Debug, Clone, Default)]
pub struct NewAccount {
    /// Its address, in a domain of ours.
    pub address: String,
    /// Empty: one is generated.
    pub password: Secret,
    /// For people; may be empty.
    pub display_name: String,
    /// Bytes; 0: no limit.
    pub quota: u64,
}

/// What is to become of an account; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct AccountChange {
    /// Whether it may log in and receive.
    pub enabled: Option<bool>,
    /// Bytes; 0: no limit.
    pub quota: Option<u64>,
    /// For people.
    pub display_name: Option<String>,
}

impl Directory {
    /// Makes an account; the second value is the password when one was generated.
    pub async fn add_account(&self, new: NewAccount) -> Result<(AccountRow, Option<Secret>)> {
        let address = own_address(&new.address)?;
        if address.local().as_str().contains('+') {
            return Err(Error::Invalid(format!(
                "`{address}`: + separates a tag from an account's name"
            )));
        }
        check_label("a display name", &new.display_name, DISPLAY_NAME_MAX)?;
        self.require_domain(address.domain()).await?;
        let key = address.key();
        self.require_free(&key).await?;
        let (password, generated) = self.chosen_or_generated(new.password)?;
        let mut row = AccountRow {
            id: AccountId::default(),
            address: key,
            display_name: new.display_name,
            enabled: true,
            quota: new.quota,
            created: now(),
            credential_version: 1,
            credential: self.hasher.derive(&password).await?,
            app_passwords: Vec::new(),
        };
        for _ in 0..ATTEMPTS {
            row.id = AccountId::new(rand::random());
            let written = self.engine.insert_account(row.clone()).await?;
            self.resolved.invalidate();
            if written == Written::Yes {
                return Ok((row, generated));
            }
            // Somebody else made it meanwhile; or, once in a very long time, the id is taken.
            self.require_free(&row.address).await?;
        }
        Err(Error::Contended(row.address))
    }

    /// Accounts by address, a page at a time: of one domain, or with an empty name of all.
    pub async fn list_accounts(
        &self,
        domain: &str,
    ) -> Result<impl Stream<Item = Result<AccountRow>> + Send + 'static + use<>> {
        let domain = match domain {
            "" => None,
            name => Some(own_domain(name)?),
        };
        if let Some(domain) = &domain {
            self.require_domain(domain).await?;
        }
        let engine = self.engine.clone();
        Ok(pages(move |last: Option<AccountRow>| {
            let (engine, domain) = (engine.clone(), domain.clone());
            async move {
                let after = last.as_ref().map(|row| row.address.as_str());
                Ok(engine.accounts(domain.as_ref(), after, PAGE).await?)
            }
        }))
    }

    /// An account by address.
    pub async fn account_by_address(&self, address: &str) -> Result<AccountRow> {
        self.account_of(address).await
    }

    /// An account by id.
    pub async fn account_by_id(&self, id: AccountId) -> Result<AccountRow> {
        let row = self.engine.account_by_id(id).await?;
        row.ok_or_else(|| Error::NotFound(format!("there is no account with the id {id}")))
    }

    /// Sets a password (an empty one: generates and returns it); the old one is worth nothing from now on.
    pub async fn set_password(&self, address: &str, password: Secret) -> Result<Option<Secret>> {
        let known = self.account_of(address).await?;
        let (password, generated) = self.chosen_or_generated(password)?;
        let credential = self.hasher.derive(&password).await?;
        self.change_account(&known.address, |row| {
            row.credential = credential.clone();
            row.credential_version += 1;
            Ok(())
        })
        .await?;
        Ok(generated)
    }

    /// Changes what is not a credential. Disabling ends what caches know of its credentials.
    pub async fn update_account(&self, address: &str, change: AccountChange) -> Result<AccountRow> {
        if let Some(name) = &change.display_name {
            check_label("a display name", name, DISPLAY_NAME_MAX)?;
        }
        let key = own_address(address)?.key();
        self.change_account(&key, |row| {
            if let Some(enabled) = change.enabled {
                row.credential_version += u64::from(row.enabled != enabled);
                row.enabled = enabled;
            }
            row.quota = change.quota.unwrap_or(row.quota);
            row.display_name = change
                .display_name
                .clone()
                .unwrap_or_else(|| std::mem::take(&mut row.display_name));
            Ok(())
        })
        .await
    }

    /// Removes an account, and its address from every alias, so that a later account of the same address gets nobody
    /// else's mail. The aliases come first: stopped in between, it can be called again.
    pub async fn remove_account(&self, address: &str) -> Result<AccountId> {
        let row = self.account_of(address).await?;
        loop {
            let aliases = self.engine.aliases_to(&row.address, None, PAGE).await?;
            for alias in &aliases {
                self.remove_targets(alias, std::slice::from_ref(&row.address))
                    .await?;
            }
            if aliases.len() < PAGE {
                break;
            }
        }
        let written = self.engine.remove_account(&row.address).await?;
        self.forget();
        match written {
            Written::Yes => Ok(row.id),
            Written::No => Err(Error::NotFound(format!("there is no account {}", row.address))),
        }
    }

    /// Changes an account's row, again from the start when somebody else was faster.
    pub(crate) async fn change_account(
        &self,
        address: &str,
        change: impl Fn(&mut AccountRow) -> Result<()>,
    ) -> Result<AccountRow> {
        for _ in 0..ATTEMPTS {
            let old = self.account_of(address).await?;
            let mut new = old.clone();
            change(&mut new)?;
            if new == old {
                return Ok(new);
            }
            let written = self.engine.update_account(&old, new.clone()).await?;
            if old.credential_version != new.credential_version {
                self.forget();
            }
            self.resolved.invalidate();
            if written == Written::Yes {
                return Ok(new);
            }
        }
        Err(Error::Contended(address.to_owned()))
    }

    /// Removes targets from an alias, and the alias when none is left.
    pub(crate) async fn remove_targets(&self, alias: &AliasRow, gone: &[String]) -> Result<()> {
        let mut old = alias.clone();
        for _ in 0..ATTEMPTS {
            let targets: Vec<_> = old
                .targets
                .iter()
                .filter(|target| !gone.contains(target))
                .cloned()
                .collect();
            let written = match (targets.len() == old.targets.len(), targets.is_empty()) {
                (true, _) => Written::Yes,
                (false, true) => {
                    self.engine.remove_alias(&old.address).await?;
                    Written::Yes
                }
                (false, false) => {
                    let new = AliasRow {
                        address: old.address.clone(),
                        targets,
                    };
                    self.engine.put_alias(Some(&old), new).await?
                }
            };
            self.resolved.invalidate();
            if written == Written::Yes {
                return Ok(());
            }
            match self.engine.alias(&old.address).await? {
                Some(now) => old = now,
                None => return Ok(()),
            }
        }
        Err(Error::Contended(old.address))
    }

    /// Forgets verified credentials and answers: after a credential changed.
    pub(crate) fn forget(&self) {
        self.verified.clear();
        self.resolved.invalidate();
    }

    fn chosen_or_generated(&self, password: Secret) -> Result<(Secret, Option<Secret>)> {
        if password.expose().is_empty() {
            let generated = password::generate();
            return Ok((generated.clone(), Some(generated)));
        }
        password::check_chosen(&password, self.config.password_min_chars)?;
        Ok((password, None))
    }

    async fn require_free(&self, address: &str) -> Result<()> {
        if self.engine.account(address).await?.is_some() {
            return Err(Error::AlreadyExists(format!(
                "the account {address} exists already"
            )));
        }
        if self.engine.alias(address).await?.is_some() {
            return Err(Error::AlreadyExists(format!(
                "{address} is an alias; remove it first"
            )));
        }
        Ok(())
    }
}
