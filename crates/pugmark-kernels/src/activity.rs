//! What a training debugger wants to know of activations and parameters.

use rayon::prelude::*;

use crate::Isa;
use crate::channels::{folded, repeats};
use crate::element::Element;
use crate::parallel::{GRAIN, row, sum_rows};
use crate::plane::{Plane, check, check_len};
use crate::simd::multiversion;

/// Sums over the pixels of a batch, one a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelActivity {
    /// Values that lie outside the limits.
    pub outside: Vec<f64>,
    /// Sum; NaN or infinite where a value is.
    pub sum: Vec<f64>,
    /// Sum of squares.
    pub square: Vec<f64>,
}

multiversion! {
    fn activity_row<E: Element>(x: &[E], low: f32, high: f32, sums: &mut [f32]) {
        let period = sums.len() / 3;
        let (outside, rest) = sums.split_at_mut(period);
        let (sums, squares) = rest.split_at_mut(period);
        for x in x.chunks(period) {
            let values = x.iter().zip(&mut *outside).zip(&mut *sums).zip(&mut *squares);
            for (((&x, outside), sum), square) in values {
                let x = x.to_f32();
                *outside += if x > high || x < low { 1.0 } else { 0.0 };
                *sum += x;
                *square += x * x;
            }
        }
    }
}

/// Counts the values below `low` or above `high`, which infinities never are, and adds all of them up. With minus infinity
/// and 0 the first are those that a ReLU lets pass.
pub fn channel_activity<E: Element>(
    images: usize,
    x: &[E],
    p: Plane,
    (low, high): (f32, f32),
) -> ChannelActivity {
    check("x", x.len(), images, &p);
    let isa = Isa::active();
    let period = p.channels * repeats(p.channels);
    let sums = sum_rows(images, p, 3 * period, |image, r, sums| {
        activity_row(isa, row(x, &p, image, r), low, high, sums);
    });
    let channels = |at: usize| folded(&sums[at * period..(at + 1) * period], p.channels);
    ChannelActivity { outside: channels(0), sum: channels(1), square: channels(2) }
}

/// Sums over the values of a parameter or gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Magnitude {
    /// Of the absolute values.
    pub absolute: f64,
    /// Of the squares.
    pub square: f64,
    /// Values that are zero.
    pub zeros: f64,
}

/// Sums that run beside each other, so that a vector holds them; the same number on every instruction set.
const LANES: usize = 16;

multiversion! {
    fn magnitude_lanes(values: &[f32], sums: &mut [[f64; LANES]; 3]) {
        let [absolute, square, zeros] = sums;
        for chunk in values.chunks(LANES) {
            for (((&value, absolute), square), zeros) in
                chunk.iter().zip(&mut *absolute).zip(&mut *square).zip(&mut *zeros)
            {
                *absolute += f64::from(value.abs());
                *square += f64::from(value) * f64::from(value);
                *zeros += if value == 0.0 { 1.0 } else { 0.0 };
            }
        }
    }
}

/// The size of the values, in an order that depends on their number alone.
pub fn magnitude(values: &[f32]) -> Magnitude {
    let isa = Isa::active();
    let of_chunk = |chunk: &[f32]| {
        let mut sums = [[0.0; LANES]; 3];
        magnitude_lanes(isa, chunk, &mut sums);
        sums.map(|lanes| lanes.iter().sum::<f64>())
    };
    let chunks: Vec<[f64; 3]> = values.par_chunks(GRAIN).map(of_chunk).collect();
    let sum = |at: usize| chunks.iter().map(|sums| sums[at]).sum();
    Magnitude { absolute: sum(0), square: sum(1), zeros: sum(2) }
}

multiversion! {
    fn distance_lanes(a: &[f32], b: &[f32], sums: &mut [f64; LANES]) {
        for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
            for ((&a, &b), sum) in a.iter().zip(b).zip(&mut *sums) {
                let distance = f64::from(a) - f64::from(b);
                *sum += distance * distance;
            }
        }
    }
}

/// The sum of the squares of `a - b`, in an order that depends on their number alone.
pub fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    check_len("b", b.len(), a.len());
    let isa = Isa::active();
    let of_chunk = |(a, b): (&[f32], &[f32])| {
        let mut sums = [0.0; LANES];
        distance_lanes(isa, a, b, &mut sums);
        sums.iter().sum::<f64>()
    };
    let chunks: Vec<f64> = a.par_chunks(GRAIN).zip(b.par_chunks(GRAIN)).map(of_chunk).collect();
    chunks.iter().sum()
}
