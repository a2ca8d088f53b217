//! The GPU against the emulator. Without a GPU, nothing is checked.

use std::sync::Arc;
use std::thread;

use super::Cuda;
use crate::{Buffer, Convolution, ConvolutionPass, DeviceError, Emulator, Gpu, Matmul, Type};
use crate::{convert, convolution, matmul};

/// The first GPU and the emulator.
fn devices(what: &str) -> Option<(Gpu, Gpu, bool)> {
    if matches!(Cuda::count(), Ok(0) | Err(DeviceError::Missing(_))) {
        println!("NOT CHECKED: {what}; there is no GPU");
        return None;
    }
    let cuda = Cuda::open(0).unwrap();
    let has_bf16 = cuda.has_bf16();
    Some((Gpu(Arc::new(cuda)), Gpu(Arc::new(Emulator::new().unwrap())), has_bf16))
}

/// Numbers between -1 and 1 that repeat no pattern of a shape.
fn values(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Such numbers on a device, behind `before` others.
fn put(gpu: &Gpu, of: Type, before: usize, len: usize, seed: u32) -> Buffer {
    let from = gpu.put(&values(before + len, seed)).unwrap();
    let to = gpu.allocate(of, before + len).unwrap();
    convert(from.all(), to.all()).unwrap();
    to
}

fn read(buffer: &Buffer) -> Vec<f32> {
    let all = buffer.all();
    match all.of() {
        Type::Bf16 => {
            let bits = all.read::<u16>().unwrap().into_iter();
            bits.map(|bits| f32::from_bits(u32::from(bits) << 16)).collect()
        }
        _ => all.read().unwrap(),
    }
}

/// Sums of so many products of numbers below 1. Each rounds to 24 bits, in another order and, by Winograd's, of other terms,
/// for which 6 bits are left; bf16 may round to the neighbour, 2^-7 away.
fn assert_near(found: &[f32], expected: &[f32], of: Type, terms: usize, what: &str) {
    assert_eq!(found.len(), expected.len());
    let relative = if of == Type::Bf16 { 2.0_f32.powi(-7) } else { 0.0 };
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let allowed = terms as f32 * 2.0_f32.powi(-18) + relative * expected.abs();
        assert!((found - expected).abs() <= allowed, "{what} at {i}: {found} for {expected}");
    }
}

fn product(gpu: &Gpu, shape: &Matmul, of: Type, of_c: Type, before: usize, accumulate: bool) -> Vec<f32> {
    let Matmul { m, n, k, .. } = *shape;
    let a = put(gpu, of, before, m * k, 1);
    let b = put(gpu, of, before, k * n, 2);
    let c = put(gpu, of_c, before, m * n, 3);
    let [a, b, c_part] = [&a, &b, &c].map(|buffer| buffer.slice(before..buffer.len()));
    matmul(shape, a, b, c_part, accumulate).unwrap();
    read(&c)
}

#[test]
fn products_are_the_emulators() {
    let Some((cuda, emulator, has_bf16)) = devices("products of matrices") else { return };
    let mut types = vec![(Type::F32, Type::F32)];
    if has_bf16 {
        types.extend([(Type::Bf16, Type::Bf16), (Type::Bf16, Type::F32)]);
    }
    for (of, of_c) in types {
        // Also of odd sizes, and at odd places of a buffer.
        for ((m, n, k), before) in [((64, 48, 96), 0), ((33, 17, 65), 0), ((64, 48, 96), 1), ((1, 10, 7), 0)]
        {
            for turns in 0..4 {
                let shape = Matmul { m, n, k, turn_a: turns % 2 == 1, turn_b: turns / 2 == 1 };
                for accumulate in [false, true] {
                    let run = |gpu| product(gpu, &shape, of, of_c, before, accumulate);
                    let what = format!("{shape:?} {of:?} {of_c:?} {before} {accumulate}");
                    let found = run(&cuda);
                    assert_near(&found, &run(&emulator), of_c, k, &what);
                    assert_eq!(found, run(&cuda), "{what} again");
                }
            }
        }
    }
    let empty = Matmul { m: 2, n: 3, k: 0, turn_a: false, turn_b: false };
    assert_eq!(product(&cuda, &empty, Type::F32, Type::F32, 0, false), [0.0; 6]);
}

fn convolved(gpu: &Gpu, pass: ConvolutionPass, shape: &Convolution, of: Type, accumulate: bool) -> Vec<f32> {
    let (x, w, y) = shape.lens();
    let (x, w, y) = (put(gpu, of, 0, x, 4), put(gpu, of, 0, w, 5), put(gpu, of, 0, y, 6));
    convolution(pass, shape, x.all(), w.all(), y.all(), accumulate).unwrap();
    read(match pass {
        ConvolutionPass::Forward => &y,
        ConvolutionPass::BackwardData => &x,
        ConvolutionPass::BackwardWeight => &w,
    })
}

#[test]
fn convolutions_are_the_emulators() {
    let Some((cuda, emulator, has_bf16)) = devices("convolutions") else { return };
    let shape = |sizes: [usize; 5], kernel, stride, padding| {
        let [images, height, width, in_channels, out_channels] = sizes;
        Convolution { images, height, width, in_channels, out_channels, kernel, stride, padding }
    };
    let shapes = [
        shape([2, 14, 14, 32, 64], (3, 3), 1, 1),
        shape([2, 14, 14, 64, 32], (1, 1), 1, 0),
        // A first layer: three channels, a step that leaves pixels out.
        shape([2, 23, 31, 3, 32], (7, 7), 2, 3),
        shape([3, 15, 13, 24, 40], (1, 1), 2, 0),
        shape([1, 32, 16, 3, 16], (4, 4), 4, 0),
        shape([2, 9, 12, 5, 7], (3, 5), 1, 2),
    ];
    let types = if has_bf16 { &[Type::F32, Type::Bf16][..] } else { &[Type::F32] };
    for shape in shapes {
        let Convolution { images, out_channels, in_channels, kernel, .. } = shape;
        let taps = kernel.0 * kernel.1;
        for pass in [ConvolutionPass::Forward, ConvolutionPass::BackwardData, ConvolutionPass::BackwardWeight]
        {
            let terms = match pass {
                ConvolutionPass::Forward => taps * in_channels,
                ConvolutionPass::BackwardData => taps * out_channels,
                ConvolutionPass::BackwardWeight => images * shape.out_height() * shape.out_width(),
            };
            for &of in types {
                for accumulate in [false, true] {
                    let run = |gpu| convolved(gpu, pass, &shape, of, accumulate);
                    let what = format!("{pass:?} {shape:?} {of:?} {accumulate}");
                    let found = run(&cuda);
                    assert_near(&found, &run(&emulator), of, terms, &what);
                    assert_eq!(found, run(&cuda), "{what} again");
                }
            }
        }
    }
}

#[test]
fn memory_is_zero_and_ends() {
    let Some((cuda, ..)) = devices("memory") else { return };
    for len in [0, 1, 1 << 20] {
        // Twice, for the second time the pool gives what was written to.
        for _ in 0..2 {
            let buffer = cuda.allocate(Type::U8, len).unwrap();
            assert_eq!(buffer.all().read::<u8>().unwrap(), vec![0; len]);
            buffer.all().write(&vec![7_u8; len]).unwrap();
            assert_eq!(buffer.all().read::<u8>().unwrap(), vec![7; len]);
        }
    }
    let DeviceError::Memory { asked, total, .. } = cuda.allocate(Type::U8, 1 << 50).unwrap_err() else {
        panic!("another error");
    };
    assert!(asked > total);
    // Nothing is broken by that.
    assert_eq!(cuda.put(&[1.5_f32]).unwrap().all().read::<f32>().unwrap(), [1.5]);
}

#[test]
fn threads_and_a_second_opening_share_a_gpu() {
    let Some((cuda, emulator, _)) = devices("threads") else { return };
    let shape = Matmul { m: 20, n: 30, k: 40, turn_a: false, turn_b: false };
    let run = |gpu: &Gpu| product(gpu, &shape, Type::F32, Type::F32, 0, true);
    let expected = run(&emulator);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let own = Gpu(Arc::new(Cuda::open(0).unwrap()));
                for gpu in [&cuda, &own] {
                    assert_near(&run(gpu), &expected, Type::F32, shape.k, "a thread");
                }
            });
        }
    });
}
