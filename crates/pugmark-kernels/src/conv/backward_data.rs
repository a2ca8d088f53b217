//! The gradient of a convolution's input.

use super::element::ConvElement;
use super::phase::Phase;
use super::row_taps::{Grid, RowTaps, Steps};
use super::shape::{ConvShape, Epilogue};
use crate::parallel::{Shared, zero_border};
use crate::plane::{Plane, check, check_len};

/// Gradient with respect to the input: `dx :=`, or `+=` when `accumulate`; the border of `dx` is zeroed when
/// not accumulating and stays otherwise.
///
/// `dyp` needs a border of at least [`ConvShape::gradient_border`], `dxp` any; `packed_bwd` is
/// [`pack_backward`](crate::pack_backward)'s.
#[expect(clippy::too_many_arguments, reason = "the operands of a convolution")]
pub fn conv2d_backward_data<E: ConvElement>(
    s: &ConvShape,
    images: usize,
    dy: &[E],
    dyp: Plane,
    packed_bwd: &[E],
    dx: &mut [E],
    dxp: Plane,
    accumulate: bool,
) {
    check("dy", dy.len(), images, &dyp);
    check("dx", dx.len(), images, &dxp);
    check_len("packed_bwd", packed_bwd.len(), super::packed_len_backward::<E>(s));
    s.check_sizes(&dxp, &dyp);
    assert!(
        dyp.border >= s.gradient_border(),
        "dyp: {s:?} needs a border of {}: {dyp:?}",
        s.gradient_border()
    );
    if !accumulate {
        zero_border(dx, dxp);
    }
    let mut rest = packed_bwd;
    let mut grids = Vec::with_capacity(s.stride * s.stride);
    for phase in Phase::all(s) {
        let (packed, next) = rest.split_at(phase.packed_len::<E>(s));
        rest = next;
        let (height, width) = (phase.y.pixels(s, dxp.height), phase.x.pixels(s, dxp.width));
        // A phase without taps is zero.
        if height == 0 || width == 0 || (accumulate && packed.is_empty()) {
            continue;
        }
        // Inside the border, which is as wide as the taps reach; a phase without taps reads nothing.
        let first = |origin: isize| (dyp.border as isize + origin).max(0) as usize;
        grids.push(Grid {
            height,
            width,
            input: first(phase.y.origin) * dyp.row_pitch() + first(phase.x.origin) * dyp.channels,
            output: dxp.offset(phase.y.first, phase.x.first),
            tap_rows: phase.y.taps,
            tap_len: phase.x.taps * s.out_channels,
            packed,
        });
    }
    let taps = RowTaps {
        images,
        channels: s.in_channels,
        grids: &grids,
        input: dy,
        input_steps: Steps { image: dyp.len(), row: dyp.row_pitch(), pixel: dyp.channels },
        tap_pitch: dyp.row_pitch(),
        output: Shared::new(dx),
        output_steps: Steps {
            image: dxp.len(),
            row: s.stride * dxp.row_pitch(),
            pixel: s.stride * dxp.channels,
        },
        epilogue: Epilogue::default(),
        accumulate,
    };
    taps.run(None);
}
