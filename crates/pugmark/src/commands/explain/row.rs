//! What is told of a photo, and of all together.

use std::fmt::Write as _;

use pugmark_eval::explain::{Area, Faithfulness};
use serde::Serialize;

use super::explainer::Map;

/// A photo's line in `explain.jsonl`.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) id: String,
    /// The class that is explained, and its probability.
    pub(super) class: Option<String>,
    pub(super) probability: Option<f32>,
    /// The most probable class.
    pub(super) predicted: Option<String>,
    /// The file of its heat map.
    pub(super) picture: Option<String>,
    pub(super) map: Option<Map>,
    pub(super) faithfulness: Option<Faithfulness>,
    pub(super) sanity: Option<Sanity>,
    /// The file ends early; what is there was used.
    pub(super) truncated: bool,
    /// Why there is no map.
    pub(super) reason: Option<String>,
}

/// Spearman's rank correlation of the map with those of random models (Adebayo and others, arXiv 1810.03292); none where a map is
/// the same all over.
#[derive(Serialize)]
pub(super) struct Sanity {
    pub(super) random_head: Option<f64>,
    pub(super) random_weights: Option<f64>,
}

impl Row {
    pub(super) fn broken(id: String, reason: String) -> Self {
        Self {
            id,
            class: None,
            probability: None,
            predicted: None,
            picture: None,
            map: None,
            faithfulness: None,
            sanity: None,
            truncated: false,
            reason: Some(reason),
        }
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        let (Some(class), Some(probability)) = (&self.class, self.probability) else {
            return format!("{}  cannot be read: {}", self.id, self.reason.as_deref().unwrap_or_default());
        };
        let mut line = format!("{}  {class} {:.1} %", self.id, probability * 100.0);
        if let Some(Faithfulness { deletion, insertion }) = &self.faithfulness {
            let _ = write!(
                line,
                "  {}",
                areas([deletion.map, deletion.floor(), insertion.map, insertion.floor()])
            );
        }
        if let Some(Sanity { random_head, random_weights }) = self.sanity {
            let _ = write!(line, "  {}", likeness(random_head, random_weights));
        }
        if self.truncated {
            line.push_str("  cut off");
        }
        line
    }
}

fn areas([deletion, deletion_floor, insertion, insertion_floor]: [f64; 4]) -> String {
    format!(
        "deletion {deletion:.3} (random {deletion_floor:.3})  insertion {insertion:.3} (random {insertion_floor:.3})"
    )
}

fn likeness(head: Option<f64>, weights: Option<f64>) -> String {
    let word = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    format!("like random head {}, random weights {}", word(head), word(weights))
}

/// Sums over the photos.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) photos: usize,
    pub(super) explained: usize,
    /// Of deletion, its floor, insertion, its floor.
    areas: [f64; 4],
    measured: usize,
    /// Photos whose map is better than every random order, in both.
    better: usize,
    /// Sum and number of the correlations with a random head, and with random weights.
    likeness: [(f64, usize); 2],
}

impl Totals {
    pub(super) fn add(&mut self, row: &Row) {
        self.photos += 1;
        self.explained += usize::from(row.map.is_some());
        if let Some(Faithfulness { deletion, insertion }) = &row.faithfulness {
            let areas = [deletion.map, deletion.floor(), insertion.map, insertion.floor()];
            self.areas.iter_mut().zip(areas).for_each(|(sum, area)| *sum += area);
            self.measured += 1;
            let all = |area: &Area, better: fn(f64, f64) -> bool| {
                area.random.iter().all(|&random| better(area.map, random))
            };
            self.better += usize::from(
                all(deletion, |map, random| map < random) && all(insertion, |map, random| map > random),
            );
        }
        if let Some(Sanity { random_head, random_weights }) = row.sanity {
            for ((sum, count), value) in self.likeness.iter_mut().zip([random_head, random_weights]) {
                *sum += value.unwrap_or(0.0);
                *count += usize::from(value.is_some());
            }
        }
    }

    /// The means over the photos.
    pub(super) fn text(&self) -> String {
        let mut text = format!("mean of {}", self.explained);
        if self.measured > 0 {
            let means = self.areas.map(|sum| sum / self.measured as f64);
            let _ = write!(text, "  {}", areas(means));
            let _ = write!(text, "; better than every random order on {} of {}", self.better, self.measured);
        }
        let [head, weights] = self.likeness.map(|(sum, count)| (count > 0).then(|| sum / count as f64));
        if head.is_some() || weights.is_some() {
            let _ = write!(text, "  {}", likeness(head, weights));
        }
        text
    }
}
