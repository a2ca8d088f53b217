//! Layer normalisation over the channels of each pixel.
//!
//! A pixel's values are contiguous and stay in the first-level cache, so its statistics are computed in two passes, the
//! exact way, and again in the backward pass instead of being kept.

use crate::Isa;
use crate::element::Element;
use crate::parallel::{Shared, row, sum_rows, write_rows, zero_border};
use crate::plane::{GradientTarget, Plane, check, check_interior, check_len};
use crate::simd::multiversion;

/// Running sums side by side, so that the compiler can make vectors of them.
const LANES: usize = 16;

#[inline(always)]
fn total(sums: &[f32; LANES]) -> f32 {
    let mut sums = *sums;
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    sums[0]
}

/// A pixel's mean and the inverse of its standard deviation.
#[inline(always)]
fn statistics<E: Element>(x: &[E], eps: f32) -> (f32, f32) {
    let count = x.len() as f32;
    let (whole, rest) = x.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for x in whole {
        for i in 0..LANES {
            sums[i] += x[i].to_f32();
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += x.to_f32();
    }
    let mean = total(&sums) / count;
    let mut squares = [0f32; LANES];
    for x in whole {
        for i in 0..LANES {
            let d = x[i].to_f32() - mean;
            squares[i] += d * d;
        }
    }
    for (square, x) in squares.iter_mut().zip(rest) {
        let d = x.to_f32() - mean;
        *square += d * d;
    }
    (mean, 1.0 / (total(&squares) / count + eps).sqrt())
}

multiversion! {
    fn forward_row<E: Element>(x: &[E], gamma: &[f32], beta: &[f32], eps: f32, y: &mut [E]) {
        let channels = gamma.len();
        for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
            let (mean, inverse) = statistics(x, eps);
            for (((y, &x), &gamma), &beta) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
                *y = E::from_f32((x.to_f32() - mean) * inverse * gamma + beta);
            }
        }
    }
}

/// The sums of `g` and `g * xhat` over a pixel's channels, with `g = dy * gamma`; `sums` gains `dy * xhat`, then `dy`, of
/// each channel.
#[inline(always)]
fn backward_sums<E: Element>(
    dy: &[E],
    x: &[E],
    gamma: &[f32],
    mean: f32,
    inverse: f32,
    sums: &mut [f32],
) -> (f32, f32) {
    let channels = gamma.len();
    let (scale_sums, shift_sums) = sums.split_at_mut(channels);
    let (mut sum, mut product) = ([0f32; LANES], [0f32; LANES]);
    let mut at = 0;
    while at < channels {
        let n = LANES.min(channels - at);
        let (dy, x, gamma) = (&dy[at..at + n], &x[at..at + n], &gamma[at..at + n]);
        let (scale_sums, shift_sums) = (&mut scale_sums[at..at + n], &mut shift_sums[at..at + n]);
        // A number of lanes that the compiler knows makes vectors.
        if n == LANES {
            for i in 0..LANES {
                let (dy, xhat) = (dy[i].to_f32(), (x[i].to_f32() - mean) * inverse);
                let g = dy * gamma[i];
                sum[i] += g;
                product[i] += g * xhat;
                scale_sums[i] += dy * xhat;
                shift_sums[i] += dy;
            }
        } else {
            for i in 0..n {
                let (dy, xhat) = (dy[i].to_f32(), (x[i].to_f32() - mean) * inverse);
                let g = dy * gamma[i];
                sum[i] += g;
                product[i] += g * xhat;
                scale_sums[i] += dy * xhat;
                shift_sums[i] += dy;
            }
        }
        at += n;
    }
    (total(&sum), total(&product))
}

multiversion! {
    /// `dx` is a row or empty.
    #[expect(clippy::too_many_arguments, reason = "a row of each tensor")]
    fn backward_row<E: Element>(
        dy: &[E],
        x: &[E],
        gamma: &[f32],
        eps: f32,
        dx: &mut [E],
        accumulate: bool,
        sums: &mut [f32],
    ) {
        let channels = gamma.len();
        let count = channels as f32;
        for (pixel, (dy, x)) in dy.chunks_exact(channels).zip(x.chunks_exact(channels)).enumerate() {
            let (mean, inverse) = statistics(x, eps);
            let (sum, product) = backward_sums(dy, x, gamma, mean, inverse, sums);
            if dx.is_empty() {
                continue;
            }
            // dx = inverse * (g - mean of g - xhat * mean of g * xhat)
            let (offset, slope) = (sum / count, product / count * inverse);
            let dx = &mut dx[pixel * channels..(pixel + 1) * channels];
            let values = dx.iter_mut().zip(dy).zip(x).zip(gamma);
            if accumulate {
                for (((dx, &dy), &x), &gamma) in values {
                    let centred = dy.to_f32() * gamma - offset - (x.to_f32() - mean) * slope;
                    *dx = E::from_f32(dx.to_f32() + centred * inverse);
                }
            } else {
                for (((dx, &dy), &x), &gamma) in values {
                    let centred = dy.to_f32() * gamma - offset - (x.to_f32() - mean) * slope;
                    *dx = E::from_f32(centred * inverse);
                }
            }
        }
    }
}

/// `y := (x - mean) / sqrt(var + eps) * gamma + beta`, with each pixel's mean and biased variance; writes `y`'s border
/// too.
#[expect(clippy::too_many_arguments, reason = "tensors with their planes")]
pub fn layer_norm_forward<E: Element>(
    images: usize,
    x: &[E],
    xp: Plane,
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
    y: &mut [E],
    yp: Plane,
) {
    check("x", x.len(), images, &xp);
    check("y", y.len(), images, &yp);
    check_interior("x", &xp, &yp);
    check_len("gamma", gamma.len(), yp.channels);
    check_len("beta", beta.len(), yp.channels);
    if yp.channels == 0 {
        return;
    }
    let isa = Isa::active();
    write_rows(y, yp, |image, r, y| forward_row(isa, row(x, &xp, image, r), gamma, beta, eps, y));
}

/// The gradients of [`layer_norm_forward`], from its input; `dgamma` and `dbeta` are overwritten.
#[expect(clippy::too_many_arguments, reason = "tensors with their planes")]
pub fn layer_norm_backward<E: Element>(
    images: usize,
    dy: &[E],
    dyp: Plane,
    x: &[E],
    xp: Plane,
    gamma: &[f32],
    eps: f32,
    dx: Option<GradientTarget<'_, E>>,
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    check("dy", dy.len(), images, &dyp);
    check("x", x.len(), images, &xp);
    check_interior("dy", &dyp, &xp);
    let channels = xp.channels;
    check_len("gamma", gamma.len(), channels);
    check_len("dgamma", dgamma.len(), channels);
    check_len("dbeta", dbeta.len(), channels);
    let accumulate = dx.as_ref().is_some_and(|dx| dx.accumulate);
    let dx = dx.map(|GradientTarget { gradient, plane, accumulate }| {
        check("dx", gradient.len(), images, &plane);
        check_interior("dx", &plane, &xp);
        if !accumulate {
            zero_border(gradient, plane);
        }
        (Shared::new(gradient), plane)
    });
    let isa = Isa::active();
    let sums = sum_rows(images, xp, 2 * channels, |image, r, sums| {
        let own: &mut [E] = match &dx {
            // SAFETY: the row is inside, for the planes were checked, and each row is visited by one task.
            Some((dx, p)) => unsafe {
                std::slice::from_raw_parts_mut(dx.at(image * p.len() + p.offset(r, 0)), p.row_len())
            },
            None => &mut [],
        };
        let (dy, x) = (row(dy, &dyp, image, r), row(x, &xp, image, r));
        backward_row(isa, dy, x, gamma, eps, own, accumulate, sums);
    });
    for (to, sums) in [dgamma, dbeta].into_iter().zip(sums.chunks_exact(channels.max(1))) {
        for (to, &sum) in to.iter_mut().zip(sums) {
            *to = sum as f32;
        }
    }
}
