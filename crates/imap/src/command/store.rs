//! `STORE`, `COPY`, `MOVE` (RFC 9051 §6.4.6 to §6.4.8, RFC 7162 §3.1.3).
//!
//! ```text
//! store = "STORE" SP sequence-set [SP "(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")"] SP store-att-flags
//! store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
//! copy  = ("COPY" / "MOVE") SP sequence-set SP mailbox
//! ```

use postrider_types::{Flags, Keyword};

use crate::set::MessageSet;

/// `STORE` or `UID STORE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The set is of UIDs.
    pub uid: bool,
    /// Which messages.
    pub set: MessageSet,
    /// How.
    pub operation: StoreOperation,
    /// `.SILENT`: do not answer with the new flags.
    pub silent: bool,
    /// Which flags.
    pub flags: FlagList,
    /// Leave messages with a greater mod-sequence alone, and name them in `[MODIFIED]`.
    pub unchanged_since: Option<u64>,
}

/// What a STORE does with its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreOperation {
    /// `FLAGS`: these and no others.
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// System flags and keywords. `\Recent` cannot be changed and is left out on parsing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlagList {
    /// System flags.
    pub flags: Flags,
    /// Keywords as written, each once, at most [`Keyword::MAX_PER_MESSAGE`].
    pub keywords: Vec<Keyword>,
}

/// `COPY` or `MOVE`, with or without `UID`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The set is of UIDs.
    pub uid: bool,
    /// Which messages.
    pub set: MessageSet,
    /// Where to.
    pub mailbox: String,
}
