//! Administration: a gRPC listener on loopback, opened by a token that only the node's user can read.

use std::path::{Path, PathBuf};

mod client;
mod contracts;
mod journals;
mod operations;
mod token;

pub use client::{AdminArgs, Client, failure};
pub use contracts::{Contracts, follow};
pub use journals::Others;
pub use operations::OperationsService;
pub use token::Token;

/// The file in the data directory that holds the token.
pub fn token_file(data: &Path) -> PathBuf {
    data.join("admin.token")
}

/// The file in the data directory that says where the listener is (its port may have been any free one).
pub fn url_file(data: &Path) -> PathBuf {
    data.join("admin.url")
}
