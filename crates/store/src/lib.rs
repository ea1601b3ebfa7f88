//! Engine traits for accounts, content and the directory; the memory, embedded and CQL engines; their contract suite.
//!
//! An engine stores rows and bytes and knows nothing of IMAP, POP3 or JMAP: what the rows mean is written once, in
//! `mail-store` and `directory`, above these traits.
//!
//! * [`account`]: one account is one log of commits; the rows, and the [`AccountEngine`] trait.
//! * [`content`]: immutable message bytes; the [`ContentEngine`] trait.
//! * [`directory`]: domains, accounts, aliases, credentials; the [`DirectoryEngine`] trait.
//! * [`memory`], [`embedded`] and [`cql`] implement accounts and content (engines of the directory are in [`directory`]); `suite` (feature of
//!   the same name) is what every engine must pass.
//! * [`encode`]: the bytes of composite columns, the same in every engine.

pub mod account;
mod clock;
pub mod content;
pub mod cql;
pub mod directory;
pub mod embedded;
pub mod encode;
mod error;
mod keys;
pub mod memory;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

pub use account::AccountEngine;
use clock::unix_millis;
pub use content::ContentEngine;
pub use directory::DirectoryEngine;
pub use error::{Error, Result};
