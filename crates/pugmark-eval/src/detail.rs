use serde::Serialize;

use crate::calibration::{Calibration, calibration};
use crate::evaluation::{check, most_probable, ratio, squares, surprise};
use crate::intervals::{Intervals, intervals};
use crate::{Combine, EvalError, Evaluation, evaluate};

/// Where the photos are from, as far as it is known: one entry a photo, or empty where nothing is.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    /// The camera or place.
    pub sites: Vec<Option<String>>,
    /// Hour of the day (0 to 23) on the camera's clock.
    pub hours: Vec<Option<u32>>,
    /// The sequence or burst.
    pub sequences: Vec<Option<String>>,
}

/// What takes longer than [`evaluate`], or needs to know where photos are from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detail {
    /// One entry a class: the area under its precision-recall curve as scikit-learn sums it; none where no photo shows it.
    pub average_precision: Vec<Option<f64>>,
    /// Their mean.
    pub mean_average_precision: f64,
    /// Whether the probabilities mean what they say.
    pub calibration: Calibration,
    /// 95 % intervals; none for fewer than two sites, sequences or photos.
    pub intervals: Option<Intervals>,
    /// Each site, by name; empty where none is named.
    pub sites: Vec<Group>,
    /// "day" (from 6 to 18 on the camera's clock) and "night"; empty where no time is known.
    pub day_night: Vec<Group>,
    /// Sequences of one class, frames combined; none where no sequence has two frames.
    pub sequences: Option<Sequences>,
}

/// Some of the photos.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// What they share.
    pub name: String,
    /// How many they are.
    pub images: usize,
    /// As in [`Evaluation`]; so for the others.
    pub accuracy: f64,
    /// Their log loss.
    pub log_loss: f64,
    /// Their Brier score.
    pub brier: f64,
}

/// Sequences in place of photos: each counts once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sequences {
    /// Sequences evaluated; a photo in none is one of its own.
    pub count: usize,
    /// Those whose frames show different classes; they are left out.
    pub mixed: usize,
    /// One entry for each way to combine frames: `mean`, `geometric`, `max`.
    pub combined: Vec<Group>,
}

/// Evaluates in detail; arguments and errors are those of [`evaluate`].
///
/// # Errors
/// As [`evaluate`].
///
/// # Panics
/// Where `origins` has neither no entry nor one a photo.
pub fn detail(
    classes: &[String],
    labels: &[usize],
    probabilities: &[f32],
    origins: &Origins,
) -> Result<Detail, EvalError> {
    let count = classes.len();
    check(count, labels, probabilities)?;
    for known in [origins.sites.len(), origins.hours.len(), origins.sequences.len()] {
        assert!(known == 0 || known == labels.len(), "{known} origins of {} photos", labels.len());
    }
    let average_precision: Vec<_> =
        (0..count).map(|class| average_precision(labels, probabilities, count, class)).collect();
    let (unit, drawn) = match origins.sites.iter().any(Option::is_some) {
        true => ("site", &origins.sites),
        false => ("sequence", &origins.sequences),
    };
    let known: Vec<f64> = average_precision.iter().flatten().copied().collect();
    let part_of_day = |hour: &Option<u32>| {
        hour.map(|hour| if (6..18).contains(&hour) { "day" } else { "night" }.to_owned())
    };
    let parts: Vec<_> = origins.hours.iter().map(part_of_day).collect();
    Ok(Detail {
        mean_average_precision: known.iter().sum::<f64>() / known.len() as f64,
        average_precision,
        calibration: calibration(labels, probabilities),
        intervals: intervals(count, labels, probabilities, unit, drawn),
        sites: groups(labels, probabilities, &origins.sites),
        day_night: groups(labels, probabilities, &parts),
        sequences: sequences(classes, labels, probabilities, &origins.sequences)?,
    })
}

/// Photos with equal scores count together, as in scikit-learn.
fn average_precision(labels: &[usize], probabilities: &[f32], count: usize, class: usize) -> Option<f64> {
    let positives = labels.iter().filter(|&&label| label == class).count();
    if positives == 0 {
        return None;
    }
    let mut scored: Vec<(f32, bool)> = labels
        .iter()
        .zip(probabilities.chunks_exact(count))
        .map(|(&l, row)| (row[class], l == class))
        .collect();
    scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut taken, mut hits, mut area) = (0u64, 0u64, 0.0);
    for tied in scored.chunk_by(|a, b| a.0 == b.0) {
        let new = tied.iter().filter(|(_, positive)| *positive).count() as u64;
        taken += tied.len() as u64;
        hits += new;
        area += ratio(new, positives as u64) * ratio(hits, taken);
    }
    Some(area)
}

fn groups(labels: &[usize], probabilities: &[f32], names: &[Option<String>]) -> Vec<Group> {
    let count = probabilities.len() / labels.len();
    let mut groups = std::collections::BTreeMap::<&str, Group>::new();
    for ((&label, row), name) in labels.iter().zip(probabilities.chunks_exact(count)).zip(names) {
        let Some(name) = name.as_deref() else { continue };
        let empty = || Group { name: name.to_owned(), images: 0, accuracy: 0.0, log_loss: 0.0, brier: 0.0 };
        let group = groups.entry(name).or_insert_with(empty);
        group.images += 1;
        group.accuracy += f64::from(most_probable(row) == label);
        group.log_loss += surprise(row[label]);
        group.brier += squares(row, label);
    }
    let mean = |mut group: Group| {
        for sum in [&mut group.accuracy, &mut group.log_loss, &mut group.brier] {
            *sum /= group.images as f64;
        }
        group
    };
    groups.into_values().map(mean).collect()
}

fn sequences(
    classes: &[String],
    labels: &[usize],
    probabilities: &[f32],
    names: &[Option<String>],
) -> Result<Option<Sequences>, EvalError> {
    let mut found = std::collections::BTreeMap::<&str, Vec<usize>>::new();
    let mut alone = Vec::new();
    for (photo, name) in names.iter().enumerate() {
        match name.as_deref() {
            Some(name) => found.entry(name).or_default().push(photo),
            None => alone.push(vec![photo]),
        }
    }
    if found.values().all(|photos| photos.len() < 2) {
        return Ok(None);
    }
    let all = found.len() + alone.len();
    let whole: Vec<Vec<usize>> = found
        .into_values()
        .filter(|photos| photos.iter().all(|&photo| labels[photo] == labels[photos[0]]))
        .chain(alone)
        .collect();
    if whole.is_empty() {
        return Ok(None);
    }
    let truth: Vec<usize> = whole.iter().map(|photos| labels[photos[0]]).collect();
    let count = classes.len();
    let combined = [Combine::Mean, Combine::Geometric, Combine::Max].map(|combine| {
        let row = |photos: &Vec<usize>| {
            let weights = vec![1.0 / photos.len() as f64; photos.len()];
            let rows: Vec<Vec<f32>> =
                photos.iter().map(|photo| probabilities[photo * count..][..count].to_vec()).collect();
            combine.probabilities(&weights, &rows)
        };
        let rows: Vec<f32> = whole.iter().flat_map(row).collect();
        let Evaluation { images, accuracy, log_loss, brier, .. } = evaluate(classes, &truth, &rows)?;
        Ok(Group { name: combine.name().to_owned(), images, accuracy, log_loss, brier })
    });
    let combined = combined.into_iter().collect::<Result<_, EvalError>>()?;
    Ok(Some(Sequences { count: truth.len(), mixed: all - truth.len(), combined }))
}
