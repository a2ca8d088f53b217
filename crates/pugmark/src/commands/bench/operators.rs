//! What the operators of the measured steps took, beside what the machine can do.

use std::fmt::Write as _;

use anyhow::Context;
use pugmark_engine::{OperatorGroup, OperatorSums, OperatorTime, Precision};
use pugmark_kernels::{peak_bandwidth, peak_flops, peak_flops_bf16};
use rayon::ThreadPoolBuilder;
use serde::Serialize;

/// Operators of equal kind and pass in a mean step, slowest first, and the measured peak.
#[derive(Serialize)]
pub(super) struct Operators {
    operators: Vec<OperatorGroup>,
    peak_gflops: f64,
    peak_bytes_per_sec: f64,
}

impl Operators {
    /// Groups the operators of `steps` steps and measures the peak of `threads` threads in that precision.
    pub(super) fn new(
        times: Vec<OperatorTime>,
        steps: usize,
        threads: usize,
        precision: Precision,
    ) -> anyhow::Result<Self> {
        let mut sums = OperatorSums::default();
        sums.add(times);
        let operators = sums.mean(steps);
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .context("cannot start the threads that measure the peak")?;
        let (flops, peak_bytes_per_sec) = pool.install(|| {
            let flops = match precision {
                Precision::F32 => peak_flops(),
                Precision::Bf16 => peak_flops_bf16(),
            };
            (flops, peak_bandwidth())
        });
        Ok(Self { operators, peak_gflops: flops / 1e9, peak_bytes_per_sec })
    }

    /// The operators as a table; `step` is the mean step's seconds.
    pub(super) fn table(&self, step: f64) -> String {
        let width = self.operators.iter().map(|group| group.kind.len()).max().unwrap_or(0);
        let mut table = format!(
            "\npeak: {:.0} GFLOP/s, {:.1} GB/s\n\n{:<width$}  {:<15} {:>9} {:>7} {:>9} {:>7} {:>7}\n",
            self.peak_gflops,
            self.peak_bytes_per_sec / 1e9,
            "operator",
            "pass",
            "ms/step",
            "share",
            "GFLOP/s",
            "of peak",
            "GB/s",
        );
        for group in &self.operators {
            let gflops = group.flops / group.seconds / 1e9;
            let (speed, of_peak) = if group.flops > 0.0 {
                (format!("{gflops:.0}"), format!("{:.1} %", 100.0 * gflops / self.peak_gflops))
            } else {
                ("-".into(), "-".into())
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                table,
                "{:<width$}  {:<15} {:>9.3} {:>5.1} % {speed:>9} {of_peak:>7} {:>7.1}",
                group.kind,
                group.pass.name(),
                group.seconds * 1e3,
                100.0 * group.seconds / step,
                group.bytes / group.seconds / 1e9,
            );
        }
        table.push_str("\nGFLOP/s count the direct sum's arithmetic: a 3x3 convolution done Winograd's way can exceed the peak.");
        let sum: f64 = self.operators.iter().map(|group| group.seconds).sum();
        let (sum_ms, step_ms, share) = (sum * 1e3, step * 1e3, 100.0 * sum / step);
        let _ =
            write!(table, "\nall operators: {sum_ms:.1} of {step_ms:.1} ms in a mean step ({share:.1} %)");
        table
    }
}
