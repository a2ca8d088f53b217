//! Event files for TensorBoard: scalars of steps and epochs, histograms of the parameters, photos as the model sees them.

mod board;
mod event;
mod picture;
mod record;

pub(crate) use board::Board;
pub(crate) use picture::Mistakes;
