//! Random numbers that depend on what is drawn for, never on who draws first.

use sha2::{Digest, Sha256};

/// A generator seeded by (seed, epoch, id): the same three give the same numbers on any machine and in any thread.
///
/// SplitMix64 (Steele, Lea, Flood 2014) on a state hashed with SHA-256, so that neighbouring seeds share nothing.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Seeds a generator for what happens to `id` in `epoch`.
    pub fn new(seed: u64, epoch: u64, id: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_le_bytes());
        hash.update(epoch.to_le_bytes());
        hash.update(id.as_bytes());
        let digest = hash.finalize();
        let mut state = [0; 8];
        state.copy_from_slice(&digest[..8]);
        Self { state: u64::from_le_bytes(state) }
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// Uniform in [0, 1), a multiple of 2^-24.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1 << 24) as f32
    }

    /// Uniform in 0..n; `n` must not be 0. The bias is below n / 2^64.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// Standard normal (Box-Muller, one of the pair).
    pub fn normal(&mut self) -> f32 {
        // 1 - u is in (0, 1], so that the logarithm is finite.
        let radius = (-2.0 * (1.0 - f64::from(self.uniform())).ln()).sqrt();
        let angle = std::f64::consts::TAU * f64::from(self.uniform());
        (radius * angle.cos()) as f32
    }

    /// Shuffles in place (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
