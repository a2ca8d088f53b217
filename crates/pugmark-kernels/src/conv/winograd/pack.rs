//! Transformed weights in the order in which the matrix products read them.
//!
//! `[panel of 16 output channels][place][input channels][16]`; of bf16 `[..][input channels / 2][16][2]`.

use super::super::ConvShape;
use super::super::element::ConvElement;
use super::super::pack::PANEL;
use super::transform::{A, B, madd};
use super::{PATCH, PLACES};
use crate::Isa;
use crate::parallel::for_each_chunk;
use crate::plane::check_len;
use crate::simd::{Simd, multiversion, per_isa};

/// Values of the packed form that [`winograd_pack_forward`] and [`winograd_pack_backward`] write.
pub fn winograd_packed_len(s: &ConvShape) -> usize {
    PLACES * s.in_channels * s.out_channels
}

/// Packs weights `[3][3][in][out]` for [`winograd_forward`](crate::winograd_forward).
pub fn winograd_pack_forward<E: ConvElement>(s: &ConvShape, w_hwio: &[f32], packed: &mut [E]) {
    check_len("w_hwio", w_hwio.len(), s.weights());
    check_len("packed", packed.len(), winograd_packed_len(s));
    assert!(s.has_winograd_form::<E>(), "{s:?} has no Winograd form");
    let (inputs, outputs) = (s.in_channels, s.out_channels);
    each_block(packed, inputs, |panel, input, taps| {
        for (tap, taps) in taps.iter_mut().enumerate() {
            let w = w_hwio[(tap * inputs + input) * outputs + panel * PANEL..].chunks(outputs);
            for (values, w) in taps.iter_mut().zip(w) {
                values.copy_from_slice(&w[..PANEL]);
            }
        }
    });
}

/// Packs weights `[3][3][in][out]` for [`winograd_backward_data`](crate::winograd_backward_data): flipped and
/// transposed.
pub fn winograd_pack_backward(s: &ConvShape, w_hwio: &[f32], packed: &mut [f32]) {
    check_len("w_hwio", w_hwio.len(), s.weights());
    check_len("packed", packed.len(), winograd_packed_len(s));
    assert!(s.has_winograd_form::<f32>(), "{s:?} has no Winograd form");
    let (inputs, outputs) = (s.in_channels, s.out_channels);
    each_block(packed, outputs, |panel, output, taps| {
        for (tap, taps) in taps.iter_mut().enumerate() {
            let w = &w_hwio[((8 - tap) * inputs + panel * PANEL) * outputs + output..];
            let mut rows = [[0.0; BLOCK]; PANEL];
            for (row, w) in rows.iter_mut().zip(w.chunks(outputs)) {
                row.copy_from_slice(&w[..BLOCK]);
            }
            for (k, values) in taps.iter_mut().enumerate() {
                *values = rows.map(|row| row[k]);
            }
        }
    });
}

/// Input channels that are transformed together, so that each place gets whole runs of memory.
const BLOCK: usize = 16;
/// The taps of a panel's channels, of a block of inputs.
type Taps = [[[f32; PANEL]; BLOCK]; 9];

/// Packs all panels; `load(panel, input, taps)` gives the weights of a block from that input on.
fn each_block<E: ConvElement>(
    packed: &mut [E],
    inputs: usize,
    load: impl Fn(usize, usize, &mut Taps) + Sync,
) {
    let isa = Isa::active();
    for_each_chunk(packed, PLACES * inputs * PANEL, |panel, packed| {
        let mut taps = [[[0.0; PANEL]; BLOCK]; 9];
        let mut block = [[0.0; PLACES * PANEL]; BLOCK];
        for input in (0..inputs).step_by(BLOCK) {
            load(panel, input, &mut taps);
            // SAFETY: the machine has what `isa` says.
            unsafe { transform(isa, &taps, &mut block) };
            for (place, packed) in packed.chunks_exact_mut(inputs * PANEL).enumerate() {
                store_place::<E>(isa, &block, place, &mut packed[input * PANEL..][..BLOCK * PANEL]);
            }
        }
    });
}

multiversion! {
    /// A block's weights at a place, in groups of [`E::PAIR`](ConvElement) inputs.
    fn store_place<E: ConvElement>(block: &[[f32; PLACES * PANEL]; BLOCK], place: usize, out: &mut [E]) {
        for (out, group) in out.chunks_exact_mut(E::PAIR * PANEL).zip(block.chunks_exact(E::PAIR)) {
            for (i, values) in group.iter().enumerate() {
                for (lane, &value) in values[place * PANEL..][..PANEL].iter().enumerate() {
                    out[lane * E::PAIR + i] = E::from_f32(value);
                }
            }
        }
    }
}

per_isa! {
    /// Nine taps of each input to 36 places.
    ///
    /// # Safety
    /// The machine has the instruction set.
    unsafe fn transform<S: Simd>(taps: &Taps, block: &mut [[f32; PLACES * PANEL]; BLOCK]) {
        for (input, out) in block.iter_mut().enumerate() {
            for lane in (0..PANEL).step_by(S::LANES) {
                // SAFETY: the caller's promise; a panel is a whole number of vectors.
                unsafe {
                    let mut rows = [[S::splat(0.0); PATCH]; 3];
                    for (row, taps) in rows.iter_mut().zip(taps.as_chunks::<3>().0) {
                        let mut g = [S::splat(0.0); 3];
                        for (g, tap) in g.iter_mut().zip(taps) {
                            *g = S::load(tap[input][lane..].as_ptr());
                        }
                        *row = line::<S>(g);
                    }
                    for j in 0..PATCH {
                        for (i, &value) in line::<S>([rows[0][j], rows[1][j], rows[2][j]]).iter().enumerate() {
                            S::store(out[(i * PATCH + j) * PANEL + lane..].as_mut_ptr(), value);
                        }
                    }
                }
            }
        }
    }
}

/// The polynomial's values at the points, divided by the product of the differences to the other points.
#[inline(always)]
unsafe fn line<S: Simd>([g0, g1, g2]: [S::V; 3]) -> [S::V; PATCH] {
    // SAFETY: the caller's machine has the instruction set.
    unsafe {
        let zero = S::splat(0.0);
        let near = madd::<S>(-0.5 / 1.5, g2, madd::<S>(-1.0 / 1.5, g0, zero));
        let far = madd::<S>(2.0 / 6.0, g2, madd::<S>(1.0 / 6.0, g0, zero));
        [
            g0,
            madd::<S>(-A / 1.5, g1, near),
            madd::<S>(A / 1.5, g1, near),
            madd::<S>(B / 6.0, g1, far),
            madd::<S>(-B / 6.0, g1, far),
            g2,
        ]
    }
}
