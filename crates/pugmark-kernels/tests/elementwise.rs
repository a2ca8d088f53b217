//! Elementwise kernels against plain loops, on every path this machine has.

mod common;

use common::{Random, assert_zero_border, interior, plane, poisoned};
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

/// Panics unless `y` is `expected(i)` for the i-th value that is not border, and its border is zero.
fn assert_values(what: &str, y: &[f32], images: usize, p: Plane, expected: impl Fn(usize) -> f32) {
    for (i, at) in interior(images, p).into_iter().enumerate() {
        assert_eq!(
            y[at].to_bits(),
            expected(i).to_bits(),
            "{what}: value {i}: {} for {}",
            y[at],
            expected(i)
        );
    }
    assert_zero_border(what, y, images, p);
}

/// The values that are not border.
fn inside(values: &[f32], images: usize, p: Plane) -> Vec<f32> {
    interior(images, p).into_iter().map(|at| values[at]).collect()
}

#[test]
fn relu_and_its_gradient() {
    each_size(|what, images, [xp, yp, gp]| {
        let mut random = Random(1);
        let x = random.tensor(images, xp);
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

#[test]
fn relu_keeps_nan() {
    for isa in Isa::available() {
        let p = plane(1, 37, 1, 0);
        let mut y = vec![0.0; 37];
        with_isa(isa, || relu_forward(1, &[f32::NAN; 37], p, &mut y, p));
        assert!(y.iter().all(|y| y.is_nan()), "{isa}");
    }
}

#[test]
fn sums_and_copies() {
    each_size(|what, images, [ap, bp, yp]| {
        let mut random = Random(2);
        let (a, b) = (random.tensor(images, ap), random.tensor(images, bp));
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
        assert_values(what, &y, images, yp, |i| a_values[i]);
    });
}

#[test]
fn input_is_normalised_per_channel() {
    each_size(|what, images, [yp, ..]| {
        let mut random = Random(3);
        let pixels: Vec<u8> = (0..images * yp.pixels() * yp.channels).map(|_| random.next() as u8).collect();
        let (mean, std) = (random.values(yp.channels), random.values(yp.channels));
        let mut y = poisoned(images, yp);
        input_from_u8(images, &pixels, &mean, &std, &mut y, yp);
        assert_values(what, &y, images, yp, |i| {
            (f32::from(pixels[i]) / 255.0 - mean[i % yp.channels]) / std[i % yp.channels]
        });
    });
}

#[test]
fn dropout_keeps_its_share_and_is_its_own_gradient() {
    const N: usize = 100_003;
    let x = Random(4).values(N);
    let mut first = None;
    for isa in Isa::available() {
        with_isa(isa, || {
            let (mut y, mut dx, mut other) = (vec![f32::NAN; N], vec![f32::NAN; N], vec![f32::NAN; N]);
            dropout(11, 0.3, &x, &mut y);
            dropout(11, 0.3, &[1.0; N], &mut dx);
            dropout(12, 0.3, &[1.0; N], &mut other);
            let scale = 1.0f32 / (1.0 - 0.3);
            let kept = dx.iter().filter(|&&d| d == scale).count();
            // 5 standard deviations of a binomial count.
            assert!((kept as f64 - 0.7 * N as f64).abs() < 5.0 * (N as f64 * 0.21).sqrt(), "{isa}: {kept}");
            assert!(dx.iter().all(|&d| d == scale || d == 0.0), "{isa}");
            assert!(y.iter().zip(&x).zip(&dx).all(|((&y, &x), &d)| y == x * d), "{isa}");
            // Another seed is independent: 0.7 * 0.7 + 0.3 * 0.3 of the values agree.
            let same = dx.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(
                (same as f64 - 0.58 * N as f64).abs() < 5.0 * (N as f64 * 0.2436).sqrt(),
                "{isa}: {same}"
            );
            assert_eq!(*first.get_or_insert_with(|| y.clone()), y, "{isa}: the same on every path");
        });
    }
    let mut y = vec![f32::NAN; N];
    dropout(11, 0.0, &x, &mut y);
    assert_eq!(x, y);
}
