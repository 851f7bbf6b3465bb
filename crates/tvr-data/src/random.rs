//! Random numbers as a function of what they are for: never of the clock, never of a thread.

/// Odd constant of SplitMix64.
pub(crate) const GOLD: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of SplitMix64.
pub(crate) fn mix64(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// SplitMix64 whose state is folded from a key of integers. Source: Steele et al. 2014, doi 10.1145/2660193.2660195.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator for a key.
    pub fn new(key: &[u64]) -> Self {
        let state =
            key.iter().fold(0, |state: u64, &part| mix64(state.wrapping_add(GOLD).wrapping_add(part)));
        Self { state }
    }

    /// The next 64 bits.
    #[allow(
        clippy::should_implement_trait,
        reason = "a stream of numbers that never ends is no iterator here"
    )]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLD);
        mix64(self.state)
    }

    /// A number in `0..count`; `count` at most 2³².
    pub fn below(&mut self, count: u64) -> u64 {
        ((self.next() >> 32).wrapping_mul(count)) >> 32
    }

    /// A number in `low..=high`.
    pub(crate) fn span(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    /// True in `per_mille` of 1,000 cases.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// An index, by its weight.
    pub(crate) fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut rest = self.below(weights.iter().sum());
        for (index, &weight) in weights.iter().enumerate() {
            if rest < weight {
                return index;
            }
            rest -= weight;
        }
        weights.len() - 1
    }

    /// One of `a|b|c`; the first is the most frequent.
    pub(crate) fn pick<'a>(&mut self, choices: &'a str) -> &'a str {
        let count = choices.split('|').count() as u64;
        let (first, second) = (self.below(count), self.below(count));
        choices.split('|').nth(first.min(second) as usize).unwrap_or(choices)
    }
}

/// The generator for one purpose: everything random in tvr comes from `(seed, purpose, index)`.
pub fn stream(seed: u64, purpose: &str, index: u64) -> Rng {
    let name = purpose
        .bytes()
        .fold(0, |name: u64, byte| mix64(name.wrapping_add(GOLD).wrapping_add(u64::from(byte))));
    Rng::new(&[seed, name, index])
}
