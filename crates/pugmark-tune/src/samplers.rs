//! How the next settings are proposed.

mod grid;
pub(crate) mod random;
mod sobol;

use crate::Sampler;
pub use grid::Grid;

/// The samplers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SamplerKind {
    /// Every trial on its own.
    #[default]
    Random,
    /// Evenly over the space.
    Sobol,
    /// Every combination, with so many values of a range.
    Grid(u32),
}

impl SamplerKind {
    /// The sampler whose random numbers start at `seed`.
    pub fn sampler(self, seed: u64) -> Box<dyn Sampler> {
        match self {
            Self::Random => Box::new(random::Random { seed }),
            Self::Sobol => Box::new(sobol::Sobol { seed }),
            Self::Grid(count) => Box::new(Grid::new(count)),
        }
    }
}
