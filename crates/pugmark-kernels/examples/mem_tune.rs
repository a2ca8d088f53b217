use pugmark_kernels::*;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    s.split(' ').next().unwrap().parse::<f64>().unwrap() * 1e-9
}
fn bench(name: &str, bytes: f64, mut f: impl FnMut()) {
    f();
    let t = cpu();
    let mut n = 0;
    while cpu() - t < 0.3 {
        f();
        n += 1;
    }
    let s = (cpu() - t) / n as f64;
    print!("{name} {:.2} ms {:.1} GB/s | ", s * 1e3, bytes / s / 1e9);
}
fn main() {
    rayon::scope(|_| run());
}
fn run() {
    for isa in Isa::available() {
        with_isa(isa, || {
            for (c, sz, n) in [
                (64usize, 56usize, 32usize),
                (512, 7, 32),
                (16, 56, 32),
                (3, 224, 8),
                (64, 56, 1),
                (512, 7, 1),
            ] {
                let p = Plane { height: sz, width: sz, channels: c, border: 1 };
                let mk = || (0..n * p.len()).map(|i| (i % 17) as f32 / 17.0 - 0.5).collect::<Vec<f32>>();
                let (x, dy, r, mut y, mut dx, mut rg) = (mk(), mk(), mk(), mk(), mk(), mk());
                let v: Vec<f32> = (0..c).map(|i| 1.0 + i as f32).collect();
                let (mut a, mut b) = (v.clone(), v.clone());
                let one = (n * p.len() * 4) as f64;
                println!("\n{isa} c {c} size {sz} n {n} tensor {:.1} MB", one / 1e6);
                if std::env::var("POOL").is_err() {};
                bench("scale_shift", 3.0 * one, || scale_shift(n, &x, p, &v, &v, None, true, &mut y, p));
                bench("scale_shift+res", 4.0 * one, || {
                    scale_shift(n, &x, p, &v, &v, Some((&r, p)), true, &mut y, p)
                });
                let mut st = ChannelStats::new(c);
                bench("stats", one, || channel_stats(n, &x, p, &mut st));
                bench("bn_reduce", 3.0 * one, || {
                    batch_norm_backward_reduce(n, &dy, p, Some((&y, p)), &x, p, &v, &v, &mut a, &mut b)
                });
                bench("bn_apply", 5.0 * one, || {
                    batch_norm_backward_apply(
                        n,
                        &dy,
                        p,
                        Some((&y, p)),
                        &x,
                        p,
                        &v,
                        &v,
                        &v,
                        &v,
                        &v,
                        false,
                        &mut dx,
                        p,
                        None,
                    )
                });
                bench("bn_apply+res", 7.0 * one, || {
                    batch_norm_backward_apply(
                        n,
                        &dy,
                        p,
                        Some((&y, p)),
                        &x,
                        p,
                        &v,
                        &v,
                        &v,
                        &v,
                        &v,
                        false,
                        &mut dx,
                        p,
                        Some(ResidualGradient { gradient: &mut rg, plane: p, accumulate: false }),
                    )
                });
                bench("accumulate", 3.0 * one, || accumulate(n, &x, p, &mut y, p));
                let s = PoolShape { kernel: 3, stride: 2, padding: 1 };
                let (h, w) = s.output_size(sz, sz);
                let pp = Plane { height: h, width: w, channels: c, border: 1 };
                let mut py = vec![0f32; n * pp.len()];
                let mut am = vec![0u8; n * pp.pixels() * c];
                bench("maxpool", one, || max_pool_forward(&s, n, &x, p, &mut py, pp, Some(&mut am)));
                bench("maxpool_bwd", one * 2.0, || max_pool_backward(&s, n, &py, pp, &am, &mut dx, p));
                let mut g = vec![0f32; n * c];
                bench("gap", one, || global_avg_pool_forward(n, &x, p, &mut g));
                bench("gap_bwd", 2.0 * one, || global_avg_pool_backward(n, &g, &mut dx, p));
                let (mut pw, mut m, mut vv) = (x.clone(), x.clone(), dy.clone());
                bench("adamw", 7.0 * one, || {
                    adamw_step(
                        &AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 },
                        3,
                        &mut pw,
                        &dy,
                        &mut m,
                        &mut vv,
                    )
                });
                bench("dropout", 3.0 * one, || dropout(3, 0.5, &x, &mut y));
                let px = vec![7u8; n * p.pixels() * c];
                bench("u8", 2.25 * one, || input_from_u8(n, &px, &v, &v, &mut y, p));
            }
        })
    }
    println!();
    for (s, name) in [
        (
            ConvShape { kernel: (3, 3), stride: 1, padding: 1, in_channels: 512, out_channels: 512 },
            "3x3x512x512",
        ),
        (
            ConvShape { kernel: (3, 3), stride: 2, padding: 1, in_channels: 256, out_channels: 512 },
            "3x3s2 256 512",
        ),
    ] {
        let w = vec![0.5f32; 9 * s.in_channels * s.out_channels];
        let mut f = vec![0f32; packed_len_forward(&s)];
        let mut b = vec![0f32; packed_len_backward(&s)];
        println!("\n{name}");
        bench("pack_fwd", 12.0 * w.len() as f64, || pack_forward(&s, &w, &mut f));
        bench("pack_bwd", 12.0 * w.len() as f64, || pack_backward(&s, &w, &mut b));
    }
    let logits = vec![0.3f32; 32 * 1000];
    let labels = vec![3u32; 32];
    let mut d = vec![0f32; 32000];
    bench("ce", 1.0, || {
        cross_entropy(32, 1000, &logits, &labels, &CrossEntropy::default(), Some(&mut d));
    });
    println!();
}
