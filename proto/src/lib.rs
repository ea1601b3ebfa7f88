//! Contracts between the services: generated code, links in process and over the network, errors to status.
//!
//! The services know each other only through this crate. A client of a contract is made over a [`Link`]; whether
//! the server runs in the same process or elsewhere is decided by whoever made the link.
//!
//! The `.proto` files under `postrider/` are the documentation of each contract.

mod calls;
mod error;
mod link;

pub use calls::{Call, Repeat, Route, name_account};
pub use error::{Failure, Kind};
pub use link::Link;

/// All contracts as an encoded `FileDescriptorSet`, for the reflection service.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The most bytes one gRPC message may have: a whole inline message (1 MiB) and its envelope, with room.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

macro_rules! contract {
    ($(#[$doc:meta])* $name:ident, $package:literal) => {
        $(#[$doc])*
        #[allow(missing_docs, clippy::all, clippy::pedantic, clippy::unwrap_used, clippy::panic)]
        pub mod $name {
            tonic::include_proto!($package);
        }
    };
}

contract! {
    /// Domains, accounts, aliases, credentials, limits.
    directory, "postrider.directory.v1"
}
contract! {
    /// Mailboxes, folders, messages, changes.
    mailstore, "postrider.mailstore.v1"
}
contract! {
    /// What an operator asks of a node as a whole.
    operations, "postrider.operations.v1"
}
contract! {
    /// The operators' view of the outbound queue.
    queue, "postrider.queue.v1"
}
contract! {
    /// Submission without SMTP.
    submission, "postrider.submission.v1"
}
