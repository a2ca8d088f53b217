//! Which part of one arena holds which tensor when.

use std::ops::Range;

use pugmark_graph::NodeId;

use super::program::{Kind, Program, Step, ValueId};
use super::stages::Stages;

/// Values between two tensors' starts: a cache line of the smallest element.
const ALIGNMENT: usize = 32;

/// Where values and gradients lie in the arena.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Length of the arena.
    pub len: usize,
    pub values: Vec<Range<usize>>,
    /// For a value that the backward pass computes again: where it puts it.
    pub again: Vec<Option<Range<usize>>>,
    pub gradients: Vec<Option<Range<usize>>>,
}

impl Layout {
    /// Time runs over the steps, the loss, and the steps backwards.
    pub fn new(program: &Program, stages: &Stages, taps: &[NodeId]) -> Self {
        let steps = program.steps.len();
        let loss = steps;
        let backward = |step: usize| 2 * steps - step;
        let forever = 2 * steps + 1;
        let mut lifetimes: Vec<Lifetime> = Vec::with_capacity(3 * program.values.len());
        let mut add = |lifetime| {
            lifetimes.push(lifetime);
            lifetimes.len() - 1
        };
        let (mut value_of, mut again_of, mut gradient_of) = (Vec::new(), Vec::new(), Vec::new());
        for (index, value) in program.values.iter().enumerate() {
            let id = ValueId(index);
            let tapped = taps.contains(&value.node);
            let producer = program.steps.iter().position(|s| s.output == id).unwrap_or(0);
            let (mut last, mut first_gradient) = (producer, backward(producer));
            if id == program.output {
                (last, first_gradient) = (loss, loss);
            }
            // The backward passes that read the value.
            let mut saved: Option<(usize, usize)> = None;
            for (at, step) in program.steps.iter().enumerate() {
                let trained = program.is_trained(step);
                if step.input == id || step.residual == Some(id) {
                    last = last.max(at);
                    if trained {
                        first_gradient = first_gradient.min(backward(at));
                    }
                }
                if trained && saved_for_backward(step, id) {
                    let (first, last) = saved.unwrap_or((backward(at), backward(at)));
                    saved = Some((first.min(backward(at)), last.max(backward(at))));
                }
            }
            let again = saved.filter(|_| !tapped && id != program.output && is_cheap(program, id));
            if let (Some((_, last_saved)), None) = (saved, again) {
                last = last.max(last_saved);
            }
            if tapped {
                last = forever;
            }
            // What the late steps read is filled a few images at a time while the early ones run again.
            let first = if producer < stages.late && stages.whole[index] { 0 } else { producer };
            let len = stages.room(index) * value.plane.len();
            value_of.push(add(Lifetime { len, first, last }));
            again_of.push(again.map(|(first, last)| add(Lifetime { len, first, last })));
            gradient_of.push(value.gradient.map(|plane| {
                let last = if tapped { forever } else { backward(producer) };
                add(Lifetime { len: stages.room(index) * plane.len(), first: first_gradient, last })
            }));
        }
        let (starts, len) = assign(&lifetimes);
        let place = |i: usize| starts[i]..starts[i] + lifetimes[i].len;
        Self {
            len,
            values: value_of.into_iter().map(place).collect(),
            again: again_of.into_iter().map(|i| i.map(place)).collect(),
            gradients: gradient_of.into_iter().map(|i| i.map(place)).collect(),
        }
    }

    /// Moves everything by so many values.
    pub fn shift(&mut self, by: usize) {
        let later = self.again.iter_mut().chain(&mut self.gradients).flatten();
        for range in self.values.iter_mut().chain(later) {
            *range = range.start + by..range.end + by;
        }
    }
}

/// Whether the step's backward pass reads the value.
pub(crate) fn saved_for_backward(step: &Step, id: ValueId) -> bool {
    match step.kind {
        Kind::Conv { .. }
        | Kind::Depthwise { .. }
        | Kind::Linear { .. }
        | Kind::LayerNorm { .. }
        | Kind::Attention { .. }
        | Kind::Gelu
        | Kind::Silu
        | Kind::Sigmoid
        | Kind::Scale { layer_scale: Some(_), .. } => step.input == id,
        Kind::Gate => step.input == id || step.residual == Some(id),
        Kind::Norm { relu, .. } => step.input == id || (relu && step.output == id),
        Kind::Relu | Kind::Add { relu: true } => step.output == id,
        Kind::Input
        | Kind::MergePatches
        | Kind::Features
        | Kind::MaxPool(_)
        | Kind::GlobalAvgPool
        | Kind::Dropout { .. }
        | Kind::Scale { layer_scale: None, .. }
        | Kind::Add { relu: false } => false,
    }
}

/// Whether computing the value again costs less than keeping it: a norm or activation is one sweep over its input, which
/// is kept anyway.
fn is_cheap(program: &Program, id: ValueId) -> bool {
    let producer = program.steps.iter().find(|step| step.output == id);
    producer.is_some_and(|step| {
        matches!(step.kind, Kind::Norm { .. } | Kind::LayerNorm { .. } | Kind::Gelu | Kind::Silu)
            && step.residual.is_none()
            && program.is_trained(step)
            && !is_cheap(program, step.input)
    })
}

/// A tensor's size and the times between which it must be kept, both ends included.
#[derive(Debug, Clone, Copy)]
struct Lifetime {
    len: usize,
    first: usize,
    last: usize,
}

impl Lifetime {
    fn meets(&self, other: &Lifetime) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Places tensors in one arena so that two alive at one time never overlap: the largest first, each as far to the front as
/// it fits. Returns where each starts, and the arena's length.
fn assign(lifetimes: &[Lifetime]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..lifetimes.len()).collect();
    order.sort_by_key(|&i| (usize::MAX - lifetimes[i].len, lifetimes[i].first, i));
    let mut starts = vec![0; lifetimes.len()];
    // What is placed so far, by its start.
    let mut placed: Vec<usize> = Vec::with_capacity(order.len());
    let mut arena = 0;
    for i in order {
        let mut start = 0;
        for &other in placed.iter().filter(|&&other| lifetimes[i].meets(&lifetimes[other])) {
            if start + lifetimes[i].len <= starts[other] {
                break;
            }
            start = start.max((starts[other] + lifetimes[other].len).next_multiple_of(ALIGNMENT));
        }
        starts[i] = start;
        arena = arena.max(start + lifetimes[i].len);
        let at = placed.partition_point(|&other| starts[other] <= start);
        placed.insert(at, i);
    }
    (starts, arena)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_alive_together_never_overlap_and_the_arena_is_little_more_than_what_is_alive() {
        // A pseudo-random set of lifetimes, checked pair by pair.
        let mut state = 7_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let lifetimes: Vec<Lifetime> = (0..60)
            .map(|_| {
                let first = random(40);
                Lifetime { len: 1 + random(1000), first, last: first + random(8) }
            })
            .collect();
        let (starts, arena) = assign(&lifetimes);
        for (i, a) in lifetimes.iter().enumerate() {
            assert!(starts[i] + a.len <= arena);
            for (j, b) in lifetimes.iter().enumerate().skip(i + 1) {
                let apart = starts[i] + a.len <= starts[j] || starts[j] + b.len <= starts[i];
                assert!(apart || !a.meets(b), "{a:?} and {b:?}");
            }
        }
        let alive = |time: usize| -> usize {
            lifetimes.iter().filter(|l| l.first <= time && time <= l.last).map(|l| l.len).sum()
        };
        let most = (0..48).map(alive).max().unwrap_or(0);
        assert!(arena < most * 5 / 4, "{arena} for {most}");
    }
}
