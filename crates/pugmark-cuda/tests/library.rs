//! The emulator's convolutions and products against the processor's.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use pugmark_cuda::{Emulator, Gpu, Type, convert};

#[test]
fn values_are_rounded_and_widened() {
    let gpu = Gpu(Arc::new(Emulator::new().unwrap()));
    let values = [1.0_f32, -2.5, 3.141_592_7, 1e-30, f32::INFINITY, 0.0];
    let (from, to, back) = (
        gpu.put(&values).unwrap(),
        gpu.allocate(Type::Bf16, 6).unwrap(),
        gpu.allocate(Type::F32, 6).unwrap(),
    );
    convert(from.all(), to.all()).unwrap();
    convert(to.all(), back.all()).unwrap();
    let expected =
        values.map(|v| f32::from_bits(((v.to_bits() + 0x7fff + (v.to_bits() >> 16 & 1)) >> 16) << 16));
    assert_eq!(back.all().read::<f32>().unwrap(), expected);
}
