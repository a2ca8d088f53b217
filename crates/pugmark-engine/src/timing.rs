use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What part of a step an operator's time belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// Output from input.
    Forward,
    /// The input's gradient; with a batch norm's own, which is made in the same sweep.
    BackwardData,
    /// The gradient of a convolution's or linear layer's weights and bias.
    BackwardWeight,
    /// Parameters and running statistics.
    Optimiser,
    /// Packing changed weights for the kernels.
    Prepare,
    /// Loss and its gradient.
    Loss,
}

impl Pass {
    /// The pass in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::BackwardData => "backward data",
            Self::BackwardWeight => "backward weight",
            Self::Optimiser => "optimiser",
            Self::Prepare => "prepare",
            Self::Loss => "loss",
        }
    }
}

/// What one operator took in one pass of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorTime {
    /// The graph node's name; its kind and number where it has none.
    pub name: String,
    /// The operator and its shape, such as `conv 3x3 s1 64->64 at 56`; the size is the input's.
    pub kind: String,
    /// The part of the step.
    pub pass: Pass,
    /// Time it took.
    pub seconds: f64,
    /// Twice the multiply-adds of a convolution, as the direct algorithm does them, of a linear layer, or of the products in
    /// an attention; else 0.
    pub flops: f64,
    /// Bytes it must read and write at least: each tensor once, without borders.
    pub bytes: f64,
}

/// Operators of one kind, shape and pass together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorGroup {
    /// As [`OperatorTime::kind`].
    pub kind: String,
    /// The part of the step.
    pub pass: Pass,
    /// Names of the graph's nodes.
    pub names: Vec<String>,
    /// Time they took.
    pub seconds: f64,
    /// As [`OperatorTime::flops`].
    pub flops: f64,
    /// As [`OperatorTime::bytes`].
    pub bytes: f64,
}

/// Sums the operators of many steps by kind, shape and pass.
#[derive(Debug, Clone, Default)]
pub struct OperatorSums(BTreeMap<(String, Pass), OperatorGroup>);

impl OperatorSums {
    /// Adds what the operators of a step took.
    pub fn add(&mut self, times: impl IntoIterator<Item = OperatorTime>) {
        for OperatorTime { name, kind, pass, seconds, flops, bytes } in times {
            let group = self.0.entry((kind, pass)).or_insert_with_key(|(kind, _)| OperatorGroup {
                kind: kind.clone(),
                pass,
                names: Vec::new(),
                seconds: 0.0,
                flops: 0.0,
                bytes: 0.0,
            });
            if !group.names.contains(&name) {
                group.names.push(name);
            }
            group.seconds += seconds;
            group.flops += flops;
            group.bytes += bytes;
        }
    }

    /// The mean of so many steps, the slowest group first.
    pub fn mean(&self, steps: usize) -> Vec<OperatorGroup> {
        let steps = steps.max(1) as f64;
        let mean = |group: &OperatorGroup| OperatorGroup {
            seconds: group.seconds / steps,
            flops: group.flops / steps,
            bytes: group.bytes / steps,
            ..group.clone()
        };
        let mut groups: Vec<_> = self.0.values().map(mean).collect();
        groups.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        groups
    }
}
