//! What a person may try next, from what the figures of a run say.

use pugmark_graph::Architecture;

use super::files::Run;
use super::page::{apart, floor, percent};

/// A class with fewer training photos than this is hardly learnt.
const FEW: usize = 20;

/// What to try, and why.
pub(super) fn advice(run: &Run) -> Vec<(String, String)> {
    let mut list: Vec<(String, String)> = Vec::new();
    let mut say = |what: &str, why: String| list.push((what.to_owned(), why));
    let evaluation = &run.evaluation;
    if apart(run) == Some(false) {
        say(
            "a split by site, --split site, with a site column in the labels",
            "photos of one place are in training and validation".into(),
        );
    }
    let (floor, how) = floor(run);
    if evaluation.accuracy < floor + 0.05 {
        say(
            "more photos, or a look at the labels with pugmark check",
            format!("{how} is right on {}, the model on {}", percent(floor), percent(evaluation.accuracy)),
        );
    }
    if let (Some(best), Some(last)) = (run.best(), run.epochs.last()) {
        if best.train_acc - best.val_acc > 0.1 {
            say(
                "more augmentation (--random-crop 0.3, --auto-augment trivialaugment), or photos of more places",
                format!(
                    "training photos are right on {}, validation on {}",
                    percent(best.train_acc),
                    percent(best.val_acc)
                ),
            );
        }
        let planned = last.epoch >= run.settings.epochs;
        if best.epoch == last.epoch && planned && last.train_acc < 0.98 {
            say("more epochs, --epochs", "the last epoch is the best one".into());
        }
    }
    if run.settings.weights.is_none() && run.card.architecture != Architecture::SimpleCnn {
        say(
            "pretrained weights, --weights",
            "it started from nothing; pugmark weights list names some".into(),
        );
    }
    let few: Vec<&str> = run
        .card
        .classes
        .iter()
        .zip(&run.trained_of_class)
        .filter(|(_, count)| **count < FEW)
        .map(|(class, _)| class.as_str())
        .collect();
    if !few.is_empty() {
        say(
            "more photos of the rare classes, or --class-weights balanced",
            format!("fewer than {FEW} training photos: {}", few.join(", ")),
        );
    }
    if run.detail.intervals.as_ref().is_some_and(|i| i.unit == "site" && i.units < 10) {
        say(
            "photos of more sites, or --folds 5",
            format!("{} sites in this part make wide intervals", run.detail.sites.len()),
        );
    }
    list
}
