//! NVIDIA's libraries: whether they are there, and where to get them. Asked before each first call, for `cudarc` panics where
//! a library or a function of it is missing.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use libloading::Library;

use crate::DeviceError;

/// A library that is opened at run time.
pub(super) struct Needed {
    /// As the linker knows it, without `lib` and the ending.
    name: &'static str,
    /// The environment variable that names its folder.
    folder: &'static str,
    /// Where to get it.
    from: &'static str,
    /// Files of the same folder that it opens by itself and would not find there.
    with: Option<&'static str>,
    /// The functions that are called.
    functions: &'static [&'static str],
    present: unsafe fn() -> bool,
    open: unsafe fn() -> &'static Library,
}

pub(super) const DRIVER: Needed = Needed {
    name: "cuda",
    folder: "PUGMARK_CUDA_DRIVER",
    from: "it comes with the driver, https://www.nvidia.com/drivers, and into a container with the NVIDIA \
           Container Toolkit",
    with: None,
    functions: &[
        "cuCtxSetCurrent",
        "cuDeviceGet",
        "cuDeviceGetAttribute",
        "cuDeviceGetCount",
        "cuDeviceGetDefaultMemPool",
        "cuDeviceGetName",
        "cuDevicePrimaryCtxRelease_v2",
        "cuDevicePrimaryCtxRetain",
        "cuDriverGetVersion",
        "cuGetErrorString",
        "cuInit",
        "cuLaunchKernel",
        "cuMemAllocAsync",
        "cuMemAlloc_v2",
        "cuMemFreeAsync",
        "cuMemFree_v2",
        "cuMemGetInfo_v2",
        "cuMemPoolSetAttribute",
        "cuMemPoolTrimTo",
        "cuMemcpyDtoHAsync_v2",
        "cuMemcpyHtoDAsync_v2",
        "cuMemsetD8Async",
        "cuModuleGetFunction",
        "cuModuleLoadData",
        "cuModuleUnload",
        "cuStreamCreate",
        "cuStreamDestroy_v2",
        "cuStreamSynchronize",
    ],
    present: cudarc::driver::sys::is_culib_present,
    open: cudarc::driver::sys::culib,
};

pub(super) const NVRTC: Needed = Needed {
    name: "nvrtc",
    folder: "PUGMARK_NVRTC",
    from: "it is part of the CUDA toolkit, https://developer.nvidia.com/cuda-downloads, and of \
           `pip install nvidia-cuda-nvrtc-cu12` (`nvidia-cuda-nvrtc` for CUDA 13)",
    with: Some("nvrtc-builtins"),
    functions: &[
        "nvrtcCompileProgram",
        "nvrtcCreateProgram",
        "nvrtcDestroyProgram",
        "nvrtcGetCUBIN",
        "nvrtcGetCUBINSize",
        "nvrtcGetNumSupportedArchs",
        "nvrtcGetPTX",
        "nvrtcGetPTXSize",
        "nvrtcGetProgramLog",
        "nvrtcGetProgramLogSize",
        "nvrtcGetSupportedArchs",
        "nvrtcVersion",
    ],
    present: cudarc::nvrtc::sys::is_culib_present,
    open: cudarc::nvrtc::sys::culib,
};

pub(super) const CUBLASLT: Needed = Needed {
    name: "cublasLt",
    folder: "PUGMARK_CUBLASLT",
    from: "it is part of the CUDA toolkit, https://developer.nvidia.com/cuda-downloads, and of \
           `pip install nvidia-cublas-cu12` (`nvidia-cublas` for CUDA 13)",
    with: None,
    functions: &[
        "cublasLtCreate",
        "cublasLtDestroy",
        "cublasLtGetCudartVersion",
        "cublasLtMatmul",
        "cublasLtMatmulAlgoGetHeuristic",
        "cublasLtMatmulDescCreate",
        "cublasLtMatmulDescDestroy",
        "cublasLtMatmulDescSetAttribute",
        "cublasLtMatmulPreferenceCreate",
        "cublasLtMatmulPreferenceDestroy",
        "cublasLtMatmulPreferenceSetAttribute",
        "cublasLtMatrixLayoutCreate",
        "cublasLtMatrixLayoutDestroy",
    ],
    present: cudarc::cublaslt::sys::is_culib_present,
    open: cudarc::cublaslt::sys::culib,
};

pub(super) const CUDNN: Needed = Needed {
    name: "cudnn",
    folder: "PUGMARK_CUDNN",
    from: "version 9 is at https://developer.nvidia.com/cudnn-downloads, and comes with \
           `pip install nvidia-cudnn-cu12` (`nvidia-cudnn-cu13` for CUDA 13)",
    with: None,
    functions: &[
        "cudnnConvolutionBackwardData",
        "cudnnConvolutionBackwardFilter",
        "cudnnConvolutionForward",
        "cudnnCreate",
        "cudnnCreateConvolutionDescriptor",
        "cudnnCreateFilterDescriptor",
        "cudnnCreateTensorDescriptor",
        "cudnnDestroy",
        "cudnnDestroyConvolutionDescriptor",
        "cudnnDestroyFilterDescriptor",
        "cudnnDestroyTensorDescriptor",
        "cudnnGetConvolutionBackwardDataAlgorithm_v7",
        "cudnnGetConvolutionBackwardDataWorkspaceSize",
        "cudnnGetConvolutionBackwardFilterAlgorithm_v7",
        "cudnnGetConvolutionBackwardFilterWorkspaceSize",
        "cudnnGetConvolutionForwardAlgorithm_v7",
        "cudnnGetConvolutionForwardWorkspaceSize",
        "cudnnGetCudartVersion",
        // Of version 9 and later: answers of version 8 have other numbers.
        "cudnnGetLastErrorString",
        "cudnnSetConvolution2dDescriptor",
        "cudnnSetConvolutionMathType",
        "cudnnSetFilter4dDescriptor",
        "cudnnSetStream",
        "cudnnSetTensor4dDescriptorEx",
    ],
    present: cudarc::cudnn::sys::is_culib_present,
    open: cudarc::cudnn::sys::culib,
};

impl Needed {
    /// Whether the library can be called: it is where the linker looks, or in a folder that the environment names, and has
    /// every function.
    ///
    /// # Errors
    /// [`DeviceError::Missing`] says what is not there and where to get it.
    pub(super) fn check(&self) -> Result<(), DeviceError> {
        // SAFETY: opens libraries of these names as any program does that is linked with them.
        if !unsafe { (self.present)() } {
            self.open_in(&self.folders())?;
        }
        // SAFETY: the library could be opened just now, or has been and stays open.
        let library = unsafe { (self.open)() };
        for function in self.functions {
            // SAFETY: only looked up, never called by this type.
            if unsafe { library.get::<unsafe extern "C" fn()>(*function) }.is_err() {
                let Self { name, from, .. } = self;
                return Err(DeviceError::Missing(format!(
                    "the lib{name}.so here has no {function}, so it is too old; {from}"
                )));
            }
        }
        Ok(())
    }

    /// Opens the library for good, after which its bare name means this one.
    fn open_in(&self, folders: &[PathBuf]) -> Result<(), DeviceError> {
        let mut why = String::new();
        for path in folders.iter().flat_map(|folder| self.files(folder)) {
            // SAFETY: as above.
            match unsafe { Library::new(&path) } {
                Ok(library) => std::mem::forget(library),
                Err(error) => why = format!(": {error}"),
            }
        }
        // SAFETY: as above.
        if unsafe { (self.present)() } {
            return Ok(());
        }
        let Self { name, folder, from, .. } = self;
        let what = if *name == DRIVER.name {
            "no NVIDIA driver: libcuda.so.1".into()
        } else {
            format!("lib{name}.so")
        };
        Err(DeviceError::Missing(format!(
            "{what} can't be opened{why}; {from}; {folder} may name its folder"
        )))
    }

    /// Where else it may lie: what its variable says, the packages of an active Python environment, the toolkit's place.
    fn folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<_> = env::var_os(self.folder).map(PathBuf::from).into_iter().collect();
        if self.name == DRIVER.name {
            return folders;
        }
        if let Some(environment) = env::var_os("VIRTUAL_ENV") {
            for python in listed(&Path::new(&environment).join("lib")) {
                let packages = listed(&python.join("site-packages/nvidia"));
                folders.extend(packages.into_iter().map(|package| package.join("lib")));
            }
        }
        folders.push("/usr/local/cuda/lib64".into());
        folders
    }

    /// The files of a folder to open, in this order.
    fn files(&self, folder: &Path) -> Vec<PathBuf> {
        let with = self.with.map(|name| format!("lib{name}.so"));
        let names = cudarc::get_lib_name_candidates(self.name);
        let own = names.iter().map(|name| folder.join(name)).find(|path| path.exists());
        let Some(own) = own else { return Vec::new() };
        let beside = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            with.as_ref().is_some_and(|with| name.starts_with(with))
        };
        listed(folder).into_iter().filter(beside).chain([own]).collect()
    }
}

/// What is in a folder, in the order of the names; nothing where there is none.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Whether a library made for a version of CUDA runs on a driver: as 13000 for 13.0.
///
/// # Errors
/// [`DeviceError::Missing`] for a library of a later major version.
pub(super) fn check_version(name: &str, library: usize, driver: usize) -> Result<(), DeviceError> {
    let major = |version: usize| version / 1000;
    if major(library) <= major(driver) {
        return Ok(());
    }
    let (library, driver) = (major(library), major(driver));
    Err(DeviceError::Missing(format!(
        "the {name} found is for CUDA {library}, and the driver for CUDA {driver}: a newer driver is needed \
         (https://www.nvidia.com/drivers), or the {name} for CUDA {driver}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_where_to_get_it() {
        unsafe fn absent() -> bool {
            false
        }
        let DeviceError::Missing(why) = Needed { present: absent, ..CUDNN }.check().unwrap_err() else {
            panic!("another error");
        };
        assert!(why.contains("libcudnn.so") && why.contains("nvidia-cudnn-cu12"), "{why}");
        let DeviceError::Missing(why) = Needed { present: absent, ..DRIVER }.check().unwrap_err() else {
            panic!("another error");
        };
        assert!(why.starts_with("no NVIDIA driver: libcuda.so.1 can't be opened"), "{why}");
    }

    #[test]
    fn a_library_may_be_as_new_as_the_driver() {
        assert_eq!(check_version("cuDNN", 12_090, 12_020), Ok(()));
        assert_eq!(check_version("cuDNN", 12_090, 13_000), Ok(()));
        assert!(check_version("cuDNN", 13_000, 12_090).is_err());
    }

    #[test]
    fn a_folder_gives_what_the_library_opens_first() {
        let folder = env::temp_dir().join(format!("pugmark-libraries-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for name in ["libnvrtc.so.13", "libnvrtc.alt.so.13", "libnvrtc-builtins.so.13.0", "libcudnn.so.9"] {
            fs::write(folder.join(name), "").unwrap();
        }
        let files = NVRTC.files(&folder);
        fs::remove_dir_all(&folder).unwrap();
        let names: Vec<_> = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["libnvrtc-builtins.so.13.0", "libnvrtc.so.13"]);
    }

    /// Every function of the lists is in the real library, as far as the environment names one.
    #[test]
    fn the_real_libraries_have_every_function() {
        for needed in [NVRTC, CUBLASLT, CUDNN] {
            if env::var_os(needed.folder).is_none() {
                println!(
                    "NOT CHECKED: functions of lib{}.so; {} names no folder",
                    needed.name, needed.folder
                );
                continue;
            }
            assert_eq!(needed.check(), Ok(()));
        }
    }
}
