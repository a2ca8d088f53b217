//! Horizontal bars, one a row.

use std::fmt::Write as _;

use crate::{Html, Tone};

/// A bar.
#[derive(Clone, Default, Debug)]
pub struct Bar {
    /// What it stands for.
    pub label: String,
    /// Its length; not negative.
    pub value: f64,
    /// The value as text, behind the bar.
    pub text: String,
    /// How it looks.
    pub tone: Tone,
}

/// Bars below each other. The longest fills the width, unless `full` says what does; `mark` draws a line across all of
/// them at a value to compare with.
pub fn bars(bars: &[Bar], full: Option<f64>, mark: Option<f64>) -> Html {
    let longest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let full = full.unwrap_or(longest).max(f64::MIN_POSITIVE);
    let mut text = "<div class=\"bars\">\n".to_owned();
    for Bar { label, value, text: shown, tone } in bars {
        let [label, shown] = [label, shown].map(|text| Html::text(text));
        let width = (value / full).clamp(0.0, 1.0) * 100.0;
        let line = mark.map_or_else(String::new, |mark| {
            let x = (mark / full).clamp(0.0, 1.0) * 100.0;
            format!("<line class=\"mark\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"0\" y2=\"100%\"/>")
        });
        let _ = writeln!(
            text,
            "<div class=\"bar {}\"><span class=\"name\" title=\"{label}\">{label}</span>\
             <svg role=\"img\" aria-label=\"{label}: {shown}\" width=\"100%\" height=\"16\">\
             <rect class=\"track\" width=\"100%\" height=\"16\" rx=\"3\"/>\
             <rect class=\"fill\" width=\"{width:.2}%\" height=\"16\" rx=\"3\"/>{line}</svg>\
             <span class=\"count\">{shown}</span></div>",
            tone.class()
        );
    }
    Html::markup(text + "</div>\n")
}
