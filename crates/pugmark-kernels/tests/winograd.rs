//! Winograd's convolution and its gradients against plain loops in f64, on every path this machine has.

mod common;

use common::{Random, assert_stats, assert_zero_border, at, interior, plane, poisoned, test_elements};
use pugmark_kernels::{
    Bf16, ChannelStats, ConvElement, ConvShape, Epilogue, Isa, Plane, conv2d_backward_weight, conv2d_forward,
    pack_forward, packed_len_forward, winograd_backward_data, winograd_backward_weight, winograd_forward,
    winograd_pack_backward, winograd_pack_forward, winograd_packed_len, winograd_weight_workspace_len,
    winograd_workspace_len, with_isa, with_modelled_tiles,
};

/// Input and output channels, images, height and width, padding, border pixels beyond what is needed.
type Case = (usize, usize, usize, usize, usize, usize, usize);

/// Sizes that tiles fit and do not fit, channels that vectors fill and half fill, more tiles than a block,
/// and in the last case, in either element, more weights than pass by for each block and more tiles than a group.
const CASES: [Case; 10] = [
    (16, 16, 1, 1, 1, 1, 0),
    (16, 48, 2, 5, 9, 1, 0),
    (48, 16, 1, 8, 4, 1, 2),
    (32, 80, 2, 7, 7, 0, 0),
    (16, 16, 1, 6, 10, 2, 1),
    (64, 64, 3, 14, 14, 1, 0),
    (128, 160, 4, 7, 7, 1, 0),
    (16, 32, 4, 57, 43, 1, 0),
    (96, 272, 1, 28, 28, 1, 0),
    (256, 256, 48, 5, 5, 1, 0),
];

/// Error of a value as a share of the largest value, for sums of some thousand terms of either sign.
///
/// The transforms enlarge what they sum. Measured here in f32, with AVX2: at most 3.7e-6, and 1.5e-6 of the direct sums.
/// In bf16 transformed inputs and weights are rounded to 8 bits: at most 1.9e-2, and 3.3e-3 of the direct sums.
fn tolerance<E: ConvElement>() -> f64 {
    if size_of::<E>() == 4 { 1e-5 } else { 0.05 }
}

struct Problem<E> {
    case: Case,
    shape: ConvShape,
    images: usize,
    xp: Plane,
    yp: Plane,
    x: Vec<E>,
    w: Vec<f32>,
    dy: Vec<E>,
}

/// What the three operations should give, borders included.
struct Expected {
    y: Vec<f64>,
    dx: Vec<f64>,
    dw: Vec<f64>,
}

impl<E: ConvElement> Problem<E> {
    fn new(case: Case) -> Self {
        let (in_channels, out_channels, images, height, width, padding, spare) = case;
        let shape = ConvShape { kernel: (3, 3), stride: 1, padding, in_channels, out_channels };
        let (out_height, out_width) = shape.output_size(height, width);
        let xp = plane(height, width, in_channels, shape.input_border() + spare);
        let yp = plane(out_height, out_width, out_channels, shape.gradient_border() + spare);
        let mut random = Random(height as u64);
        let (x, dy) = (random.tensor(images, xp), random.tensor(images, yp));
        Problem { case, shape, images, xp, yp, x, w: random.values(9 * in_channels * out_channels), dy }
    }

    fn expected(&self) -> Expected {
        let Problem { shape: s, images, xp, yp, .. } = self;
        let (mut y, mut dx) = (vec![0.0; images * yp.len()], vec![0.0; images * xp.len()]);
        let mut dw = vec![0.0; self.w.len()];
        for (image, oy) in (0..*images).flat_map(|image| (0..yp.height).map(move |oy| (image, oy))) {
            for (ox, tap) in (0..yp.width).flat_map(|ox| (0..9).map(move |tap| (ox, tap))) {
                let (iy, ix) = (oy + tap / 3, ox + tap % 3);
                if iy < s.padding || ix < s.padding {
                    continue;
                }
                let (iy, ix) = (iy - s.padding, ix - s.padding);
                if iy >= xp.height || ix >= xp.width {
                    continue;
                }
                let outputs = at(*yp, image, oy, ox, 0)..;
                for c in 0..s.in_channels {
                    let (input, first) =
                        (at(*xp, image, iy, ix, c), (tap * s.in_channels + c) * s.out_channels);
                    let x = f64::from(self.x[input].to_f32());
                    for (k, output) in outputs.clone().take(s.out_channels).enumerate() {
                        let (w, dy) = (f64::from(self.w[first + k]), f64::from(self.dy[output].to_f32()));
                        y[output] += x * w;
                        dx[input] += dy * w;
                        dw[first + k] += dy * x;
                    }
                }
            }
        }
        Expected { y, dx, dw }
    }

    fn packed(&self, pack: fn(&ConvShape, &[f32], &mut [E])) -> Vec<E> {
        let mut packed = vec![E::from_f32(f32::NAN); winograd_packed_len(&self.shape)];
        pack(&self.shape, &self.w, &mut packed);
        packed
    }

    fn workspace(&self) -> Vec<f32> {
        vec![f32::NAN; winograd_workspace_len::<E>(&self.shape, self.images, self.yp.height, self.yp.width)]
    }

    /// Weights for the plain sum over taps.
    fn direct(&self) -> Vec<E> {
        let mut packed = vec![E::from_f32(f32::NAN); packed_len_forward::<E>(&self.shape)];
        pack_forward(&self.shape, &self.w, &mut packed);
        packed
    }
}

/// Runs `check` on every case and path. In bf16 channels come in pairs of vectors.
fn each_problem<E: ConvElement>(check: impl Fn(&Problem<E>, &Expected, &str)) {
    let channels = if size_of::<E>() == 4 { 16 } else { 32 };
    for case in CASES.into_iter().filter(|case| case.0.is_multiple_of(channels)) {
        let problem = Problem::new(case);
        let expected = problem.expected();
        for isa in Isa::available() {
            with_isa(isa, || check(&problem, &expected, &format!("{:?} on {isa}", problem.case)));
        }
        with_modelled_tiles(|| check(&problem, &expected, &format!("{:?} on modelled tiles", problem.case)));
    }
}

fn assert_near<E: ConvElement>(
    what: &str,
    values: &[E],
    expected: &[f64],
    offsets: impl Iterator<Item = usize>,
) {
    let largest = expected.iter().fold(0f64, |largest, e| largest.max(e.abs()));
    let mut worst = 0f64;
    for i in offsets {
        let value = f64::from(values[i].to_f32());
        let error = (value - expected[i]).abs() / largest;
        // Written so that a NaN fails.
        assert!(error <= tolerance::<E>(), "{what}: value {i} is {value} instead of {}", expected[i]);
        worst = worst.max(error);
    }
    println!("{what}: {worst:.1e} of the largest");
}

test_elements!(forward_with_its_epilogue);

fn forward_with_its_epilogue<E: ConvElement>() {
    each_problem::<E>(|p, expected, what| {
        let offsets = interior(p.images, p.yp);
        let packed = p.packed(winograd_pack_forward);
        let (mut y, none) = (poisoned(p.images, p.yp), Epilogue::default());
        winograd_forward(
            &p.shape,
            p.images,
            &p.x,
            p.xp,
            &packed,
            &mut y,
            p.yp,
            &none,
            None,
            &mut p.workspace(),
        );
        assert_near(what, &y, &expected.y, offsets.iter().copied());
        assert_zero_border(what, &y, p.images, p.yp);
        let direct = p.direct();
        conv2d_forward(&p.shape, p.images, &p.x, p.xp, &direct, &mut y, p.yp, &none, None);
        assert_near(&format!("{what}, direct"), &y, &expected.y, offsets.iter().copied());

        let mut random = Random(7);
        let bias = random.values(p.shape.out_channels);
        let rp = Plane { border: 2, ..p.yp };
        let residual = random.tensor::<E>(p.images, rp);
        let mut sums = expected.y.clone();
        for (i, (&y, &r)) in offsets.iter().zip(&interior(p.images, rp)).enumerate() {
            sums[y] = (sums[y] + f64::from(bias[i % bias.len()]) + f64::from(residual[r].to_f32())).max(0.0);
        }
        let epilogue = Epilogue { bias: Some(&bias), residual: Some((&residual, rp)), relu: true };
        let (mut y, mut stats) = (poisoned(p.images, p.yp), ChannelStats::new(p.shape.out_channels));
        let s = Some(&mut stats);
        winograd_forward(
            &p.shape,
            p.images,
            &p.x,
            p.xp,
            &packed,
            &mut y,
            p.yp,
            &epilogue,
            s,
            &mut p.workspace(),
        );
        assert_near(what, &y, &sums, offsets.iter().copied());
        assert_zero_border(what, &y, p.images, p.yp);
        assert_stats(what, &stats, &y, p.images, p.yp);
    });
}

#[test]
fn backward_data_writes_and_adds() {
    each_problem::<f32>(|p, expected, what| {
        let offsets = interior(p.images, p.xp);
        let packed = p.packed(winograd_pack_backward);
        let mut dx = poisoned(p.images, p.xp);
        winograd_backward_data(
            &p.shape,
            p.images,
            &p.dy,
            p.yp,
            &packed,
            &mut dx,
            p.xp,
            false,
            &mut p.workspace(),
        );
        assert_near(what, &dx, &expected.dx, offsets.iter().copied());
        assert_zero_border(what, &dx, p.images, p.xp);

        let mut dx = Random(5).tensor(p.images, p.xp);
        let sums: Vec<f64> = dx.iter().zip(&expected.dx).map(|(&b, e)| f64::from(b) + e).collect();
        winograd_backward_data(
            &p.shape,
            p.images,
            &p.dy,
            p.yp,
            &packed,
            &mut dx,
            p.xp,
            true,
            &mut p.workspace(),
        );
        assert_near(what, &dx, &sums, offsets.iter().copied());
        assert_zero_border(what, &dx, p.images, p.xp);
    });
}

#[test]
fn backward_weight() {
    each_problem::<f32>(|p, expected, what| {
        let (s, yp) = (&p.shape, p.yp);
        let mut dw = vec![f32::NAN; p.w.len()];
        let mut workspace = vec![f32::NAN; winograd_weight_workspace_len(s, p.images, yp.height, yp.width)];
        winograd_backward_weight(s, p.images, &p.x, p.xp, &p.dy, yp, &mut dw, &mut workspace);
        assert_near(what, &dw, &expected.dw, 0..dw.len());
        conv2d_backward_weight(s, p.images, &p.x, p.xp, &p.dy, yp, &mut dw, &mut []);
        assert_near(&format!("{what}, direct"), &dw, &expected.dw, 0..dw.len());
    });
}

#[test]
fn few_tiles_and_other_shapes_do_not_suit() {
    let shape = |channels, stride, kernel| ConvShape {
        kernel: (kernel, kernel),
        stride,
        padding: kernel / 2,
        in_channels: channels,
        out_channels: 64,
    };
    assert!(shape(64, 1, 3).suits_winograd::<f32>(1, 56, 56));
    assert!(!shape(512, 1, 3).suits_winograd::<f32>(1, 7, 7));
    assert!(!shape(3, 1, 3).suits_winograd::<f32>(1, 56, 56));
    assert!(!shape(64, 2, 3).suits_winograd::<f32>(1, 56, 56));
    assert!(!shape(64, 1, 5).suits_winograd::<f32>(1, 56, 56));
    // AMX does better without.
    let bf16 = |isa, channels| with_isa(isa, || shape(channels, 1, 3).suits_winograd::<Bf16>(1, 56, 56));
    assert!(bf16(Isa::Avx512Bf16, 64));
    assert!(!bf16(Isa::Avx512Bf16, 48));
    assert!(!with_modelled_tiles(|| shape(64, 1, 3).suits_winograd::<Bf16>(1, 56, 56)));
}
