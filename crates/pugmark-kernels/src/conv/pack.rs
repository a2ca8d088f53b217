//! Weights in the order in which the inner loops read them.
//!
//! A panel holds the weights of 16 output channels: `[kernel rows][kernel width * input channels][16]`, zero
//! where there is no such channel. Panels follow each other. Every instruction set reads the same panels. (Those of
//! bf16 are described in `bf16/pack.rs`.)

use super::ConvShape;
use super::element::ConvElement;
use super::phase::Phase;
use crate::parallel::{GRAIN, for_each_chunk};
use crate::plane::check_len;

/// Output channels in a panel of packed weights.
pub(super) const PANEL: usize = 16;

/// Values of the packed form that [`pack_forward`] writes.
pub fn packed_len_forward<E: ConvElement>(s: &ConvShape) -> usize {
    let taps = s.kernel.0 * (s.kernel.1 * s.in_channels).next_multiple_of(E::TAP_BLOCK);
    taps * s.out_channels.next_multiple_of(PANEL)
}

/// Packs weights `[kh][kw][in][out]` for [`conv2d_forward`](crate::conv2d_forward).
pub fn pack_forward<E: ConvElement>(s: &ConvShape, w_hwio: &[f32], packed: &mut [E]) {
    check_len("w_hwio", w_hwio.len(), s.weights());
    check_len("packed", packed.len(), packed_len_forward::<E>(s));
    E::pack_forward(s, w_hwio, packed);
}

pub(super) fn pack_forward_f32(s: &ConvShape, w_hwio: &[f32], packed: &mut [f32]) {
    let taps = s.kernel.0 * s.kernel.1 * s.in_channels;
    for_each_panel(packed, taps * PANEL, |panel, packed| {
        let start = panel * PANEL;
        let channels = PANEL.min(s.out_channels - start);
        for (packed, w) in
            packed.as_chunks_mut::<PANEL>().0.iter_mut().zip(w_hwio.chunks_exact(s.out_channels))
        {
            match w[start..].first_chunk::<PANEL>() {
                Some(w) => *packed = *w,
                None => {
                    packed[..channels].copy_from_slice(&w[start..]);
                    packed[channels..].fill(0.0);
                }
            }
        }
    });
}

/// Values of the packed form that [`pack_backward`] writes.
pub fn packed_len_backward<E: ConvElement>(s: &ConvShape) -> usize {
    Phase::all(s).map(|phase| phase.packed_len::<E>(s)).sum()
}

/// Packs weights `[kh][kw][in][out]` for [`conv2d_backward_data`](crate::conv2d_backward_data): flipped and
/// transposed, one phase after the other.
pub fn pack_backward<E: ConvElement>(s: &ConvShape, w_hwio: &[f32], packed: &mut [E]) {
    check_len("w_hwio", w_hwio.len(), s.weights());
    check_len("packed", packed.len(), packed_len_backward::<E>(s));
    E::pack_backward(s, w_hwio, packed);
}

pub(super) fn pack_backward_f32(s: &ConvShape, w_hwio: &[f32], packed: &mut [f32]) {
    let (inputs, outputs) = (s.in_channels, s.out_channels);
    let mut rest = packed;
    for phase in Phase::all(s) {
        let (packed, next) = rest.split_at_mut(phase.packed_len::<f32>(s));
        rest = next;
        for_each_panel(packed, phase.y.taps * phase.x.taps * outputs * PANEL, |panel, packed| {
            let start = panel * PANEL;
            let channels = PANEL.min(inputs - start);
            for (tap, packed) in packed.chunks_exact_mut(outputs * PANEL).enumerate() {
                let (ky, kx) =
                    (phase.y.kernel_tap(s, tap / phase.x.taps), phase.x.kernel_tap(s, tap % phase.x.taps));
                let w = &w_hwio[((ky * s.kernel.1 + kx) * inputs + start) * outputs..][..channels * outputs];
                packed.fill(0.0);
                for (c, w) in w.chunks_exact(outputs).enumerate() {
                    for (packed, &w) in packed.as_chunks_mut::<PANEL>().0.iter_mut().zip(w) {
                        packed[c] = w;
                    }
                }
            }
        });
    }
}

/// Calls `f(panel, values)` for each panel of `len` values.
pub(super) fn for_each_panel<T: Send>(
    packed: &mut [T],
    len: usize,
    f: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    if packed.is_empty() {
        return;
    }
    let panels = GRAIN.div_ceil(len);
    for_each_chunk(packed, panels * len, |task, chunk| {
        for (i, panel) in chunk.chunks_exact_mut(len).enumerate() {
            f(task * panels + i, panel);
        }
    });
}
