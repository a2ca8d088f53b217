//! Convolution and its gradients against plain loops in f64, on every path this machine has.

mod common;

use common::{
    Case, Expected, Random, Sum, assert_close, assert_stats, assert_zero_border, at, case, interior,
    linear_packed, plane, poisoned,
};
use pugmark_kernels::{
    ChannelStats, ConvShape, Epilogue, Isa, Plane, conv2d_backward_data, conv2d_backward_weight,
    conv2d_forward, linear_backward_data, linear_backward_weight, linear_forward, pack_backward,
    pack_forward, packed_len_backward, packed_len_forward, with_isa,
};

/// Odd widths for every length of run, channels on both sides of every vector's width, and what networks use.
const CASES: [Case; 32] = [
    case((1, 1), 1, 0, (1, 1), 1, (1, 1)),
    case((3, 3), 1, 1, (1, 1), 2, (5, 1)),
    case((3, 3), 1, 1, (3, 10), 2, (5, 5)),
    case((3, 3), 1, 1, (5, 33), 1, (7, 7)),
    case((3, 3), 1, 1, (16, 48), 3, (6, 13)),
    case((3, 3), 1, 1, (33, 16), 1, (4, 15)),
    case((3, 3), 1, 1, (64, 64), 2, (14, 14)),
    case((3, 3), 1, 0, (16, 10), 2, (9, 29)),
    case((3, 3), 1, 2, (5, 2), 1, (5, 7)),
    case((3, 3), 2, 1, (16, 33), 2, (14, 14)),
    case((3, 3), 2, 1, (3, 48), 1, (15, 13)),
    case((3, 3), 2, 0, (5, 10), 1, (8, 29)),
    case((3, 3), 3, 1, (3, 2), 2, (11, 10)),
    case((1, 1), 1, 0, (64, 33), 2, (5, 7)),
    case((1, 1), 2, 0, (33, 48), 2, (14, 15)),
    case((1, 1), 3, 0, (5, 16), 1, (7, 8)),
    case((1, 1), 1, 1, (3, 5), 1, (4, 4)),
    case((5, 5), 1, 2, (3, 16), 1, (7, 15)),
    case((5, 5), 2, 3, (5, 10), 1, (13, 9)),
    case((5, 3), 1, 1, (4, 6), 1, (8, 7)),
    case((1, 7), 2, 3, (2, 5), 1, (6, 10)),
    case((7, 7), 2, 3, (3, 64), 1, (29, 29)),
    case((7, 7), 1, 3, (1, 2), 1, (7, 13)),
    case((2, 2), 2, 0, (16, 16), 2, (8, 6)),
    // Swin's patches, and one that is cut off.
    case((4, 4), 4, 0, (3, 96), 2, (16, 13)),
    // So far apart that the weight gradient gathers its inputs.
    case((1, 1), 1, 0, (131, 98), 2, (5, 7)),
    case((3, 3), 2, 1, (67, 104), 2, (9, 7)),
    // Large enough to be cut into tasks: by rows and pixels; by output channels; by rows of the kernel.
    case((3, 3), 1, 1, (40, 72), 2, (20, 28)),
    case((3, 3), 1, 1, (512, 96), 1, (4, 5)),
    case((3, 3), 1, 1, (128, 64), 1, (14, 13)),
    Case { spare: 2, ..case((3, 3), 1, 1, (5, 10), 2, (6, 7)) },
    Case { spare: 1, ..case((3, 3), 2, 1, (16, 5), 2, (7, 15)) },
];

/// A case with its tensors.
struct Problem {
    case: Case,
    shape: ConvShape,
    images: usize,
    xp: Plane,
    yp: Plane,
    x: Vec<f32>,
    w: Vec<f32>,
    dy: Vec<f32>,
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
        Problem {
            case,
            shape,
            images: case.images,
            xp,
            yp,
            x: random.tensor(case.images, xp),
            w: random.values(case.kernel.0 * case.kernel.1 * shape.in_channels * shape.out_channels),
            dy: random.tensor(case.images, yp),
        }
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
                            for c in 0..s.in_channels {
                                for k in 0..s.out_channels {
                                    let w = ((ky * s.kernel.1 + kx) * s.in_channels + c) * s.out_channels + k;
                                    f(at(self.xp, image, iy, ix, c), at(self.yp, image, oy, ox, k), w);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The sums of the convolution's output, borders included.
    fn output(&self) -> Vec<Sum> {
        let mut sums = vec![Sum::default(); self.images * self.yp.len()];
        self.each_product(|x, y, w| sums[y].add(f64::from(self.x[x]) * f64::from(self.w[w])));
        sums
    }

    fn packed_forward(&self) -> Vec<f32> {
        let mut packed = vec![f32::NAN; packed_len_forward::<f32>(&self.shape)];
        pack_forward(&self.shape, &self.w, &mut packed);
        packed
    }

    fn packed_backward(&self) -> Vec<f32> {
        let mut packed = vec![f32::NAN; packed_len_backward::<f32>(&self.shape)];
        pack_backward(&self.shape, &self.w, &mut packed);
        packed
    }

    fn what(&self, isa: Isa) -> String {
        format!("{:?} on {isa}", self.case)
    }
}

/// Runs `check` on every path with the expected sums, which `reference` computes once.
fn each_problem(reference: impl Fn(&Problem) -> Vec<Sum>, check: impl Fn(&Problem, Isa, &[Sum])) {
    for (i, case) in CASES.into_iter().enumerate() {
        let problem = Problem::new(case, i as u64);
        let sums = reference(&problem);
        for isa in Isa::available() {
            with_isa(isa, || check(&problem, isa, &sums));
        }
    }
}

fn expected(sums: &[Sum], offsets: &[usize]) -> Vec<Expected> {
    offsets.iter().map(|&at| sums[at].expected()).collect()
}

#[test]
fn forward_is_the_sum_over_taps() {
    each_problem(Problem::output, |p, isa, sums| {
        let (mut y, packed) = (poisoned(p.images, p.yp), p.packed_forward());
        let epilogue = Epilogue::default();
        conv2d_forward(&p.shape, p.images, &p.x, p.xp, &packed, &mut y, p.yp, &epilogue, None);
        let offsets = interior(p.images, p.yp);
        assert_close(&p.what(isa), &y, &offsets, &expected(sums, &offsets));
        assert_zero_border(&p.what(isa), &y, p.images, p.yp);
    });
}

#[test]
fn epilogue_adds_bias_and_residual_then_relu_and_counts_what_is_written() {
    each_problem(Problem::output, |p, isa, sums| {
        let mut random = Random(77);
        let bias = random.values(p.shape.out_channels);
        let rp = Plane { border: p.case.images, ..p.yp };
        let residual = random.tensor(p.images, rp);
        let mut sums = sums.to_vec();
        let offsets = interior(p.images, p.yp);
        for (i, (&y, &r)) in offsets.iter().zip(&interior(p.images, rp)).enumerate() {
            sums[y].add(f64::from(bias[i % bias.len()]));
            sums[y].add(f64::from(residual[r]));
        }
        for relu in [false, true] {
            let epilogue = Epilogue { bias: Some(&bias), residual: Some((&residual, rp)), relu };
            let (mut y, packed) = (poisoned(p.images, p.yp), p.packed_forward());
            let mut stats = ChannelStats::new(p.shape.out_channels);
            let s = Some(&mut stats);
            conv2d_forward(&p.shape, p.images, &p.x, p.xp, &packed, &mut y, p.yp, &epilogue, s);
            let mut expected = expected(&sums, &offsets);
            if relu {
                // Clamping moves no value away from its neighbour.
                expected.iter_mut().for_each(|e| e.value = e.value.max(0.0));
            }
            assert_close(&p.what(isa), &y, &offsets, &expected);
            assert_zero_border(&p.what(isa), &y, p.images, p.yp);
            assert_stats(&p.what(isa), &stats, &y, p.images, p.yp);
        }
    });
}

#[test]
fn backward_data_is_the_transpose() {
    let reference = |p: &Problem| {
        let mut sums = vec![Sum::default(); p.images * p.xp.len()];
        p.each_product(|x, y, w| sums[x].add(f64::from(p.dy[y]) * f64::from(p.w[w])));
        sums
    };
    each_problem(reference, |p, isa, sums| {
        let offsets = interior(p.images, p.xp);
        let packed = p.packed_backward();
        let mut dx = poisoned(p.images, p.xp);
        conv2d_backward_data(&p.shape, p.images, &p.dy, p.yp, &packed, &mut dx, p.xp, false);
        assert_close(&p.what(isa), &dx, &offsets, &expected(sums, &offsets));
        assert_zero_border(&p.what(isa), &dx, p.images, p.xp);

        let before = Random(5).tensor(p.images, p.xp);
        let (mut dx, mut sums) = (before.clone(), sums.to_vec());
        for (sum, &before) in sums.iter_mut().zip(&before) {
            sum.add(f64::from(before));
        }
        conv2d_backward_data(&p.shape, p.images, &p.dy, p.yp, &packed, &mut dx, p.xp, true);
        assert_close(&p.what(isa), &dx, &offsets, &expected(&sums, &offsets));
        assert_zero_border(&p.what(isa), &dx, p.images, p.xp);
    });
}

#[test]
fn backward_weight_sums_over_pixels() {
    let reference = |p: &Problem| {
        let mut sums = vec![Sum::default(); p.w.len()];
        p.each_product(|x, y, w| sums[w].add(f64::from(p.dy[y]) * f64::from(p.x[x])));
        sums
    };
    each_problem(reference, |p, isa, sums| {
        let mut dw = vec![f32::NAN; p.w.len()];
        conv2d_backward_weight(&p.shape, p.images, &p.x, p.xp, &p.dy, p.yp, &mut dw, &mut []);
        let offsets: Vec<usize> = (0..dw.len()).collect();
        assert_close(&p.what(isa), &dw, &offsets, &expected(sums, &offsets));
    });
}

#[test]
fn linear_is_a_matrix_product() {
    for (n, inputs, outputs) in [(1, 1, 1), (3, 5, 10), (7, 33, 2), (32, 64, 133), (5, 512, 8)] {
        let mut random = Random(9);
        let (x, w, dy) =
            (random.values(n * inputs), random.values(inputs * outputs), random.values(n * outputs));
        let bias = random.values(outputs);
        let (mut ys, mut dxs, mut dws) =
            (vec![Sum::default(); dy.len()], vec![Sum::default(); x.len()], vec![Sum::default(); w.len()]);
        for i in 0..n {
            for k in 0..outputs {
                for c in 0..inputs {
                    let (xi, wi, yi) = (i * inputs + c, c * outputs + k, i * outputs + k);
                    ys[yi].add(f64::from(x[xi]) * f64::from(w[wi]));
                    dxs[xi].add(f64::from(dy[yi]) * f64::from(w[wi]));
                    dws[wi].add(f64::from(dy[yi]) * f64::from(x[xi]));
                }
                ys[i * outputs + k].add(f64::from(bias[k]));
            }
        }
        for isa in Isa::available() {
            let what = format!("{n} x {inputs} x {outputs} on {isa}");
            let check = |values: &[f32], sums: &[Sum]| {
                let offsets: Vec<usize> = (0..values.len()).collect();
                assert_close(&what, values, &offsets, &expected(sums, &offsets));
            };
            with_isa(isa, || {
                let (mut y, mut dx, mut dw) =
                    (vec![f32::NAN; dy.len()], vec![f32::NAN; x.len()], vec![f32::NAN; w.len()]);
                let (forward, backward) = linear_packed(inputs, outputs, &w);
                linear_forward(n, inputs, outputs, &x, &forward, Some(&bias), &mut y);
                linear_backward_data(n, inputs, outputs, &dy, &backward, &mut dx);
                linear_backward_weight(n, inputs, outputs, &x, &dy, &mut dw);
                check(&y, &ys);
                check(&dx, &dxs);
                check(&dw, &dws);
            });
        }
    }
}
