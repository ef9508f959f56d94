//! A small seeded generator, so that a workload and a choice of LSNs can be repeated from a printed
//! seed. Not for secrets.

/// A generator of pseudo-random numbers (SplitMix64). The same seed gives the same numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator that starts from `seed`.
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A generator for a part of the work (a client, a phase), independent of how often this one is used.
    pub fn fork(&self, part: u64) -> Random {
        Random(Random(self.0 ^ part.wrapping_mul(0xA076_1D64_78BD_642F)).next_u64())
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from zero up to, not including, `bound`.
    ///
    /// # Panics
    /// If `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert_ne!(bound, 0, "an empty range has no number");
        // The bias is below bound / 2^64: nothing a workload could notice.
        self.next_u64() % bound
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_parts_differ() {
        let take = |mut r: Random| [r.next_u64(), r.next_u64(), r.next_u64()];
        assert_eq!(take(Random::new(7)), take(Random::new(7)));
        assert_ne!(take(Random::new(7).fork(1)), take(Random::new(7).fork(2)));
    }
}
