//! What can go wrong.

/// Why a message, or what is known of it, could not be used. All are permanent: the same input fails again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not an encoded description, or of a newer format.
    #[error("the stored description is damaged or of a newer format")]
    Description,
    /// An address outside ASCII cannot be written for a server without SMTPUTF8 (RFC 6531 §3.6).
    #[error("the {0} field has an address that only servers with SMTPUTF8 can carry")]
    Utf8Address(String),
    /// The message has more parts than are told apart, and the rest of it is not 7-bit.
    #[error("the message has too many parts to be converted")]
    TooManyParts,
    /// A header of more than [`crate::sevenbit::MAX_HEADER`] bytes is not rewritten.
    #[error("a header is too large to be rewritten")]
    HeaderTooLarge,
    /// The bytes given are not those the description was made from.
    #[error("the message does not match its description")]
    Mismatch,
}
