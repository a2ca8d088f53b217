//! Layers of networks. Loops are ordered so that the innermost runs over neighbours in memory.

use rayon::prelude::*;

use super::super::OnnxError;
use super::{Array, Call};

/// Rows of a matrix product that share a pass over the other matrix.
const ROWS: usize = 8;

impl Call<'_> {
    /// A picture's dimensions: images, channels, height, width.
    fn pictures(&self, index: usize) -> Result<(&Array, [usize; 4]), OnnxError> {
        let x = self.input_of(index, 4)?;
        Ok((x, [x.shape[0], x.shape[1], x.shape[2], x.shape[3]]))
    }

    /// An attribute of two equal numbers.
    fn both(&self, name: &str) -> Result<usize, OnnxError> {
        match self.ints(name)? {
            [a, rest @ ..] if *a >= 0 && rest.iter().all(|b| b == a) => Ok(*a as usize),
            other => Err(self.fails(format!("`{name}` is {other:?}"))),
        }
    }

    /// Length after a window of `kernel` has gone along `length`.
    fn steps(&self, length: usize, kernel: usize, stride: usize, padding: usize) -> Result<usize, OnnxError> {
        let room = (length + 2 * padding).checked_sub(kernel).and_then(|room| room.checked_div(stride));
        room.map(|room| room + 1).ok_or_else(|| self.fails("the window is larger than the input"))
    }

    pub(super) fn conv(&self) -> Result<Array, OnnxError> {
        let (x, [images, channels, height, width]) = self.pictures(0)?;
        let (weight, [outs, ins, kernel_h, kernel_w]) = self.pictures(1)?;
        let bias = self.optional(2).map(|bias| &bias.values);
        let (stride, padding) = (self.both("strides")?, self.both("pads")?);
        let groups = usize::try_from(self.int("group", 1)).unwrap_or(0);
        if ins * groups != channels
            || !outs.is_multiple_of(groups.max(1))
            || bias.is_some_and(|b| b.len() != outs)
        {
            return Err(self.fails(format!("weights {:?} for {channels} channels", weight.shape)));
        }
        let out_h = self.steps(height, kernel_h, stride, padding)?;
        let out_w = self.steps(width, kernel_w, stride, padding)?;
        let mut values = vec![0.0; images * outs * out_h * out_w];
        values.par_chunks_mut(out_h * out_w).enumerate().for_each(|(plane, out)| {
            let (image, to) = (plane / outs, plane % outs);
            out.fill(bias.map_or(0.0, |bias| bias[to]));
            let first = to / (outs / groups) * ins;
            for from in 0..ins {
                let plane = &x.values[(image * channels + first + from) * height * width..][..height * width];
                let taps = &weight.values[(to * ins + from) * kernel_h * kernel_w..][..kernel_h * kernel_w];
                for (tap, &w) in taps.iter().enumerate() {
                    let (dy, dx) = (tap / kernel_w, tap % kernel_w);
                    // The columns whose tap is inside.
                    let start = padding.saturating_sub(dx).div_ceil(stride).min(out_w);
                    let end = (width + padding).saturating_sub(dx).div_ceil(stride).clamp(start, out_w);
                    for (row, out) in out.chunks_exact_mut(out_w).enumerate() {
                        let Some(y) = (row * stride + dy).checked_sub(padding).filter(|&y| y < height) else {
                            continue;
                        };
                        if start == end {
                            continue;
                        }
                        let line = &plane[y * width + start * stride + dx - padding..(y + 1) * width];
                        let out = &mut out[start..end];
                        if stride == 1 {
                            out.iter_mut().zip(line).for_each(|(out, &x)| *out += w * x);
                        } else {
                            out.iter_mut()
                                .zip(line.iter().step_by(stride))
                                .for_each(|(out, &x)| *out += w * x);
                        }
                    }
                }
            }
        });
        Ok(x.with(vec![images, outs, out_h, out_w], values))
    }

    /// The last two dimensions; those before are equal, or the second input has none.
    pub(super) fn matmul(&self) -> Result<Array, OnnxError> {
        let (a, b) = (self.input(0)?, self.input(1)?);
        let fails = || self.fails(format!("{:?} times {:?}", a.shape, b.shape));
        let ([.., rows, inner], [batch @ .., inner_b, columns]) = (&a.shape[..], &b.shape[..]) else {
            return Err(fails());
        };
        let (rows, inner, columns) = (*rows, *inner, *columns);
        if inner != *inner_b || !(batch.is_empty() || *batch == a.shape[..a.shape.len() - 2]) {
            return Err(fails());
        }
        let mut values = vec![0.0; a.values.len() / inner.max(1) * columns];
        let product = |out: &mut [f64], a: &[f64], b: &[f64]| {
            for (k, b) in b.chunks_exact(columns).enumerate() {
                for (out, a) in out.chunks_exact_mut(columns).zip(a.chunks_exact(inner)) {
                    out.iter_mut().zip(b).for_each(|(out, b)| *out += a[k] * b);
                }
            }
        };
        if batch.is_empty() {
            let blocks = values.par_chunks_mut(ROWS * columns).zip(a.values.par_chunks(ROWS * inner));
            blocks.for_each(|(out, a)| product(out, a, &b.values));
        } else {
            let matrices = values.par_chunks_mut(rows * columns).zip(a.values.par_chunks(rows * inner));
            matrices.zip(b.values.par_chunks(inner * columns)).for_each(|((out, a), b)| product(out, a, b));
        }
        let mut shape = a.shape.clone();
        shape.pop();
        shape.push(columns);
        Ok(a.with(shape, values))
    }

    /// `x W^T + b`.
    pub(super) fn gemm(&self) -> Result<Array, OnnxError> {
        let (x, weight) = (self.input_of(0, 2)?, self.input_of(1, 2)?);
        let (inner, outs) = (x.shape[1], weight.shape[0]);
        let bias = self.optional(2).map_or(&[][..], |bias| &bias.values);
        if weight.shape[1] != inner || self.int("transB", 0) != 1 || !(bias.is_empty() || bias.len() == outs)
        {
            return Err(self.fails(format!("{:?} times {:?} transposed", x.shape, weight.shape)));
        }
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut values = Vec::new();
        for row in x.values.chunks_exact(inner) {
            let weights = weight.values.chunks_exact(inner).enumerate();
            values.extend(weights.map(|(out, w)| dot(row, w) + bias.get(out).unwrap_or(&0.0)));
        }
        Ok(x.with(vec![x.shape[0], outs], values))
    }

    pub(super) fn batch_norm(&self) -> Result<Array, OnnxError> {
        let (x, [_, channels, height, width]) = self.pictures(0)?;
        let of = |index| self.input_of(index, 1).map(|array| &array.values);
        let (scale, shift, mean, variance) = (of(1)?, of(2)?, of(3)?, of(4)?);
        if [scale, shift, mean, variance].iter().any(|values| values.len() != channels) {
            return Err(self.fails(format!("not of {channels} channels")));
        }
        let eps = self.float("epsilon", 1e-5);
        let mut values = x.values.clone();
        values.par_chunks_mut(height * width).enumerate().for_each(|(plane, values)| {
            let c = plane % channels;
            let factor = scale[c] / (variance[c] + eps).sqrt();
            values.iter_mut().for_each(|value| *value = (*value - mean[c]) * factor + shift[c]);
        });
        Ok(x.with(x.shape.clone(), values))
    }

    /// Over the last dimension.
    pub(super) fn layer_norm(&self) -> Result<Array, OnnxError> {
        let (x, scale, shift) = (self.input(0)?, self.input_of(1, 1)?, self.input_of(2, 1)?);
        let channels = x.shape.last().copied().unwrap_or(1);
        if scale.values.len() != channels || shift.values.len() != channels || self.int("axis", -1) != -1 {
            return Err(self.fails(format!("{:?} of {channels} channels", scale.shape)));
        }
        let eps = self.float("epsilon", 1e-5);
        let mut values = x.values.clone();
        values.par_chunks_mut(channels).for_each(|row| {
            let mean = row.iter().sum::<f64>() / channels as f64;
            let variance =
                row.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / channels as f64;
            let factor = 1.0 / (variance + eps).sqrt();
            for ((value, scale), shift) in row.iter_mut().zip(&scale.values).zip(&shift.values) {
                *value = (*value - mean) * factor * scale + shift;
            }
        });
        Ok(x.with(x.shape.clone(), values))
    }

    pub(super) fn max_pool(&self) -> Result<Array, OnnxError> {
        let (x, [images, channels, height, width]) = self.pictures(0)?;
        let (kernel, stride, padding) =
            (self.both("kernel_shape")?, self.both("strides")?, self.both("pads")?);
        let out_h = self.steps(height, kernel, stride, padding)?;
        let out_w = self.steps(width, kernel, stride, padding)?;
        let inside = |step: usize, length: usize| {
            let start = step * stride;
            start.saturating_sub(padding)..(start + kernel).saturating_sub(padding).min(length)
        };
        let mut values = Vec::with_capacity(images * channels * out_h * out_w);
        for plane in x.values.chunks_exact(height * width) {
            for (row, column) in (0..out_h).flat_map(|row| (0..out_w).map(move |column| (row, column))) {
                let lines = inside(row, height).map(|y| &plane[y * width..][inside(column, width)]);
                values.push(lines.flatten().copied().fold(f64::NEG_INFINITY, f64::max));
            }
        }
        Ok(x.with(vec![images, channels, out_h, out_w], values))
    }

    pub(super) fn global_average_pool(&self) -> Result<Array, OnnxError> {
        let (x, [images, channels, height, width]) = self.pictures(0)?;
        let planes = x.values.chunks_exact(height * width);
        let means = planes.map(|plane| plane.iter().sum::<f64>() / plane.len() as f64).collect();
        Ok(x.with(vec![images, channels, 1, 1], means))
    }
}
