//! A commit's statements, few and compiled once.

use postrider_embedded::{Holder, Result, Transaction};
use postrider_types::{AccountId, Version};
use rusqlite::params;

use super::rows;
use crate::account::{Commit, FolderRow, MessageRow, Outcome, Rows};
use crate::encode::{encode_changes, encode_keywords};

/// Runs a commit in the batch's transaction. What is known and what is late is found by the first statements, before anything has changed.
pub(super) fn run(tx: &mut Transaction<'_>, commit: &Commit) -> Result<Outcome> {
    if is_known(tx, commit)? {
        let version = rows::read_head(tx, commit.account)?.map_or(Version(0), |head| head.version);
        let late = version != commit.expected;
        return Ok(if late { Outcome::Conflict } else { Outcome::Known });
    }
    if !move_head(tx, commit)? {
        return Ok(Outcome::Conflict);
    }
    let account = commit.account;
    let change = &commit.change;
    tx.prepare_cached(
        "INSERT INTO account_change (account, version, time, changes) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        account.get(),
        change.version.0,
        change.time,
        encode_changes(&change.changes)
    ])?;
    put_rows(tx, commit)?;
    delete_rows(tx, account, &commit.rows)?;
    Ok(Outcome::Committed)
}

/// Whether a receipt or a reference of the commit is there. New receipts are at the end of their table, in a page that the commit before has
/// just used: asking costs next to nothing here, and a read on a thread of its own before every delivery costs a lot.
fn is_known(tx: &Transaction<'_>, commit: &Commit) -> Result<bool> {
    let account = commit.account.get();
    for row in &commit.rows.put_receipts {
        let mut select = tx.prepare_cached(
            "SELECT 1 FROM account_receipt WHERE delivery = ?1 AND account = ?2 AND expires > ?3",
        )?;
        if select.exists(params![row.delivery.as_bytes(), account, tx.now()])? {
            return Ok(true);
        }
    }
    for row in &commit.rows.put_references {
        let mut select =
            tx.prepare_cached("SELECT 1 FROM account_reference WHERE account = ?1 AND hash = ?2")?;
        if select.exists(params![account, row.hash as i64])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The compare and the append of the head in one statement; false if the account is at another version.
fn move_head(tx: &Transaction<'_>, commit: &Commit) -> Result<bool> {
    let sql = if commit.expected.0 == 0 {
        "INSERT INTO account (account, version, last_commit, used, messages, next_folder)
         VALUES (?1, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING"
    } else {
        "UPDATE account SET version = ?3, last_commit = ?4, used = ?5, messages = ?6, next_folder = ?7
         WHERE account = ?1 AND version = ?2"
    };
    let head = &commit.head;
    let changed = tx.prepare_cached(sql)?.execute(params![
        commit.account.get(),
        commit.expected.0,
        head.version.0,
        head.last_commit.as_bytes(),
        head.used,
        head.messages,
        head.next_folder.0,
    ])?;
    Ok(changed == 1)
}

fn put_rows(tx: &mut Transaction<'_>, commit: &Commit) -> Result<()> {
    let (account, rows) = (commit.account, &commit.rows);
    for row in &rows.put_folders {
        put_folder(tx, account, row)?;
    }
    put_messages(tx, account, &rows.put_messages)?;
    for (folder, state) in &rows.update_messages {
        tx.prepare_cached(
            "UPDATE account_message SET flags = ?4, keywords = ?5, modseq = ?6
             WHERE account = ?1 AND folder = ?2 AND uid = ?3",
        )?
        .execute(params![
            account.get(),
            folder.0,
            state.uid.0,
            state.flags.bits(),
            encode_keywords(&state.keywords),
            commit.head.version.0,
        ])?;
    }
    for row in &rows.put_descriptions {
        tx.hold(row.content, Holder::Account(account))?;
        tx.prepare_cached(
            "INSERT OR REPLACE INTO account_description (account, content, data) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![account.get(), row.content.as_bytes(), &row.data[..]])?;
    }
    for row in &rows.put_references {
        tx.prepare_cached("INSERT INTO account_reference (account, hash, thread) VALUES (?1, ?2, ?3)")?
            .execute(params![account.get(), row.hash as i64, row.thread.as_bytes()])?;
    }
    for row in &rows.put_receipts {
        tx.prepare_cached(
            "INSERT OR REPLACE INTO account_receipt (delivery, account, version, folder, uid, expires)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            row.delivery.as_bytes(),
            account.get(),
            row.version.0,
            row.folder.0,
            row.uid.0,
            row.expires,
        ])?;
    }
    Ok(())
}

fn delete_rows(tx: &mut Transaction<'_>, account: AccountId, rows: &Rows) -> Result<()> {
    for folder in &rows.delete_folders {
        for sql in [
            "DELETE FROM account_folder WHERE account = ?1 AND folder = ?2",
            "DELETE FROM account_snapshot WHERE account = ?1 AND folder = ?2",
        ] {
            tx.prepare_cached(sql)?
                .execute(params![account.get(), folder.0])?;
        }
    }
    for (folder, uid) in &rows.delete_messages {
        tx.prepare_cached("DELETE FROM account_message WHERE account = ?1 AND folder = ?2 AND uid = ?3")?
            .execute(params![account.get(), folder.0, uid.0])?;
    }
    for content in &rows.drop_descriptions {
        tx.prepare_cached("DELETE FROM account_description WHERE account = ?1 AND content = ?2")?
            .execute(params![account.get(), content.as_bytes()])?;
        tx.release(*content, Holder::Account(account))?;
    }
    Ok(())
}

fn put_folder(tx: &Transaction<'_>, account: AccountId, row: &FolderRow) -> Result<()> {
    tx.prepare_cached(
        "INSERT OR REPLACE INTO account_folder (account, folder, name, uid_validity, uid_next, role, subscribed, present,
             messages, unseen, deleted, size, deleted_size, keywords, created, changed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?
    .execute(params![
        account.get(),
        row.id.0,
        row.name,
        row.uid_validity,
        row.uid_next.0,
        row.role,
        row.subscribed,
        row.exists,
        row.messages,
        row.unseen,
        row.deleted,
        row.size,
        row.deleted_size,
        encode_keywords(&row.keywords),
        row.created.0,
        row.changed.0,
    ])?;
    Ok(())
}

/// One statement for all, since there may be a thousand.
fn put_messages(tx: &Transaction<'_>, account: AccountId, messages: &[MessageRow]) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let mut put = tx.prepare_cached(
        "INSERT OR REPLACE INTO account_message (account, folder, uid, content, thread, size, received, saved,
             flags, keywords, modseq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for row in messages {
        put.execute(params![
            account.get(),
            row.folder.0,
            row.uid.0,
            row.content.as_bytes(),
            row.thread.as_bytes(),
            row.size,
            row.received,
            row.saved,
            row.flags.bits(),
            encode_keywords(&row.keywords),
            row.modseq.0,
        ])?;
    }
    Ok(())
}
