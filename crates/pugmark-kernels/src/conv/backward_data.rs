//! The gradient of a convolution's input.

use super::phase::Phase;
use super::row_taps::{RowTaps, Steps};
use super::shape::{ConvShape, Epilogue};
use crate::Isa;
use crate::parallel::{Shared, zero_border};
use crate::plane::{Plane, check, check_len};

/// Gradient with respect to the input: `dx :=`, or `+=` when `accumulate`; the border of `dx` is zeroed when not
/// accumulating and stays otherwise.
///
/// `dyp` needs a border of at least [`ConvShape::gradient_border`], `dxp` any; `packed_bwd` is
/// [`pack_backward`](crate::pack_backward)'s.
#[expect(clippy::too_many_arguments, reason = "the operands of a convolution")]
pub fn conv2d_backward_data(
    s: &ConvShape,
    images: usize,
    dy: &[f32],
    dyp: Plane,
    packed_bwd: &[f32],
    dx: &mut [f32],
    dxp: Plane,
    accumulate: bool,
) {
    check("dy", dy.len(), images, &dyp);
    check("dx", dx.len(), images, &dxp);
    check_len("packed_bwd", packed_bwd.len(), super::packed_len_backward(s));
    s.check_sizes(&dxp, &dyp);
    assert!(
        dyp.border >= s.gradient_border(),
        "dyp: {s:?} needs a border of {}: {dyp:?}",
        s.gradient_border()
    );
    if !accumulate {
        zero_border(dx, dxp);
    }
    let output = Shared::new(dx);
    let mut rest = packed_bwd;
    for phase in Phase::all(s) {
        let (packed, next) = rest.split_at(phase.packed_len(s));
        rest = next;
        if accumulate && packed.is_empty() {
            continue;
        }
        // Inside the border, which is as wide as the taps reach; a phase without taps reads nothing.
        let first = |origin: isize| (dyp.border as isize + origin).max(0) as usize;
        let taps = RowTaps {
            images,
            height: phase.y.pixels(s, dxp.height),
            width: phase.x.pixels(s, dxp.width),
            channels: s.in_channels,
            input: dy,
            input_steps: Steps {
                origin: first(phase.y.origin) * dyp.row_pitch() + first(phase.x.origin) * dyp.channels,
                image: dyp.len(),
                row: dyp.row_pitch(),
                pixel: dyp.channels,
            },
            tap_rows: phase.y.taps,
            tap_pitch: dyp.row_pitch(),
            tap_len: phase.x.taps * s.out_channels,
            packed,
            output,
            output_steps: Steps {
                origin: dxp.offset(phase.y.first, phase.x.first),
                image: dxp.len(),
                row: s.stride * dxp.row_pitch(),
                pixel: s.stride * dxp.channels,
            },
            epilogue: Epilogue::default(),
            accumulate,
        };
        taps.run(Isa::active(), None);
    }
}
