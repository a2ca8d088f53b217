use super::super::{Attribute, Element, OnnxError};
use super::{Array, Call};

impl Call<'_> {
    /// Bytes `[images, height, width, channels]` by the antialiased triangle filter, columns first, rounded to bytes after
    /// each direction.
    pub(super) fn resize(&self) -> Result<Array, OnnxError> {
        let x = self.input_of(0, 4)?;
        let text = |name: &str, value: &str| self.attribute(name) == Some(&Attribute::Text(value.into()));
        let known = text("mode", "linear")
            && text("coordinate_transformation_mode", "half_pixel")
            && self.int("antialias", 0) == 1
            && self.int("exclude_outside", 0) == 1
            && x.element == Element::U8;
        let sizes = self.integers(3)?;
        let (height, width) = match (self.ints("axes")?, &sizes[..]) {
            ([1, 2], &[height, width]) => (height, width),
            ([1], &[height]) => (height, x.shape[2] as i64),
            _ => (0, 0),
        };
        if !known || height < 1 || width < 1 {
            return Err(self.fails(format!("a kind of resizing that exports do not have, to {sizes:?}")));
        }
        Ok(along(&along(x, 2, width as usize), 1, height as usize))
    }
}

/// Resizes one dimension to `length`.
fn along(x: &Array, axis: usize, length: usize) -> Array {
    let (from, inner) = (x.shape[axis], x.shape[axis + 1..].iter().product::<usize>());
    let weights: Vec<_> = (0..length).map(|place| weights(place, from, length)).collect();
    let mut values = Vec::new();
    for block in x.values.chunks_exact(from * inner) {
        for (first, weights) in &weights {
            for at in 0..inner {
                let column = block[first * inner + at..].iter().step_by(inner);
                let sum: f64 = weights.iter().zip(column).map(|(weight, value)| weight * value).sum();
                values.push(sum.round().clamp(0.0, 255.0));
            }
        }
    }
    let mut shape = x.shape.clone();
    shape[axis] = length;
    x.with(shape, values)
}

/// The first place that counts, and the weight of it and of those behind it. When shrinking, the triangle is as wide as the
/// step between results.
fn weights(place: usize, from: usize, to: usize) -> (usize, Vec<f64>) {
    let scale = from as f64 / to as f64;
    let width = scale.max(1.0);
    let centre = (place as f64 + 0.5) * scale;
    let first = (centre - width + 0.5).max(0.0) as usize;
    let end = ((centre + width + 0.5) as usize).min(from);
    let weight = |at: usize| (1.0 - ((at as f64 + 0.5 - centre) / width).abs()).max(0.0);
    let weights: Vec<f64> = (first..end).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    (first, weights.into_iter().map(|weight| weight / sum).collect())
}
