-- Heads. An account without a row here is at version 0.
CREATE TABLE account (
    account INTEGER PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL,
    last_commit BLOB NOT NULL,
    used INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    next_folder INTEGER NOT NULL
) STRICT;

CREATE TABLE account_folder (
    account INTEGER NOT NULL,
    folder INTEGER NOT NULL,
    name TEXT NOT NULL,
    uid_validity INTEGER NOT NULL,
    uid_next INTEGER NOT NULL,
    role TEXT NOT NULL,
    subscribed INTEGER NOT NULL,
    present INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    unseen INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    size INTEGER NOT NULL,
    deleted_size INTEGER NOT NULL,
    keywords TEXT NOT NULL,
    created INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (account, folder)
) STRICT, WITHOUT ROWID;

CREATE TABLE account_message (
    account INTEGER NOT NULL,
    folder INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    content BLOB NOT NULL,
    thread BLOB NOT NULL,
    size INTEGER NOT NULL,
    received INTEGER NOT NULL,
    saved INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    keywords TEXT NOT NULL,
    modseq INTEGER NOT NULL,
    PRIMARY KEY (account, folder, uid)
) STRICT, WITHOUT ROWID;

-- Where a content is in its account. Contents before accounts: both are always given, and ids of contents ascend with time, so that the
-- deliveries of a batch, whatever their accounts, meet in one page.
CREATE INDEX account_message_content ON account_message (content, account);

CREATE TABLE account_description (
    account INTEGER NOT NULL,
    content BLOB NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (account, content)
) STRICT, WITHOUT ROWID;

CREATE TABLE account_change (
    account INTEGER NOT NULL,
    version INTEGER NOT NULL,
    time INTEGER NOT NULL,
    changes BLOB NOT NULL,
    PRIMARY KEY (account, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE account_reference (
    account INTEGER NOT NULL,
    hash INTEGER NOT NULL,
    thread BLOB NOT NULL,
    PRIMARY KEY (account, hash)
) STRICT, WITHOUT ROWID;

-- Deliveries before accounts, for the same reason; and the oldest are in front, where expiry begins.
CREATE TABLE account_receipt (
    delivery BLOB NOT NULL,
    account INTEGER NOT NULL,
    version INTEGER NOT NULL,
    folder INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (delivery, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE account_snapshot (
    account INTEGER NOT NULL,
    folder INTEGER NOT NULL,
    version INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (account, folder)
) STRICT, WITHOUT ROWID;
