//! Rows out of columns, and columns out of rows.

use postrider_cql::{DeserializeRow, SerializeRow};
use postrider_types::{AccountId, Domain};
use uuid::Uuid;

use crate::directory::{AccountRow, AliasRow, AppPasswordRow, Credential, DomainRow};
use crate::{Error, Result};

/// A row of `directory_address`.
#[derive(Debug, Clone, DeserializeRow)]
#[scylla(crate = postrider_cql::driver)]
pub(super) struct AddressColumns {
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
pub(super) enum Meaning {
    Account(AccountRow),
    Alias(AliasRow),
}

pub(super) fn domain_row((name, created): (String, i64)) -> Result<DomainRow> {
    let name = Domain::new(&name)
        .map_err(|_| Error::Damaged(format!("`{name}` in directory_domain is no domain")))?;
    Ok(DomainRow {
        name,
        created: created as u64,
    })
}

pub(super) fn meaning(columns: AddressColumns) -> Result<(Uuid, Meaning)> {
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

/// In the order of [`super::statements::INSERT_ACCOUNT`].
pub(super) fn insert_values(row: &AccountRow, revision: Uuid) -> impl SerializeRow + Send + Sync + use<> {
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

/// In the order of [`super::statements::UPDATE_ACCOUNT`].
pub(super) fn update_values(
    row: &AccountRow,
    revision: Uuid,
    before: Uuid,
) -> impl SerializeRow + Send + Sync + use<> {
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
