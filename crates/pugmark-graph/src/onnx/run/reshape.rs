//! What only moves values.

use super::super::{Element, OnnxError};
use super::{Array, Call};

impl Call<'_> {
    pub(super) fn shape(&self) -> Result<Array, OnnxError> {
        let shape = &self.input(0)?.shape;
        let all = shape.len() as i64;
        let (start, end) = (self.int("start", 0), self.int("end", all));
        let part = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let part =
            part.and_then(|(start, end)| shape.get(start..end)).ok_or_else(|| self.fails("no such part"))?;
        let values = part.iter().map(|&length| length as f64).collect();
        Ok(Array { shape: vec![part.len()], element: Element::I64, values })
    }

    pub(super) fn reshape(&self) -> Result<Array, OnnxError> {
        let x = self.input(0)?;
        let count = x.values.len();
        let mut shape = Vec::new();
        if self.node.op == "Flatten" {
            let images = x.shape.first().copied().unwrap_or(1);
            shape.extend([images, count.checked_div(images).unwrap_or(0)]);
        } else {
            for (place, length) in self.integers(1)?.into_iter().enumerate() {
                // 0 keeps the length.
                shape.push(match (length, x.shape.get(place)) {
                    (0, Some(&same)) => same,
                    (1.., _) => length as usize,
                    _ => return Err(self.fails("a length that is not given")),
                });
            }
        }
        if shape.iter().product::<usize>() != count {
            return Err(self.fails(format!("{:?} to {shape:?}", x.shape)));
        }
        Ok(x.with(shape, x.values.clone()))
    }

    pub(super) fn transpose(&self) -> Result<Array, OnnxError> {
        let x = self.input(0)?;
        let strides = x.strides();
        let (mut to, mut steps) = (Vec::new(), Vec::new());
        for &axis in self.ints("perm")? {
            let axis = self.axis(axis, x.shape.len())?;
            to.push(x.shape[axis]);
            steps.push(strides[axis]);
        }
        if to.iter().product::<usize>() != x.values.len() {
            return Err(self.fails("no permutation"));
        }
        Ok(x.gather(to, &steps, 0))
    }

    /// From starts to ends (inputs 1 and 2) along axes (input 3), one by one.
    pub(super) fn slice(&self) -> Result<Array, OnnxError> {
        let x = self.input(0)?;
        let (starts, ends, axes) = (self.integers(1)?, self.integers(2)?, self.integers(3)?);
        let strides = x.strides();
        let (mut shape, mut offset) = (x.shape.clone(), 0);
        for ((&start, &end), &axis) in starts.iter().zip(&ends).zip(&axes) {
            let axis = self.axis(axis, shape.len())?;
            let length = shape[axis] as i64;
            let (start, end) = (start.clamp(0, length), end.clamp(0, length));
            shape[axis] = (end - start).max(0) as usize;
            offset += start as usize * strides[axis];
        }
        Ok(x.gather(shape, &strides, offset))
    }

    pub(super) fn concat(&self) -> Result<Array, OnnxError> {
        let (a, b) = (self.input(0)?, self.input(1)?);
        let axis = self.axis(self.int("axis", 0), a.shape.len())?;
        let rest = |shape: &[usize]| (shape[..axis].to_vec(), shape[axis + 1..].to_vec());
        if b.shape.len() != a.shape.len() || rest(&a.shape) != rest(&b.shape) || self.inputs.len() != 2 {
            return Err(self.fails(format!("{:?} and {:?}", a.shape, b.shape)));
        }
        let mut shape = a.shape.clone();
        shape[axis] += b.shape[axis];
        let block = |x: &Array| x.shape[axis..].iter().product::<usize>();
        let mut values = Vec::new();
        for outer in 0..a.shape[..axis].iter().product() {
            for x in [a, b] {
                values.extend_from_slice(&x.values[outer * block(x)..][..block(x)]);
            }
        }
        Ok(a.with(shape, values))
    }

    /// With zeros, as many as input 1 says before and behind each axis (of input 3).
    pub(super) fn pad(&self) -> Result<Array, OnnxError> {
        let x = self.input(0)?;
        let pads = self.integers(1)?;
        let axes =
            if self.optional(3).is_some() { self.integers(3)? } else { (0..x.shape.len() as i64).collect() };
        if pads.len() != 2 * axes.len() || pads.iter().any(|&pad| pad < 0) || self.optional(2).is_some() {
            return Err(self.fails(format!("pads {pads:?}")));
        }
        let (mut shape, mut before) = (x.shape.clone(), vec![0; x.shape.len()]);
        for (place, &axis) in axes.iter().enumerate() {
            let axis = self.axis(axis, shape.len())?;
            before[axis] = pads[place] as usize;
            shape[axis] += (pads[place] + pads[place + axes.len()]) as usize;
        }
        let mut out = x.with(shape.clone(), vec![0.0; shape.iter().product()]);
        let strides = out.strides();
        let start: usize = before.iter().zip(&strides).map(|(before, stride)| before * stride).sum();
        super::array::walk(&x.shape, [&x.strides(), &strides], |[from, to], length, [_, _]| {
            out.values[start + to..][..length].copy_from_slice(&x.values[from..][..length]);
        });
        Ok(out)
    }

    /// Places of the first dimension; one place takes the dimension away.
    pub(super) fn gather(&self) -> Result<Array, OnnxError> {
        let (x, index) = (self.input(0)?, self.input(1)?);
        let Some((&length, rest)) = x.shape.split_first().filter(|_| self.int("axis", 0) == 0) else {
            return Err(self.fails("it is not along the first dimension"));
        };
        let block = rest.iter().product::<usize>();
        let mut values = Vec::new();
        for &place in &index.values {
            let place = place as usize;
            if place >= length {
                return Err(self.fails(format!("place {place} of {length}")));
            }
            values.extend_from_slice(&x.values[place * block..][..block]);
        }
        Ok(x.with([&index.shape, rest].concat(), values))
    }
}
