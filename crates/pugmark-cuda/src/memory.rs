use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use crate::{Arg, Device, DeviceError};

/// What a value on a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// IEEE single precision.
    F32,
    /// Its upper half.
    Bf16,
    /// A byte.
    U8,
}

impl Type {
    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
            Self::U8 => 1,
        }
    }
}

/// A value that goes to a device and back as it is in memory.
pub trait Value: Copy {
    /// Its type there; 4-byte integers count as [`Type::F32`] by their size.
    const TYPE: Type;
}

impl Value for f32 {
    const TYPE: Type = Type::F32;
}

impl Value for u32 {
    const TYPE: Type = Type::F32;
}

impl Value for u16 {
    const TYPE: Type = Type::Bf16;
}

impl Value for u8 {
    const TYPE: Type = Type::U8;
}

/// A device that is shared.
#[derive(Debug, Clone)]
pub struct Gpu(pub Arc<dyn Device>);

impl Gpu {
    /// Room for so many values, all zero.
    ///
    /// # Errors
    /// [`DeviceError::Memory`].
    pub fn allocate(&self, of: Type, len: usize) -> Result<Buffer, DeviceError> {
        let address = self.0.allocate((len * of.bytes()).max(1))?;
        Ok(Buffer { gpu: self.clone(), address, of, len })
    }

    /// Values that lie here, there.
    ///
    /// # Errors
    /// [`DeviceError::Memory`].
    pub fn put<V: Value>(&self, values: &[V]) -> Result<Buffer, DeviceError> {
        let buffer = self.allocate(V::TYPE, values.len())?;
        buffer.all().write(values)?;
        Ok(buffer)
    }

    /// Runs a kernel with at least so many threads, in blocks of 256.
    pub(crate) fn each(
        &self,
        of: Type,
        kernel: &'static str,
        threads: usize,
        args: &[Arg],
    ) -> Result<(), DeviceError> {
        self.blocks(of, kernel, threads.div_ceil(256), args)
    }

    /// Runs a kernel on so many blocks of 256 threads; on none, nothing.
    pub(crate) fn blocks(
        &self,
        of: Type,
        kernel: &'static str,
        blocks: usize,
        args: &[Arg],
    ) -> Result<(), DeviceError> {
        if blocks == 0 {
            return Ok(());
        }
        // SAFETY: the functions of `operators` hand each kernel its own arguments, slices that they have checked.
        unsafe { self.0.launch(of, kernel, blocks, 256, args) }
    }
}

/// Memory of a device.
#[derive(Debug)]
pub struct Buffer {
    gpu: Gpu,
    address: u64,
    of: Type,
    len: usize,
}

impl Buffer {
    /// All values.
    pub fn all(&self) -> Slice<'_> {
        self.slice(0..self.len)
    }

    /// Some of the values.
    pub fn slice(&self, range: Range<usize>) -> Slice<'_> {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {} values", self.len);
        let address = self.address + (range.start * self.of.bytes()) as u64;
        Slice { gpu: &self.gpu, address, of: self.of, len: range.len(), _of: PhantomData }
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the address is this buffer's own, and no slice outlives it.
        unsafe { self.gpu.0.free(self.address) }
    }
}

/// A part of a buffer. Reading and writing are in the order that the device is asked in, so several slices of one place do no
/// harm.
#[derive(Debug, Clone, Copy)]
pub struct Slice<'a> {
    gpu: &'a Gpu,
    address: u64,
    of: Type,
    len: usize,
    _of: PhantomData<&'a Buffer>,
}

impl<'a> Slice<'a> {
    /// The number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What the values are.
    pub fn of(&self) -> Type {
        self.of
    }

    /// The device.
    pub fn gpu(&self) -> &'a Gpu {
        self.gpu
    }

    /// Some of the values.
    #[must_use]
    pub fn slice(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {} values", self.len);
        Self { address: self.address + (range.start * self.of.bytes()) as u64, len: range.len(), ..self }
    }

    /// The address, checked to be of so many values of a type.
    #[track_caller]
    pub(crate) fn checked(&self, name: &str, of: Type, len: usize) -> u64 {
        assert!(
            self.of == of && self.len == len,
            "{name}: {} {:?} given, {len} {of:?} needed",
            self.len,
            self.of
        );
        self.address
    }

    /// Writes all values.
    ///
    /// # Errors
    /// As the device says.
    pub fn write<V: Value>(self, values: &[V]) -> Result<(), DeviceError> {
        let to = self.checked("values", V::TYPE, values.len());
        // SAFETY: the slice is as long as the values; every byte of them is set, for they are numbers without gaps.
        unsafe {
            let bytes = std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values));
            self.gpu.0.upload(to, bytes)
        }
    }

    /// Reads all values.
    ///
    /// # Errors
    /// As the device says.
    pub fn read<V: Value + Default>(self) -> Result<Vec<V>, DeviceError> {
        let from = self.checked("values", V::TYPE, self.len);
        let mut values = vec![V::default(); self.len];
        // SAFETY: the slice is as long as the values, and any bytes are numbers.
        unsafe {
            let bytes = std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(&values[..]));
            self.gpu.0.download(from, bytes)?;
        }
        Ok(values)
    }
}
