//! The arena that holds all tensors.

use std::ops::Range;

use pugmark_graph::NodeId;
use pugmark_kernels::Element;

use crate::plan::{Layout, Program, Stages, ValueId};

/// Where the first tensor starts, in bytes: vectors that cross no cache line are loaded at twice the speed.
const LINE_BYTES: usize = 64;

/// Values and gradients; those that are never alive together share their place.
#[derive(Debug)]
pub(super) struct Memory<E> {
    arena: Vec<E>,
    layout: Layout,
}

impl<E: Element> Memory<E> {
    pub fn new(program: &Program, stages: &Stages, taps: &[NodeId]) -> Self {
        let mut layout = Layout::new(program, stages, taps);
        let arena = vec![E::default(); layout.len + LINE_BYTES / size_of::<E>()];
        // Nothing is gained, and nothing lost, where the address can't be told.
        layout.shift(arena.as_ptr().align_offset(LINE_BYTES).min(LINE_BYTES / size_of::<E>()));
        Self { arena, layout }
    }

    /// Whether the backward pass must compute the value before it reads it.
    pub fn is_computed_again(&self, id: ValueId) -> bool {
        self.layout.again[id.0].is_some()
    }

    /// Where a value is in the forward pass.
    pub fn value(&self, id: ValueId) -> Range<usize> {
        self.layout.values[id.0].clone()
    }

    /// Where a value is in the backward pass.
    pub fn saved(&self, id: ValueId) -> Range<usize> {
        self.layout.again[id.0].clone().unwrap_or_else(|| self.value(id))
    }

    pub fn gradient(&self, id: ValueId) -> Option<Range<usize>> {
        self.layout.gradients[id.0].clone()
    }

    pub fn read(&self, place: Range<usize>) -> &[E] {
        &self.arena[place]
    }

    /// Several places at once; tensors alive together never overlap.
    pub fn parts<const N: usize>(&mut self, places: [Range<usize>; N]) -> [&mut [E]; N] {
        self.arena.get_disjoint_mut(places).expect("tensors alive together lie apart")
    }
}
