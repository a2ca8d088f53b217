use thiserror::Error;

/// Why predictions could not be evaluated.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum EvalError {
    /// There is no labelled photo.
    #[error("no labelled photo to evaluate")]
    Empty,
    /// The number of probabilities is not photos times classes.
    #[error("{photos} photos and {classes} classes need {} probabilities, not {found}", photos * classes)]
    Shape {
        /// Labels given.
        photos: usize,
        /// Classes given.
        classes: usize,
        /// Probabilities given.
        found: usize,
    },
    /// A label is no index of a class.
    #[error("photo {photo} (from 0): label {label}, but there are {classes} classes")]
    Label {
        /// Index of the photo.
        photo: usize,
        /// Its label.
        label: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A row holds something that is no probability, or does not sum to one.
    #[error("photo {photo} (from 0): {what}, so these are not the probabilities of one photo")]
    Probabilities {
        /// Index of the photo.
        photo: usize,
        /// What is wrong with its row.
        what: String,
    },
}

impl EvalError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Empty => Some("evaluate a data set with labels, and a part of it that has photos".into()),
            Self::Probabilities { .. } => {
                Some("NaN means that the training diverged: train again with a lower learning rate".into())
            }
            Self::Shape { .. } | Self::Label { .. } => {
                Some("labels and predictions must come from the same list of classes".into())
            }
        }
    }
}
