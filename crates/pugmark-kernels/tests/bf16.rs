//! Convolution of bf16 and its gradients against plain loops in f64 over the same values, on every path this machine
//! has and on the model of AMX's registers.

mod common;

use common::{
    Case, Expected, Random, Sum, assert_close, assert_stats, assert_zero_border, at, case, interior, plane,
};
use pugmark_kernels::*;

const CASES: [Case; 40] = [
    // What ResNet18 and ResNet50 are made of, on fewer pixels and channels.
    case((7, 7), 2, 3, (3, 64), 1, (32, 32)),
    case((3, 3), 1, 1, (64, 64), 2, (14, 14)),
    case((3, 3), 1, 1, (32, 32), 1, (9, 56)),
    case((3, 3), 1, 1, (64, 32), 3, (7, 7)),
    case((3, 3), 2, 1, (64, 96), 2, (14, 14)),
    case((3, 3), 2, 1, (32, 32), 1, (28, 28)),
    case((1, 1), 1, 0, (64, 256), 1, (7, 7)),
    case((1, 1), 1, 0, (256, 64), 2, (7, 14)),
    case((1, 1), 2, 0, (64, 128), 2, (14, 14)),
    case((1, 1), 2, 0, (128, 32), 1, (7, 7)),
    // Odd sizes, runs of unequal length, channels on both sides of a register's width.
    case((1, 1), 1, 0, (1, 1), 1, (1, 1)),
    case((3, 3), 1, 1, (1, 1), 2, (5, 1)),
    case((3, 3), 1, 1, (3, 10), 2, (5, 5)),
    case((3, 3), 1, 1, (5, 33), 1, (7, 7)),
    case((3, 3), 1, 1, (16, 48), 3, (6, 13)),
    case((3, 3), 1, 1, (33, 16), 1, (4, 17)),
    case((3, 3), 1, 1, (24, 5), 2, (5, 33)),
    case((3, 3), 1, 0, (16, 10), 2, (9, 29)),
    case((3, 3), 1, 2, (5, 2), 1, (5, 7)),
    case((3, 3), 2, 1, (16, 33), 2, (15, 14)),
    case((3, 3), 2, 1, (3, 48), 1, (15, 13)),
    case((3, 3), 2, 0, (5, 10), 1, (8, 29)),
    case((3, 3), 3, 1, (3, 2), 2, (11, 10)),
    case((1, 1), 1, 0, (40, 33), 2, (5, 7)),
    case((1, 1), 2, 0, (33, 48), 2, (14, 15)),
    case((1, 1), 3, 0, (5, 16), 1, (7, 8)),
    case((1, 1), 1, 1, (3, 5), 1, (4, 4)),
    case((5, 5), 1, 2, (3, 16), 1, (7, 15)),
    case((5, 5), 2, 3, (5, 10), 1, (13, 9)),
    case((5, 3), 1, 1, (4, 6), 1, (8, 7)),
    case((1, 7), 2, 3, (2, 5), 1, (6, 10)),
    case((7, 7), 1, 3, (1, 2), 1, (7, 13)),
    case((2, 2), 2, 0, (16, 16), 2, (9, 7)),
    // Large enough to be shared out: rows of an image, pixels with sums of their own, channels.
    case((3, 3), 1, 1, (16, 16), 1, (91, 97)),
    case((3, 3), 2, 1, (16, 16), 1, (161, 81)),
    case((3, 3), 1, 1, (40, 72), 2, (20, 28)),
    case((3, 3), 1, 1, (288, 272), 1, (7, 7)),
    Case { spare: 2, ..case((3, 3), 1, 1, (5, 10), 2, (6, 7)) },
    Case { spare: 1, ..case((3, 3), 2, 1, (16, 5), 2, (7, 15)) },
    Case { spare: 1, ..case((1, 1), 2, 0, (64, 40), 2, (6, 9)) },
];

/// Runs `check` on every path, whose name it is given.
fn each_path(mut check: impl FnMut(&str)) {
    for isa in Isa::available() {
        with_isa(isa, || check(&isa.to_string()));
    }
    with_modelled_tiles(|| check("modelled tiles"));
}

fn to_f64(value: Bf16) -> f64 {
    f64::from(value.to_f32())
}

fn nan() -> Bf16 {
    Bf16::from_f32(f32::NAN)
}

/// A tensor with NaN in front of it and behind it.
struct Guarded {
    values: Vec<Bf16>,
    len: usize,
}

impl Guarded {
    const GUARD: usize = 67;

    fn new(values: &[Bf16]) -> Self {
        let guard = [nan(); Self::GUARD];
        Guarded { values: [&guard, values, &guard].concat(), len: values.len() }
    }

    fn get(&self) -> &[Bf16] {
        &self.values[Self::GUARD..][..self.len]
    }
}

/// Poison to write on, and what must still be poison afterwards.
fn write_guarded(len: usize, write: impl FnOnce(&mut [Bf16])) -> Vec<Bf16> {
    let mut values = Guarded::new(&vec![nan(); len]).values;
    write(&mut values[Guarded::GUARD..][..len]);
    let guards = values[..Guarded::GUARD].iter().chain(&values[Guarded::GUARD + len..]);
    assert!(guards.into_iter().all(|&v| v.to_bits() == nan().to_bits()), "written outside the tensor");
    values[Guarded::GUARD..][..len].to_vec()
}

/// NaN in the border from `inner` pixels outside the image on.
fn poison_border(values: &mut [Bf16], images: usize, p: Plane, inner: usize) {
    let outer =
        Plane { height: p.height + 2 * inner, width: p.width + 2 * inner, border: p.border - inner, ..p };
    let mut poisoned = vec![nan(); values.len()];
    for at in interior(images, outer) {
        poisoned[at] = values[at];
    }
    values.copy_from_slice(&poisoned);
}

/// A case with its tensors: NaN wherever no tap reaches.
struct Problem {
    case: Case,
    shape: ConvShape,
    images: usize,
    xp: Plane,
    yp: Plane,
    x: Guarded,
    w: Vec<f32>,
    dy: Guarded,
}

impl Problem {
    fn new(case: Case, seed: u64) -> Problem {
        let shape = ConvShape {
            kernel: case.kernel,
            stride: case.stride,
            padding: case.padding,
            in_channels: case.channels.0,
            out_channels: case.channels.1,
        };
        let (height, width) = case.size;
        let (out_height, out_width) = shape.output_size(height, width);
        let xp = plane(height, width, shape.in_channels, shape.input_border() + case.spare);
        let yp = plane(out_height, out_width, shape.out_channels, shape.gradient_border() + case.spare);
        let mut random = Random(seed);
        let mut x = random.tensor(case.images, xp);
        let w = random.values(case.kernel.0 * case.kernel.1 * shape.in_channels * shape.out_channels);
        let mut dy = random.tensor(case.images, yp);
        poison_border(&mut x, case.images, xp, shape.input_border());
        poison_border(&mut dy, case.images, yp, shape.gradient_border());
        let empty = Guarded::new(&[]);
        let mut problem =
            Problem { case, shape, images: case.images, xp, yp, x: empty, w, dy: Guarded::new(&dy) };
        let mut reached = vec![false; x.len()];
        problem.each_product(|x, _, _| reached[x] = true);
        for at in interior(case.images, xp) {
            if !reached[at] {
                x[at] = nan();
            }
        }
        problem.x = Guarded::new(&x);
        problem
    }

    /// Calls `f(offset in x, offset in y, offset in w)` for each product of the convolution.
    fn each_product(&self, mut f: impl FnMut(usize, usize, usize)) {
        let s = &self.shape;
        for image in 0..self.images {
            for oy in 0..self.yp.height {
                for ox in 0..self.yp.width {
                    for ky in 0..s.kernel.0 {
                        for kx in 0..s.kernel.1 {
                            let (iy, ix) = (oy * s.stride + ky, ox * s.stride + kx);
                            if iy < s.padding || ix < s.padding {
                                continue;
                            }
                            let (iy, ix) = (iy - s.padding, ix - s.padding);
                            if iy >= self.xp.height || ix >= self.xp.width {
                                continue;
                            }
                            let x = at(self.xp, image, iy, ix, 0);
                            let y = at(self.yp, image, oy, ox, 0);
                            let w = (ky * s.kernel.1 + kx) * s.in_channels * s.out_channels;
                            for c in 0..s.in_channels {
                                for k in 0..s.out_channels {
                                    f(x + c, y + k, w + c * s.out_channels + k);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The sums of `count` values, each product added where `place(x, y, w)` says.
    fn sums(&self, count: usize, place: impl Fn(usize, usize, usize) -> usize, of: Operands) -> Vec<Sum> {
        let to_f64s = |values: &[Bf16]| values.iter().map(|&v| to_f64(v)).collect::<Vec<f64>>();
        let (x, dy) = (to_f64s(self.x.get()), to_f64s(self.dy.get()));
        let w: Vec<f64> = self.w.iter().map(|&w| to_f64(Bf16::from_f32(w))).collect();
        let mut sums = vec![Sum::default(); count];
        self.each_product(|xi, yi, wi| {
            let product = match of {
                Operands::InputWeight => x[xi] * w[wi],
                Operands::GradientWeight => dy[yi] * w[wi],
                Operands::InputGradient => x[xi] * dy[yi],
            };
            sums[place(xi, yi, wi)].add(product);
        });
        sums
    }

    fn packed_forward(&self) -> Guarded {
        let mut packed = vec![nan(); packed_len_forward::<Bf16>(&self.shape)];
        pack_forward(&self.shape, &self.w, &mut packed);
        Guarded::new(&packed)
    }

    fn packed_backward(&self) -> Guarded {
        let mut packed = vec![nan(); packed_len_backward::<Bf16>(&self.shape)];
        pack_backward(&self.shape, &self.w, &mut packed);
        Guarded::new(&packed)
    }

    fn forward(&self, epilogue: &Epilogue<'_, Bf16>, stats: Option<&mut ChannelStats>) -> Vec<Bf16> {
        let packed = self.packed_forward();
        write_guarded(self.images * self.yp.len(), |y| {
            let (x, packed) = (self.x.get(), packed.get());
            conv2d_forward(&self.shape, self.images, x, self.xp, packed, y, self.yp, epilogue, stats);
        })
    }

    fn what(&self, path: &str) -> String {
        format!("{:?} on {path}", self.case)
    }
}

#[derive(Clone, Copy)]
enum Operands {
    InputWeight,
    GradientWeight,
    InputGradient,
}

fn problems() -> impl Iterator<Item = Problem> {
    CASES.into_iter().enumerate().map(|(i, case)| Problem::new(case, i as u64))
}

/// Within the bound of a sum of products in f32 (those of bf16 are exact there, so that it is generous); what is stored
/// in bf16 may be half a place of that further off, as `assert_close` knows.
fn expected(sums: &[Sum], offsets: &[usize]) -> Vec<Expected> {
    offsets.iter().map(|&at| sums[at].expected()).collect()
}

#[test]
fn forward_is_the_sum_over_taps() {
    for p in problems() {
        let sums = p.sums(p.images * p.yp.len(), |_, y, _| y, Operands::InputWeight);
        let offsets = interior(p.images, p.yp);
        each_path(|path| {
            let y = p.forward(&Epilogue::default(), None);
            assert_close(&p.what(path), &y, &offsets, &expected(&sums, &offsets));
            assert_zero_border(&p.what(path), &y, p.images, p.yp);
        });
    }
}

#[test]
fn epilogue_adds_bias_and_residual_then_relu_and_counts_what_is_stored() {
    for p in problems() {
        let mut random = Random(77);
        let bias = random.values(p.shape.out_channels);
        let rp = Plane { border: p.images, ..p.yp };
        let mut residual = random.tensor(p.images, rp);
        poison_border(&mut residual, p.images, rp, 0);
        let residual = Guarded::new(&residual);

        let mut sums = p.sums(p.images * p.yp.len(), |_, y, _| y, Operands::InputWeight);
        let offsets = interior(p.images, p.yp);
        for (i, (&y, &r)) in offsets.iter().zip(&interior(p.images, rp)).enumerate() {
            sums[y].add(f64::from(bias[i % bias.len()]));
            sums[y].add(to_f64(residual.get()[r]));
        }
        for relu in [false, true] {
            let mut expected = expected(&sums, &offsets);
            if relu {
                // Clamping moves no value away from its neighbour.
                expected.iter_mut().for_each(|e| e.value = e.value.max(0.0));
            }
            let epilogue = Epilogue { bias: Some(&bias), residual: Some((residual.get(), rp)), relu };
            each_path(|path| {
                let mut stats = ChannelStats::new(p.shape.out_channels);
                let y = p.forward(&epilogue, Some(&mut stats));
                assert_close(&p.what(path), &y, &offsets, &expected);
                assert_zero_border(&p.what(path), &y, p.images, p.yp);
                assert_stats(&p.what(path), &stats, &y, p.images, p.yp);
            });
        }
    }
}

#[test]
fn backward_data_is_the_transpose() {
    for p in problems() {
        let sums = p.sums(p.images * p.xp.len(), |x, _, _| x, Operands::GradientWeight);
        let offsets = interior(p.images, p.xp);
        let before = Random(5).tensor::<Bf16>(p.images, p.xp);
        let mut more = sums.clone();
        for (sum, &before) in more.iter_mut().zip(&before) {
            sum.add(to_f64(before));
        }
        let packed = p.packed_backward();
        each_path(|path| {
            for accumulate in [false, true] {
                let dx = write_guarded(before.len(), |dx| {
                    if accumulate {
                        dx.copy_from_slice(&before);
                    }
                    let (dy, packed) = (p.dy.get(), packed.get());
                    conv2d_backward_data(&p.shape, p.images, dy, p.yp, packed, dx, p.xp, accumulate);
                });
                let sums = if accumulate { &more } else { &sums };
                assert_close(&p.what(path), &dx, &offsets, &expected(sums, &offsets));
                assert_zero_border(&p.what(path), &dx, p.images, p.xp);
            }
        });
    }
}

#[test]
fn backward_weight_sums_over_pixels() {
    for p in problems() {
        let sums = p.sums(p.w.len(), |_, _, w| w, Operands::InputGradient);
        let expected: Vec<Expected> = sums.into_iter().map(Sum::expected).collect();
        let offsets: Vec<usize> = (0..expected.len()).collect();
        let len = conv2d_backward_weight_scratch_len::<Bf16>(&p.shape, p.images, p.xp, p.yp);
        each_path(|path| {
            // Scratch wherever it may start.
            for start in [0, 1] {
                let (mut dw, mut scratch) = (vec![f32::NAN; p.w.len()], vec![f32::NAN; start + len]);
                let (x, dy, scratch) = (p.x.get(), p.dy.get(), &mut scratch[start..]);
                conv2d_backward_weight(&p.shape, p.images, x, p.xp, dy, p.yp, &mut dw, scratch);
                assert_close(&p.what(path), &dw, &offsets, &expected);
            }
        });
    }
}

#[test]
fn no_images_and_no_pixels_are_no_sum() {
    let s = ConvShape { kernel: (3, 3), stride: 1, padding: 0, in_channels: 16, out_channels: 16 };
    for (images, size) in [(0, 5), (2, 2)] {
        let (height, width) = s.output_size(size, size);
        let (xp, yp) = (plane(size, size, 16, 0), plane(height, width, 16, 2));
        let (x, dy) = (vec![nan(); images * xp.len()], vec![nan(); images * yp.len()]);
        let mut dw = vec![f32::NAN; 9 * 16 * 16];
        assert_eq!(conv2d_backward_weight_scratch_len::<Bf16>(&s, images, xp, yp), 0);
        conv2d_backward_weight(&s, images, &x, xp, &dy, yp, &mut dw, &mut []);
        assert!(dw.iter().all(|&dw| dw == 0.0));
    }
}

/// All bits of the three passes and of the statistics, at sizes that are cut into many tasks: by rows, by pixels, by
/// channels.
fn bits() -> [Vec<u32>; 2] {
    let (mut passes, mut statistics) = (Vec::new(), Vec::new());
    let mut random = Random(1);
    let images = 3;
    for (kernel, stride, padding, inputs, outputs, size) in
        [(3, 1, 1, 64, 72, 20), (7, 2, 3, 3, 33, 61), (3, 1, 1, 272, 288, 4)]
    {
        let s = ConvShape {
            kernel: (kernel, kernel),
            stride,
            padding,
            in_channels: inputs,
            out_channels: outputs,
        };
        let (out_size, _) = s.output_size(size, size);
        let xp = plane(size, size, inputs, s.input_border());
        let yp = plane(out_size, out_size, outputs, s.gradient_border());
        let (x, dy) = (random.tensor(images, xp), random.tensor(images, yp));
        let w = random.values(kernel * kernel * inputs * outputs);

        let mut packed = vec![nan(); packed_len_forward::<Bf16>(&s)];
        pack_forward(&s, &w, &mut packed);
        let mut y = vec![nan(); dy.len()];
        let mut stats = ChannelStats::new(outputs);
        conv2d_forward(&s, images, &x, xp, &packed, &mut y, yp, &Epilogue::default(), Some(&mut stats));
        let (mut mean, mut var) = (vec![0.0; outputs], vec![0.0; outputs]);
        stats.finish(images * yp.pixels(), &mut mean, &mut var);

        let mut packed = vec![nan(); packed_len_backward::<Bf16>(&s)];
        pack_backward(&s, &w, &mut packed);
        let mut dx = vec![nan(); x.len()];
        conv2d_backward_data(&s, images, &dy, yp, &packed, &mut dx, xp, false);

        let len = conv2d_backward_weight_scratch_len::<Bf16>(&s, images, xp, yp);
        let (mut dw, mut scratch) = (vec![0.0; w.len()], vec![f32::NAN; len]);
        conv2d_backward_weight(&s, images, &x, xp, &dy, yp, &mut dw, &mut scratch);
        passes.extend([&y, &dx].into_iter().flatten().map(|v| u32::from(v.to_bits())));
        passes.extend(dw.iter().map(|v| v.to_bits()));
        statistics.extend([&mean, &var].into_iter().flatten().map(|v| v.to_bits()));
    }
    [passes, statistics]
}

#[test]
fn threads_change_no_bit() {
    each_path_in_pools(|path, run| {
        let one = run(1);
        assert!(one[0].len() > 100_000);
        for threads in [2, 3] {
            assert!(run(threads) == one, "{threads} threads on {path}");
        }
    });
}

/// As [`each_path`]; `run(threads)` gives [`bits`] with that many threads.
fn each_path_in_pools(mut check: impl FnMut(&str, &dyn Fn(usize) -> [Vec<u32>; 2])) {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
    for isa in Isa::available() {
        check(&isa.to_string(), &|threads| pool(threads).install(|| with_isa(isa, bits)));
    }
    check("modelled tiles", &|threads| pool(threads).install(|| with_modelled_tiles(bits)));
}

/// The model adds up in the order that Intel's manual gives; statistics are fused where the machine can.
#[test]
fn amx_gives_the_bits_of_its_model() {
    if Isa::detected() == Isa::Amx {
        let ([amx, _], [model, _]) = (with_isa(Isa::Amx, bits), with_modelled_tiles(bits));
        assert!(amx == model);
    }
}
