//! Per-channel sums of a batch.

use crate::Isa;
use crate::channels::{folded, repeats};
use crate::element::Element;
use crate::parallel::{row, sum_rows};
use crate::plane::{Plane, check, check_len};
use crate::simd::multiversion;

/// Per-channel sum and sum of squares of a batch.
#[derive(Clone, Debug)]
pub struct ChannelStats {
    sum: Vec<f64>,
    square: Vec<f64>,
}

impl ChannelStats {
    /// Empty sums of so many channels.
    pub fn new(channels: usize) -> Self {
        ChannelStats { sum: vec![0.0; channels], square: vec![0.0; channels] }
    }

    /// Number of channels.
    pub(crate) fn channels(&self) -> usize {
        self.sum.len()
    }

    /// Adds sums and sums of squares of the channels from `first` on; what is beyond the last channel is
    /// ignored.
    pub(crate) fn add(&mut self, first: usize, sums: &[f64], squares: &[f64]) {
        for (total, part) in [(&mut self.sum, sums), (&mut self.square, squares)] {
            for (total, part) in total[first..].iter_mut().zip(part) {
                *total += part;
            }
        }
    }

    /// Back to empty.
    pub fn clear(&mut self) {
        self.sum.fill(0.0);
        self.square.fill(0.0);
    }

    /// Writes each channel's mean and biased variance; `count` is the number of values a channel.
    pub fn finish(&self, count: usize, mean: &mut [f32], var: &mut [f32]) {
        check_len("mean", mean.len(), self.sum.len());
        check_len("var", var.len(), self.sum.len());
        for (c, (mean, var)) in mean.iter_mut().zip(var).enumerate() {
            let m = self.sum[c] / count as f64;
            *mean = m as f32;
            *var = (self.square[c] / count as f64 - m * m).max(0.0) as f32;
        }
    }
}

multiversion! {
    fn stats_row<E: Element>(x: &[E], sums: &mut [f32]) {
        let (sums, squares) = sums.split_at_mut(sums.len() / 2);
        for x in x.chunks(sums.len()) {
            for ((&x, sum), square) in x.iter().zip(&mut *sums).zip(&mut *squares) {
                let x = x.to_f32();
                *sum += x;
                *square += x * x;
            }
        }
    }
}

multiversion! {
    fn sum_row<E: Element>(x: &[E], sums: &mut [f32]) {
        for x in x.chunks(sums.len()) {
            for (&x, sum) in x.iter().zip(&mut *sums) {
                *sum += x.to_f32();
            }
        }
    }
}

/// Adds the sums of a tensor that is there already.
pub fn channel_stats<E: Element>(images: usize, x: &[E], p: Plane, stats: &mut ChannelStats) {
    check("x", x.len(), images, &p);
    check_len("stats", stats.channels(), p.channels);
    let isa = Isa::active();
    let period = p.channels * repeats(p.channels);
    let sums = sum_rows(images, p, 2 * period, |image, r, sums| stats_row(isa, row(x, &p, image, r), sums));
    stats.add(0, &folded(&sums[..period], p.channels), &folded(&sums[period..], p.channels));
}

/// `out[c] :=` the sum of channel `c` over all pixels of all images: the gradient of a bias.
pub fn channel_sum<E: Element>(images: usize, x: &[E], p: Plane, out: &mut [f32]) {
    check("x", x.len(), images, &p);
    check_len("out", out.len(), p.channels);
    let isa = Isa::active();
    let period = p.channels * repeats(p.channels);
    let sums = sum_rows(images, p, period, |image, r, sums| sum_row(isa, row(x, &p, image, r), sums));
    for (out, sum) in out.iter_mut().zip(folded(&sums, p.channels)) {
        *out = sum as f32;
    }
}
