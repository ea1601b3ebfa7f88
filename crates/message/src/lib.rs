//! RFC 5322 and MIME: structure with offsets, envelope, building, conversion to 7 bits, Received, status notifications.
//!
//! This crate knows messages as bytes; it does not know mailboxes, protocols, storage or I/O.
