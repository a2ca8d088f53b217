//! One model, asked why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pugmark_engine::Engine;
use pugmark_eval::explain::{
    BlackBox, Grid, Picture, Scale, ShapValues, kernel_shap, occlusion, spearman, superpixels,
};
use pugmark_model::{Classifier, GradCam, Model};
use serde::Serialize;

use super::method::Method;
use crate::error::Interrupted;

/// A model and how it is explained.
pub(super) struct Explainer {
    method: Method,
    classifier: Classifier,
    grad_cam: Option<GradCam>,
    batch: usize,
    stop: Arc<AtomicBool>,
}

/// A map of one picture for one class.
pub(super) struct Explained {
    /// One value a pixel: what speaks for the class, and below 0 against it.
    pub(super) pixels: Vec<f32>,
    /// What it was made from.
    pub(super) map: Map,
}

/// A map as it was found.
#[derive(Serialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub(super) enum Map {
    GradCam {
        /// The layer looked at, in torchvision's words.
        layer: String,
        /// Row by row.
        grid: Vec<Vec<f32>>,
    },
    Occlusion {
        patch: usize,
        stride: usize,
        /// What the class's probability loses for each patch, row by row.
        grid: Vec<Vec<f32>>,
    },
    Shap {
        /// The class's probability with every segment covered.
        base: f64,
        /// Every combination of segments was asked about.
        exact: bool,
        segments: Vec<Segment>,
    },
}

/// A superpixel and its SHAP value; all values and the base sum to the class's probability.
#[derive(Serialize)]
pub(super) struct Segment {
    value: f64,
    /// Of the picture.
    share: f64,
    /// Middle, in shares of width and height.
    x: f64,
    y: f64,
}

impl Explained {
    /// The colours that show it.
    pub(super) fn scale(&self) -> Scale {
        if matches!(self.map, Map::GradCam { .. }) { Scale::Positive } else { Scale::Signed }
    }

    /// The rank correlation with another map of the same picture; none where one of them is the same all over.
    pub(super) fn likeness(&self, other: &Self) -> Option<f64> {
        let grid = |grid: &[Vec<f32>]| grid.concat().into_iter().map(f64::from).collect();
        let values = |map: &Map| -> Vec<f64> {
            match map {
                Map::GradCam { grid: values, .. } | Map::Occlusion { grid: values, .. } => grid(values),
                Map::Shap { segments, .. } => segments.iter().map(|segment| segment.value).collect(),
            }
        };
        spearman(&values(&self.map), &values(&other.map))
    }
}

impl Explainer {
    /// Asks `model` about at most `batch` pictures at a time, until it is stopped.
    pub(super) fn new(
        model: Model,
        method: Method,
        engine: &dyn Engine,
        batch: usize,
        stop: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let grad_cam = match method {
            Method::GradCam => Some(GradCam::new(&model, engine)?),
            Method::Occlusion(_) | Method::Shap(..) => None,
        };
        let classifier = Classifier::from_model(model, engine, batch)?;
        Ok(Self { method, classifier, grad_cam, batch, stop })
    }

    pub(super) fn probabilities(&mut self, picture: &Picture) -> anyhow::Result<Vec<f32>> {
        Ok(self.classifier.probabilities(1, &picture.rgb)?)
    }

    /// Hands on the model as a black box that gives the probability of a class.
    pub(super) fn ask<R>(
        &mut self,
        class: usize,
        question: impl FnOnce(&mut BlackBox<'_, anyhow::Error>) -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        let (classifier, stop) = (&mut self.classifier, &self.stop);
        let classes = classifier.card().classes.len();
        let mut score = |pictures: usize, pixels: &[u8]| {
            if stop.load(Ordering::Relaxed) {
                return Err(Interrupted("what is done is in the folder").into());
            }
            let rows = classifier.probabilities(pictures, pixels)?;
            Ok(rows.chunks_exact(classes).map(|row| row[class]).collect())
        };
        question(&mut BlackBox::new(self.batch, &mut score))
    }

    /// The map of a picture for a class.
    pub(super) fn explain(&mut self, picture: &Picture, class: usize) -> anyhow::Result<Explained> {
        match (self.method, &mut self.grad_cam) {
            (Method::Occlusion(settings), _) => {
                let (grid, pixels) = self.ask(class, |model| occlusion(picture, settings, model))?;
                let (patch, stride) = (settings.side, settings.stride);
                Ok(Explained { pixels, map: Map::Occlusion { patch, stride, grid: rows(&grid) } })
            }
            (Method::Shap(slic, settings), _) => {
                let regions = superpixels(picture, slic);
                let flat = picture.flat();
                let shown =
                    |coalition: &[bool]| picture.mixed(&flat, |pixel| coalition[regions.of_pixel[pixel]]);
                let ShapValues { values, base, exact, .. } = self.ask(class, |model| {
                    kernel_shap(regions.count, settings, |coalitions| {
                        model.scores(coalitions.iter().map(|coalition| shown(coalition)))
                    })
                })?;
                let mut sums = vec![[0.0; 3]; regions.count];
                for (pixel, &region) in regions.of_pixel.iter().enumerate() {
                    let (x, y) = ((pixel % picture.width) as f64 + 0.5, (pixel / picture.width) as f64 + 0.5);
                    for (sum, value) in sums[region].iter_mut().zip([1.0, x, y]) {
                        *sum += value;
                    }
                }
                let segment = |(&value, [count, x, y]): (&f64, &[f64; 3])| Segment {
                    value,
                    share: count / picture.pixels() as f64,
                    x: x / count / picture.width as f64,
                    y: y / count / picture.height as f64,
                };
                let segments = values.iter().zip(&sums).map(segment).collect();
                Ok(Explained { pixels: regions.spread(&values), map: Map::Shap { base, exact, segments } })
            }
            (Method::GradCam, Some(grad_cam)) => {
                let map = grad_cam.map(&picture.rgb, class)?;
                let [height, width] = map.shape[..] else { unreachable!("a map has two dimensions") };
                let grid = Grid { width, height, values: map.values };
                let pixels = grid.enlarged(picture.width, picture.height);
                let layer = grad_cam.layer().to_owned();
                Ok(Explained { pixels, map: Map::GradCam { layer, grid: rows(&grid) } })
            }
            (Method::GradCam, None) => unreachable!("it was opened for this method"),
        }
    }
}

fn rows(grid: &Grid) -> Vec<Vec<f32>> {
    grid.values.chunks_exact(grid.width).map(<[f32]>::to_vec).collect()
}
