//! Convolution.

use super::element::ConvElement;
use super::row_taps::{Grid, RowTaps, Steps};
use super::shape::{ConvShape, Epilogue};
use crate::parallel::{Shared, zero_border};
use crate::plane::{Plane, check, check_len};
use crate::stats::ChannelStats;

/// `y := relu(conv(x) + bias + residual)`, as far as the epilogue asks for it; writes the border of `y` too.
///
/// `xp` needs a border of at least [`ConvShape::input_border`]; `packed` is
/// [`pack_forward`](crate::pack_forward)'s. `stats`, if given, gains the sum and the sum of squares of each
/// channel of what is written.
#[expect(clippy::too_many_arguments, reason = "the operands of a convolution")]
pub fn conv2d_forward<E: ConvElement>(
    s: &ConvShape,
    images: usize,
    x: &[E],
    xp: Plane,
    packed: &[E],
    y: &mut [E],
    yp: Plane,
    ep: &Epilogue<'_, E>,
    stats: Option<&mut ChannelStats>,
) {
    check("x", x.len(), images, &xp);
    check("y", y.len(), images, &yp);
    check_len("packed", packed.len(), super::packed_len_forward::<E>(s));
    s.check_planes(&xp, &yp);
    if let Some(stats) = &stats {
        check_len("stats", stats.channels(), s.out_channels);
    }
    zero_border(y, yp);
    if yp.pixels() == 0 {
        return;
    }
    let grid = Grid {
        height: yp.height,
        width: yp.width,
        input: (xp.border - s.padding) * (xp.row_pitch() + xp.channels),
        output: yp.offset(0, 0),
        tap_rows: s.kernel.0,
        tap_len: s.kernel.1 * s.in_channels,
        packed,
    };
    let taps = RowTaps {
        images,
        channels: s.out_channels,
        grids: &[grid],
        input: x,
        input_steps: Steps { image: xp.len(), row: s.stride * xp.row_pitch(), pixel: s.stride * xp.channels },
        tap_pitch: xp.row_pitch(),
        output: Shared::new(y),
        output_steps: Steps { image: yp.len(), row: yp.row_pitch(), pixel: yp.channels },
        epilogue: *ep,
        accumulate: false,
    };
    taps.run(stats);
}
