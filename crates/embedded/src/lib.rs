//! The substrate of the embedded engines: one SQLite database, one committer, content segments.
//!
//! This crate knows how rows and bytes become durable together on one machine. It does not know what the rows mean: each
//! engine over it (accounts, content, directory, queue) brings its own tables and statements.
