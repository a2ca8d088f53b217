//! What the tests of the kernels share: random tensors, borders, and comparison with a stated tolerance.
#![allow(dead_code, unused_imports, unused_macros, reason = "not every test uses all of it")]

use pugmark_kernels::{
    ChannelStats, Element, Plane, linear_pack_backward, linear_pack_forward, linear_packed_len_backward,
    linear_packed_len_forward,
};

/// Unit roundoff of f32.
pub const UNIT: f64 = 1.0 / (1u64 << 24) as f64;

/// A small generator of test values (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly in [-1, 1).
    pub fn value(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.value()).collect()
    }

    /// Images with a zero border.
    pub fn tensor<E: Element>(&mut self, images: usize, p: Plane) -> Vec<E> {
        let mut values = vec![E::default(); images * p.len()];
        for at in interior(images, p) {
            values[at] = E::from_f32(self.value());
        }
        values
    }
}

/// A tensor to be written: NaN everywhere, border too.
pub fn poisoned<E: Element>(images: usize, p: Plane) -> Vec<E> {
    vec![E::from_f32(f32::NAN); images * p.len()]
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

pub fn plane(height: usize, width: usize, channels: usize, border: usize) -> Plane {
    Plane { height, width, channels, border }
}

/// The offset of value (`image`, `y`, `x`, `c`).
pub fn at(p: Plane, image: usize, y: usize, x: usize, c: usize) -> usize {
    image * p.len() + p.offset(y, x) + c
}

/// Offsets of all values that are not border, in order of image, row, pixel and channel.
pub fn interior(images: usize, p: Plane) -> Vec<usize> {
    let mut offsets = Vec::new();
    for image in 0..images {
        for y in 0..p.height {
            for x in 0..p.width {
                offsets.extend((0..p.channels).map(|c| at(p, image, y, x, c)));
            }
        }
    }
    offsets
}

/// Panics unless everything outside the images is zero.
pub fn assert_zero_border<E: Element>(what: &str, values: &[E], images: usize, p: Plane) {
    let mut values: Vec<f32> = values.iter().map(|v| v.to_f32()).collect();
    for at in interior(images, p) {
        values[at] = 0.0;
    }
    let bad = values.iter().position(|&v| v != 0.0 || v.is_nan());
    assert!(bad.is_none(), "{what}: border value {:?} at {bad:?} of {p:?}", bad.map(|i| values[i]));
}

/// A value computed in f64, and how far an f32 kernel may be from it. What a kernel then rounds to another element
/// may be half a place of that element further away: [`assert_close`] knows.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    pub value: f64,
    pub tolerance: f64,
}

/// A sum of products, with the bound that holds for any order of summation: a sum of `n` rounded products is
/// off by at most `n` units in the last place of the sum of magnitudes (Higham, Accuracy and Stability,
/// section 3.1).
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum {
    value: f64,
    magnitude: f64,
    terms: usize,
}

impl Sum {
    pub fn add(&mut self, product: f64) {
        self.value += product;
        self.magnitude += product.abs();
        self.terms += 1;
    }

    pub fn expected(self) -> Expected {
        // One more rounding for the store, one for an accumulated or added value.
        Expected { value: self.value, tolerance: (self.terms + 2) as f64 * UNIT * self.magnitude }
    }
}

/// Half of the last place of an element of that magnitude, which is what rounding an f32 to it may change; the
/// rounding of f32 itself is part of [`Expected::tolerance`].
fn half_place<E: Element>(magnitude: f64) -> f64 {
    match size_of::<E>() {
        4 => 0.0,
        // 7 bits behind the binary point; below 2^-126 places are as wide as there.
        2 => 2f64.powi(magnitude.log2().floor().max(-126.0) as i32 - 8),
        size => panic!("an element of {size} bytes"),
    }
}

/// Panics unless the values at `offsets` are the expected ones.
pub fn assert_close<E: Element>(what: &str, values: &[E], offsets: &[usize], expected: &[Expected]) {
    assert_eq!(offsets.len(), expected.len(), "{what}");
    for (i, (&at, e)) in offsets.iter().zip(expected).enumerate() {
        let value = values[at].to_f32();
        let tolerance = e.tolerance + half_place::<E>(e.value.abs() + e.tolerance);
        // Written so that a NaN fails.
        assert!(
            (f64::from(value) - e.value).abs() <= tolerance,
            "{what}: value {i} is {value} instead of {} +- {tolerance:e}",
            e.value
        );
    }
}

/// Panics unless `stats` are those of the images' values.
///
/// Blocks of some hundreds of values are added up in f32 before f64 takes over; the variance is a difference
/// of mean squares, so that its error is relative to those.
pub fn assert_stats<E: Element>(what: &str, stats: &ChannelStats, values: &[E], images: usize, p: Plane) {
    let (mut mean, mut var) = (vec![f32::NAN; p.channels], vec![f32::NAN; p.channels]);
    stats.finish(images * p.pixels(), &mut mean, &mut var);
    let offsets = interior(images, p);
    for c in 0..p.channels {
        let values = offsets.iter().skip(c).step_by(p.channels).map(|&at| f64::from(values[at].to_f32()));
        let count = values.len() as f64;
        let expected_mean = values.clone().sum::<f64>() / count;
        let expected_var = values.clone().map(|v| (v - expected_mean).powi(2)).sum::<f64>() / count;
        let square = values.map(|v| v * v).sum::<f64>() / count;
        let tolerance = 300.0 * UNIT;
        assert!((f64::from(mean[c]) - expected_mean).abs() <= tolerance * square.sqrt(), "{what}: mean {c}");
        assert!((f64::from(var[c]) - expected_var).abs() <= tolerance * square, "{what}: variance {c}");
    }
}

/// Weights of a linear layer as the forward pass and as the gradient of its input read them.
pub fn linear_packed(inputs: usize, outputs: usize, w: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut forward = vec![f32::NAN; linear_packed_len_forward(inputs, outputs)];
    let mut backward = vec![f32::NAN; linear_packed_len_backward(inputs, outputs)];
    linear_pack_forward(inputs, outputs, w, &mut forward);
    linear_pack_backward(inputs, outputs, w, &mut backward);
    (forward, backward)
}

/// A convolution and what it is run on.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub kernel: (usize, usize),
    pub stride: usize,
    pub padding: usize,
    pub channels: (usize, usize),
    pub images: usize,
    pub size: (usize, usize),
    /// Border pixels beyond what is needed.
    pub spare: usize,
}

pub const fn case(
    kernel: (usize, usize),
    stride: usize,
    padding: usize,
    channels: (usize, usize),
    images: usize,
    size: (usize, usize),
) -> Case {
    Case { kernel, stride, padding, channels, images, size, spare: 0 }
}
