//! Products of matrices by cuBLASLt.

use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr;

use cudarc::cublaslt::{result, sys};
use sys::cublasLtMatmulDescAttributes_t as Attribute;
use sys::cublasLtMatmulPreferenceAttributes_t as Preference;

use super::context::Context;
use super::workspace::Workspace;
use super::{bytes_of, failed};
use crate::{DeviceError, Matmul, Type};

/// Bytes of scratch that an algorithm may ask for: what NVIDIA advises for its newest GPUs.
const WORKSPACE: usize = 32 << 20;

/// The product as the library does it, whose matrices lie in columns: `c[m x n] = op(a)[m x k] op(b)[k x n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gemm {
    /// The library's `a` is our `b`.
    turn_a: bool,
    /// The library's `b` is our `a`.
    turn_b: bool,
    m: usize,
    n: usize,
    k: usize,
    /// Values from one column to the next, which is what a matrix has of rows.
    lda: usize,
    ldb: usize,
    ldc: usize,
}

impl Gemm {
    // Rows read as columns are the transpose, so the library is asked for c' = b' a': it sees our `b`, kept as [k x n], as the
    // b' [n x k] that it needs, and kept as [n x k], as a b [k x n] that it must turn; and so our `a`.
    fn of(matmul: &Matmul) -> Self {
        let Matmul { m, n, k, turn_a, turn_b } = *matmul;
        let lda = if turn_b { k } else { n };
        let ldb = if turn_a { m } else { k };
        Self { turn_a: turn_b, turn_b: turn_a, m: n, n: m, k, lda, ldb, ldc: n }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    matmul: Matmul,
    values: Type,
    of_c: Type,
    /// Bytes on which `a`, `b` and `c` lie, at most 256: some algorithms need as much.
    aligned: [u32; 3],
    tf32: bool,
}

/// What the library needs to know, and what it chose.
struct Plan {
    description: sys::cublasLtMatmulDesc_t,
    a: sys::cublasLtMatrixLayout_t,
    b: sys::cublasLtMatrixLayout_t,
    c: sys::cublasLtMatrixLayout_t,
    algorithm: sys::cublasLtMatmulAlgo_t,
    workspace: usize,
}

/// The library with the plans made so far.
pub(super) struct Products {
    handle: sys::cublasLtHandle_t,
    plans: HashMap<Key, Plan>,
}

// SAFETY: the library's objects are bound to no thread.
unsafe impl Send for Products {}

impl Products {
    /// For the context that is current. The library must be there.
    pub(super) fn new() -> Result<Self, DeviceError> {
        let handle = result::create_handle().map_err(failed("cublasLtCreate"))?;
        Ok(Self { handle, plans: HashMap::new() })
    }

    /// Does the product on the context's stream.
    ///
    /// # Safety
    /// As of [`crate::Device::matmul`].
    pub(super) unsafe fn run(
        &mut self,
        (context, workspace): (&Context, &mut Workspace),
        matmul: &Matmul,
        (values, of_c, tf32): (Type, Type, bool),
        [a, b, c]: [u64; 3],
        accumulate: bool,
    ) -> Result<(), DeviceError> {
        // Of the addresses in the library's order.
        let aligned = [b, a, c].map(|address| 1 << address.trailing_zeros().min(8));
        let key = Key { matmul: *matmul, values, of_c, aligned, tf32 };
        if !self.plans.contains_key(&key) {
            let plan = Plan::new(&key)?.choose(self.handle, &key)?;
            self.plans.insert(key, plan);
        }
        let plan = &self.plans[&key];
        let scratch = workspace.of(context, plan.workspace)?;
        let (alpha, beta) = (1.0_f32, f32::from(u8::from(accumulate)));
        // SAFETY: the plan's objects live; addresses are the caller's, and the scratch is as large as the algorithm asks.
        unsafe {
            result::matmul(
                self.handle,
                plan.description,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                b as *const c_void,
                plan.a,
                a as *const c_void,
                plan.b,
                c as *const c_void,
                plan.c,
                c as *mut c_void,
                plan.c,
                &raw const plan.algorithm,
                scratch as *mut c_void,
                plan.workspace,
                context.stream().cast(),
            )
        }
        .map_err(|error| failed("cublasLtMatmul")(format!("{error} for {key:?}")))
    }
}

impl Drop for Products {
    fn drop(&mut self) {
        self.plans.clear();
        // SAFETY: made in `new`.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Plan {
    /// Describes a product; no algorithm is chosen yet.
    fn new(key: &Key) -> Result<Self, DeviceError> {
        let gemm = Gemm::of(&key.matmul);
        let [values, of_c] = [data_type(key.values)?, data_type(key.of_c)?];
        let compute = if key.tf32 && key.values == Type::F32 {
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32
        } else {
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F
        };
        let mut plan = Self {
            description: ptr::null_mut(),
            a: ptr::null_mut(),
            b: ptr::null_mut(),
            c: ptr::null_mut(),
            algorithm: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
            workspace: 0,
        };
        plan.description = result::create_matmul_desc(compute, sys::cudaDataType::CUDA_R_32F)
            .map_err(failed("cublasLtMatmulDescCreate"))?;
        for (attribute, turn) in [
            (Attribute::CUBLASLT_MATMUL_DESC_TRANSA, gemm.turn_a),
            (Attribute::CUBLASLT_MATMUL_DESC_TRANSB, gemm.turn_b),
        ] {
            // CUBLAS_OP_N or CUBLAS_OP_T, an enum of C.
            let operation = i32::from(turn);
            let (at, size) = bytes_of(&operation);
            // SAFETY: the attribute is of these bytes.
            unsafe { result::set_matmul_desc_attribute(plan.description, attribute, at, size) }
                .map_err(failed("cublasLtMatmulDescSetAttribute"))?;
        }
        // A matrix as it lies: as many rows as its step, and the other number of columns.
        let layout = |of, rows: usize, turned: bool, [plain, other]: [usize; 2]| {
            let columns = if turned { plain } else { other };
            let step = i64::try_from(rows).map_err(failed("cublasLtMatrixLayoutCreate"))?;
            result::create_matrix_layout(of, rows as u64, columns as u64, step)
                .map_err(failed("cublasLtMatrixLayoutCreate"))
        };
        plan.a = layout(values, gemm.lda, gemm.turn_a, [gemm.m, gemm.k])?;
        plan.b = layout(values, gemm.ldb, gemm.turn_b, [gemm.k, gemm.n])?;
        plan.c = layout(of_c, gemm.ldc, false, [gemm.m, gemm.n])?;
        Ok(plan)
    }

    /// Takes the algorithm that the library expects to be the fastest: by rule, not by trial, so that each run takes the same.
    fn choose(mut self, handle: sys::cublasLtHandle_t, key: &Key) -> Result<Self, DeviceError> {
        let preference = Chosen::by(key)?;
        // SAFETY: all were made above.
        let chosen = unsafe {
            result::get_matmul_algo_heuristic(
                handle,
                self.description,
                self.a,
                self.b,
                self.c,
                self.c,
                preference.0,
            )
        }
        .map_err(|error| failed("cublasLtMatmulAlgoGetHeuristic")(format!("{error} for {key:?}")))?;
        self.algorithm = chosen.algo;
        self.workspace = chosen.workspaceSize;
        Ok(self)
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: made in `new`, where not null.
        unsafe {
            for layout in [self.a, self.b, self.c] {
                if !layout.is_null() {
                    let _ = result::destroy_matrix_layout(layout);
                }
            }
            if !self.description.is_null() {
                let _ = result::destroy_matmul_desc(self.description);
            }
        }
    }
}

/// What an algorithm is chosen by.
struct Chosen(sys::cublasLtMatmulPreference_t);

impl Chosen {
    fn by(key: &Key) -> Result<Self, DeviceError> {
        let preference =
            Self(result::create_matmul_pref().map_err(failed("cublasLtMatmulPreferenceCreate"))?);
        let set = |attribute, (at, size)| {
            // SAFETY: the attribute is of these bytes.
            unsafe { result::set_matmul_pref_attribute(preference.0, attribute, at, size) }
                .map_err(failed("cublasLtMatmulPreferenceSetAttribute"))
        };
        set(Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, bytes_of(&(WORKSPACE as u64)))?;
        // Where a sum is shared out, its parts are f32, and are added in a fixed order.
        let parts = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32;
        set(Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, bytes_of(&parts))?;
        let [a, b, c] = &key.aligned;
        set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, bytes_of(a))?;
        set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, bytes_of(b))?;
        set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, bytes_of(c))?;
        set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, bytes_of(c))?;
        Ok(preference)
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        // SAFETY: made once.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}

fn data_type(of: Type) -> Result<sys::cudaDataType, DeviceError> {
    match of {
        Type::F32 => Ok(sys::cudaDataType::CUDA_R_32F),
        Type::Bf16 => Ok(sys::cudaDataType::CUDA_R_16BF),
        Type::U8 => Err(failed("a product of matrices")("not of bytes")),
    }
}

#[cfg(test)]
#[path = "product_tests.rs"]
mod tests;
