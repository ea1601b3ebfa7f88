//! RFC 5322 and MIME: structure with offsets, envelope, building, conversion to 7 bits, Received, status notifications.
//!
//! This crate knows messages as bytes; it does not know mailboxes, protocols, storage or I/O. Everything is pure: times and unique
//! names are passed in, nothing is read or written but memory, no input makes it fail to return or grow without bound.
//!
//! * [`Describer`] scans a message while it streams by and gives its [`Description`]: structure with byte offsets, envelope, preview,
//!   facts. It is stored once ([`Description::encode`]); later questions are answered from it, with reads of just the bytes they need:
//!   [`Part::section`] for IMAP sections, [`text`] for searching, [`sevenbit`] for conversion.
//! * [`header`], [`address`], [`param`], [`word`], [`date`], [`subject`], [`charset`], [`transfer`], [`xtext`] read, and where
//!   it makes sense write, the pieces messages are made of. Readers are tolerant, writers strict.
//! * [`trace`] writes what servers add, [`notify`] what they send to a sender, [`build`] what user agents write.

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
mod view;
pub mod word;
pub mod xtext;

pub use describe::{Describer, describe};
pub use description::{
    Description, Disposition, Envelope, EnvelopeAddress, Facts, Kind, MAX_ADDRESSES, MAX_DEPTH, MAX_PARTS,
    MAX_PREVIEW, MAX_REFERENCES, Param, Part, Summary,
};
pub use error::Error;
pub use section::SectionText;
pub use view::{AddressField, AddressView, AddressesView, EnvelopeView, SummaryView};

/// What of `bytes` a range names; short where it reaches past the end.
fn slice(bytes: &[u8], range: std::ops::Range<u64>) -> &[u8] {
    let clamp = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes
        .get(clamp(range.start)..clamp(range.end))
        .unwrap_or_default()
}
