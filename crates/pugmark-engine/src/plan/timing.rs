//! What each operator of a step took.

use std::time::Instant;

use pugmark_graph::ParamId;

use super::program::{Kind, Program, Step, ValueId};
use crate::{OperatorTime, Pass};

/// A lap clock; does nothing unless it is on.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    on: bool,
    since: Option<Instant>,
    laps: Vec<Lap>,
}

#[derive(Debug)]
struct Lap {
    /// Index of the program's step; none for loss and optimiser.
    step: Option<usize>,
    pass: Pass,
    images: usize,
    seconds: f64,
}

impl Clock {
    pub fn set(&mut self, on: bool) {
        *self = Self { on, ..Self::default() };
    }

    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Forgets the laps of the last call.
    pub fn clear(&mut self) {
        self.laps.clear();
    }

    pub fn start(&mut self) {
        if self.on {
            self.since = Some(Instant::now());
        }
    }

    /// Ends a lap and begins the next.
    pub fn lap(&mut self, step: Option<usize>, pass: Pass, images: usize) {
        if let (true, Some(since)) = (self.on, self.since) {
            let now = Instant::now();
            self.laps.push(Lap { step, pass, images, seconds: (now - since).as_secs_f64() });
            self.since = Some(now);
        }
    }
}

/// What a plan's operators move in memory.
pub(crate) trait Costs {
    fn program(&self) -> &Program;

    /// PyTorch's shape of a parameter.
    fn shape(&self, id: ParamId) -> &[usize];

    /// Bytes of a value of an activation.
    fn activation_bytes(&self) -> usize;

    /// Bytes of the weights as a step's forward kernel reads them.
    fn packed_bytes(&self, index: usize) -> usize;

    /// Whether a step keeps where its maxima were.
    fn keeps_argmax(&self, index: usize) -> bool;

    /// Logits of the last call.
    fn logits_len(&self) -> usize;

    /// Bytes that the optimiser moves in a step.
    fn optimiser_bytes(&self) -> usize;
}

impl dyn Costs + '_ {
    /// The laps of the last call in words and numbers.
    pub fn operator_times(&self, clock: &Clock, optimiser: &str) -> Vec<OperatorTime> {
        clock.laps.iter().map(|lap| self.operator_time(lap, optimiser)).collect()
    }

    fn operator_time(&self, lap: &Lap, optimiser: &str) -> OperatorTime {
        let &Lap { step, pass, images, seconds } = lap;
        if let Some(index) = step {
            let step = &self.program().steps[index];
            let kind = self.kind(step);
            let node = self.program().values[step.output.0].node.0;
            let name = match self.program().names[index].as_str() {
                "" => format!("{kind} #{node}"),
                name => name.to_owned(),
            };
            let bytes = self.bytes(index, step, pass, images) as f64;
            return OperatorTime { name, kind, pass, seconds, flops: self.flops(step, pass, images), bytes };
        }
        let (kind, bytes) = if pass == Pass::Loss {
            ("softmax cross-entropy", 8 * self.logits_len())
        } else {
            (optimiser, self.optimiser_bytes())
        };
        OperatorTime { name: kind.into(), kind: kind.into(), pass, seconds, flops: 0.0, bytes: bytes as f64 }
    }

    fn kind(&self, step: &Step) -> String {
        let plane = self.program().values[step.input.0].plane;
        let (channels, at) = (plane.channels, plane.height);
        let at = if at == plane.width { at.to_string() } else { format!("{at}x{}", plane.width) };
        let add = if step.residual.is_some() { " + add" } else { "" };
        let tail = |relu: bool| format!("{add}{}", if relu { " + ReLU" } else { "" });
        match &step.kind {
            Kind::Input => format!("input {channels} at {at}"),
            Kind::Conv { weight, relu, .. } if self.shape(*weight).len() == 2 => {
                let outputs = self.program().values[step.output.0].plane.channels;
                format!("linear {channels}->{outputs} at {at}{}", tail(*relu))
            }
            Kind::Features => format!("features {channels} at {at}"),
            Kind::Conv { shape: s, relu, .. } => format!(
                "conv {}x{} s{} {}->{} at {at}{}",
                s.kernel.0,
                s.kernel.1,
                s.stride,
                s.in_channels,
                s.out_channels,
                tail(*relu)
            ),
            Kind::Depthwise { shape: s, .. } => {
                format!("depthwise {0}x{0} s{1} {channels} at {at}", s.kernel, s.stride)
            }
            Kind::Norm { relu, .. } => format!("batch norm{} {channels} at {at}", tail(*relu)),
            Kind::LayerNorm { .. } => format!("layer norm {channels} at {at}"),
            Kind::Scale { layer_scale, stochastic_depth } => {
                let parts = [
                    layer_scale.map(|_| "layer scale"),
                    stochastic_depth.map(|_| "stochastic depth"),
                    step.residual.map(|_| "add"),
                ];
                let parts: Vec<&str> = parts.into_iter().flatten().collect();
                format!(
                    "{} {channels} at {at}",
                    if parts.is_empty() { "copy".into() } else { parts.join(" + ") }
                )
            }
            Kind::Attention { attention, .. } => format!(
                "attention {}x{} w{} s{} at {at}",
                attention.heads,
                channels / 3 / attention.heads,
                attention.window,
                attention.shift
            ),
            Kind::MergePatches => format!("merge patches {channels} at {at}"),
            Kind::MaxPool(_) => format!("max pool {channels} at {at}"),
            Kind::GlobalAvgPool => format!("global average pool {channels} at {at}"),
            Kind::Linear { .. } => {
                format!("linear {channels}->{}", self.program().values[step.output.0].plane.channels)
            }
            Kind::Dropout { .. } => format!("dropout {channels} at {at}"),
            Kind::Relu => format!("ReLU {channels} at {at}"),
            Kind::Gelu => format!("GELU {channels} at {at}"),
            Kind::Silu => format!("SiLU {channels} at {at}"),
            Kind::Sigmoid => format!("sigmoid {channels} at {at}"),
            Kind::Gate => format!("gate {channels} at {at}"),
            Kind::Add { relu: true } => format!("add + ReLU {channels} at {at}"),
            Kind::Add { relu: false } => format!("add {channels} at {at}"),
        }
    }

    fn flops(&self, step: &Step, pass: Pass, images: usize) -> f64 {
        if pass == Pass::Prepare {
            return 0.0;
        }
        if let Kind::Attention { attention, .. } = step.kind {
            let plane = self.program().values[step.output.0].plane;
            let forward = attention.flops(plane.height, plane.width, plane.channels);
            return images as f64 * forward as f64 * if pass == Pass::Forward { 1.0 } else { 2.0 };
        }
        // Each weight meets each output pixel once; those of other kinds are none.
        2.0 * (images * self.program().values[step.output.0].plane.pixels() * self.weights(step)) as f64
    }

    fn weights(&self, step: &Step) -> usize {
        match step.kind {
            Kind::Conv { weight, .. } | Kind::Depthwise { weight, .. } | Kind::Linear { weight, .. } => {
                self.shape(weight).iter().product()
            }
            _ => 0,
        }
    }

    fn bytes(&self, index: usize, step: &Step, pass: Pass, images: usize) -> usize {
        let size = |id: ValueId| {
            let plane = self.program().values[id.0].plane;
            images * plane.pixels() * plane.channels
        };
        let (x, y) = (size(step.input), size(step.output));
        let residual = step.residual.map_or(0, size);
        let weights = self.weights(step);
        let size_of = self.activation_bytes();
        if pass == Pass::Prepare {
            // The packed form of the data gradient is about as large.
            return 4 * weights + self.packed_bytes(index);
        }
        let backward = pass != Pass::Forward;
        match step.kind {
            // A byte a value is read.
            Kind::Input => (size_of + 1) * y,
            Kind::Norm { relu, .. } | Kind::Add { relu } if backward => {
                // The rectifier's output says where it let the gradient pass; a norm reads its input.
                let norm = if matches!(step.kind, Kind::Norm { .. }) { x } else { 0 };
                size_of * (x + y + residual + norm + if relu { y } else { 0 })
            }
            Kind::Relu | Kind::Gelu | Kind::Silu | Kind::Sigmoid | Kind::LayerNorm { .. } if backward => {
                size_of * (x + 2 * y)
            }
            // The layer scale's own gradient needs its input; what it is given goes on to the residual.
            Kind::Scale { layer_scale, .. } if backward => {
                size_of * (x + y + residual + if layer_scale.is_some() { x } else { 0 })
            }
            // A byte an output says where the maximum was.
            Kind::MaxPool(_) => size_of * (x + y) + if self.keeps_argmax(index) { y } else { 0 },
            // A gradient of weights is f32.
            Kind::Conv { .. } if pass != Pass::BackwardWeight => size_of * (x + y + residual + weights),
            _ => size_of * (x + y + residual) + 4 * weights,
        }
    }
}
