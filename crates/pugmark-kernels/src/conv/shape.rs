//! What a convolution is.

use crate::plane::Plane;

/// A two-dimensional convolution (a cross-correlation, as everywhere in this field).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConvShape {
    /// Height and width of the kernel, in pixels.
    pub kernel: (usize, usize),
    /// Step between neighbouring outputs, in input pixels, in both directions.
    pub stride: usize,
    /// Zero pixels assumed on each of the four sides of the input.
    pub padding: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
}

impl ConvShape {
    /// Height and width of the output for an input of `height` x `width`; 0 where the kernel does not fit.
    pub fn output_size(&self, height: usize, width: usize) -> (usize, usize) {
        let size = |input: usize, kernel: usize| match (input + 2 * self.padding).checked_sub(kernel) {
            Some(room) => room / self.stride + 1,
            None => 0,
        };
        (size(height, self.kernel.0), size(width, self.kernel.1))
    }

    /// The border that the input's plane must have at least.
    pub fn input_border(&self) -> usize {
        self.padding
    }

    /// The border that the plane of the output's gradient must have at least for
    /// [`conv2d_backward_data`](crate::conv2d_backward_data).
    pub fn gradient_border(&self) -> usize {
        // The first and the last input pixel meet outputs this far outside the image.
        let (height, width) = self.kernel;
        (height.max(width) - 1).saturating_sub(self.padding).div_ceil(self.stride)
    }

    /// Panics unless the planes have this convolution's sizes and channels.
    #[track_caller]
    pub(super) fn check_sizes(&self, input: &Plane, output: &Plane) {
        assert!(self.stride > 0, "stride: 0");
        assert!(input.channels == self.in_channels, "input plane: {input:?} for {self:?}");
        assert!(output.channels == self.out_channels, "output plane: {output:?} for {self:?}");
        let size = self.output_size(input.height, input.width);
        assert!(
            (output.height, output.width) == size,
            "output plane: {output:?}, but {self:?} gives {size:?}"
        );
    }

    /// As [`ConvShape::check_sizes`], and the input's border must hold the padding.
    #[track_caller]
    pub(super) fn check_planes(&self, input: &Plane, output: &Plane) {
        self.check_sizes(input, output);
        assert!(
            input.border >= self.padding,
            "input plane: border below the padding: {input:?} for {self:?}"
        );
    }

    /// Number of weights.
    pub(super) fn weights(&self) -> usize {
        self.kernel.0 * self.kernel.1 * self.in_channels * self.out_channels
    }
}

/// What [`conv2d_forward`](crate::conv2d_forward) does to a sum before it is stored; the default is nothing.
#[derive(Clone, Copy, Default)]
pub struct Epilogue<'a, E = f32> {
    /// Added per output channel.
    pub bias: Option<&'a [f32]>,
    /// Added per value; has the output's pixels and channels, with a border of its own.
    pub residual: Option<(&'a [E], Plane)>,
    /// Negative values become zero, last of all.
    pub relu: bool,
}
