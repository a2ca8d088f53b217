//! How the next settings are proposed.

pub(crate) mod gp;
mod grid;
mod minimise;
mod normal;
pub(crate) mod observed;
pub(crate) mod random;
pub(crate) mod sobol;
mod tpe;

use std::{fmt, str::FromStr};

use crate::{Sampler, Settings, Space, State, Trial};
pub use grid::Grid;

/// Complete trials up to which [`SamplerKind::Auto`] takes the Gaussian process.
const FEW_TRIALS: usize = 100;

/// The samplers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SamplerKind {
    /// The Gaussian process for up to 100 complete trials, then the Parzen estimator, whose time hardly grows.
    #[default]
    Auto,
    /// Bayesian optimisation with a Gaussian process (Matern 5/2) and the logarithm of the expected improvement.
    GaussianProcess,
    /// The tree-structured Parzen estimator, over all parameters at once.
    Tpe,
    /// Evenly over the space: a scrambled Sobol sequence.
    Sobol,
    /// Every trial on its own.
    Random,
    /// Every combination, with so many values of a range. See [`Grid`].
    Grid(u32),
}

/// The names, as [`SamplerKind`] reads and writes them. A grid's may be followed by its count, as in `grid=5`.
pub const SAMPLERS: [&str; 6] = ["auto", "gp", "tpe", "sobol", "random", "grid"];
/// Values of a range in a grid without a count.
const GRID_COUNT: u32 = 3;

impl SamplerKind {
    /// The sampler whose random numbers start at `seed`.
    pub fn sampler(self, seed: u64) -> Box<dyn Sampler> {
        match self {
            Self::Auto => Box::new(Auto { seed }),
            Self::GaussianProcess => Box::new(gp::GaussianProcess { seed }),
            Self::Tpe => Box::new(tpe::Tpe { seed }),
            Self::Sobol => Box::new(sobol::Sobol { seed }),
            Self::Random => Box::new(random::Random { seed }),
            Self::Grid(count) => Box::new(Grid::new(count)),
        }
    }
}

impl FromStr for SamplerKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.split_once('=') {
            None => match text {
                "auto" => Self::Auto,
                "gp" => Self::GaussianProcess,
                "tpe" => Self::Tpe,
                "sobol" => Self::Sobol,
                "random" => Self::Random,
                "grid" => Self::Grid(GRID_COUNT),
                _ => return Err(format!("there is no sampler {text}: take one of {}", SAMPLERS.join(", "))),
            },
            Some(("grid", count)) => match count.parse() {
                Ok(count @ 1..) => Self::Grid(count),
                _ => return Err(format!("a grid has at least 1 value of a range, not {count}")),
            },
            Some((name, _)) => return Err(format!("{name} takes no count: only grid does, as in grid=5")),
        })
    }
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::GaussianProcess => f.write_str("gp"),
            Self::Tpe => f.write_str("tpe"),
            Self::Sobol => f.write_str("sobol"),
            Self::Random => f.write_str("random"),
            Self::Grid(count) => write!(f, "grid={count}"),
        }
    }
}

struct Auto {
    seed: u64,
}

impl Sampler for Auto {
    fn propose(&self, space: &Space, history: &[Trial], number: u32) -> Settings {
        let complete = history.iter().filter(|trial| trial.state == State::Complete).count();
        let kind = if complete <= FEW_TRIALS { SamplerKind::GaussianProcess } else { SamplerKind::Tpe };
        kind.sampler(self.seed).propose(space, history, number)
    }
}
