use std::fmt::Debug;

use thiserror::Error;

use crate::Type;

/// Why a device did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeviceError {
    /// It has no room.
    #[error("{asked} bytes do not fit the memory of {device}, which has {free} of {total} bytes free")]
    Memory {
        /// The device.
        device: String,
        /// Bytes asked for.
        asked: usize,
        /// Bytes that are free.
        free: usize,
        /// Bytes it has.
        total: usize,
    },
    /// There is no such device, or a library is missing.
    #[error("{0}")]
    Missing(String),
    /// A call failed.
    #[error("{call}: {why}")]
    Failed {
        /// What was called.
        call: String,
        /// The library's answer.
        why: String,
    },
}

/// An argument of a kernel, in the low bytes of 64 bits.
#[derive(Debug, Clone, Copy)]
pub struct Arg(pub u64);

impl From<u64> for Arg {
    fn from(value: u64) -> Self {
        Self(value)
    }
}

impl From<usize> for Arg {
    fn from(value: usize) -> Self {
        Self(value as u64)
    }
}

impl From<i32> for Arg {
    fn from(value: i32) -> Self {
        Self(u64::from(value.cast_unsigned()))
    }
}

impl From<u32> for Arg {
    fn from(value: u32) -> Self {
        Self(u64::from(value))
    }
}

impl From<bool> for Arg {
    fn from(value: bool) -> Self {
        Self(u64::from(value))
    }
}

impl From<f32> for Arg {
    fn from(value: f32) -> Self {
        Self(u64::from(value.to_bits()))
    }
}

/// Which product of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConvolutionPass {
    /// `y` of `x` and `w`.
    Forward,
    /// `dx` of `dy` and `w`.
    BackwardData,
    /// `dw` of `dy` and `x`.
    BackwardWeight,
}

/// The shape of a convolution as `torch.nn.Conv2d`: `x` is `[images, height, width, in_channels]`, `w`
/// `[out_channels, kernel, kernel, in_channels]`, `y` `[images, out_height, out_width, out_channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Convolution {
    /// Images.
    pub images: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: (usize, usize),
    /// Step in both directions.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
}

impl Convolution {
    /// Rows of the output.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel.0) / self.stride + 1
    }

    /// Columns of the output.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel.1) / self.stride + 1
    }

    /// Values of `x`, `w` and `y`.
    pub fn lens(&self) -> (usize, usize, usize) {
        let taps = self.kernel.0 * self.kernel.1;
        let out = self.out_height() * self.out_width();
        (
            self.images * self.height * self.width * self.in_channels,
            self.out_channels * taps * self.in_channels,
            self.images * out * self.out_channels,
        )
    }
}

/// A product of matrices in rows: `c[m x n] = a[m x k] b[k x n]`, each turned where it is stored the other way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Matmul {
    /// Rows of `c`.
    pub m: usize,
    /// Columns of `c`.
    pub n: usize,
    /// Terms of a sum.
    pub k: usize,
    /// `a` is stored as `[k x m]`.
    pub turn_a: bool,
    /// `b` is stored as `[n x k]`.
    pub turn_b: bool,
}

/// A GPU, or what stands in for one. Everything it is asked for happens in that order; only [`Device::download`] and
/// [`Device::synchronize`] wait for it.
///
/// # Safety
/// Of the unsafe methods: addresses are those of memory that [`Device::allocate`] gave and that was not freed since, with room
/// for what is read and written there; arguments are those that the kernel has.
pub unsafe trait Device: Debug + Send + Sync {
    /// In words, such as `NVIDIA H200`.
    fn name(&self) -> String;

    /// Bytes of its memory that are free.
    ///
    /// # Errors
    /// As the library says.
    fn free_memory(&self) -> Result<usize, DeviceError>;

    /// The address of that many bytes, all zero, on a line of 256 bytes.
    ///
    /// # Errors
    /// [`DeviceError::Memory`].
    fn allocate(&self, bytes: usize) -> Result<u64, DeviceError>;

    /// Gives back what was allocated.
    ///
    /// # Safety
    /// As the trait's.
    unsafe fn free(&self, address: u64);

    /// Writes `bytes` to `to`.
    ///
    /// # Errors
    /// As the library says.
    ///
    /// # Safety
    /// As the trait's.
    unsafe fn upload(&self, to: u64, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Reads from `from` when all before is done.
    ///
    /// # Errors
    /// As the library says; also for what failed before.
    ///
    /// # Safety
    /// As the trait's.
    unsafe fn download(&self, from: u64, bytes: &mut [u8]) -> Result<(), DeviceError>;

    /// Runs a kernel of `kernels`, compiled for activations of a type, on a line of `blocks` times `threads`.
    ///
    /// # Errors
    /// As the library says.
    ///
    /// # Safety
    /// As the trait's.
    unsafe fn launch(
        &self,
        of: Type,
        kernel: &'static str,
        blocks: usize,
        threads: usize,
        args: &[Arg],
    ) -> Result<(), DeviceError>;

    /// One product of a convolution of values of a type: the addresses are of `x`, `w`, `y` or their gradients, whichever
    /// the pass reads and writes. What it writes is overwritten, or added to with `accumulate`.
    ///
    /// # Errors
    /// As the library says.
    ///
    /// # Safety
    /// As the trait's.
    #[expect(clippy::too_many_arguments, reason = "three addresses, and what lies there")]
    unsafe fn convolution(
        &self,
        pass: ConvolutionPass,
        convolution: &Convolution,
        values: Type,
        x: u64,
        w: u64,
        y: u64,
        accumulate: bool,
    ) -> Result<(), DeviceError>;

    /// A product of matrices of values of one type into one of `of_c`, which is overwritten, or added to with `accumulate`.
    ///
    /// # Errors
    /// As the library says.
    ///
    /// # Safety
    /// As the trait's.
    #[expect(clippy::too_many_arguments, reason = "three addresses, and what lies there")]
    unsafe fn matmul(
        &self,
        matmul: &Matmul,
        values: Type,
        a: u64,
        b: u64,
        of_c: Type,
        c: u64,
        accumulate: bool,
    ) -> Result<(), DeviceError>;

    /// Waits until all is done.
    ///
    /// # Errors
    /// For what failed before.
    fn synchronize(&self) -> Result<(), DeviceError>;
}
