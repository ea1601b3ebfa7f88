//! RFC 5322 and MIME: structure with offsets, envelope, building, conversion to 7 bits, Received, status notifications.
//!
//! This crate knows messages as bytes; it does not know mailboxes, protocols, storage or I/O.

pub mod address;
pub mod build;
pub mod charset;
pub mod date;
mod describe;
mod description;
mod error;
mod fold;
pub mod header;
mod html;
pub mod notify;
pub mod param;
mod section;
pub mod sevenbit;
pub mod subject;
pub mod text;
pub mod trace;
pub mod transfer;
pub mod word;
pub mod xtext;

pub use describe::{Describer, describe};
pub use description::{
    Description, Disposition, Envelope, EnvelopeAddress, Facts, Kind, MAX_ADDRESSES, MAX_DEPTH, MAX_PARTS,
    MAX_PREVIEW, MAX_REFERENCES, Param, Part, Summary,
};
pub use error::Error;
pub use section::SectionText;

/// What of `bytes` a range names; short where it reaches past the end.
fn slice(bytes: &[u8], range: std::ops::Range<u64>) -> &[u8] {
    let clamp = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes
        .get(clamp(range.start)..clamp(range.end))
        .unwrap_or_default()
}
