//! Points that fill the unit cube evenly: a Sobol sequence, scrambled by the seed.

use super::random::Generator;
use crate::{Sampler, Settings, Space, Trial};

/// The primitive polynomial and the first direction numbers of each dimension from the second on (Joe and Kuo, 2008, `new-joe-kuo-6`).
/// SageMaker's spaces have at most 30 parameters.
const DIMENSIONS: [(u32, &[u32]); 39] = [
    (3, &[1]),
    (7, &[1, 3]),
    (11, &[1, 3, 1]),
    (13, &[1, 1, 1]),
    (19, &[1, 1, 3, 3]),
    (25, &[1, 3, 5, 13]),
    (37, &[1, 1, 5, 5, 17]),
    (41, &[1, 1, 5, 5, 5]),
    (47, &[1, 1, 7, 11, 19]),
    (55, &[1, 1, 5, 1, 1]),
    (59, &[1, 1, 1, 3, 11]),
    (61, &[1, 3, 5, 5, 31]),
    (67, &[1, 3, 3, 9, 7, 49]),
    (91, &[1, 1, 1, 15, 21, 21]),
    (97, &[1, 3, 1, 13, 27, 49]),
    (103, &[1, 1, 1, 15, 7, 5]),
    (109, &[1, 3, 1, 15, 13, 25]),
    (115, &[1, 1, 5, 5, 19, 61]),
    (131, &[1, 3, 7, 11, 23, 15, 103]),
    (137, &[1, 3, 7, 13, 13, 15, 69]),
    (143, &[1, 1, 3, 13, 7, 35, 63]),
    (145, &[1, 3, 5, 9, 1, 25, 53]),
    (157, &[1, 3, 1, 13, 9, 35, 107]),
    (167, &[1, 3, 1, 5, 27, 61, 31]),
    (171, &[1, 1, 5, 11, 19, 41, 61]),
    (185, &[1, 3, 5, 3, 3, 13, 69]),
    (191, &[1, 1, 7, 13, 1, 19, 1]),
    (193, &[1, 3, 7, 5, 13, 19, 59]),
    (203, &[1, 1, 3, 9, 25, 29, 41]),
    (211, &[1, 3, 5, 13, 23, 1, 55]),
    (213, &[1, 3, 7, 3, 13, 59, 17]),
    (229, &[1, 3, 1, 3, 5, 53, 69]),
    (239, &[1, 1, 5, 5, 23, 33, 13]),
    (241, &[1, 1, 7, 7, 1, 61, 123]),
    (247, &[1, 1, 7, 9, 13, 61, 49]),
    (253, &[1, 3, 3, 5, 3, 55, 33]),
    (285, &[1, 3, 1, 15, 31, 13, 49, 245]),
    (299, &[1, 3, 5, 15, 31, 59, 63, 97]),
    (301, &[1, 3, 1, 11, 11, 11, 77, 249]),
];

/// A scrambled Sobol sequence.
pub(crate) struct Sequence {
    /// By dimension, the point's bits for each bit of its index.
    directions: Vec<[u32; 32]>,
    seed: u64,
}

impl Sequence {
    pub(crate) fn new(dimensions: usize, seed: u64) -> Self {
        Self { directions: (0..dimensions.min(DIMENSIONS.len() + 1)).map(directions).collect(), seed }
    }

    /// A coordinate of a point, in 2^-32, before it is scrambled.
    fn plain(&self, index: u32, dimension: usize) -> u32 {
        let gray = index ^ (index >> 1);
        (0..32).filter(|bit| gray >> bit & 1 == 1).fold(0, |x, bit| x ^ self.directions[dimension][bit])
    }

    /// A coordinate of a point in (0, 1). Dimensions beyond the table are random.
    pub(crate) fn coordinate(&self, index: u32, dimension: usize) -> f64 {
        let mut random = Generator::new(self.seed, dimension as u32, 1);
        let bits = if dimension < self.directions.len() {
            scramble(self.plain(index, dimension), random.bits() as u32)
        } else {
            Generator::new(self.seed, dimension as u32, 2 + u64::from(index)).bits() as u32
        };
        (f64::from(bits) + 0.5) / 4_294_967_296.0
    }
}

fn directions(dimension: usize) -> [u32; 32] {
    let mut numbers: [u32; 32] = std::array::from_fn(|bit| 1 << (31 - bit));
    if dimension > 0 {
        let (polynomial, first) = DIMENSIONS[dimension - 1];
        let degree = first.len();
        for bit in 0..32 {
            numbers[bit] = if bit < degree {
                first[bit] << (31 - bit)
            } else {
                // Bratley and Fox (1988): the recurrence of the polynomial.
                let back = numbers[bit - degree];
                (1..degree)
                    .filter(|k| polynomial >> (degree - k) & 1 == 1)
                    .fold(back ^ back >> degree, |x, k| x ^ numbers[bit - k])
            };
        }
    }
    numbers
}

/// Owen's nested scrambling by a hash in which a bit changes only those below it (Laine and Karras, 2011; Burley, 2020).
fn scramble(x: u32, seed: u32) -> u32 {
    let mut x = x.reverse_bits();
    x ^= x.wrapping_mul(0x3d20_adea);
    x = x.wrapping_add(seed);
    x = x.wrapping_mul((seed >> 16) | 1);
    x ^= x.wrapping_mul(0x0552_6c56);
    x ^= x.wrapping_mul(0x53a2_2864);
    x.reverse_bits()
}

/// A trial is the point of its number.
pub(super) struct Sobol {
    pub(super) seed: u64,
}

impl Sampler for Sobol {
    fn propose(&self, space: &Space, _history: &[Trial], number: u32) -> Settings {
        let sequence = Sequence::new(space.parameters.len(), self.seed);
        let point: Vec<f64> =
            (0..space.parameters.len()).map(|dimension| sequence.coordinate(number, dimension)).collect();
        space.from_unit(&point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.qmc.Sobol(40, scramble=False, bits=32)` of SciPy 1.17.1, times 2^32: the first points, and of 2048 points the XOR of
    /// (position from 1) * coordinate, modulo 2^32.
    const FIRST: [[u32; 5]; 8] = [
        [0, 0, 0, 0, 0],
        [2147483648, 2147483648, 2147483648, 2147483648, 2147483648],
        [3221225472, 1073741824, 1073741824, 1073741824, 3221225472],
        [1073741824, 3221225472, 3221225472, 3221225472, 1073741824],
        [1610612736, 1610612736, 2684354560, 3758096384, 1610612736],
        [3758096384, 3758096384, 536870912, 1610612736, 3758096384],
        [2684354560, 536870912, 3758096384, 2684354560, 2684354560],
        [536870912, 2684354560, 1610612736, 536870912, 536870912],
    ];
    const ALL: [u32; 40] = [
        2684354560, 2147483648, 2684354560, 536870912, 1073741824, 1610612736, 2684354560, 3221225472,
        2147483648, 2147483648, 3758096384, 3221225472, 2684354560, 3221225472, 536870912, 1610612736,
        3221225472, 2147483648, 536870912, 1610612736, 1610612736, 1073741824, 0, 536870912, 3758096384,
        1073741824, 2684354560, 2147483648, 1610612736, 536870912, 0, 1073741824, 1610612736, 1610612736,
        1610612736, 0, 0, 0, 2684354560, 536870912,
    ];

    #[test]
    fn the_points_of_scipy() {
        let sequence = Sequence::new(40, 0);
        for (index, point) in FIRST.iter().enumerate() {
            for (dimension, x) in point.iter().enumerate() {
                assert_eq!(sequence.plain(index as u32, dimension), *x);
            }
        }
        for (dimension, expected) in ALL.iter().enumerate() {
            let all = (0..2048).fold(0, |all, i| all ^ sequence.plain(i, dimension).wrapping_mul(i + 1));
            assert_eq!(all, *expected, "dimension {dimension}");
        }
    }

    /// Scrambled, the first 2^k points still have one in each of 2^k equal slices of every axis, and seeds differ.
    #[test]
    fn scrambled_points_stay_even() {
        for seed in 0..20 {
            let sequence = Sequence::new(40, seed);
            for dimension in 0..40 {
                let mut slices: Vec<usize> =
                    (0..64).map(|i| (64.0 * sequence.coordinate(i, dimension)) as usize).collect();
                slices.sort_unstable();
                assert!(slices.into_iter().eq(0..64));
            }
        }
        let first = |seed| Sequence::new(1, seed).coordinate(0, 0);
        assert!((0..50).all(|seed| (0..seed).all(|other| first(seed) != first(other))));
    }

    #[test]
    fn dimensions_beyond_the_table_are_random() {
        let sequence = Sequence::new(50, 1);
        let mean = |dimension| (0..1000).map(|i| sequence.coordinate(i, dimension)).sum::<f64>() / 1000.0;
        // Five standard errors of the mean of 1000 even numbers.
        assert!((40..50).all(|dimension| (mean(dimension) - 0.5).abs() < 0.046));
    }
}
