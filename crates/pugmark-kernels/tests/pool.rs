//! Pooling against plain loops, on every path this machine has.

mod common;

use common::{
    Expected, Random, Sum, assert_close, assert_zero_border, at, interior, plane, poisoned, test_elements,
};
use pugmark_kernels::*;

/// Kernel, stride, padding; images, height, width, channels: fewer than are worked on at a time, as many, and some more.
const CASES: [(PoolShape, [usize; 4]); 9] = [
    (pool(1, 1, 0), [1, 1, 1, 1]),
    (pool(2, 2, 0), [2, 5, 7, 3]),
    (pool(2, 1, 1), [1, 4, 5, 16]),
    (pool(3, 2, 1), [3, 15, 13, 33]),
    (pool(3, 2, 1), [2, 56, 29, 64]),
    (pool(3, 3, 0), [1, 10, 11, 5]),
    (pool(2, 3, 0), [2, 11, 10, 10]),
    (pool(5, 2, 2), [1, 7, 9, 17]),
    (pool(3, 1, 1), [1, 6, 5, 75]),
];

const fn pool(kernel: usize, stride: usize, padding: usize) -> PoolShape {
    PoolShape { kernel, stride, padding }
}

struct Problem<E> {
    shape: PoolShape,
    images: usize,
    xp: Plane,
    yp: Plane,
    x: Vec<E>,
}

impl<E: Element> Problem<E> {
    fn new((shape, [images, height, width, channels]): (PoolShape, [usize; 4])) -> Self {
        let (out_height, out_width) = shape.output_size(height, width);
        let (xp, yp) = (plane(height, width, channels, 1), plane(out_height, out_width, channels, 2));
        // All negative, so that a border taken for part of the image would win; quarters, so that there are
        // ties.
        let x: Vec<f32> = Random(6).tensor(images, xp);
        let x = x.iter().map(|x| E::from_f32((x * 4.0).floor() / 4.0 - 1.25)).collect();
        Problem { shape, images, xp, yp, x }
    }

    /// Each output's offset, its winner's offset and tap.
    fn winners(&self) -> Vec<(usize, usize, u8)> {
        let s = &self.shape;
        let mut winners = Vec::new();
        for image in 0..self.images {
            for oy in 0..self.yp.height {
                for ox in 0..self.yp.width {
                    for c in 0..self.xp.channels {
                        let mut best: Option<(usize, u8)> = None;
                        for ky in 0..s.kernel {
                            for kx in 0..s.kernel {
                                let iy = (oy * s.stride + ky).wrapping_sub(s.padding);
                                let ix = (ox * s.stride + kx).wrapping_sub(s.padding);
                                if iy < self.xp.height && ix < self.xp.width {
                                    let from = at(self.xp, image, iy, ix, c);
                                    if best.is_none_or(|(winner, _)| {
                                        self.x[from].to_f32() > self.x[winner].to_f32()
                                    }) {
                                        best = Some((from, (ky * s.kernel + kx) as u8));
                                    }
                                }
                            }
                        }
                        let (winner, tap) = best.expect("a window holds at least one pixel");
                        winners.push((at(self.yp, image, oy, ox, c), winner, tap));
                    }
                }
            }
        }
        winners
    }
}

fn each_problem<E: Element>(f: impl Fn(&str, &Problem<E>)) {
    for case in CASES {
        for isa in Isa::available() {
            with_isa(isa, || f(&format!("{case:?} on {isa}"), &Problem::new(case)));
        }
    }
}

test_elements!(
    max_pool_takes_the_first_maximum_and_gives_it_the_gradient,
    max_pool_keeps_nan,
    global_average
);

fn max_pool_takes_the_first_maximum_and_gives_it_the_gradient<E: Element>() {
    each_problem::<E>(|what, p| {
        let winners = p.winners();
        let mut argmax = vec![u8::MAX; winners.len()];
        let (mut y, mut plain) = (poisoned(p.images, p.yp), poisoned(p.images, p.yp));
        max_pool_forward(&p.shape, p.images, &p.x, p.xp, &mut y, p.yp, Some(&mut argmax));
        max_pool_forward(&p.shape, p.images, &p.x, p.xp, &mut plain, p.yp, None);
        assert_eq!(y, plain, "{what}");
        for (&(to, from, tap), &argmax) in winners.iter().zip(&argmax) {
            assert_eq!((y[to], argmax), (p.x[from], tap), "{what}");
        }
        assert_zero_border(what, &y, p.images, p.yp);

        let dy: Vec<E> = Random(7).tensor(p.images, p.yp);
        let mut sums = vec![Sum::default(); p.x.len()];
        for &(from, to, _) in &winners {
            sums[to].add(f64::from(dy[from].to_f32()));
        }
        let mut dx = poisoned(p.images, p.xp);
        max_pool_backward(&p.shape, p.images, &dy, p.yp, &argmax, &mut dx, p.xp);
        let offsets = interior(p.images, p.xp);
        let expected: Vec<Expected> = offsets.iter().map(|&at| sums[at].expected()).collect();
        assert_close(what, &dx, &offsets, &expected);
        assert_zero_border(what, &dx, p.images, p.xp);
    });
}

fn max_pool_keeps_nan<E: Element>() {
    for isa in Isa::available() {
        let (xp, yp) = (plane(4, 4, 19, 0), plane(2, 2, 19, 0));
        // In the channels that are worked on at a time, and in the rest.
        for channel in [3, 18] {
            let mut x = vec![E::from_f32(1.0); xp.len()];
            x[xp.offset(1, 0) + channel] = E::from_f32(f32::NAN);
            let (mut y, mut plain) = (poisoned::<E>(1, yp), poisoned::<E>(1, yp));
            let mut argmax = vec![0xff; yp.len()];
            with_isa(isa, || {
                max_pool_forward(&pool(2, 2, 0), 1, &x, xp, &mut y, yp, Some(&mut argmax));
                max_pool_forward(&pool(2, 2, 0), 1, &x, xp, &mut plain, yp, None);
            });
            assert_eq!(argmax[channel], 2, "{isa}");
            for y in [y, plain] {
                let nan: Vec<usize> = (0..y.len()).filter(|&at| y[at].to_f32().is_nan()).collect();
                assert_eq!(nan, [channel], "{isa}");
            }
        }
    }
}

fn global_average<E: Element>() {
    each_problem::<E>(|what, p| {
        let channels = p.xp.channels;
        let count = p.xp.pixels() as f64;
        let offsets = interior(p.images, p.xp);
        let mut sums = vec![Sum::default(); p.images * channels];
        for (i, &at) in offsets.iter().enumerate() {
            sums[i / (p.xp.pixels() * channels) * channels + i % channels]
                .add(f64::from(p.x[at].to_f32()) / count);
        }
        let mut y = vec![E::from_f32(f32::NAN); sums.len()];
        global_avg_pool_forward(p.images, &p.x, p.xp, &mut y);
        let expected: Vec<Expected> = sums.into_iter().map(Sum::expected).collect();
        assert_close(what, &y, &(0..y.len()).collect::<Vec<_>>(), &expected);

        let mut dx = poisoned(p.images, p.xp);
        global_avg_pool_backward(p.images, &y, &mut dx, p.xp);
        for (i, &at) in offsets.iter().enumerate() {
            let dy = y[i / (p.xp.pixels() * channels) * channels + i % channels];
            assert_eq!(dx[at], E::from_f32(dy.to_f32() / count as f32), "{what}");
        }
        assert_zero_border(what, &dx, p.images, p.xp);
    });
}
