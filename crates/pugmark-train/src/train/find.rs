//! The learning-rate range test.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pugmark_data::{Batch, Dataset};
use pugmark_engine::{Engine, EngineError, TrainBatch};

use super::prepare::Prepared;
use super::session::train_batch;
use crate::{Event, Observer, TrainError, TrainSettings};

/// fastai's `lr_find`: from the first rate to the last in so many steps, each the same times the one before.
const FIRST: f64 = 1e-7;
const LAST: f64 = 10.0;
const STEPS: usize = 100;
/// Share of the earlier losses in the smoothed one.
const SMOOTHING: f64 = 0.98;
/// The test ends when the smoothed loss is so many times the lowest.
const DIVERGED: f64 = 4.0;
/// Steps at the beginning and at the end of which the suggestion takes no notice.
const SKIPPED: (usize, usize) = (STEPS / 10, 5);

/// One step of the test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatePoint {
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Loss before the step.
    pub loss: f64,
    /// Exponential average of the losses up to this one, corrected for its start at zero.
    pub smoothed: f64,
}

/// What the test found.
#[derive(Debug, Clone, PartialEq)]
pub struct RateSearch {
    /// The steps, by rising learning rate.
    pub points: Vec<RatePoint>,
    /// fastai's `valley`: two thirds down the longest descent of the smoothed loss; none where it hardly descends.
    pub suggestion: Option<f64>,
}

impl RateSearch {
    fn new(points: Vec<RatePoint>) -> Self {
        let used = SKIPPED.0..points.len().saturating_sub(SKIPPED.1);
        let used = points.get(used).unwrap_or_default();
        let losses: Vec<f64> = used.iter().map(|point| point.smoothed).collect();
        let suggestion = valley(&losses).map(|index| used[index].learning_rate);
        Self { points, suggestion }
    }

    /// The points as CSV with a header.
    ///
    /// # Errors
    /// None that writing into memory can give.
    pub fn to_csv(&self) -> io::Result<Vec<u8>> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(["learning_rate", "loss", "smoothed_loss"])?;
        for RatePoint { learning_rate, loss, smoothed } in &self.points {
            csv.write_record([learning_rate, loss, smoothed].map(|value| format!("{value:e}")))?;
        }
        csv.into_inner().map_err(csv::IntoInnerError::into_error)
    }
}

/// Smith's range test (arXiv 1506.01186) as fastai's `lr_find` does it: the learning rate rises from 1e-7 to 10 in 100 steps
/// of the training that the settings describe, until the loss is four times the lowest. Nothing is saved, and the schedule
/// plays no part. None when stopped.
///
/// # Errors
/// Those of [`crate::train`] before its first step.
pub fn find_learning_rate(
    data: &Dataset,
    settings: &TrainSettings,
    engine: &dyn Engine,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Option<RateSearch>, TrainError> {
    settings.validate()?;
    let mut settings = settings.resolved(data);
    let prepared = Prepared::new(data, &mut settings, engine)?;
    prepared.warnings.iter().for_each(|text| observer.event(Event::Warning(text)));
    prepared.notes.iter().for_each(|text| observer.event(Event::Note(text)));
    let (photos, ..) = prepared.photos(&settings, None);
    let input = prepared.state.card.input(settings.batch_size);
    let mut training = engine.training(&prepared.graph, &prepared.tensors, &input, &prepared.spec)?;
    let started = Instant::now();
    let (mut points, mut images) = (Vec::<RatePoint>::new(), 0);
    let (mut average, mut lowest) = (0.0, f64::INFINITY);
    let mut parts: Vec<(u32, usize, Batch)> = Vec::new();
    'epochs: for epoch in 1.. {
        let mut decoded = false;
        for (number, batch) in photos.loader.epoch(epoch.into(), 0).enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if batch.labels.is_empty() {
                continue;
            }
            decoded = true;
            images += batch.labels.len();
            parts.push((epoch, number, batch));
            if parts.len() < settings.accumulate {
                continue;
            }
            let step = points.len();
            let rate = FIRST * (LAST / FIRST).powf(step as f64 / STEPS as f64);
            let batches: Vec<TrainBatch<'_>> = parts
                .iter()
                .map(|(epoch, number, batch)| train_batch(batch, &[], settings.seed, *epoch, *number))
                .collect();
            let loss = match training.accumulated_step(&batches, rate as f32, settings.weight_decay) {
                Ok(output) => output.loss,
                Err(EngineError::NonFiniteLoss { .. } | EngineError::NonFiniteGradient { .. }) => {
                    break 'epochs;
                }
                Err(error) => return Err(error.into()),
            };
            parts.clear();
            average = SMOOTHING * average + (1.0 - SMOOTHING) * loss;
            let smoothed = average / (1.0 - SMOOTHING.powi(step as i32 + 1));
            points.push(RatePoint { learning_rate: rate, loss, smoothed });
            observer.event(Event::Searching { step: step + 1, steps: STEPS, learning_rate: rate, loss });
            lowest = lowest.min(smoothed);
            if smoothed > DIVERGED * lowest || points.len() == STEPS {
                break 'epochs;
            }
        }
        if !decoded {
            let id = photos.items.first().map(|item| item.id.clone()).unwrap_or_default();
            let reason = "none of the training part can be".into();
            return Err(TrainError::NothingDecodes {
                part: photos.part,
                photos: photos.items.len(),
                id,
                reason,
            });
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let text = format!("{} steps on {images} photos in {seconds:.1} s", points.len());
    observer.event(Event::Note(&text));
    Ok(Some(RateSearch::new(points)))
}

/// Where the longest strictly falling subsequence of the losses is two thirds down: the middle of the second of its thirds
/// by position, as fastai counts. None without a fall.
fn valley(losses: &[f64]) -> Option<usize> {
    // Length of the longest such subsequence that ends at each loss.
    let mut length = vec![1; losses.len()];
    let mut end = 0;
    for i in 1..losses.len() {
        let before = (0..i).filter(|&j| losses[i] < losses[j]).map(|j| length[j]).max();
        length[i] = before.map_or(1, |before| before + 1);
        if length[i] > length[end] {
            end = i;
        }
    }
    let longest = *length.get(end).filter(|length| **length > 1)?;
    // fastai takes the subsequence for one without gaps, and its start for the place before it.
    let third = longest as f64 / 3.0;
    Some((end + third as usize + (third / 2.0) as usize).saturating_sub(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suggestion_is_fastais() {
        // fastai.callback.schedule.valley by hand: losses fall from index 3 to 12, a subsequence of 10 that ends at 12.
        let losses: Vec<f64> =
            [5.0, 5.1, 5.2, 5.3, 5.0, 4.5, 4.0, 3.5, 3.0, 2.5, 2.0, 1.5, 1.0, 2.0, 4.0, 8.0].to_vec();
        // start = 12 - 10 = 2, sections = 10 / 3, index = 2 + 3 + 1.
        assert_eq!(valley(&losses), Some(6));
        assert_eq!(valley(&[1.0, 2.0, 3.0]), None);
        assert_eq!(valley(&[]), None);
    }

    #[test]
    fn ends_are_passed_over() {
        let point = |step: usize| {
            let smoothed = if step < 60 { 10.0 - step as f64 / 10.0 } else { 4.0 + step as f64 };
            RatePoint { learning_rate: step as f64, loss: smoothed, smoothed }
        };
        // Of the steps 10 to 94 those up to 59 fall: fifty, from one before the first of them as fastai counts.
        let search = RateSearch::new((0..STEPS).map(point).collect());
        assert_eq!(search.suggestion, Some(10.0 - 1.0 + 16.0 + 8.0));
        assert_eq!(RateSearch::new((0..12).map(point).collect()).suggestion, None);
    }
}
