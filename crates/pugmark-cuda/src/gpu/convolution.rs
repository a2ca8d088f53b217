//! Convolutions by cuDNN.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt::Display;
use std::mem::MaybeUninit;

use cudarc::cudnn::{result, sys};
use sys::{cudnnDataType_t, cudnnDeterminism_t, cudnnMathType_t, cudnnStatus_t};

use super::context::Context;
use super::descriptors::Descriptors;
use super::failed;
use super::workspace::Workspace;
use crate::{Convolution, ConvolutionPass, DeviceError, Type};

/// Bytes of scratch that an algorithm may ask for, and the part of the GPU's memory.
const WORKSPACE: usize = 1 << 30;
const WORKSPACE_PART: usize = 8;

/// More algorithms than any pass has, each with two kinds of arithmetic.
const CANDIDATES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    pass: ConvolutionPass,
    convolution: Convolution,
    values: Type,
    tf32: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    Data(sys::cudnnConvolutionBwdDataAlgo_t),
    Weight(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// An algorithm that the library proposes.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    algorithm: Algorithm,
    status: cudnnStatus_t,
    workspace: usize,
    determinism: cudnnDeterminism_t,
    math: cudnnMathType_t,
}

impl Candidate {
    /// Whether it runs, gives the same bits each time, and asks for so much scratch at most.
    fn will_do(&self, limit: usize) -> bool {
        self.status == cudnnStatus_t::CUDNN_STATUS_SUCCESS
            && self.determinism == cudnnDeterminism_t::CUDNN_DETERMINISTIC
            && self.workspace <= limit
    }
}

struct Plan {
    descriptors: Descriptors,
    algorithm: Algorithm,
    workspace: usize,
    /// Nothing is to be rounded to TF32, whatever an algorithm proposes.
    fma: bool,
    /// What is tried next where the library refuses the algorithm when it runs, the best last; none once one has run.
    others: Vec<Candidate>,
}

/// The library with the plans made so far.
pub(super) struct Convolutions {
    handle: sys::cudnnHandle_t,
    limit: usize,
    plans: HashMap<Key, Plan>,
}

// SAFETY: the library's objects are bound to no thread, only not to be used by two at once.
unsafe impl Send for Convolutions {}

impl Convolutions {
    /// On the context's stream; it is current. The library must be there.
    pub(super) fn new(context: &Context) -> Result<Self, DeviceError> {
        let limit = WORKSPACE.min(context.total_memory()? / WORKSPACE_PART);
        let handle = result::create_handle().map_err(refused("cudnnCreate"))?;
        let convolutions = Self { handle, limit, plans: HashMap::new() };
        // SAFETY: both live as long as the context.
        unsafe { result::set_stream(handle, context.stream().cast()) }.map_err(refused("cudnnSetStream"))?;
        Ok(convolutions)
    }

    /// Does a product of a convolution.
    ///
    /// # Safety
    /// As of [`crate::Device::convolution`].
    pub(super) unsafe fn run(
        &mut self,
        (context, workspace): (&Context, &mut Workspace),
        pass: ConvolutionPass,
        convolution: &Convolution,
        (values, tf32): (Type, bool),
        [x, w, y]: [u64; 3],
        accumulate: bool,
    ) -> Result<(), DeviceError> {
        let key = Key { pass, convolution: *convolution, values, tf32 };
        if !self.plans.contains_key(&key) {
            let plan = Plan::new(self.handle, self.limit, &key)?;
            self.plans.insert(key, plan);
        }
        let handle = self.handle;
        let Some(plan) = self.plans.get_mut(&key) else {
            return Err(failed("a convolution's plan")("none was made"));
        };
        loop {
            // SAFETY: the caller's.
            let answer = unsafe { plan.run((context, workspace), handle, [x, w, y], accumulate) };
            match (answer, plan.others.pop()) {
                (Ok(()), _) => {
                    plan.others.clear();
                    return Ok(());
                }
                (Err(Refusal::Other(error)), _) => return Err(error),
                (Err(Refusal::Library(_)), Some(next)) => plan.take(handle, &next)?,
                (Err(Refusal::Library(error)), None) => {
                    return Err(refused("cudnnConvolution")(format!("{error} for {key:?}")));
                }
            }
        }
    }
}

/// Why a product of a convolution was not done.
enum Refusal {
    Library(cudarc::cudnn::CudnnError),
    Other(DeviceError),
}

impl Plan {
    /// Takes another algorithm.
    fn take(&mut self, handle: sys::cudnnHandle_t, next: &Candidate) -> Result<(), DeviceError> {
        if !self.fma {
            self.descriptors.set_math(next.math)?;
        }
        self.algorithm = next.algorithm;
        self.workspace = workspace(handle, &self.descriptors, next.algorithm)?;
        Ok(())
    }

    /// # Safety
    /// As of [`crate::Device::convolution`].
    unsafe fn run(
        &self,
        (context, workspace): (&Context, &mut Workspace),
        handle: sys::cudnnHandle_t,
        [x, w, y]: [u64; 3],
        accumulate: bool,
    ) -> Result<(), Refusal> {
        let scratch = workspace.of(context, self.workspace).map_err(Refusal::Other)? as *mut c_void;
        let Descriptors { x: of_x, w: of_w, y: of_y, convolution: how } = self.descriptors;
        let (alpha, beta) = (1.0_f32, f32::from(u8::from(accumulate)));
        let (alpha, beta) = ((&raw const alpha).cast(), (&raw const beta).cast());
        let [x, w, y] = [x, w, y].map(|address| address as *mut c_void);
        // SAFETY: the plan's objects live; addresses are the caller's, and the scratch is as large as the algorithm asks.
        let answer = unsafe {
            let bytes = self.workspace;
            match self.algorithm {
                Algorithm::Forward(algorithm) => result::convolution_forward(
                    handle, alpha, of_x, x, of_w, w, how, algorithm, scratch, bytes, beta, of_y, y,
                ),
                Algorithm::Data(algorithm) => result::convolution_backward_data(
                    handle, alpha, of_w, w, of_y, y, how, algorithm, scratch, bytes, beta, of_x, x,
                ),
                Algorithm::Weight(algorithm) => result::convolution_backward_filter(
                    handle, alpha, of_x, x, of_y, y, how, algorithm, scratch, bytes, beta, of_w, w,
                ),
            }
        };
        answer.map_err(Refusal::Library)
    }
}

impl Drop for Convolutions {
    fn drop(&mut self) {
        self.plans.clear();
        // SAFETY: made in `new`.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Plan {
    /// Takes the algorithm that the library expects to be the fastest of those that will do. By rule: trials (`cudnnFind`) end
    /// differently from run to run, and so would the sums' last bits.
    fn new(handle: sys::cudnnHandle_t, limit: usize, key: &Key) -> Result<Self, DeviceError> {
        let math = match key.values {
            Type::F32 if key.tf32 => cudnnMathType_t::CUDNN_DEFAULT_MATH,
            Type::F32 => cudnnMathType_t::CUDNN_FMA_MATH,
            _ => cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
        };
        let descriptors = Descriptors::new(&key.convolution, data_type(key.values)?, math)?;
        let candidates = candidates(handle, key.pass, &descriptors)?;
        let mut others: Vec<Candidate> =
            candidates.iter().copied().filter(|candidate| candidate.will_do(limit)).collect();
        others.reverse();
        let Some(chosen) = others.pop() else {
            let why =
                format!("none of {candidates:?} is reproducible and runs in {limit} bytes, for {key:?}");
            return Err(failed("a convolution's algorithm")(why));
        };
        let fma = math == cudnnMathType_t::CUDNN_FMA_MATH;
        if !fma {
            descriptors.set_math(chosen.math)?;
        }
        let algorithm = chosen.algorithm;
        let workspace = workspace(handle, &descriptors, algorithm)?;
        Ok(Self { descriptors, algorithm, workspace, fma, others })
    }
}

/// What the library proposes, the expected fastest first.
fn candidates(
    handle: sys::cudnnHandle_t,
    pass: ConvolutionPass,
    descriptors: &Descriptors,
) -> Result<Vec<Candidate>, DeviceError> {
    let Descriptors { x, w, y, convolution } = *descriptors;
    let mut count: c_int = 0;
    macro_rules! ask {
        ($function:path, $answer:ty, $kind:path, $($descriptor:expr),*) => {{
            let mut found = [const { MaybeUninit::<$answer>::uninit() }; CANDIDATES];
            let into = found.as_mut_ptr().cast();
            // SAFETY: the descriptors live, and there is room for as many answers as are asked for.
            unsafe { $function(handle, $($descriptor),*, CANDIDATES as c_int, &raw mut count, into) }
                .map_err(refused("cudnnGetConvolutionAlgorithm_v7"))?;
            let count = usize::try_from(count).unwrap_or(0).min(CANDIDATES);
            // SAFETY: the library wrote so many.
            let found = found[..count].iter().map(|one| unsafe { one.assume_init_read() });
            found
                .map(|one| Candidate {
                    algorithm: $kind(one.algo),
                    status: one.status,
                    workspace: one.memory,
                    determinism: one.determinism,
                    math: one.mathType,
                })
                .collect()
        }};
    }
    Ok(match pass {
        ConvolutionPass::Forward => {
            ask!(
                result::get_convolution_forward_algorithm,
                sys::cudnnConvolutionFwdAlgoPerf_t,
                Algorithm::Forward,
                x,
                w,
                convolution,
                y
            )
        }
        ConvolutionPass::BackwardData => {
            ask!(
                result::get_convolution_backward_data_algorithm,
                sys::cudnnConvolutionBwdDataAlgoPerf_t,
                Algorithm::Data,
                w,
                y,
                convolution,
                x
            )
        }
        ConvolutionPass::BackwardWeight => {
            ask!(
                result::get_convolution_backward_filter_algorithm,
                sys::cudnnConvolutionBwdFilterAlgoPerf_t,
                Algorithm::Weight,
                x,
                y,
                convolution,
                w
            )
        }
    })
}

/// Bytes of scratch that an algorithm needs.
fn workspace(
    handle: sys::cudnnHandle_t,
    descriptors: &Descriptors,
    algorithm: Algorithm,
) -> Result<usize, DeviceError> {
    let Descriptors { x, w, y, convolution } = *descriptors;
    // SAFETY: the descriptors live.
    let bytes = unsafe {
        match algorithm {
            Algorithm::Forward(a) => {
                result::get_convolution_forward_workspace_size(handle, x, w, convolution, y, a)
            }
            Algorithm::Data(a) => {
                result::get_convolution_backward_data_workspace_size(handle, w, y, convolution, x, a)
            }
            Algorithm::Weight(a) => {
                result::get_convolution_backward_filter_workspace_size(handle, x, y, convolution, w, a)
            }
        }
    };
    bytes.map_err(refused("cudnnGetConvolutionWorkspaceSize"))
}

fn data_type(of: Type) -> Result<cudnnDataType_t, DeviceError> {
    match of {
        Type::F32 => Ok(cudnnDataType_t::CUDNN_DATA_FLOAT),
        Type::Bf16 => Ok(cudnnDataType_t::CUDNN_DATA_BFLOAT16),
        Type::U8 => Err(failed("a convolution")("not of bytes")),
    }
}

/// The error of a call with what the library remembers of it.
pub(super) fn refused<E: Display>(call: &str) -> impl FnOnce(E) -> DeviceError + '_ {
    move |error| {
        let mut more = [0 as c_char; 512];
        // SAFETY: the library writes so many characters at most, and a zero behind them.
        let more = unsafe {
            sys::cudnnGetLastErrorString(more.as_mut_ptr(), more.len() - 1);
            CStr::from_ptr(more.as_ptr())
        };
        failed(call)(format!("{error} {}", more.to_string_lossy()).trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_reproducible_and_fits_will_do() {
        let good = Candidate {
            algorithm: Algorithm::Data(sys::cudnnConvolutionBwdDataAlgo_t::CUDNN_CONVOLUTION_BWD_DATA_ALGO_1),
            status: cudnnStatus_t::CUDNN_STATUS_SUCCESS,
            workspace: 100,
            determinism: cudnnDeterminism_t::CUDNN_DETERMINISTIC,
            math: cudnnMathType_t::CUDNN_FMA_MATH,
        };
        assert!(good.will_do(100));
        assert!(!good.will_do(99));
        let other = Candidate { determinism: cudnnDeterminism_t::CUDNN_NON_DETERMINISTIC, ..good };
        assert!(!other.will_do(100));
        assert!(!Candidate { status: cudnnStatus_t::CUDNN_STATUS_NOT_SUPPORTED, ..good }.will_do(100));
    }
}
