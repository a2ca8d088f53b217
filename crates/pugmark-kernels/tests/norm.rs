//! Batch normalisation and channel sums against plain loops in f64, on every path this machine has.

mod common;

use common::{
    Expected, Random, Sum, UNIT, assert_close, assert_stats, assert_zero_border, interior, plane, poisoned,
    test_elements,
};
use pugmark_kernels::*;

/// Images, height, width, channels and whether a ReLU sits on top: odd sizes, and enough values for several
/// tasks.
const CASES: [(usize, usize, usize, usize, bool); 7] = [
    (2, 3, 1, 1, true),
    (2, 5, 7, 3, false),
    (3, 4, 13, 16, true),
    (1, 29, 15, 33, true),
    (2, 2, 5, 300, false),
    (4, 28, 28, 40, true),
    (3, 20, 29, 64, false),
];

/// One batch normalisation with everything its two passes need, each tensor with a border of its own.
struct Problem<E> {
    images: usize,
    planes: [Plane; 5],
    x: Vec<E>,
    y: Vec<E>,
    dy: Vec<E>,
    residual: Vec<E>,
    mean: Vec<f32>,
    invstd: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    relu: bool,
}

impl<E: Element> Problem<E> {
    fn new((images, height, width, channels, relu): (usize, usize, usize, usize, bool), seed: u64) -> Self {
        let planes = [0, 1, 2, 1, 0].map(|border| plane(height, width, channels, border));
        let [xp, yp, dyp, rp, _] = planes;
        let mut random = Random(seed);
        let (x, residual): (Vec<E>, Vec<E>) = (random.tensor(images, xp), random.tensor(images, rp));
        let (mut mean, mut var) = (vec![0.0; channels], vec![0.0; channels]);
        let mut stats = ChannelStats::new(channels);
        channel_stats(images, &x, xp, &mut stats);
        stats.finish(images * xp.pixels(), &mut mean, &mut var);
        let invstd: Vec<f32> = var.iter().map(|v| 1.0 / (v + 1e-3).sqrt()).collect();
        let (gamma, beta) = (random.values(channels), random.values(channels));
        let scale: Vec<f32> = (0..channels).map(|c| gamma[c] * invstd[c]).collect();
        let shift: Vec<f32> = (0..channels).map(|c| beta[c] - mean[c] * scale[c]).collect();
        let mut y = poisoned(images, yp);
        scale_shift(images, &x, xp, &scale, &shift, Some((&residual, rp)), relu, &mut y, yp);
        let dy = random.tensor(images, dyp);
        Problem { images, planes, x, y, dy, residual, mean, invstd, gamma, beta, relu }
    }

    fn masking_output(&self) -> Option<(&[E], Plane)> {
        self.relu.then_some((&self.y, self.planes[1]))
    }

    fn inside(&self, values: &[E], p: Plane) -> Vec<f64> {
        interior(self.images, p).into_iter().map(|at| f64::from(values[at].to_f32())).collect()
    }

    /// The gradient behind the ReLU.
    fn g(&self) -> Vec<f64> {
        let (y, dy) = (self.inside(&self.y, self.planes[1]), self.inside(&self.dy, self.planes[2]));
        dy.iter().zip(&y).map(|(&dy, &y)| if self.relu && y <= 0.0 { 0.0 } else { dy }).collect()
    }

    fn reduce(&self) -> (Vec<f32>, Vec<f32>) {
        let [xp, _, dyp, ..] = self.planes;
        let (mut sum_g, mut sum_gx) = (vec![f32::NAN; xp.channels], vec![f32::NAN; xp.channels]);
        batch_norm_backward_reduce(
            self.images,
            &self.dy,
            dyp,
            self.masking_output(),
            &self.x,
            xp,
            &self.mean,
            &self.invstd,
            &mut sum_g,
            &mut sum_gx,
        );
        (sum_g, sum_gx)
    }

    fn apply(&self, frozen: bool, residual: Option<GradientTarget<'_, E>>) -> Vec<E> {
        let [xp, _, dyp, _, dxp] = self.planes;
        let (sum_g, sum_gx) = self.reduce();
        let mut dx = poisoned(self.images, dxp);
        batch_norm_backward_apply(
            self.images,
            &self.dy,
            dyp,
            self.masking_output(),
            &self.x,
            xp,
            &self.mean,
            &self.invstd,
            &self.gamma,
            &sum_g,
            &sum_gx,
            frozen,
            &mut dx,
            dxp,
            residual,
        );
        dx
    }
}

fn each_problem<E: Element>(f: impl Fn(&str, &Problem<E>)) {
    for (i, case) in CASES.into_iter().enumerate() {
        for isa in Isa::available() {
            with_isa(isa, || f(&format!("{case:?} on {isa}"), &Problem::new(case, i as u64)));
        }
    }
}

test_elements!(
    scale_shift_with_and_without_residual,
    channel_statistics,
    backward_sums,
    backward_input_and_residual
);

fn scale_shift_with_and_without_residual<E: Element>() {
    each_problem::<E>(|what, p| {
        let [xp, yp, _, rp, _] = p.planes;
        let channels = xp.channels;
        let scale: Vec<f32> = (0..channels).map(|c| p.gamma[c] * p.invstd[c]).collect();
        let shift: Vec<f32> = (0..channels).map(|c| p.beta[c] - p.mean[c] * scale[c]).collect();
        let (x, r) = (p.inside(&p.x, xp), p.inside(&p.residual, rp));
        for with_residual in [false, true] {
            for relu in [false, true] {
                let mut y = poisoned(p.images, yp);
                let residual = with_residual.then_some((&p.residual[..], rp));
                scale_shift(p.images, &p.x, xp, &scale, &shift, residual, relu, &mut y, yp);
                let expected: Vec<Expected> = (0..x.len())
                    .map(|i| {
                        let mut sum = Sum::default();
                        sum.add(x[i] * f64::from(scale[i % channels]));
                        sum.add(f64::from(shift[i % channels]));
                        sum.add(if with_residual { r[i] } else { 0.0 });
                        let expected = sum.expected();
                        let value = if relu { expected.value.max(0.0) } else { expected.value };
                        Expected { value, ..expected }
                    })
                    .collect();
                assert_close(what, &y, &interior(p.images, yp), &expected);
                assert_zero_border(what, &y, p.images, yp);
            }
        }
    });
}

fn channel_statistics<E: Element>() {
    each_problem::<E>(|what, p| {
        let xp = p.planes[0];
        let mut stats = ChannelStats::new(xp.channels);
        channel_stats(p.images, &p.residual, p.planes[3], &mut stats);
        stats.clear();
        channel_stats(p.images, &p.x, xp, &mut stats);
        assert_stats(what, &stats, &p.x, p.images, xp);

        let mut sums = vec![Sum::default(); xp.channels];
        for (i, x) in p.inside(&p.x, xp).into_iter().enumerate() {
            sums[i % xp.channels].add(x);
        }
        let mut out = vec![f32::NAN; xp.channels];
        channel_sum(p.images, &p.x, xp, &mut out);
        let expected: Vec<Expected> = sums.into_iter().map(Sum::expected).collect();
        assert_close(what, &out, &(0..xp.channels).collect::<Vec<_>>(), &expected);
    });
}

#[test]
fn variance_of_a_constant_is_zero() {
    let p = plane(9, 9, 3, 1);
    let mut stats = ChannelStats::new(3);
    let x: Vec<f32> = vec![1e3 + 0.1; p.len()];
    channel_stats(1, &x, p, &mut stats);
    let (mut mean, mut var) = ([f32::NAN; 3], [f32::NAN; 3]);
    stats.finish(81, &mut mean, &mut var);
    // Rounding may leave the mean square below the squared mean: never a negative variance.
    assert!(var.iter().all(|&v| (0.0..1.0).contains(&v)), "{var:?}");
}

fn backward_sums<E: Element>() {
    each_problem::<E>(|what, p| {
        let (xp, channels) = (p.planes[0], p.planes[0].channels);
        let mut sums = vec![(Sum::default(), Sum::default()); channels];
        for (i, (g, x)) in p.g().into_iter().zip(p.inside(&p.x, xp)).enumerate() {
            let c = i % channels;
            sums[c].0.add(g);
            sums[c].1.add(g * (x - f64::from(p.mean[c])) * f64::from(p.invstd[c]));
        }
        let (sum_g, sum_gx) = p.reduce();
        let offsets: Vec<usize> = (0..channels).collect();
        assert_close(what, &sum_g, &offsets, &sums.iter().map(|s| s.0.expected()).collect::<Vec<_>>());
        assert_close(what, &sum_gx, &offsets, &sums.iter().map(|s| s.1.expected()).collect::<Vec<_>>());
    });
}

fn backward_input_and_residual<E: Element>() {
    each_problem::<E>(|what, p| {
        let [xp, _, _, rp, dxp] = p.planes;
        let channels = xp.channels;
        let (sum_g, sum_gx) = p.reduce();
        let (g, x) = (p.g(), p.inside(&p.x, xp));
        let count = (p.images * xp.pixels()) as f64;
        let expected = |frozen: bool| -> Vec<Expected> {
            (0..g.len())
                .map(|i| {
                    let c = i % channels;
                    let scale = f64::from(p.gamma[c]) * f64::from(p.invstd[c]);
                    let xhat = (x[i] - f64::from(p.mean[c])) * f64::from(p.invstd[c]);
                    let parts = if frozen {
                        [g[i], 0.0, 0.0]
                    } else {
                        [g[i], -f64::from(sum_g[c]) / count, -xhat * f64::from(sum_gx[c]) / count]
                    };
                    let magnitude = parts.iter().map(|p| p.abs()).sum::<f64>() + xhat.abs();
                    // A dozen roundings, in the coefficients and in the sum.
                    Expected {
                        value: scale * parts.iter().sum::<f64>(),
                        tolerance: 12.0 * UNIT * scale.abs() * magnitude,
                    }
                })
                .collect()
        };
        let before: Vec<E> = Random(8).tensor(p.images, rp);
        for frozen in [false, true] {
            let dx = p.apply(frozen, None);
            assert_close(what, &dx, &interior(p.images, dxp), &expected(frozen));
            assert_zero_border(what, &dx, p.images, dxp);
            for accumulate in [false, true] {
                let mut gradient = if accumulate { before.clone() } else { poisoned(p.images, rp) };
                let residual = GradientTarget { gradient: &mut gradient, plane: rp, accumulate };
                assert_eq!(p.apply(frozen, Some(residual)), dx, "{what}");
                for (i, at) in interior(p.images, rp).into_iter().enumerate() {
                    let expected = if accumulate { before[at].to_f32() + g[i] as f32 } else { g[i] as f32 };
                    assert_eq!(gradient[at], E::from_f32(expected), "{what}: residual gradient {i}");
                }
                assert_zero_border(what, &gradient, p.images, rp);
            }
        }
    });
}

/// The loss `sum(dy * relu(batch_norm(x) + residual))` in f64.
fn loss(p: &Problem<f32>, x: &[f64]) -> f64 {
    let channels = p.planes[0].channels;
    let count = (x.len() / channels) as f64;
    let (r, dy) = (p.inside(&p.residual, p.planes[3]), p.inside(&p.dy, p.planes[2]));
    (0..channels)
        .map(|c| {
            let values: Vec<f64> = x.iter().skip(c).step_by(channels).copied().collect();
            let mean = values.iter().sum::<f64>() / count;
            let var = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            let normalised = values.iter().map(|v| (v - mean) / (var + 1e-3).sqrt());
            normalised
                .enumerate()
                .map(|(i, xhat)| {
                    let at = i * channels + c;
                    let y = f64::from(p.gamma[c]) * xhat + f64::from(p.beta[c]) + r[at];
                    dy[at] * if p.relu { y.max(0.0) } else { y }
                })
                .sum::<f64>()
        })
        .sum()
}

#[test]
fn backward_agrees_with_finite_differences() {
    const STEP: f64 = 1e-6;
    for relu in [false, true] {
        let p = Problem::new((2, 3, 5, 3, relu), 42);
        let dx = p.inside(&p.apply(false, None), p.planes[4]);
        let x = p.inside(&p.x, p.planes[0]);
        for i in 0..x.len() {
            let at = |step: f64| {
                let mut x = x.clone();
                x[i] += step;
                loss(&p, &x)
            };
            let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            // Gradients are of order 1: f32 rounding in a few sums, and 1e-9 from the differences.
            assert!((dx[i] - slope).abs() < 2e-6, "relu {relu}, value {i}: {} for {slope}", dx[i]);
        }
    }
}
