//! Depthwise convolution and its gradients against plain loops in f64.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod activations;

use activations::{Activation, Random, There, assert_close, gpu, test_elements, wide};
use pugmark_cuda::{
    Picture, Slice, Type, Window, depthwise_backward_data, depthwise_backward_weight, depthwise_forward,
    depthwise_scratch_len,
};

test_elements!(output_and_gradient_of_the_input, gradient_of_the_weights);

/// Kernel, stride and padding: those with a loop of their own, and others.
const WINDOWS: [(usize, usize, usize); 11] = [
    (1, 1, 0),
    (1, 2, 0),
    (2, 1, 0),
    (3, 1, 1),
    (3, 1, 0),
    (3, 2, 1),
    (4, 2, 1),
    (5, 1, 2),
    (5, 2, 2),
    (7, 1, 3),
    (7, 2, 3),
];

/// Images, height, width, channels, and values in front, so that two channels can't be had at once: what
/// fills no block and no run, and what fills more than one.
const PICTURES: [([usize; 4], usize); 7] = [
    ([3, 7, 5, 1], 0),
    ([3, 7, 5, 3], 0),
    ([3, 7, 5, 6], 0),
    ([3, 7, 5, 6], 1),
    ([3, 7, 5, 130], 0),
    ([3, 9, 10, 16], 0),
    ([2, 23, 15, 24], 0),
];

/// A sum of products, and what any order of adding up in f32 may make of it: each of the terms' roundings and
/// additions is off by 6e-8 of what is summed at most.
#[derive(Clone, Copy, Default)]
struct Sum {
    value: f64,
    magnitude: f64,
    terms: u32,
}

impl Sum {
    fn add(&mut self, product: f64) {
        self.value += product;
        self.magnitude += product.abs();
        self.terms += 1;
    }

    fn tolerance(&self) -> f32 {
        // One more for a value that was there.
        (6e-8 * f64::from(self.terms + 1) * self.magnitude) as f32
    }
}

fn assert_sums<E: Activation>(what: &str, values: &[E], sums: &[Sum]) {
    let expected: Vec<f32> = sums.iter().map(|sum| sum.value as f32).collect();
    assert_close(what, values, &expected, |i| sums[i].tolerance());
}

/// Calls `f(index in x, index in y, index of the weight)` for all that meet.
fn each_product(of: &Picture, window: &Window, mut f: impl FnMut(usize, usize, usize)) {
    let (out, &Window { kernel, stride, padding }) = (window.out(of), window);
    for y in 0..out.len() {
        let (c, pixel) = (y % of.channels, y / of.channels);
        let (ox, oy, image) =
            (pixel % out.width, pixel / out.width % out.height, pixel / out.width / out.height);
        for tap in 0..kernel * kernel {
            let iy = (oy * stride + tap / kernel).wrapping_sub(padding);
            let ix = (ox * stride + tap % kernel).wrapping_sub(padding);
            if iy < of.height && ix < of.width {
                let x = ((image * of.height + iy) * of.width + ix) * of.channels + c;
                f(x, y, tap * of.channels + c);
            }
        }
    }
}

fn each_case(mut f: impl FnMut(&str, &Picture, usize, &Window)) {
    for ([images, height, width, channels], behind) in PICTURES {
        for (kernel, stride, padding) in WINDOWS {
            let of = Picture { images, height, width, channels };
            let window = Window { kernel, stride, padding };
            f(&format!("{window:?} of {of:?}, {behind} in front"), &of, behind, &window);
        }
    }
}

fn output_and_gradient_of_the_input<E: Activation>() {
    let gpu = gpu();
    each_case(|what, of, behind, window| {
        let (mut random, out) = (Random(47), window.out(of));
        let (x, dy): (Vec<E>, Vec<E>) = (random.values(of.len()), random.values(out.len()));
        let before: Vec<E> = random.values(of.len());
        let weights: Vec<f32> = random.values(window.kernel * window.kernel * of.channels);
        let bias: Vec<f32> = random.values(of.channels);
        let (mut outputs, mut inputs) = (vec![Sum::default(); out.len()], vec![Sum::default(); of.len()]);
        let (wide_x, wide_dy) = (wide(&x), wide(&dy));
        each_product(of, window, |at_x, at_y, at_w| {
            let w = f64::from(weights[at_w]);
            outputs[at_y].add(f64::from(wide_x[at_x]) * w);
            inputs[at_x].add(f64::from(wide_dy[at_y]) * w);
        });

        let (x, dy) = (There::new(&gpu, behind, &x), There::new(&gpu, behind, &dy));
        let (w, on_bias) =
            (There::<f32>::new(&gpu, behind, &weights), There::<f32>::new(&gpu, behind, &bias));
        let forward = |bias: Option<Slice<'_>>| {
            let y = There::<E>::poisoned(&gpu, behind, out.len());
            depthwise_forward(of, window, x.all(), w.all(), bias, y.all()).unwrap();
            y.read()
        };
        assert_sums(what, &forward(None), &outputs);
        for (sum, bias) in outputs.iter_mut().zip(bias.iter().cycle()) {
            sum.add(f64::from(*bias));
        }
        assert_sums(&format!("{what}, bias"), &forward(Some(on_bias.all())), &outputs);

        for accumulate in [false, true] {
            let dx = if accumulate {
                There::new(&gpu, behind, &before)
            } else {
                There::poisoned(&gpu, behind, of.len())
            };
            depthwise_backward_data(of, window, dy.all(), w.all(), dx.all(), accumulate).unwrap();
            let mut sums = inputs.clone();
            if accumulate {
                sums.iter_mut().zip(wide(&before)).for_each(|(sum, value)| sum.add(f64::from(value)));
            }
            assert_sums(&format!("{what}, dx, {accumulate}"), &dx.read(), &sums);
        }
    });
}

fn gradient_of_the_weights<E: Activation>() {
    let gpu = gpu();
    each_case(|what, of, behind, window| {
        let (mut random, out) = (Random(53), window.out(of));
        let (x, dy): (Vec<E>, Vec<E>) = (random.values(of.len()), random.values(out.len()));
        let mut sums = vec![Sum::default(); window.kernel * window.kernel * of.channels];
        let (wide_x, wide_dy) = (wide(&x), wide(&dy));
        each_product(of, window, |at_x, at_y, at_w| {
            sums[at_w].add(f64::from(wide_x[at_x]) * f64::from(wide_dy[at_y]));
        });
        let (x, dy) = (There::new(&gpu, behind, &x), There::new(&gpu, behind, &dy));
        let scratch = There::<f32>::poisoned(&gpu, 0, depthwise_scratch_len(of, window));
        let dw = There::<f32>::poisoned(&gpu, behind, sums.len());
        depthwise_backward_weight(of, window, x.all(), dy.all(), scratch.all(), dw.all()).unwrap();
        assert_sums(what, &dw.read(), &sums);
    });
}

/// The order of the sums is that of taps in any case, so that the place in memory changes no bit.
#[test]
fn runs_give_the_bits_of_single_pixels() {
    let gpu = gpu();
    let of = Picture { images: 2, height: 9, width: 16, channels: 10 };
    for kernel in [3, 5, 7] {
        let window = Window { kernel, stride: 1, padding: kernel / 2 };
        let mut random = Random(59);
        let (x, w): (Vec<f32>, Vec<f32>) =
            (random.values(of.len()), random.values(kernel * kernel * of.channels));
        let outputs = [0, 1].map(|behind| {
            let (x, w) = (There::new(&gpu, behind, &x), There::new(&gpu, behind, &w));
            let y = There::<f32>::poisoned(&gpu, behind, of.len());
            depthwise_forward(&of, &window, x.all(), w.all(), None, y.all()).unwrap();
            y.read()
        });
        assert_eq!(outputs[0], outputs[1], "{window:?}");
    }
}

#[test]
#[should_panic(expected = "w: 10 F32 given, 27 F32 needed")]
fn slices_are_checked() {
    let gpu = gpu();
    let of = Picture { images: 1, height: 4, width: 4, channels: 3 };
    let window = Window { kernel: 3, stride: 1, padding: 1 };
    let (x, w) = (gpu.allocate(Type::F32, 48).unwrap(), gpu.allocate(Type::F32, 10).unwrap());
    depthwise_forward(&of, &window, x.all(), w.all(), None, x.all()).unwrap();
}
