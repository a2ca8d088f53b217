//! Random numbers that depend on nothing but what they are for.

use crate::{Sampler, Settings, Space, Trial};

/// SplitMix64 (Steele, Lea and Flood, 2014), keyed by the study's seed, the trial's number and the purpose.
pub(crate) struct Generator {
    state: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64, number: u32, purpose: u64) -> Self {
        let mut generator = Self { state: seed };
        generator.state = generator.bits() ^ u64::from(number);
        generator.state = generator.bits() ^ purpose;
        generator
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly in [0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of the standard normal distribution (Box and Muller, 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// An index, each as likely as its weight.
    pub(crate) fn pick(&mut self, weights: &[f64]) -> usize {
        let mut left = self.uniform() * weights.iter().sum::<f64>();
        for (i, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return i;
            }
        }
        // Rounding can leave a rest behind the last.
        weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0)
    }
}

/// Every trial on its own, evenly on each parameter's scale.
pub(super) struct Random {
    pub(super) seed: u64,
}

impl Sampler for Random {
    fn propose(&self, space: &Space, _history: &[Trial], number: u32) -> Settings {
        let mut random = Generator::new(self.seed, number, 0);
        space.from_unit(&space.parameters.iter().map(|_| random.uniform()).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_the_numbers() {
        let mut random = Generator::new(3, 1, 4);
        let uniform: Vec<f64> = (0..40_000).map(|_| random.uniform()).collect();
        let normal: Vec<f64> = (0..40_000).map(|_| random.normal()).collect();
        let moment =
            |values: &[f64], power| values.iter().map(|x| x.powi(power)).sum::<f64>() / values.len() as f64;
        // Five standard errors of each mean.
        assert!(
            (moment(&uniform, 1) - 0.5).abs() < 0.0072 && (moment(&uniform, 2) - 1.0 / 3.0).abs() < 0.0075
        );
        assert!(moment(&normal, 1).abs() < 0.025 && (moment(&normal, 2) - 1.0).abs() < 0.0354);
        assert!((moment(&normal, 4) - 3.0).abs() < 0.25);
        let picked = (0..4000).filter(|_| random.pick(&[1.0, 0.0, 3.0]) == 2).count();
        assert!((2850..3150).contains(&picked), "{picked}");
    }

    #[test]
    fn neighbours_share_nothing() {
        let first = |seed, number, purpose| Generator::new(seed, number, purpose).bits();
        let bits = [first(0, 0, 0), first(1, 0, 0), first(0, 1, 0), first(0, 0, 1)];
        for i in 0..4 {
            for j in 0..i {
                // 32 of 64 bits differ, give or take five standard deviations.
                assert!(((bits[i] ^ bits[j]).count_ones() as i32 - 32).abs() <= 20);
            }
        }
    }
}
