//! Resampling against a plain loop, on every instruction set.

use pugmark_kernels::{Isa, Resample, with_isa};

const PRECISION: u32 = 22;

/// SplitMix64's numbers below `n`.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// Windows that spread over the line, of any length up to `taps`, with weights that sum to about 1, some negative.
fn windows(numbers: &mut Numbers, size: usize, to: usize, taps: usize) -> Vec<(usize, Vec<i32>)> {
    (0..to)
        .map(|_| {
            let taps = 1 + numbers.below(taps.min(size));
            let first = numbers.below(size - taps + 1);
            let mut weight =
                |_| numbers.below((1 << (PRECISION + 1)) / taps) as i32 - (1 << 18) / taps as i32;
            (first, (0..taps).map(&mut weight).collect())
        })
        .collect()
}

/// Output `out` of a line whose input `i` is `at(i)`.
fn naive((first, weights): &(usize, Vec<i32>), at: impl Fn(usize) -> u8) -> u8 {
    let sum: i64 =
        weights.iter().zip(*first..).map(|(&weight, i)| i64::from(weight) * i64::from(at(i))).sum();
    ((sum + (1 << (PRECISION - 1))) >> PRECISION).clamp(0, 255) as u8
}

#[test]
fn equals_a_plain_loop() {
    let mut numbers = Numbers(1);
    let mut cases =
        vec![(1, 1, 1, 1), (1, 1, 5, 1), (4, 1, 4, 4), (5, 4, 3, 5), (64, 9, 1, 64), (63, 6, 31, 63)];
    for _ in 0..60 {
        cases.push((
            1 + numbers.below(90),
            1 + numbers.below(11),
            1 + numbers.below(70),
            1 + numbers.below(30),
        ));
    }
    for (size, lines, to, taps) in cases {
        let windows = windows(&mut numbers, size, to, taps);
        let resample = Resample::new(size, PRECISION, &windows);
        let src: Vec<u8> = (0..size * lines * 3).map(|_| numbers.below(256) as u8).collect();
        let rows: Vec<u8> = (0..lines * to * 3)
            .map(|i| {
                let (line, out, channel) = (i / 3 / to, i / 3 % to, i % 3);
                naive(&windows[out], |x| src[(line * size + x) * 3 + channel])
            })
            .collect();
        let pitch = lines * 3;
        let columns: Vec<u8> =
            (0..to * pitch).map(|i| naive(&windows[i / pitch], |y| src[y * pitch + i % pitch])).collect();
        for isa in Isa::available() {
            let (mut got_rows, mut got_columns) = (vec![1; rows.len()], vec![1; columns.len()]);
            with_isa(isa, || {
                resample.along_rows(&src, &mut got_rows);
                resample.along_columns(&src, pitch, &mut got_columns);
            });
            assert!(got_rows == rows, "rows: {isa}, {lines} x {size} to {to}, {taps} taps");
            assert!(got_columns == columns, "columns: {isa}, {lines} x {size} to {to}, {taps} taps");
        }
    }
}
