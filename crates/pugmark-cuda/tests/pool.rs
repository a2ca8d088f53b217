//! Pooling, factors, gates and merged patches, against the processor's. Where sums are of a few terms in the
//! same order, or none are made, the results are the same but for the rounding to the element.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod activations;

use activations::{Activation, Random, There, assert_close, assert_same, gpu, test_elements, wide};
use pugmark_cuda::{
    DeviceError, Gpu, Picture, Slice, Type, Window, gate_backward, gate_forward, global_avg_pool_backward,
    global_avg_pool_forward, max_pool_backward, max_pool_forward, merge_patches_backward,
    merge_patches_forward, scale_backward, scale_backward_channels, scale_forward, scale_scratch_len,
};
use pugmark_kernels as cpu;
use pugmark_kernels::{Factors, Plane, PoolShape};

test_elements!(
    max_pool_and_its_gradient,
    max_pool_keeps_nan,
    global_average_and_its_gradient,
    factors_of_channels_and_images,
    gradient_of_the_channels_factors,
    gates_and_their_gradients,
    merged_patches_and_their_gradient,
);

/// Images, height, width, channels, and values in front: what fills no block, no 16 bytes, or whole ones,
/// from a line of 16 bytes on or not; an image of one pixel, and one of more pixels than a block has threads.
const CASES: [([usize; 4], usize); 9] = [
    ([3, 7, 5, 1], 0),
    ([3, 7, 5, 3], 0),
    ([3, 7, 5, 64], 1),
    ([3, 7, 5, 130], 0),
    ([3, 9, 10, 6], 0),
    ([3, 9, 10, 16], 0),
    ([2, 1, 1, 24], 0),
    ([1, 33, 30, 8], 0),
    ([600, 2, 3, 40], 0),
];

const WINDOWS: [Window; 6] = [
    Window { kernel: 1, stride: 1, padding: 0 },
    Window { kernel: 2, stride: 2, padding: 0 },
    Window { kernel: 3, stride: 2, padding: 1 },
    Window { kernel: 3, stride: 1, padding: 1 },
    Window { kernel: 2, stride: 3, padding: 0 },
    Window { kernel: 5, stride: 2, padding: 2 },
];

fn picture([images, height, width, channels]: [usize; 4]) -> Picture {
    Picture { images, height, width, channels }
}

/// The processor's name for it, without a border.
fn plane(of: &Picture) -> Plane {
    Plane { height: of.height, width: of.width, channels: of.channels, border: 0 }
}

/// Both ways of writing a gradient, from the expected one: over NaN, and to what was there. The tolerance is
/// that of a value before it is added.
fn each_way<E: Activation>(
    what: &str,
    gpu: &Gpu,
    behind: usize,
    gradient: &[f32],
    tolerance: impl Fn(usize) -> f32,
    mut write: impl FnMut(Slice<'_>, bool) -> Result<(), DeviceError>,
) {
    let dx = There::<E>::poisoned(gpu, behind, gradient.len());
    write(dx.all(), false).unwrap();
    assert_close(what, &dx.read(), gradient, &tolerance);

    let before: Vec<E> = Random(5).values(gradient.len());
    let dx = There::new(gpu, behind, &before);
    write(dx.all(), true).unwrap();
    let sums: Vec<f32> = gradient.iter().zip(wide(&before)).map(|(g, b)| b + g).collect();
    // The sum's own rounding counts where its terms already differ.
    let added = |i: usize| match tolerance(i) {
        0.0 => 0.0,
        off => off + 6e-8 * sums[i].abs(),
    };
    assert_close(&format!("{what}, added"), &dx.read(), &sums, added);
}

/// Every picture with every window that fits it.
fn each_window(mut f: impl FnMut(&str, &Picture, usize, &Window)) {
    for (shape, behind) in CASES {
        for window in &WINDOWS {
            let of = picture(shape);
            f(&format!("{window:?} of {of:?}"), &of, behind, window);
        }
    }
}

fn max_pool_and_its_gradient<E: Activation>() {
    let gpu = gpu();
    each_window(|what, of, behind, window| {
        let &Window { kernel, stride, padding } = window;
        let (shape, out) = (PoolShape { kernel, stride, padding }, window.out(of));
        assert_eq!((out.height, out.width), shape.output_size(of.height, of.width), "{what}");
        // All negative, so that a zero beyond the picture would win; quarters, so that there are ties.
        let mut random = Random(23);
        let values: Vec<f32> = random.values(of.len());
        let values: Vec<E> = values.iter().map(|x| E::from_f32((x * 4.0).floor() / 4.0 - 1.25)).collect();
        let (mut y, mut argmax) = (vec![0.0; out.len()], vec![0; out.len()]);
        let (xp, yp) = (plane(of), plane(&out));
        cpu::max_pool_forward(&shape, of.images, &wide(&values), xp, &mut y, yp, Some(&mut argmax));

        let x = There::new(&gpu, behind, &values);
        let winners = gpu.put(&vec![u8::MAX; behind + out.len()]).unwrap();
        let taps = winners.slice(behind..behind + out.len());
        for taps in [Some(taps), None] {
            let to = There::<E>::poisoned(&gpu, behind, out.len());
            max_pool_forward(of, window, x.all(), to.all(), taps).unwrap();
            assert_same(what, &to.read(), &y);
        }
        let read: Vec<u8> = winners.all().read().unwrap();
        assert!(read[..behind].iter().all(|&byte| byte == u8::MAX), "{what}: written in front");
        assert_eq!(read[behind..], argmax, "{what}");

        let dy: Vec<E> = random.values(out.len());
        let mut dx = vec![0.0; of.len()];
        cpu::max_pool_backward(&shape, of.images, &wide(&dy), yp, &argmax, &mut dx, xp);
        let dy = There::new(&gpu, behind, &dy);
        each_way::<E>(
            what,
            &gpu,
            behind,
            &dx,
            |_| 0.0,
            |dx, accumulate| max_pool_backward(of, window, dy.all(), taps, dx, accumulate),
        );
    });
}

fn max_pool_keeps_nan<E: Activation>() {
    let gpu = gpu();
    let window = Window { kernel: 2, stride: 2, padding: 0 };
    let of = picture([1, 2, 4, 1]);
    let rows =
        [[f32::NAN, 1.0, f32::NEG_INFINITY, f32::NEG_INFINITY], [2.0, f32::NAN, f32::NEG_INFINITY, 0.0]];
    let values: Vec<E> = rows.concat().into_iter().map(E::from_f32).collect();
    let (x, y) = (There::new(&gpu, 0, &values), There::new(&gpu, 0, &[E::default(); 2]));
    let taps = gpu.allocate(Type::U8, 2).unwrap();
    max_pool_forward(&of, &window, x.all(), y.all(), Some(taps.all())).unwrap();
    assert_same("NaN and infinity", &y.read(), &[f32::NAN, 0.0]);
    // The last NaN, as on the processor.
    assert_eq!(taps.all().read::<u8>().unwrap(), [3, 3]);
    let nothing: Vec<E> = vec![E::from_f32(f32::NEG_INFINITY); 8];
    let x = There::new(&gpu, 0, &nothing);
    max_pool_forward(&of, &window, x.all(), y.all(), Some(taps.all())).unwrap();
    assert_same("infinity alone", &y.read(), &[f32::NEG_INFINITY; 2]);
    assert_eq!(taps.all().read::<u8>().unwrap(), [0, 0]);
}

/// Sums over the pixels of each image for each channel, in f64, and those of magnitudes.
fn image_sums(of: &Picture, values: impl Iterator<Item = f64>) -> (Vec<f64>, Vec<f64>) {
    let len = of.images * of.channels;
    let (mut sums, mut magnitudes) = (vec![0.0; len], vec![0.0; len]);
    for (i, value) in values.enumerate() {
        let at = i / (of.pixels() * of.channels) * of.channels + i % of.channels;
        sums[at] += value;
        magnitudes[at] += value.abs();
    }
    (sums, magnitudes)
}

/// What a sum may be off by, a part of the sum of magnitudes: a thread adds up no more than 32 values of
/// these images, and halves of a block 8 times; each addition errs by 6e-8 at most.
const SUM: f64 = 40.0 * 6e-8;

fn global_average_and_its_gradient<E: Activation>() {
    let gpu = gpu();
    for (shape, behind) in CASES {
        let of = picture(shape);
        let (mut random, what) = (Random(29), format!("{of:?}"));
        let values: Vec<E> = random.values(of.len());
        let (sums, magnitudes) = image_sums(&of, values.iter().map(|value| f64::from(value.to_f32())));
        let n = of.pixels() as f64;
        let means: Vec<f32> = sums.iter().map(|sum| (sum / n) as f32).collect();
        let (x, y) = (There::new(&gpu, behind, &values), There::<E>::poisoned(&gpu, behind, means.len()));
        global_avg_pool_forward(&of, x.all(), y.all()).unwrap();
        assert_close(&what, &y.read(), &means, |i| (SUM * magnitudes[i] / n) as f32);

        let dy: Vec<E> = random.values(of.images * of.channels);
        let mut dx = vec![0.0; of.len()];
        cpu::global_avg_pool_backward(of.images, &wide(&dy), &mut dx, plane(&of));
        let dy = There::new(&gpu, behind, &dy);
        each_way::<E>(
            &what,
            &gpu,
            behind,
            &dx,
            |_| 0.0,
            |dx, accumulate| global_avg_pool_backward(&of, dy.all(), dx, accumulate),
        );
    }
}

fn factors_of_channels_and_images<E: Activation>() {
    let gpu = gpu();
    for (shape, behind) in CASES {
        let of = picture(shape);
        let mut random = Random(31);
        let (x, r): (Vec<E>, Vec<E>) = (random.values(of.len()), random.values(of.len()));
        let (channels, mut images): (Vec<f32>, Vec<f32>) =
            (random.values(of.channels), random.values(of.images));
        // An image that stochastic depth leaves out.
        images[0] = 0.0;
        let (wide_x, wide_r, p) = (wide(&x), wide(&r), plane(&of));
        let (x, r) = (There::new(&gpu, behind, &x), There::new(&gpu, behind, &r));
        let [on_channels, on_images] =
            [&channels, &images].map(|factors| There::<f32>::new(&gpu, behind, factors));
        for flags in 0..8 {
            let given = |bit: usize| flags >> bit & 1 == 1;
            let what = format!("{of:?}, {flags:03b}");
            let factors = Factors {
                channels: given(0).then_some(&channels[..]),
                images: given(1).then_some(&images[..]),
            };
            let residual = given(2).then_some((&wide_r[..], p));
            let mut y = vec![0.0; of.len()];
            cpu::scale_forward(of.images, &wide_x, p, &factors, residual, &mut y, p);
            let (channels, images) = (given(0).then(|| on_channels.all()), given(1).then(|| on_images.all()));
            let to = There::<E>::poisoned(&gpu, behind, of.len());
            let residual = given(2).then(|| r.all());
            scale_forward(&of, x.all(), channels, images, residual, to.all()).unwrap();
            assert_same(&what, &to.read(), &y);
            if !given(2) {
                each_way::<E>(
                    &what,
                    &gpu,
                    behind,
                    &y,
                    |_| 0.0,
                    |dx, accumulate| scale_backward(&of, x.all(), channels, images, dx, accumulate),
                );
            }
        }
    }
}

fn gradient_of_the_channels_factors<E: Activation>() {
    let gpu = gpu();
    for (shape, behind) in CASES {
        let of = picture(shape);
        let mut random = Random(37);
        let (dy, x): (Vec<E>, Vec<E>) = (random.values(of.len()), random.values(of.len()));
        let factors: Vec<f32> = random.values(of.images);
        let products: Vec<f64> = dy.iter().zip(&x).map(|(a, b)| f64::from(a.to_f32() * b.to_f32())).collect();
        let on_gpu = There::<f32>::new(&gpu, behind, &factors);
        let (dy, x) = (There::new(&gpu, behind, &dy), There::new(&gpu, behind, &x));
        for images in [None, Some(on_gpu.all())] {
            let factor = |i: usize| match images {
                Some(_) => f64::from(factors[i / (of.pixels() * of.channels)]),
                None => 1.0,
            };
            let (mut sums, mut magnitudes) = (vec![0.0; of.channels], vec![0.0; of.channels]);
            for (i, product) in products.iter().enumerate() {
                sums[i % of.channels] += product * factor(i);
                magnitudes[i % of.channels] += (product * factor(i)).abs();
            }
            let scratch = There::<f32>::poisoned(&gpu, 0, scale_scratch_len(&of));
            let out = There::<f32>::poisoned(&gpu, behind, of.channels);
            scale_backward_channels(&of, dy.all(), x.all(), images, scratch.all(), out.all()).unwrap();
            let expected: Vec<f32> = sums.iter().map(|&sum| sum as f32).collect();
            assert_close(&format!("{of:?}"), &out.read(), &expected, |c| (SUM * magnitudes[c]) as f32);
        }
    }
}

fn gates_and_their_gradients<E: Activation>() {
    let gpu = gpu();
    for (shape, behind) in CASES {
        let of = picture(shape);
        let (mut random, what, p) = (Random(41), format!("{of:?}"), plane(&of));
        let (x, dy): (Vec<E>, Vec<E>) = (random.values(of.len()), random.values(of.len()));
        let gate: Vec<E> = random.values(of.images * of.channels);
        let mut y = vec![0.0; of.len()];
        cpu::gate_forward(of.images, &wide(&x), p, &wide(&gate), &mut y, p);
        let products = x.iter().zip(&dy).map(|(a, b)| f64::from(a.to_f32()) * f64::from(b.to_f32()));
        let (sums, magnitudes) = image_sums(&of, products);
        let dgate: Vec<f32> = sums.iter().map(|&sum| sum as f32).collect();

        let (x, dy) = (There::new(&gpu, behind, &x), There::new(&gpu, behind, &dy));
        let gate = There::new(&gpu, behind, &gate);
        each_way::<E>(
            &what,
            &gpu,
            behind,
            &y,
            |_| 0.0,
            |y, accumulate| gate_forward(&of, x.all(), gate.all(), y, accumulate),
        );
        each_way::<E>(
            &what,
            &gpu,
            behind,
            &dgate,
            |i| (SUM * magnitudes[i]) as f32,
            |dgate, accumulate| gate_backward(&of, dy.all(), x.all(), dgate, accumulate),
        );
    }
}

fn merged_patches_and_their_gradient<E: Activation>() {
    let gpu = gpu();
    for (shape, behind) in CASES {
        let of = picture(shape);
        let (mut random, what) = (Random(43), format!("{of:?}"));
        let to = Picture {
            height: of.height.div_ceil(2),
            width: of.width.div_ceil(2),
            channels: 4 * of.channels,
            ..of
        };
        let (x, dy): (Vec<E>, Vec<E>) = (random.values(of.len()), random.values(to.len()));
        let (mut y, mut dx) = (vec![0.0; to.len()], vec![0.0; of.len()]);
        cpu::merge_patches_forward(of.images, &wide(&x), plane(&of), &mut y, plane(&to));
        cpu::merge_patches_backward(of.images, &wide(&dy), plane(&to), &mut dx, plane(&of));
        let (x, dy) = (There::new(&gpu, behind, &x), There::new(&gpu, behind, &dy));
        let merged = There::<E>::poisoned(&gpu, behind, to.len());
        merge_patches_forward(&of, x.all(), merged.all()).unwrap();
        assert_same(&what, &merged.read(), &y);
        each_way::<E>(
            &what,
            &gpu,
            behind,
            &dx,
            |_| 0.0,
            |dx, accumulate| merge_patches_backward(&of, dy.all(), dx, accumulate),
        );
    }
}

#[test]
#[should_panic(expected = "argmax: 24 U8 given, 12 U8 needed")]
fn slices_are_checked() {
    let gpu = gpu();
    let (of, window) = (picture([2, 4, 6, 1]), Window { kernel: 2, stride: 2, padding: 0 });
    let (x, y) = (gpu.allocate(Type::F32, 48).unwrap(), gpu.allocate(Type::F32, 12).unwrap());
    let taps = gpu.allocate(Type::U8, 24).unwrap();
    max_pool_forward(&of, &window, x.all(), y.all(), Some(taps.all())).unwrap();
}
