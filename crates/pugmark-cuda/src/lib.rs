//! What the engine computes on an NVIDIA GPU: kernels in CUDA C, and convolutions and matrix products of libraries that are
//! opened at run time.
//!
//! Activations are NHWC without a border, in f32 or bf16 ([`Type`]); kernels calculate in f32 and round once; statistics and
//! parameters are f32. Sums run in an order that the shape alone decides, so the same call gives the same bits. Functions
//! check every slice against the shape and panic with the argument's name: that is a bug in the caller, never bad user input.

mod device;
#[cfg(feature = "emulator")]
mod emulator;
mod gpu;
mod kernels;
mod memory;
mod operators;

pub use device::{Arg, Convolution, ConvolutionPass, Device, DeviceError, Matmul};
#[cfg(feature = "emulator")]
pub use emulator::Emulator;
pub use gpu::Cuda;
pub use memory::{Buffer, Gpu, Slice, Type, Value};
pub use operators::*;
