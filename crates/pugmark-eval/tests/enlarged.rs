//! A map as large as its picture, against PyTorch (`fixtures/generators/explanations.py`).

use std::path::Path;

use pugmark_eval::explain::Grid;
use safetensors::SafeTensors;

#[test]
fn bilinear_as_pytorch_has_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/grad_cam.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let read = |name: &str| -> Vec<f64> {
        let data = tensors.tensor(name).unwrap();
        data.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let values = read("resnet18")[..6].iter().map(|&value| value as f32).collect();
    let found = Grid { width: 3, height: 2, values }.enlarged(14, 9);
    let expected = read("enlarged");
    let largest = expected.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    assert!(largest > 0.0 && found.len() == expected.len());
    for (found, expected) in found.iter().zip(expected) {
        // A few roundings of f32.
        assert!((f64::from(*found) - expected).abs() <= 1e-6 * largest, "{found} against {expected}");
    }
}
