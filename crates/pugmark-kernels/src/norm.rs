//! Batch normalisation.

use rayon::prelude::*;

use crate::Isa;
use crate::channels::{folded, repeated};
use crate::element::Element;
use crate::elementwise::{masked, relu};
use crate::parallel::{row, sum_rows, write_rows, zero_border};
use crate::plane::{GradientTarget, Plane, check, check_interior, check_len};
use crate::simd::multiversion;

multiversion! {
    fn scale_shift_row<E: Element>(x: &[E], scale: &[f32], shift: &[f32], with_relu: bool, y: &mut [E]) {
        let period = scale.len();
        for (x, y) in x.chunks(period).zip(y.chunks_mut(period)) {
            for (((y, &x), &scale), &shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                let v = x.to_f32() * scale + shift;
                *y = E::from_f32(if with_relu { relu(v) } else { v });
            }
        }
    }
}

multiversion! {
    fn scale_shift_add_row<E: Element>(
        x: &[E],
        scale: &[f32],
        shift: &[f32],
        residual: &[E],
        with_relu: bool,
        y: &mut [E],
    ) {
        let period = scale.len();
        for ((x, residual), y) in x.chunks(period).zip(residual.chunks(period)).zip(y.chunks_mut(period)) {
            for ((((y, &x), &scale), &shift), &r) in y.iter_mut().zip(x).zip(scale).zip(shift).zip(residual) {
                let v = x.to_f32() * scale + shift + r.to_f32();
                *y = E::from_f32(if with_relu { relu(v) } else { v });
            }
        }
    }
}

multiversion! {
    /// `sums` holds a period of sums of `g`, then one of sums of `g * (x - mean)`.
    fn reduce_row<E: Element>(dy: &[E], y: Option<&[E]>, x: &[E], mean: &[f32], sums: &mut [f32]) {
        let period = mean.len();
        let (sums, products) = sums.split_at_mut(period);
        for at in (0..dy.len()).step_by(period) {
            let n = period.min(dy.len() - at);
            let (dy, x) = (&dy[at..at + n], &x[at..at + n]);
            let (mean, sums, products) = (&mean[..n], &mut sums[..n], &mut products[..n]);
            match y {
                Some(y) => {
                    let y = &y[at..at + n];
                    for i in 0..n {
                        let g = masked(dy[i].to_f32(), y[i].to_f32());
                        sums[i] += g;
                        products[i] += g * (x[i].to_f32() - mean[i]);
                    }
                }
                None => {
                    for i in 0..n {
                        let g = dy[i].to_f32();
                        sums[i] += g;
                        products[i] += g * (x[i].to_f32() - mean[i]);
                    }
                }
            }
        }
    }
}

/// Coefficients of the second pass, a period each: `dx = scale * g - (slope * (x - mean) + offset)`.
struct Coefficients {
    mean: Vec<f32>,
    scale: Vec<f32>,
    slope: Vec<f32>,
    offset: Vec<f32>,
}

multiversion! {
    fn apply_row<E: Element>(dy: &[E], y: Option<&[E]>, x: &[E], k: &Coefficients, dx: &mut [E]) {
        let period = k.mean.len();
        for at in (0..dx.len()).step_by(period) {
            let n = period.min(dx.len() - at);
            let (dy, x, dx) = (&dy[at..at + n], &x[at..at + n], &mut dx[at..at + n]);
            let (mean, scale, slope, offset) = (&k.mean[..n], &k.scale[..n], &k.slope[..n], &k.offset[..n]);
            match y {
                Some(y) => {
                    let y = &y[at..at + n];
                    for i in 0..n {
                        let centre = slope[i] * (x[i].to_f32() - mean[i]) + offset[i];
                        let g = masked(dy[i].to_f32(), y[i].to_f32());
                        dx[i] = E::from_f32(scale[i] * g - centre);
                    }
                }
                None => {
                    for i in 0..n {
                        let centre = slope[i] * (x[i].to_f32() - mean[i]) + offset[i];
                        dx[i] = E::from_f32(scale[i] * dy[i].to_f32() - centre);
                    }
                }
            }
        }
    }
}

multiversion! {
    fn apply_frozen_row<E: Element>(dy: &[E], y: Option<&[E]>, scale: &[f32], dx: &mut [E]) {
        let period = scale.len();
        for (i, (dy, dx)) in dy.chunks(period).zip(dx.chunks_mut(period)).enumerate() {
            let values = dx.iter_mut().zip(dy).zip(scale);
            match y {
                Some(y) => {
                    for (((dx, &dy), &scale), &y) in values.zip(&y[i * period..]) {
                        *dx = E::from_f32(scale * masked(dy.to_f32(), y.to_f32()));
                    }
                }
                None => {
                    for ((dx, &dy), &scale) in values {
                        *dx = E::from_f32(scale * dy.to_f32());
                    }
                }
            }
        }
    }
}

multiversion! {
    /// `r := g`, or `+=` when `accumulate`.
    fn residual_row<E: Element>(dy: &[E], y: Option<&[E]>, accumulate: bool, r: &mut [E]) {
        let values = r.iter_mut().zip(dy);
        match y {
            Some(y) => {
                for ((r, &dy), &y) in values.zip(y) {
                    let g = masked(dy.to_f32(), y.to_f32());
                    *r = E::from_f32(if accumulate { r.to_f32() + g } else { g });
                }
            }
            None => {
                for (r, &dy) in values {
                    let g = dy.to_f32();
                    *r = E::from_f32(if accumulate { r.to_f32() + g } else { g });
                }
            }
        }
    }
}

/// `y := x * scale + shift + residual`, then ReLU if asked for; writes `y`'s border too.
///
/// With `scale = gamma / sqrt(var + eps)` and `shift = beta - mean * scale` this is batch normalisation.
#[expect(clippy::too_many_arguments, reason = "tensors with their planes")]
pub fn scale_shift<E: Element>(
    images: usize,
    x: &[E],
    xp: Plane,
    scale: &[f32],
    shift: &[f32],
    residual: Option<(&[E], Plane)>,
    relu: bool,
    y: &mut [E],
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
    let isa = Isa::active();
    let (scale, shift) = (&repeated(scale), &repeated(shift));
    write_rows(y, yp, |image, r, y| {
        let x = row(x, &xp, image, r);
        match residual {
            Some((values, p)) => {
                scale_shift_add_row(isa, x, scale, shift, row(values, &p, image, r), relu, y)
            }
            None => scale_shift_row(isa, x, scale, shift, relu, y),
        }
    });
}

/// Batch normalisation backward, first pass: per channel the sum of `g` (the gradient of beta) and of `g *
/// xhat` (the gradient of gamma).
///
/// `g` is `dy`, masked by `y > 0` where `y`, the output of a ReLU on top, is given; `xhat = (x - mean) *
/// invstd`.
#[expect(clippy::too_many_arguments, reason = "tensors with their planes")]
pub fn batch_norm_backward_reduce<E: Element>(
    images: usize,
    dy: &[E],
    dyp: Plane,
    y: Option<(&[E], Plane)>,
    x: &[E],
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
    let isa = Isa::active();
    let means = &repeated(mean);
    let period = means.len();
    let sums = sum_rows(images, xp, 2 * period, |image, r, sums| {
        let y = y.map(|(y, yp)| row(y, &yp, image, r));
        reduce_row(isa, row(dy, &dyp, image, r), y, row(x, &xp, image, r), means, sums);
    });
    for (c, sum) in folded(&sums[..period], channels).into_iter().enumerate() {
        sum_g[c] = sum as f32;
    }
    for (c, sum) in folded(&sums[period..], channels).into_iter().enumerate() {
        sum_gx[c] = (sum * f64::from(invstd[c])) as f32;
    }
}

/// Batch normalisation backward, second pass: `dx := gamma * invstd * (g - (sum_g + xhat * sum_gx) / count)`,
/// or `gamma * invstd * g` when the statistics were `frozen`; zeroes `dx`'s border. `g` and the sums are
/// those of [`batch_norm_backward_reduce`].
///
/// Where a residual was added before the ReLU, `residual_gradient` receives `g`.
#[expect(clippy::too_many_arguments, reason = "tensors with their planes")]
pub fn batch_norm_backward_apply<E: Element>(
    images: usize,
    dy: &[E],
    dyp: Plane,
    y: Option<(&[E], Plane)>,
    x: &[E],
    xp: Plane,
    mean: &[f32],
    invstd: &[f32],
    gamma: &[f32],
    sum_g: &[f32],
    sum_gx: &[f32],
    frozen: bool,
    dx: &mut [E],
    dxp: Plane,
    residual_gradient: Option<GradientTarget<'_, E>>,
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
    if images * dxp.len() == 0 {
        return;
    }
    let count = (images * dxp.pixels()) as f32;
    let per_channel = |f: &dyn Fn(usize) -> f32| repeated(&(0..channels).map(f).collect::<Vec<f32>>());
    let k = &Coefficients {
        mean: repeated(mean),
        scale: per_channel(&|c| gamma[c] * invstd[c]),
        slope: per_channel(&|c| gamma[c] * invstd[c] * invstd[c] * sum_gx[c] / count),
        offset: per_channel(&|c| gamma[c] * invstd[c] * sum_g[c] / count),
    };
    let isa = Isa::active();
    let dy_row = |image: usize, r: usize| row(dy, &dyp, image, r);
    let y_row = |image: usize, r: usize| y.map(|(y, yp)| row(y, &yp, image, r));
    let apply = |image: usize, r: usize, dx: &mut [E]| {
        let (dy, y) = (dy_row(image, r), y_row(image, r));
        if frozen {
            apply_frozen_row(isa, dy, y, &k.scale, dx);
        } else {
            apply_row(isa, dy, y, row(x, &xp, image, r), k, dx);
        }
    };
    let Some(GradientTarget { gradient, plane, accumulate }) = residual_gradient else {
        write_rows(dx, dxp, apply);
        return;
    };
    check("residual_gradient", gradient.len(), images, &plane);
    check_interior("residual_gradient", &plane, &dxp);
    if !accumulate {
        zero_border(gradient, plane);
    }
    // Both in one pass over the images, so that `dy` and `y` are read from memory once.
    zero_border(dx, dxp);
    let pairs = dx.par_chunks_mut(dxp.len()).zip(gradient.par_chunks_mut(plane.len()));
    pairs.enumerate().for_each(|(image, (dx, gradient))| {
        for r in 0..dxp.height {
            let (at, to) = (dxp.offset(r, 0), plane.offset(r, 0));
            apply(image, r, &mut dx[at..at + dxp.row_len()]);
            let gradient = &mut gradient[to..to + plane.row_len()];
            residual_row(isa, dy_row(image, r), y_row(image, r), accumulate, gradient);
        }
    });
}
