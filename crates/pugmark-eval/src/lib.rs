//! Metrics of a classifier, from predictions and labels alone; explanations of its answers, from asking it.
//!
//! The numbers are scikit-learn's (`fixtures/metrics.py` makes the ones the tests compare with); beside them stand the
//! floors, which are what somebody who never looks at a photo reaches.

mod accept;
mod calibration;
mod conformal;
mod detail;
mod ensemble;
mod error;
mod evaluation;
pub mod explain;
mod floors;
mod intervals;
mod random;
mod table;

pub use accept::{Acceptance, SECONDS_A_PHOTO, accept};
pub use calibration::{Bin, Calibration, VectorScaling, fit_temperature, fit_vector};
pub use conformal::{conformal_set, conformal_threshold};
pub use detail::{Detail, Group, Origins, Sequences, detail};
pub use ensemble::Combine;
pub use error::EvalError;
pub use evaluation::{ClassMetrics, Evaluation, Floors, evaluate};
pub use floors::{SiteAlone, site_alone};
pub use intervals::{Intervals, share_interval};
pub use table::Beside;
