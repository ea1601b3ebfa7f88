//! Values every part of Postrider speaks of: addresses, identifiers, versions, secrets.
//!
//! A value of these types cannot be wrong: constructors validate, fields are private. This crate knows nothing
//! of protocols, storage or I/O, and imports nothing else of the project.

mod address;
mod flags;
mod id;
mod secret;

pub use address::{Address, AddressError, Domain, LocalPart, ReversePath};
pub use flags::{Flags, Keyword, KeywordError, SystemFlag};
pub use id::{AccountId, CommitId, ContentId, DeliveryId, FolderId, IdError, ThreadId, Uid, UnitId, Version};
pub use secret::Secret;
