//! Elementwise kernels against plain loops, on every path this machine has. Each rounds to f32 as the loop does and
//! then once to the element, so that the bits are those of the loop.

mod common;

use common::{
    Expected, Random, Sum, assert_close, assert_zero_border, interior, plane, poisoned, test_elements,
};
use pugmark_kernels::*;

/// Images, height, width and channels: odd sizes, none, and enough values for several tasks.
const SIZES: [(usize, usize, usize, usize); 7] = [
    (1, 1, 1, 1),
    (2, 5, 7, 3),
    (3, 4, 13, 16),
    (1, 29, 15, 33),
    (2, 1, 5, 64),
    (0, 3, 3, 2),
    (4, 28, 28, 40),
];

fn each_size(f: impl Fn(&str, usize, [Plane; 3])) {
    for (images, height, width, channels) in SIZES {
        for borders in [[0, 0, 0], [1, 0, 2], [2, 3, 1]] {
            for isa in Isa::available() {
                let what = format!("{images} x {height} x {width} x {channels}, borders {borders:?}, {isa}");
                with_isa(isa, || f(&what, images, borders.map(|b| plane(height, width, channels, b))));
            }
        }
    }
}

/// Panics unless `y` is `expected(i)`, rounded, for the i-th value that is not border, and its border is zero.
fn assert_values<E: Element>(what: &str, y: &[E], images: usize, p: Plane, expected: impl Fn(usize) -> f32) {
    for (i, at) in interior(images, p).into_iter().enumerate() {
        let (y, expected) = (y[at].to_f32(), E::from_f32(expected(i)).to_f32());
        assert_eq!(y.to_bits(), expected.to_bits(), "{what}: value {i}: {y} for {expected}");
    }
    assert_zero_border(what, y, images, p);
}

/// The values that are not border.
fn inside<E: Element>(values: &[E], images: usize, p: Plane) -> Vec<f32> {
    interior(images, p).into_iter().map(|at| values[at].to_f32()).collect()
}

test_elements!(
    relu_and_its_gradient,
    relu_keeps_nan,
    sums_and_copies,
    input_is_normalised_per_channel,
    dropout_keeps_its_share_and_is_its_own_gradient,
    gelu_rounds_once_and_adds,
    factors_of_channels_and_images,
);

fn relu_and_its_gradient<E: Element>() {
    each_size(|what, images, [xp, yp, gp]| {
        let mut random = Random(1);
        let x: Vec<E> = random.tensor(images, xp);
        let xs = inside(&x, images, xp);
        let mut y = poisoned(images, yp);
        relu_forward(images, &x, xp, &mut y, yp);
        assert_values(what, &y, images, yp, |i| xs[i].max(0.0));

        let dy = random.tensor(images, gp);
        let dys = inside(&dy, images, gp);
        let gradient = |i: usize| if xs[i] > 0.0 { dys[i] } else { 0.0 };
        let mut dx = poisoned(images, xp);
        relu_backward(images, &dy, gp, &y, yp, &mut dx, xp, false);
        assert_values(what, &dx, images, xp, gradient);
        let mut dx = x.clone();
        relu_backward(images, &dy, gp, &y, yp, &mut dx, xp, true);
        assert_values(what, &dx, images, xp, |i| xs[i] + gradient(i));
    });
}

fn relu_keeps_nan<E: Element>() {
    for isa in Isa::available() {
        let p = plane(1, 37, 1, 0);
        let mut y = vec![E::default(); 37];
        with_isa(isa, || relu_forward(1, &[E::from_f32(f32::NAN); 37], p, &mut y, p));
        assert!(y.iter().all(|y| y.to_f32().is_nan()), "{isa}");
    }
}

fn sums_and_copies<E: Element>() {
    each_size(|what, images, [ap, bp, yp]| {
        let mut random = Random(2);
        let (a, b): (Vec<E>, Vec<E>) = (random.tensor(images, ap), random.tensor(images, bp));
        let (a_values, b_values) = (inside(&a, images, ap), inside(&b, images, bp));
        let mut y = poisoned(images, yp);
        add_forward(images, &a, ap, &b, bp, false, &mut y, yp);
        assert_values(what, &y, images, yp, |i| a_values[i] + b_values[i]);
        let mut y = poisoned(images, yp);
        add_forward(images, &a, ap, &b, bp, true, &mut y, yp);
        assert_values(what, &y, images, yp, |i| (a_values[i] + b_values[i]).max(0.0));
        let mut y = b.clone();
        accumulate(images, &a, ap, &mut y, bp);
        assert_values(what, &y, images, bp, |i| b_values[i] + a_values[i]);
        let mut y = poisoned(images, yp);
        copy_plane(images, &a, ap, &mut y, yp);
        assert_values::<E>(what, &y, images, yp, |i| a_values[i]);
        let mut y = poisoned(images, yp);
        copy_plane(images, &a, ap, &mut y, yp);
        assert_values::<f32>(what, &y, images, yp, |i| a_values[i]);
        let fine: Vec<f32> = random.tensor(images, ap);
        let fine_values = inside(&fine, images, ap);
        let mut y = poisoned(images, yp);
        copy_plane(images, &fine, ap, &mut y, yp);
        assert_values::<E>(what, &y, images, yp, |i| fine_values[i]);
    });
}

fn input_is_normalised_per_channel<E: Element>() {
    each_size(|what, images, [yp, ..]| {
        let mut random = Random(3);
        let pixels: Vec<u8> = (0..images * yp.pixels() * yp.channels).map(|_| random.next() as u8).collect();
        let (mean, std) = (random.values(yp.channels), random.values(yp.channels));
        let mut y = poisoned(images, yp);
        input_from_u8(images, &pixels, &mean, &std, &mut y, yp);
        assert_values::<E>(what, &y, images, yp, |i| {
            (f32::from(pixels[i]) / 255.0 - mean[i % yp.channels]) / std[i % yp.channels]
        });
    });
}

fn dropout_keeps_its_share_and_is_its_own_gradient<E: Element>() {
    const N: usize = 100_003;
    let (nan, one) = (E::from_f32(f32::NAN), E::from_f32(1.0));
    let x: Vec<E> = Random(4).values(N).into_iter().map(E::from_f32).collect();
    let mut first = None;
    for isa in Isa::available() {
        with_isa(isa, || {
            let (mut y, mut dx, mut other) = (vec![nan; N], vec![nan; N], vec![nan; N]);
            dropout(11, 0.3, &x, &mut y);
            dropout(11, 0.3, &[one; N], &mut dx);
            dropout(12, 0.3, &[one; N], &mut other);
            let scale = 1.0f32 / (1.0 - 0.3);
            let kept = dx.iter().filter(|&&d| d == E::from_f32(scale)).count();
            // 5 standard deviations of a binomial count.
            assert!((kept as f64 - 0.7 * N as f64).abs() < 5.0 * (N as f64 * 0.21).sqrt(), "{isa}: {kept}");
            assert!(dx.iter().all(|&d| d == E::from_f32(scale) || d == E::default()), "{isa}");
            let scaled = |x: E, d: E| E::from_f32(if d == E::default() { 0.0 } else { x.to_f32() * scale });
            assert!(y.iter().zip(&x).zip(&dx).all(|((&y, &x), &d)| y == scaled(x, d)), "{isa}");
            // Another seed is independent: 0.7 * 0.7 + 0.3 * 0.3 of the values agree.
            let same = dx.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(
                (same as f64 - 0.58 * N as f64).abs() < 5.0 * (N as f64 * 0.2436).sqrt(),
                "{isa}: {same}"
            );
            assert_eq!(*first.get_or_insert_with(|| y.clone()), y, "{isa}: the same on every path");
        });
    }
    let mut y = vec![nan; N];
    dropout(11, 0.0, &x, &mut y);
    assert_eq!(x, y);
}

/// Against itself in f32, which `tests/pytorch.rs` compares with PyTorch.
fn gelu_rounds_once_and_adds<E: Element>() {
    each_size(|what, images, [xp, yp, gp]| {
        let mut random = Random(5);
        let (x, dy): (Vec<E>, Vec<E>) = (random.tensor(images, xp), random.tensor(images, gp));
        let flat = plane(1, 1, images * yp.pixels() * yp.channels, 0);
        let (xs, dys) = (inside(&x, images, xp), inside(&dy, images, gp));
        let mut exact = vec![f32::NAN; flat.channels];
        gelu_forward(1, &xs, flat, &mut exact, flat);
        let mut y = poisoned(images, yp);
        gelu_forward(images, &x, xp, &mut y, yp);
        assert_values(what, &y, images, yp, |i| exact[i]);
        gelu_backward(1, &dys, flat, &xs, flat, &mut exact, flat, false);
        let mut dx = poisoned(images, xp);
        gelu_backward(images, &dy, gp, &x, xp, &mut dx, xp, false);
        assert_values(what, &dx, images, xp, |i| exact[i]);
        let mut dx = x.clone();
        gelu_backward(images, &dy, gp, &x, xp, &mut dx, xp, true);
        assert_values(what, &dx, images, xp, |i| xs[i] + exact[i]);
    });
    let p = plane(1, 1, 3, 0);
    let mut y = [E::default(); 3];
    let far = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(E::from_f32);
    gelu_forward(1, &far, p, &mut y, p);
    assert!(y[0].to_f32().is_nan());
    assert_eq!(y[1].to_f32(), f32::INFINITY);
    assert!(y[2].to_f32().abs() < 1e-37);
}

fn factors_of_channels_and_images<E: Element>() {
    each_size(|what, images, [xp, yp, rp]| {
        let mut random = Random(6);
        let (x, residual): (Vec<E>, Vec<E>) = (random.tensor(images, xp), random.tensor(images, rp));
        let (xs, rs) = (inside(&x, images, xp), inside(&residual, images, rp));
        let (channels, of_images) = (random.values(xp.channels), random.values(images));
        let image_len = xp.pixels() * xp.channels;
        for (by_channel, by_image) in [(true, true), (true, false), (false, true), (false, false)] {
            let factors = Factors {
                channels: by_channel.then_some(&channels[..]),
                images: by_image.then_some(&of_images[..]),
            };
            let scaled = |i: usize| {
                let channel = if by_channel { channels[i % xp.channels] } else { 1.0 };
                xs[i] * channel * if by_image { of_images[i / image_len] } else { 1.0 }
            };
            let mut y = poisoned(images, yp);
            scale_forward(images, &x, xp, &factors, None, &mut y, yp);
            assert_values(what, &y, images, yp, scaled);
            scale_forward(images, &x, xp, &factors, Some((&residual, rp)), &mut y, yp);
            assert_values(what, &y, images, yp, |i| scaled(i) + rs[i]);
            for accumulate in [false, true] {
                let mut dx = if accumulate { residual.clone() } else { poisoned(images, rp) };
                let target = GradientTarget { gradient: &mut dx, plane: rp, accumulate };
                scale_backward(images, &x, xp, &factors, target);
                assert_values(
                    what,
                    &dx,
                    images,
                    rp,
                    |i| if accumulate { rs[i] + scaled(i) } else { scaled(i) },
                );
            }
            let mut found = vec![f32::NAN; xp.channels];
            scale_backward_channels(images, &x, xp, &residual, rp, factors.images, &mut found);
            let mut sums = vec![Sum::default(); xp.channels];
            for (i, (x, r)) in xs.iter().zip(&rs).enumerate() {
                let factor = factors.images.map_or(1.0, |images| images[i / image_len]);
                sums[i % xp.channels].add(f64::from(*x) * f64::from(*r) * f64::from(factor));
            }
            let expected: Vec<Expected> = sums.into_iter().map(Sum::expected).collect();
            assert_close(what, &found, &(0..xp.channels).collect::<Vec<_>>(), &expected);
        }
    });
}

#[test]
fn stochastic_depth_keeps_its_share() {
    let images = 10_000;
    for p in [0.0, 0.1, 0.5] {
        let mut factors = vec![f32::NAN; images];
        stochastic_depth(3, p, &mut factors);
        let dropped = factors.iter().filter(|&&f| f == 0.0).count() as f32;
        assert!(factors.iter().all(|&f| f == 0.0 || f == 1.0 / (1.0 - p)), "{p}");
        // Five standard deviations.
        let error = 5.0 * (p * (1.0 - p) / images as f32).sqrt();
        assert!((dropped / images as f32 - p).abs() <= error, "{p}: {dropped}");
        let mut first = vec![f32::NAN; 7];
        stochastic_depth(3, p, &mut first);
        assert_eq!(first, factors[..7]);
    }
}
