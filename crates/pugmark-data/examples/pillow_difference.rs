use std::path::Path;
use pugmark_data::*;
use safetensors::SafeTensors;
use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let bytes = std::fs::read(&args[1]).unwrap();
    let t = SafeTensors::deserialize(&bytes).unwrap();
    let (mut max, mut sum, mut n) = (0u8, 0u64, 0u64);
    let mut worst = String::new();
    let (mut td, mut tr) = (0.0, 0.0);
    let mut px = 0;
    for (name, e) in t.iter() {
        let a = Instant::now();
        let photo = decode_file(&Path::new(&args[2]).join(name), &Limits::default()).unwrap();
        let b = Instant::now();
        let r = Recipe::imagenet(224).apply(&photo);
        tr += b.elapsed().as_secs_f64();
        td += (b - a).as_secs_f64();
        px += photo.width * photo.height;
        let m = r.iter().zip(e.data()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        if m > max { max = m; worst = name.to_owned(); }
        sum += r.iter().zip(e.data()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>();
        n += r.len() as u64;
    }
    println!("max {max} ({worst}) mean {:.4} of {} photos; decode {:.1} ms/MP resize {:.1} ms/MP", sum as f64 / n as f64, t.len(), td * 1e9 / px as f64, tr * 1e9 / px as f64);
}
