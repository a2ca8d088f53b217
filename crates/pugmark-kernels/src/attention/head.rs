//! One head in one window: 49 tokens of 32 values stay in the nearest cache.

use std::hint::select_unpredictable;

use super::WindowAttention;
use super::product::{Left, padded, product};
use super::windows::{differences, first_entry};
use crate::Isa;
use crate::element::Element;
use crate::parallel::Shared;
use crate::simd::{Simd, multiversion, per_isa};

/// Values that a loop handles together; rows of scores are a multiple of it.
const LANES: usize = 8;

/// Channels of a head in all of torchvision's models: a number that the compiler knows makes vectors.
const DEPTH: usize = 32;

/// Values of the sums of a table's gradient; the spare ones let whole vectors be added.
pub(super) fn table_sums_len(s: &WindowAttention) -> usize {
    differences(s) + 16
}

/// The tensors of a head; a matrix is rows of `width` values for channels, of `columns` for keys, filled up with zeros.
pub(super) struct Head {
    isa: Isa,
    tokens: usize,
    depth: usize,
    width: usize,
    columns: usize,
    /// Scaled.
    pub query: Vec<f32>,
    pub key: Vec<f32>,
    pub value: Vec<f32>,
    /// Keys or values with the channels as rows.
    turned: Vec<f32>,
    /// The share of each key in each token's output.
    shares: Vec<f32>,
    pub output: Vec<f32>,
    /// Empty unless gradients are made.
    score_gradient: Vec<f32>,
    pub query_gradient: Vec<f32>,
    pub key_gradient: Vec<f32>,
    pub value_gradient: Vec<f32>,
}

/// The length of a row of scores.
pub(super) fn columns(isa: Isa, s: &WindowAttention) -> usize {
    padded(isa, s.tokens())
}

impl Head {
    pub fn new(isa: Isa, s: &WindowAttention, depth: usize, gradients: bool) -> Self {
        let (tokens, width, columns) = (s.tokens(), padded(isa, depth), columns(isa, s));
        let rows = || vec![0.0; tokens * width];
        let scores = || vec![0.0; tokens * columns];
        let (some_rows, some_scores) = (
            || if gradients { rows() } else { Vec::new() },
            || {
                if gradients { scores() } else { Vec::new() }
            },
        );
        Self {
            isa,
            tokens,
            depth,
            width,
            columns,
            query: rows(),
            key: rows(),
            value: rows(),
            turned: vec![0.0; depth * columns],
            shares: scores(),
            output: rows(),
            score_gradient: some_scores(),
            query_gradient: some_rows(),
            key_gradient: some_rows(),
            value_gradient: some_rows(),
        }
    }

    /// Values from a token's to the next's.
    pub fn width(&self) -> usize {
        self.width
    }

    /// `shares := softmax(query * key^T + bias + mask)`.
    pub fn attend(&mut self, bias: &[f32], mask: Option<&[f32]>) {
        let Self { isa, depth, width, columns, .. } = *self;
        turn(isa, &self.key, width, &mut self.turned, columns);
        let query = Left { values: &self.query, rows: width, depth: 1 };
        product(isa, depth, columns, query, &self.turned, &mut self.shares);
        softmax(isa, columns, bias, mask, &mut self.shares);
    }

    /// `output := shares * value`.
    pub fn mix(&mut self) {
        let shares = Left { values: &self.shares, rows: self.columns, depth: 1 };
        product(self.isa, self.tokens, self.width, shares, &self.value, &mut self.output);
    }

    /// Gradients of query, key and value from that of the output, which is in `output`; adds the scores' to those of the
    /// head's table. [`Head::attend`] comes first. The query's is that of the scaled one.
    pub fn back(&mut self, s: &WindowAttention, table_sums: &mut [f32]) {
        let Self { isa, tokens, depth, width, columns, .. } = *self;
        let by_key = |values| Left { values, rows: 1, depth: columns };
        let shares = by_key(self.shares.as_slice());
        product(isa, tokens, width, shares, &self.output, &mut self.value_gradient);
        turn(isa, &self.value, width, &mut self.turned, columns);
        let output = Left { values: &self.output, rows: width, depth: 1 };
        product(isa, depth, columns, output, &self.turned, &mut self.score_gradient);
        softmax_back(isa, columns, &self.shares, &mut self.score_gradient);
        let scores = Left { values: &self.score_gradient, rows: columns, depth: 1 };
        product(isa, tokens, width, scores, &self.key, &mut self.query_gradient);
        let scores = by_key(self.score_gradient.as_slice());
        product(isa, tokens, width, scores, &self.query, &mut self.key_gradient);
        add_to_table(isa, s, columns, &self.score_gradient, table_sums);
    }
}

/// Where the values of a head's tokens are in a picture, and what they are multiplied with on the way.
pub(super) struct Place<'a> {
    /// Offset of each token's pixel, none where it is padding.
    pub pixels: &'a [Option<usize>],
    /// The first of the head's channels.
    pub channel: usize,
    pub scale: f32,
}

multiversion! {
    /// `rows[token] :=` what is at its place in `x`, or in the padding.
    pub(super) fn gather<E: Element>(
        x: &[E],
        place: &Place<'_>,
        padding: &[f32],
        rows: &mut [f32],
        width: usize,
    ) {
        for (row, pixel) in rows.chunks_exact_mut(width).zip(place.pixels) {
            match pixel {
                Some(at) => {
                    let x = &x[at + place.channel..][..padding.len()];
                    match (x.as_array::<DEPTH>(), row.first_chunk_mut::<DEPTH>()) {
                        (Some(x), Some(row)) => {
                            for lane in 0..DEPTH {
                                row[lane] = x[lane].to_f32() * place.scale;
                            }
                        }
                        _ => {
                            for (row, x) in row.iter_mut().zip(x) {
                                *row = x.to_f32() * place.scale;
                            }
                        }
                    }
                }
                None => {
                    for (row, x) in row.iter_mut().zip(padding) {
                        *row = x * place.scale;
                    }
                }
            }
        }
    }
}

per_isa! {
    /// Starts to bring near what lies `ahead` values behind the place.
    ///
    /// # Safety
    /// The machine has the instruction set.
    pub(super) unsafe fn fetch<S: Simd; E: Element>(x: &[E], place: &Place<'_>, ahead: usize, depth: usize) {
        const LINE: usize = 64;
        for pixel in place.pixels.iter().flatten() {
            let first = x.as_ptr().wrapping_add(pixel + place.channel + ahead);
            for value in (0..depth).step_by(LINE / size_of::<E>()) {
                // SAFETY: the caller's promise; any address will do.
                unsafe { S::prefetch(first.wrapping_add(value).cast()) };
            }
        }
    }
}

multiversion! {
    /// The way back: what is at a token's place in `y` `:= rows[token]`; what belongs to padding is added to `padding`.
    pub(super) fn scatter<E: Element>(
        rows: &[f32],
        width: usize,
        place: &Place<'_>,
        padding: &mut [f32],
        y: Shared<'_, E>,
    ) {
        for (row, pixel) in rows.chunks_exact(width).zip(place.pixels) {
            match pixel {
                Some(at) => {
                    let (start, len) = (at + place.channel, padding.len());
                    assert!(start + len <= y.len(), "y: too short");
                    // SAFETY: inside of `y`, and a pixel belongs to one window alone.
                    let y = unsafe { std::slice::from_raw_parts_mut(y.at(start), len) };
                    match (y.as_mut_array::<DEPTH>(), row.first_chunk::<DEPTH>()) {
                        (Some(y), Some(row)) => {
                            for lane in 0..DEPTH {
                                y[lane] = E::from_f32(row[lane] * place.scale);
                            }
                        }
                        _ => {
                            for (y, row) in y.iter_mut().zip(row) {
                                *y = E::from_f32(row * place.scale);
                            }
                        }
                    }
                }
                None => {
                    for (padding, row) in padding.iter_mut().zip(row) {
                        *padding += row * place.scale;
                    }
                }
            }
        }
    }
}

multiversion! {
    /// `turned[channel][token] := rows[token][channel]`.
    fn turn(rows: &[f32], width: usize, turned: &mut [f32], columns: usize) {
        for (channel, turned) in turned.chunks_exact_mut(columns).enumerate() {
            for (value, row) in turned.iter_mut().zip(rows.chunks_exact(width)) {
                *value = row[channel];
            }
        }
    }
}

/// `e^x` for `x <= 0`: 2^n from n = round(x / ln 2) and the Taylor series of the rest, whose eighth term is below
/// rounding. Below e^-87, where f32 loses digits, it is 0. NaN stays.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it rounds to whole numbers, which then are the last bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2[0] - n * LN2[1];
    let mut sum = 1.0 / 5040.0;
    for inverse_factorial in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * r + inverse_factorial;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    select_unpredictable(x < -87.0, 0.0, sum * power)
}

/// Rows of scores that take each step of the softmax together: alone, a row waits for its own maximum and sum.
const TOGETHER: usize = 7;

multiversion! {
    /// Each row `:= softmax(row + bias + mask)`; the bias of what fills up a row is minus infinity.
    fn softmax(columns: usize, bias: &[f32], mask: Option<&[f32]>, scores: &mut [f32]) {
        let len = TOGETHER * columns;
        for (index, rows) in scores.chunks_mut(len).enumerate() {
            let at = index * len;
            for (x, bias) in rows.iter_mut().zip(&bias[at..]) {
                *x += bias;
            }
            if let Some(mask) = mask {
                for (x, mask) in rows.iter_mut().zip(&mask[at..]) {
                    *x += mask;
                }
            }
            let mut most = [0.0; TOGETHER];
            for (most, row) in most.iter_mut().zip(rows.chunks_exact(columns)) {
                *most = greatest(row);
            }
            // By itself, so that the compiler makes vectors of it.
            for (most, row) in most.iter().zip(rows.chunks_exact_mut(columns)) {
                for x in row {
                    *x = exp(*x - most);
                }
            }
            let mut inverse = [0.0; TOGETHER];
            for (inverse, row) in inverse.iter_mut().zip(rows.chunks_exact(columns)) {
                let mut sums = [0.0_f32; LANES];
                for part in row.chunks_exact(LANES) {
                    for (sum, x) in sums.iter_mut().zip(part) {
                        *sum += x;
                    }
                }
                *inverse = 1.0 / sums.iter().sum::<f32>();
            }
            for (inverse, row) in inverse.iter().zip(rows.chunks_exact_mut(columns)) {
                for x in row {
                    *x *= inverse;
                }
            }
        }
    }
}

/// The greatest value of whole vectors; NaN is passed over.
#[inline(always)]
fn greatest(row: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; LANES];
    for part in row.chunks_exact(LANES) {
        for (most, &x) in most.iter_mut().zip(part) {
            *most = if x > *most { x } else { *most };
        }
    }
    most.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}

multiversion! {
    /// Each row of gradients of shares `p` becomes that of the scores: `g := p * (g - sum(p * g))`.
    fn softmax_back(columns: usize, shares: &[f32], gradient: &mut [f32]) {
        for (p, g) in shares.chunks_exact(columns).zip(gradient.chunks_exact_mut(columns)) {
            let mut sums = [0.0_f32; LANES];
            for (p, g) in p.chunks_exact(LANES).zip(g.chunks_exact(LANES)) {
                for ((sum, p), g) in sums.iter_mut().zip(p).zip(g) {
                    *sum += p * g;
                }
            }
            let sum = sums.iter().sum::<f32>();
            for (g, p) in g.iter_mut().zip(p) {
                *g = p * (*g - sum);
            }
        }
    }
}

multiversion! {
    /// Adds the gradients of scores to those of their entries in the table, which is in reverse order.
    fn add_to_table(s: &WindowAttention, columns: usize, scores: &[f32], sums: &mut [f32]) {
        let side = s.window;
        for (query, scores) in scores.chunks_exact(columns).enumerate() {
            for row in 0..side {
                let sums = &mut sums[first_entry(s, query, row)..];
                let scores = &scores[row * side..];
                if side <= LANES && scores.len() >= LANES {
                    // A whole vector: what follows the row of keys is added as 0.
                    for (lane, (sum, score)) in sums[..LANES].iter_mut().zip(&scores[..LANES]).enumerate() {
                        *sum += if lane < side { *score } else { 0.0 };
                    }
                } else {
                    for (sum, score) in sums.iter_mut().zip(&scores[..side]) {
                        *sum += score;
                    }
                }
            }
        }
    }
}
