//! What an optimiser step does, and the loss before it.

use pugmark_graph::{Graph, Role};
use pugmark_kernels::CrossEntropy;

use super::given::Given;
use super::program::Program;
use crate::{Clip, EngineError, InputSpec, Loss, Optimiser, ParamRule, TrainBatch, TrainingSpec};

/// What one optimiser step does, apart from its rates.
#[derive(Debug)]
pub(crate) struct Updater {
    pub optimiser: Optimiser,
    pub clip: Clip,
    pub average: f32,
    /// Of every parameter of the graph.
    pub rules: Vec<ParamRule>,
    /// Parameters that adaptive clipping leaves alone.
    pub head: Vec<bool>,
    /// Parameters that statistics are kept of.
    pub watched: Vec<bool>,
}

impl Updater {
    pub fn new(graph: &Graph, spec: &TrainingSpec) -> Self {
        let mut rules = spec.rules.clone();
        rules.resize(graph.params().len(), ParamRule::default());
        let head = graph.params().iter().map(|param| param.head).collect();
        let roles = [Role::ConvWeight, Role::LinearWeight, Role::LayerScale];
        let watched = graph.params().iter().map(|param| roles.contains(&param.role)).collect();
        Self { optimiser: spec.optimiser, clip: spec.clip, average: spec.average, rules, head, watched }
    }

    /// The optimiser's name.
    pub fn name(&self) -> &'static str {
        match self.optimiser {
            Optimiser::AdamW => "AdamW",
            Optimiser::Sgd { .. } => "SGD",
        }
    }

    /// Names of the buffers it keeps for each parameter.
    pub fn state_names(&self) -> &'static [&'static str] {
        match self.optimiser {
            Optimiser::AdamW => &["adamw.m", "adamw.v"],
            Optimiser::Sgd { .. } => &["sgd.momentum"],
        }
    }

    /// The factor of the gradients that brings their `norm` to the most there may be; none where it is less.
    pub fn clip_factor(&self, norm: f64) -> Option<f32> {
        let Clip::Norm(most) = self.clip else { return None };
        // PyTorch's epsilon.
        let factor = (f64::from(most) / (norm + 1e-6)) as f32;
        (factor < 1.0).then_some(factor)
    }

    /// The share of the way to the values that the running average moves in a step, counted from 1; none where none is kept.
    pub fn average_share(&self, step: u64) -> Option<f32> {
        let decay = f64::from(self.average).min((1.0 + step as f64) / (10.0 + step as f64));
        (self.average > 0.0).then_some((1.0 - decay) as f32)
    }
}

impl Loss {
    /// The loss of one batch of those that make a step.
    pub(crate) fn of<'a>(&'a self, batch: &TrainBatch<'a>, batches: &[TrainBatch<'a>]) -> CrossEntropy<'a> {
        let Self { label_smoothing, ref class_weights } = *self;
        let loss =
            CrossEntropy { label_smoothing, class_weights: class_weights.as_deref(), ..Default::default() };
        let part = |batch: &TrainBatch<'a>| CrossEntropy { mixed: batch.mixed, ..loss }.rows(batch.labels);
        CrossEntropy { mixed: batch.mixed, rows: Some(batches.iter().map(part).sum()), ..loss }
    }
}

impl<'a> TrainBatch<'a> {
    /// What it gives the program, checked to fit.
    pub(crate) fn given(&self, input: &InputSpec, program: &Program) -> Result<Given<'a>, EngineError> {
        let images = self.labels.len();
        let classes = program.values[program.output.0].plane.channels;
        let given = Given::checked(images, self.pixels, self.features, input, program)?;
        let (second, shares) = self.mixed.unwrap_or_default();
        if self.mixed.is_some() {
            let shares = shares.iter().filter(|share| (0.0..=1.0).contains(*share)).count();
            if second.len() != images || shares != images {
                return Err(EngineError::Mixed { images, labels: second.len(), shares });
            }
        }
        match self.labels.iter().chain(second).find(|&&label| label as usize >= classes) {
            Some(&label) => Err(EngineError::Label { label, classes }),
            None => Ok(given),
        }
    }
}
