//! What can be wrong with a data set.

use thiserror::Error;

/// Why a data set cannot be read or split. [`DataError::hint`] says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// placeholder
    #[error("not implemented")]
    Placeholder,
}

impl DataError {
    /// What to do about it, in one or two plain sentences.
    pub fn hint(&self) -> Option<String> {
        None
    }
}
