//! What is Swin's alone: attention in shifted windows and patch merging, as torchvision computes them.

use super::parts::Parts;
use super::{Layout, Value, Writer, no_form};
use crate::onnx::{Attribute, OnnxError};
use crate::weights::relative_position_index;
use crate::{Node, NodeId, Op, Shape};

/// What hides a token of another window across a seam, as in torchvision.
const HIDDEN: f32 = -100.0;

/// A side of the picture that windows cover.
#[derive(Clone, Copy)]
struct Side {
    length: usize,
    /// Windows along it; they may reach beyond it.
    windows: usize,
    window: usize,
    shift: usize,
}

impl Side {
    fn new(length: usize, window: usize, shift: usize) -> Self {
        let windows = length.div_ceil(window);
        Self { length, windows, window, shift: if windows == 1 { 0 } else { shift } }
    }

    fn padded(self) -> usize {
        self.windows * self.window
    }

    /// Which of the parts that were neighbours before the shift a position belongs to.
    fn part(self, position: usize) -> usize {
        let behind = |side: usize| usize::from(self.shift > 0 && position >= self.padded() - side);
        behind(self.window) + behind(self.shift)
    }
}

impl Writer<'_> {
    pub(super) fn window_attention(&mut self, node: &Node, input: NodeId) -> Result<Value, OnnxError> {
        let Op::WindowAttention { table, padding, channels, heads, window, shift } = node.op else {
            return Err(no_form(node));
        };
        let Shape::Image { height, width, .. } = self.shapes[input.0] else { return Err(no_form(node)) };
        let name = node.name.as_str();
        let rows = Side::new(height, window, shift);
        let columns = Side::new(width, window, shift);
        let (tokens, windows, depth) = (window * window, rows.windows * columns.windows, channels / heads);

        let mut x = self.take(input, Layout::Nhwc)?;
        if (rows.padded(), columns.padded()) != (height, width) {
            let bias = self.param(padding)?;
            x = self.fill_up(name, &x, &bias, rows, columns);
        }
        x = self.roll(&format!("{name}/rows"), &x, (1, rows.shift));
        x = self.roll(&format!("{name}/columns"), &x, (2, columns.shift));

        // To [3, N, windows, heads, tokens, depth].
        let parts = &mut self.parts;
        let split = [0, rows.windows, window, columns.windows, window, 3, heads, depth];
        x = parts.reshape(&format!("{name}/split"), &x, &split);
        x = parts.transpose(&format!("{name}/windows"), &x, &[5, 0, 1, 3, 6, 2, 4, 7]);
        x = parts.reshape(&format!("{name}/tokens"), &x, &[3, 0, windows, heads, tokens, depth]);
        let part = |parts: &mut Parts, what: &str, index: i32| {
            let at = parts.small_ints(&format!("attention/{what}"), &[], &[index]);
            parts.op(&format!("{name}/{what}"), "Gather", &[&x, &at], vec![("axis", Attribute::Int(0))])
        };
        let (queries, keys, values) =
            (part(parts, "queries", 0), part(parts, "keys", 1), part(parts, "values", 2));

        let scale = parts.floats(&format!("attention/scale.{depth}"), &[], &[(depth as f32).powf(-0.5)]);
        let queries = parts.op(&format!("{name}/scale"), "Mul", &[&queries, &scale], vec![]);
        let keys = parts.transpose(&format!("{name}/transpose"), &keys, &[0, 1, 2, 4, 3]);
        let mut scores = parts.op(&format!("{name}/scores"), "MatMul", &[&queries, &keys], vec![]);
        let bias = self.position_bias(name, table, heads, window)?;
        scores = self.parts.op(&format!("{name}/position"), "Add", &[&scores, &bias], vec![]);
        if rows.shift + columns.shift > 0 {
            let mask = self.mask(rows, columns);
            scores = self.parts.op(&format!("{name}/mask"), "Add", &[&scores, &mask], vec![]);
        }
        let parts = &mut self.parts;
        let axis = vec![("axis", Attribute::Int(-1))];
        let shares = parts.op(&format!("{name}/Softmax"), "Softmax", &[&scores], axis);
        x = parts.op(&format!("{name}/product"), "MatMul", &[&shares, &values], vec![]);

        // And back to [N, height, width, channels].
        let join = [0, rows.windows, columns.windows, heads, window, window, depth];
        x = parts.reshape(&format!("{name}/heads"), &x, &join);
        x = parts.transpose(&format!("{name}/pixels"), &x, &[0, 1, 4, 2, 5, 3, 6]);
        x = parts.reshape(&format!("{name}/join"), &x, &[0, rows.padded(), columns.padded(), channels]);
        x = self.roll(&format!("{name}/rows_back"), &x, (1, (rows.padded() - rows.shift) % rows.padded()));
        x = self.roll(
            &format!("{name}/columns_back"),
            &x,
            (2, (columns.padded() - columns.shift) % columns.padded()),
        );
        if (rows.padded(), columns.padded()) != (height, width) {
            x = self.slice(&format!("{name}/cut_rows"), &x, 1, (0, rows.length));
            x = self.slice(&format!("{name}/cut_columns"), &x, 2, (0, columns.length));
        }
        Ok(vec![(Layout::Nhwc, x)])
    }

    /// Fills the picture up to whole windows with pixels that hold `bias`.
    fn fill_up(&mut self, name: &str, x: &str, bias: &str, rows: Side, columns: Side) -> String {
        let room = |side: Side| (side.padded() - side.length) as i64;
        let parts = &mut self.parts;
        let pads = [0, 0, 0, 0, 0, room(rows), room(columns), 0];
        let pads = parts.ints(&format!("{name}/pads"), &pads);
        let padded = parts.op(&format!("{name}/Pad"), "Pad", &[x, &pads], vec![]);
        let outside = |row: usize| {
            (0..columns.padded()).map(move |column| row >= rows.length || column >= columns.length)
        };
        let values: Vec<f32> =
            (0..rows.padded()).flat_map(outside).map(|outside| if outside { 1.0 } else { 0.0 }).collect();
        let shape = [rows.padded(), columns.padded(), 1];
        let border = format!("attention/border.{}x{}", rows.length, columns.length);
        let border = parts.floats(&border, &shape, &values);
        let filling = parts.op(&format!("{name}/filling"), "Mul", &[&border, bias], vec![]);
        parts.op(&format!("{name}/fill"), "Add", &[&padded, &filling], vec![])
    }

    /// Moves everything along an axis towards its start by `shift`; what falls off comes back at the end.
    fn roll(&mut self, name: &str, x: &str, (axis, shift): (i64, usize)) -> String {
        if shift == 0 {
            return x.to_owned();
        }
        let rest = self.slice(&format!("{name}/rest"), x, axis, (shift, i32::MAX as usize));
        let start = self.slice(&format!("{name}/start"), x, axis, (0, shift));
        self.parts.op(name, "Concat", &[&rest, &start], vec![("axis", Attribute::Int(axis))])
    }

    fn slice(&mut self, name: &str, x: &str, axis: i64, (start, end): (usize, usize)) -> String {
        let parts = &mut self.parts;
        let start = parts.ints(&format!("slice/{start}"), &[start as i64]);
        let end = parts.ints(&format!("slice/{end}"), &[end as i64]);
        let axis = parts.ints(&format!("slice/{axis}"), &[axis]);
        parts.op(name, "Slice", &[x, &start, &end, &axis], vec![])
    }

    /// The biases of relative positions, `[heads, tokens, tokens]`.
    fn position_bias(
        &mut self,
        name: &str,
        table: crate::ParamId,
        heads: usize,
        window: usize,
    ) -> Result<String, OnnxError> {
        let param = &self.graph.param(table).name;
        let table = self.tensors.get(param).ok_or_else(|| OnnxError::NoTensor(param.clone()))?;
        let index = relative_position_index(window);
        let of_head = |head| index.iter().map(move |&row| table.values[row as usize * heads + head]);
        let values: Vec<f32> = (0..heads).flat_map(of_head).collect();
        let tokens = window * window;
        Ok(self.parts.floats(&format!("{name}/relative_position_bias"), &[heads, tokens, tokens], &values))
    }

    /// What is added to the scores of each window, `[windows, 1, tokens, tokens]`: after the shift, windows at the far sides
    /// hold pixels that are no neighbours.
    fn mask(&mut self, rows: Side, columns: Side) -> String {
        let [height, width] = [rows, columns].map(Side::padded);
        let name = format!("attention/mask.{height}x{width}.{}x{}", rows.shift, columns.shift);
        let window = rows.window;
        let part = |row, column| (rows.part(row), columns.part(column));
        let mut values = Vec::new();
        for (top, left) in
            (0..rows.windows).flat_map(|y| (0..columns.windows).map(move |x| (y * window, x * window)))
        {
            let parts: Vec<_> =
                (0..window * window).map(|t| part(top + t / window, left + t % window)).collect();
            for query in &parts {
                values.extend(parts.iter().map(|key| if key == query { 0.0 } else { HIDDEN }));
            }
        }
        let tokens = window * window;
        self.parts.floats(&name, &[rows.windows * columns.windows, 1, tokens, tokens], &values)
    }

    pub(super) fn merge_patches(&mut self, name: &str, input: NodeId) -> Result<Value, OnnxError> {
        let Shape::Image { channels, height, width } = self.shapes[input.0] else {
            return Err(no_form(&self.graph.nodes()[input.0]));
        };
        let mut x = self.take(input, Layout::Nhwc)?;
        let parts = &mut self.parts;
        if height % 2 + width % 2 > 0 {
            let pads = [0, 0, 0, 0, 0, (height % 2) as i64, (width % 2) as i64, 0];
            let pads = parts.ints(&format!("{name}/pads"), &pads);
            x = parts.op(&format!("{name}/Pad"), "Pad", &[&x, &pads], vec![]);
        }
        let (height, width) = (height.div_ceil(2), width.div_ceil(2));
        x = parts.reshape(&format!("{name}/split"), &x, &[0, height, 2, width, 2, channels]);
        x = parts.transpose(&format!("{name}/gather"), &x, &[0, 1, 3, 4, 2, 5]);
        Ok(vec![(Layout::Nhwc, parts.reshape(name, &x, &[0, height, width, 4 * channels]))])
    }
}
