use pugmark_engine::{Engine, Freeze, TrainBatch, Training, TrainingSpec};
use pugmark_graph::{GraphSettings, NodeId, Tensor};

use crate::{Model, ModelError};

/// Where a model looks: Grad-CAM (Selvaraju and others, arXiv 1610.02391).
///
/// A channel of the last feature map counts by the mean of the gradient that a class's logit has there; the map is the
/// positive part of the channels' sum, weighted so. The layer is [`pugmark_graph::Graph::last_feature_map`].
pub struct GradCam {
    plan: Box<dyn Training>,
    layer: NodeId,
    layer_name: String,
    classes: usize,
}

impl GradCam {
    /// Grad-CAM of one picture at a time.
    ///
    /// # Errors
    /// [`ModelError::NoFeatureMap`] where the model sees its pictures as one pixel; [`ModelError::Engine`] when the tensors
    /// are not those of the architecture.
    pub fn new(model: &Model, engine: &dyn Engine) -> Result<Self, ModelError> {
        let Model { card, tensors } = model;
        let classes = card.classes.len();
        // Without chance, and with running statistics where nothing is trained: as the model answers.
        let certain = GraphSettings { stochastic_depth: Some(0.0), dropout: Some(0.0) };
        let graph = card.architecture.graph_with(classes, certain);
        let (height, width) = (card.recipe.height, card.recipe.width);
        let layer = graph.last_feature_map(height, width).map_err(pugmark_engine::EngineError::from)?;
        let layer = layer.ok_or(ModelError::NoFeatureMap { height, width })?;
        let spec = TrainingSpec { freeze: Freeze::Backbone, taps: vec![layer], ..TrainingSpec::default() };
        let plan = engine.training(&graph, tensors, &card.input(1), &spec)?;
        Ok(Self { plan, layer, layer_name: graph.nodes()[layer.0].name.clone(), classes })
    }

    /// The layer's name in torchvision's words.
    pub fn layer(&self) -> &str {
        &self.layer_name
    }

    /// The map of a picture made by the recipe (height x width x RGB) for a class, 0 or more: `[height, width]` of the layer.
    ///
    /// # Errors
    /// [`ModelError::Engine`] when the picture's size does not fit, there is no such class, or the gradient is no number.
    pub fn map(&mut self, pixels: &[u8], class: usize) -> Result<Tensor, ModelError> {
        let labels = [class as u32];
        let batch = TrainBatch { pixels, features: &[], labels: &labels, mixed: None, seed: 0 };
        let of_class: Vec<f32> = (0..self.classes).map(|k| f32::from(u8::from(k == class))).collect();
        self.plan.backward_from(&batch, &of_class)?;
        let (features, gradient) = self.plan.tap(self.layer)?.expect("it was asked for");
        let [_, _, height, width] = features.shape[..] else {
            unreachable!("a feature map has four dimensions")
        };
        let pixels = height * width;
        let mut map = vec![0.0_f64; pixels];
        for (channel, slopes) in
            features.values.chunks_exact(pixels).zip(gradient.values.chunks_exact(pixels))
        {
            let weight = slopes.iter().map(|&g| f64::from(g)).sum::<f64>() / pixels as f64;
            for (sum, &value) in map.iter_mut().zip(channel) {
                *sum += weight * f64::from(value);
            }
        }
        let values = map.into_iter().map(|sum| sum.max(0.0) as f32).collect();
        Ok(Tensor { shape: vec![height, width], values })
    }
}
