//! The model file, the run folder, and the classifier: photos in, probabilities out.

mod atomic;
mod classifier;
mod error;
mod export;
mod grad_cam;
pub mod hub;
mod model_file;
mod panel;
mod run;
mod vector_scaling;

pub use atomic::{write_atomic, write_atomic_with};
pub use classifier::{Classifier, Prediction, loader_settings, loader_threads, softmax};
pub use error::ModelError;
pub use export::{Difference, ExportError, ExportFormat, Exported, check_export, export};
pub use grad_cam::GradCam;
pub use model_file::{FORMAT, Model, ModelCard};
pub use panel::{Look, Opinions, Panel};
pub use run::RunFolder;
