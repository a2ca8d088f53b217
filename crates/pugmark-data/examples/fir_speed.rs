use pugmark_data::*;
use fast_image_resize::{*, images::{Image, ImageRef}};
use std::time::Instant;
fn fir(rgb: &[u8], w: usize, h: usize, tw: usize, th: usize) -> Vec<u8> {
    let src = ImageRef::new(w as u32, h as u32, rgb, PixelType::U8x3).unwrap();
    let mut dst = Image::new(tw as u32, th as u32, PixelType::U8x3);
    Resizer::new().resize(&src, &mut dst, &ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))).unwrap();
    dst.into_vec()
}
fn main() {
    for (w, h) in [(4000usize, 3000usize), (1920, 1080), (500, 375)] {
        let rgb: Vec<u8> = (0..w * h * 3).map(|i| ((i as u64).wrapping_mul(6364136223846793005) >> 33) as u8).collect();
        let (mut best, mut own) = (f64::MAX, f64::MAX);
        let (mut x, mut y) = (vec![], vec![]);
        for _ in 0..7 {
            let a = Instant::now(); x = fir(&rgb, w, h, 224, 224); best = best.min(a.elapsed().as_secs_f64());
            let a = Instant::now(); y = resize_bilinear(&rgb, w, h, 224, 224); own = own.min(a.elapsed().as_secs_f64());
        }
        let d = x.iter().zip(&y).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        let c = x.iter().zip(&y).filter(|(a, b)| a != b).count() as f64 / x.len() as f64;
        println!("{w}x{h}: fir {:.2} ms own {:.2} ms, max diff {d}, share {c:.4}", best * 1e3, own * 1e3);
    }
}
