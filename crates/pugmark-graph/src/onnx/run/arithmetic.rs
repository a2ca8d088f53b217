//! What is done value by value, and along one dimension.

use rayon::prelude::*;

use super::super::{Element, OnnxError};
use super::array::walk;
use super::{Array, Call};

impl Call<'_> {
    /// The shape that all inputs stretch to, and each one's strides in it; 0 where it stretches.
    fn broadcast(&self, inputs: &[&Array]) -> Result<(Vec<usize>, Vec<Vec<usize>>), OnnxError> {
        let dimensions = inputs.iter().map(|input| input.shape.len()).max().unwrap_or(0);
        let mut shape = vec![1; dimensions];
        for input in inputs {
            for (length, &own) in shape[dimensions - input.shape.len()..].iter_mut().zip(&input.shape) {
                match (*length, own) {
                    (a, b) if a == b || b == 1 => {}
                    (1, own) => *length = own,
                    (a, b) => return Err(self.fails(format!("lengths {a} and {b}"))),
                }
            }
        }
        let strides = |input: &&Array| {
            let own = input.shape.iter().zip(input.strides());
            let own = own.map(|(&length, stride)| if length == 1 { 0 } else { stride });
            vec![0; dimensions - input.shape.len()].into_iter().chain(own).collect()
        };
        Ok((shape, inputs.iter().map(strides).collect()))
    }

    pub(super) fn binary(&self) -> Result<Array, OnnxError> {
        let (a, b) = (self.input(0)?, self.input(1)?);
        let whole = !matches!(a.element, Element::F32 | Element::F64);
        let f: fn(f64, f64) -> f64 = match self.node.op.as_str() {
            "Add" => |a, b| a + b,
            "Sub" => |a, b| a - b,
            "Mul" => |a, b| a * b,
            "Div" if whole => |a, b| (a / b).trunc(),
            "Div" => |a, b| a / b,
            "Max" => f64::max,
            _ => |a, b| f64::from(u8::from(a < b)),
        };
        let element = if self.node.op == "Less" { Element::Bool } else { a.element };
        let (shape, strides) = self.broadcast(&[a, b])?;
        let mut values = Vec::with_capacity(shape.iter().product());
        walk(&shape, [&strides[0], &strides[1]], |[x, y], length, [dx, dy]| {
            values.extend((0..length).map(|i| f(a.values[x + i * dx], b.values[y + i * dy])));
        });
        Ok(Array { shape, element, values })
    }

    pub(super) fn choose(&self) -> Result<Array, OnnxError> {
        let (c, a, b) = (self.input(0)?, self.input(1)?, self.input(2)?);
        let (shape, strides) = self.broadcast(&[c, a, b])?;
        let mut values = Vec::new();
        let strides = [&strides[0][..], &strides[1], &strides[2]];
        walk(&shape, strides, |[x, y, z], length, [dx, dy, dz]| {
            values.extend((0..length).map(|i| {
                let chosen = c.values[x + i * dx] != 0.0;
                if chosen { a.values[y + i * dy] } else { b.values[z + i * dz] }
            }));
        });
        Ok(a.with(shape, values))
    }

    pub(super) fn unary(&self) -> Result<Array, OnnxError> {
        let x = self.input(0)?;
        let mut element = x.element;
        let f: fn(f64) -> f64 = match self.node.op.as_str() {
            "Relu" => |x| x.max(0.0),
            "Sigmoid" => |x| 1.0 / (1.0 + (-x).exp()),
            "Erf" => erf,
            "Round" => f64::round_ties_even,
            _ => {
                let number = self.int("to", 0);
                element = Element::from_number(number).ok_or_else(|| self.fails("an unknown type"))?;
                if matches!(element, Element::F32 | Element::F64) { |x| x } else { f64::trunc }
            }
        };
        let values = x.values.par_iter().map(|&x| f(x)).collect();
        Ok(Array { shape: x.shape.clone(), element, values })
    }

    /// Along the axes of input 1, or all; reduced dimensions stay, of length 1.
    pub(super) fn reduce(&self) -> Result<Array, OnnxError> {
        let x = self.input(0)?;
        let axes =
            if self.optional(1).is_some() { self.integers(1)? } else { (0..x.shape.len() as i64).collect() };
        if self.int("keepdims", 1) != 1 {
            return Err(self.fails("dimensions that are reduced must stay"));
        }
        let (f, first): (fn(f64, f64) -> f64, f64) = match self.node.op.as_str() {
            "ReduceMin" => (f64::min, f64::INFINITY),
            _ => (|a, b| a + b, 0.0),
        };
        let mut shape = x.shape.clone();
        for axis in axes {
            shape[self.axis(axis, x.shape.len())?] = 1;
        }
        let mut out = x.with(shape.clone(), vec![first; shape.iter().product()]);
        let to = out
            .strides()
            .into_iter()
            .zip(&shape)
            .map(|(stride, &length)| if length == 1 { 0 } else { stride });
        let to: Vec<usize> = to.collect();
        walk(&x.shape, [&x.strides(), &to], |[from, to], length, [step, to_step]| {
            for i in 0..length {
                let sum = &mut out.values[to + i * to_step];
                *sum = f(*sum, x.values[from + i * step]);
            }
        });
        Ok(out)
    }

    /// Along the last dimension.
    pub(super) fn softmax(&self) -> Result<Array, OnnxError> {
        let x = self.input(0)?;
        let &last = x.shape.last().ok_or_else(|| self.fails("a scalar"))?;
        if self.axis(self.int("axis", -1), x.shape.len())? != x.shape.len() - 1 {
            return Err(self.fails("it is not along the last dimension"));
        }
        let mut values = x.values.clone();
        values.par_chunks_mut(last.max(1)).for_each(|row| {
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row.iter_mut().for_each(|value| *value = (*value - most).exp());
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|value| *value /= sum);
        });
        Ok(x.with(x.shape.clone(), values))
    }
}

/// The error function by its series 2 x exp(-x^2) / sqrt(pi) * (1 + 2 x^2 / 3 + (2 x^2)^2 / (3 * 5) + ...), whose terms are all
/// of one sign (Abramowitz and Stegun 7.1.6).
fn erf(x: f64) -> f64 {
    // 1 - erf(6) is below half of the last digit.
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut odd) = (1.0, 1.0, 1.0);
    while term > sum * f64::EPSILON {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * x * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::erf;

    #[test]
    fn erf_has_its_known_values() {
        // To 15 digits, from Abramowitz and Stegun's table 7.1 and Python's `math.erf`.
        let cases = [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.5, 0.999_999_256_901_627_7),
            (7.0, 1.0),
        ];
        for (x, expected) in cases {
            assert!(
                (erf(x) - expected).abs() < 1e-15 && (erf(-x) + expected).abs() < 1e-15,
                "{x}: {}",
                erf(x)
            );
        }
    }
}
