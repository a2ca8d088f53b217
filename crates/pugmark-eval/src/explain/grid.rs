/// Values over a picture, fewer than it has pixels.
#[derive(Clone, PartialEq, Debug)]
pub struct Grid {
    /// Values in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Row by row.
    pub values: Vec<f32>,
}

impl Grid {
    /// A value a pixel of a picture: bilinear between the middles of the cells, as PyTorch's `interpolate` without
    /// `align_corners`.
    pub fn enlarged(&self, width: usize, height: usize) -> Vec<f32> {
        let (columns, rows) = (places(self.width, width), places(self.height, height));
        let at = |row: usize, column: usize| self.values[row * self.width + column];
        let mut values = Vec::with_capacity(width * height);
        for &(top, bottom, down) in &rows {
            for &(left, right, across) in &columns {
                let upper = at(top, left) + across * (at(top, right) - at(top, left));
                let lower = at(bottom, left) + across * (at(bottom, right) - at(bottom, left));
                values.push(upper + down * (lower - upper));
            }
        }
        values
    }
}

/// Of each of `to` pixels over `from` cells, the cells on both sides and the share of the second.
fn places(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let place = |pixel: usize| {
        let middle = ((pixel as f32 + 0.5) * from as f32 / to as f32 - 0.5).max(0.0);
        let low = (middle as usize).min(from - 1);
        (low, (low + 1).min(from - 1), middle - low as f32)
    };
    (0..to).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_the_middles_of_cells() {
        let grid = Grid { width: 2, height: 1, values: vec![0.0, 8.0] };
        assert_eq!(grid.enlarged(4, 1), [0.0, 2.0, 6.0, 8.0]);
        assert_eq!(grid.enlarged(2, 2), [0.0, 8.0, 0.0, 8.0]);
        let grid = Grid { width: 1, height: 3, values: vec![1.0, 2.0, 3.0] };
        assert_eq!(grid.enlarged(1, 3), [1.0, 2.0, 3.0]);
    }
}
