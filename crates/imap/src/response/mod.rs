//! Responses, written straight into the output buffer.
//!
//! Every function appends whole response lines (or, for [`FetchLine`], pieces of one) to a `BytesMut` and allocates nothing
//! but the buffer's own growth. None can fail: what a text cannot say as a quoted string becomes a literal, and human
//! text is cleaned of line ends.

mod code;
mod envelope;
mod fetch;
mod mailbox;
mod quota;
mod search;
mod status;
mod structure;
mod text;

pub use code::Code;
pub use envelope::put as envelope;
pub use fetch::{FetchLine, Rfc822};
pub(crate) use fetch::{put_part, put_partial, put_section};
pub(crate) use mailbox::flag_list;
pub use mailbox::{
    Attribute, ListLine, Namespaces, exists, expunge, flags, list, lsub, mailbox_status, namespace, recent,
    vanished,
};
pub use quota::{Usage, quota, quota_root};
pub use search::{ESearch, ThreadNode, esearch, search, sort, thread};
pub use status::{Kind, Reply, capability, enabled, id, untagged};
pub use text::{Numbers, Syntax};
pub(crate) use text::{human, is_astring_char, number, string};
