//! Commands as typed values.
//!
//! One file per family, each with its ABNF, its types, its parser and its encoder (the client half writes commands with
//! it). Strings are decoded: mailbox names are UTF-8 whichever way they were written, literals and quoted strings are
//! the same thing.

pub(crate) mod append;
mod auth;
mod fetch;
mod id;
mod list;
mod mailbox;
mod quota;
mod search;
mod search_key;
mod select;
mod sort;
mod status;
mod store;
mod tag;
mod verb;
pub(crate) mod writer;

pub use append::AppendMessage;
pub use auth::{Authenticate, Login};
pub use fetch::{Fetch, FetchItem, PartPath, Partial, Section, SectionText};
pub use id::Id;
pub use list::{List, ListReturn, ListSelect};
pub use mailbox::{Create, Enable, Extension, Rename, SpecialUse};
pub use quota::{QuotaResource, SetQuota};
pub use search::{DateRelation, DateWhich, ReturnOptions, Search, SearchKey};
pub use select::{QResync, Select};
pub use sort::{Sort, SortField, SortKey, Thread, ThreadAlgorithm};
pub use status::{Status, StatusItem, StatusItems};
pub use store::{Copy, FlagList, Store, StoreOperation};
pub use tag::Tag;

use crate::set::MessageSet;

/// A command without its tag.
///
/// Those marked *session* never reach the session's owner as a command: the session answers them, or turns them into
/// events of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    // Any state.
    /// `CAPABILITY` (session)
    Capability,
    /// `NOOP`: announce what is new, then complete.
    Noop,
    /// `LOGOUT` (session)
    Logout,
    /// `ID` (RFC 2971): answer with an ID response.
    Id(Id),

    // Not authenticated.
    /// `STARTTLS` (session)
    StartTls,
    /// `AUTHENTICATE` (session)
    Authenticate(Authenticate),
    /// `LOGIN` (session)
    Login(Login),

    // Authenticated or selected.
    /// `ENABLE` (session): the owner asks [`crate::Session::enabled`] what is on.
    Enable(Enable),
    /// `SELECT` or `EXAMINE`. The mailbox selected before is closed already, whatever the outcome.
    Select(Select),
    /// `CREATE`, with a special use perhaps (RFC 6154).
    Create(Create),
    /// `DELETE`
    Delete(String),
    /// `RENAME`
    Rename(Rename),
    /// `SUBSCRIBE`
    Subscribe(String),
    /// `UNSUBSCRIBE`
    Unsubscribe(String),
    /// `LIST`, plain or extended (RFC 5258).
    List(List),
    /// `LSUB` (RFC 3501): LSUB responses instead of LIST ones.
    Lsub {
        /// Joined in front of the pattern.
        reference: String,
        /// With `%` and `*`.
        pattern: String,
    },
    /// `NAMESPACE` (RFC 2342)
    Namespace,
    /// `STATUS`
    Status(Status),
    /// `IDLE` (session): becomes [`crate::Event::Idle`].
    Idle,
    /// `GETQUOTA` (RFC 9208), with the quota root's name.
    GetQuota(String),
    /// `GETQUOTAROOT`, with a mailbox.
    GetQuotaRoot(String),
    /// `SETQUOTA`
    SetQuota(SetQuota),

    // Selected.
    /// `CHECK` (RFC 3501): as NOOP.
    Check,
    /// `CLOSE`: expunge without announcing (unless read-only), then leave.
    Close,
    /// `UNSELECT`: leave.
    Unselect,
    /// `EXPUNGE`, or with UIDs `UID EXPUNGE`.
    Expunge(Option<MessageSet>),
    /// `SEARCH`, `UID SEARCH`
    Search(Search),
    /// `SORT`, `UID SORT`
    Sort(Sort),
    /// `THREAD`, `UID THREAD`
    Thread(Thread),
    /// `FETCH`, `UID FETCH`
    Fetch(Fetch),
    /// `STORE`, `UID STORE`
    Store(Store),
    /// `COPY`, `UID COPY`
    Copy(Copy),
    /// `MOVE`, `UID MOVE` (RFC 6851)
    Move(Copy),
}
