//! Window attention and patch merging against plain loops in f64, on every path this machine has.

mod common;

use common::{
    Expected, Random, assert_close, assert_zero_border, at, interior, plane, poisoned, test_elements,
};
use pugmark_kernels::*;

/// Attention; images, height, width, channels of a head.
const CASES: [(WindowAttention, [usize; 4]); 8] = [
    (attention(3, 7, 0), [2, 14, 7, 32]),
    (attention(3, 7, 3), [2, 14, 21, 32]),
    // Padded on both sides, shifted and not.
    (attention(2, 7, 0), [1, 8, 12, 32]),
    (attention(2, 7, 3), [2, 9, 15, 32]),
    // One window along a side, or along both: no shift there.
    (attention(2, 7, 3), [2, 5, 10, 8]),
    (attention(1, 7, 3), [1, 6, 7, 24]),
    // Other windows, and channels that are no whole vector.
    (attention(2, 4, 2), [1, 8, 6, 5]),
    (attention(1, 9, 4), [1, 10, 19, 17]),
];

const fn attention(heads: usize, window: usize, shift: usize) -> WindowAttention {
    WindowAttention { heads, window, shift }
}

struct Problem<E> {
    s: WindowAttention,
    images: usize,
    xp: Plane,
    yp: Plane,
    qkv: Vec<E>,
    padding: Vec<f32>,
    table: Vec<f32>,
    dy: Vec<E>,
}

/// What plain loops give.
struct Answer {
    y: Vec<f64>,
    dqkv: Vec<f64>,
    dpadding: Vec<f64>,
    dtable: Vec<f64>,
}

impl<E: Element> Problem<E> {
    fn new((s, [images, height, width, depth]): (WindowAttention, [usize; 4])) -> Self {
        let channels = s.heads * depth;
        let (xp, yp) = (plane(height, width, 3 * channels, 0), plane(height, width, channels, 1));
        let mut random = Random(11);
        let qkv = random.tensor::<E>(images, xp);
        let (padding, table) = (random.values(3 * channels), random.values(s.table_len()));
        let dy = random.tensor(images, yp);
        Self { s, images, xp, yp, qkv, padding, table, dy }
    }

    /// Every token meets every token of its picture; what does not share its window is left out.
    fn answer(&self) -> Answer {
        let (s, side) = (&self.s, self.s.window);
        let (channels, differences) = (self.yp.channels, 2 * side - 1);
        let (depth, height, width) = (channels / s.heads, self.xp.height, self.xp.width);
        let (full_height, full_width) = (height.next_multiple_of(side), width.next_multiple_of(side));
        let shift = |full: usize| if full > side { s.shift } else { 0 };
        let (shift_y, shift_x) = (shift(full_height), shift(full_width));
        let scale = 1.0 / (depth as f64).sqrt();
        let tokens: Vec<(usize, usize)> =
            (0..full_height * full_width).map(|t| (t / full_width, t % full_width)).collect();
        let mut answer = Answer {
            y: vec![0.0; self.images * height * width * channels],
            dqkv: vec![0.0; self.images * height * width * 3 * channels],
            dpadding: vec![0.0; 3 * channels],
            dtable: vec![0.0; self.table.len()],
        };
        for image in 0..self.images {
            // The picture that was filled up, by its own coordinates: rolled, a token is `shift` above and to the left.
            let inside = |(y, x): (usize, usize)| y < height && x < width;
            let value = |t: (usize, usize), channel: usize| {
                if inside(t) {
                    f64::from(self.qkv[at(self.xp, image, t.0, t.1, channel)].to_f32())
                } else {
                    f64::from(self.padding[channel])
                }
            };
            let rolled = |(y, x): (usize, usize)| {
                ((y + full_height - shift_y) % full_height, (x + full_width - shift_x) % full_width)
            };
            let region = |at: usize, full: usize, shift: usize| {
                usize::from(at >= full - side) + usize::from(shift > 0 && at >= full - shift)
            };
            for head in 0..s.heads {
                let channel = |part: usize, c: usize| part * channels + head * depth + c;
                for &query in tokens.iter().filter(|&&t| inside(t)) {
                    let own = rolled(query);
                    let keys: Vec<(usize, usize)> = tokens
                        .iter()
                        .copied()
                        .filter(|&t| {
                            let key = rolled(t);
                            (key.0 / side, key.1 / side) == (own.0 / side, own.1 / side)
                        })
                        .collect();
                    let entry = |key: (usize, usize)| {
                        let key = rolled(key);
                        let (dy, dx) = (own.0 + side - 1 - key.0, own.1 + side - 1 - key.1);
                        (head * differences + dy) * differences + dx
                    };
                    let scores: Vec<f64> = keys
                        .iter()
                        .map(|&key| {
                            let product: f64 = (0..depth)
                                .map(|c| value(query, channel(0, c)) * value(key, channel(1, c)))
                                .sum();
                            let place = rolled(key);
                            let regions = |t: (usize, usize)| {
                                (region(t.0, full_height, shift_y), region(t.1, full_width, shift_x))
                            };
                            let mask = if regions(own) == regions(place) { 0.0 } else { -100.0 };
                            scale * product + f64::from(self.table[entry(key)]) + mask
                        })
                        .collect();
                    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = scores.iter().map(|s| (s - most).exp()).sum();
                    let shares: Vec<f64> = scores.iter().map(|s| (s - most).exp() / sum).collect();
                    let pixel = (image * height + query.0) * width + query.1;
                    let dy: Vec<f64> = (0..depth)
                        .map(|c| {
                            f64::from(
                                self.dy[at(self.yp, image, query.0, query.1, head * depth + c)].to_f32(),
                            )
                        })
                        .collect();
                    let dshares: Vec<f64> = keys
                        .iter()
                        .map(|&key| (0..depth).map(|c| dy[c] * value(key, channel(2, c))).sum())
                        .collect();
                    let mean: f64 = shares.iter().zip(&dshares).map(|(p, d)| p * d).sum();
                    for ((&key, share), dshare) in keys.iter().zip(&shares).zip(&dshares) {
                        let dscore = share * (dshare - mean);
                        answer.dtable[entry(key)] += dscore;
                        for c in 0..depth {
                            answer.y[pixel * channels + head * depth + c] +=
                                share * value(key, channel(2, c));
                            answer.dqkv[pixel * 3 * channels + channel(0, c)] +=
                                scale * dscore * value(key, channel(1, c));
                            let (dkey, dvalue) =
                                (scale * dscore * value(query, channel(0, c)), share * dy[c]);
                            let (to, first) = if inside(key) {
                                let pixel = (image * height + key.0) * width + key.1;
                                (&mut answer.dqkv, pixel * 3 * channels)
                            } else {
                                (&mut answer.dpadding, 0)
                            };
                            to[first + channel(1, c)] += dkey;
                            to[first + channel(2, c)] += dvalue;
                        }
                    }
                }
            }
        }
        answer
    }
}

/// Sums of at most some hundred products of values of about 1, in f32 behind an exponential that is off by two units in
/// the last place: a few parts in a million of the largest sum.
fn expected(values: &[f64]) -> Vec<Expected> {
    let most = values.iter().fold(1.0_f64, |most, v| most.max(v.abs()));
    values.iter().map(|&value| Expected { value, tolerance: 4e-6 * most }).collect()
}

fn attention_equals_plain_loops<E: Element>() {
    for case in CASES {
        let problem = Problem::<E>::new(case);
        let Problem { s, images, xp, yp, ref qkv, ref padding, ref table, ref dy } = problem;
        let answer = problem.answer();
        for isa in Isa::available() {
            with_isa(isa, || {
                let what = format!("{case:?} on {isa}");
                let mut y = poisoned::<E>(images, yp);
                window_attention_forward(&s, images, qkv, xp, padding, table, &mut y, yp);
                assert_close(&format!("{what}: y"), &y, &interior(images, yp), &expected(&answer.y));
                assert_zero_border(&what, &y, images, yp);

                let dxp = plane(xp.height, xp.width, xp.channels, 1);
                let mut dqkv = poisoned::<E>(images, dxp);
                let (mut dpadding, mut dtable) = (vec![f32::NAN; padding.len()], vec![f32::NAN; table.len()]);
                window_attention_backward(
                    &s,
                    images,
                    dy,
                    yp,
                    qkv,
                    xp,
                    padding,
                    table,
                    &mut dqkv,
                    dxp,
                    &mut dpadding,
                    &mut dtable,
                );
                let all = |values: &[f32]| (0..values.len()).collect::<Vec<_>>();
                assert_close(
                    &format!("{what}: dqkv"),
                    &dqkv,
                    &interior(images, dxp),
                    &expected(&answer.dqkv),
                );
                assert_zero_border(&what, &dqkv, images, dxp);
                assert_close(
                    &format!("{what}: dpadding"),
                    &dpadding,
                    &all(padding),
                    &expected(&answer.dpadding),
                );
                assert_close(&format!("{what}: dtable"), &dtable, &all(table), &expected(&answer.dtable));
            });
        }
    }
}

/// Shares that no f32 can hold are 0, the largest takes all, and a NaN is not hidden.
fn extreme_scores<E: Element>() {
    let s = attention(1, 2, 0);
    let (xp, yp) = (plane(2, 2, 24, 0), plane(2, 2, 8, 0));
    for isa in Isa::available() {
        with_isa(isa, || {
            let mut qkv = vec![E::from_f32(0.0); xp.len()];
            for token in 0..4 {
                for c in 0..8 {
                    qkv[token * 24 + c] = E::from_f32(100.0);
                    qkv[token * 24 + 8 + c] = E::from_f32(token as f32);
                    qkv[token * 24 + 16 + c] = E::from_f32(1.0 + token as f32);
                }
            }
            let table = vec![0.0; s.table_len()];
            let mut y = poisoned::<E>(1, yp);
            window_attention_forward(&s, 1, &qkv, xp, &[0.0; 24], &table, &mut y, yp);
            assert!(y.iter().all(|y| y.to_f32() == 4.0), "{isa}: {y:?}");
            qkv[0] = E::from_f32(f32::NAN);
            window_attention_forward(&s, 1, &qkv, xp, &[0.0; 24], &table, &mut y, yp);
            let nan: Vec<bool> = y.iter().map(|y| y.to_f32().is_nan()).collect();
            assert!(nan[..8].iter().all(|&nan| nan) && !nan[8..].iter().any(|&nan| nan), "{isa}: {y:?}");
        });
    }
}

fn merging_equals_plain_loops<E: Element>() {
    for [images, height, width, channels] in [[2, 4, 6, 5], [1, 7, 7, 32], [2, 1, 9, 3], [3, 8, 5, 17]] {
        let (xp, yp) = (
            plane(height, width, channels, 1),
            plane(height.div_ceil(2), width.div_ceil(2), 4 * channels, 2),
        );
        let mut random = Random(3);
        let (x, dy) = (random.tensor::<E>(images, xp), random.tensor::<E>(images, yp));
        for isa in Isa::available() {
            with_isa(isa, || {
                let (mut y, mut dx) = (poisoned::<E>(images, yp), poisoned::<E>(images, xp));
                merge_patches_forward(images, &x, xp, &mut y, yp);
                merge_patches_backward(images, &dy, yp, &mut dx, xp);
                let (mut expected, mut gradient) = (vec![E::default(); y.len()], vec![E::default(); x.len()]);
                for image in 0..images {
                    for (row, column) in
                        (0..height).flat_map(|row| (0..width).map(move |column| (row, column)))
                    {
                        for c in 0..channels {
                            let quarter = row % 2 + 2 * (column % 2);
                            let from = at(xp, image, row, column, c);
                            let to = at(yp, image, row / 2, column / 2, quarter * channels + c);
                            expected[to] = x[from];
                            gradient[from] = dy[to];
                        }
                    }
                }
                assert!(
                    y == expected && dx == gradient,
                    "{images} x {height} x {width} x {channels} on {isa}"
                );
            });
        }
    }
}

test_elements!(attention_equals_plain_loops, extreme_scores, merging_equals_plain_loops);

#[test]
#[should_panic(expected = "qkv: Plane")]
fn the_picture_of_queries_has_three_times_the_channels() {
    let (xp, yp) = (plane(7, 7, 64, 0), plane(7, 7, 32, 0));
    let (qkv, mut y) = (vec![0.0; xp.len()], vec![0.0; yp.len()]);
    let s = attention(1, 7, 0);
    window_attention_forward(&s, 1, &qkv, xp, &[0.0; 64], &vec![0.0; s.table_len()], &mut y, yp);
}
