//! What must never panic, hang or grow: fuzz targets, and their corpora as ordinary tests.
//!
//! A target is a function of bytes that panics when a rule is broken. `tests/corpora.rs` runs each over its seeds
//! (`corpus/`) and over mutations of them; `cargo-fuzz/` wraps the same functions for coverage-guided fuzzing.
#![allow(clippy::panic, reason = "a target panics when a rule is broken")]

mod message;
mod pump;
mod sessions;

/// A fuzz target.
pub struct Target {
    /// Its name, and its corpus' folder.
    pub name: &'static str,
    /// Runs it once.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 6] = [
    Target {
        name: "smtp_server",
        run: sessions::smtp_server,
    },
    Target {
        name: "smtp_client",
        run: sessions::smtp_client,
    },
    Target {
        name: "imap_server",
        run: sessions::imap_server,
    },
    Target {
        name: "pop3_server",
        run: sessions::pop3_server,
    },
    Target {
        name: "structure",
        run: message::structure,
    },
    Target {
        name: "address",
        run: message::address,
    },
];
