use crate::{Graph, Param, Role, Tensor, Tensors};

/// How a parameter's first values are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initial {
    /// All alike.
    Constant(f64),
    /// Normal about 0.
    Normal {
        /// Standard deviation.
        deviation: f64,
    },
    /// Uniform in +-1 / sqrt(fan).
    Uniform {
        /// Values summed into one output, or outputs.
        fan: usize,
    },
}

/// How the layers of a model family start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// torchvision's ResNets: convolutions normal with variance 2 / fan-out (arXiv 1502.01852), linear layers and all biases
    /// uniform in +-1 / sqrt(fan-in).
    #[default]
    Residual,
    /// torchvision's ConvNeXt and the linear layers of its Swin: weights normal with deviation 0.02, biases 0. PyTorch's
    /// `trunc_normal_` cuts at +-2, a hundred deviations away.
    Narrow,
    /// PyTorch's own: weights and biases uniform in +-1 / sqrt(fan-in).
    Uniform,
    /// torchvision's EfficientNet: convolutions as in its ResNets, linear layers uniform in +-1 / sqrt(fan-out), biases 0.
    Efficient,
}

impl Scheme {
    /// How a parameter starts; norms at 1 and 0 in every scheme.
    pub(crate) fn initial(self, role: Role, shape: &[usize]) -> Initial {
        match (self, role) {
            (_, Role::NormWeight | Role::RunningVar | Role::LayerScale) => Initial::Constant(1.0),
            (_, Role::NormBias | Role::RunningMean) => Initial::Constant(0.0),
            // The same cut.
            (_, Role::PositionBias) => Initial::Normal { deviation: 0.02 },
            (Scheme::Residual | Scheme::Efficient, Role::ConvWeight) => {
                let fan_out = shape[0] * shape[2] * shape[3];
                Initial::Normal { deviation: (2.0 / fan_out as f64).sqrt() }
            }
            (Scheme::Uniform, Role::ConvWeight) => Initial::Uniform { fan: shape[1..].iter().product() },
            (Scheme::Residual | Scheme::Uniform, Role::LinearWeight) => Initial::Uniform { fan: shape[1] },
            (Scheme::Residual | Scheme::Uniform, Role::Bias { fan_in }) => Initial::Uniform { fan: fan_in },
            (Scheme::Narrow, Role::ConvWeight | Role::LinearWeight) => Initial::Normal { deviation: 0.02 },
            (Scheme::Efficient, Role::LinearWeight) => Initial::Uniform { fan: shape[0] },
            (Scheme::Narrow | Scheme::Efficient, Role::Bias { .. }) => Initial::Constant(0.0),
        }
    }
}

impl Graph {
    /// Initial values as torchvision gives them, from `seed`.
    ///
    /// A tensor's values depend on the seed, its name and how it is drawn alone.
    pub fn initialise(&self, seed: u64) -> Tensors {
        self.initialise_where(seed, |_| true)
    }

    /// [`Graph::initialise`] for some of the parameters: drawing millions of values that a file has is no use.
    pub fn initialise_where(&self, seed: u64, wanted: impl Fn(&Param) -> bool) -> Tensors {
        self.params()
            .iter()
            .filter(|param| wanted(param))
            .map(|param| {
                let mut random = Random::new(seed, &param.name);
                let mut value = || match param.initial {
                    Initial::Constant(value) => value,
                    Initial::Normal { deviation } => random.normal() * deviation,
                    Initial::Uniform { fan } => random.symmetric(fan),
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

    /// Uniform in +-1 / sqrt(fan).
    fn symmetric(&mut self, fan: usize) -> f64 {
        (2.0 * self.uniform() - 1.0) / (fan as f64).sqrt()
    }

    /// Standard normal (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}
