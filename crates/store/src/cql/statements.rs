//! The statements of accounts. Kinds of rows are literals: see the schema.

use postrider_cql::Statement;

/// A statement that selects the head, of one consistency or the other.
macro_rules! head {
    () => {
        "SELECT version, last_commit, used, messages, next_folder FROM account WHERE account = ? LIMIT 1"
    };
}

pub(super) const HEAD: Statement = Statement::read(head!());
pub(super) const HEAD_SERIAL: Statement = Statement::serial_read(head!());

/// The compare of compare-and-append. `version` of an account that is not there is null.
pub(super) const MOVE_HEAD: Statement = Statement::conditional(
    "UPDATE account SET version = ?, last_commit = ?, used = ?, messages = ?, next_folder = ? \
     WHERE account = ? IF version = ?",
);

pub(super) const FOLDERS: Statement = Statement::read(
    "SELECT version, last_commit, used, messages, next_folder, number, name, uid_validity, uid_next, role, subscribed, \
     present, total, unseen, deleted, size, deleted_size, keywords, created, changed \
     FROM account WHERE account = ? AND kind = 1",
);
pub(super) const PUT_FOLDER: Statement = Statement::write(
    "INSERT INTO account (account, kind, id, number, uid, name, uid_validity, uid_next, role, subscribed, present, \
     total, unseen, deleted, size, deleted_size, keywords, created, changed) \
     VALUES (?, 1, 0x, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
);
pub(super) const DELETE_FOLDER: Statement = Statement::write(
    "DELETE FROM account WHERE account = ? AND kind = 1 AND id = 0x AND number = ? AND uid = 0",
);

pub(super) const MESSAGES: Statement = Statement::read(
    "SELECT number, uid, content, thread, size, received, saved, flags, keywords, modseq FROM account \
     WHERE account = ? AND kind = 2 AND id = 0x AND number = ? AND uid >= ? AND uid <= ?",
);
pub(super) const MESSAGES_BY_UID: Statement = Statement::read(
    "SELECT number, uid, content, thread, size, received, saved, flags, keywords, modseq FROM account \
     WHERE account = ? AND kind = 2 AND id = 0x AND number = ? AND uid IN ?",
);
pub(super) const MESSAGE_CONTENTS: Statement = Statement::read(
    "SELECT uid, content FROM account WHERE account = ? AND kind = 2 AND id = 0x AND number = ? AND uid IN ?",
);
pub(super) const PUT_MESSAGE: Statement = Statement::write(
    "INSERT INTO account (account, kind, id, number, uid, content, thread, size, received, saved, flags, keywords, modseq) \
     VALUES (?, 2, 0x, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
);
pub(super) const UPDATE_MESSAGE: Statement = Statement::write(
    "UPDATE account SET flags = ?, keywords = ?, modseq = ? \
     WHERE account = ? AND kind = 2 AND id = 0x AND number = ? AND uid = ?",
);
/// A run of UIDs at once: one mark for all of them, which later reads have to pass over.
pub(super) const DELETE_MESSAGES: Statement = Statement::write(
    "DELETE FROM account WHERE account = ? AND kind = 2 AND id = 0x AND number = ? AND uid >= ? AND uid <= ?",
);

pub(super) const DESCRIPTIONS: Statement = Statement::read(
    "SELECT id, data FROM account WHERE account = ? AND kind = 3 AND id IN ? AND number = 0 AND uid = 0",
);
pub(super) const DESCRIPTION: Statement = Statement::read(
    "SELECT data FROM account WHERE account = ? AND kind = 3 AND id = ? AND number = 0 AND uid = 0",
);
/// Whether there is one.
pub(super) const DESCRIBED: Statement = Statement::read(
    "SELECT uid FROM account WHERE account = ? AND kind = 3 AND id = ? AND number = 0 AND uid = 0",
);
pub(super) const DESCRIBED_CONTENTS: Statement =
    Statement::read("SELECT id FROM account WHERE account = ? AND kind = 3");
pub(super) const PUT_DESCRIPTION: Statement =
    Statement::write("INSERT INTO account (account, kind, id, number, uid, data) VALUES (?, 3, ?, 0, 0, ?)");
pub(super) const DELETE_DESCRIPTION: Statement =
    Statement::write("DELETE FROM account WHERE account = ? AND kind = 3 AND id = ?");

pub(super) const PLACES: Statement =
    Statement::read("SELECT id, number, uid FROM account WHERE account = ? AND kind = 4 AND id IN ?");
pub(super) const PUT_PLACE: Statement =
    Statement::write("INSERT INTO account (account, kind, id, number, uid) VALUES (?, 4, ?, ?, ?)");
/// All places of a content.
pub(super) const DELETE_PLACES: Statement =
    Statement::write("DELETE FROM account WHERE account = ? AND kind = 4 AND id = ?");

pub(super) const CHANGES: Statement = Statement::read(
    "SELECT number, time, data FROM account WHERE account = ? AND kind = 5 AND id = 0x AND number > ?",
);
/// Which commit made a version.
pub(super) const CHANGE_COMMIT: Statement = Statement::read(
    "SELECT commit_id FROM account WHERE account = ? AND kind = 5 AND id = 0x AND number = ? AND uid = 0",
);
pub(super) const PUT_CHANGE: Statement = Statement::write(
    "INSERT INTO account (account, kind, id, number, uid, time, data, commit_id) VALUES (?, 5, 0x, ?, 0, ?, ?, ?) \
     USING TTL ?",
);

pub(super) const REFERENCES: Statement = Statement::read(
    "SELECT number, thread FROM account WHERE account = ? AND kind = 6 AND id = 0x AND number IN ? AND uid = 0",
);
pub(super) const PUT_REFERENCE: Statement = Statement::conditional(
    "INSERT INTO account (account, kind, id, number, uid, thread) VALUES (?, 6, 0x, ?, 0, ?) IF NOT EXISTS",
);

pub(super) const RECEIPTS: Statement = Statement::read(
    "SELECT id, modseq, folder, message, expires FROM account \
     WHERE account = ? AND kind = 7 AND id IN ? AND number = 0 AND uid = 0",
);
pub(super) const PUT_RECEIPT: Statement = Statement::conditional(
    "INSERT INTO account (account, kind, id, number, uid, modseq, folder, message, expires) \
     VALUES (?, 7, ?, 0, 0, ?, ?, ?, ?) IF NOT EXISTS USING TTL ?",
);

/// The head of an account that is removed becomes null again, and so are all its rows gone, in one step.
pub(super) const FORGET_HEAD: Statement = Statement::conditional(
    "UPDATE account SET version = null, last_commit = null, used = null, messages = null, next_folder = null \
     WHERE account = ? IF version = ?",
);
pub(super) const DELETE_KIND: Statement =
    Statement::write("DELETE FROM account WHERE account = ? AND kind = ?");

pub(super) const SNAPSHOT: Statement =
    Statement::read("SELECT version, length, data FROM account_snapshot WHERE account = ? AND folder = ?");
pub(super) const PUT_SNAPSHOT: Statement = Statement::write(
    "INSERT INTO account_snapshot (account, folder, piece, version, length, data) VALUES (?, ?, ?, ?, ?, ?) \
     USING TIMESTAMP ?",
);
pub(super) const CUT_SNAPSHOT: Statement = Statement::write(
    "DELETE FROM account_snapshot USING TIMESTAMP ? WHERE account = ? AND folder = ? AND piece >= ?",
);
pub(super) const DELETE_SNAPSHOT: Statement =
    Statement::write("DELETE FROM account_snapshot WHERE account = ? AND folder = ?");
pub(super) const DELETE_SNAPSHOTS: Statement =
    Statement::write("DELETE FROM account_snapshot WHERE account = ?");

pub(super) const LIST: Statement =
    Statement::read("SELECT account FROM account_list WHERE bucket = ? AND account > ?");
pub(super) const PUT_LISTED: Statement =
    Statement::write("INSERT INTO account_list (bucket, account) VALUES (?, ?)");
pub(super) const DELETE_LISTED: Statement =
    Statement::write("DELETE FROM account_list WHERE bucket = ? AND account = ?");
