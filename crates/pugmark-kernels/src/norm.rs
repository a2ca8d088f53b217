//! Batch normalisation.

use crate::elementwise::{row, rows};
use crate::plane::{Plane, check, check_interior, check_len};

/// `y := x * scale + shift + residual`, then ReLU if asked for; writes `y`'s border too.
///
/// With `scale = gamma / sqrt(var + eps)` and `shift = beta - mean * scale` this is batch normalisation.
#[expect(clippy::too_many_arguments, reason = "tensors with their planes")]
pub fn scale_shift(
    images: usize,
    x: &[f32],
    xp: Plane,
    scale: &[f32],
    shift: &[f32],
    residual: Option<(&[f32], Plane)>,
    relu: bool,
    y: &mut [f32],
    yp: Plane,
) {
    check("x", x.len(), images, &xp);
    check("y", y.len(), images, &yp);
    check_interior("x", &xp, &yp);
    check_len("scale", scale.len(), yp.channels);
    check_len("shift", shift.len(), yp.channels);
    if let Some((r, rp)) = residual {
        check("residual", r.len(), images, &rp);
        check_interior("residual", &rp, &yp);
    }
    rows(images, y, yp, &mut |y, n, r| {
        let x = row(x, &xp, n, r);
        let residual = residual.map(|(values, p)| row(values, &p, n, r));
        for (i, y) in y.iter_mut().enumerate() {
            let c = i % yp.channels;
            let v = x[i] * scale[c] + shift[c] + residual.map_or(0.0, |r| r[i]);
            *y = if relu { v.max(0.0) } else { v };
        }
    });
}

/// Batch normalisation backward, first pass: per channel the sum of `g` (the gradient of beta) and of `g * xhat` (the
/// gradient of gamma).
///
/// `g` is `dy`, masked by `y > 0` where `y`, the output of a ReLU on top, is given; `xhat = (x - mean) * invstd`.
#[expect(clippy::too_many_arguments, reason = "tensors with their planes")]
pub fn batch_norm_backward_reduce(
    images: usize,
    dy: &[f32],
    dyp: Plane,
    y: Option<(&[f32], Plane)>,
    x: &[f32],
    xp: Plane,
    mean: &[f32],
    invstd: &[f32],
    sum_g: &mut [f32],
    sum_gx: &mut [f32],
) {
    check("dy", dy.len(), images, &dyp);
    check("x", x.len(), images, &xp);
    check_interior("dy", &dyp, &xp);
    if let Some((y, yp)) = y {
        check("y", y.len(), images, &yp);
        check_interior("y", &yp, &xp);
    }
    let channels = xp.channels;
    check_len("mean", mean.len(), channels);
    check_len("invstd", invstd.len(), channels);
    check_len("sum_g", sum_g.len(), channels);
    check_len("sum_gx", sum_gx.len(), channels);
    let mut sums = vec![(0f64, 0f64); channels];
    for n in 0..images {
        for r in 0..xp.height {
            let (dy, x) = (row(dy, &dyp, n, r), row(x, &xp, n, r));
            let y = y.map(|(y, yp)| row(y, &yp, n, r));
            for i in 0..dy.len() {
                let c = i % channels;
                let g = if y.is_none_or(|y| y[i] > 0.0) { dy[i] } else { 0.0 };
                sums[c].0 += f64::from(g);
                sums[c].1 += f64::from(g * (x[i] - mean[c]));
            }
        }
    }
    for c in 0..channels {
        sum_g[c] = sums[c].0 as f32;
        sum_gx[c] = (sums[c].1 * f64::from(invstd[c])) as f32;
    }
}

/// Where the gradient of a fused residual add goes.
pub struct ResidualGradient<'a> {
    /// The residual's gradient.
    pub gradient: &'a mut [f32],
    /// Its plane.
    pub plane: Plane,
    /// Add to what is there (whose border stays) instead of overwriting it and zeroing the border.
    pub accumulate: bool,
}

/// Batch normalisation backward, second pass:
/// `dx := gamma * invstd * (g - (sum_g + xhat * sum_gx) / count)`, or `gamma * invstd * g` when the statistics were
/// `frozen`; zeroes `dx`'s border. `g` and the sums are those of [`batch_norm_backward_reduce`].
///
/// Where a residual was added before the ReLU, `residual_gradient` receives `g`.
#[expect(clippy::too_many_arguments, reason = "tensors with their planes")]
pub fn batch_norm_backward_apply(
    images: usize,
    dy: &[f32],
    dyp: Plane,
    y: Option<(&[f32], Plane)>,
    x: &[f32],
    xp: Plane,
    mean: &[f32],
    invstd: &[f32],
    gamma: &[f32],
    sum_g: &[f32],
    sum_gx: &[f32],
    frozen: bool,
    dx: &mut [f32],
    dxp: Plane,
    residual_gradient: Option<ResidualGradient<'_>>,
) {
    check("dy", dy.len(), images, &dyp);
    check("x", x.len(), images, &xp);
    check("dx", dx.len(), images, &dxp);
    check_interior("dy", &dyp, &dxp);
    check_interior("x", &xp, &dxp);
    if let Some((y, yp)) = y {
        check("y", y.len(), images, &yp);
        check_interior("y", &yp, &dxp);
    }
    let channels = dxp.channels;
    for (name, values) in
        [("mean", mean), ("invstd", invstd), ("gamma", gamma), ("sum_g", sum_g), ("sum_gx", sum_gx)]
    {
        check_len(name, values.len(), channels);
    }
    let count = (images * dxp.pixels()) as f32;
    let g_at = |n: usize, r: usize, i: usize| {
        if y.is_none_or(|(y, yp)| row(y, &yp, n, r)[i] > 0.0) { row(dy, &dyp, n, r)[i] } else { 0.0 }
    };
    rows(images, dx, dxp, &mut |dx, n, r| {
        let x = row(x, &xp, n, r);
        for (i, dx) in dx.iter_mut().enumerate() {
            let c = i % channels;
            let xhat = (x[i] - mean[c]) * invstd[c];
            let centre = if frozen { 0.0 } else { (sum_g[c] + xhat * sum_gx[c]) / count };
            *dx = gamma[c] * invstd[c] * (g_at(n, r, i) - centre);
        }
    });
    if let Some(ResidualGradient { gradient, plane, accumulate }) = residual_gradient {
        check("residual_gradient", gradient.len(), images, &plane);
        check_interior("residual_gradient", &plane, &dxp);
        rows(images, gradient, plane, &mut |out, n, r| {
            for (i, out) in out.iter_mut().enumerate() {
                *out = if accumulate { *out + g_at(n, r, i) } else { g_at(n, r, i) };
            }
        });
    }
}
