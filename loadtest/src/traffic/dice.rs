//! Chance that is the same for the same message on every machine and with every version of every library.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A sequence of random numbers that belongs to one thing (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// What chance holds for a number, under one of several purposes so that they do not depend on one another.
    pub fn new(seed: u64, purpose: u64, number: u64) -> Self {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&purpose.to_le_bytes());
        octets[8..].copy_from_slice(&number.to_le_bytes());
        Self(xxh3_64_with_seed(&octets, seed))
    }

    /// 64 random bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 to 1, without 1.
    pub fn share(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Below `end`; 0 when `end` is.
    pub fn below(&mut self, end: u64) -> u64 {
        // Multiplying spreads 64 bits over the range; what that favours is not to be seen below 2^40.
        ((u128::from(self.roll()) * u128::from(end)) >> 64) as u64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// One of several; `None` when there is none.
    pub fn one_of<'a, T>(&mut self, several: &'a [T]) -> Option<&'a T> {
        several.get(self.below(several.len() as u64) as usize)
    }
}
