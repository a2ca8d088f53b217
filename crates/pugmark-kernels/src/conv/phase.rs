//! The gradient of a strided convolution's input, taken apart into convolutions of stride 1.
//!
//! Input pixel `i` meets output `j` through kernel tap `k` where `i + padding = j * stride + k`. The pixels
//! with the same `i % stride` meet the same taps: a phase. With `i = u * stride + first` and the taps `k =
//! kernel_first + stride * t`, `j = u + (first + padding - kernel_first) / stride - t`: over `u`, that is a
//! convolution of stride 1 of the output's gradient with every `stride`-th tap, flipped.

use super::ConvShape;
use super::element::ConvKernels;
use super::pack::PANEL;

/// One direction of a phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// The first input pixel of the phase; the others follow `stride` apart.
    pub first: usize,
    /// Kernel taps that the phase meets; may be none.
    pub taps: usize,
    /// The first output pixel that the first input pixel meets; may lie in the border.
    pub origin: isize,
    kernel_first: usize,
}

impl Axis {
    fn new(s: &ConvShape, kernel: usize, first: usize) -> Self {
        let kernel_first = (first + s.padding) % s.stride;
        let taps = kernel.saturating_sub(kernel_first).div_ceil(s.stride);
        let origin = ((first + s.padding) / s.stride) as isize - (taps as isize - 1);
        Axis { first, taps, origin, kernel_first }
    }

    /// The kernel's tap behind tap `t` of the phase.
    pub(super) fn kernel_tap(&self, s: &ConvShape, t: usize) -> usize {
        self.kernel_first + s.stride * (self.taps - 1 - t)
    }

    /// Pixels of the phase in an input of `size` pixels.
    pub(super) fn pixels(&self, s: &ConvShape, size: usize) -> usize {
        size.saturating_sub(self.first).div_ceil(s.stride)
    }
}

/// The input pixels with the same row and column modulo the stride.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    pub y: Axis,
    pub x: Axis,
}

impl Phase {
    /// The `stride * stride` phases, in the order in which their weights are packed.
    pub(super) fn all(s: &ConvShape) -> impl Iterator<Item = Phase> + use<'_> {
        (0..s.stride).flat_map(move |y| {
            (0..s.stride)
                .map(move |x| Phase { y: Axis::new(s, s.kernel.0, y), x: Axis::new(s, s.kernel.1, x) })
        })
    }

    /// Values of the phase's packed weights.
    pub(super) fn packed_len<E: ConvKernels>(&self, s: &ConvShape) -> usize {
        let taps = self.y.taps * (self.x.taps * s.out_channels).next_multiple_of(E::TAP_BLOCK);
        taps * s.in_channels.next_multiple_of(PANEL)
    }
}
