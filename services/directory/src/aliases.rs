//! Aliases.

use futures::Stream;
use postrider_store::directory::{AliasRow, Written};
use postrider_types::{Address, Domain};

use crate::domains::pages;
use crate::resolve::{MAX_TARGETS, Meaning};
use crate::service::{ATTEMPTS, PAGE, own_address, own_domain};
use crate::{Directory, Error, Result};

impl Directory {
    /// Adds targets to an alias, or makes it. A target in a domain of ours must mean somebody: a slip of the pen would lose
    /// mail otherwise.
    pub async fn add_alias(&self, address: &str, targets: &[String]) -> Result<AliasRow> {
        let (key, domain) = alias_key(address)?;
        self.require_domain(&domain).await?;
        if targets.is_empty() {
            return Err(Error::Invalid(format!(
                "the alias {key} needs at least one target"
            )));
        }
        if targets.len() > MAX_TARGETS {
            return Err(too_many(&key));
        }
        let mut added: Vec<String> = Vec::with_capacity(targets.len());
        for target in targets {
            let target = self.checked_target(&key, target).await?;
            if !added.contains(&target) {
                added.push(target);
            }
        }
        for _ in 0..ATTEMPTS {
            let old = self.engine.alias(&key).await?;
            let mut all = old.as_ref().map(|row| row.targets.clone()).unwrap_or_default();
            for target in &added {
                if !all.contains(target) {
                    all.push(target.clone());
                }
            }
            if all.len() > MAX_TARGETS {
                return Err(too_many(&key));
            }
            let new = AliasRow {
                address: key.clone(),
                targets: all,
            };
            let written = self.engine.put_alias(old.as_ref(), new.clone()).await?;
            self.resolved.invalidate();
            if written == Written::Yes {
                return Ok(new);
            }
            if self.engine.account(&key).await?.is_some() {
                return Err(Error::AlreadyExists(format!(
                    "{key} is an account, so it cannot be an alias"
                )));
            }
        }
        Err(Error::Contended(key))
    }

    /// Aliases by address, a page at a time: of one domain, or with an empty name of all.
    pub async fn list_aliases(
        &self,
        domain: &str,
    ) -> Result<impl Stream<Item = Result<AliasRow>> + Send + 'static + use<>> {
        let domain = match domain {
            "" => None,
            name => Some(own_domain(name)?),
        };
        if let Some(domain) = &domain {
            self.require_domain(domain).await?;
        }
        let engine = self.engine.clone();
        Ok(pages(move |last: Option<AliasRow>| {
            let (engine, domain) = (engine.clone(), domain.clone());
            async move {
                let after = last.as_ref().map(|row| row.address.as_str());
                Ok(engine.aliases(domain.as_ref(), after, PAGE).await?)
            }
        }))
    }

    /// Removes targets from an alias, or with none the whole alias.
    pub async fn remove_alias(&self, address: &str, targets: &[String]) -> Result<()> {
        let (key, _) = alias_key(address)?;
        let missing = || Error::NotFound(format!("there is no alias {key}"));
        if targets.is_empty() {
            let written = self.engine.remove_alias(&key).await?;
            self.resolved.invalidate();
            return if written == Written::Yes {
                Ok(())
            } else {
                Err(missing())
            };
        }
        let row = self.engine.alias(&key).await?.ok_or_else(missing)?;
        let mut gone = Vec::with_capacity(targets.len());
        for target in targets {
            let target = self.target_text(&target_address(target)?).await?;
            if !row.targets.contains(&target) {
                return Err(Error::NotFound(format!("the alias {key} has no target {target}")));
            }
            gone.push(target);
        }
        self.remove_targets(&row, &gone).await
    }

    async fn checked_target(&self, alias: &str, target: &str) -> Result<String> {
        let address = target_address(target)?;
        let text = self.target_text(&address).await?;
        if text == alias {
            return Err(Error::Invalid(format!(
                "the alias {alias} cannot be its own target"
            )));
        }
        if self.is_ours(address.domain()).await? && matches!(self.look_up(&address).await?, Meaning::Nobody) {
            return Err(Error::NotFound(format!(
                "there is no account or alias {address}; add it first"
            )));
        }
        Ok(text)
    }

    /// How a target is stored: in key form when it is ours.
    async fn target_text(&self, address: &Address) -> Result<String> {
        Ok(if self.is_ours(address.domain()).await? {
            address.key()
        } else {
            address.to_string()
        })
    }
}

/// Reads `user@domain`, or `@domain` for the catch-all, into key form.
fn alias_key(text: &str) -> Result<(String, Domain)> {
    if let Some(name) = text.strip_prefix('@') {
        let domain = own_domain(name)?;
        return Ok((format!("@{domain}"), domain));
    }
    let address = own_address(text)?;
    Ok((address.key(), address.domain().clone()))
}

fn target_address(text: &str) -> Result<Address> {
    Address::new(text).map_err(|error| Error::Invalid(format!("target `{text}`: {error}")))
}

fn too_many(alias: &str) -> Error {
    Error::Exhausted(format!(
        "the alias {alias} would have more than {MAX_TARGETS} targets"
    ))
}
