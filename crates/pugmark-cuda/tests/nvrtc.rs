//! The kernels compiled by the real NVRTC, which needs no GPU, and what a machine without one is told.
//!
//! `PUGMARK_NVRTC` names the folder of `libnvrtc.so.*` and `libnvrtc-builtins.so.*`; without it, nothing is compiled.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, fs};

use pugmark_cuda::{Cuda, DeviceError, Type};

/// The kernels' names, read from the files.
fn kernels() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kernels");
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let mut names = Vec::new();
    for text in files {
        for part in text.split("__global__ void").skip(1) {
            // Between the name and the bracket before it may stand __launch_bounds__(BLOCK).
            let part = part.trim_start().trim_start_matches("__launch_bounds__(BLOCK)").trim_start();
            names.push(part.split('(').next().unwrap().trim().to_owned());
        }
    }
    names.retain(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
    names
}

#[test]
fn every_kernel_compiles() {
    if env::var_os("PUGMARK_NVRTC").is_none() {
        println!("NOT CHECKED: kernels by NVRTC; PUGMARK_NVRTC names no folder");
        return;
    }
    let known = Cuda::capabilities().unwrap();
    let names = kernels();
    assert!(names.iter().any(|name| name == "from_f32"), "{names:?}");
    for capability in [(7, 0), (7, 5), (8, 0), (9, 0)] {
        if !known.contains(&capability) {
            println!("NOT CHECKED: kernels for compute capability {capability:?}; NVRTC knows {known:?}");
            continue;
        }
        for of in [Type::F32, Type::Bf16] {
            let ptx = Cuda::ptx(of, capability).unwrap();
            assert!(ptx.contains(&format!(".target sm_{}{}", capability.0, capability.1)));
            for name in &names {
                assert!(ptx.contains(&format!(".entry {name}(")), "{name} for {of:?} and {capability:?}");
            }
        }
    }
}

#[test]
fn a_machine_without_a_driver_is_told_so() {
    match Cuda::count() {
        Ok(count) => println!("NOT CHECKED: a machine without a driver; this one has {count} GPUs"),
        Err(DeviceError::Missing(why)) => {
            assert!(why.starts_with("no NVIDIA driver: libcuda.so.1 can't be opened"), "{why}");
            assert_eq!(Cuda::open(0).unwrap_err(), DeviceError::Missing(why));
        }
        Err(error) => panic!("{error}"),
    }
}
