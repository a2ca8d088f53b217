//! The same bits whatever the number of threads.

mod common;

use common::{Random, plane, poisoned};
use pugmark_kernels::*;

/// All bits that a few layers and their gradients produce, at sizes that are cut into many tasks.
fn bits() -> Vec<u32> {
    let mut out: Vec<u32> = Vec::new();
    let mut keep = |values: &[f32]| out.extend(values.iter().map(|v| v.to_bits()));
    let mut random = Random(1);
    let images = 3;
    for (kernel, stride, padding, inputs, outputs, size) in
        [(3, 1, 1, 40, 72, 28), (3, 2, 1, 64, 48, 28), (1, 1, 0, 256, 512, 7), (7, 2, 3, 3, 33, 61)]
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
        let (x, w) = (random.tensor(images, xp), random.values(kernel * kernel * inputs * outputs));
        let mut packed = vec![0.0; packed_len_forward::<f32>(&s)];
        pack_forward(&s, &w, &mut packed);
        let mut y = poisoned(images, yp);
        let mut stats = ChannelStats::new(outputs);
        conv2d_forward(&s, images, &x, xp, &packed, &mut y, yp, &Epilogue::default(), Some(&mut stats));
        let (mut mean, mut var) = (vec![0.0; outputs], vec![0.0; outputs]);
        stats.finish(images * yp.pixels(), &mut mean, &mut var);
        keep(&y);
        keep(&mean);
        keep(&var);

        let dy = random.tensor(images, yp);
        let (mut sum_g, mut sum_gx) = (vec![0.0; outputs], vec![0.0; outputs]);
        let masking = Some((&y[..], yp));
        batch_norm_backward_reduce(images, &dy, yp, masking, &y, yp, &mean, &var, &mut sum_g, &mut sum_gx);
        keep(&sum_g);
        keep(&sum_gx);
        channel_sum(images, &dy, yp, &mut sum_g);
        keep(&sum_g);

        let mut packed = vec![0.0; packed_len_backward::<f32>(&s)];
        pack_backward(&s, &w, &mut packed);
        let (mut dx, mut dw) = (poisoned(images, xp), vec![0.0; w.len()]);
        conv2d_backward_data(&s, images, &dy, yp, &packed, &mut dx, xp, false);
        conv2d_backward_weight(&s, images, &x, xp, &dy, yp, &mut dw, &mut []);
        keep(&dx);
        keep(&dw);

        let pool = PoolShape { kernel: 3, stride: 2, padding: 1 };
        let (height, width) = pool.output_size(size, size);
        let pp = plane(height, width, inputs, 0);
        let (mut pooled, mut argmax) = (poisoned(images, pp), vec![0; images * pp.len()]);
        max_pool_forward(&pool, images, &x, xp, &mut pooled, pp, Some(&mut argmax));
        keep(&pooled);
        max_pool_backward(&pool, images, &pooled, pp, &argmax, &mut dx, xp);
        keep(&dx);
        let mut average = vec![0.0; images * inputs];
        global_avg_pool_forward(images, &x, xp, &mut average);
        keep(&average);
    }
    out
}

#[test]
fn threads_change_no_bit() {
    for isa in Isa::available() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
            pool.install(|| with_isa(isa, bits))
        };
        let one = run(1);
        assert!(one.len() > 100_000);
        for threads in [2, 3] {
            assert!(run(threads) == one, "{threads} threads on {isa}");
        }
    }
}

#[test]
fn names_of_instruction_sets() {
    for isa in Isa::available() {
        assert_eq!(isa.to_string().parse(), Ok(isa));
        assert_eq!(with_isa(isa, Isa::active), isa);
    }
    assert_eq!(Isa::available().last(), Some(Isa::detected()));
    let error = "avx1024".parse::<Isa>().expect_err("no such thing");
    assert_eq!(
        error.to_string(),
        "unknown instruction set `avx1024`: use portable, avx2, avx512, avx512bf16 or amx"
    );
}
