//! One answer for the frames of a burst.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use pugmark_data::bursts::bursts;
use pugmark_data::{Dataset, ExifFacts, Item, Sample};
use pugmark_eval::Combine;

use super::files::OnPrediction;
use super::journal::Journal;
use crate::arguments::PredictArguments;
use crate::error::{Interrupted, WrongCall};
use crate::printer::Printer;

/// How frames are found and combined.
#[derive(Debug)]
pub(super) struct Bursts {
    combine: Combine,
    gap: TimeDelta,
}

impl Bursts {
    /// Of a call; none where it does not ask for them.
    pub(super) fn new(arguments: &PredictArguments) -> Result<Option<Self>, WrongCall> {
        let Some(how) = &arguments.by_burst else { return Ok(None) };
        let combine = how.parse().map_err(WrongCall::new)?;
        Ok(Some(Self { combine, gap: TimeDelta::seconds(i64::from(arguments.burst_gap)) }))
    }

    /// The journal's predictions; those of one burst are the same. All are in memory.
    pub(super) fn predictions(
        &self,
        items: &[Item],
        journal: &Journal,
        stop: &AtomicBool,
        printer: &Printer,
        on: OnPrediction<'_>,
    ) -> anyhow::Result<()> {
        let mut predictions = Vec::with_capacity(items.len());
        journal.predictions(items, &mut |prediction| {
            predictions.push(prediction);
            Ok(())
        })?;
        let groups = bursts(&dataset(items, stop, printer)?, None, self.gap);
        let mut frames = 0;
        for group in &groups {
            let row = |&frame: &usize| predictions[frame].outcome.clone().ok();
            let rows: Vec<Vec<f32>> = group.iter().filter_map(row).collect();
            let together = self.combine.probabilities(&vec![1.0 / rows.len() as f64; rows.len()], &rows);
            for &frame in group {
                if let Ok(row) = &mut predictions[frame].outcome {
                    row.clone_from(&together);
                    frames += 1;
                }
            }
        }
        printer.note(&format!("{frames} photos are frames of {} bursts, each with one answer", groups.len()));
        predictions.into_iter().try_for_each(on)
    }
}

/// The photos with what their cameras say: when, and which camera.
fn dataset(items: &[Item], stop: &AtomicBool, printer: &Printer) -> anyhow::Result<Dataset> {
    let mut samples = Vec::with_capacity(items.len());
    let mut progress = printer.progress("capture times", items.len() as u64);
    for item in items {
        if stop.load(Ordering::Relaxed) {
            return Err(Interrupted("the answers are in the journal; the same call goes on").into());
        }
        let ExifFacts { time, serial, .. } = ExifFacts::of_file(&item.path);
        let time = time.map(|(time, _)| time);
        samples.push(Sample { site: serial, time, ..Sample::new(&item.id, &item.path) });
        progress.set_with_rate(samples.len() as u64, "photos");
    }
    let (root, classes, notes) = (PathBuf::new(), Vec::new(), Vec::new());
    Ok(Dataset { root, classes, samples, format: "photos", notes })
}
