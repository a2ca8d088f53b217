//! Tables whose cells are the darker the larger their value: confusion matrices, classes by site.

use std::fmt::Write as _;

use crate::Html;
use crate::pieces::{WIDE, heading};

/// A table of numbers with names on both sides.
#[derive(Clone, Default, Debug)]
pub struct HeatTable {
    /// What the rows are, in the corner.
    pub corner: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Name and cells of each row: how dark, from 0 to 1, and what stands there.
    pub rows: Vec<(String, Vec<(f64, String)>)>,
}

/// Draws such a table.
pub fn heat_table(table: &HeatTable) -> Html {
    let mut text = format!("{WIDE}<table class=\"heat\">\n<thead><tr>{}", heading("", &table.corner));
    for column in &table.columns {
        text.push_str(&heading(" class=\"number\"", column));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for (name, cells) in &table.rows {
        let _ = write!(text, "<tr><th>{}</th>", Html::text(name));
        for (heat, shown) in cells {
            let heat = if heat.is_finite() { heat.clamp(0.0, 1.0) } else { 0.0 };
            let _ =
                write!(text, "<td class=\"number\" style=\"--heat:{heat:.3}\">{}</td>", Html::text(shown));
        }
        text.push_str("</tr>\n");
    }
    Html::markup(text + "</tbody>\n</table></div>\n")
}
