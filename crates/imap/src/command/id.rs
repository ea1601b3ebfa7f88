//! `ID` (RFC 2971).
//!
//! ```text
//! id            = "ID" SP id-params-list
//! id-params-list = "(" [string SP nstring *(SP string SP nstring)] ")" / nil
//! ```

/// What the client says it is: at most 30 fields, as sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Id(pub Vec<(String, Option<String>)>);
