//! How many images go through which steps together.

use super::program::{Program, Step};

/// Images that go through the early steps together: few, so that large pictures stay in the cache.
const EARLY_IMAGES: usize = 4;
/// Images that go through the late steps together: enough that the weights, large there, pass by seldom.
const LATE_IMAGES: usize = 16;
/// A late step's output has at most this many pixels.
const LATE_PIXELS: usize = 256;

/// The early steps run on a few images at a time, the late ones on all images of the call together.
#[derive(Debug)]
pub(crate) struct Stages {
    /// The first late step.
    pub late: usize,
    /// Images of a call, at most.
    pub images: usize,
    /// Images in the early steps, at most.
    pub early_images: usize,
    /// Of each value: whether it holds all images of the call.
    pub whole: Vec<bool>,
}

impl Stages {
    /// Every step on all images.
    pub fn together(program: &Program, images: usize) -> Self {
        Self { late: 0, images, early_images: images, whole: vec![true; program.values.len()] }
    }

    /// Two stages for a plan of at most `batch` images in a call.
    pub fn inference(program: &Program, batch: usize) -> Self {
        let small = |step: &Step| program.values[step.output.0].plane.pixels() <= LATE_PIXELS;
        let late = program.steps.iter().rposition(|step| !small(step)).map_or(0, |last| last + 1);
        let mut whole = vec![false; program.values.len()];
        for step in &program.steps[late..] {
            for id in [Some(step.input), step.residual, Some(step.output)].into_iter().flatten() {
                whole[id.0] = true;
            }
        }
        whole[program.output.0] = true;
        Self { late, images: batch.min(LATE_IMAGES), early_images: batch.min(EARLY_IMAGES), whole }
    }

    /// Images of a call that a value has room for.
    pub fn room(&self, value: usize) -> usize {
        if self.whole[value] { self.images } else { self.early_images }
    }
}
