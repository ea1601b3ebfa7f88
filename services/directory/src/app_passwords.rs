//! Passwords of single devices and programs.

use postrider_store::directory::AppPasswordRow;
use postrider_types::Secret;

use crate::service::{check_label, now};
use crate::{Directory, Error, Result, password};

/// The most app passwords an account can have: each costs every login a comparison.
const MAX_APP_PASSWORDS: usize = 50;
const LABEL_MAX: usize = 100;

impl Directory {
    /// Makes an app password: its id, and the password itself, which is not kept.
    pub async fn add_app_password(&self, address: &str, label: &str) -> Result<(String, Secret)> {
        check_label("a label", label, LABEL_MAX)?;
        let known = self.account_of(address).await?;
        let password = password::generate_app();
        let sha256 = password::app_hash(&password)
            .ok_or_else(|| Error::Internal("a generated app password cannot be read back".into()))?;
        let id = format!("{:08x}", rand::random::<u32>());
        self.change_account(&known.address, |row| {
            if row.app_passwords.len() >= MAX_APP_PASSWORDS {
                return Err(Error::Exhausted(format!(
                    "an account has at most {MAX_APP_PASSWORDS} app passwords"
                )));
            }
            if row.app_passwords.iter().any(|other| other.id == id) {
                return Err(Error::Contended(row.address.clone()));
            }
            row.app_passwords.push(AppPasswordRow {
                id: id.clone(),
                label: label.to_owned(),
                created: now(),
                sha256: sha256.to_vec(),
            });
            Ok(())
        })
        .await?;
        Ok((id, password))
    }

    /// An account's app passwords, oldest first.
    pub async fn list_app_passwords(&self, address: &str) -> Result<Vec<AppPasswordRow>> {
        Ok(self.account_of(address).await?.app_passwords)
    }

    /// Removes an app password; it is worth nothing from now on.
    pub async fn remove_app_password(&self, address: &str, id: &str) -> Result<()> {
        let known = self.account_of(address).await?;
        self.change_account(&known.address, |row| {
            let before = row.app_passwords.len();
            row.app_passwords.retain(|password| password.id != id);
            if row.app_passwords.len() == before {
                return Err(Error::NotFound(format!(
                    "{} has no app password {id}",
                    row.address
                )));
            }
            row.credential_version += 1;
            Ok(())
        })
        .await?;
        Ok(())
    }
}
