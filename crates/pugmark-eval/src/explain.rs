//! Why a model answers as it does: maps of what counts in a picture, and figures that say whether a map means something.
//!
//! Everything here asks the model through a [`BlackBox`]: pictures in, one score each out.

mod black_box;
mod correlation;
mod faithfulness;
mod grid;
mod heat;
mod occlusion;
mod picture;
mod regions;
mod shap;
mod superpixels;

pub use black_box::{BlackBox, Score};
pub use correlation::spearman;
pub use faithfulness::{Area, Faithfulness, faithfulness};
pub use grid::Grid;
pub use heat::{Scale, beside, overlay};
pub use occlusion::{Occlusion, occlusion};
pub use picture::Picture;
pub use regions::Regions;
pub use shap::{KernelShap, ShapValues, kernel_shap};
pub use superpixels::{Slic, superpixels};
