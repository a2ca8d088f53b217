use std::str::FromStr;

use pugmark_cuda::DeviceError;
use pugmark_graph::{Graph, GraphError, NodeId, Tensor, Tensors};
use pugmark_kernels::Isa;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Freeze, OperatorTime, StepStatistics};

/// Why a plan can't be made or run.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The graph's shapes do not fit the input.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A parameter of the graph is missing or has another shape.
    #[error("tensor `{name}`: expected shape {expected:?}, found {found:?}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// The graph's shape.
        expected: Vec<usize>,
        /// The shape given; none when there is no such tensor.
        found: Option<Vec<usize>>,
    },
    /// The pictures given do not fill the batch that was announced, or are too many for the plan.
    #[error(
        "a batch of {images} images of {height} x {width} was announced and {bytes} bytes given (at most {most} images)"
    )]
    Batch {
        /// Images announced.
        images: usize,
        /// Rows of each.
        height: usize,
        /// Columns of each.
        width: usize,
        /// Bytes given.
        bytes: usize,
        /// The batch size the plan was made for.
        most: usize,
    },
    /// The features given do not fill the batch that was announced, or are too many for the plan.
    #[error(
        "a batch of {images} times {features} features was announced and {found} values given (at most {most} images)"
    )]
    Features {
        /// Images announced.
        images: usize,
        /// Features of each; 0 where the plan is given pictures.
        features: usize,
        /// Values given.
        found: usize,
        /// The batch size the plan was made for.
        most: usize,
    },
    /// A label is not below the number of classes.
    #[error("label {label} in a model of {classes} classes")]
    Label {
        /// The label.
        label: u32,
        /// Number of logits.
        classes: usize,
    },
    /// The second labels or shares of a mixed batch do not fit it.
    #[error(
        "{images} images have {labels} second labels and {shares} shares; one each, and shares from 0 to 1, are needed"
    )]
    Mixed {
        /// Images of the batch.
        images: usize,
        /// Second labels given.
        labels: usize,
        /// Shares in [0, 1] given.
        shares: usize,
    },
    /// A gradient of the logits that does not fit the batch.
    #[error("{images} images of {classes} logits need {} values of their gradient, not {found}", images * classes)]
    LogitsGradient {
        /// Images of the batch.
        images: usize,
        /// Number of logits.
        classes: usize,
        /// Values given.
        found: usize,
    },
    /// The loss of a step is not a number; no parameter was changed.
    #[error("the loss is {loss}")]
    NonFiniteLoss {
        /// NaN or an infinity.
        loss: f64,
    },
    /// The loss of a step is a number and its gradient is not; no parameter was changed.
    #[error("the norm of the gradient is {norm}")]
    NonFiniteGradient {
        /// NaN or an infinity.
        norm: f64,
    },
    /// The threads of an engine can't be started.
    #[error("can't start {threads} compute threads: {why}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// The system's answer.
        why: String,
    },
    /// A GPU did not do what it was asked for.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// What goes into a model: 8-bit RGB pictures, normalised on the way in as `(pixel / 255 - mean) / std`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InputSpec {
    /// Most images in one call.
    pub batch: usize,
    /// Rows of a picture.
    pub height: usize,
    /// Columns of a picture.
    pub width: usize,
    /// Mean of each colour, in [0, 1].
    pub mean: [f32; 3],
    /// Standard deviation of each colour.
    pub std: [f32; 3],
}

/// What activations, their gradients and the weights that meet them are in memory. Sums, statistics, loss, the weights
/// themselves and the optimiser's state are f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 24 bits of mantissa.
    F32,
    /// 8 bits of mantissa, half the memory; faster where the processor multiplies it.
    Bf16,
}

/// A precision, or the choice of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// bf16 where the processor multiplies it (AMX, AVX512-BF16), else f32.
    #[default]
    Auto,
    /// [`Precision::F32`].
    F32,
    /// [`Precision::Bf16`].
    Bf16,
}

impl PrecisionChoice {
    /// The choice on this machine.
    pub fn precision(self) -> Precision {
        match self {
            Self::Auto if Isa::active() >= Isa::Avx512Bf16 => Precision::Bf16,
            Self::Auto | Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

impl FromStr for PrecisionChoice {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(format!("`{word}` is none of auto, f32, bf16")),
        }
    }
}

impl From<Precision> for PrecisionChoice {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

/// Softmax cross-entropy, averaged as PyTorch's `CrossEntropyLoss`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Loss {
    /// In [0, 1).
    pub label_smoothing: f32,
    /// One weight a class.
    pub class_weights: Option<Vec<f32>>,
}

/// How parameters move.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimiser {
    /// AdamW (arXiv 1711.05101) with PyTorch's betas 0.9, 0.999 and eps 1e-8.
    #[default]
    AdamW,
    /// Stochastic gradient descent as `torch.optim.SGD`.
    Sgd {
        /// Share of the earlier direction.
        momentum: f32,
        /// Nesterov's form.
        nesterov: bool,
    },
}

/// What is done to gradients that are too large.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Clip {
    /// Nothing.
    #[default]
    None,
    /// All are scaled by one factor so that their norm together is at most this, as `torch.nn.utils.clip_grad_norm_`.
    Norm(f32),
    /// Each value is cut off at plus and minus this, as `torch.nn.utils.clip_grad_value_`.
    Value(f32),
    /// Those of each output of a layer are scaled so that their norm is at most this share of its weights' (arXiv
    /// 2102.06171); the head's are left alone, as in the paper.
    Adaptive(f32),
}

/// How one parameter's steps differ from those of the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParamRule {
    /// Factor of the learning rate.
    pub learning_rate: f32,
    /// Factor of the weight decay.
    pub weight_decay: f32,
}

impl Default for ParamRule {
    fn default() -> Self {
        Self { learning_rate: 1.0, weight_decay: 1.0 }
    }
}

/// What a training plan is made for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrainingSpec {
    /// What is not trained.
    pub freeze: Freeze,
    /// The loss.
    pub loss: Loss,
    /// The optimiser.
    pub optimiser: Optimiser,
    /// One rule for each of [`Graph::params`]; empty where all are the same.
    pub rules: Vec<ParamRule>,
    /// What is done to gradients that are too large.
    pub clip: Clip,
    /// Decay of the running average of all that the training changes, in (0, 1); none is kept where it is 0.
    ///
    /// As timm's `ModelEmaV2` it averages running statistics with the weights, after every optimiser step; after step `t`
    /// the decay is at most `(1 + t) / (10 + t)`, as TensorFlow's `ExponentialMovingAverage` has it, so that the first
    /// weights are soon forgotten.
    pub average: f32,
    /// Nodes whose output and gradient can be read after a step, whatever is trained: that of the input node is with respect
    /// to the normalised pictures.
    pub taps: Vec<NodeId>,
}

/// One batch of a training step.
#[derive(Debug, Clone, Copy)]
pub struct TrainBatch<'a> {
    /// `labels.len()` pictures: height x width x RGB, 8 bits; empty where the graph begins at features.
    pub pixels: &'a [u8],
    /// `labels.len()` times the values of the node that is given ([`pugmark_graph::Graph::given`]); empty elsewhere.
    pub features: &'a [f32],
    /// Class of each picture.
    pub labels: &'a [u32],
    /// Of pictures that are mixed of two: the second's class, and the share of the first in the target, in [0, 1].
    pub mixed: Option<(&'a [u32], &'a [f32])>,
    /// Decides dropout.
    pub seed: u64,
}

/// What a training step saw before it moved the parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct StepOutput {
    /// Mean loss of the batch.
    pub loss: f64,
    /// `images x classes`.
    pub logits: Vec<f32>,
    /// Euclidean norm of the gradient of all trained parameters, before anything was clipped.
    pub gradient_norm: f64,
}

/// A device that runs graphs.
pub trait Engine: Send + Sync {
    /// The device in words, such as `cpu avx512, 2 threads`.
    fn name(&self) -> String;

    /// What the last digits of results depend on besides the plan: [`Engine::name`] without the number of threads.
    fn arithmetic(&self) -> String;

    /// A plan that turns pictures into logits; `taps` are nodes whose output can be read after a call.
    ///
    /// # Errors
    /// When shapes or tensors do not fit the graph.
    fn inference(
        &self,
        graph: &Graph,
        tensors: &Tensors,
        input: &InputSpec,
        taps: &[NodeId],
    ) -> Result<Box<dyn Inference>, EngineError>;

    /// A plan that trains from `tensors` on.
    ///
    /// # Errors
    /// When shapes or tensors do not fit the graph.
    fn training(
        &self,
        graph: &Graph,
        tensors: &Tensors,
        input: &InputSpec,
        spec: &TrainingSpec,
    ) -> Result<Box<dyn Training>, EngineError>;

    /// What activations and their gradients are in memory.
    fn precision(&self) -> Precision;

    /// Bytes that are free of the device's own memory; none where plans lie in the machine's.
    fn free_memory(&self) -> Option<u64>;

    /// Bytes that an inference plan without taps takes with its parameters, without making it.
    ///
    /// # Errors
    /// When shapes do not fit the graph.
    fn inference_bytes(&self, graph: &Graph, input: &InputSpec) -> Result<usize, EngineError>;

    /// Bytes that a training plan takes with its parameters, without making it.
    ///
    /// # Errors
    /// When shapes do not fit the graph.
    fn training_bytes(
        &self,
        graph: &Graph,
        input: &InputSpec,
        spec: &TrainingSpec,
    ) -> Result<usize, EngineError>;
}

/// A compiled forward pass with running statistics.
pub trait Inference: Send {
    /// Logits (`images x classes`) of `images` pictures in `pixels` (height x width x RGB each).
    ///
    /// # Errors
    /// [`EngineError::Batch`] when the sizes do not fit.
    fn logits(&mut self, images: usize, pixels: &[u8]) -> Result<Vec<f32>, EngineError>;

    /// [`Inference::logits`] of a plan whose graph begins at features: `images` times the values of the node that is
    /// given.
    ///
    /// # Errors
    /// [`EngineError::Features`] when the sizes do not fit.
    fn logits_of_features(&mut self, images: usize, features: &[f32]) -> Result<Vec<f32>, EngineError>;

    /// Takes other parameters of the same graph.
    ///
    /// # Errors
    /// [`EngineError::Tensor`]; the plan keeps its parameters then.
    fn set_tensors(&mut self, tensors: &Tensors) -> Result<(), EngineError>;

    /// The output of a tapped node for the last call: `[images, channels, height, width]` or `[images, features]`.
    ///
    /// # Errors
    /// [`EngineError::Device`] when a device can't be read.
    fn tap(&self, node: NodeId) -> Result<Option<Tensor>, EngineError>;

    /// Times every operator from the next call on, or stops it; results do not change.
    fn time_operators(&mut self, on: bool);

    /// What the operators of the last timed call took, in the order they ran.
    fn operator_times(&self) -> Vec<OperatorTime>;
}

/// A compiled training step with its parameters and optimiser state.
pub trait Training: Send {
    /// Forward, backward and one optimiser step.
    ///
    /// # Errors
    /// As [`Training::accumulated_step`].
    fn step(
        &mut self,
        batch: &TrainBatch<'_>,
        learning_rate: f32,
        weight_decay: f32,
    ) -> Result<StepOutput, EngineError> {
        self.accumulated_step(&[*batch], learning_rate, weight_decay)
    }

    /// Forward and backward of one batch after the other, and one optimiser step on the mean over all their photos, however
    /// many each holds. Batch norms take the statistics of each batch by itself and their running ones move once a batch,
    /// as where PyTorch accumulates gradients. Logits and operator times are those of all batches, taps of the last.
    ///
    /// # Errors
    /// [`EngineError::NonFiniteLoss`], [`EngineError::NonFiniteGradient`] and wrong calls leave parameters, statistics and
    /// optimiser state as they were.
    fn accumulated_step(
        &mut self,
        batches: &[TrainBatch<'_>],
        learning_rate: f32,
        weight_decay: f32,
    ) -> Result<StepOutput, EngineError>;

    /// Forward, and backward from a given gradient of the logits (`images x classes`) instead of the loss's, as PyTorch's
    /// `logits.backward(gradient)`; labels count only by their number. Nothing moves: taps and gradients can be read. The loss
    /// told is the sum of the products of logits and gradient.
    ///
    /// # Errors
    /// [`EngineError::LogitsGradient`], [`EngineError::NonFiniteGradient`], and those of wrong calls of a step.
    fn backward_from(
        &mut self,
        batch: &TrainBatch<'_>,
        logits_gradient: &[f32],
    ) -> Result<StepOutput, EngineError>;

    /// Parameters and running statistics, in PyTorch's layout; those of the head alone where the graph begins at features.
    ///
    /// # Errors
    /// [`EngineError::Device`] when a device can't be read.
    fn tensors(&self) -> Result<Tensors, EngineError>;

    /// [`Training::tensors`] with the running average in place of all that is averaged; the same where none is kept.
    ///
    /// # Errors
    /// [`EngineError::Device`] when a device can't be read.
    fn averaged_tensors(&self) -> Result<Tensors, EngineError>;

    /// Gradients of the trained parameters in the last step as the optimiser took them, in PyTorch's layout.
    ///
    /// # Errors
    /// [`EngineError::Device`] when a device can't be read.
    fn gradients(&self) -> Result<Tensors, EngineError>;

    /// Optimiser state, named `adamw.m.NAME`, `adamw.v.NAME` or `sgd.momentum.NAME`, the running average `average.NAME`, and
    /// `steps.NAME` where a parameter was moved fewer times than [`Training::steps`] says, with which it makes a resume exact.
    ///
    /// # Errors
    /// [`EngineError::Device`] when a device can't be read.
    fn state(&self) -> Result<Tensors, EngineError>;

    /// Optimiser steps done.
    fn steps(&self) -> u64;

    /// Goes on from an earlier `tensors()`, `state()` and `steps()`. A parameter that the state knows nothing of was frozen
    /// until now: its state and its own steps start at zero, and its average at its value.
    ///
    /// # Errors
    /// [`EngineError::Tensor`] when they are of another graph.
    fn restore(&mut self, tensors: &Tensors, state: &Tensors, steps: u64) -> Result<(), EngineError>;

    /// The output and its gradient of a tapped node in the last step, as [`Inference::tap`].
    ///
    /// # Errors
    /// [`EngineError::Device`] when a device can't be read.
    fn tap(&self, node: NodeId) -> Result<Option<(Tensor, Tensor)>, EngineError>;

    /// Keeps statistics of the steps from the next one on, or stops it; results do not change.
    fn watch(&mut self, on: bool);

    /// What the last watched step saw, also where it failed; none where it was not watched.
    fn statistics(&self) -> Option<StepStatistics>;

    /// Times every operator from the next step on, or stops it; results do not change.
    fn time_operators(&mut self, on: bool);

    /// What the operators of the last timed step took, in the order they ran.
    fn operator_times(&self) -> Vec<OperatorTime>;
}
