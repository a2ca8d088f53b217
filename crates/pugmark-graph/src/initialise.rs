use crate::{Graph, Role, Tensor, Tensors};

impl Graph {
    /// Initial values as torchvision gives them, from `seed`: convolutions normal with variance 2 / fan-out (arXiv
    /// 1502.01852), linear layers and biases uniform in +-1 / sqrt(fan-in), norms 1 and 0.
    ///
    /// A tensor's values depend on the seed and its name alone.
    pub fn initialise(&self, seed: u64) -> Tensors {
        self.params()
            .iter()
            .map(|param| {
                let mut random = Random::new(seed, &param.name);
                let mut value: Box<dyn FnMut() -> f64> = match param.role {
                    Role::ConvWeight => {
                        let fan_out = param.shape[0] * param.shape[2] * param.shape[3];
                        let deviation = (2.0 / fan_out as f64).sqrt();
                        Box::new(move || random.normal() * deviation)
                    }
                    Role::LinearWeight => Box::new(move || random.symmetric(param.shape[1])),
                    Role::Bias { fan_in } => Box::new(move || random.symmetric(fan_in)),
                    Role::NormWeight | Role::RunningVar => Box::new(|| 1.0),
                    Role::NormBias | Role::RunningMean => Box::new(|| 0.0),
                };
                let values = (0..param.len()).map(|_| value() as f32).collect();
                (param.name.clone(), Tensor { shape: param.shape.clone(), values })
            })
            .collect()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014), keyed by FNV-1a of the tensor's name.
struct Random(u64);

impl Random {
    fn new(seed: u64, name: &str) -> Self {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| {
            (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in +-1 / sqrt(fan_in).
    fn symmetric(&mut self, fan_in: usize) -> f64 {
        (2.0 * self.uniform() - 1.0) / (fan_in as f64).sqrt()
    }

    /// Standard normal (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}
