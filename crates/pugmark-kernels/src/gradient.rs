//! What is done to gradients between the backward pass and the optimiser, and the running average of parameters.

use rayon::prelude::*;

use crate::Isa;
use crate::parallel::{GRAIN, for_each_chunk};
use crate::plane::check_len;
use crate::simd::multiversion;

/// Sums that run beside each other, so that a vector holds them; the same number on every instruction set.
const LANES: usize = 16;

/// The sum of the squares, in f64 and in an order that depends on the length alone.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let isa = Isa::active();
    let partial: Vec<f64> = values
        .par_chunks(GRAIN)
        .map(|chunk| {
            let mut lanes = [0.0; LANES];
            square_lanes(isa, chunk, &mut lanes);
            lanes.iter().sum()
        })
        .collect();
    partial.iter().sum()
}

multiversion! {
    fn square_lanes(values: &[f32], lanes: &mut [f64; LANES]) {
        let (whole, rest) = values.as_chunks::<LANES>();
        for chunk in whole {
            for (lane, &value) in lanes.iter_mut().zip(chunk) {
                *lane += f64::from(value) * f64::from(value);
            }
        }
        for (lane, &value) in lanes.iter_mut().zip(rest) {
            *lane += f64::from(value) * f64::from(value);
        }
    }
}

/// `values *= factor`.
pub fn scale(factor: f32, values: &mut [f32]) {
    for_each_chunk(values, GRAIN, |_, chunk| chunk.iter_mut().for_each(|value| *value *= factor));
}

/// Clips each value to `[-limit, limit]`, as `torch.nn.utils.clip_grad_value_`; NaN stays.
pub fn clip_values(limit: f32, values: &mut [f32]) {
    let clip = |value: &mut f32| *value = value.clamp(-limit, limit);
    for_each_chunk(values, GRAIN, |_, chunk| chunk.iter_mut().for_each(clip));
}

/// `sum += values`.
pub fn add(sum: &mut [f32], values: &[f32]) {
    check_len("values", values.len(), sum.len());
    for_each_chunk(sum, GRAIN, |index, chunk| {
        for (sum, value) in chunk.iter_mut().zip(&values[index * GRAIN..]) {
            *sum += value;
        }
    });
}

/// `average += (values - average) * share`: a step of an exponential moving average with decay `1 - share`.
pub fn move_average(share: f32, average: &mut [f32], values: &[f32]) {
    check_len("values", values.len(), average.len());
    for_each_chunk(average, GRAIN, |index, chunk| {
        for (average, value) in chunk.iter_mut().zip(&values[index * GRAIN..]) {
            *average += (value - *average) * share;
        }
    });
}

/// Smallest norm that a unit of parameters counts with in [`clip_adaptive`], so that zeros can be left.
const LEAST_NORM: f64 = 1e-3;

/// Adaptive gradient clipping (arXiv 2102.06171): scales the gradient `g` of each unit of the parameter `p` so that its norm
/// is at most `factor` times the unit's, where the unit's counts as 0.001 at least.
///
/// Both are rows of `units` values, one of each unit: a weight's outputs stand innermost. A norm or bias is one unit.
pub fn clip_adaptive(factor: f32, units: usize, p: &[f32], g: &mut [f32]) {
    check_len("g", g.len(), p.len());
    let (parameters, gradients) = (unit_squares(units, p), unit_squares(units, g));
    let clip = |(p, g): (&f64, &f64)| {
        let (most, norm) = (p.sqrt().max(LEAST_NORM) * f64::from(factor), g.sqrt());
        // A norm that is no number fails the comparison: its gradient stays as it is.
        if norm > most { (most / norm) as f32 } else { 1.0 }
    };
    let factors: Vec<f32> = parameters.iter().zip(&gradients).map(clip).collect();
    if factors.iter().any(|&factor| factor != 1.0) {
        for_each_chunk(g, rows_of(units) * units, |_, chunk| {
            for row in chunk.chunks_exact_mut(units) {
                for (value, factor) in row.iter_mut().zip(&factors) {
                    *value *= factor;
                }
            }
        });
    }
}

/// Rows of one task.
fn rows_of(units: usize) -> usize {
    GRAIN.div_ceil(units)
}

/// The sum of each unit's squares, added up in a fixed order.
fn unit_squares(units: usize, values: &[f32]) -> Vec<f64> {
    if units == 1 {
        return vec![sum_of_squares(values)];
    }
    let partial: Vec<Vec<f64>> = values
        .par_chunks(rows_of(units) * units)
        .map(|chunk| {
            let mut sums = vec![0.0; units];
            for row in chunk.chunks_exact(units) {
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum += f64::from(value) * f64::from(value);
                }
            }
            sums
        })
        .collect();
    let mut total = vec![0.0; units];
    for sums in partial {
        for (total, sum) in total.iter_mut().zip(sums) {
            *total += sum;
        }
    }
    total
}
