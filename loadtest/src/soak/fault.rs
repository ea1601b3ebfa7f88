//! What a fault is.

use anyhow::Result;
use futures::future::BoxFuture;

use super::dress::Dress;
use super::scene::Scene;

/// 1,048,576 bytes.
pub const MIB: u64 = 1 << 20;

/// Resident memory that the server may have under the load of a soak, when a fault states nothing else.
pub const BUDGET: u64 = 384 * MIB;

/// Something that is done to a server under load, and taken back.
///
/// What must hold after every one of them, beside what it checks itself: the ledger is clean, the server's resident memory
/// stayed within [`budget`](Self::budget), and every service answers again within [`recovery`](Self::recovery).
pub trait Fault: Sync {
    /// One word, for the table and `--only`.
    fn name(&self) -> &'static str;

    /// What is done, in a few words.
    fn about(&self) -> &'static str;

    /// How long [`inflict`](Self::inflict) usually takes, in seconds.
    fn length(&self) -> u64;

    /// How the server must be started for it; `Err` says why that is not possible here.
    fn dress(&self) -> Result<Dress, String> {
        Ok(Dress::Plain)
    }

    /// Resident bytes that the server may have.
    fn budget(&self) -> u64 {
        BUDGET
    }

    /// Seconds after the fault within which every service must answer.
    fn recovery(&self) -> u64 {
        10
    }

    /// Does it and takes it back. An error is a violation; it says what did not hold.
    fn inflict<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, Result<Seen>>;
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It was done; a few words with numbers.
    Done(String),
    /// It cannot be done here; why.
    Impossible(String),
}
