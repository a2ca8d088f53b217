//! A GPU's context, its stream, and its memory.

use std::ffi::{CString, c_void};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{CUcontext, CUdevice, CUfunction, CUmemoryPool, CUmodule, CUresult, CUstream};
use cudarc::driver::sys::{CUdevice_attribute as Attribute, CUmemPool_attribute, cuDriverGetVersion};

use super::failed;
use crate::DeviceError;

/// A GPU's primary context with a stream of our own: what is asked for happens in the order of the stream.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) name: String,
    pub(super) capability: (u32, u32),
    device: CUdevice,
    context: CUcontext,
    stream: CUstream,
    /// It reads the processor's memory where it lies, so that a copy from there may still be under way when its call returns.
    pub(super) reads_in_place: bool,
    /// Where memory comes from without a wait; older and virtual GPUs have none.
    pool: Option<CUmemoryPool>,
}

// SAFETY: a driver's handles may be used from every thread on which the context is current; `bind` makes it so.
unsafe impl Send for Context {}
// SAFETY: the driver locks what it shares.
unsafe impl Sync for Context {}

impl Context {
    /// Opens a GPU and makes its context current. The driver must be there.
    pub(super) fn open(ordinal: usize) -> Result<Self, DeviceError> {
        let count = count()?;
        let number = i32::try_from(ordinal).ok().filter(|_| ordinal < count);
        let number = number
            .ok_or_else(|| DeviceError::Missing(format!("no GPU {ordinal}: the driver knows {count}")))?;
        let device = result::device::get(number).map_err(failed("cuDeviceGet"))?;
        let name = result::device::get_name(device).map_err(failed("cuDeviceGetName"))?;
        // SAFETY: the device is one that the driver gave.
        let attribute = |which| unsafe { result::device::get_attribute(device, which) }.unwrap_or(0);
        let capability = [
            Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        ]
        .map(|which| attribute(which).cast_unsigned());
        let has_pool = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED) != 0;
        let in_place = Attribute::CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES;
        let reads_in_place = attribute(in_place) != 0;
        // SAFETY: as above.
        let context = unsafe { result::primary_ctx::retain(device) };
        let context = context.map_err(failed("cuDevicePrimaryCtxRetain"))?;
        let mut opened = Self {
            name,
            capability: (capability[0], capability[1]),
            device,
            context,
            stream: std::ptr::null_mut(),
            reads_in_place,
            pool: None,
        };
        opened.bind()?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking);
        opened.stream = stream.map_err(failed("cuStreamCreate"))?;
        if has_pool {
            opened.pool = Some(kept_pool(device)?);
        }
        Ok(opened)
    }

    /// Makes the context current on this thread, which every other method needs.
    pub(super) fn bind(&self) -> Result<(), DeviceError> {
        // SAFETY: the context lives as long as this value.
        unsafe { result::ctx::set_current(self.context) }.map_err(failed("cuCtxSetCurrent"))
    }

    pub(super) fn stream(&self) -> CUstream {
        self.stream
    }

    /// The version of CUDA that the driver is for, as 13000 for 13.0.
    pub(super) fn version() -> Result<usize, DeviceError> {
        let mut version = 0;
        // SAFETY: it writes the one number.
        unsafe { cuDriverGetVersion(&raw mut version) }.result().map_err(failed("cuDriverGetVersion"))?;
        Ok(usize::try_from(version).unwrap_or(0))
    }

    /// The address of so many bytes of unset memory.
    pub(super) fn allocate(&self, bytes: usize) -> Result<u64, DeviceError> {
        let first = self.take(bytes);
        let taken = if first == Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) {
            // What was freed may still be in use, or kept in pieces that are too small.
            self.synchronize()?;
            self.trim();
            self.take(bytes)
        } else {
            first
        };
        taken.map_err(|error| match (error.0, result::mem_get_info()) {
            (CUresult::CUDA_ERROR_OUT_OF_MEMORY, Ok((free, total))) => {
                DeviceError::Memory { device: self.name.clone(), asked: bytes, free, total }
            }
            _ => failed("cuMemAlloc")(error),
        })
    }

    fn take(&self, bytes: usize) -> Result<u64, DriverError> {
        // SAFETY: the stream is this context's; whoever reads the memory sets it first.
        unsafe {
            match self.pool {
                Some(_) => result::malloc_async(self.stream, bytes.max(1)),
                None => result::malloc_sync(bytes.max(1)),
            }
        }
    }

    /// Gives memory back when the stream is done with it.
    ///
    /// # Safety
    /// `allocate` gave the address, and it is freed once.
    pub(super) unsafe fn free(&self, address: u64) {
        // What fails here failed before, and the next call that can say so does.
        // SAFETY: the caller's.
        let _ = unsafe {
            match self.pool {
                Some(_) => result::free_async(address, self.stream),
                None => {
                    let _ = self.synchronize();
                    result::free_sync(address)
                }
            }
        };
    }

    /// Hands memory that nothing uses to other programs.
    fn trim(&self) {
        if let Some(pool) = self.pool {
            // SAFETY: the pool is the device's own.
            let _ = unsafe { result::mem_pool::trim_to(pool, 0) };
        }
    }

    /// Sets bytes to zero.
    ///
    /// # Safety
    /// They are there.
    pub(super) unsafe fn zero(&self, address: u64, bytes: usize) -> Result<(), DeviceError> {
        // SAFETY: the caller's.
        unsafe { result::memset_d8_async(address, 0, bytes, self.stream) }.map_err(failed("cuMemsetD8Async"))
    }

    pub(super) fn synchronize(&self) -> Result<(), DeviceError> {
        // SAFETY: the stream lives as long as this value.
        unsafe { result::stream::synchronize(self.stream) }.map_err(failed("cuStreamSynchronize"))
    }

    /// Bytes that are free once the pool has handed back what it keeps.
    pub(super) fn free_memory(&self) -> Result<usize, DeviceError> {
        self.synchronize()?;
        self.trim();
        result::mem_get_info().map(|(free, _)| free).map_err(failed("cuMemGetInfo"))
    }

    pub(super) fn total_memory(&self) -> Result<usize, DeviceError> {
        result::mem_get_info().map(|(_, total)| total).map_err(failed("cuMemGetInfo"))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let _ = self.bind();
        let _ = self.synchronize();
        self.trim();
        // SAFETY: both were made in `open`, and nothing that uses them is left.
        unsafe {
            if !self.stream.is_null() {
                let _ = result::stream::destroy(self.stream);
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

/// The number of GPUs. The driver must be there.
pub(super) fn count() -> Result<usize, DeviceError> {
    match result::init() {
        Ok(()) => {}
        Err(DriverError(CUresult::CUDA_ERROR_NO_DEVICE)) => return Ok(0),
        Err(error) => return Err(failed("cuInit")(error)),
    }
    let count = result::device::get_count().map_err(failed("cuDeviceGetCount"))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// The device's pool, told to keep what is freed: by default it gives all back whenever the stream is waited for.
fn kept_pool(device: CUdevice) -> Result<CUmemoryPool, DeviceError> {
    let mut all = u64::MAX;
    // SAFETY: the device is one that the driver gave; the attribute is of 64 bits.
    unsafe {
        let pool =
            result::device::get_default_mem_pool(device).map_err(failed("cuDeviceGetDefaultMemPool"))?;
        let threshold = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        result::mem_pool::set_attribute(pool, threshold, (&raw mut all).cast::<c_void>())
            .map_err(failed("cuMemPoolSetAttribute"))?;
        Ok(pool)
    }
}

/// Kernels in a context.
#[derive(Debug)]
pub(super) struct Module(CUmodule);

// SAFETY: as a context's.
unsafe impl Send for Module {}
// SAFETY: as a context's.
unsafe impl Sync for Module {}

impl Module {
    /// Loads what the compiler made into the context that is current.
    ///
    /// # Safety
    /// `image` is a cubin, or PTX that ends with a zero.
    pub(super) unsafe fn load(image: &[u8]) -> Result<Self, DeviceError> {
        // SAFETY: the caller's.
        unsafe { result::module::load_data(image.as_ptr().cast()) }
            .map(Self)
            .map_err(failed("cuModuleLoadData"))
    }

    pub(super) fn function(&self, name: &str) -> Result<CUfunction, DeviceError> {
        let unknown = || DeviceError::Missing(format!("no kernel {name}"));
        let name = CString::new(name).map_err(|_| unknown())?;
        // SAFETY: the module is loaded.
        unsafe { result::module::get_function(self.0, name) }.map_err(|error| match error.0 {
            CUresult::CUDA_ERROR_NOT_FOUND => unknown(),
            _ => failed("cuModuleGetFunction")(error),
        })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: loaded once, and no function of it is called any more.
        let _ = unsafe { result::module::unload(self.0) };
    }
}
