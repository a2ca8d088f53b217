//! What the operators move in memory.

use pugmark_graph::ParamId;

use super::convolution::Activation;
use super::machine::Machine;
use crate::OperatorTime;
use crate::plan::{Costs, Program};

impl<E: Activation> Machine<E> {
    /// The laps of the last call in words and numbers.
    pub fn operator_times(&self, optimiser: &str) -> Vec<OperatorTime> {
        (self as &dyn Costs).operator_times(&self.clock, optimiser)
    }
}

impl<E: Activation> Costs for Machine<E> {
    fn program(&self) -> &Program {
        &self.program
    }

    fn shape(&self, id: ParamId) -> &[usize] {
        self.parameters.shape(id)
    }

    fn activation_bytes(&self) -> usize {
        size_of::<E>()
    }

    fn packed_bytes(&self, index: usize) -> usize {
        size_of::<E>() * self.workspaces.of[index].convolution.map_or(0, |c| c.packed_len::<E>())
    }

    fn keeps_argmax(&self, index: usize) -> bool {
        !self.workspaces.of[index].argmax.is_empty()
    }

    fn logits_len(&self) -> usize {
        self.logits().len()
    }

    fn optimiser_bytes(&self) -> usize {
        // The value and each moment are read and written, the gradient is read.
        self.parameters.trained().map(|p| p.value.len() * (3 + 2 * p.moments.len()) * 4).sum()
    }
}
