//! What tests of kernels on activations share: values here and there, and comparison with a stated tolerance.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::sync::Arc;

use pugmark_cuda::{Buffer, Emulator, Gpu, Slice, Type};
use pugmark_kernels::{Bf16, Element, Plane};

/// An element whose values go to the device and back.
pub trait Activation: Element {
    const TYPE: Type;
    fn write(values: &[Self], to: Slice<'_>);
    fn read(from: Slice<'_>) -> Vec<Self>;
}

impl Activation for f32 {
    const TYPE: Type = Type::F32;

    fn write(values: &[Self], to: Slice<'_>) {
        to.write(values).unwrap();
    }

    fn read(from: Slice<'_>) -> Vec<Self> {
        from.read().unwrap()
    }
}

impl Activation for Bf16 {
    const TYPE: Type = Type::Bf16;

    fn write(values: &[Self], to: Slice<'_>) {
        to.write(&values.iter().map(|value| value.to_bits()).collect::<Vec<u16>>()).unwrap();
    }

    fn read(from: Slice<'_>) -> Vec<Self> {
        from.read::<u16>().unwrap().into_iter().map(Bf16::from_bits).collect()
    }
}

/// Makes tests of functions that are generic over the element: `in_f32::name` and `in_bf16::name`.
macro_rules! test_elements {
    ($($name:ident),* $(,)?) => {
        mod in_f32 {
            $(#[test] fn $name() { super::$name::<f32>(); })*
        }
        mod in_bf16 {
            $(#[test] fn $name() { super::$name::<pugmark_kernels::Bf16>(); })*
        }
    };
}
pub(crate) use test_elements;

pub fn gpu() -> Gpu {
    if !Emulator::is_possible() {
        // None of these tests can say anything.
        std::process::exit(0);
    }
    Gpu(Arc::new(Emulator::new().unwrap()))
}

/// Values on the device, behind some others, so that they need not lie on a line of 16 bytes.
pub struct There<E> {
    buffer: Buffer,
    behind: usize,
    of: std::marker::PhantomData<E>,
}

impl<E: Activation> There<E> {
    pub fn new(gpu: &Gpu, behind: usize, values: &[E]) -> Self {
        let buffer = gpu.allocate(E::TYPE, behind + values.len()).unwrap();
        let there = Self { buffer, behind, of: std::marker::PhantomData };
        E::write(values, there.all());
        there
    }

    /// As many NaN: to be overwritten.
    pub fn poisoned(gpu: &Gpu, behind: usize, len: usize) -> Self {
        Self::new(gpu, behind, &vec![E::from_f32(f32::NAN); len])
    }

    pub fn all(&self) -> Slice<'_> {
        self.buffer.slice(self.behind..self.buffer.len())
    }

    /// The values; none in front of them may have changed.
    pub fn read(&self) -> Vec<E> {
        let front = E::read(self.buffer.slice(0..self.behind));
        assert!(front.iter().all(|&value| value == E::default()), "written in front: {front:?}");
        E::read(self.all())
    }
}

/// A small generator of test values (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly in [-1, 1), as an element has them.
    pub fn values<E: Element>(&mut self, n: usize) -> Vec<E> {
        (0..n).map(|_| E::from_f32((self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0)).collect()
    }
}

/// The same values in f32. The processor's kernels calculate in f32 and round once, so that what they make of these is right
/// for any element but for that rounding.
pub fn wide<E: Element>(values: &[E]) -> Vec<f32> {
    values.iter().map(|value| value.to_f32()).collect()
}

/// A line of pixels.
pub fn line(pixels: usize, channels: usize) -> Plane {
    Plane { height: 1, width: pixels, channels, border: 0 }
}

/// Panics unless every value is, before it was rounded to its element, within a tolerance of what is expected.
pub fn assert_close<E: Element>(
    what: &str,
    values: &[E],
    expected: &[f32],
    tolerance: impl Fn(usize) -> f32,
) {
    assert_eq!(values.len(), expected.len(), "{what}");
    for (i, (value, &e)) in values.iter().zip(expected).enumerate() {
        let (value, mut off) = (value.to_f32(), tolerance(i));
        if size_of::<E>() == 2 {
            // Half a place of 7 bits behind the binary point, no smaller than below 2^-126.
            off += 2f32.powi((e.abs() + off).log2().floor().max(-126.0) as i32 - 8);
        }
        let same = value == e || value.is_nan() && e.is_nan();
        // Written so that a NaN fails.
        assert!(same || (value - e).abs() <= off, "{what}: value {i} is {value} instead of {e} +- {off:e}");
    }
}

/// Panics unless every value is what is expected, rounded.
pub fn assert_same<E: Element>(what: &str, values: &[E], expected: &[f32]) {
    assert_close(what, values, expected, |_| 0.0);
}
