//! Zipf's law with exponent 1: the k-th of n is drawn with a probability proportional to 1/k.
//!
//! Rejection-inversion (Hörmann and Derflinger, "Rejection-inversion to generate variates from monotone discrete
//! distributions", 1996): exact, without tables, at most a few rounds whatever n is.

use super::dice::Dice;

/// A sampler of ranks.
#[derive(Debug, Clone, Copy)]
pub struct Zipf {
    ranks: u64,
    /// The integral of 1/x up to the left end of the hat, and up to its right end.
    left: f64,
    right: f64,
    /// Left of this distance from its integer, a point is always under the histogram.
    sure: f64,
}

impl Zipf {
    /// Over `ranks` ranks, at least one.
    pub fn new(ranks: u64) -> Self {
        let ranks = ranks.max(1);
        Self {
            ranks,
            left: 1.5_f64.ln() - 1.0,
            right: (ranks as f64 + 0.5).ln(),
            sure: 2.0 - (2.5_f64.ln() - 0.5).exp(),
        }
    }

    /// A rank from 0; the smaller, the likelier.
    pub fn draw(&self, dice: &mut Dice) -> u64 {
        loop {
            let area = self.right + dice.share() * (self.left - self.right);
            let x = area.exp();
            let rank = ((x + 0.5) as u64).clamp(1, self.ranks);
            let k = rank as f64;
            if k - x <= self.sure || area >= (k + 0.5).ln() - 1.0 / k {
                return rank - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_follow_the_law() {
        for ranks in [1, 2, 10, 1000] {
            let (zipf, mut dice) = (Zipf::new(ranks), Dice::new(1, 2, ranks));
            let draws = 200_000;
            let mut counts = vec![0_u32; ranks as usize];
            for _ in 0..draws {
                counts[zipf.draw(&mut dice) as usize] += 1;
            }
            let harmonic: f64 = (1..=ranks).map(|k| 1.0 / k as f64).sum();
            for (rank, count) in counts.iter().enumerate() {
                let expected = f64::from(draws) / (rank as f64 + 1.0) / harmonic;
                let slack = 5.0 * expected.sqrt() + 1.0;
                assert!(
                    (f64::from(*count) - expected).abs() < slack,
                    "{rank} of {ranks}: {count}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn a_great_many_ranks_cost_nothing() {
        let zipf = Zipf::new(u64::MAX / 4);
        let mut dice = Dice::new(3, 0, 0);
        assert!((0..1000).any(|_| zipf.draw(&mut dice) > 1 << 40));
    }
}
