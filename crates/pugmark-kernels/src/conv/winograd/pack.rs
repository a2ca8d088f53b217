//! Transformed weights in the order in which the matrix products read them.
//!
//! `[panel of 16 output channels][place][input channels][16]`; of bf16 `[..][input channels / 2][16][2]`.

use super::super::ConvShape;
use super::super::element::ConvElement;
use super::super::pack::PANEL;
use super::{PATCH, PLACES};
use crate::Isa;
use crate::parallel::for_each_chunk;
use crate::plane::check_len;
use crate::simd::multiversion;

const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
const B: f32 = std::f32::consts::SQRT_2;

/// Values of the packed form that [`winograd_pack_forward`] and [`winograd_pack_backward`] write.
pub fn winograd_packed_len(s: &ConvShape) -> usize {
    PLACES * s.in_channels * s.out_channels
}

/// Packs weights `[3][3][in][out]` for [`winograd_forward`](crate::winograd_forward).
pub fn winograd_pack_forward<E: ConvElement>(s: &ConvShape, w_hwio: &[f32], packed: &mut [E]) {
    check_len("w_hwio", w_hwio.len(), s.weights());
    check_len("packed", packed.len(), winograd_packed_len(s));
    let isa = Isa::active();
    let (inputs, outputs) = (s.in_channels, s.out_channels);
    for_each_chunk(packed, PLACES * inputs * PANEL, |panel, packed| {
        pack_panel(isa, w_hwio, inputs, outputs, panel, packed);
    });
}

/// Packs weights `[3][3][in][out]` for [`winograd_backward_data`](crate::winograd_backward_data): flipped and
/// transposed.
pub fn winograd_pack_backward(s: &ConvShape, w_hwio: &[f32], packed: &mut [f32]) {
    check_len("w_hwio", w_hwio.len(), s.weights());
    check_len("packed", packed.len(), winograd_packed_len(s));
    let isa = Isa::active();
    let (inputs, outputs) = (s.in_channels, s.out_channels);
    for_each_chunk(packed, PLACES * outputs * PANEL, |panel, packed| {
        pack_panel_transposed(isa, w_hwio, inputs, outputs, panel, packed);
    });
}

type Vector = [f32; PANEL];

multiversion! {
    fn pack_panel<E: ConvElement>(w: &[f32], inputs: usize, outputs: usize, panel: usize, packed: &mut [E]) {
        for c in 0..inputs {
            let mut taps = [[0.0; PANEL]; 9];
            for (tap, values) in taps.iter_mut().enumerate() {
                values.copy_from_slice(&w[(tap * inputs + c) * outputs + panel * PANEL..][..PANEL]);
            }
            let at = c / E::PAIR * E::PAIR * PANEL + c % E::PAIR;
            transform(&taps, &mut packed[at..], inputs * PANEL);
        }
    }
}

multiversion! {
    fn pack_panel_transposed(w: &[f32], inputs: usize, outputs: usize, panel: usize, packed: &mut [f32]) {
        for k in 0..outputs {
            let mut taps = [[0.0; PANEL]; 9];
            for (tap, values) in taps.iter_mut().enumerate() {
                let w = &w[((8 - tap) * inputs + panel * PANEL) * outputs + k..];
                for (value, &w) in values.iter_mut().zip(w.iter().step_by(outputs)) {
                    *value = w;
                }
            }
            transform(&taps, &mut packed[k * PANEL..], outputs * PANEL);
        }
    }
}

/// Nine taps to 36 places, `step` values apart; neighbouring channels are [`E::PAIR`](ConvElement) values apart.
#[inline(always)]
fn transform<E: ConvElement>(taps: &[Vector; 9], out: &mut [E], step: usize) {
    let mut rows = [[[0.0; PANEL]; PATCH]; 3];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = line(&taps[3 * i], &taps[3 * i + 1], &taps[3 * i + 2]);
    }
    for j in 0..PATCH {
        for (i, values) in line(&rows[0][j], &rows[1][j], &rows[2][j]).iter().enumerate() {
            let out = &mut out[(i * PATCH + j) * step..][..(PANEL - 1) * E::PAIR + 1];
            for (lane, &value) in values.iter().enumerate() {
                out[lane * E::PAIR] = E::from_f32(value);
            }
        }
    }
}

/// The polynomial's values at the points, divided by the product of the differences to the other points.
#[inline(always)]
fn line(g0: &Vector, g1: &Vector, g2: &Vector) -> [Vector; PATCH] {
    let mut out = [[0.0; PANEL]; PATCH];
    for lane in 0..PANEL {
        let (g0, g1, g2) = (g0[lane], g1[lane], g2[lane]);
        let (near, far) = (g0 + 0.5 * g2, g0 + 2.0 * g2);
        out[0][lane] = g0;
        out[1][lane] = (near + A * g1) * (-1.0 / 1.5);
        out[2][lane] = (near - A * g1) * (-1.0 / 1.5);
        out[3][lane] = (far + B * g1) * (1.0 / 6.0);
        out[4][lane] = (far - B * g1) * (1.0 / 6.0);
        out[5][lane] = g2;
    }
    out
}
