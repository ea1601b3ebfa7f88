//! The substrate of the embedded engines: one SQLite database, one committer, content segments.
