//! Mailboxes, folders, messages and changes: the only role that touches message storage.
