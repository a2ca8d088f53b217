//! An NVIDIA GPU.

mod compile;
mod context;
mod convolution;
mod descriptors;
mod libraries;
mod product;
mod workspace;

use std::collections::HashMap;
use std::ffi::c_void;
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::driver::result;
use cudarc::driver::sys::CUfunction;

use crate::{Arg, Convolution, ConvolutionPass, Device, DeviceError, Matmul, Type};
use context::{Context, Module};
use convolution::Convolutions;
use product::Products;
use workspace::Workspace;

/// The least compute capability that the kernels are tested to compile for.
const LEAST: (u32, u32) = (7, 0);

/// Since when GPUs multiply bf16.
const BF16: (u32, u32) = (8, 0);

/// An NVIDIA GPU with our kernels, cuDNN and cuBLASLt. All of it is opened at run time: a program that has it also starts on
/// machines without.
pub struct Cuda {
    // In the order in which they go: what the context holds, and then it.
    state: Mutex<State>,
    f32: Module,
    bf16: Module,
    context: Context,
    tf32: bool,
}

/// What calls share; the libraries' handles allow one at a time.
struct State {
    functions: HashMap<(Type, &'static str), Function>,
    convolutions: Convolutions,
    products: Products,
    workspace: Workspace,
}

struct Function(CUfunction);

// SAFETY: a driver's handles may be used from every thread on which the context is current.
unsafe impl Send for Function {}

impl Cuda {
    /// The number of GPUs that the driver shows.
    ///
    /// # Errors
    /// [`DeviceError::Missing`] without a driver, and where to get it.
    pub fn count() -> Result<usize, DeviceError> {
        libraries::DRIVER.check()?;
        context::count()
    }

    /// Whether all libraries that a GPU needs are there, and none is newer than the driver.
    ///
    /// # Errors
    /// [`DeviceError::Missing`] names the first that is not, and where to get it.
    pub fn check() -> Result<(), DeviceError> {
        [libraries::DRIVER, libraries::NVRTC, libraries::CUBLASLT, libraries::CUDNN]
            .iter()
            .try_for_each(libraries::Needed::check)?;
        check_versions()
    }

    /// Opens a GPU. The first time for a kind of GPU, that takes some seconds: the kernels are compiled, and kept in `cuda`
    /// below `PUGMARK_CACHE` or the user's cache folder.
    ///
    /// # Errors
    /// [`DeviceError::Missing`] names a GPU or a library that is not there or too old, and where to get it; others as the
    /// libraries say.
    pub fn open(ordinal: usize) -> Result<Self, DeviceError> {
        Self::check()?;
        let context = Context::open(ordinal)?;
        let capability = context.capability;
        if capability < LEAST {
            let (name, (major, minor)) = (&context.name, capability);
            let why = format!(
                "{name} has compute capability {major}.{minor}, and {}.{} is needed",
                LEAST.0, LEAST.1
            );
            return Err(DeviceError::Missing(why));
        }
        let load = |of| {
            let image = compile::kernels(of, capability)?;
            // SAFETY: the compiler made it, or it is to the byte what the compiler once made.
            unsafe { Module::load(&image) }
        };
        let (f32, bf16) = (load(Type::F32)?, load(Type::Bf16)?);
        let state = State {
            functions: HashMap::new(),
            convolutions: Convolutions::new(&context)?,
            products: Products::new()?,
            workspace: Workspace::default(),
        };
        Ok(Self { state: Mutex::new(state), f32, bf16, context, tf32: false })
    }

    /// Whether convolutions and products of f32 may round what they multiply to TF32, of 10 bits, which is several times as
    /// fast from compute capability 8.0 on. Off at first: f32 then agrees with the processor.
    #[must_use]
    pub fn with_tf32(mut self, allowed: bool) -> Self {
        self.tf32 = allowed;
        self
    }

    /// Whether it multiplies bf16: from compute capability 8.0 on. The kernels take bf16 on every GPU.
    pub fn has_bf16(&self) -> bool {
        self.context.capability >= BF16
    }

    /// The compute capabilities that the NVRTC here compiles for, as `(9, 0)`, the least first. Needs no GPU.
    ///
    /// # Errors
    /// [`DeviceError::Missing`] without the library.
    pub fn capabilities() -> Result<Vec<(u32, u32)>, DeviceError> {
        Ok(compile::capabilities()?.into_iter().map(|number| (number / 10, number % 10)).collect())
    }

    /// The kernels for activations of a type as NVIDIA's assembly, for one of [`Cuda::capabilities`]: to be read and checked
    /// where there is no GPU.
    ///
    /// # Errors
    /// [`DeviceError::Missing`] without NVRTC; [`DeviceError::Failed`] with what the compiler says.
    pub fn ptx(of: Type, capability: (u32, u32)) -> Result<String, DeviceError> {
        compile::ptx(of, capability)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a product of values of a type is possible.
    fn check_product(&self, of: Type) -> Result<(), DeviceError> {
        if of != Type::Bf16 || self.has_bf16() {
            return Ok(());
        }
        let (Context { name, capability, .. }, (major, minor)) = (&self.context, BF16);
        Err(DeviceError::Missing(format!(
            "{name} does not multiply bf16: it has compute capability {}.{}, and {major}.{minor} is needed",
            capability.0, capability.1
        )))
    }
}

// SAFETY: addresses are the driver's own.
unsafe impl Device for Cuda {
    fn name(&self) -> String {
        self.context.name.clone()
    }

    fn free_memory(&self) -> Result<usize, DeviceError> {
        self.context.bind()?;
        self.context.free_memory()
    }

    fn allocate(&self, bytes: usize) -> Result<u64, DeviceError> {
        self.context.bind()?;
        let address = self.context.allocate(bytes)?;
        // SAFETY: allocated just now.
        unsafe {
            self.context.zero(address, bytes).inspect_err(|_| self.context.free(address))?;
        }
        Ok(address)
    }

    unsafe fn free(&self, address: u64) {
        if self.context.bind().is_ok() {
            // SAFETY: the caller's.
            unsafe { self.context.free(address) };
        }
    }

    // The driver copies what is not pinned memory to memory of its own before it returns, unless it can read it in place.
    unsafe fn upload(&self, to: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.context.bind()?;
        // SAFETY: the caller's.
        unsafe { result::memcpy_htod_async(to, bytes, self.context.stream()) }
            .map_err(failed("cuMemcpyHtoDAsync"))?;
        if self.context.reads_in_place { self.context.synchronize() } else { Ok(()) }
    }

    unsafe fn download(&self, from: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.context.bind()?;
        // SAFETY: the caller's; the copy has ended before the bytes are handed back.
        let copied = unsafe { result::memcpy_dtoh_async(bytes, from, self.context.stream()) };
        let waited = self.context.synchronize();
        copied.map_err(failed("cuMemcpyDtoHAsync"))?;
        waited
    }

    unsafe fn launch(
        &self,
        of: Type,
        kernel: &'static str,
        blocks: usize,
        threads: usize,
        args: &[Arg],
    ) -> Result<(), DeviceError> {
        let size = |count: usize| {
            let size = i32::try_from(count).map(i32::cast_unsigned);
            size.map_err(|_| failed(kernel)(format!("{count} are too many blocks or threads")))
        };
        let (blocks, threads) = (size(blocks)?, size(threads)?);
        self.context.bind()?;
        // The driver reads each argument's low bytes.
        let mut slots: Vec<u64> = args.iter().map(|arg| arg.0).collect();
        let mut pointers: Vec<*mut c_void> =
            slots.iter_mut().map(|slot| std::ptr::from_mut(slot).cast()).collect();
        let mut state = self.state();
        let function = match state.functions.get(&(of, kernel)) {
            Some(function) => function.0,
            None => {
                let module = if of == Type::Bf16 { &self.bf16 } else { &self.f32 };
                let function = module.function(kernel)?;
                state.functions.insert((of, kernel), Function(function));
                function
            }
        };
        let (grid, block) = ((blocks, 1, 1), (threads, 1, 1));
        // SAFETY: the function lives as long as its module; arguments are the caller's.
        unsafe { result::launch_kernel(function, grid, block, 0, self.context.stream(), &mut pointers) }
            .map_err(failed(kernel))
    }

    unsafe fn convolution(
        &self,
        pass: ConvolutionPass,
        convolution: &Convolution,
        values: Type,
        x: u64,
        w: u64,
        y: u64,
        accumulate: bool,
    ) -> Result<(), DeviceError> {
        self.check_product(values)?;
        self.context.bind()?;
        let (x_len, w_len, y_len) = convolution.lens();
        let (written, len, read) = match pass {
            ConvolutionPass::Forward => (y, y_len, [x_len, w_len]),
            ConvolutionPass::BackwardData => (x, x_len, [w_len, y_len]),
            ConvolutionPass::BackwardWeight => (w, w_len, [x_len, y_len]),
        };
        let mut state = self.state();
        let State { convolutions, workspace, .. } = &mut *state;
        // SAFETY: the caller's.
        unsafe {
            // The library knows no empty tensors.
            if len == 0 || read.contains(&0) {
                return self.empty_sums(written, len * values.bytes(), accumulate);
            }
            let with = (&self.context, workspace);
            convolutions.run(with, pass, convolution, (values, self.tf32), [x, w, y], accumulate)
        }
    }

    unsafe fn matmul(
        &self,
        matmul: &Matmul,
        values: Type,
        a: u64,
        b: u64,
        of_c: Type,
        c: u64,
        accumulate: bool,
    ) -> Result<(), DeviceError> {
        self.check_product(values)?;
        self.context.bind()?;
        let mut state = self.state();
        let State { products, workspace, .. } = &mut *state;
        // SAFETY: the caller's.
        unsafe {
            if matmul.m * matmul.n * matmul.k == 0 {
                return self.empty_sums(c, matmul.m * matmul.n * of_c.bytes(), accumulate);
            }
            products.run((&self.context, workspace), matmul, (values, of_c, self.tf32), [a, b, c], accumulate)
        }
    }

    fn synchronize(&self) -> Result<(), DeviceError> {
        self.context.bind()?;
        self.context.synchronize()
    }
}

impl Cuda {
    /// Writes, or adds, sums of no terms.
    ///
    /// # Safety
    /// The bytes are there.
    unsafe fn empty_sums(&self, to: u64, bytes: usize, accumulate: bool) -> Result<(), DeviceError> {
        if accumulate || bytes == 0 {
            return Ok(());
        }
        // SAFETY: the caller's.
        unsafe { self.context.zero(to, bytes) }
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // What the fields' own ends need: that their context is current, and that nothing runs.
        let _ = self.context.bind();
        let _ = self.context.synchronize();
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.workspace.free(&self.context);
    }
}

impl Debug for Cuda {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cuda")
            .field("context", &self.context)
            .field("tf32", &self.tf32)
            .finish_non_exhaustive()
    }
}

/// Whether the libraries run on the driver.
fn check_versions() -> Result<(), DeviceError> {
    let driver = Context::version()?;
    let (major, minor) = compile::version()?;
    libraries::check_version("NVRTC", (major * 1000 + minor * 10) as usize, driver)?;
    // SAFETY: the functions only answer; the libraries have been checked to have them.
    let (cublaslt, cudnn) = unsafe {
        (cudarc::cublaslt::sys::cublasLtGetCudartVersion(), cudarc::cudnn::sys::cudnnGetCudartVersion())
    };
    libraries::check_version("cuBLASLt", cublaslt, driver)?;
    libraries::check_version("cuDNN", cudnn, driver)
}

/// The error of a call.
fn failed<E: Display>(call: &str) -> impl FnOnce(E) -> DeviceError + '_ {
    move |error| DeviceError::Failed { call: call.into(), why: error.to_string() }
}

/// Where a value lies and how large it is, as C asks for settings.
fn bytes_of<V>(value: &V) -> (*const c_void, usize) {
    (std::ptr::from_ref(value).cast(), size_of::<V>())
}

#[cfg(test)]
#[cfg(feature = "emulator")]
mod tests;
