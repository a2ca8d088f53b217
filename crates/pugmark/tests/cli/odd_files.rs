//! Odd, damaged and hostile files: one row each, a result or the reason, within bounded memory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Place, shared_data};

const MEMORY_MIB: u64 = 1024;
const PHOTOS: [&str; 7] = ["jpg", "png", "gif", "tif", "tiff", "bmp", "webp"];

#[test]
fn every_file_has_its_row() {
    let Some(data) = shared_data("every_file_has_its_row") else { return };
    let place = Place::new();
    place.photos(4);
    place.done(&[
        "train",
        "photos",
        "--out",
        "run",
        "--model",
        "simple_cnn",
        "--image-size",
        "32",
        "--epochs",
        "1",
    ]);
    for folder in ["odd-images", "speciesnet", "exif-orientation"] {
        let mut photos = Vec::new();
        collect(&data.join(folder), &mut photos);
        assert!(photos.len() > 10, "{folder} has no photos");
        let out = format!("{folder}.csv");
        let source = data.join(folder).to_string_lossy().into_owned();
        let ended = place.done(&["predict", "run", &source, "--out", &out]);

        let mut csv = csv::Reader::from_path(place.path(&out)).unwrap();
        let rows: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
        let mut ids: Vec<String> = rows.iter().map(|row| row[0].to_owned()).collect();
        let below =
            |path: &PathBuf| path.strip_prefix(data.join(folder)).unwrap().to_string_lossy().into_owned();
        let mut expected: Vec<String> = photos.iter().map(below).collect();
        ids.sort();
        expected.sort();
        assert_eq!(ids, expected, "{folder}");
        for row in &rows {
            let probabilities: Vec<f64> = (1..4).filter_map(|cell| row[cell].parse().ok()).collect();
            let sum: f64 = probabilities.iter().sum();
            // Three f32 that were rounded once each.
            let result = probabilities.len() == 3 && (sum - 1.0).abs() < 1e-6;
            assert!(result == row[5].is_empty(), "{folder}: {row:?}");
        }
        assert!(rows.iter().any(|row| row[5].is_empty()), "{folder}: something can be read");

        let memory = ended.stderr.split("peak memory ").nth(1).and_then(|rest| rest.split(' ').next());
        match memory.map(str::parse::<u64>) {
            Some(Ok(mib)) => assert!(mib < MEMORY_MIB, "{folder}: {mib} MiB"),
            _ if cfg!(target_os = "linux") => panic!("no memory figure in {}", ended.stderr),
            _ => println!("{folder}: this system does not tell the peak memory"),
        }
    }

    // What SpeciesNet's authors call truncated is flagged, and classified all the same.
    let rows = fs::read_to_string(place.path("speciesnet.csv")).unwrap();
    let cut = rows.lines().find(|row| row.starts_with("african_elephants_truncated_file.jpg,")).unwrap();
    assert!(cut.ends_with(",true,"), "{cut}");
}

fn collect(folder: &Path, photos: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_dir() {
            collect(&path, photos);
        } else if PHOTOS.contains(&extension.as_str()) {
            photos.push(path);
        }
    }
}
