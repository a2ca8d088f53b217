//! The same bits whatever the number of threads; and, but for convolutions, whatever the instruction set.

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

        let d = DepthwiseShape { kernel: 7, stride, padding: 3, channels: inputs };
        let (out_size, _) = d.output_size(size, size);
        let (xp, yp) = (plane(size, size, inputs, 3), plane(out_size, out_size, inputs, 3));
        let (x, w) = (random.tensor(images, xp), random.values(49 * inputs));
        let mut packed = vec![0.0; d.packed_len()];
        depthwise_pack(&d, &w, &mut packed);
        let mut y = poisoned(images, yp);
        depthwise_forward(&d, images, &x, xp, &packed, None, &mut y, yp);
        keep(&y);
        let (mut dx, mut dw) = (poisoned(images, xp), vec![0.0; w.len()]);
        depthwise_pack_backward(&d, &w, &mut packed);
        let target = GradientTarget { gradient: &mut dx, plane: xp, accumulate: false };
        depthwise_backward_data(&d, images, &y, yp, &packed, target);
        depthwise_backward_weight(&d, images, &x, xp, &y, yp, &mut dw);
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

/// All bits that attention and its gradients produce.
fn attention_bits<E: Element>() -> Vec<u32> {
    let mut out = Vec::new();
    let mut keep = |values: &[f32]| out.extend(values.iter().map(|v| v.to_bits()));
    let all = |values: &[E]| values.iter().map(|v| v.to_f32()).collect::<Vec<f32>>();
    let (images, s) = (3, WindowAttention { heads: 2, window: 7, shift: 3 });
    let mut random = Random(4);
    let (xp, yp) = (plane(20, 23, 192, 0), plane(20, 23, 64, 0));
    let (qkv, dy): (Vec<E>, Vec<E>) = (random.tensor(images, xp), random.tensor(images, yp));
    let (padding, table) = (random.values(192), random.values(s.table_len()));
    let (mut y, mut dqkv) = (poisoned(images, yp), poisoned(images, xp));
    let (mut dpadding, mut dtable) = (vec![f32::NAN; padding.len()], vec![f32::NAN; table.len()]);
    window_attention_forward(&s, images, &qkv, xp, &padding, &table, &mut y, yp);
    keep(&all(&y));
    window_attention_backward(
        &s,
        images,
        &dy,
        yp,
        &qkv,
        xp,
        &padding,
        &table,
        &mut dqkv,
        xp,
        &mut dpadding,
        &mut dtable,
    );
    keep(&all(&dqkv));
    keep(&dpadding);
    keep(&dtable);
    out
}

/// All bits that the memory-bound kernels produce, at sizes that are cut into many tasks.
fn memory_bound_bits<E: Element>() -> Vec<u32> {
    fn keep<E: Element>(out: &mut Vec<u32>, values: &[E]) {
        out.extend(values.iter().map(|v| v.to_f32().to_bits()));
    }
    let (images, channels) = (3, 72);
    let mut random = Random(2);
    let (xp, yp) = (plane(28, 29, channels, 1), plane(28, 29, channels, 0));
    let (x, dy): (Vec<E>, Vec<E>) = (random.tensor(images, xp), random.tensor(images, yp));
    let (scale, shift) = (random.values(channels), random.values(channels));
    let mut out = Vec::new();

    let mut y: Vec<E> = poisoned(images, yp);
    relu_forward(images, &x, xp, &mut y, yp);
    keep(&mut out, &y);
    accumulate(images, &x, xp, &mut y, yp);
    keep(&mut out, &y);
    add_forward(images, &x, xp, &dy, yp, true, &mut y, yp);
    keep(&mut out, &y);
    let mut dx: Vec<E> = poisoned(images, xp);
    relu_backward(images, &dy, yp, &y, yp, &mut dx, xp, false);
    keep(&mut out, &dx);
    dropout(5, 0.4, &x, &mut dx);
    keep(&mut out, &dx);
    let mut copy: Vec<f32> = poisoned(images, yp);
    copy_plane(images, &x, xp, &mut copy, yp);
    keep(&mut out, &copy);
    let pixels: Vec<u8> = (0..images * yp.len()).map(|i| (i % 251) as u8).collect();
    input_from_u8(images, &pixels, &shift, &scale, &mut dx, xp);
    keep(&mut out, &dx);

    gelu_forward(images, &x, xp, &mut y, yp);
    keep(&mut out, &y);
    gelu_backward(images, &dy, yp, &x, xp, &mut dx, xp, false);
    keep(&mut out, &dx);
    layer_norm_forward(images, &x, xp, &scale, &shift, 1e-5, &mut y, yp);
    keep(&mut out, &y);
    let (mut dgamma, mut dbeta) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
    let target = GradientTarget { gradient: &mut dx, plane: xp, accumulate: false };
    layer_norm_backward(images, &dy, yp, &x, xp, &scale, 1e-5, Some(target), &mut dgamma, &mut dbeta);
    keep(&mut out, &dx);
    keep(&mut out, &dgamma);
    keep(&mut out, &dbeta);
    let factors = Factors { channels: Some(&scale), images: Some(&[0.0, 1.25, 1.25]) };
    scale_forward(images, &x, xp, &factors, Some((&dy, yp)), &mut y, yp);
    keep(&mut out, &y);
    scale_backward_channels(images, &dy, yp, &x, xp, factors.images, &mut dgamma);
    keep(&mut out, &dgamma);

    let mut stats = ChannelStats::new(channels);
    channel_stats(images, &x, xp, &mut stats);
    let (mut mean, mut var) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
    stats.finish(images * xp.pixels(), &mut mean, &mut var);
    keep(&mut out, &mean);
    keep(&mut out, &var);
    scale_shift(images, &x, xp, &scale, &shift, Some((&dy, yp)), true, &mut y, yp);
    keep(&mut out, &y);
    let (mut sum_g, mut sum_gx) = (vec![f32::NAN; channels], vec![f32::NAN; channels]);
    let masking = Some((&y[..], yp));
    batch_norm_backward_reduce(images, &dy, yp, masking, &x, xp, &mean, &var, &mut sum_g, &mut sum_gx);
    keep(&mut out, &sum_g);
    keep(&mut out, &sum_gx);
    let mut residual: Vec<E> = poisoned(images, yp);
    let residual_gradient = GradientTarget { gradient: &mut residual, plane: yp, accumulate: false };
    batch_norm_backward_apply(
        images,
        &dy,
        yp,
        masking,
        &x,
        xp,
        &mean,
        &var,
        &scale,
        &sum_g,
        &sum_gx,
        false,
        &mut dx,
        xp,
        Some(residual_gradient),
    );
    keep(&mut out, &dx);
    keep(&mut out, &residual);
    channel_sum(images, &dy, yp, &mut sum_g);
    keep(&mut out, &sum_g);

    let pool = PoolShape { kernel: 3, stride: 2, padding: 1 };
    let (height, width) = pool.output_size(xp.height, xp.width);
    let pp = plane(height, width, channels, 1);
    let (mut pooled, mut argmax) = (poisoned::<E>(images, pp), vec![0; images * pp.pixels() * channels]);
    max_pool_forward(&pool, images, &x, xp, &mut pooled, pp, None);
    keep(&mut out, &pooled);
    max_pool_forward(&pool, images, &x, xp, &mut pooled, pp, Some(&mut argmax));
    keep(&mut out, &pooled);
    out.extend(argmax.iter().map(|&tap| u32::from(tap)));
    max_pool_backward(&pool, images, &pooled, pp, &argmax, &mut dx, xp);
    keep(&mut out, &dx);
    let mut average = vec![E::default(); images * channels];
    global_avg_pool_forward(images, &x, xp, &mut average);
    keep(&mut out, &average);
    global_avg_pool_backward(images, &average, &mut dx, xp);
    keep(&mut out, &dx);
    out
}

/// What `f` gives on that instruction set with so many threads.
fn run(isa: Isa, threads: usize, f: fn() -> Vec<u32>) -> Vec<u32> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
    pool.install(|| with_isa(isa, f))
}

#[test]
fn threads_change_no_bit() {
    let attention = [attention_bits::<f32>, attention_bits::<Bf16>];
    for f in [bits, memory_bound_bits::<f32>, memory_bound_bits::<Bf16>].into_iter().chain(attention) {
        for isa in Isa::available() {
            let one = run(isa, 1, f);
            assert!(one.len() > 100_000);
            for threads in [2, 3] {
                assert!(run(isa, threads, f) == one, "{threads} threads on {isa}");
            }
        }
    }
}

#[test]
fn instruction_sets_change_no_bit_of_memory_bound_kernels() {
    for f in [memory_bound_bits::<f32>, memory_bound_bits::<Bf16>] {
        let portable = run(Isa::Portable, 1, f);
        for isa in Isa::available() {
            assert!(run(isa, 1, f) == portable, "{isa}");
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
