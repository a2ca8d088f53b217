//! Statistics of a watched step.

use pugmark_kernels as kernels;

use super::convolution::Activation;
use super::machine::Machine;

impl<E: Activation> Machine<E> {
    /// Keeps the statistics of a step's activation while its value is still there.
    pub fn observe(&mut self, index: usize) {
        let mut observer = std::mem::take(&mut self.observer);
        let observed = observer.observe(&self.program, index, self.images, |id, limits| {
            let values = self.memory.read(self.window(id));
            Ok(kernels::channel_activity(self.images, values, self.program.values[id.0].plane, limits))
        });
        observed.expect("sums here do not fail");
        self.observer = observer;
    }
}
