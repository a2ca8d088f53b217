//! Lines over a common axis: learning curves, counts by day.

use std::fmt::Write as _;

use crate::Html;
use crate::columns::{legend, short};

/// A line.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// What it shows.
    pub name: &'a str,
    /// Points from left to right; those that are not finite are left out.
    pub points: &'a [(f64, f64)],
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 48.0;
const BELOW: f64 = 24.0;
const MARGIN: f64 = 10.0;

/// Up to four lines in one plot; both axes end at the points.
pub fn lines(title: &str, lines: &[Line<'_>]) -> Html {
    let finite = || {
        let points = lines.iter().flat_map(|line| line.points.iter().copied());
        points.filter(|(x, y)| x.is_finite() && y.is_finite())
    };
    let ends = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low < high {
            (low, high)
        } else if low == high {
            (low - 0.5, high + 0.5)
        } else {
            (0.0, 1.0)
        }
    };
    let (left, right) = ends(&mut finite().map(|(x, _)| x));
    let (bottom, top) = ends(&mut finite().map(|(_, y)| y));
    let x = |value: f64| LEFT + (WIDTH - LEFT - MARGIN) * (value - left) / (right - left);
    let y = |value: f64| HEIGHT - (HEIGHT - MARGIN) * (value - bottom) / (top - bottom);
    let title = Html::text(title);
    let mut svg = format!(
        "<svg class=\"plot\" role=\"img\" aria-label=\"{title}\" viewBox=\"0 0 {WIDTH} {}\">\n",
        HEIGHT + BELOW
    );
    for share in [0.0, 0.5, 1.0] {
        let (value, across) = (bottom + (top - bottom) * share, left + (right - left) * share);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>\
             <text class=\"axis end\" x=\"{1:.1}\" y=\"{2:.1}\">{3}</text>\
             <text class=\"axis middle\" x=\"{4:.1}\" y=\"{5:.1}\">{6}</text>",
            y(value),
            LEFT - 6.0,
            y(value) + 4.0,
            short(value),
            x(across).min(WIDTH - 16.0),
            HEIGHT + 17.0,
            short(across)
        );
    }
    for (at, line) in lines.iter().enumerate() {
        let points: Vec<String> = line
            .points
            .iter()
            .filter(|(x, y)| x.is_finite() && y.is_finite())
            .map(|&(across, value)| format!("{:.1},{:.1}", x(across), y(value)))
            .collect();
        let _ = writeln!(svg, "<polyline class=\"line series{at}\" points=\"{}\"/>", points.join(" "));
    }
    svg.push_str("</svg>\n");
    let names: Vec<&str> = lines.iter().map(|line| line.name).collect();
    Html::markup(svg + &legend(&names).to_string())
}
