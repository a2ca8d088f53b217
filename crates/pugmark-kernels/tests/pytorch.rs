//! Every operator against PyTorch, which computed in float64 and rounded once; see `fixtures/README.md`.

#![expect(clippy::unwrap_used, reason = "a fixture that cannot be read fails the test")]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::linear_packed;
use pugmark_kernels::*;
use safetensors::{Dtype, SafeTensors};

/// Ours sum up to a few hundred products in f32: 1e-5 of the largest value is a few of its last places.
const TOLERANCE: f32 = 1e-5;

struct Fixture(Vec<u8>);

impl Fixture {
    fn open(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
        Self(std::fs::read(folder.join(format!("{name}.safetensors"))).unwrap())
    }

    fn cases(&self) -> Vec<Case<'_>> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let names: BTreeSet<&str> = file.names().into_iter().map(|n| n.split('.').next().unwrap()).collect();
        assert!(!names.is_empty());
        names
            .into_iter()
            .map(|name| Case { fixture: self, name: name.into(), tolerance: TOLERANCE })
            .collect()
    }
}

struct Case<'a> {
    fixture: &'a Fixture,
    name: String,
    tolerance: f32,
}

impl Case<'_> {
    fn find(&self, tensor: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        let file = SafeTensors::deserialize(&self.fixture.0).unwrap();
        let tensor = file.tensor(&format!("{}.{tensor}", self.name)).ok()?;
        let data = tensor.data();
        let values = match tensor.dtype() {
            Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
            Dtype::I64 => {
                data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32).collect()
            }
            other => panic!("{other:?}"),
        };
        Some((tensor.shape().to_vec(), values))
    }

    fn values(&self, tensor: &str) -> Vec<f32> {
        self.find(tensor).unwrap_or_else(|| panic!("{} has no {tensor}", self.name)).1
    }

    fn scalar(&self, tensor: &str) -> f32 {
        self.values(tensor)[0]
    }

    /// An NCHW tensor as padded NHWC, its border zero.
    fn planes(&self, tensor: &str, border: usize) -> (usize, Plane, Vec<f32>) {
        let (shape, values) = self.find(tensor).unwrap();
        let [images, channels, height, width] = shape[..] else { panic!("{tensor}: {shape:?}") };
        let plane = Plane { height, width, channels, border };
        let mut padded = vec![0.0; images * plane.len()];
        for (index, value) in values.into_iter().enumerate() {
            padded[position(&plane, index)] = value;
        }
        (images, plane, padded)
    }

    /// Compares padded NHWC with an NCHW tensor, and the border with zero.
    #[track_caller]
    fn check_planes(&self, tensor: &str, plane: &Plane, found: &[f32]) {
        let expected = self.values(tensor);
        let interior: Vec<f32> = (0..expected.len()).map(|i| found[position(plane, i)]).collect();
        self.check(tensor, &interior, &expected);
        let sum = |values: &[f32]| values.iter().map(|v| f64::from(v.abs())).sum::<f64>();
        assert!(
            (sum(found) - sum(&interior)).abs() <= 1e-9,
            "{} {tensor}: the border is not zero",
            self.name
        );
    }

    #[track_caller]
    fn check(&self, tensor: &str, found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        let scale = expected.iter().fold(1.0_f32, |m, v| m.max(v.abs()));
        for (f, e) in found.iter().zip(expected) {
            let isa = Isa::active();
            assert!(
                (f - e).abs() <= self.tolerance * scale,
                "{} {tensor} on {isa}: {f} against {e}",
                self.name
            );
        }
    }

    #[track_caller]
    fn check_values(&self, tensor: &str, found: &[f32]) {
        self.check(tensor, found, &self.values(tensor));
    }
}

/// Where the NCHW entry `index` lies in padded NHWC.
fn position(plane: &Plane, index: usize) -> usize {
    let (rest, x) = (index / plane.width, index % plane.width);
    let (rest, y) = (rest / plane.height, rest % plane.height);
    let (image, channel) = (rest / plane.channels, rest % plane.channels);
    image * plane.len() + plane.offset(y, x) + channel
}

/// Poison: what a kernel does not write shows up in every sum.
fn poisoned(images: usize, plane: &Plane) -> Vec<f32> {
    vec![f32::NAN; images * plane.len()]
}

fn hwio(shape: &ConvShape, oihw: &[f32]) -> Vec<f32> {
    let (taps, i, o) = (shape.kernel.0 * shape.kernel.1, shape.in_channels, shape.out_channels);
    let mut values = vec![0.0; oihw.len()];
    for (index, &value) in oihw.iter().enumerate() {
        let (out, input, tap) = (index / taps / i, index / taps % i, index % taps);
        values[(tap * i + input) * o + out] = value;
    }
    values
}

fn each(fixture: &str, run: impl Fn(&mut Case<'_>)) {
    let fixture = Fixture::open(fixture);
    for isa in Isa::available() {
        with_isa(isa, || fixture.cases().iter_mut().for_each(&run));
    }
}

#[test]
fn convolution() {
    each("op_conv2d", |case| {
        let (weight_shape, weight) = case.find("weight").unwrap();
        let [out_channels, in_channels, height, width] = weight_shape[..] else { panic!() };
        let (stride, padding) = (case.scalar("stride") as usize, case.scalar("padding") as usize);
        let shape = ConvShape { kernel: (height, width), stride, padding, in_channels, out_channels };
        let weight = hwio(&shape, &weight);
        let (images, xp, x) = case.planes("input", shape.input_border());
        let (_, dyp, dy) = case.planes("grad_output", shape.gradient_border());
        let yp = Plane { border: 1, ..dyp };

        let mut packed = vec![0.0; packed_len_forward::<f32>(&shape)];
        pack_forward(&shape, &weight, &mut packed);
        let bias = case.find("bias").map(|(_, bias)| bias);
        let epilogue = Epilogue { bias: bias.as_deref(), ..Epilogue::default() };
        let mut y = poisoned(images, &yp);
        conv2d_forward(&shape, images, &x, xp, &packed, &mut y, yp, &epilogue, None);
        case.check_planes("output", &yp, &y);

        let mut packed = vec![0.0; packed_len_backward::<f32>(&shape)];
        pack_backward(&shape, &weight, &mut packed);
        let mut dx = poisoned(images, &xp);
        conv2d_backward_data(&shape, images, &dy, dyp, &packed, &mut dx, xp, false);
        case.check_planes("grad_input", &xp, &dx);

        let mut dw = vec![f32::NAN; weight.len()];
        conv2d_backward_weight(&shape, images, &x, xp, &dy, dyp, &mut dw, &mut []);
        case.check("grad_weight", &dw, &hwio(&shape, &case.values("grad_weight")));
        if bias.is_some() {
            let mut db = vec![f32::NAN; out_channels];
            channel_sum(images, &dy, dyp, &mut db);
            case.check_values("grad_bias", &db);
        }
    });
}

#[test]
fn depthwise_convolution() {
    each("op_depthwise_conv2d", |case| {
        let (weight_shape, weight) = case.find("weight").unwrap();
        let [channels, _, kernel, _] = weight_shape[..] else { panic!() };
        let (stride, padding) = (case.scalar("stride") as usize, case.scalar("padding") as usize);
        let shape = DepthwiseShape { kernel, stride, padding, channels };
        // `[channels][1][kernel][kernel]` is a convolution from one channel.
        let layout =
            ConvShape { kernel: (kernel, kernel), stride, padding, in_channels: 1, out_channels: channels };
        let weight = hwio(&layout, &weight);
        let (images, xp, x) = case.planes("input", shape.input_border());
        let (_, dyp, dy) = case.planes("grad_output", shape.gradient_border());
        let yp = Plane { border: 1, ..dyp };

        let mut packed = vec![f32::NAN; shape.packed_len()];
        depthwise_pack(&shape, &weight, &mut packed);
        let bias = case.find("bias").map(|(_, bias)| bias);
        let mut y = poisoned(images, &yp);
        depthwise_forward(&shape, images, &x, xp, &packed, bias.as_deref(), &mut y, yp);
        case.check_planes("output", &yp, &y);

        depthwise_pack_backward(&shape, &weight, &mut packed);
        let mut dx = poisoned(images, &xp);
        let target = GradientTarget { gradient: &mut dx, plane: xp, accumulate: false };
        depthwise_backward_data(&shape, images, &dy, dyp, &packed, target);
        case.check_planes("grad_input", &xp, &dx);

        let mut dw = vec![f32::NAN; weight.len()];
        depthwise_backward_weight(&shape, images, &x, xp, &dy, dyp, &mut dw);
        case.check("grad_weight", &dw, &hwio(&layout, &case.values("grad_weight")));
    });
}

#[test]
fn batch_norm() {
    each("op_batch_norm", |case| {
        let training = case.name.starts_with("train");
        let (images, xp, x) = case.planes("input", 1);
        let (_, dyp, dy) = case.planes("grad_output", 0);
        let (gamma, beta, eps) = (case.values("weight"), case.values("bias"), case.scalar("eps"));
        let count = images * xp.pixels();
        let (mut mean, mut var) = (case.values("running_mean"), case.values("running_var"));
        if training {
            let mut stats = ChannelStats::new(xp.channels);
            channel_stats(images, &x, xp, &mut stats);
            stats.finish(count, &mut mean, &mut var);
            let momentum = case.scalar("momentum");
            let unbiased = count as f32 / (count as f32 - 1.0);
            let blend = |running: Vec<f32>, batch: &[f32], factor: f32| -> Vec<f32> {
                running.iter().zip(batch).map(|(r, b)| r + momentum * (b * factor - r)).collect()
            };
            case.check_values("running_mean_after", &blend(case.values("running_mean"), &mean, 1.0));
            case.check_values("running_var_after", &blend(case.values("running_var"), &var, unbiased));
        }
        if training {
            // The variance is a difference of squares: it keeps f32's precision less mean^2 / variance.
            let loss = mean.iter().zip(&var).map(|(m, v)| m * m / v).fold(0.0, f32::max);
            case.tolerance = TOLERANCE.max(f32::EPSILON * loss);
        }
        let invstd: Vec<f32> = var.iter().map(|v| 1.0 / (v + eps).sqrt()).collect();
        let scale: Vec<f32> = gamma.iter().zip(&invstd).map(|(g, i)| g * i).collect();
        let shift: Vec<f32> = (0..scale.len()).map(|c| beta[c] - mean[c] * scale[c]).collect();
        let mut y = poisoned(images, &xp);
        scale_shift(images, &x, xp, &scale, &shift, None, false, &mut y, xp);
        case.check_planes("output", &xp, &y);

        let (mut sum_g, mut sum_gx) = (vec![f32::NAN; xp.channels], vec![f32::NAN; xp.channels]);
        batch_norm_backward_reduce(images, &dy, dyp, None, &x, xp, &mean, &invstd, &mut sum_g, &mut sum_gx);
        case.check_values("grad_bias", &sum_g);
        case.check_values("grad_weight", &sum_gx);
        let mut dx = poisoned(images, &xp);
        batch_norm_backward_apply(
            images, &dy, dyp, None, &x, xp, &mean, &invstd, &gamma, &sum_g, &sum_gx, !training, &mut dx, xp,
            None,
        );
        case.check_planes("grad_input", &xp, &dx);
    });
}

#[test]
fn relu_and_add() {
    each("op_relu", |case| {
        let (images, xp, x) = case.planes("input", 0);
        let (_, dyp, dy) = case.planes("grad_output", 2);
        let yp = Plane { border: 1, ..xp };
        let (mut y, mut dx) = (poisoned(images, &yp), poisoned(images, &xp));
        relu_forward(images, &x, xp, &mut y, yp);
        case.check_planes("output", &yp, &y);
        relu_backward(images, &dy, dyp, &y, yp, &mut dx, xp, false);
        case.check_planes("grad_input", &xp, &dx);
    });
    each("op_add", |case| {
        let ((images, ap, a), (_, bp, b)) = (case.planes("input", 0), case.planes("other", 2));
        let (_, dyp, dy) = case.planes("grad_output", 1);
        let (mut y, mut da) = (poisoned(images, &bp), poisoned(images, &ap));
        add_forward(images, &a, ap, &b, bp, false, &mut y, bp);
        case.check_planes("output", &bp, &y);
        copy_plane(images, &dy, dyp, &mut da, ap);
        case.check_planes("grad_input", &ap, &da);
        let mut db = vec![0.0; b.len()];
        accumulate(images, &dy, dyp, &mut db, bp);
        case.check_planes("grad_other", &bp, &db);
    });
}

#[test]
fn layer_norm() {
    each("op_layer_norm", |case| {
        let (images, xp, x) = case.planes("input", 1);
        let (_, dyp, dy) = case.planes("grad_output", 2);
        let (gamma, beta, eps) = (case.values("weight"), case.values("bias"), case.scalar("eps"));
        if case.name == "offset" {
            // Inputs of 30 have 1.9e-6 as their last place, against deviations of about 1.
            case.tolerance = 4e-6;
        }
        let yp = Plane { border: 0, ..xp };
        let mut y = poisoned(images, &yp);
        layer_norm_forward(images, &x, xp, &gamma, &beta, eps, &mut y, yp);
        case.check_planes("output", &yp, &y);
        let (mut dgamma, mut dbeta) = (vec![f32::NAN; xp.channels], vec![f32::NAN; xp.channels]);
        let mut dx = poisoned(images, &xp);
        let target = GradientTarget { gradient: &mut dx, plane: xp, accumulate: false };
        let into = Some(target);
        layer_norm_backward(images, &dy, dyp, &x, xp, &gamma, eps, into, &mut dgamma, &mut dbeta);
        case.check_planes("grad_input", &xp, &dx);
        case.check_values("grad_weight", &dgamma);
        case.check_values("grad_bias", &dbeta);
    });
}

#[test]
fn gate() {
    each("op_gate", |case| {
        let (images, xp, x) = case.planes("input", 1);
        let (_, dyp, dy) = case.planes("grad_output", 2);
        let factors = case.values("gate");
        let mut y = poisoned(images, &dyp);
        gate_forward(images, &x, xp, &factors, &mut y, dyp);
        case.check_planes("output", &dyp, &y);
        let mut dx = poisoned(images, &xp);
        gate_forward(images, &dy, dyp, &factors, &mut dx, xp);
        case.check_planes("grad_input", &xp, &dx);
        let mut dgate = vec![f32::NAN; factors.len()];
        gate_backward(images, &dy, dyp, &x, xp, &mut dgate);
        case.check_values("grad_gate", &dgate);
    });
}

/// Each value by itself: within two of f32's places at 1, or of its own. The lines go through the far tails.
#[test]
fn smooth_activations() {
    type Forward = fn(usize, &[f32], Plane, &mut [f32], Plane);
    type Backward = fn(usize, &[f32], Plane, &[f32], Plane, &mut [f32], Plane, bool);
    let cases: [(&str, Forward, Backward); 3] = [
        ("op_gelu", gelu_forward, gelu_backward),
        ("op_silu", silu_forward, silu_backward),
        ("op_sigmoid", sigmoid_forward, sigmoid_backward),
    ];
    for (fixture, forward, backward) in cases {
        each(fixture, |case| {
            let (images, xp, x) = case.planes("input", 1);
            let (_, dyp, dy) = case.planes("grad_output", 0);
            let yp = Plane { border: 2, ..xp };
            let (mut y, mut dx) = (poisoned(images, &yp), poisoned(images, &xp));
            forward(images, &x, xp, &mut y, yp);
            case.check_planes("output", &yp, &y);
            backward(images, &dy, dyp, &x, xp, &mut dx, xp, false);
            case.check_planes("grad_input", &xp, &dx);
            for (tensor, found, plane) in [("output", &y, &yp), ("grad_input", &dx, &xp)] {
                for (index, expected) in case.values(tensor).into_iter().enumerate() {
                    let found = found[position(plane, index)];
                    let tolerance = 2.0 * f32::EPSILON * expected.abs().max(1.0);
                    assert!(
                        (found - expected).abs() <= tolerance,
                        "{fixture} {tensor} {index}: {found} against {expected}"
                    );
                }
            }
        });
    }
}

#[test]
fn pooling() {
    each("op_max_pool2d", |case| {
        let [kernel, stride, padding] =
            ["kernel", "stride", "padding"].map(|name| case.scalar(name) as usize);
        let shape = PoolShape { kernel, stride, padding };
        let (images, xp, x) = case.planes("input", padding);
        let (_, dyp, dy) = case.planes("grad_output", 1);
        let mut y = poisoned(images, &dyp);
        let mut argmax = vec![0; images * dyp.pixels() * dyp.channels];
        max_pool_forward(&shape, images, &x, xp, &mut y, dyp, Some(&mut argmax));
        case.check_planes("output", &dyp, &y);
        let mut dx = poisoned(images, &xp);
        max_pool_backward(&shape, images, &dy, dyp, &argmax, &mut dx, xp);
        case.check_planes("grad_input", &xp, &dx);
    });
    each("op_global_average_pool", |case| {
        let (images, xp, x) = case.planes("input", 1);
        let mut y = vec![f32::NAN; images * xp.channels];
        global_avg_pool_forward(images, &x, xp, &mut y);
        case.check_values("output", &y);
        let mut dx = poisoned(images, &xp);
        global_avg_pool_backward(images, &case.values("grad_output"), &mut dx, xp);
        case.check_planes("grad_input", &xp, &dx);
    });
}

#[test]
fn linear() {
    each("op_linear", |case| {
        let (shape, weight) = case.find("weight").unwrap();
        let (out, inp) = (shape[0], shape[1]);
        let layout = ConvShape { kernel: (1, 1), stride: 1, padding: 0, in_channels: inp, out_channels: out };
        let weight = hwio(&layout, &weight);
        let (x, dy) = (case.values("input"), case.values("grad_output"));
        let n = x.len() / inp;
        let bias = case.find("bias").map(|(_, bias)| bias);
        let (mut y, mut dx, mut dw) =
            (vec![f32::NAN; n * out], vec![f32::NAN; n * inp], vec![f32::NAN; inp * out]);
        let (forward, backward) = linear_packed(inp, out, &weight);
        linear_forward(n, inp, out, &x, &forward, bias.as_deref(), &mut y);
        case.check_values("output", &y);
        linear_backward_data(n, inp, out, &dy, &backward, &mut dx);
        case.check_values("grad_input", &dx);
        linear_backward_weight(n, inp, out, &x, &dy, &mut dw);
        case.check("grad_weight", &dw, &hwio(&layout, &case.values("grad_weight")));
    });
}

#[test]
fn cross_entropy_loss() {
    each("op_cross_entropy", |case| {
        let (shape, logits) = case.find("logits").unwrap();
        let labels: Vec<u32> = case.values("labels").iter().map(|&l| l as u32).collect();
        let class_weights = case.find("class_weights").map(|(_, weights)| weights);
        let label_smoothing = case.scalar("label_smoothing");
        let loss =
            CrossEntropy { label_smoothing, class_weights: class_weights.as_deref(), ..Default::default() };
        let mut gradient = vec![f32::NAN; logits.len()];
        let value = cross_entropy(shape[0], shape[1], &logits, &labels, &loss, Some(&mut gradient));
        case.check_values("loss", &[value as f32]);
        case.check_values("grad_logits", &gradient);
    });
}

#[test]
fn cross_entropy_loss_of_mixed_labels() {
    each("op_soft_cross_entropy", |case| {
        let (shape, logits) = case.find("logits").unwrap();
        let labels = |name: &str| -> Vec<u32> { case.values(name).iter().map(|&l| l as u32).collect() };
        let (first, second, shares) = (labels("labels"), labels("second"), case.values("shares"));
        let class_weights = case.find("class_weights").map(|(_, weights)| weights);
        let loss = CrossEntropy {
            label_smoothing: case.scalar("label_smoothing"),
            class_weights: class_weights.as_deref(),
            mixed: Some((&second, &shares)),
            rows: None,
        };
        let mut gradient = vec![f32::NAN; logits.len()];
        let value = cross_entropy(shape[0], shape[1], &logits, &first, &loss, Some(&mut gradient));
        case.check_values("loss", &[value as f32]);
        case.check_values("grad_logits", &gradient);
    });
}

#[test]
fn optimisers() {
    each("optimizers", |case| {
        let mut parameter = case.values("parameter_0");
        let gradients = case.values("gradients");
        let (mut a, mut b) = (vec![0.0; parameter.len()], vec![0.0; parameter.len()]);
        for (index, gradient) in gradients.chunks(parameter.len()).enumerate() {
            let step = index as u64 + 1;
            let sgd = |momentum, weight_decay, nesterov| Sgd { lr: 0.1, momentum, weight_decay, nesterov };
            match case.name.as_str() {
                "adamw" => {
                    let adamw = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 };
                    adamw_step(&adamw, step, &mut parameter, gradient, &mut a, &mut b);
                    case.check_values(&format!("exp_avg_{step}"), &a);
                    case.check_values(&format!("exp_avg_sq_{step}"), &b);
                }
                "sgd" => sgd_step(&sgd(0.9, 1e-4, false), step == 1, &mut parameter, gradient, &mut a),
                "sgd_nesterov" => {
                    sgd_step(&sgd(0.9, 1e-4, true), step == 1, &mut parameter, gradient, &mut a)
                }
                "sgd_plain" => sgd_step(&sgd(0.0, 0.0, false), step == 1, &mut parameter, gradient, &mut a),
                other => panic!("no test for {other}"),
            }
            case.check_values(&format!("parameter_{step}"), &parameter);
        }
    });
}

/// With the linear layer before it: what padding holds is that layer's bias, whose gradient comes from both.
#[test]
fn window_attention() {
    each("op_window_attention", |case| {
        let (shape, x) = case.find("input").unwrap();
        let [images, height, width, channels] = shape[..] else { panic!("{shape:?}") };
        let [heads, window, shift] = ["heads", "window", "shift"].map(|name| case.scalar(name) as usize);
        let s = WindowAttention { heads, window, shift };
        let turned = |outputs: usize, inputs: usize, values: &[f32]| {
            let (kernel, stride, padding) = ((1, 1), 1, 0);
            hwio(&ConvShape { kernel, stride, padding, in_channels: inputs, out_channels: outputs }, values)
        };
        let (pixels, parts) = (images * height * width, 3 * channels);
        let weight = turned(parts, channels, &case.values("qkv_weight"));
        let entries = s.table_len() / heads;
        let (bias, table) = (case.values("qkv_bias"), turned(entries, heads, &case.values("table")));
        let (xp, yp) = (
            Plane { height, width, channels: parts, border: 0 },
            Plane { height, width, channels, border: 0 },
        );

        let (forward, backward) = linear_packed(channels, parts, &weight);
        let (mut qkv, mut y) = (poisoned(images, &xp), poisoned(images, &yp));
        linear_forward(pixels, channels, parts, &x, &forward, Some(&bias), &mut qkv);
        window_attention_forward(&s, images, &qkv, xp, &bias, &table, &mut y, yp);
        case.check_values("output", &y);

        let dy = case.values("grad_output");
        let (mut dqkv, mut dx) = (poisoned(images, &xp), poisoned(images, &yp));
        let (mut dpadding, mut dtable) = (vec![f32::NAN; bias.len()], vec![f32::NAN; table.len()]);
        window_attention_backward(
            &s,
            images,
            &dy,
            yp,
            &qkv,
            xp,
            &bias,
            &table,
            &mut dqkv,
            xp,
            &mut dpadding,
            &mut dtable,
        );
        case.check("grad_table", &dtable, &turned(entries, heads, &case.values("grad_table")));
        linear_backward_data(pixels, channels, parts, &dqkv, &backward, &mut dx);
        case.check_values("grad_input", &dx);
        let (mut dw, mut db) = (vec![f32::NAN; weight.len()], vec![f32::NAN; parts]);
        linear_backward_weight(pixels, channels, parts, &x, &dqkv, &mut dw);
        case.check("grad_qkv_weight", &dw, &turned(parts, channels, &case.values("grad_qkv_weight")));
        channel_sum(images, &dqkv, xp, &mut db);
        let db: Vec<f32> = db.iter().zip(&dpadding).map(|(a, b)| a + b).collect();
        case.check_values("grad_qkv_bias", &db);
    });
}

#[test]
fn patch_merging() {
    each("op_patch_merging", |case| {
        let plane = |tensor: &str| {
            let (shape, values) = case.find(tensor).unwrap();
            let [images, height, width, channels] = shape[..] else { panic!("{shape:?}") };
            (images, Plane { height, width, channels, border: 0 }, values)
        };
        let ((images, xp, x), (_, yp, dy)) = (plane("input"), plane("grad_output"));
        let (mut y, mut dx) = (poisoned(images, &yp), poisoned(images, &xp));
        merge_patches_forward(images, &x, xp, &mut y, yp);
        case.check_values("output", &y);
        merge_patches_backward(images, &dy, yp, &mut dx, xp);
        case.check_values("grad_input", &dx);
    });
}
