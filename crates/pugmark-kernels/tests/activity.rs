//! Statistics of activations and parameters against plain loops in f64.

mod common;

use common::{Random, UNIT, interior, plane, test_elements};
use pugmark_kernels::*;

fn activity_is_that_of_a_plain_loop<E: Element>() {
    for (images, height, width, channels, limits) in [
        (2, 3, 1, 1, (f32::NEG_INFINITY, 0.0)),
        (3, 29, 15, 33, (f32::NEG_INFINITY, 0.0)),
        (4, 28, 28, 40, (-0.5, 0.25)),
        (1, 1, 1, 300, (-0.5, 0.25)),
    ] {
        let p = plane(height, width, channels, 1);
        let x: Vec<E> = Random(7).tensor(images, p);
        let activity = channel_activity(images, &x, p, limits);
        for c in 0..channels {
            let values: Vec<f64> = interior(images, p)
                .into_iter()
                .skip(c)
                .step_by(channels)
                .map(|at| f64::from(x[at].to_f32()))
                .collect();
            let (low, high) = (f64::from(limits.0), f64::from(limits.1));
            let outside = values.iter().filter(|&&v| v > high || v < low).count();
            assert_eq!(activity.outside[c], outside as f64, "channel {c}");
            let square: f64 = values.iter().map(|v| v * v).sum();
            // Blocks of some hundreds of values are added up in f32 before f64 takes over.
            let close = |a: f64, b: f64| (a - b).abs() <= 300.0 * UNIT * (square + 1.0);
            assert!(close(activity.sum[c], values.iter().sum()), "channel {c}");
            assert!(close(activity.square[c], square), "channel {c}");
        }
    }
}

fn what_is_no_number_shows_in_its_channel<E: Element>() {
    let p = plane(5, 4, 3, 2);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x: Vec<E> = Random(1).tensor(2, p);
        x[p.len() + p.offset(3, 2) + 1] = E::from_f32(bad);
        let activity = channel_activity(2, &x, p, (f32::NEG_INFINITY, f32::INFINITY));
        assert_eq!(activity.sum.iter().map(|sum| sum.is_finite()).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(activity.outside, [0.0; 3]);
    }
}

test_elements!(activity_is_that_of_a_plain_loop, what_is_no_number_shows_in_its_channel);

#[test]
fn magnitudes_and_distances_are_those_of_a_plain_loop() {
    for n in [0, 1, 15, 16, 17, 100_003] {
        let mut random = Random(n as u64);
        let (mut a, b) = (random.values(n), random.values(n));
        a.iter_mut().step_by(5).for_each(|value| *value = 0.0);
        let sum = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>();
        let of = |i: usize| f64::from(a[i]);
        let Magnitude { absolute, square, zeros } = magnitude(&a);
        // All is f64: only the order of the additions differs.
        let close = |x: f64, y: f64| (x - y).abs() <= 1e-12 * (n as f64 + 1.0);
        assert!(close(absolute, sum(&|i| of(i).abs())) && close(square, sum(&|i| of(i).powi(2))), "{n}");
        assert_eq!(zeros, n.div_ceil(5) as f64);
        let distance = sum(&|i| (of(i) - f64::from(b[i])).powi(2));
        assert!(close(squared_distance(&a, &b), distance), "{n}");
    }
}
