//! Weights of bf16 in the order in which the inner loops read them.
//!
//! A panel holds the weights of 16 output channels: `[kernel rows][taps / 2][16][2]`, a row's kernel width times
//! input channels filled up to a multiple of 32 taps. 32 taps of a panel are then 16 rows of 64 bytes, what a tile
//! register of AMX holds. Zero where there is no such tap or channel.

use super::super::ConvShape;
use super::super::pack::{PANEL, for_each_panel};
use super::super::phase::Phase;
use crate::simd::multiversion;
use crate::{Bf16, Element, Isa};

/// Taps in a tile register.
pub(super) const TAP_BLOCK: usize = 32;

/// A pair of each channel of a panel.
const PAIRS: usize = 2 * PANEL;

pub(super) fn forward(s: &ConvShape, w_hwio: &[f32], packed: &mut [Bf16]) {
    let taps = s.kernel.1 * s.in_channels;
    let row_len = taps.next_multiple_of(TAP_BLOCK) * PANEL;
    let isa = Isa::active();
    for_each_panel(packed, s.kernel.0 * row_len, |panel, packed| {
        let rows = w_hwio.chunks_exact(taps * s.out_channels);
        for (packed, w) in packed.chunks_exact_mut(row_len).zip(rows) {
            let channels = PANEL.min(s.out_channels - panel * PANEL);
            forward_row(isa, &w[panel * PANEL..], channels, s.out_channels, packed);
        }
    });
}

multiversion! {
    /// `channels` of a kernel row's taps, `pitch` values from one to the next; `w` begins with the first.
    fn forward_row(w: &[f32], channels: usize, pitch: usize, packed: &mut [Bf16]) {
        // Each pair's weights; the last may have one tap alone.
        let mut rows = w.chunks(2 * pitch);
        for packed in packed.as_chunks_mut::<PAIRS>().0 {
            let even = rows.next().unwrap_or_default();
            let odd = even.get(pitch..).unwrap_or_default();
            *packed = match (even.first_chunk(), odd.first_chunk()) {
                (Some(even), Some(odd)) if channels == PANEL => pairs_of(even, odd),
                _ => pairs_of(&filled(even, channels), &filled(odd, channels)),
            };
        }
    }
}

/// The first `n` values, where there are any, and zeros behind them.
#[inline(always)]
fn filled(w: &[f32], n: usize) -> [f32; PANEL] {
    let mut values = [0.0; PANEL];
    for (value, &w) in values.iter_mut().zip(w).take(n) {
        *value = w;
    }
    values
}

/// Two taps of each channel.
#[inline(always)]
fn pairs_of(even: &[f32; PANEL], odd: &[f32; PANEL]) -> [Bf16; PAIRS] {
    let mut pairs = [Bf16::default(); PAIRS];
    for ((pair, &even), &odd) in pairs.as_chunks_mut::<2>().0.iter_mut().zip(even).zip(odd) {
        *pair = [Bf16::from_f32(even), Bf16::from_f32(odd)];
    }
    pairs
}

pub(super) fn backward(s: &ConvShape, w_hwio: &[f32], packed: &mut [Bf16]) {
    let (inputs, outputs) = (s.in_channels, s.out_channels);
    let isa = Isa::active();
    let mut rest = packed;
    for phase in Phase::all(s) {
        let (packed, next) = rest.split_at_mut(phase.packed_len::<Bf16>(s));
        rest = next;
        let row_len = (phase.x.taps * outputs).next_multiple_of(TAP_BLOCK) * PANEL;
        for_each_panel(packed, phase.y.taps * row_len, |panel, packed| {
            let start = panel * PANEL;
            let channels = PANEL.min(inputs - start);
            let whole = channels == PANEL && outputs.is_multiple_of(TAP_BLOCK);
            if !whole {
                packed.fill(Bf16::default());
            }
            for (ty, packed) in packed.chunks_exact_mut(row_len).enumerate() {
                let ky = phase.y.kernel_tap(s, ty);
                for tx in 0..phase.x.taps {
                    let kx = phase.x.kernel_tap(s, tx);
                    let w =
                        &w_hwio[((ky * s.kernel.1 + kx) * inputs + start) * outputs..][..channels * outputs];
                    if whole {
                        let taps = &mut packed[tx * outputs * PANEL..][..outputs * PANEL];
                        backward_taps(isa, w, outputs, taps);
                        continue;
                    }
                    for (c, w) in w.chunks_exact(outputs).enumerate() {
                        for (tap, &w) in (tx * outputs..).zip(w) {
                            packed[tap / 2 * PAIRS + 2 * c + tap % 2] = Bf16::from_f32(w);
                        }
                    }
                }
            }
        });
    }
}

multiversion! {
    /// The transpose of `[16][outputs]`, whose outputs are whole blocks, to pairs of outputs.
    fn backward_taps(w: &[f32], outputs: usize, packed: &mut [Bf16]) {
        for (block, packed) in packed.chunks_exact_mut(TAP_BLOCK * PANEL).enumerate() {
            let mut rows = [[[Bf16::default(); 2]; TAP_BLOCK / 2]; PANEL];
            for (row, w) in rows.iter_mut().zip(w.chunks_exact(outputs)) {
                for (value, &w) in row.as_flattened_mut().iter_mut().zip(&w[block * TAP_BLOCK..]) {
                    *value = Bf16::from_f32(w);
                }
            }
            for (pair, packed) in packed.as_chunks_mut::<PAIRS>().0.iter_mut().enumerate() {
                for (value, row) in packed.as_chunks_mut::<2>().0.iter_mut().zip(&rows) {
                    *value = row[pair];
                }
            }
        }
    }
}
