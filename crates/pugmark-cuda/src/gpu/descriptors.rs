//! A convolution in cuDNN's words.

use std::ffi::c_int;
use std::ptr;

use cudarc::cudnn::{result, sys};

use super::convolution::refused;
use super::failed;
use crate::{Convolution, DeviceError};

/// Sizes in the library's order: images, channels, rows, columns, wherever a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    x: [c_int; 4],
    /// Output channels, input channels, rows, columns.
    w: [c_int; 4],
    y: [c_int; 4],
    stride: c_int,
    padding: c_int,
}

impl Shape {
    fn of(convolution: &Convolution) -> Result<Self, DeviceError> {
        let Convolution { images, height, width, in_channels, out_channels, kernel, stride, padding } =
            *convolution;
        let (out_height, out_width) = (convolution.out_height(), convolution.out_width());
        let (x, w, y) = convolution.lens();
        // Steps from one image to the next are numbers of the library too.
        if [x, w, y].into_iter().any(|len| c_int::try_from(len).is_err()) {
            return Err(failed("a convolution")(format!("{convolution:?} has more than 2^31 - 1 values")));
        }
        let sizes = |sizes: [usize; 4]| sizes.map(|size| size as c_int);
        let number = |of| c_int::try_from(of).map_err(failed("a convolution"));
        Ok(Self {
            x: sizes([images, in_channels, height, width]),
            w: sizes([out_channels, in_channels, kernel.0, kernel.1]),
            y: sizes([images, out_channels, out_height, out_width]),
            stride: number(stride)?,
            padding: number(padding)?,
        })
    }
}

/// Values from one to the next in each direction, channels innermost.
fn steps([_, channels, height, width]: [c_int; 4]) -> [c_int; 4] {
    [height * width * channels, 1, width * channels, channels]
}

/// The library's objects for a convolution.
pub(super) struct Descriptors {
    pub(super) x: sys::cudnnTensorDescriptor_t,
    pub(super) w: sys::cudnnFilterDescriptor_t,
    pub(super) y: sys::cudnnTensorDescriptor_t,
    pub(super) convolution: sys::cudnnConvolutionDescriptor_t,
}

impl Descriptors {
    /// Of values of a type, summed in f32 with a kind of arithmetic. The library must be there.
    pub(super) fn new(
        convolution: &Convolution,
        values: sys::cudnnDataType_t,
        math: sys::cudnnMathType_t,
    ) -> Result<Self, DeviceError> {
        let shape = Shape::of(convolution)?;
        let mut made =
            Self { x: ptr::null_mut(), w: ptr::null_mut(), y: ptr::null_mut(), convolution: ptr::null_mut() };
        made.x = tensor(values, shape.x)?;
        made.y = tensor(values, shape.y)?;
        made.w = result::create_filter_descriptor().map_err(refused("cudnnCreateFilterDescriptor"))?;
        let layout = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
        // SAFETY: made just now.
        unsafe { result::set_filter4d_descriptor(made.w, values, layout, shape.w) }
            .map_err(refused("cudnnSetFilter4dDescriptor"))?;
        made.convolution =
            result::create_convolution_descriptor().map_err(refused("cudnnCreateConvolutionDescriptor"))?;
        let (padding, stride) = (shape.padding, shape.stride);
        // SAFETY: made just now.
        unsafe {
            result::set_convolution2d_descriptor(
                made.convolution,
                padding,
                padding,
                stride,
                stride,
                1,
                1,
                // As neural networks do: the kernel is not mirrored.
                sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
                sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
            )
        }
        .map_err(refused("cudnnSetConvolution2dDescriptor"))?;
        made.set_math(math)?;
        Ok(made)
    }

    /// Sets the kind of arithmetic.
    pub(super) fn set_math(&self, math: sys::cudnnMathType_t) -> Result<(), DeviceError> {
        // SAFETY: made in `new`.
        unsafe { result::set_convolution_math_type(self.convolution, math) }
            .map_err(refused("cudnnSetConvolutionMathType"))
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // SAFETY: made in `new`, where not null.
        unsafe {
            for tensor in [self.x, self.y] {
                if !tensor.is_null() {
                    let _ = result::destroy_tensor_descriptor(tensor);
                }
            }
            if !self.w.is_null() {
                let _ = result::destroy_filter_descriptor(self.w);
            }
            if !self.convolution.is_null() {
                let _ = result::destroy_convolution_descriptor(self.convolution);
            }
        }
    }
}

fn tensor(
    values: sys::cudnnDataType_t,
    shape: [c_int; 4],
) -> Result<sys::cudnnTensorDescriptor_t, DeviceError> {
    let tensor = result::create_tensor_descriptor().map_err(refused("cudnnCreateTensorDescriptor"))?;
    // SAFETY: made just now.
    let set = unsafe { result::set_tensor4d_descriptor_ex(tensor, values, shape, steps(shape)) };
    set.map_err(refused("cudnnSetTensor4dDescriptorEx")).inspect_err(|_| {
        // SAFETY: made just now, and nobody has it.
        let _ = unsafe { result::destroy_tensor_descriptor(tensor) };
    })?;
    Ok(tensor)
}

#[cfg(test)]
#[path = "descriptors_tests.rs"]
mod tests;
