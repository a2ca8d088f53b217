use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use pugmark_data::{Item, Part};
use pugmark_engine::Engine;
use pugmark_eval::{Evaluation, evaluate};
use pugmark_model::{Classifier, Model, Prediction, RunFolder};

use super::features::Features;
use super::report::{Report, save, save_damaged};
use crate::checkpoint::Damage;
use crate::{Event, TrainError, TrainSettings};

/// `predictions.csv`: the best model on photos it was not trained on.
pub(super) struct Predictions<'a> {
    pub(super) settings: &'a TrainSettings,
    pub(super) folder: &'a RunFolder,
    pub(super) part: Part,
    pub(super) items: Vec<Item>,
    /// Those of the photos, where they are known.
    pub(super) features: Option<&'a Features>,
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
        let Self { settings, folder, part, items, features, stop } = self;
        let (classes, predictions) = match features {
            Some(features) => {
                let model = Model::read(&folder.best())?;
                let predictions = features.predict(&model, part, items, engine)?;
                (model.card.classes, predictions)
            }
            None => {
                let mut classifier = Classifier::open(folder.path(), engine, settings.batch_size)?;
                let mut predictions = Vec::with_capacity(items.len());
                classifier.predict(items, settings.loader_threads, &mut |prediction| {
                    predictions.push(prediction);
                    if stop.load(Ordering::Relaxed) {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })?;
                (classifier.card().classes.clone(), predictions)
            }
        };
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
        save(folder.predictions(), predictions_csv(&classes, part, &predictions))?;
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

/// Predictions as a run's `predictions.csv` has them. One row a photo: id, part, true class, predicted class, one
/// probability a class, what is wrong with the file.
///
/// # Errors
/// None that memory does not give.
pub fn predictions_csv(classes: &[String], part: Part, predictions: &[Prediction]) -> io::Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let names = classes.iter().map(String::as_str);
    csv.write_record(
        ["id", "split", "class", "predicted"].into_iter().chain(names).chain(["truncated", "reason"]),
    )?;
    for prediction in predictions {
        let row = prediction.outcome.as_deref().unwrap_or_default();
        let best = (0..row.len()).reduce(|best, class| if row[class] > row[best] { class } else { best });
        let [class, predicted] =
            [prediction.class, best].map(|class| class.map_or("", |class| &classes[class]));
        for cell in [&prediction.id, part.name(), class, predicted] {
            csv.write_field(cell)?;
        }
        for class in 0..classes.len() {
            csv.write_field(row.get(class).map_or(String::new(), f32::to_string))?;
        }
        csv.write_field(if prediction.truncated { "true" } else { "false" })?;
        csv.write_field(prediction.outcome.as_ref().err().map_or("", String::as_str))?;
        csv.write_record(None::<&[u8]>)?;
    }
    csv.into_inner().map_err(csv::IntoInnerError::into_error)
}
