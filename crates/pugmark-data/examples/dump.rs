use pugmark_data::*;
use std::io::Write;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    std::fs::create_dir_all(&args[2]).unwrap();
    let mut index = std::fs::File::create(format!("{}/index.tsv", args[2])).unwrap();
    for (n, p) in photos_below(std::path::Path::new(&args[1])).unwrap().iter().enumerate() {
        match decode_file(p, &Limits::default()) {
            Ok(ph) => {
                writeln!(index, "{}\t{n}\tok\t{}\t{}\t{}", p.display(), ph.width, ph.height, ph.truncated)
                    .unwrap();
                std::fs::write(format!("{}/{n}.rgb", args[2]), &ph.rgb).unwrap();
            }
            Err(e) => writeln!(index, "{}\t{n}\t{}\t\t\t", p.display(), e.reason()).unwrap(),
        }
    }
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", s.lines().find(|l| l.starts_with("VmHWM")).unwrap());
}
