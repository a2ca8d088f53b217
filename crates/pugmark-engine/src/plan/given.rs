//! What a plan is given: pictures, or values of a later node.

use super::program::{Kind, Program};
use crate::{EngineError, InputSpec};

/// The data of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Given<'a> {
    /// Height x width x RGB each.
    Pixels(&'a [u8]),
    /// The values of the node that is given, without a border.
    Features(&'a [f32]),
}

impl<'a> Given<'a> {
    /// Checks that the data fill `images` and are of the kind that the plan is given.
    pub fn checked(
        images: usize,
        pixels: &'a [u8],
        features: &'a [f32],
        input: &InputSpec,
        program: &Program,
    ) -> Result<Self, EngineError> {
        let InputSpec { batch: most, height, width, .. } = *input;
        let fits = |found: usize, each: usize| images > 0 && images <= most && found == images * each;
        let given = program.steps.iter().find(|step| matches!(step.kind, Kind::Features));
        match given.map(|step| program.values[step.output.0].plane) {
            Some(plane) => {
                let each = plane.pixels() * plane.channels;
                if !fits(features.len(), each) || !pixels.is_empty() {
                    return Err(EngineError::Features {
                        images,
                        features: each,
                        found: features.len(),
                        most,
                    });
                }
                Ok(Self::Features(features))
            }
            None if !features.is_empty() => {
                Err(EngineError::Features { images, features: 0, found: features.len(), most })
            }
            None if !fits(pixels.len(), height * width * 3) => {
                Err(EngineError::Batch { images, height, width, bytes: pixels.len(), most })
            }
            None => Ok(Self::Pixels(pixels)),
        }
    }

    /// The data of at most `some` of the `images` at a time, with their number.
    pub fn chunks(self, images: usize, some: usize) -> impl Iterator<Item = (usize, Self)> {
        (0..images).step_by(some.max(1)).map(move |first| {
            let last = images.min(first + some);
            let part = |len: usize| first * (len / images)..last * (len / images);
            let given = match self {
                Self::Pixels(pixels) => Self::Pixels(&pixels[part(pixels.len())]),
                Self::Features(features) => Self::Features(&features[part(features.len())]),
            };
            (last - first, given)
        })
    }
}
