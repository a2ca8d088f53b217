//! Metrics of a classifier, from predictions and labels alone.
//!
//! The numbers are scikit-learn's (`fixtures/metrics.py` makes the ones the tests compare with); beside them stand the
//! floors, which are what somebody who never looks at a photo reaches.

mod ensemble;
mod error;
mod evaluation;
mod table;

pub use ensemble::Combine;
pub use error::EvalError;
pub use evaluation::{ClassMetrics, Evaluation, Floors, evaluate};
