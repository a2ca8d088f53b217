//! A device that runs the kernels on the processor, for tests.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{env, fs, slice};

use libloading::Library;

use crate::kernels::SOURCE;
use crate::{Arg, Convolution, ConvolutionPass, Device, DeviceError, Matmul, Type};

/// Bytes that it has unless told otherwise.
const MEMORY: usize = 8 << 30;

/// Bytes behind each allocation that nothing may write to.
const GUARD: usize = 256;

/// The kernels as a C++ compiler compiles them, and plain sums in place of the libraries. Slow, and exact about what a kernel
/// may do: it ends the process where threads of a block do not meet, and panics where memory behind an allocation has
/// changed when that is freed.
#[derive(Debug)]
pub struct Emulator {
    f32: Library,
    bf16: Library,
    memory: usize,
    allocations: Mutex<HashMap<u64, usize>>,
}

/// The kernels keep what they share in static memory.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Emulator {
    /// Whether there is a C++ compiler; says so where there is none, for a test that is left out.
    pub fn is_possible() -> bool {
        let found = Command::new(compiler()).arg("--version").output().is_ok_and(|o| o.status.success());
        if !found {
            eprintln!("NOT CHECKED on an emulated GPU: there is no C++ compiler `{}`", compiler());
        }
        found
    }

    /// A device on which nothing lies yet.
    ///
    /// # Errors
    /// Without a C++ compiler (`c++`, or what `CXX` says), and with what it prints.
    pub fn new() -> Result<Self, String> {
        let _one = locked(&ONE_AT_A_TIME);
        let f32 = library("float")?;
        let bf16 = library("bf16")?;
        Ok(Self { f32, bf16, memory: MEMORY, allocations: Mutex::default() })
    }

    /// The same device with so many bytes of memory.
    #[must_use]
    pub fn with_memory(self, memory: usize) -> Self {
        Self { memory, ..self }
    }

    fn library(&self, of: Type) -> &Library {
        if of == Type::Bf16 { &self.bf16 } else { &self.f32 }
    }
}

/// The kernels of a source with the lines on which they begin.
fn kernels(source: &str) -> impl Iterator<Item = (&str, &str)> {
    source.lines().filter_map(|line| {
        let rest = line.strip_prefix("extern \"C\" __global__ void ")?;
        let rest = rest.strip_prefix("__launch_bounds__(BLOCK) ").unwrap_or(rest);
        Some((rest.split('(').next()?, line))
    })
}

fn library(of: &str) -> Result<Library, String> {
    let mut source =
        format!("{}#define T {of}\n{SOURCE}{}", include_str!("emulator.h"), include_str!("emulator.cpp"));
    for (name, line) in kernels(SOURCE) {
        let together = line.contains("__launch_bounds__");
        let _ = writeln!(
            source,
            "extern \"C\" void run_{name}(const uint64_t* args, size_t count, size_t blocks, size_t in_block) {{ \
             emulator::run({name}, \"{name}\", {together}, args, count, blocks, in_block); }}"
        );
    }
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let folder = env::temp_dir().join("pugmark-emulator");
    let library = folder.join(format!("{of}-{:016x}.so", hasher.finish()));
    if !library.exists() {
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        compile(&source, &library)?;
    }
    // SAFETY: the library is the one compiled above; it runs nothing when it is opened.
    unsafe { Library::new(&library) }.map_err(|e| e.to_string())
}

fn compiler() -> String {
    env::var("CXX").unwrap_or_else(|_| "c++".into())
}

fn compile(source: &str, library: &Path) -> Result<(), String> {
    let own =
        |ending: &str| -> PathBuf { library.with_extension(format!("{}.{ending}", std::process::id())) };
    let (written, compiled) = (own("cpp"), own("so"));
    fs::write(&written, source).map_err(|e| format!("{}: {e}", written.display()))?;
    let compiler = compiler();
    let output = Command::new(&compiler)
        .args([
            "-std=c++17",
            "-O2",
            "-march=native",
            "-ffp-contract=off",
            "-fopenmp-simd",
            "-fPIC",
            "-shared",
        ])
        .args(["-U_FORTIFY_SOURCE", "-fno-gnu-unique", "-w", "-o"])
        .args([&compiled, &written])
        .output()
        .map_err(|e| format!("{compiler}: {e}"))?;
    let _ = fs::remove_file(&written);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    fs::rename(&compiled, library).map_err(|e| format!("{}: {e}", library.display()))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes + GUARD, 256).expect("no test is that large")
}

// SAFETY: addresses are those of the processor's memory.
unsafe impl Device for Emulator {
    fn name(&self) -> String {
        "emulated GPU".into()
    }

    fn free_memory(&self) -> Result<usize, DeviceError> {
        Ok(self.memory.saturating_sub(locked(&self.allocations).values().sum()))
    }

    fn allocate(&self, bytes: usize) -> Result<u64, DeviceError> {
        let free = self.free_memory()?;
        if bytes > free {
            let (device, total) = (self.name(), self.memory);
            return Err(DeviceError::Memory { device, asked: bytes, free, total });
        }
        // SAFETY: the layout is not empty.
        let address = unsafe { alloc_zeroed(layout(bytes)) } as u64;
        locked(&self.allocations).insert(address, bytes);
        Ok(address)
    }

    unsafe fn free(&self, address: u64) {
        let bytes = locked(&self.allocations).remove(&address).expect("freed once");
        // SAFETY: `allocate` made it with this layout.
        unsafe {
            let guard = slice::from_raw_parts((address as usize + bytes) as *const u8, GUARD);
            assert!(guard.iter().all(|&byte| byte == 0), "written behind an allocation of {bytes} bytes");
            dealloc(address as *mut u8, layout(bytes));
        }
    }

    unsafe fn upload(&self, to: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        // SAFETY: the caller's.
        unsafe { slice::from_raw_parts_mut(to as *mut u8, bytes.len()) }.copy_from_slice(bytes);
        Ok(())
    }

    unsafe fn download(&self, from: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        // SAFETY: the caller's.
        bytes.copy_from_slice(unsafe { slice::from_raw_parts(from as *const u8, bytes.len()) });
        Ok(())
    }

    unsafe fn launch(
        &self,
        of: Type,
        kernel: &'static str,
        blocks: usize,
        threads: usize,
        args: &[Arg],
    ) -> Result<(), DeviceError> {
        let slots: Vec<u64> = args.iter().map(|arg| arg.0).collect();
        let _one = locked(&ONE_AT_A_TIME);
        // SAFETY: every kernel has a function of this type, generated above; what it reads and writes is the caller's.
        unsafe {
            let run = self
                .library(of)
                .get::<unsafe extern "C" fn(*const u64, usize, usize, usize)>(format!("run_{kernel}"))
                .map_err(|e| DeviceError::Missing(e.to_string()))?;
            run(slots.as_ptr(), slots.len(), blocks, threads);
        }
        Ok(())
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
        let Convolution { images, height, width, in_channels, out_channels, kernel, stride, padding } =
            *convolution;
        let (out_height, out_width) = (convolution.out_height(), convolution.out_width());
        let shape: [u64; 11] = [
            images,
            height,
            width,
            in_channels,
            out_channels,
            kernel.0,
            kernel.1,
            stride,
            padding,
            out_height,
            out_width,
        ]
        .map(|value| value as u64);
        let pass = match pass {
            ConvolutionPass::Forward => 0,
            ConvolutionPass::BackwardData => 1,
            ConvolutionPass::BackwardWeight => 2,
        };
        // SAFETY: the function has this type; addresses are the caller's.
        unsafe {
            let run = self
                .library(values)
                .get::<unsafe extern "C" fn(*const u64, i32, u64, u64, u64, i32)>("emulated_convolution")
                .map_err(|e| DeviceError::Missing(e.to_string()))?;
            run(shape.as_ptr(), pass, x, w, y, accumulate.into());
        }
        Ok(())
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
        let Matmul { m, n, k, turn_a, turn_b } = *matmul;
        type Function = unsafe extern "C" fn(u64, u64, u64, i32, i32, u64, u64, i32, u64, i32);
        // SAFETY: the function has this type; addresses are the caller's.
        unsafe {
            let run = self
                .library(values)
                .get::<Function>("emulated_matmul")
                .map_err(|e| DeviceError::Missing(e.to_string()))?;
            let [m, n, k] = [m, n, k].map(|value| value as u64);
            let f32 = i32::from(of_c == Type::F32);
            run(m, n, k, turn_a.into(), turn_b.into(), a, b, f32, c, accumulate.into());
        }
        Ok(())
    }

    fn synchronize(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_behind_an_allocation_is_noticed() {
        if !Emulator::is_possible() {
            return;
        }
        let freed = std::panic::catch_unwind(|| {
            let device = Emulator::new().expect("the kernels compile");
            let address = device.allocate(8).expect("there is room");
            // SAFETY: what is written lies in the guard, and the address is freed once.
            unsafe {
                device.upload(address + 8, &[1]).expect("no copy fails here");
                device.free(address);
            }
        });
        let why = freed.expect_err("it was noticed");
        assert!(why.downcast_ref::<String>().is_some_and(|why| why.starts_with("written behind")));
    }
}
