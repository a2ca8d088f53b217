//! Layer normalisation against plain loops in f64, on every path this machine has.

mod common;

use common::{
    Expected, Random, Sum, UNIT, assert_close, assert_zero_border, interior, plane, poisoned, test_elements,
};
use pugmark_kernels::*;

/// Images, height, width and channels: fewer than a vector, odd, whole vectors, none, and enough for several tasks.
const CASES: [(usize, usize, usize, usize); 7] =
    [(2, 3, 2, 1), (2, 5, 7, 3), (1, 1, 1, 48), (3, 4, 5, 37), (0, 3, 3, 2), (2, 28, 29, 96), (3, 7, 7, 200)];

const EPS: f32 = 1e-3;

test_elements!(outputs_and_gradients_are_those_of_a_plain_loop);

fn values<E: Element>(values: &[E], images: usize, p: Plane) -> Vec<f64> {
    interior(images, p).into_iter().map(|at| f64::from(values[at].to_f32())).collect()
}

fn outputs_and_gradients_are_those_of_a_plain_loop<E: Element>() {
    for (images, height, width, channels) in CASES {
        let [xp, yp, dyp, dxp] = [1, 0, 2, 1].map(|border| plane(height, width, channels, border));
        let mut random = Random(7);
        let (x, dy): (Vec<E>, Vec<E>) = (random.tensor(images, xp), random.tensor(images, dyp));
        let before: Vec<E> = random.tensor(images, dxp);
        let (gamma, beta) = (random.values(channels), random.values(channels));
        let expected =
            Reference::new(channels, &values(&x, images, xp), &values(&dy, images, dyp), &gamma, &beta);
        for isa in Isa::available() {
            let what = format!("{images} x {height} x {width} x {channels} on {isa}");
            with_isa(isa, || {
                let mut y = poisoned(images, yp);
                layer_norm_forward(images, &x, xp, &gamma, &beta, EPS, &mut y, yp);
                assert_close(&what, &y, &interior(images, yp), &expected.y);
                assert_zero_border(&what, &y, images, yp);
                for accumulate in [false, true] {
                    let mut dx = if accumulate { before.clone() } else { poisoned(images, dxp) };
                    let (mut dgamma, mut dbeta) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
                    let target = GradientTarget { gradient: &mut dx, plane: dxp, accumulate };
                    let into = Some(target);
                    layer_norm_backward(images, &dy, dyp, &x, xp, &gamma, EPS, into, &mut dgamma, &mut dbeta);
                    let mut gradient = expected.dx.clone();
                    for (e, before) in gradient.iter_mut().zip(values(&before, images, dxp)) {
                        e.value += if accumulate { before } else { 0.0 };
                        e.tolerance += UNIT * before.abs();
                    }
                    assert_close(&what, &dx, &interior(images, dxp), &gradient);
                    assert_zero_border(&what, &dx, images, dxp);
                    let all: Vec<usize> = (0..channels).collect();
                    assert_close(&what, &dgamma, &all, &expected.dgamma);
                    assert_close(&what, &dbeta, &all, &expected.dbeta);
                    let (mut alone_gamma, mut alone_beta) = (dgamma.clone(), dbeta.clone());
                    layer_norm_backward(
                        images,
                        &dy,
                        dyp,
                        &x,
                        xp,
                        &gamma,
                        EPS,
                        None,
                        &mut alone_gamma,
                        &mut alone_beta,
                    );
                    assert!(alone_gamma == dgamma && alone_beta == dbeta, "{what}");
                }
            });
        }
    }
}

struct Reference {
    y: Vec<Expected>,
    dx: Vec<Expected>,
    dgamma: Vec<Expected>,
    dbeta: Vec<Expected>,
}

impl Reference {
    fn new(channels: usize, x: &[f64], dy: &[f64], gamma: &[f32], beta: &[f32]) -> Self {
        // A sum of C values is off by at most C / 16 + 5 roundings in 16 lanes; mean, variance and root add a few; values are
        // at most 2 and the inverse deviation at most 1 / sqrt(EPS) = 32, where a pixel has one channel.
        let roundings = (channels / 16 + 12) as f64 * UNIT;
        let mut own = Reference { y: vec![], dx: vec![], dgamma: vec![], dbeta: vec![] };
        let (mut scale_sums, mut shift_sums) =
            (vec![Sum::default(); channels], vec![Sum::default(); channels]);
        let mut largest = 0f64;
        for (x, dy) in x.chunks(channels).zip(dy.chunks(channels)) {
            let count = channels as f64;
            let mean = x.iter().sum::<f64>() / count;
            let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
            let inverse = 1.0 / (var + f64::from(EPS)).sqrt();
            largest = largest.max(inverse);
            let xhat: Vec<f64> = x.iter().map(|x| (x - mean) * inverse).collect();
            let g: Vec<f64> = dy.iter().zip(gamma).map(|(dy, &gamma)| dy * f64::from(gamma)).collect();
            let sum = g.iter().sum::<f64>() / count;
            let product = g.iter().zip(&xhat).map(|(g, x)| g * x).sum::<f64>() / count;
            for c in 0..channels {
                let value = xhat[c] * f64::from(gamma[c]) + f64::from(beta[c]);
                own.y.push(Expected { value, tolerance: roundings * (4.0 * inverse + 2.0) });
                let value = (g[c] - sum - xhat[c] * product) * inverse;
                own.dx.push(Expected { value, tolerance: 4.0 * roundings * (1.0 + inverse) * inverse });
                scale_sums[c].add(dy[c] * xhat[c]);
                shift_sums[c].add(dy[c]);
            }
        }
        let pixels = x.len() as f64 / channels as f64;
        for (scale, shift) in scale_sums.into_iter().zip(shift_sums) {
            let mut expected = scale.expected();
            expected.tolerance += pixels * roundings * (4.0 * largest + 2.0);
            own.dgamma.push(expected);
            own.dbeta.push(shift.expected());
        }
        own
    }
}
