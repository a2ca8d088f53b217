//! Multi-head attention inside windows (Swin, arXiv 2103.14030).

mod head;
mod product;
mod windows;

use rayon::prelude::*;

use crate::Isa;
use crate::element::Element;
use crate::parallel::{Shared, zero_border};
use crate::plane::{Plane, check, check_len};
use head::{Head, Place, columns, fetch, gather, scatter, table_sums_len};
use windows::{Windows, differences, first_entry, masks};

/// Attention inside square windows, as torchvision's `shifted_window_attention` between its two linear layers.
///
/// The picture is filled up with padding to whole windows and rolled by the shift; where one window covers a side, it is
/// not rolled along it. Tokens that were not neighbours before the rolling hardly see each other (-100 on their score).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowAttention {
    /// Heads; each has as many channels as the others.
    pub heads: usize,
    /// Pixels on a side of a window.
    pub window: usize,
    /// Pixels by which the windows are moved, below `window`.
    pub shift: usize,
}

impl WindowAttention {
    /// Tokens of a window.
    pub(crate) fn tokens(&self) -> usize {
        self.window * self.window
    }

    /// Values of the table of relative position biases: `[heads][2 * window - 1][2 * window - 1]`, by the query's
    /// position less the key's, the smallest first.
    pub fn table_len(&self) -> usize {
        self.heads * differences(self)
    }

    /// Multiplications and additions of the two products in one picture's forward pass; the gradients have four such
    /// products, besides one that is made again.
    pub fn flops(&self, height: usize, width: usize, channels: usize) -> usize {
        let windows = height.div_ceil(self.window) * width.div_ceil(self.window);
        4 * windows * self.tokens() * self.tokens() * channels
    }

    #[track_caller]
    fn check(&self, images: usize, qkv: usize, xp: &Plane, yp: &Plane, padding: usize, table: usize) {
        check("qkv", qkv, images, xp);
        assert!(self.window > 0 && self.shift < self.window, "attention: {self:?}");
        assert!(self.heads > 0 && yp.channels.is_multiple_of(self.heads), "heads: {} for {yp:?}", self.heads);
        let fits = (yp.height, yp.width, 3 * yp.channels) == (xp.height, xp.width, xp.channels);
        assert!(fits, "qkv: {xp:?} does not fit {yp:?}");
        check_len("padding", padding, xp.channels);
        check_len("table", table, self.table_len());
    }

    /// The bias of every pair of tokens, a head after the other, from the table; a row a query.
    fn biases(&self, isa: Isa, table: &[f32]) -> Vec<f32> {
        let columns = columns(isa, self);
        let mut biases = vec![f32::NEG_INFINITY; self.heads * self.tokens() * columns];
        let heads = biases.chunks_exact_mut(self.tokens() * columns);
        for (bias, table) in heads.zip(table.chunks_exact(differences(self))) {
            let reversed: Vec<f32> = table.iter().rev().copied().collect();
            for (query, bias) in bias.chunks_exact_mut(columns).enumerate() {
                for (row, bias) in bias[..self.tokens()].chunks_exact_mut(self.window).enumerate() {
                    bias.copy_from_slice(&reversed[first_entry(self, query, row)..][..self.window]);
                }
            }
        }
        biases
    }
}

/// What all windows share.
struct Picture<'a, E> {
    s: &'a WindowAttention,
    isa: Isa,
    windows: Windows,
    qkv: &'a [E],
    padding: &'a [f32],
    biases: Vec<f32>,
    masks: [Vec<f32>; 4],
    channels: usize,
}

impl<'a, E: Element> Picture<'a, E> {
    fn new(
        s: &'a WindowAttention,
        qkv: &'a [E],
        xp: Plane,
        padding: &'a [f32],
        table: &[f32],
        channels: usize,
    ) -> Self {
        let isa = Isa::active();
        let (biases, masks) = (s.biases(isa, table), masks(s, columns(isa, s)));
        Self { s, isa, windows: Windows::new(s, &xp), qkv, padding, biases, masks, channels }
    }

    /// Channels of a head.
    fn depth(&self) -> usize {
        self.channels / self.s.heads
    }

    /// What queries are multiplied with.
    fn scale(&self) -> f32 {
        1.0 / (self.depth() as f32).sqrt()
    }

    /// Query, key, value and shares of a head, for a window whose tokens are at `pixels`.
    fn attend(&self, index: usize, seams: usize, pixels: &[Option<usize>], head: &mut Head) {
        let (depth, width) = (self.depth(), head.width());
        let scales = [self.scale(), 1.0, 1.0];
        for (part, rows) in [&mut head.query, &mut head.key, &mut head.value].into_iter().enumerate() {
            let channel = part * self.channels + index * depth;
            let padding = &self.padding[channel..channel + depth];
            let place = Place { pixels, channel, scale: scales[part] };
            gather(self.isa, self.qkv, &place, padding, rows, width);
        }
        let len = self.biases.len() / self.s.heads;
        let mask = (seams > 0).then_some(self.masks[seams].as_slice());
        self.fetch((self.qkv, 3 * self.channels), index, pixels, [0]);
        head.attend(&self.biases[index * len..(index + 1) * len], mask);
        self.fetch((self.qkv, 3 * self.channels), index, pixels, [1, 2]);
    }

    /// Starts to bring near what the next head reads of parts of `x`, whose pixels hold `pixel` values: memory is far, and
    /// its rows are short.
    fn fetch<const N: usize>(
        &self,
        (x, pixel): (&[E], usize),
        index: usize,
        pixels: &[Option<usize>],
        parts: [usize; N],
    ) {
        let depth = self.depth();
        // The last head's next is the first one, a window further.
        let last = index + 1 == self.s.heads;
        let ahead = if last { self.s.window * pixel - index * depth } else { depth };
        for part in parts {
            let place = Place { pixels, channel: part * self.channels + index * depth, scale: 1.0 };
            // SAFETY: `Isa::active` gave `isa`.
            unsafe { fetch(self.isa, x, &place, ahead, depth) };
        }
    }

    /// Calls `f(window, seams)` for each window of a row.
    fn each_window(&self, row: usize, mut f: impl FnMut((usize, usize), usize)) {
        for column in 0..self.windows.count.1 {
            f((row, column), self.windows.seams((row, column)));
        }
    }

    /// Where the tokens of an image's window are.
    fn pixels(&self, image: usize, window: (usize, usize), plane: &Plane, pixels: &mut [Option<usize>]) {
        self.windows.pixels(window, plane, pixels);
        for pixel in pixels.iter_mut().flatten() {
            *pixel += image * plane.len();
        }
    }
}

/// `y := softmax(scale * q * k^T + bias) * v` for each head in each window; writes `y`'s border too.
///
/// A pixel of `qkv` holds queries, keys and values, each head after head; `scale` is one over the root of a head's
/// channels. `padding` is what a pixel of padding holds, the bias of the layer that made `qkv`. `table` has
/// [`WindowAttention::table_len`] biases.
#[expect(clippy::too_many_arguments, reason = "tensors with their planes")]
pub fn window_attention_forward<E: Element>(
    s: &WindowAttention,
    images: usize,
    qkv: &[E],
    xp: Plane,
    padding: &[f32],
    table: &[f32],
    y: &mut [E],
    yp: Plane,
) {
    check("y", y.len(), images, &yp);
    s.check(images, qkv.len(), &xp, &yp, padding.len(), table.len());
    zero_border(y, yp);
    let picture = Picture::new(s, qkv, xp, padding, table, yp.channels);
    let (rows, depth) = (picture.windows.count.0, picture.depth());
    let y = Shared::new(y);
    let scratch = || {
        let pixels = vec![None; s.tokens()];
        (Head::new(picture.isa, s, depth, false), pixels.clone(), pixels, vec![0.0; depth])
    };
    (0..images * rows).into_par_iter().for_each_init(scratch, |(head, from, to, dropped), task| {
        picture.each_window(task % rows, |window, seams| {
            picture.pixels(task / rows, window, &xp, from);
            picture.pixels(task / rows, window, &yp, to);
            for index in 0..s.heads {
                picture.attend(index, seams, from, head);
                head.mix();
                let place = Place { pixels: to, channel: index * depth, scale: 1.0 };
                scatter(picture.isa, &head.output, head.width(), &place, dropped, y);
            }
        });
    });
}

/// Gradients of [`window_attention_forward`]: `dqkv`, with its border, `dpadding` and `dtable` are written.
#[expect(clippy::too_many_arguments, reason = "tensors with their planes")]
pub fn window_attention_backward<E: Element>(
    s: &WindowAttention,
    images: usize,
    dy: &[E],
    dyp: Plane,
    qkv: &[E],
    xp: Plane,
    padding: &[f32],
    table: &[f32],
    dqkv: &mut [E],
    dxp: Plane,
    dpadding: &mut [f32],
    dtable: &mut [f32],
) {
    check("dy", dy.len(), images, &dyp);
    check("dqkv", dqkv.len(), images, &dxp);
    s.check(images, qkv.len(), &xp, &dyp, padding.len(), table.len());
    s.check(images, dqkv.len(), &dxp, &dyp, dpadding.len(), dtable.len());
    zero_border(dqkv, dxp);
    let picture = Picture::new(s, qkv, xp, padding, table, dyp.channels);
    let (rows, depth) = (picture.windows.count.0, picture.depth());
    let dqkv = Shared::new(dqkv);
    // The sums of a task, which the tasks' order does not touch: each head's table, then the padding.
    let table_len = table_sums_len(s);
    let sums_len = s.heads * table_len + padding.len();
    let mut sums = vec![0.0_f32; images * rows * sums_len];
    let scratch = || {
        let pixels = vec![None; s.tokens()];
        (Head::new(picture.isa, s, depth, true), pixels.clone(), pixels.clone(), pixels, vec![0.0; depth])
    };
    sums.par_chunks_exact_mut(sums_len).enumerate().for_each_init(
        scratch,
        |(head, from, outputs, to, nothing), (task, sums)| {
            let (tables, dpadding) = sums.split_at_mut(s.heads * table_len);
            picture.each_window(task % rows, |window, seams| {
                picture.pixels(task / rows, window, &xp, from);
                picture.pixels(task / rows, window, &dyp, outputs);
                picture.pixels(task / rows, window, &dxp, to);
                for (index, table) in tables.chunks_exact_mut(table_len).enumerate() {
                    picture.attend(index, seams, from, head);
                    let width = head.width();
                    // What padding would have put out is dropped.
                    let place = Place { pixels: outputs, channel: index * depth, scale: 1.0 };
                    gather(picture.isa, dy, &place, nothing, &mut head.output, width);
                    picture.fetch((dy, picture.channels), index, outputs, [0]);
                    head.back(s, table);
                    let parts = [
                        (&head.query_gradient, picture.scale()),
                        (&head.key_gradient, 1.0),
                        (&head.value_gradient, 1.0),
                    ];
                    for (part, (gradient, scale)) in parts.into_iter().enumerate() {
                        let channel = part * picture.channels + index * depth;
                        let dpadding = &mut dpadding[channel..channel + depth];
                        let place = Place { pixels: to, channel, scale };
                        scatter(picture.isa, gradient, width, &place, dpadding, dqkv);
                    }
                }
            });
        },
    );
    let mut total = vec![0.0_f64; sums_len];
    for sums in sums.chunks_exact(sums_len) {
        for (total, &sum) in total.iter_mut().zip(sums) {
            *total += f64::from(sum);
        }
    }
    let (tables, padding) = total.split_at(s.heads * table_len);
    let tables = tables.chunks_exact(table_len);
    for (gradient, reversed) in dtable.chunks_exact_mut(differences(s)).zip(tables) {
        for (gradient, &sum) in gradient.iter_mut().rev().zip(reversed) {
            *gradient = sum as f32;
        }
    }
    for (gradient, &sum) in dpadding.iter_mut().zip(padding) {
        *gradient = sum as f32;
    }
}
