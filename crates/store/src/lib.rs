//! Engine traits for accounts, content and the directory; the memory and embedded engines; their contract suite.
//!
//! An engine stores rows and bytes and knows nothing of IMAP, POP3 or JMAP: what the rows mean is written once, in
//! `mail-store` and `directory`, above these traits.
//!
//! * [`account`]: one account is one log of commits; the rows, and the [`AccountEngine`] trait.
//! * [`content`]: immutable message bytes; the [`ContentEngine`] trait.
//! * [`directory`]: domains, accounts, aliases, credentials; the [`DirectoryEngine`] trait.
//! * `memory` and `embedded` implement all three; `suite` (feature of the same name) is what every engine must pass.

pub mod account;
pub mod content;
pub mod directory;
mod error;

pub use account::AccountEngine;
pub use content::ContentEngine;
pub use directory::DirectoryEngine;
pub use error::{Error, Result};
