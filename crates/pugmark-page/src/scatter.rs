//! Points over two axes, and strands over many: what a search tried and what came of it.

use std::fmt::Write as _;

use crate::Html;
use crate::pieces::WIDE;

/// An axis on which values stand between 0 and 1, whatever its scale.
#[derive(Clone, Default, Debug)]
pub struct Axis {
    /// What it shows.
    pub name: String,
    /// Where values are written, and which.
    pub ticks: Vec<(f64, String)>,
}

/// A point of a plot.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Point {
    /// From the left, 0 to 1.
    pub x: f64,
    /// From below, 0 to 1.
    pub y: f64,
    /// How dark it is, 0 to 1.
    pub heat: f64,
    /// The one to look at.
    pub best: bool,
    /// Drawn as a ring: it did not come to its end.
    pub hollow: bool,
}

/// A line across parallel axes.
#[derive(Clone, Debug)]
pub struct Strand {
    /// Where it crosses each axis, 0 to 1 from below; it has a gap where it does not.
    pub values: Vec<Option<f64>>,
    /// How dark it is, 0 to 1.
    pub heat: f64,
    /// The one to look at.
    pub best: bool,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 76.0;
const MARGIN: f64 = 10.0;
/// A phone's letters are large.
const ABOVE: f64 = 18.0;
const BELOW: f64 = 42.0;

/// Points, the later ones above; `steps` is a line behind them, such as the best so far.
pub fn scatter(title: &str, axes: [&Axis; 2], points: &[Point], steps: &[(f64, f64)]) -> Html {
    let x = |value: f64| LEFT + MARGIN + (WIDTH - LEFT - 3.0 * MARGIN) * value.clamp(0.0, 1.0);
    let y = |value: f64| HEIGHT - MARGIN - (HEIGHT - MARGIN - ABOVE) * value.clamp(0.0, 1.0);
    let mut svg = format!(
        "<svg class=\"plot\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {WIDTH} {}\">\n",
        Html::text(title),
        HEIGHT + BELOW
    );
    for (at, text) in &axes[1].ticks {
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>\
             <text class=\"axis end\" x=\"{1:.1}\" y=\"{2:.1}\">{3}</text>",
            y(*at),
            LEFT - 6.0,
            y(*at) + 4.0,
            Html::text(text)
        );
    }
    for (at, text) in &axes[0].ticks {
        // The outermost words stay inside.
        let place = match *at {
            at if at < 0.02 => "",
            at if at > 0.98 => " end",
            _ => " middle",
        };
        let (at, text) = (x(*at), Html::text(text));
        let _ = writeln!(
            svg,
            "<text class=\"axis{place}\" x=\"{at:.1}\" y=\"{:.1}\">{text}</text>",
            HEIGHT + 14.0
        );
    }
    let name = Html::text(&axes[0].name);
    let middle = (LEFT + WIDTH) / 2.0;
    let _ =
        writeln!(svg, "<text class=\"axis middle\" x=\"{middle}\" y=\"{:.1}\">{name}</text>", HEIGHT + 36.0);
    if !steps.is_empty() {
        let path: Vec<String> = steps.iter().map(|&(a, b)| format!("{:.1},{:.1}", x(a), y(b))).collect();
        let _ = writeln!(svg, "<polyline class=\"line series1\" points=\"{}\"/>", path.join(" "));
    }
    for point in points {
        let class = match (point.best, point.hollow) {
            (true, _) => "dot best",
            (false, true) => "dot hollow",
            (false, false) => "dot",
        };
        let _ = writeln!(
            svg,
            "<circle class=\"{class}\" style=\"--heat:{:.3}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\"/>",
            heat(point.heat),
            x(point.x),
            y(point.y)
        );
    }
    Html::markup(svg + "</svg>\n")
}

/// Room of an axis, and of its name and values around it.
const PITCH: f64 = 130.0;
const SIDE: f64 = 66.0;
const TOP: f64 = 34.0;
const TALL: f64 = 240.0;

/// Parallel axes with a strand for each thing that has a value on them; the later ones above.
pub fn parallel(title: &str, axes: &[Axis], strands: &[Strand]) -> Html {
    let width = SIDE * 2.0 + PITCH * axes.len().saturating_sub(1) as f64;
    let x = |axis: usize| SIDE + PITCH * axis as f64;
    let y = |value: f64| TOP + (TALL - TOP) * (1.0 - value.clamp(0.0, 1.0));
    // Wider than a phone it is moved under the finger, not made too small to read.
    let mut svg = format!(
        "{WIDE}<svg class=\"strands\" style=\"min-width:{:.1}rem\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {width} {}\">\n",
        width / 18.0,
        Html::text(title),
        TALL + 12.0
    );
    for strand in strands {
        let class = if strand.best { "strand best" } else { "strand" };
        let runs = strand.values.split(Option::is_none);
        let mut at = 0;
        for run in runs {
            let points: Vec<String> = run
                .iter()
                .flatten()
                .enumerate()
                .map(|(offset, &value)| format!("{:.1},{:.1}", x(at + offset), y(value)))
                .collect();
            at += run.len() + 1;
            if points.len() > 1 {
                let _ = writeln!(
                    svg,
                    "<polyline class=\"{class}\" style=\"--heat:{:.3}\" points=\"{}\"/>",
                    heat(strand.heat),
                    points.join(" ")
                );
            }
        }
    }
    for (at, axis) in axes.iter().enumerate() {
        let (at, name) = (x(at), Html::text(&axis.name));
        let _ = writeln!(
            svg,
            "<line class=\"post\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{TALL}\"/>\
             <text class=\"axis middle\" x=\"{at:.1}\" y=\"16\">{name}</text>"
        );
        for (value, text) in &axis.ticks {
            let _ = writeln!(
                svg,
                "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                at + 5.0,
                y(*value) + 4.0,
                Html::text(text)
            );
        }
    }
    Html::markup(svg + "</svg></div>\n")
}

fn heat(value: f64) -> f64 {
    if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 }
}
