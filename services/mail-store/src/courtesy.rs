//! Turns at an account that another instance changes as well.
//!
//! Of two instances that commit at the same time one loses, reads what the other did and plans anew. The winner could commit again
//! before the loser has done so, and again: what waits there would never get its turn. So while others work on an account, whoever
//! has made a commit lets them go first, for about as long as it takes to make one. Two instances then take turns, and what
//! gathers meanwhile is merged. If nobody has come, that may have been too short for whoever reads what was done and plans anew: the next
//! time is twice as long, until it is clear that nobody is there. An account that nobody else changes knows none of this.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// So many commits in a row that met nobody end it.
const REMEMBERED: u32 = 6;
/// The longest wait for others.
const LONGEST: Duration = Duration::from_millis(500);

/// Whether others work on an account, and whose turn it is.
#[derive(Default)]
pub(crate) struct Courtesy(Mutex<Turn>);

#[derive(Default)]
struct Turn {
    /// Commits until others are taken to have gone.
    shared: u32,
    /// What a commit takes, from reading what others did to its outcome; smoothed.
    effort: Duration,
    /// Until when others go first.
    theirs: Option<Instant>,
}

impl Courtesy {
    /// Whether somebody else has changed the account of late.
    pub fn is_shared(&self) -> bool {
        self.0.lock().shared > 0
    }

    /// Somebody else has changed the account.
    pub fn met(&self) {
        self.0.lock().shared = REMEMBERED;
    }

    /// A commit was made that took so long.
    pub fn committed(&self, took: Duration) {
        let mut turn = self.0.lock();
        turn.effort = match turn.effort.is_zero() {
            true => took,
            false => (turn.effort * 3 + took) / 4,
        };
        let alone = REMEMBERED - turn.shared;
        turn.shared = turn.shared.saturating_sub(1);
        if turn.shared > 0 {
            let wait = turn.effort.mul_f64(rand::random_range(1.0..1.5)) * (1 << alone);
            turn.theirs = Some(Instant::now() + wait.min(LONGEST));
        }
    }

    /// Waits until it is our turn.
    pub async fn give_way(&self) {
        let theirs = self.0.lock().theirs.take();
        if let Some(until) = theirs {
            tokio::time::sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: Duration = Duration::from_millis(10);

    async fn wait_of(courtesy: &Courtesy) -> Duration {
        let begin = Instant::now();
        courtesy.give_way().await;
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_nobody() {
        let courtesy = Courtesy::default();
        for _ in 0..10 {
            courtesy.committed(COMMIT);
            assert_eq!(wait_of(&courtesy).await, Duration::ZERO);
        }
        assert!(!courtesy.is_shared());
    }

    #[tokio::test(start_paused = true)]
    async fn others_have_the_time_of_a_commit_until_they_are_gone() {
        let courtesy = Courtesy::default();
        for _ in 0..5 {
            courtesy.met();
            courtesy.committed(COMMIT);
            let wait = wait_of(&courtesy).await;
            assert!(wait >= COMMIT && wait <= COMMIT * 2, "{wait:?}");
            assert_eq!(wait_of(&courtesy).await, Duration::ZERO, "once for each commit");
        }
        for alone in 1..REMEMBERED - 1 {
            courtesy.committed(COMMIT);
            let (wait, least) = (wait_of(&courtesy).await, COMMIT * (1 << alone));
            assert!(wait >= least && wait <= least * 2, "{wait:?} after {alone}");
        }
        courtesy.committed(COMMIT);
        assert!(!courtesy.is_shared() && wait_of(&courtesy).await.is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_database_does_not_make_it_wait_for_ever() {
        let courtesy = Courtesy::default();
        courtesy.met();
        courtesy.committed(Duration::from_secs(20));
        assert!(wait_of(&courtesy).await <= LONGEST + Duration::from_millis(1));
    }
}
