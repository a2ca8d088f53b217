//! Factors of channels (layer scale) and of images (stochastic depth), and the sum that follows them.

use crate::Isa;
use crate::channels::{folded, repeated, repeats};
use crate::element::Element;
use crate::parallel::{for_each_row, row, sum_rows, write_rows};
use crate::plane::{GradientTarget, Plane, check, check_interior, check_len};
use crate::simd::multiversion;

multiversion! {
    fn scale_row<E: Element>(x: &[E], scale: &[f32], factor: f32, y: &mut [E]) {
        let period = scale.len();
        for (x, y) in x.chunks(period).zip(y.chunks_mut(period)) {
            for ((y, &x), &scale) in y.iter_mut().zip(x).zip(scale) {
                *y = E::from_f32(x.to_f32() * scale * factor);
            }
        }
    }
}

multiversion! {
    fn scale_add_row<E: Element>(x: &[E], scale: &[f32], factor: f32, residual: &[E], y: &mut [E]) {
        let period = scale.len();
        for ((x, residual), y) in x.chunks(period).zip(residual.chunks(period)).zip(y.chunks_mut(period)) {
            for (((y, &x), &scale), &r) in y.iter_mut().zip(x).zip(scale).zip(residual) {
                *y = E::from_f32(x.to_f32() * scale * factor + r.to_f32());
            }
        }
    }
}

multiversion! {
    fn scale_accumulate_row<E: Element>(dy: &[E], scale: &[f32], factor: f32, dx: &mut [E]) {
        let period = scale.len();
        for (dy, dx) in dy.chunks(period).zip(dx.chunks_mut(period)) {
            for ((dx, &dy), &scale) in dx.iter_mut().zip(dy).zip(scale) {
                *dx = E::from_f32(dx.to_f32() + dy.to_f32() * scale * factor);
            }
        }
    }
}

multiversion! {
    fn product_row<E: Element>(dy: &[E], x: &[E], factor: f32, sums: &mut [f32]) {
        for (dy, x) in dy.chunks(sums.len()).zip(x.chunks(sums.len())) {
            for ((sum, &dy), &x) in sums.iter_mut().zip(dy).zip(x) {
                *sum += dy.to_f32() * x.to_f32() * factor;
            }
        }
    }
}

/// Factors of [`scale_forward`] and its gradients; none counts as 1.
#[derive(Clone, Copy, Default, Debug)]
pub struct Factors<'a> {
    /// One a channel.
    pub channels: Option<&'a [f32]>,
    /// One an image.
    pub images: Option<&'a [f32]>,
}

impl Factors<'_> {
    /// Panics unless they are as many as there are channels and images.
    #[track_caller]
    fn check(&self, images: usize, p: &Plane) {
        if let Some(channels) = self.channels {
            check_len("channels", channels.len(), p.channels);
        }
        if let Some(factors) = self.images {
            check_len("images", factors.len(), images);
        }
    }

    /// A period of the channels' factors.
    fn repeated(&self, p: &Plane) -> Vec<f32> {
        match self.channels {
            Some(channels) => repeated(channels),
            None => vec![1.0; p.channels * repeats(p.channels)],
        }
    }

    fn image(&self, image: usize) -> f32 {
        self.images.map_or(1.0, |images| images[image])
    }
}

/// Each image's factor in stochastic depth (arXiv 1603.09382, torchvision's mode `row`): 0 with probability `p`, else
/// `1 / (1 - p)`, for `p` in [0, 1).
///
/// Which it is depends on `seed` and the image's index alone.
pub fn stochastic_depth(seed: u64, p: f32, factors: &mut [f32]) {
    assert!((0.0..1.0).contains(&p), "p: {p} is not in [0, 1)");
    factors.fill(1.0);
    let ones = factors.to_vec();
    crate::dropout(seed, p, &ones, factors);
}

/// `y := x` times the factors, plus the residual; writes `y`'s border too.
pub fn scale_forward<E: Element>(
    images: usize,
    x: &[E],
    xp: Plane,
    factors: &Factors<'_>,
    residual: Option<(&[E], Plane)>,
    y: &mut [E],
    yp: Plane,
) {
    check("x", x.len(), images, &xp);
    check("y", y.len(), images, &yp);
    check_interior("x", &xp, &yp);
    factors.check(images, &yp);
    if let Some((r, rp)) = residual {
        check("residual", r.len(), images, &rp);
        check_interior("residual", &rp, &yp);
    }
    let isa = Isa::active();
    let scale = &factors.repeated(&yp);
    write_rows(y, yp, |image, r, y| {
        let (x, factor) = (row(x, &xp, image, r), factors.image(image));
        match residual {
            Some((values, p)) => scale_add_row(isa, x, scale, factor, row(values, &p, image, r), y),
            None => scale_row(isa, x, scale, factor, y),
        }
    });
}

/// `dx :=` (or `+=`) `dy` times the factors.
pub fn scale_backward<E: Element>(
    images: usize,
    dy: &[E],
    dyp: Plane,
    factors: &Factors<'_>,
    dx: GradientTarget<'_, E>,
) {
    let GradientTarget { gradient: dx, plane: dxp, accumulate } = dx;
    if !accumulate {
        scale_forward(images, dy, dyp, factors, None, dx, dxp);
        return;
    }
    check("dy", dy.len(), images, &dyp);
    check("dx", dx.len(), images, &dxp);
    check_interior("dy", &dyp, &dxp);
    factors.check(images, &dxp);
    let isa = Isa::active();
    let scale = &factors.repeated(&dxp);
    for_each_row(dx, dxp, |image, r, dx| {
        scale_accumulate_row(isa, row(dy, &dyp, image, r), scale, factors.image(image), dx);
    });
}

/// `out[c] :=` the gradient of channel `c`'s factor: the sum of `dy * x` times the images' factors.
pub fn scale_backward_channels<E: Element>(
    images: usize,
    dy: &[E],
    dyp: Plane,
    x: &[E],
    xp: Plane,
    image_factors: Option<&[f32]>,
    out: &mut [f32],
) {
    check("dy", dy.len(), images, &dyp);
    check("x", x.len(), images, &xp);
    check_interior("dy", &dyp, &xp);
    check_len("out", out.len(), xp.channels);
    let factors = Factors { channels: None, images: image_factors };
    factors.check(images, &xp);
    let isa = Isa::active();
    let period = xp.channels * repeats(xp.channels);
    let sums = sum_rows(images, xp, period, |image, r, sums| {
        product_row(isa, row(dy, &dyp, image, r), row(x, &xp, image, r), factors.image(image), sums);
    });
    for (out, sum) in out.iter_mut().zip(folded(&sums, xp.channels)) {
        *out = sum as f32;
    }
}
