//! How far the last answers are from those that the run's best model gave for photos it was not trained on, as its
//! `predictions.csv` keeps them.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::metrics::{head, label};

/// Photos of the sliding window.
const WINDOW: usize = 1000;
/// Parts of equal width that probabilities are counted in.
const BINS: usize = 10;
/// Columns of `predictions.csv` before those of the classes: id, split, class, predicted.
const BEFORE: usize = 4;

/// What is remembered of an answer.
#[derive(Clone, Copy)]
struct Seen {
    class: usize,
    confidence: f32,
    brightness: f32,
}

/// The last answers of a variant, and what to hold them against.
pub(crate) struct Drift {
    classes: Vec<String>,
    reference: Option<Tally>,
    window: Mutex<VecDeque<Seen>>,
}

/// Counts of answers.
#[derive(Clone)]
struct Tally {
    photos: usize,
    classes: Vec<usize>,
    confidence: [usize; BINS],
    sum: f64,
}

impl Tally {
    fn new(classes: usize) -> Self {
        Self { photos: 0, classes: vec![0; classes], confidence: [0; BINS], sum: 0.0 }
    }

    fn add(&mut self, class: usize, confidence: f32) {
        self.photos += 1;
        self.classes[class] += 1;
        // Not a number would count as 0.
        self.confidence[((confidence * BINS as f32) as usize).min(BINS - 1)] += 1;
        self.sum += f64::from(confidence);
    }

    fn mean(&self) -> f64 {
        self.sum / self.photos as f64
    }

    /// Of a run's predictions; none where there are none of these classes.
    fn read(predictions: &Path, classes: &[String]) -> Option<Self> {
        let mut csv = csv::Reader::from_path(predictions).ok()?;
        let columns = BEFORE..BEFORE + classes.len();
        if !csv.headers().ok()?.iter().skip(BEFORE).take(classes.len()).eq(classes) {
            return None;
        }
        let mut tally = Self::new(classes.len());
        for row in csv.records() {
            let row = row.ok()?;
            // A photo that can't be decoded has no answer.
            let values: Option<Vec<f32>> = columns.clone().map(|at| row.get(at)?.parse().ok()).collect();
            let Some(values) = values else { continue };
            let best = crate::answer::most_likely(&values)[0];
            tally.add(best, values[best]);
        }
        (tally.photos > 0).then_some(tally)
    }
}

impl Drift {
    /// Of models that answer together, none was looked at when the run was trained, so that there is nothing to hold their
    /// answers against; nor is there for another model of a run than its best.
    pub(crate) fn new(models: &[impl AsRef<Path>], classes: &[String]) -> Self {
        let beside = |model: &Path| match model.is_dir() {
            true => Some(model.join("predictions.csv")),
            false if model.file_name()? == "best.safetensors" => {
                Some(model.with_file_name("predictions.csv"))
            }
            false => None,
        };
        let reference = match models {
            [model] => beside(model.as_ref()).and_then(|path| Tally::read(&path, classes)),
            _ => None,
        };
        Self { classes: classes.to_vec(), reference, window: Mutex::default() }
    }

    /// A photo was taken for a class.
    pub(crate) fn add(&self, class: usize, confidence: f32, brightness: f32) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.len() == WINDOW {
            window.pop_front();
        }
        window.push_back(Seen { class, confidence, brightness });
    }

    /// Counts of the window, and its mean brightness.
    fn now(&self) -> (Tally, f64) {
        let window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut tally, mut brightness) = (Tally::new(self.classes.len()), 0.0);
        for seen in &*window {
            tally.add(seen.class, seen.confidence);
            brightness += f64::from(seen.brightness);
        }
        let photos = window.len() as f64;
        (tally, brightness / photos)
    }
}

/// Mean brightness of RGB pixels, from 0 to 1 (luma of Rec. 601).
pub(crate) fn brightness(rgb: &[u8]) -> f32 {
    let (pixels, _) = rgb.as_chunks::<3>();
    let luma = |&[r, g, b]: &[u8; 3]| 299 * u64::from(r) + 587 * u64::from(g) + 114 * u64::from(b);
    let sum: u64 = pixels.iter().map(luma).sum();
    (sum as f64 / (pixels.len().max(1) as f64 * 255_000.0)) as f32
}

/// The Jensen-Shannon distance of two distributions of counts, from 0, equal, to 1, nothing in common: the square root of their
/// Jensen-Shannon divergence in bits (Lin 1991; Endres and Schindelin 2003). Each has counts.
fn distance(a: &[usize], b: &[usize]) -> f64 {
    let [all_a, all_b] = [a, b].map(|counts| counts.iter().sum::<usize>() as f64);
    let bits = |p: f64, mean: f64| if p > 0.0 { p * (p / mean).log2() } else { 0.0 };
    let of = |(&a, &b): (&usize, &usize)| {
        let (p, q) = (a as f64 / all_a, b as f64 / all_b);
        let mean = 0.5 * (p + q);
        0.5 * (bits(p, mean) + bits(q, mean))
    };
    let divergence: f64 = a.iter().zip(b).map(of).sum();
    divergence.clamp(0.0, 1.0).sqrt()
}

/// What [`distance`] comes to where nothing but chance tells two samples apart: where both are large its square is a sum of
/// squares, of mean (cells - 1) (1/n + 1/m) / (8 ln 2).
fn by_chance(a: &[usize], b: &[usize]) -> f64 {
    let cells = a.iter().zip(b).filter(|(a, b)| **a + **b > 0).count() as f64;
    let [n, m] = [a, b].map(|counts| counts.iter().sum::<usize>() as f64);
    ((cells - 1.0) * (1.0 / n + 1.0 / m) / (8.0 * std::f64::consts::LN_2)).sqrt().min(1.0)
}

/// A number of a variant, and of a class where it is of one.
type Sample = (Option<usize>, f64);

/// The gauges of all variants as Prometheus' text.
pub(crate) fn text<'a>(variants: impl IntoIterator<Item = (&'a str, &'a Drift)>) -> String {
    let variants: Vec<_> = variants.into_iter().map(|(name, drift)| (name, drift, drift.now())).collect();
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, of: &dyn Fn(&Drift, &Tally, f64) -> Vec<Sample>| {
        head(&mut text, name, "gauge", help);
        for (variant, drift, (window, brightness)) in &variants {
            for (class, value) in of(drift, window, *brightness) {
                let class = class.map(|class| format!(",class=\"{}\"", label(&drift.classes[class])));
                let (variant, class) = (label(variant), class.unwrap_or_default());
                let _ = writeln!(text, "pugmark_{name}{{variant=\"{variant}\"{class}}} {value}");
            }
        }
    };
    let one = |value: f64| vec![(None, value)];
    let rates = |tally: &Tally| -> Vec<Sample> {
        let rate = |(class, &count): (usize, &usize)| (Some(class), count as f64 / tally.photos as f64);
        tally.classes.iter().enumerate().map(rate).collect()
    };
    // Of what there is none, nothing is told.
    let seen = |tally: &Tally, samples: Vec<Sample>| if tally.photos > 0 { samples } else { Vec::new() };
    let of_both = |drift: &Drift, window: &Tally, of: &dyn Fn(&Tally, &Tally) -> f64| match &drift.reference {
        Some(reference) => seen(window, one(of(window, reference))),
        None => Vec::new(),
    };
    gauge("drift_window_photos", "Photos of the sliding window.", &|_, window, _| one(window.photos as f64));
    gauge("drift_reference_photos", "Photos of the run's predictions; 0 without any.", &|drift, _, _| {
        one(drift.reference.as_ref().map_or(0, |reference| reference.photos) as f64)
    });
    gauge(
        "drift_class_rate",
        "Share of the window's photos that were taken for a class.",
        &|_, window, _| seen(window, rates(window)),
    );
    gauge("drift_reference_class_rate", "The same share in the run's predictions.", &|drift, _, _| {
        drift.reference.as_ref().map_or_else(Vec::new, rates)
    });
    gauge("drift_class_distance", "Jensen-Shannon distance of the two, 0 to 1.", &|drift, window, _| {
        of_both(drift, window, &|a, b| distance(&a.classes, &b.classes))
    });
    gauge("drift_class_distance_by_chance", "What chance alone makes of it.", &|drift, window, _| {
        of_both(drift, window, &|a, b| by_chance(&a.classes, &b.classes))
    });
    gauge("drift_confidence_mean", "Mean probability of the most likely class.", &|_, window, _| {
        seen(window, one(window.mean()))
    });
    gauge("drift_reference_confidence_mean", "The same in the run's predictions.", &|drift, _, _| {
        drift.reference.as_ref().map_or_else(Vec::new, |reference| one(reference.mean()))
    });
    gauge("drift_confidence_distance", "Jensen-Shannon distance in tenths of it.", &|drift, window, _| {
        of_both(drift, window, &|a, b| distance(&a.confidence, &b.confidence))
    });
    gauge("drift_confidence_distance_by_chance", "What chance alone makes of it.", &|drift, window, _| {
        of_both(drift, window, &|a, b| by_chance(&a.confidence, &b.confidence))
    });
    gauge(
        "drift_brightness_mean",
        "Mean brightness of the window's photos, 0 to 1.",
        &|_, window, brightness| seen(window, one(brightness)),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against scipy.spatial.distance.jensenshannon(p, q, 2).
    #[test]
    fn distances_of_counts() {
        let cases: [(&[usize], &[usize], f64); 5] = [
            (&[1, 2], &[2, 4], 0.0),
            (&[3, 0], &[0, 1], 1.0),
            (&[1, 0], &[1, 1], 0.557_923_045_284_143_8),
            (&[0, 5], &[0, 1], 0.0),
            (&[1, 3], &[3, 1], 0.434_421_311_103_480_7),
        ];
        for (a, b, wanted) in cases {
            assert!((distance(a, b) - wanted).abs() < 1e-12, "{a:?} {b:?}: {}", distance(a, b));
            assert_eq!(distance(a, b), distance(b, a));
        }
    }

    /// Two samples of one distribution, many times.
    #[test]
    fn chance_alone() {
        let mut state = 7_u64;
        let mut sample = |photos: usize| {
            let mut counts = [0_usize; 5];
            for _ in 0..photos {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Shares 1/2, 1/4, 1/8, 1/16, 1/16.
                counts[((state >> 33).leading_zeros() as usize - 33).min(4)] += 1;
            }
            counts
        };
        let (mut sum, turns) = (0.0, 2000);
        let mut said = 0.0;
        for _ in 0..turns {
            let (a, b) = (sample(1000), sample(500));
            sum += distance(&a, &b).powi(2);
            said = by_chance(&a, &b);
        }
        let found = (sum / f64::from(turns)).sqrt();
        // The mean of 2000 squares whose spread is about their size: 2 % and the next term of the series.
        assert!((found / said - 1.0).abs() < 0.06, "{found} {said}");
    }

    #[test]
    fn brightness_of_pixels() {
        assert_eq!(brightness(&[]), 0.0);
        assert_eq!(brightness(&[255; 30]), 1.0);
        assert!((brightness(&[255, 0, 0, 0, 0, 255]) - (0.299 + 0.114) / 2.0).abs() < 1e-6);
    }

    #[test]
    fn the_window_slides_and_is_held_against_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let rows = "id,split,class,predicted,a,b,truncated,reason\n1,val,a,a,0.9,0.1,false,\n2,val,a,a,0.7,0.3,false,\n\
                    3,val,b,b,0.2,0.8,true,\n4,val,b,,,,false,broken\n";
        std::fs::write(folder.path().join("predictions.csv"), rows).unwrap();
        let classes = ["a".to_owned(), "b".to_owned()];
        let best = folder.path().join("best.safetensors");
        let drift = Drift::new(&[&best], &classes);
        let empty = text([("main", &drift)]);
        assert!(
            empty.contains("drift_window_photos{variant=\"main\"} 0\n") && !empty.contains("NaN"),
            "{empty}"
        );
        for _ in 0..WINDOW {
            drift.add(0, 0.95, 1.0);
        }
        for _ in 0..WINDOW / 4 {
            drift.add(1, 0.55, 0.5);
        }
        let said = text([("main", &drift)]);
        let value = |name: &str| -> f64 {
            let found = said.lines().find_map(|line| line.strip_prefix(&format!("pugmark_drift_{name} ")));
            found.unwrap_or_else(|| panic!("{name}: {said}")).parse().unwrap()
        };
        for (name, wanted) in [
            ("window_photos{variant=\"main\"}", 1000.0),
            ("reference_photos{variant=\"main\"}", 3.0),
            ("class_rate{variant=\"main\",class=\"a\"}", 0.75),
            ("reference_class_rate{variant=\"main\",class=\"b\"}", 1.0 / 3.0),
            ("class_distance{variant=\"main\"}", distance(&[750, 250], &[2, 1])),
            ("confidence_mean{variant=\"main\"}", 0.85),
            ("reference_confidence_mean{variant=\"main\"}", 0.8),
            ("brightness_mean{variant=\"main\"}", 0.875),
        ] {
            assert!((value(name) - wanted).abs() < 1e-6, "{name}");
        }
        // Of 0.95 and 0.55 against 0.9, 0.7 and 0.8.
        let mut tenths = [[0; BINS]; 2];
        (tenths[0][9], tenths[0][5]) = (750, 250);
        (tenths[1][9], tenths[1][7], tenths[1][8]) = (1, 1, 1);
        let wanted = distance(&tenths[0], &tenths[1]);
        assert!((value("confidence_distance{variant=\"main\"}") - wanted).abs() < 1e-9);

        // No reference: another model of the run, other classes, several models.
        let last = folder.path().join("last.safetensors");
        let others = ["a".to_owned(), "c".to_owned()];
        for drift in [
            Drift::new(&[&last], &classes),
            Drift::new(&[&best], &others),
            Drift::new(&[&best, &best], &classes),
        ] {
            assert!(drift.reference.is_none());
        }
    }
}
