//! Which factor comes next.

/// Beyond these it gives up: the profile is not made for the server.
const MOST: f64 = 4096.0;
const LEAST: f64 = 1.0 / 1024.0;

/// Doubles until it breaks or halves until it holds, then bisects.
#[derive(Debug)]
pub(super) struct Search {
    /// The highest factor that held.
    held: Option<f64>,
    /// The lowest one that broke.
    broke: Option<f64>,
    /// Bisections left.
    rounds: u32,
    /// So often in a row a factor has to break.
    attempts: u32,
    trying: f64,
    /// How often it has broken.
    failures: u32,
}

impl Search {
    pub(super) fn new(rounds: u32, attempts: u32) -> Self {
        Self {
            held: None,
            broke: None,
            rounds,
            attempts: attempts.max(1),
            trying: 1.0,
            failures: 0,
        }
    }

    /// The factor to try next; none when the answer is near enough or there is none.
    pub(super) fn next(&mut self) -> Option<f64> {
        if self.failures > 0 {
            return Some(self.trying);
        }
        self.trying = match (self.held, self.broke) {
            (None, None) => 1.0,
            (Some(held), None) => held * 2.0,
            (None, Some(broke)) => broke / 2.0,
            (Some(held), Some(broke)) => {
                self.rounds = self.rounds.checked_sub(1)?;
                held.midpoint(broke)
            }
        };
        (LEAST..=MOST).contains(&self.trying).then_some(self.trying)
    }

    /// How the factor did.
    pub(super) fn told(&mut self, held: bool) {
        self.failures = if held { 0 } else { self.failures + 1 };
        if held {
            self.held = Some(self.trying);
        } else if self.failures == self.attempts {
            self.failures = 0;
            self.broke = Some(self.trying);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(knee: f64) -> (Vec<f64>, Option<f64>) {
        let mut search = Search::new(4, 1);
        let mut tried = Vec::new();
        while let Some(factor) = search.next() {
            tried.push(factor);
            search.told(factor <= knee);
        }
        (tried, search.held)
    }

    #[test]
    fn doubles_then_bisects() {
        let (tried, held) = search(5.3);
        assert_eq!(tried, [1.0, 2.0, 4.0, 8.0, 6.0, 5.0, 5.5, 5.25]);
        assert_eq!(held, Some(5.25));
    }

    #[test]
    fn halves_when_the_first_breaks() {
        let (tried, held) = search(0.3);
        assert_eq!(&tried[..3], [1.0, 0.5, 0.25]);
        assert!(held.is_some_and(|held| (0.25..=0.3).contains(&held)));
    }

    #[test]
    fn breaking_once_may_be_an_accident() {
        let mut search = Search::new(0, 2);
        let mut tried = Vec::new();
        while let Some(factor) = search.next() {
            // The first attempt at 2 fails, and both at 4.
            let held = factor < 2.0 || (factor < 4.0 && tried.last() == Some(&factor));
            tried.push(factor);
            search.told(held);
        }
        assert_eq!(tried, [1.0, 2.0, 2.0, 4.0, 4.0]);
        assert_eq!((search.held, search.broke), (Some(2.0), Some(4.0)));
    }

    #[test]
    fn gives_up_where_there_is_no_knee() {
        assert_eq!(search(f64::INFINITY).1, Some(MOST));
        assert_eq!(search(0.0).1, None);
    }
}
