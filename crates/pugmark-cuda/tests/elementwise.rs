//! Kernels that treat every value by itself, against the processor's. Without a stated tolerance the results are the same but
//! for the rounding to the element, for the operations are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod activations;

use activations::{Activation, Random, There, assert_close, assert_same, gpu, line, test_elements, wide};
use pugmark_cuda::{
    DeviceError, Gpu, Slice, Type, accumulate, add_bias, add_forward, convert, copy, dropout, fill,
    gelu_backward, gelu_forward, input_from_u8, relu_backward, relu_forward, sigmoid_backward,
    sigmoid_forward, silu_backward, silu_forward,
};
use pugmark_kernels as cpu;
use pugmark_kernels::{Element, Plane};

test_elements!(
    copies_and_sums,
    relu_and_its_gradient,
    dropout_draws_as_the_processor,
    bias_of_each_channel,
    input_is_normalised,
    smooth_curves_and_their_slopes,
);

/// Values that fill no block, no 16 bytes, or whole ones, from a line of 16 bytes on or not.
const SIZES: [(usize, usize); 6] = [(0, 0), (1, 0), (105, 1), (630, 0), (13_650, 1), (80_640, 0)];

/// What stays NaN or infinite, and what is near zero.
const SPECIAL: [f32; 9] =
    [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-30, -1e-30, 100.0, -100.0];

fn special<E: Element>(mut values: Vec<E>) -> Vec<E> {
    for (value, special) in values.iter_mut().zip(SPECIAL) {
        *value = E::from_f32(special);
    }
    values
}

#[test]
fn values_are_rounded_and_widened() {
    let gpu = gpu();
    let values = [1.0_f32, -2.5, 3.301_592_7, 1e-30, f32::INFINITY, 0.0];
    for (len, behind) in SIZES {
        let values: Vec<f32> = values.into_iter().cycle().take(len).collect();
        let from = There::<f32>::new(&gpu, behind, &values);
        let to = There::<cpu::Bf16>::poisoned(&gpu, behind, len);
        let back = There::<f32>::poisoned(&gpu, behind, len);
        convert(from.all(), to.all()).unwrap();
        convert(to.all(), back.all()).unwrap();
        let rounded =
            |v: &f32| f32::from_bits(((v.to_bits() + 0x7fff + (v.to_bits() >> 16 & 1)) >> 16) << 16);
        assert_eq!(back.read(), values.iter().map(rounded).collect::<Vec<f32>>());
    }
}

#[test]
#[should_panic(expected = "to: 3 F32 given, 4 F32 needed")]
fn slices_are_checked() {
    let gpu = gpu();
    let (from, to) = (gpu.allocate(Type::F32, 4).unwrap(), gpu.allocate(Type::F32, 3).unwrap());
    copy(from.all(), to.all()).unwrap();
}

fn copies_and_sums<E: Activation>() {
    let gpu = gpu();
    for (len, behind) in SIZES {
        let mut random = Random(3);
        let (a, b): (Vec<E>, Vec<E>) = (special(random.values(len)), random.values(len));
        let (from, other) = (There::new(&gpu, behind, &a), There::new(&gpu, behind, &b));
        let to = There::<E>::poisoned(&gpu, behind, len);
        copy(from.all(), to.all()).unwrap();
        assert_same("copy", &to.read(), &wide(&a));
        copy(other.all(), to.all()).unwrap();
        accumulate(from.all(), to.all()).unwrap();
        let (wide_a, wide_b, p) = (wide(&a), wide(&b), line(len, 1));
        let mut sum = wide_b.clone();
        cpu::accumulate(1, &wide_a, p, &mut sum, p);
        assert_same("accumulate", &to.read(), &sum);
        for relu in [false, true] {
            let y = There::<E>::poisoned(&gpu, behind, len);
            add_forward(from.all(), other.all(), relu, y.all()).unwrap();
            cpu::add_forward(1, &wide_a, p, &wide_b, p, relu, &mut sum, p);
            assert_same("add", &y.read(), &sum);
        }
        fill(to.all(), 0.3).unwrap();
        assert_same("fill", &to.read(), &vec![0.3; len]);
    }
}

/// Both ways of writing a gradient, from the expected one: what was there, then what it is afterwards.
fn each_way<E: Activation>(
    gpu: &Gpu,
    behind: usize,
    gradient: &[f32],
    mut check: impl FnMut(Slice<'_>, bool) -> Result<(), DeviceError>,
    assert: impl Fn(&[E], &[f32]),
) {
    let before: Vec<E> = Random(5).values(gradient.len());
    for accumulate in [false, true] {
        let dx = if accumulate {
            There::new(gpu, behind, &before)
        } else {
            There::poisoned(gpu, behind, gradient.len())
        };
        check(dx.all(), accumulate).unwrap();
        let before = wide(&before);
        let sums = gradient.iter().zip(before).map(|(g, b)| if accumulate { b + g } else { *g });
        assert(&dx.read(), &sums.collect::<Vec<f32>>());
    }
}

fn relu_and_its_gradient<E: Activation>() {
    let gpu = gpu();
    for (len, behind) in SIZES {
        let mut random = Random(7);
        let (x, dy): (Vec<E>, Vec<E>) = (special(random.values(len)), random.values(len));
        let (wide_x, wide_dy, p) = (wide(&x), wide(&dy), line(len, 1));
        let (mut y, mut dx) = (vec![0.0; len], vec![0.0; len]);
        cpu::relu_forward(1, &wide_x, p, &mut y, p);
        cpu::relu_backward(1, &wide_dy, p, &y, p, &mut dx, p, false);
        // In place.
        let (on_gpu, dy) = (There::new(&gpu, behind, &x), There::new(&gpu, behind, &dy));
        relu_forward(on_gpu.all(), on_gpu.all()).unwrap();
        assert_same("relu", &on_gpu.read(), &y);
        each_way::<E>(
            &gpu,
            behind,
            &dx,
            |dx, accumulate| relu_backward(dy.all(), on_gpu.all(), dx, accumulate),
            |values, expected| assert_same("relu gradient", values, expected),
        );
    }
}

fn dropout_draws_as_the_processor<E: Activation>() {
    let gpu = gpu();
    for (len, behind) in SIZES {
        for (seed, p) in [(1, 0.0), (0xfedc_ba98_7654_3210, 0.3), (7, 0.999)] {
            let x: Vec<E> = Random(11).values(len);
            let mut y = vec![0.0; len];
            cpu::dropout(seed, p, &wide(&x), &mut y);
            let x = There::new(&gpu, behind, &x);
            each_way::<E>(
                &gpu,
                behind,
                &y,
                |y, accumulate| dropout(seed, p, x.all(), y, accumulate),
                |values, expected| assert_same("dropout", values, expected),
            );
        }
    }
}

fn bias_of_each_channel<E: Activation>() {
    let gpu = gpu();
    for channels in [1, 3, 6, 130, 768] {
        for (pixels, behind) in [(0, 0), (1, 0), (105, 0), (105, 1)] {
            let mut random = Random(13);
            let (x, bias): (Vec<E>, Vec<f32>) = (random.values(pixels * channels), random.values(channels));
            let mut sums = wide(&x);
            for pixel in sums.chunks_exact_mut(channels) {
                pixel.iter_mut().zip(&bias).for_each(|(value, bias)| *value += bias);
            }
            let (x, bias) = (There::new(&gpu, behind, &x), There::new(&gpu, behind, &bias));
            let y = There::<E>::poisoned(&gpu, behind, pixels * channels);
            // Into another place and in place.
            for y in [&y, &x] {
                add_bias(x.all(), channels, bias.all(), y.all()).unwrap();
                assert_same(&format!("{pixels} pixels of {channels}"), &y.read(), &sums);
            }
        }
    }
}

fn input_is_normalised<E: Activation>() {
    let gpu = gpu();
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    for (pixels, behind) in [(0, 0), (1, 0), (105, 0), (105, 1), (4096, 0)] {
        let mut random = Random(17);
        let bytes: Vec<u8> = (0..3 * pixels).map(|_| random.next() as u8).collect();
        let mut expected = vec![0.0; 3 * pixels];
        let p = Plane { height: 1, width: pixels, channels: 3, border: 0 };
        cpu::input_from_u8(1, &bytes, &mean, &std, &mut expected, p);
        let (from, y) = (gpu.put(&bytes).unwrap(), There::<E>::poisoned(&gpu, behind, 3 * pixels));
        input_from_u8(from.all(), mean, std, y.all()).unwrap();
        assert_same(&format!("{pixels} pixels"), &y.read(), &expected);
    }
}

/// The processor's exponential is a polynomial, the GPU's is not: the value and the slope of each are within 4e-7 of the truth,
/// or a few units in the last place where they are larger than 1.
fn smooth_curves_and_their_slopes<E: Activation>() {
    type Forward = fn(Slice<'_>, Slice<'_>) -> Result<(), DeviceError>;
    type Backward = fn(Slice<'_>, Slice<'_>, Slice<'_>, bool) -> Result<(), DeviceError>;
    type CpuForward = fn(usize, &[f32], Plane, &mut [f32], Plane);
    type CpuBackward = fn(usize, &[f32], Plane, &[f32], Plane, &mut [f32], Plane, bool);
    let curves: [(&str, Forward, Backward, CpuForward, CpuBackward); 3] = [
        ("gelu", gelu_forward, gelu_backward, cpu::gelu_forward, cpu::gelu_backward),
        ("silu", silu_forward, silu_backward, cpu::silu_forward, cpu::silu_backward),
        ("sigmoid", sigmoid_forward, sigmoid_backward, cpu::sigmoid_forward, cpu::sigmoid_backward),
    ];
    let gpu = gpu();
    let tolerance = |e: f32| 1e-6 * e.abs().max(1.0);
    for (name, forward, backward, cpu_forward, cpu_backward) in curves {
        for (len, behind) in SIZES {
            let mut random = Random(19);
            let spread = |v: E| E::from_f32(12.0 * v.to_f32());
            let x: Vec<E> = special(random.values(len).into_iter().map(spread).collect());
            let dy: Vec<E> = random.values(len);
            let (wide_x, wide_dy, p) = (wide(&x), wide(&dy), line(len, 1));
            let (mut y, mut dx) = (vec![0.0; len], vec![0.0; len]);
            cpu_forward(1, &wide_x, p, &mut y, p);
            cpu_backward(1, &wide_dy, p, &wide_x, p, &mut dx, p, false);
            let (x, dy) = (There::new(&gpu, behind, &x), There::new(&gpu, behind, &dy));
            let to = There::<E>::poisoned(&gpu, behind, len);
            forward(x.all(), to.all()).unwrap();
            assert_close(name, &to.read(), &y, |i| tolerance(y[i]));
            each_way::<E>(
                &gpu,
                behind,
                &dx,
                |dx, accumulate| backward(dy.all(), x.all(), dx, accumulate),
                |values, expected| assert_close(name, values, expected, |i| tolerance(expected[i])),
            );
        }
    }
}
