//! The statements of the directory.

use postrider_cql::Statement;

pub(super) const DOMAIN: Statement =
    Statement::read("SELECT name, created FROM directory_domain WHERE bucket = 0 AND name = ?");
pub(super) const DOMAINS: Statement =
    Statement::read("SELECT name, created FROM directory_domain WHERE bucket = 0 AND name > ? LIMIT ?");
pub(super) const DOMAIN_SERIAL: Statement =
    Statement::serial_read("SELECT name, created FROM directory_domain WHERE bucket = 0 AND name = ?");
pub(super) const INSERT_DOMAIN: Statement = Statement::conditional(
    "INSERT INTO directory_domain (bucket, name, created) VALUES (0, ?, ?) IF NOT EXISTS",
);
pub(super) const DELETE_DOMAIN: Statement =
    Statement::conditional("DELETE FROM directory_domain WHERE bucket = 0 AND name = ? IF EXISTS");

macro_rules! address {
    () => {
        "SELECT address, revision, id, display_name, enabled, quota, created, credential_version, argon2id, salt, iterations, \
         stored_key, server_key, app_passwords, targets FROM directory_address WHERE address = ?"
    };
}
pub(super) const ADDRESS: Statement = Statement::read(address!());
pub(super) const ADDRESS_SERIAL: Statement = Statement::serial_read(address!());
pub(super) const INSERT_ACCOUNT: Statement = Statement::conditional(
    "INSERT INTO directory_address (address, revision, id, display_name, enabled, quota, created, credential_version, \
     argon2id, salt, iterations, stored_key, server_key, app_passwords) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
     IF NOT EXISTS",
);
pub(super) const UPDATE_ACCOUNT: Statement = Statement::conditional(
    "UPDATE directory_address SET revision = ?, display_name = ?, enabled = ?, quota = ?, created = ?, \
     credential_version = ?, argon2id = ?, salt = ?, iterations = ?, stored_key = ?, server_key = ?, app_passwords = ? \
     WHERE address = ? IF revision = ?",
);
pub(super) const INSERT_ALIAS: Statement = Statement::conditional(
    "INSERT INTO directory_address (address, revision, targets) VALUES (?, ?, ?) IF NOT EXISTS",
);
pub(super) const UPDATE_ALIAS: Statement = Statement::conditional(
    "UPDATE directory_address SET revision = ?, targets = ? WHERE address = ? IF revision = ?",
);
pub(super) const DELETE_ADDRESS: Statement =
    Statement::conditional("DELETE FROM directory_address WHERE address = ? IF revision = ?");

pub(super) const ID: Statement = Statement::read("SELECT address FROM directory_account_id WHERE id = ?");
pub(super) const ID_SERIAL: Statement =
    Statement::serial_read("SELECT address FROM directory_account_id WHERE id = ?");
pub(super) const CLAIM_ID: Statement =
    Statement::conditional("INSERT INTO directory_account_id (id, address) VALUES (?, ?) IF NOT EXISTS");
pub(super) const FREE_ID: Statement =
    Statement::conditional("DELETE FROM directory_account_id WHERE id = ? IF address = ?");

pub(super) const LIST: Statement =
    Statement::read("SELECT address FROM directory_list WHERE list = ? AND kind = ? AND address > ? LIMIT ?");
pub(super) const PUT_LISTED: Statement =
    Statement::write("INSERT INTO directory_list (list, kind, address) VALUES (?, ?, ?)");
pub(super) const DELETE_LISTED: Statement =
    Statement::write("DELETE FROM directory_list WHERE list = ? AND kind = ? AND address = ?");

pub(super) const SECRET_SERIAL: Statement =
    Statement::serial_read("SELECT value FROM directory_secret WHERE name = ?");
pub(super) const SECRET: Statement = Statement::read("SELECT value FROM directory_secret WHERE name = ?");
pub(super) const INSERT_SECRET: Statement =
    Statement::conditional("INSERT INTO directory_secret (name, value) VALUES (?, ?) IF NOT EXISTS");
