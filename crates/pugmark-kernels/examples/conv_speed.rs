//! Speed of convolution and its two gradients at ResNet's shapes, as a share of the machine's measured peak.
//!
//! `cargo run --release -p pugmark-kernels --example conv_speed [batch [isa [f32|bf16]]]`; `RAYON_NUM_THREADS` sets
//! the threads.

use std::time::Instant;

use pugmark_kernels::{
    Bf16, ConvElement, ConvShape, Epilogue, Isa, Plane, conv2d_backward_data, conv2d_backward_weight,
    conv2d_backward_weight_scratch_len, conv2d_forward, pack_backward, pack_forward, packed_len_backward,
    packed_len_forward, peak_flops, peak_flops_bf16, winograd_backward_data, winograd_backward_weight,
    winograd_forward, winograd_pack_backward, winograd_pack_forward, winograd_packed_len,
    winograd_weight_workspace_len, winograd_workspace_len, with_isa,
};

/// Name, kernel, stride, padding, input and output channels, input height and width.
type Shape = (&'static str, usize, usize, usize, usize, usize, usize);

const SHAPES: [Shape; 13] = [
    ("stem 7x7 s2", 7, 2, 3, 3, 64, 224),
    ("3x3", 3, 1, 1, 64, 64, 56),
    ("3x3", 3, 1, 1, 128, 128, 28),
    ("3x3", 3, 1, 1, 256, 256, 14),
    ("3x3", 3, 1, 1, 512, 512, 7),
    ("3x3 s2", 3, 2, 1, 64, 128, 56),
    ("3x3 s2", 3, 2, 1, 128, 256, 28),
    ("3x3 s2", 3, 2, 1, 256, 512, 14),
    ("1x1 s2", 1, 2, 0, 64, 128, 56),
    ("1x1 s2", 1, 2, 0, 256, 512, 14),
    ("1x1", 1, 1, 0, 64, 256, 56),
    ("1x1", 1, 1, 0, 1024, 256, 14),
    ("1x1", 1, 1, 0, 512, 2048, 7),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let batch = arguments.next().map_or(32, |n| n.parse().expect("batch: a number"));
    let isa = arguments.next().map_or(Isa::detected(), |name| name.parse().expect("an instruction set"));
    let bf16 = arguments.next().is_some_and(|element| element == "bf16");
    // Inside the pool, as the engine runs: no call pays for waking it.
    rayon::scope(|_| {
        with_isa(isa, || {
            if bf16 {
                let peak = peak_flops_bf16() / 1e9;
                run::<Bf16>(batch, peak);
                run_winograd::<Bf16>(batch, peak, |_, _, _| String::new());
            } else {
                let peak = peak_flops() / 1e9;
                run::<f32>(batch, peak);
                run_winograd::<f32>(batch, peak, winograd_gradients);
            }
        });
    });
}

fn run<E: ConvElement>(batch: usize, peak: f64) {
    let threads = rayon::current_num_threads();
    println!("{} threads, {}, batch {batch}: peak {peak:.0} GFLOP/s", threads, Isa::active());
    println!("{:<34}{:>18}{:>18}{:>18}", "", "forward", "backward data", "backward weight");
    for shape in SHAPES {
        let Problem { s, xp, yp, weights } = problem(shape);
        let (x, mut y) = (values::<E>(batch * xp.len()), values::<E>(batch * yp.len()));
        let (mut dx, mut dw) = (x.clone(), weights.clone());
        let mut forward = vec![E::default(); packed_len_forward::<E>(&s)];
        let mut backward = vec![E::default(); packed_len_backward::<E>(&s)];
        pack_forward(&s, &weights, &mut forward);
        pack_backward(&s, &weights, &mut backward);
        let mut scratch = vec![0.0; conv2d_backward_weight_scratch_len::<E>(&s, batch, xp, yp)];

        let speed = |f: &mut dyn FnMut()| speed(batch * yp.pixels() * weights.len(), peak, f);
        let ep = Epilogue::default();
        let f = speed(&mut || conv2d_forward(&s, batch, &x, xp, &forward, &mut y, yp, &ep, None));
        let d = speed(&mut || conv2d_backward_data(&s, batch, &y, yp, &backward, &mut dx, xp, false));
        let w = speed(&mut || conv2d_backward_weight(&s, batch, &x, xp, &y, yp, &mut dw, &mut scratch));
        println!("{}{f:>22}{d:>18}{w:>18}", title(shape));
    }
}

/// Forward with weights packed before, as in inference; then what `gradients` prints.
fn run_winograd<E: ConvElement>(batch: usize, peak: f64, gradients: fn(usize, f64, Shape) -> String) {
    println!("Winograd:");
    for shape in SHAPES {
        let Problem { s, xp, yp, weights } = problem(shape);
        if !s.suits_winograd::<E>(batch, yp.height, yp.width) {
            continue;
        }
        let (x, mut y) = (values::<E>(batch * xp.len()), values::<E>(batch * yp.len()));
        let mut packed = vec![E::default(); winograd_packed_len(&s)];
        winograd_pack_forward(&s, &weights, &mut packed);
        let mut workspace = vec![0.0; winograd_workspace_len::<E>(&s, batch, yp.height, yp.width)];
        let ep = Epilogue::default();
        let f = speed(batch * yp.pixels() * weights.len(), peak, &mut || {
            winograd_forward(&s, batch, &x, xp, &packed, &mut y, yp, &ep, None, &mut workspace);
        });
        println!("{}{f:>22}{}", title(shape), gradients(batch, peak, shape));
    }
}

fn winograd_gradients(batch: usize, peak: f64, shape: Shape) -> String {
    let Problem { s, xp, yp, weights } = problem(shape);
    let (x, y) = (values::<f32>(batch * xp.len()), values::<f32>(batch * yp.len()));
    let (mut dx, mut dw) = (x.clone(), weights.clone());
    let mut packed = vec![0.0; winograd_packed_len(&s)];
    let mut workspace = vec![0.0; winograd_workspace_len::<f32>(&s, batch, yp.height, yp.width)];
    let mut sums = vec![0.0; winograd_weight_workspace_len(&s, batch, yp.height, yp.width)];
    let speed = |f: &mut dyn FnMut()| speed(batch * yp.pixels() * weights.len(), peak, f);
    // Packing is part of a training step.
    let d = speed(&mut || {
        winograd_pack_backward(&s, &weights, &mut packed);
        winograd_backward_data(&s, batch, &y, yp, &packed, &mut dx, xp, false, &mut workspace);
    });
    let w = speed(&mut || winograd_backward_weight(&s, batch, &x, xp, &y, yp, &mut dw, &mut sums));
    format!("{d:>18}{w:>18}")
}

struct Problem {
    s: ConvShape,
    xp: Plane,
    yp: Plane,
    weights: Vec<f32>,
}

fn problem((_, kernel, stride, padding, in_channels, out_channels, size): Shape) -> Problem {
    let s = ConvShape { kernel: (kernel, kernel), stride, padding, in_channels, out_channels };
    let (out_size, _) = s.output_size(size, size);
    let xp = Plane { height: size, width: size, channels: in_channels, border: s.input_border() };
    let yp = Plane { height: out_size, width: out_size, channels: out_channels, border: s.gradient_border() };
    Problem { s, xp, yp, weights: values(kernel * kernel * in_channels * out_channels) }
}

fn values<E: ConvElement>(n: usize) -> Vec<E> {
    (0..n).map(|i| E::from_f32((i % 17) as f32 / 17.0 - 0.5)).collect()
}

fn title((name, _, _, _, in_channels, out_channels, size): Shape) -> String {
    format!("{name:<12}{in_channels:>5} -> {out_channels:<4} at {size:>3} ")
}

fn speed(products: usize, peak: f64, f: &mut dyn FnMut()) -> String {
    let speed = 2.0 * products as f64 / best(f) / 1e9;
    format!("{speed:8.0} {:5.1} %", 100.0 * speed / peak)
}

/// Seconds of the fastest of some runs: others may use the machine.
fn best(f: &mut dyn FnMut()) -> f64 {
    f();
    let start = Instant::now();
    let mut best = f64::INFINITY;
    for run in 0.. {
        let before = start.elapsed().as_secs_f64();
        f();
        let after = start.elapsed().as_secs_f64();
        best = best.min(after - before);
        if after > 0.5 && run >= 4 {
            break;
        }
    }
    best
}
