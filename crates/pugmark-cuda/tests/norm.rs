//! Batch and layer normalisation and sums by channel, against the processor's kernels or plain loops in f64.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod activations;

use activations::{Activation, Random, There, assert_close, assert_same, gpu, line, test_elements, wide};
use pugmark_cuda::{
    batch_norm_backward_apply, batch_norm_backward_reduce, batch_norm_prepare, channel_scratch_len,
    channel_stats, channel_sum, layer_norm_backward, layer_norm_forward, layer_norm_scratch_len,
    move_running, scale_shift,
};
use pugmark_kernels as cpu;
use pugmark_kernels::GradientTarget;

test_elements!(
    statistics_of_channels,
    sums_of_channels,
    normalised_with_residual_and_relu,
    first_pass_of_the_gradient,
    second_pass_of_the_gradient,
    layer_norm_and_its_gradients,
);

/// Pixels, channels, and values in front: three images of 7 x 5, one pixel, several chunks of few channels, and places that are
/// on no line of 16 bytes.
const CASES: [(usize, usize, usize); 9] = [
    (105, 1, 0),
    (105, 3, 0),
    (105, 6, 1),
    (105, 130, 0),
    (105, 768, 0),
    (105, 768, 1),
    (1, 64, 0),
    (7400, 6, 0),
    (1300, 96, 0),
];

const EPS: f32 = 1e-3;

/// A sum by channel in f64, and the sum of magnitudes.
fn channel_sums(channels: usize, values: impl Iterator<Item = f64>) -> (Vec<f64>, Vec<f64>) {
    let (mut sums, mut magnitudes) = (vec![0.0; channels], vec![0.0; channels]);
    for (i, value) in values.enumerate() {
        sums[i % channels] += value;
        magnitudes[i % channels] += value.abs();
    }
    (sums, magnitudes)
}

/// No more than some 16 values of these sizes are added up in f32 one after the other, and as many halves; each addition errs by
/// 6e-8 at most, and so do the few operations that make a term.
fn assert_sums(what: &str, values: &[f32], (sums, magnitudes): &(Vec<f64>, Vec<f64>)) {
    let sums: Vec<f32> = sums.iter().map(|&sum| sum as f32).collect();
    assert_close(what, values, &sums, |c| 2e-6 * magnitudes[c] as f32);
}

fn assert_statistics<E: Activation>(
    what: &str,
    channels: usize,
    behind: usize,
    x: &[E],
    mean_share: f64,
    var_share: f64,
) {
    let gpu = gpu();
    let pixels = x.len() / channels;
    let values = || x.iter().map(|x| f64::from(x.to_f32()));
    let (mut means, magnitudes) = channel_sums(channels, values());
    means.iter_mut().for_each(|mean| *mean /= pixels as f64);
    let (mut vars, _) =
        channel_sums(channels, values().enumerate().map(|(i, x)| (x - means[i % channels]).powi(2)));
    vars.iter_mut().for_each(|var| *var /= pixels as f64);
    let scratch = There::<f32>::poisoned(&gpu, 0, channel_scratch_len(pixels, channels));
    let [mean, var] = [(); 2].map(|()| There::<f32>::poisoned(&gpu, 0, channels));
    channel_stats(There::new(&gpu, behind, x).all(), channels, scratch.all(), mean.all(), var.all()).unwrap();
    let [means, vars] = [means, vars].map(|values| values.iter().map(|&v| v as f32).collect::<Vec<f32>>());
    assert_close(what, &mean.read(), &means, |c| (mean_share * magnitudes[c] / pixels as f64) as f32);
    assert_close(what, &var.read(), &vars, |c| (var_share * f64::from(vars[c])) as f32);
}

fn statistics_of_channels<E: Activation>() {
    for (pixels, channels, behind) in CASES {
        let x: Vec<E> = Random(1).values(pixels * channels);
        // Few additions in f32 of values as large as their mean distance from each other.
        assert_statistics(&format!("{pixels} x {channels}"), channels, behind, &x, 1e-6, 4e-6);
    }
}

/// Where plain sums of squares in f32 have no digit left.
#[test]
fn statistics_far_from_zero_and_behind_an_outlier() {
    let (pixels, channels) = (7400, 6);
    let spread: Vec<f32> = Random(2).values(pixels * channels);
    let far: Vec<f32> = spread.iter().map(|v| 10_000.0 + v).collect();
    // The mean of a chunk is rounded to 6e-8 of 10,000, which is 6e-4 of the deviation, and counts squared; the sums are
    // of differences from a value as far from the mean as the others.
    assert_statistics("far", channels, 0, &far, 1e-7, 1e-4);
    let mut outlier: Vec<f32> = spread.iter().map(|v| 1e-3 * v).collect();
    outlier[..channels].fill(1000.0);
    // All differences in the outlier's chunk are as large as it, 2,048 at most: their squares err by 6e-8 of 2,048 times
    // the outlier's share of the variance at most.
    assert_statistics("outlier", channels, 0, &outlier, 1e-3, 2.5e-4);
}

fn sums_of_channels<E: Activation>() {
    let gpu = gpu();
    for (pixels, channels, behind) in CASES {
        let dy: Vec<E> = Random(3).values(pixels * channels);
        let expected = channel_sums(channels, dy.iter().map(|v| f64::from(v.to_f32())));
        let scratch = There::<f32>::poisoned(&gpu, 0, channel_scratch_len(pixels, channels));
        let out = There::<f32>::poisoned(&gpu, 0, channels);
        channel_sum(There::new(&gpu, behind, &dy).all(), channels, scratch.all(), out.all()).unwrap();
        assert_sums(&format!("{pixels} x {channels}"), &out.read(), &expected);
    }
}

/// So many pixels that a thread sums more than the fewest.
#[test]
fn sums_of_many_pixels() {
    let gpu = gpu();
    let (pixels, channels) = (70_001, 128);
    let dy: Vec<f32> = Random(4).values(pixels * channels);
    let expected = channel_sums(channels, dy.iter().map(|&v| f64::from(v)));
    let scratch = There::<f32>::poisoned(&gpu, 0, channel_scratch_len(pixels, channels));
    let out = There::<f32>::poisoned(&gpu, 0, channels);
    channel_sum(There::new(&gpu, 0, &dy).all(), channels, scratch.all(), out.all()).unwrap();
    assert_sums("many", &out.read(), &expected);
}

#[test]
fn without_pixels_sums_are_zero_and_means_are_none() {
    let gpu = gpu();
    let (none, scratch) = (There::<f32>::new(&gpu, 0, &[]), There::<f32>::new(&gpu, 0, &[]));
    let [mean, var, sum] = [(); 3].map(|()| There::<f32>::new(&gpu, 0, &[1.0; 5]));
    channel_stats(none.all(), 5, scratch.all(), mean.all(), var.all()).unwrap();
    assert!(mean.read().iter().chain(&var.read()).all(|v| v.is_nan()));
    channel_sum(none.all(), 5, scratch.all(), sum.all()).unwrap();
    assert_eq!(sum.read(), [0.0; 5]);
}

/// The same operations in the same order: the same bits.
#[test]
fn coefficients_and_running_statistics() {
    let gpu = gpu();
    for channels in [1, 6, 130, 768] {
        let mut random = Random(5);
        let [mean, gamma, beta, bias] = [(); 4].map(|()| random.values::<f32>(channels));
        let var: Vec<f32> = random.values::<f32>(channels).iter().map(|v| v * v).collect();
        let [mean_at, var_at, gamma_at, beta_at, bias_at] =
            [&mean, &var, &gamma, &beta, &bias].map(|values| There::new(&gpu, 0, values));
        for with_bias in [false, true] {
            let [inverse, scale, shift] = [(); 3].map(|()| There::<f32>::poisoned(&gpu, 0, channels));
            let given = with_bias.then(|| bias_at.all());
            let (m, v, g, b) = (mean_at.all(), var_at.all(), gamma_at.all(), beta_at.all());
            batch_norm_prepare(m, v, g, b, EPS, given, inverse.all(), scale.all(), shift.all()).unwrap();
            let (inverse, scale, shift) = (inverse.read(), scale.read(), shift.read());
            for c in 0..channels {
                let expected = 1.0 / (var[c] + EPS).sqrt();
                assert_eq!((inverse[c], scale[c]), (expected, gamma[c] * expected));
                let bias = if with_bias { bias[c] } else { 0.0 };
                assert_eq!(shift[c], beta[c] - (mean[c] - bias) * scale[c]);
            }
        }
        move_running(mean_at.all(), var_at.all(), 0.1, 1.25, gamma_at.all(), beta_at.all()).unwrap();
        let (running_mean, running_var) = (gamma_at.read(), beta_at.read());
        for c in 0..channels {
            assert_eq!(running_mean[c], gamma[c] + 0.1 * (mean[c] - gamma[c]));
            assert_eq!(running_var[c], beta[c] + 0.1 * (var[c] * 1.25 - beta[c]));
        }
    }
}

/// The same operations in the same order, rounded once.
fn normalised_with_residual_and_relu<E: Activation>() {
    let gpu = gpu();
    for (pixels, channels, behind) in CASES {
        let (len, p) = (pixels * channels, line(pixels, channels));
        let mut random = Random(6);
        let (x, residual): (Vec<E>, Vec<E>) = (random.values(len), random.values(len));
        let (scale, shift): (Vec<f32>, Vec<f32>) = (random.values(channels), random.values(channels));
        let (x_at, residual_at) = (There::new(&gpu, behind, &x), There::new(&gpu, behind, &residual));
        let [scale_at, shift_at] = [&scale, &shift].map(|values| There::new(&gpu, behind, values));
        for (with_residual, relu) in [(false, false), (false, true), (true, false), (true, true)] {
            let (wide_residual, mut expected) = (wide(&residual), vec![0.0; len]);
            let added = with_residual.then_some((&wide_residual[..], p));
            cpu::scale_shift(1, &wide(&x), p, &scale, &shift, added, relu, &mut expected, p);
            let y = There::<E>::poisoned(&gpu, behind, len);
            let added = with_residual.then(|| residual_at.all());
            scale_shift(x_at.all(), scale_at.all(), shift_at.all(), added, relu, y.all()).unwrap();
            assert_same(&format!("{pixels} x {channels}"), &y.read(), &expected);
        }
    }
}

fn first_pass_of_the_gradient<E: Activation>() {
    let gpu = gpu();
    for (pixels, channels, behind) in CASES {
        let len = pixels * channels;
        let mut random = Random(7);
        let [dy, y, x] = [(); 3].map(|()| random.values::<E>(len));
        let [mean, inverse] = [(); 2].map(|()| random.values::<f32>(channels));
        let [dy_at, y_at, x_at] = [&dy, &y, &x].map(|values| There::new(&gpu, behind, values));
        let [mean_at, inverse_at] = [&mean, &inverse].map(|values| There::new(&gpu, 0, values));
        let scratch = There::<f32>::poisoned(&gpu, 0, channel_scratch_len(pixels, channels));
        for relu in [false, true] {
            let what = format!("{pixels} x {channels}, relu {relu}");
            let g = |i: usize| if relu && y[i].to_f32() <= 0.0 { 0.0 } else { f64::from(dy[i].to_f32()) };
            let xhat = |i: usize| {
                let c = i % channels;
                f64::from(x[i].to_f32() - mean[c]) * f64::from(inverse[c])
            };
            let [sum, product] = [(); 2].map(|()| There::<f32>::poisoned(&gpu, 0, channels));
            batch_norm_backward_reduce(
                dy_at.all(),
                relu.then(|| y_at.all()),
                x_at.all(),
                mean_at.all(),
                inverse_at.all(),
                scratch.all(),
                sum.all(),
                product.all(),
            )
            .unwrap();
            assert_sums(&what, &sum.read(), &channel_sums(channels, (0..len).map(g)));
            assert_sums(&what, &product.read(), &channel_sums(channels, (0..len).map(|i| g(i) * xhat(i))));
        }
    }
}

/// What is expected where a gradient is written or added to.
fn added<E: Activation>(accumulate: bool, before: &[E], gradient: &[f32]) -> Vec<f32> {
    before.iter().zip(gradient).map(|(b, g)| if accumulate { b.to_f32() + g } else { *g }).collect()
}

/// The same operations in the same order, rounded once.
fn second_pass_of_the_gradient<E: Activation>() {
    let gpu = gpu();
    for (pixels, channels, behind) in CASES {
        let (len, p) = (pixels * channels, line(pixels, channels));
        let mut random = Random(8);
        let [dy, y, x, before] = [(); 4].map(|()| random.values::<E>(len));
        let [mean, inverse, gamma, sum, product] = [(); 5].map(|()| random.values::<f32>(channels));
        let [dy_at, y_at, x_at] = [&dy, &y, &x].map(|values| There::new(&gpu, behind, values));
        let at = [&mean, &inverse, &gamma, &sum, &product].map(|values| There::new(&gpu, behind, values));
        let [mean_at, inverse_at, gamma_at, sum_at, product_at] = at.each_ref().map(There::all);
        let [wide_dy, wide_y, wide_x] = [&dy, &y, &x].map(|values| wide(values));
        for case in 0..32 {
            let [relu, running, accumulate, with_dx, with_dr] =
                [0, 1, 2, 3, 4].map(|bit| case >> bit & 1 == 1);
            let what = format!("{pixels} x {channels}, case {case:05b}");
            let (mut dx, mut dr) = (vec![0.0; len], vec![0.0; len]);
            let output = relu.then_some((&wide_y[..], p));
            let target = GradientTarget { gradient: &mut dr[..], plane: p, accumulate: false };
            cpu::batch_norm_backward_apply(
                1,
                &wide_dy,
                p,
                output,
                &wide_x,
                p,
                &mean,
                &inverse,
                &gamma,
                &sum,
                &product,
                running,
                &mut dx,
                p,
                Some(target),
            );
            let [dx_at, dr_at] = [accumulate, !accumulate].map(|accumulate| match accumulate {
                true => There::new(&gpu, behind, &before),
                false => There::poisoned(&gpu, behind, len),
            });
            batch_norm_backward_apply(
                dy_at.all(),
                relu.then(|| y_at.all()),
                x_at.all(),
                mean_at,
                inverse_at,
                gamma_at,
                sum_at,
                product_at,
                running,
                with_dx.then(|| (dx_at.all(), accumulate)),
                with_dr.then(|| (dr_at.all(), !accumulate)),
            )
            .unwrap();
            if with_dx {
                assert_same(&what, &dx_at.read(), &added(accumulate, &before, &dx));
            }
            if with_dr {
                assert_same(&what, &dr_at.read(), &added(!accumulate, &before, &dr));
            }
        }
    }
}

/// Sums over a pixel run in another order than the processor's. An output is made of terms of about its own size and of 1; a
/// gradient is a difference of terms of about 1, times the inverse deviation, 32 at most for this eps.
fn layer_norm_and_its_gradients<E: Activation>() {
    let gpu = gpu();
    let more = [(3, 3072, 0), (2, 4096, 1), (0, 96, 0)];
    for (pixels, channels, behind) in CASES.into_iter().chain(more) {
        let (len, p) = (pixels * channels, line(pixels, channels));
        let what = format!("{pixels} x {channels}");
        let mut random = Random(9);
        let [x, dy, before] = [(); 3].map(|()| random.values::<E>(len));
        let [gamma, beta] = [(); 2].map(|()| random.values::<f32>(channels));
        let [x_at, dy_at] = [&x, &dy].map(|values| There::new(&gpu, behind, values));
        let [gamma_at, beta_at] = [&gamma, &beta].map(|values| There::new(&gpu, behind, values));
        let (x, dy) = (wide(&x), wide(&dy));
        let mut y = vec![0.0; len];
        cpu::layer_norm_forward(1, &x, p, &gamma, &beta, EPS, &mut y, p);
        let y_at = There::<E>::poisoned(&gpu, behind, len);
        layer_norm_forward(x_at.all(), channels, gamma_at.all(), beta_at.all(), EPS, y_at.all()).unwrap();
        assert_close(&what, &y_at.read(), &y, |i| 1e-6 * (1.0 + y[i].abs()));

        let (mut dx, mut dgamma, mut dbeta) = (vec![0.0; len], vec![0.0; channels], vec![0.0; channels]);
        let into = Some(GradientTarget { gradient: &mut dx[..], plane: p, accumulate: false });
        cpu::layer_norm_backward(1, &dy, p, &x, p, &gamma, EPS, into, &mut dgamma, &mut dbeta);
        for (with_dx, accumulate) in [(true, false), (true, true), (false, false)] {
            let dx_at = if accumulate {
                There::new(&gpu, behind, &before)
            } else {
                There::poisoned(&gpu, behind, len)
            };
            let [dgamma_at, dbeta_at] = [(); 2].map(|()| There::<f32>::poisoned(&gpu, 0, channels));
            let scratch = There::<f32>::poisoned(&gpu, 0, layer_norm_scratch_len(pixels, channels));
            layer_norm_backward(
                dy_at.all(),
                x_at.all(),
                channels,
                gamma_at.all(),
                EPS,
                with_dx.then(|| (dx_at.all(), accumulate)),
                scratch.all(),
                dgamma_at.all(),
                dbeta_at.all(),
            )
            .unwrap();
            if with_dx {
                let expected = added(accumulate, &before, &dx);
                assert_close(&what, &dx_at.read(), &expected, |i| 1e-5 * (1.0 + dx[i].abs()));
            }
            // Terms are 2 at most, and are added up a few at a time here, a row of pixels at a time there.
            let off = 1e-6 * pixels as f32;
            assert_close(&what, &dgamma_at.read(), &dgamma, |_| off);
            assert_close(&what, &dbeta_at.read(), &dbeta, |_| off);
        }
    }
}
