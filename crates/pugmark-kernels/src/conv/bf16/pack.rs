//! Weights of bf16 in the order in which the inner loops read them.
//!
//! A panel holds the weights of 16 output channels: `[kernel rows][taps / 2][16][2]`, a row's kernel width times
//! input channels filled up to a multiple of 32 taps. 32 taps of a panel are then 16 rows of 64 bytes, what a tile
//! register of AMX holds. Zero where there is no such tap or channel.

use super::super::ConvShape;
use super::super::pack::{PANEL, for_each_panel};
use super::super::phase::Phase;
use crate::{Bf16, Element};

/// Taps in a tile register.
pub(super) const TAP_BLOCK: usize = 32;

/// A pair of each channel of a panel.
const PAIRS: usize = 2 * PANEL;

pub(super) fn forward(s: &ConvShape, w_hwio: &[f32], packed: &mut [Bf16]) {
    let taps = s.kernel.1 * s.in_channels;
    let row_len = taps.next_multiple_of(TAP_BLOCK) * PANEL;
    for_each_panel(packed, s.kernel.0 * row_len, |panel, packed| {
        let start = panel * PANEL;
        let channels = PANEL.min(s.out_channels - start);
        let rows = w_hwio.chunks_exact(taps * s.out_channels);
        for (packed, w) in packed.chunks_exact_mut(row_len).zip(rows) {
            // A row of weights for each of a pair's taps; the last pair may have one alone.
            let pairs = w.chunks(2 * s.out_channels);
            for (packed, w) in packed.as_chunks_mut::<PAIRS>().0.iter_mut().zip(pairs.clone()) {
                let (even, odd) = w.split_at(s.out_channels);
                *packed = [Bf16::default(); PAIRS];
                for (packed, &w) in packed.iter_mut().step_by(2).zip(&even[start..start + channels]) {
                    *packed = Bf16::from_f32(w);
                }
                let odd = odd.get(start..start + channels).unwrap_or_default();
                for (packed, &w) in packed.iter_mut().skip(1).step_by(2).zip(odd) {
                    *packed = Bf16::from_f32(w);
                }
            }
            packed[pairs.len() * PAIRS..].fill(Bf16::default());
        }
    });
}

pub(super) fn backward(s: &ConvShape, w_hwio: &[f32], packed: &mut [Bf16]) {
    let (inputs, outputs) = (s.in_channels, s.out_channels);
    let mut rest = packed;
    for phase in Phase::all(s) {
        let (packed, next) = rest.split_at_mut(phase.packed_len::<Bf16>(s));
        rest = next;
        let row_len = (phase.x.taps * outputs).next_multiple_of(TAP_BLOCK) * PANEL;
        for_each_panel(packed, phase.y.taps * row_len, |panel, packed| {
            let start = panel * PANEL;
            let channels = PANEL.min(inputs - start);
            packed.fill(Bf16::default());
            for (ty, packed) in packed.chunks_exact_mut(row_len).enumerate() {
                let ky = phase.y.kernel_tap(s, ty);
                for tx in 0..phase.x.taps {
                    let kx = phase.x.kernel_tap(s, tx);
                    let w = &w_hwio[((ky * s.kernel.1 + kx) * inputs + start) * outputs..];
                    for (c, w) in w.chunks_exact(outputs).take(channels).enumerate() {
                        for (tap, &w) in (tx * outputs..).zip(w) {
                            packed[tap / 2 * PAIRS + 2 * c + tap % 2] = Bf16::from_f32(w);
                        }
                    }
                }
            }
        });
    }
}
