//! Upright columns: histograms.

use std::fmt::Write as _;

use crate::Html;

/// A column of a histogram.
#[derive(Clone, Default, Debug)]
pub struct Column {
    /// What stands below it; may be empty.
    pub label: String,
    /// Its parts from the bottom up, one a series; not negative.
    pub parts: Vec<f64>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 200.0;
/// Room for the labels below and the scale at the left.
const BELOW: f64 = 24.0;
const LEFT: f64 = 44.0;
const ABOVE: f64 = 10.0;

/// A histogram of stacked columns; `series` names their parts from the bottom up (at most four).
pub fn columns(title: &str, series: &[&str], columns: &[Column]) -> Html {
    let total = |column: &Column| column.parts.iter().sum::<f64>();
    let highest = columns.iter().map(total).fold(0.0, f64::max);
    let top = round_up(highest);
    let title = Html::text(title);
    let mut svg = format!(
        "<svg class=\"plot\" role=\"img\" aria-label=\"{title}\" viewBox=\"0 0 {WIDTH} {}\">\n",
        HEIGHT + BELOW
    );
    let y = |value: f64| HEIGHT - (HEIGHT - ABOVE) * value / top;
    for share in [0.0, 0.5, 1.0] {
        let at = y(top * share);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"axis end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            short(top * share)
        );
    }
    let pitch = (WIDTH - LEFT) / columns.len().max(1) as f64;
    for (at, column) in columns.iter().enumerate() {
        let x = LEFT + pitch * at as f64;
        let mut below = 0.0;
        for (part, value) in column.parts.iter().enumerate() {
            let (low, high) = (y(below), y(below + value));
            below += value;
            let _ = writeln!(
                svg,
                "<rect class=\"series{part}\" x=\"{:.1}\" y=\"{high:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                x + pitch * 0.1,
                pitch * 0.8,
                (low - high).max(0.0)
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"axis middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x + pitch / 2.0,
            HEIGHT + 17.0,
            Html::text(&column.label)
        );
    }
    svg.push_str("</svg>\n");
    Html::markup(svg + &legend(series).to_string())
}

/// Which colour is which series; nothing for a single one.
pub(crate) fn legend(series: &[&str]) -> Html {
    if series.len() < 2 {
        return Html::default();
    }
    let mut text = "<p class=\"legend\">".to_owned();
    for (at, name) in series.iter().enumerate() {
        let _ = write!(
            text,
            "<span><svg width=\"12\" height=\"12\"><rect class=\"series{at}\" width=\"12\" height=\"12\" rx=\"2\"/></svg> \
             {}</span> ",
            Html::text(name)
        );
    }
    Html::markup(text + "</p>\n")
}

/// The next of 1, 2, 4, 5, 10, 20, ... for a scale that ends well.
pub(crate) fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let step = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 10.0]
        .into_iter()
        .map(|times| times * step)
        .find(|&end| end >= value)
        .unwrap_or(value)
}

/// A number of at most four letters or so: 12, 3.5k, 2M.
pub(crate) fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        large if large >= 1e6 => (value / 1e6, "M"),
        large if large >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{value:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::{round_up, short};

    #[test]
    fn scales_end_well() {
        for (value, end) in [(0.0, 1.0), (1.0, 1.0), (7.0, 10.0), (18.0, 20.0), (341.0, 400.0), (0.43, 0.5)] {
            assert!((round_up(value) - end).abs() < 1e-9, "{value}");
        }
        for (value, text) in [(0.0, "0"), (0.25, "0.25"), (200.0, "200"), (25_000.0, "25k"), (1.5e6, "1.5M")]
        {
            assert_eq!(short(value), text);
        }
    }
}
