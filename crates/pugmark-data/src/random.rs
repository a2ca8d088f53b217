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

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn splitmix64_as_published() {
        // The first outputs of Vigna's reference splitmix64.c for the seed 1234567.
        let mut random = Random { state: 1_234_567 };
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([random.next_u64(), random.next_u64(), random.next_u64()], expected);
    }

    #[test]
    fn seed_epoch_and_id_all_count() {
        let first = |seed, epoch, id| Random::new(seed, epoch, id).next_u64();
        assert_eq!(first(1, 2, "a"), first(1, 2, "a"));
        let others =
            [first(1, 2, "a"), first(2, 2, "a"), first(1, 3, "a"), first(1, 2, "b"), first(2, 1, "a")];
        for (index, value) in others.iter().enumerate() {
            assert!(!others[..index].contains(value));
        }
    }

    #[test]
    fn distributions() {
        let mut random = Random::new(0, 0, "distributions");
        let count = 100_000;
        let uniform: Vec<f64> = (0..count).map(|_| f64::from(random.uniform())).collect();
        let normal: Vec<f64> = (0..count).map(|_| f64::from(random.normal())).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let variance =
            |values: &[f64]| mean(&values.iter().map(|v| v * v).collect::<Vec<_>>()) - mean(values).powi(2);
        // Five standard errors: 0.289 and 1 over the root of the count; the variances' are smaller than 0.005.
        assert!((mean(&uniform) - 0.5).abs() < 0.005 && (variance(&uniform) - 1.0 / 12.0).abs() < 0.005);
        assert!(mean(&normal).abs() < 0.016 && (variance(&normal) - 1.0).abs() < 0.023);
        assert!(uniform.iter().all(|value| (0.0..1.0).contains(value)));
        let mut dice = [0; 6];
        for _ in 0..60_000 {
            dice[random.below(6)] += 1;
        }
        // Five standard deviations of a binomial(60000, 1/6).
        assert!(dice.iter().all(|&count: &i32| (count - 10_000).abs() < 457), "{dice:?}");
        let mut items: Vec<usize> = (0..50).collect();
        random.shuffle(&mut items);
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
