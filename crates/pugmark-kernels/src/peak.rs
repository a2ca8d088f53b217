//! What the machine can do at most, measured: what an operator's speed is held against.

use std::time::Instant;

use rayon::prelude::*;

use crate::{Isa, conv, with_isa};

/// Operations a second of multiply-adds of f32 on registers alone, on all threads of the current rayon pool.
pub fn peak_flops() -> f64 {
    const STEPS: usize = 2_000_000;
    flops(|| STEPS * multiply_adds(STEPS))
}

/// Operations a second of products of bf16 added up in f32, by the active instruction set's largest tile from the first-level
/// cache, on all threads of the current rayon pool.
pub fn peak_flops_bf16() -> f64 {
    const PRODUCTS: usize = 20_000;
    flops(|| conv::multiply_adds(PRODUCTS))
}

/// Operations a second when every thread runs `multiply_adds`, which returns how many it did.
fn flops(multiply_adds: impl Fn() -> usize + Sync) -> f64 {
    let (threads, isa) = (rayon::current_num_threads(), Isa::active());
    let mut operations = 0.0;
    let seconds = best(&mut || {
        let done: Vec<usize> = (0..threads).into_par_iter().map(|_| with_isa(isa, &multiply_adds)).collect();
        operations = 2.0 * done.iter().sum::<usize>() as f64;
    });
    operations / seconds
}

/// Bytes a second of `a = b + s * c` on arrays much larger than caches, on all threads of the current rayon pool.
///
/// Counts what the loop names: two arrays read and one written.
pub fn peak_bandwidth() -> f64 {
    /// 128 MiB an array.
    const VALUES: usize = 1 << 25;
    const CHUNK: usize = 1 << 16;
    let (b, c) = (vec![1.0_f32; VALUES], vec![2.0_f32; VALUES]);
    let mut a = vec![0.0_f32; VALUES];
    let seconds = best(&mut || {
        let sources = b.par_chunks(CHUNK).zip(c.par_chunks(CHUNK));
        a.par_chunks_mut(CHUNK).zip(sources).for_each(|(a, (b, c))| {
            for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
                *a = b + 0.5 * c;
            }
        });
        std::hint::black_box(&a);
    });
    (3 * VALUES * size_of::<f32>()) as f64 / seconds
}

/// Seconds of the fastest of some runs: others may use the machine.
fn best(f: &mut dyn FnMut()) -> f64 {
    f();
    let start = Instant::now();
    let mut best = f64::INFINITY;
    for run in 0.. {
        let before = start.elapsed().as_secs_f64();
        f();
        let after = start.elapsed().as_secs_f64();
        best = best.min(after - before);
        if after > 0.5 && run >= 4 {
            break;
        }
    }
    best
}

/// Runs `steps` multiply-adds on independent vectors; returns how many values a step treats.
fn multiply_adds(steps: usize) -> usize {
    #[inline(always)]
    fn chains<const VALUES: usize>(steps: usize, mul_add: impl Fn(f32, f32, f32) -> f32) -> usize {
        let (a, b) = (std::hint::black_box(0.999), std::hint::black_box(0.001));
        let mut sums = [1.0; VALUES];
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = mul_add(*sum, a, b);
            }
        }
        std::hint::black_box(sums);
        VALUES
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,fma")]
    fn avx512(steps: usize) -> usize {
        chains::<{ 16 * 16 }>(steps, f32::mul_add)
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2(steps: usize) -> usize {
        chains::<{ 12 * 8 }>(steps, f32::mul_add)
    }
    match Isa::active().vectors() {
        // SAFETY: the active instruction set is one the machine has.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512(steps) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(steps) },
        _ => chains::<{ 12 * 4 }>(
            steps,
            if cfg!(target_arch = "x86_64") { |a, b, c| a * b + c } else { f32::mul_add },
        ),
    }
}
