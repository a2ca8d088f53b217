use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use pugmark_data::{Item, Part};
use pugmark_engine::Engine;
use pugmark_eval::{Evaluation, evaluate};
use pugmark_model::{Classifier, Prediction, RunFolder};

use super::prepare::loader_threads;
use super::report::{Report, TRUNCATED, save, save_damaged};
use crate::checkpoint::Damage;
use crate::{Event, TrainError, TrainSettings};

/// `predictions.csv`: the best model on photos it was not trained on.
pub(super) struct Predictions<'a> {
    pub(super) settings: &'a TrainSettings,
    pub(super) folder: &'a RunFolder,
    pub(super) part: Part,
    pub(super) items: Vec<Item>,
    pub(super) stop: &'a AtomicBool,
}

impl Predictions<'_> {
    /// Predicts, saves and evaluates; breaks off when stopped. There is an evaluation for the test part alone: the
    /// validation part was evaluated in every epoch.
    pub(super) fn write(
        self,
        engine: &dyn Engine,
        damaged: &mut BTreeMap<String, Damage>,
        report: &mut Report<'_>,
    ) -> Result<ControlFlow<(), Option<Evaluation>>, TrainError> {
        let Self { settings, folder, part, items, stop } = self;
        let mut classifier = Classifier::open(folder.path(), engine, settings.batch_size)?;
        let classes = classifier.card().classes.clone();
        let mut predictions = Vec::with_capacity(items.len());
        classifier.predict(items, loader_threads(settings), &mut |prediction| {
            predictions.push(prediction);
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if stop.load(Ordering::Relaxed) {
            return Ok(ControlFlow::Break(()));
        }
        let (mut labels, mut probabilities) = (Vec::new(), Vec::new());
        for prediction in &predictions {
            match &prediction.outcome {
                Ok(row) if prediction.truncated => {
                    report.damaged(damaged, part, &prediction.id, None)?;
                    labels.extend(prediction.class);
                    probabilities.extend(row);
                }
                Ok(row) => {
                    labels.extend(prediction.class);
                    probabilities.extend(row);
                }
                Err(reason) => report.damaged(damaged, part, &prediction.id, Some(reason))?,
            }
        }
        save_damaged(folder, damaged)?;
        save(folder.predictions(), to_csv(&classes, part, &predictions))?;
        report.event(Event::Saved(&folder.predictions()))?;
        let evaluation = match part {
            Part::Test if labels.is_empty() => {
                report
                    .event(Event::Warning("no photo of the test part can be decoded: nothing was tested"))?;
                None
            }
            Part::Test => Some(evaluate(&classes, &labels, &probabilities)?),
            Part::Train | Part::Val => None,
        };
        Ok(ControlFlow::Continue(evaluation))
    }
}

/// One row a photo: id, part, true class, predicted class, what is wrong with the file, one probability a class.
fn to_csv(classes: &[String], part: Part, predictions: &[Prediction]) -> io::Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(
        ["id", "split", "class", "predicted", "note"].into_iter().chain(classes.iter().map(String::as_str)),
    )?;
    for prediction in predictions {
        let class = prediction.class.map_or("", |class| &classes[class]);
        let row = prediction.outcome.as_deref().unwrap_or_default();
        let best = (0..row.len()).reduce(|best, class| if row[class] > row[best] { class } else { best });
        let predicted = best.map_or("", |class| &classes[class]);
        let note = match &prediction.outcome {
            Err(reason) => reason,
            Ok(_) if prediction.truncated => TRUNCATED,
            Ok(_) => "",
        };
        let cells = (0..classes.len()).map(|class| row.get(class).map_or(String::new(), f32::to_string));
        let fixed = [&prediction.id, part.name(), class, predicted, note].map(String::from);
        csv.write_record(fixed.into_iter().chain(cells))?;
    }
    csv.into_inner().map_err(csv::IntoInnerError::into_error)
}
