//! The actors: clients of four kinds, built on the protocol crates' client halves.
//!
//! An actor never waits for the server before the next thing is due: arrivals come from a `schedule`; those that find no
//! free connection wait in a bounded line and their latency shows it; when the line is full they end as
//! [`Outcome::Broken`](crate::operation::Outcome::Broken). Every wait for a peer has a time-out.
//!
//! * [`Mx`](Actor::Mx) and [`Submission`](Actor::Submission): one transaction per arrival. What was refused for now is tried again
//!   a few times, each time as an operation of its own; what got no answer never is.
//! * [`ImapDevice`](Actor::ImapDevice): stays connected, idles, and does now and then what users do.
//! * [`Pop3Poller`](Actor::Pop3Poller): one session per arrival.
//!
//! When [`World::stop`] is cancelled nothing new begins; what has begun ends within the time-outs of [`crate::net`], what still
//! waits in line within ten seconds.

mod device;
mod line;
mod poller;
mod recent;
mod sender;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

pub use recent::Recent;

use crate::ledger::{Ledger, LedgerError};
use crate::net::{Failure, outcome};
use crate::operation::Operation;
use crate::profile::{Actor, Arrivals, Phase, Profile};
use crate::recorder::Recorder;
use crate::schedule::Schedule;
use crate::target::Target;
use crate::traffic::{ACTOR_SHIFT, Dice, Letters};

/// Chance that belongs to an actor as a whole.
const OF_ACTOR: u64 = 100;

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
    /// Which messages were answered lately, for those who measure how soon a device hears of them. Begins empty.
    pub recent: Recent,
    /// Cancelled when arrivals end: finish what has begun, then return.
    pub stop: CancellationToken,
}

/// Plays one actor of the profile until the run ends. `index` is its place in the profile (part of its random seed).
///
/// An actor whose address the target does not have does nothing.
pub async fn play(world: Arc<World>, actor: &Actor, index: usize) {
    match actor {
        Actor::Mx(sender) => sender::play(world, sender, sender::Role::Mx, index).await,
        Actor::Submission(sender) => sender::play(world, sender, sender::Role::Submission, index).await,
        Actor::ImapDevice(devices) => device::play(world, devices, index).await,
        Actor::Pop3Poller(pollers) => poller::play(world, pollers, index).await,
    }
}

impl World {
    /// When an actor's arrivals are due.
    fn schedule(&self, rate: &[Phase], arrivals: Arrivals, index: usize) -> Schedule {
        let seed = Dice::new(self.seed, OF_ACTOR, index as u64).roll();
        Schedule::new(rate, self.recorder.length(), arrivals, seed).part(self.part)
    }

    /// Waits for a moment; false when the run ends first.
    async fn sleep_until(&self, due: Instant) -> bool {
        if self.stop.is_cancelled() {
            return false;
        }
        if due <= Instant::now() {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => true,
            () = self.stop.cancelled() => false,
        }
    }

    /// Waits for an arrival; false when the run ended before it was due. One that was due is never left out, however late this
    /// process is: leaving it out would hide that.
    async fn arrives(&self, due: Instant) -> bool {
        self.sleep_until(due).await || due <= Instant::now()
    }

    /// Does something that was due at `intended`, and records it.
    async fn timed<T>(
        &self,
        operation: Operation,
        intended: Instant,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.recorder.offered(operation, intended);
        let result = work.await;
        self.recorder.ended(operation, intended, outcome(&result));
        result
    }

    /// A moment as promises have it: microseconds since the run began.
    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.recorder.begin());
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// A ledger that cannot be written makes the run worthless: it ends.
    fn ledger_failed(&self, error: &LedgerError) {
        if !self.stop.is_cancelled() {
            self.recorder.mark(format!("stopped: {error}"));
            tracing::error!(%error, "the run ends: nothing can be promised any more");
            self.stop.cancel();
        }
    }
}

/// The number of an actor's message.
fn message_number(index: usize, within: u64) -> u64 {
    ((index as u64) << ACTOR_SHIFT) | (within & ((1 << ACTOR_SHIFT) - 1))
}

/// A time with this mean, as between events that do not know of one another.
fn exponential(dice: &mut Dice, mean: Duration) -> Duration {
    mean.mul_f64(-(1.0 - dice.share()).ln())
}
