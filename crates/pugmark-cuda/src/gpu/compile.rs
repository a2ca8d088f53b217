//! The kernels compiled by NVRTC, once for each kind of GPU: what it makes is kept in a folder.

use std::env;
use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use cudarc::nvrtc::{result, sys};
use etcetera::BaseStrategy;
use sha2::{Digest, Sha256};

use super::{failed, libraries};
use crate::kernels::SOURCE;
use crate::{DeviceError, Type};

/// What the compiler is to make, for a compute capability as 90 for 9.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The GPU's own code: loads at once, and on a driver that is older than the compiler.
    Cubin(u32),
    /// What the driver compiles for a GPU that is newer than the compiler.
    Ptx(u32),
}

impl Target {
    /// What to make for a GPU, with a compiler that knows some capabilities.
    fn of(gpu: u32, known: &[u32]) -> Option<Self> {
        if known.contains(&gpu) {
            return Some(Self::Cubin(gpu));
        }
        known.iter().copied().filter(|&known| known < gpu).max().map(Self::Ptx)
    }

    fn architecture(self) -> String {
        match self {
            Self::Cubin(number) => format!("--gpu-architecture=sm_{number}"),
            Self::Ptx(number) => format!("--gpu-architecture=compute_{number}"),
        }
    }
}

/// The kernels for activations of a type on a GPU of a capability: kept from another time, or compiled.
pub(super) fn kernels(of: Type, capability: (u32, u32)) -> Result<Vec<u8>, DeviceError> {
    kernels_in(folder().as_deref(), of, capability)
}

fn kernels_in(folder: Option<&Path>, of: Type, capability: (u32, u32)) -> Result<Vec<u8>, DeviceError> {
    let known = capabilities()?;
    let version = version()?;
    let (major, minor) = capability;
    let target = Target::of(major * 10 + minor, &known).ok_or_else(|| {
        let least = known.first().copied().unwrap_or(0);
        DeviceError::Missing(format!(
            "the NVRTC found is of CUDA {}.{}, which compiles for compute capability {}.{} and above, and \
             the GPU's is {major}.{minor}: the NVRTC of an earlier CUDA is needed",
            version.0,
            version.1,
            least / 10,
            least % 10,
        ))
    })?;
    let source = source(of);
    let key = key(&source, target, version);
    let path = folder.map(|folder| folder.join(key));
    if let Some(image) = path.as_deref().and_then(kept) {
        return Ok(image);
    }
    let image = compile(&source, target)?;
    if let Some(path) = path {
        // Without it, the kernels are compiled again next time.
        let _ = keep(&path, &image);
    }
    Ok(image)
}

/// The kernels for activations of a type, as PTX for a capability that the compiler knows.
pub(super) fn ptx(of: Type, capability: (u32, u32)) -> Result<String, DeviceError> {
    libraries::NVRTC.check()?;
    let text = compile(&source(of), Target::Ptx(capability.0 * 10 + capability.1))?;
    Ok(String::from_utf8_lossy(&text).trim_end_matches('\0').into())
}

/// The capabilities that the compiler knows, as 90 for 9.0, the least first.
pub(super) fn capabilities() -> Result<Vec<u32>, DeviceError> {
    libraries::NVRTC.check()?;
    let mut count = 0;
    // SAFETY: it writes the one number.
    let answer = unsafe { sys::nvrtcGetNumSupportedArchs(&raw mut count) };
    answer.result().map_err(failed("nvrtcGetNumSupportedArchs"))?;
    let mut known = vec![0_i32; usize::try_from(count).unwrap_or(0)];
    // SAFETY: it writes as many numbers as it has just said.
    let answer = unsafe { sys::nvrtcGetSupportedArchs(known.as_mut_ptr()) };
    answer.result().map_err(failed("nvrtcGetSupportedArchs"))?;
    let mut known: Vec<u32> = known.into_iter().filter_map(|number| number.try_into().ok()).collect();
    known.sort_unstable();
    Ok(known)
}

/// The version of CUDA that the compiler is of, as (13, 0).
pub(super) fn version() -> Result<(u32, u32), DeviceError> {
    libraries::NVRTC.check()?;
    let (mut major, mut minor) = (0, 0);
    // SAFETY: it writes the two numbers.
    let answer = unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    answer.result().map_err(failed("nvrtcVersion"))?;
    Ok((major.cast_unsigned(), minor.cast_unsigned()))
}

fn source(of: Type) -> String {
    let name = if of == Type::Bf16 { "bf16" } else { "float" };
    format!("#define T {name}\n{SOURCE}")
}

/// A program of the compiler, destroyed when done.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: created once, and not used any more.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

fn compile(source: &str, target: Target) -> Result<Vec<u8>, DeviceError> {
    let source = CString::new(source).map_err(failed("the kernels' source"))?;
    let program = result::create_program(&source, Some(c"kernels.cu"));
    let program = Program(program.map_err(failed("nvrtcCreateProgram"))?);
    let options = options(target);
    // SAFETY: the program was created, and so below.
    if let Err(error) = unsafe { result::compile_program(program.0, &options) } {
        // SAFETY: as above.
        let log = unsafe { result::get_program_log(program.0) }.unwrap_or_default();
        let log = text(&log);
        return Err(failed("nvrtcCompileProgram")(format!("{error}\n{log}")));
    }
    match target {
        Target::Ptx(_) => {
            // SAFETY: as above.
            let ptx = unsafe { result::get_ptx(program.0) }.map_err(failed("nvrtcGetPTX"))?;
            Ok(ptx.into_iter().map(|byte| byte as u8).collect())
        }
        Target::Cubin(_) => {
            let mut bytes = 0;
            // SAFETY: it writes the one number.
            let answer = unsafe { sys::nvrtcGetCUBINSize(program.0, &raw mut bytes) };
            answer.result().map_err(failed("nvrtcGetCUBINSize"))?;
            let mut cubin = vec![0_u8; bytes];
            // SAFETY: it writes as many bytes as it has just said.
            let answer = unsafe { sys::nvrtcGetCUBIN(program.0, cubin.as_mut_ptr().cast()) };
            answer.result().map_err(failed("nvrtcGetCUBIN"))?;
            Ok(cubin)
        }
    }
}

fn options(target: Target) -> [String; 2] {
    [target.architecture(), "--std=c++17".into()]
}

fn text(characters: &[c_char]) -> String {
    let bytes: Vec<u8> = characters.iter().map(|&character| character as u8).collect();
    let text = CStr::from_bytes_until_nul(&bytes).map(CStr::to_bytes).unwrap_or(&bytes);
    String::from_utf8_lossy(text).into_owned()
}

/// `cuda` below `PUGMARK_CACHE`, or else below `pugmark` in the platform's cache folder.
fn folder() -> Option<PathBuf> {
    if let Some(cache) = env::var_os("PUGMARK_CACHE").filter(|cache| !cache.is_empty()) {
        return Some(Path::new(&cache).join("cuda"));
    }
    let platform = etcetera::base_strategy::choose_native_strategy().ok()?;
    Some(platform.cache_dir().join("pugmark").join("cuda"))
}

/// The name of a file that another source, compiler or GPU does not share.
fn key(source: &str, target: Target, version: (u32, u32)) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{:?} {target:?} {version:?}\n", options(target)));
    hash.update(source);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What was kept, if all of it is there as it was.
fn kept(path: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    let (sum, image) = bytes.split_at_checked(32)?;
    (Sha256::digest(image)[..] == *sum).then(|| image.into())
}

/// Writes the image behind its checksum, all at once: another process may read or write the same name.
fn keep(path: &Path, image: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let own = path.with_extension(format!("{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let bytes = [&Sha256::digest(image)[..], image].concat();
    let written = fs::write(&own, bytes).and_then(|()| fs::rename(&own, path));
    if written.is_err() {
        let _ = fs::remove_file(&own);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_gets_its_own_code_or_the_nearest_before() {
        let known = [75, 80, 86, 90];
        assert_eq!(Target::of(90, &known), Some(Target::Cubin(90)));
        assert_eq!(Target::of(89, &known), Some(Target::Ptx(86)));
        assert_eq!(Target::of(120, &known), Some(Target::Ptx(90)));
        assert_eq!(Target::of(70, &known), None);
    }

    #[test]
    fn a_key_is_of_all_that_the_code_depends_on() {
        let key_of = |source, number, version| key(source, Target::Cubin(number), version);
        let one = key_of("a", 90, (13, 0));
        assert_eq!(one, key_of("a", 90, (13, 0)));
        let others = [
            key_of("b", 90, (13, 0)),
            key_of("a", 80, (13, 0)),
            key_of("a", 90, (12, 9)),
            key("a", Target::Ptx(90), (13, 0)),
        ];
        assert!(!others.contains(&one));
    }

    /// NVRTC makes a GPU's own code without one.
    #[test]
    fn what_was_compiled_is_kept() {
        if env::var_os("PUGMARK_NVRTC").is_none() {
            println!("NOT CHECKED: a GPU's own code by NVRTC; PUGMARK_NVRTC names no folder");
            return;
        }
        let folder = env::temp_dir().join(format!("pugmark-compiled-{}", process::id()));
        let compiled = || kernels_in(Some(&folder), Type::Bf16, (9, 0)).unwrap();
        let first = compiled();
        assert!(first.starts_with(b"\x7fELF"));
        // What is kept is taken, which a mark in it shows.
        let path = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
        keep(&path, b"kept").unwrap();
        assert_eq!(compiled(), b"kept");
        fs::write(&path, "damaged").unwrap();
        assert!(compiled().starts_with(b"\x7fELF"));
        assert_eq!(kept(&path).map(|image| image.len()), Some(first.len()));
        // A newer GPU than the compiler knows gets PTX, which ends with a zero; an older one, an error.
        let ptx = kernels_in(None, Type::F32, (99, 0)).unwrap();
        assert!(ptx.ends_with(&[0]) && String::from_utf8_lossy(&ptx).contains(".target sm_"));
        let DeviceError::Missing(why) = kernels_in(None, Type::F32, (3, 0)).unwrap_err() else {
            panic!("another error");
        };
        assert!(why.contains("the GPU's is 3.0"), "{why}");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_compilers_words_are_in_the_error() {
        if env::var_os("PUGMARK_NVRTC").is_none() {
            println!("NOT CHECKED: an error of NVRTC; PUGMARK_NVRTC names no folder");
            return;
        }
        libraries::NVRTC.check().unwrap();
        let DeviceError::Failed { call, why } = compile("nonsense();", Target::Ptx(90)).unwrap_err() else {
            panic!("another error");
        };
        assert_eq!(call, "nvrtcCompileProgram");
        assert!(why.contains("kernels.cu(1): error"), "{why}");
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        let folder = env::temp_dir().join(format!("pugmark-kept-{}", process::id()));
        let path = folder.join("key");
        assert_eq!(kept(&path), None);
        keep(&path, b"image").unwrap();
        assert_eq!(kept(&path).as_deref(), Some(&b"image"[..]));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let mut bytes = fs::read(&path).unwrap();
        bytes.pop();
        fs::write(&path, &bytes).unwrap();
        assert_eq!(kept(&path), None);
        fs::write(&path, &bytes[..20]).unwrap();
        assert_eq!(kept(&path), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
