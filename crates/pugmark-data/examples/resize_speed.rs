use pugmark_data::*;
use std::time::Instant;
fn main() {
    for (w, h) in [(4000, 3000), (1920, 1080), (500, 375)] {
        let rgb: Vec<u8> = (0..w * h * 3).map(|i| (i * 31 % 251) as u8).collect();
        let mut best = f64::MAX;
        for _ in 0..7 { let a = Instant::now(); std::hint::black_box(resize_bilinear(&rgb, w, h, 224, 224)); best = best.min(a.elapsed().as_secs_f64()); }
        println!("{w}x{h}: {:.2} ms, {:.2} ms/MP", best * 1e3, best * 1e9 / (w * h) as f64);
    }
}
