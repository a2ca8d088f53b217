//! Where the model looked.

use std::path::Path;

use pugmark_data::{Limits, decode_file};
use pugmark_engine::Cpu;
use pugmark_eval::explain::{Grid, Picture, Scale, overlay};
use pugmark_model::{GradCam, Model, ModelCard};

use crate::commands::thumbnails::jpeg;

/// Draws heat maps with the best model of a run.
pub(super) struct Heat {
    card: ModelCard,
    grad_cam: GradCam,
}

impl Heat {
    /// None where the model has no feature map, or cannot be run here: a page does without.
    pub(super) fn open(run: &Path) -> Option<Self> {
        let model = Model::open(run).ok()?;
        let grad_cam = GradCam::new(&model, &Cpu::new(0).ok()?).ok()?;
        Some(Self { card: model.card, grad_cam })
    }

    /// The photo as the model sees it under what speaks for a class, as a JPEG; none if the photo has gone or broken since.
    pub(super) fn map(&mut self, photo: &Path, class: usize) -> Option<Vec<u8>> {
        let recipe = &self.card.recipe;
        let photo = decode_file(photo, &Limits::default()).ok()?;
        let picture = Picture::new(recipe.apply(&photo), recipe.width, recipe.height);
        let map = self.grad_cam.map(&picture.rgb, class).ok()?;
        let grid = Grid { width: map.shape[1], height: map.shape[0], values: map.values };
        let pixels = grid.enlarged(picture.width, picture.height);
        let drawn = overlay(&picture, &pixels, Scale::Positive);
        jpeg(&drawn.rgb, drawn.width, drawn.height)
    }
}
