//! Depthwise convolution and its gradients against plain loops in f64, on every path this machine has.

mod common;

use common::{
    Expected, Random, Sum, assert_close, assert_zero_border, at, interior, plane, poisoned, test_elements,
};
use pugmark_kernels::*;

/// Kernel, stride, padding, channels, images, height and width: every run of pixels, whole and partial lines of channels,
/// kernels with and without a loop of their own, and enough rows for several tasks.
const CASES: [(usize, usize, usize, usize, usize, usize, usize); 10] = [
    (7, 1, 3, 16, 2, 9, 8),
    (7, 1, 3, 24, 1, 17, 14),
    (7, 1, 3, 5, 3, 2, 13),
    (3, 1, 1, 40, 2, 10, 11),
    (3, 2, 1, 33, 2, 9, 16),
    (5, 1, 2, 8, 1, 5, 7),
    (5, 2, 2, 20, 2, 12, 9),
    (2, 1, 0, 3, 1, 4, 5),
    (4, 2, 1, 17, 2, 8, 6),
    (1, 2, 0, 2, 1, 5, 5),
];

test_elements!(outputs_and_gradients_are_those_of_a_plain_loop);

fn outputs_and_gradients_are_those_of_a_plain_loop<E: ConvElement>() {
    for (kernel, stride, padding, channels, images, height, width) in CASES {
        let s = DepthwiseShape { kernel, stride, padding, channels };
        let (out_height, out_width) = s.output_size(height, width);
        let xp = plane(height, width, channels, s.input_border() + 1);
        let yp = plane(out_height, out_width, channels, 2);
        let dyp = plane(out_height, out_width, channels, s.gradient_border() + 1);
        let dxp = plane(height, width, channels, 1);
        let mut random = Random(8);
        let (x, dy): (Vec<E>, Vec<E>) = (random.tensor(images, xp), random.tensor(images, dyp));
        let before: Vec<E> = random.tensor(images, dxp);
        let (weights, bias) = (random.values(kernel * kernel * channels), random.values(channels));

        let value = |values: &[E], at: usize| f64::from(values[at].to_f32());
        let mut outputs = vec![Sum::default(); images * yp.pixels() * channels];
        let mut inputs = vec![Sum::default(); images * dxp.pixels() * channels];
        let mut products = vec![Sum::default(); weights.len()];
        for image in 0..images {
            for (oy, ox, c) in each(out_height, out_width, channels) {
                let output = ((image * out_height + oy) * out_width + ox) * channels + c;
                outputs[output].add(f64::from(bias[c]));
                let dy = value(&dy, at(dyp, image, oy, ox, c));
                for (ky, kx, _) in each(kernel, kernel, 1) {
                    let (iy, ix) = (oy * stride + ky, ox * stride + kx);
                    let inside =
                        (padding..height + padding).contains(&iy) && (padding..width + padding).contains(&ix);
                    if !inside {
                        continue;
                    }
                    let (iy, ix, weight) = (iy - padding, ix - padding, (ky * kernel + kx) * channels + c);
                    let x = value(&x, at(xp, image, iy, ix, c));
                    outputs[output].add(x * f64::from(weights[weight]));
                    inputs[((image * height + iy) * width + ix) * channels + c]
                        .add(dy * f64::from(weights[weight]));
                    products[weight].add(x * dy);
                }
            }
        }
        let expected = |sums: &[Sum]| sums.iter().map(|sum| sum.expected()).collect::<Vec<Expected>>();
        for isa in Isa::available() {
            let what = format!("{s:?} on {images} x {height} x {width}, {isa}");
            with_isa(isa, || {
                let mut packed = vec![f32::NAN; s.packed_len()];
                depthwise_pack(&s, &weights, &mut packed);
                let mut y = poisoned(images, yp);
                depthwise_forward(&s, images, &x, xp, &packed, Some(&bias), &mut y, yp);
                assert_close(&what, &y, &interior(images, yp), &expected(&outputs));
                assert_zero_border(&what, &y, images, yp);

                depthwise_pack_backward(&s, &weights, &mut packed);
                for accumulate in [false, true] {
                    let mut dx = if accumulate { before.clone() } else { poisoned(images, dxp) };
                    let target = GradientTarget { gradient: &mut dx, plane: dxp, accumulate };
                    depthwise_backward_data(&s, images, &dy, dyp, &packed, target);
                    let mut sums = inputs.clone();
                    if accumulate {
                        for (sum, at) in sums.iter_mut().zip(interior(images, dxp)) {
                            sum.add(value(&before, at));
                        }
                    }
                    assert_close(&what, &dx, &interior(images, dxp), &expected(&sums));
                    assert_zero_border(&what, &dx, images, dxp);
                }

                let mut dw = vec![f32::NAN; weights.len()];
                depthwise_backward_weight(&s, images, &x, xp, &dy, dyp, &mut dw);
                assert_close(&what, &dw, &(0..weights.len()).collect::<Vec<_>>(), &expected(&products));
            });
        }
    }
}

fn each(height: usize, width: usize, channels: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..height * width * channels).map(move |i| (i / channels / width, i / channels % width, i % channels))
}
