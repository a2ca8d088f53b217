use super::super::{Element, Initializer};

/// Values in row-major order. Whatever their type, f64 holds them: integers of exports are far below 2^53.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Lengths of the dimensions.
    pub shape: Vec<usize>,
    /// Type of the values, which decides how they are divided.
    pub element: Element,
    /// `shape.product()` values.
    pub values: Vec<f64>,
}

impl Array {
    /// The values of a constant.
    pub(super) fn of(constant: &Initializer<'_>) -> Self {
        fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
            bytes.as_chunks().0.iter().map(|&chunk| value(chunk)).collect()
        }
        let bytes = &constant.bytes;
        let values = match constant.element {
            Element::F32 => each(bytes, |b| f32::from_le_bytes(b).into()),
            Element::F64 => each(bytes, f64::from_le_bytes),
            Element::U8 | Element::Bool => each(bytes, |[b]| b.into()),
            Element::I32 => each(bytes, |b| i32::from_le_bytes(b).into()),
            Element::I64 => each(bytes, |b| i64::from_le_bytes(b) as f64),
        };
        Self { shape: constant.shape.clone(), element: constant.element, values }
    }

    /// Values of the same type in a shape.
    pub(super) fn with(&self, shape: Vec<usize>, values: Vec<f64>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        Self { shape, element: self.element, values }
    }

    /// How far apart neighbours along each dimension are.
    pub(super) fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.shape.len()];
        for axis in (1..self.shape.len()).rev() {
            strides[axis - 1] = strides[axis] * self.shape[axis];
        }
        strides
    }

    /// Values at `start` plus every combination of steps along `strides`, in the row-major order of `shape`.
    pub(super) fn gather(&self, shape: Vec<usize>, strides: &[usize], start: usize) -> Self {
        let count = shape.iter().product();
        let mut values = Vec::with_capacity(count);
        walk(&shape, [strides], |[offset], length, [stride]| {
            values.extend((0..length).map(|i| self.values[start + offset + i * stride]));
        });
        self.with(shape, values)
    }
}

/// Calls `row` for each row of a shape (its last dimension) with each operand's offset, the length, and each one's stride.
pub(super) fn walk<const N: usize>(
    shape: &[usize],
    strides: [&[usize]; N],
    mut row: impl FnMut([usize; N], usize, [usize; N]),
) {
    let Some((&length, outer)) = shape.split_last() else { return row([0; N], 1, [0; N]) };
    let steps = strides.map(|strides| strides[outer.len()]);
    let mut index = vec![0; outer.len()];
    for _ in 0..outer.iter().product() {
        let offsets = strides.map(|strides| index.iter().zip(strides).map(|(i, stride)| i * stride).sum());
        row(offsets, length, steps);
        for (index, &length) in index.iter_mut().zip(outer).rev() {
            *index += 1;
            if *index < length {
                break;
            }
            *index = 0;
        }
    }
}
