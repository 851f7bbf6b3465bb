//! Splitmix64: a stream of numbers per seed and draw, the same on every machine and number of threads.

/// A stream of pseudo-random numbers.
pub(super) struct Random(u64);

impl Random {
    /// The stream of one draw.
    pub(super) fn new(seed: u64, draw: u64) -> Self {
        let mut start = Self(seed);
        let mixed = start.next().wrapping_add(draw);
        // Mixed once more: streams of neighbouring draws would else be shifts of one another.
        let mut stream = Self(mixed.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        Self(stream.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// An index below `count`; its bias is at most `count` in 2⁶⁴.
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }
}
