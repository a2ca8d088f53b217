//! What the operators of the measured steps took, beside what the machine can do.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Context;
use pugmark_engine::{OperatorTime, Pass};
use pugmark_kernels::{peak_bandwidth, peak_flops};
use rayon::ThreadPoolBuilder;
use serde::Serialize;

/// Operators of equal kind and pass, slowest first, and the measured peak.
#[derive(Serialize)]
pub(super) struct Operators {
    operators: Vec<Group>,
    peak_gflops: f64,
    peak_bytes_per_sec: f64,
}

/// All operators of one kind, shape and pass; figures are of a mean step.
#[derive(Serialize)]
struct Group {
    kind: String,
    pass: Pass,
    /// Names of the graph's nodes.
    names: Vec<String>,
    seconds: f64,
    flops: f64,
    bytes: f64,
}

impl Operators {
    /// Groups the operators of `steps` steps and measures the peak of `threads` threads.
    pub(super) fn new(times: &[OperatorTime], steps: usize, threads: usize) -> anyhow::Result<Self> {
        let mut groups: BTreeMap<(&str, Pass), Group> = BTreeMap::new();
        for time in times {
            let group = groups.entry((&time.kind, time.pass)).or_insert_with(|| Group {
                kind: time.kind.clone(),
                pass: time.pass,
                names: Vec::new(),
                seconds: 0.0,
                flops: 0.0,
                bytes: 0.0,
            });
            if !group.names.contains(&time.name) {
                group.names.push(time.name.clone());
            }
            let steps = steps as f64;
            group.seconds += time.seconds / steps;
            group.flops += time.flops / steps;
            group.bytes += time.bytes / steps;
        }
        let mut operators: Vec<Group> = groups.into_values().collect();
        operators.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .context("cannot start the threads that measure the peak")?;
        let (flops, peak_bytes_per_sec) = pool.install(|| (peak_flops(), peak_bandwidth()));
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
