//! How big messages are.

use super::dice::Dice;

const KIB: f64 = 1024.0;

/// The distribution as measured in the field: up to which size, in octets, which share of the messages lies.
pub const FIELD: [(u64, f64); 6] = [
    (2 << 10, 0.24),
    (4 << 10, 0.49),
    (8 << 10, 0.68),
    (32 << 10, 0.85),
    (128 << 10, 0.93),
    (1 << 20, 0.985),
];

/// The mean that belongs to it, in octets.
pub const FIELD_MEAN: f64 = 75.0 * KIB;

/// The smallest, in octets: little more than a header.
const SMALLEST: f64 = 700.0;

/// The largest, in octets: below what servers take when they are not configured (10,240,000 with Postfix).
const LARGEST: f64 = 9216.0 * KIB;

/// The exponent of the bounded Pareto law above 1 MiB. It gives those a mean of 2.65 MiB, and with that all messages theirs.
const TAIL: f64 = 0.815;

/// A size in octets. Between the measured points sizes are spread evenly on a logarithmic scale.
pub fn draw(dice: &mut Dice) -> u64 {
    let share = dice.share();
    let (mut from, mut below) = (SMALLEST, 0.0);
    for (to, up_to) in FIELD {
        let to = to as f64;
        if share < up_to {
            let within = (share - below) / (up_to - below);
            return (from * (to / from).powf(within)) as u64;
        }
        (from, below) = (to, up_to);
    }
    let within = (share - below) / (1.0 - below);
    let cut = 1.0 - (from / LARGEST).powf(TAIL);
    (from / (1.0 - within * cut).powf(1.0 / TAIL)).min(LARGEST) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_mean_are_those_of_the_field() {
        let mut dice = Dice::new(11, 0, 0);
        let draws = 1_000_000;
        let sizes: Vec<u64> = (0..draws).map(|_| draw(&mut dice)).collect();
        for (size, share) in FIELD {
            let below = sizes.iter().filter(|drawn| **drawn < size).count() as f64 / f64::from(draws);
            assert!((below - share).abs() < 0.003, "{below} below {size}, not {share}");
        }
        let mean = sizes.iter().sum::<u64>() as f64 / f64::from(draws);
        assert!((mean / FIELD_MEAN - 1.0).abs() < 0.02, "mean {mean}");
        assert!(sizes.iter().all(|size| (700..=9 << 20).contains(size)));
    }
}
