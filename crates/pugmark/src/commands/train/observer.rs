//! What a training tells while it runs.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use pugmark_train::{Event, Finding, Observer};

use crate::printer::{Printer, Progress, duration};

/// Broken photos named one by one; the run's `broken.csv` lists them all.
const BROKEN: usize = 10;

/// Shows a training: metrics on stdout, the rest on stderr.
pub(in crate::commands) struct Progressing<'a> {
    printer: &'a Printer,
    stop: &'a AtomicBool,
    /// What the bar shows, and the bar.
    bar: Option<(Stage, Progress<'a>)>,
    epochs: u32,
    broken: usize,
    stopping: bool,
    /// Rules of the watch that have been told.
    rules: BTreeSet<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Looking(u32),
    Features,
    Training(u32),
    Validating(u32),
    Searching,
}

impl<'a> Progressing<'a> {
    pub(in crate::commands) fn new(printer: &'a Printer, stop: &'a AtomicBool) -> Self {
        Self { printer, stop, bar: None, epochs: 0, broken: 0, stopping: false, rules: BTreeSet::new() }
    }

    fn progress(&mut self, stage: Stage, position: usize, total: usize, message: &str) {
        if self.bar.as_ref().is_none_or(|(shown, _)| *shown != stage) {
            // The old bar goes before the new one comes.
            self.bar = None;
            let what = match stage {
                Stage::Looking(epoch) => format!("epoch {epoch}/{} what is important", self.epochs),
                Stage::Features => "features".to_owned(),
                Stage::Training(epoch) => format!("epoch {epoch}/{}", self.epochs),
                Stage::Validating(epoch) => format!("epoch {epoch}/{} validation", self.epochs),
                Stage::Searching => "learning rates".to_owned(),
            };
            self.bar = Some((stage, self.printer.progress(&what, total as u64)));
        }
        if let Some((_, bar)) = &mut self.bar {
            bar.set(position as u64, message);
        }
    }
}

/// What reading and decoding photos costs, where it is worth a remedy; `waiting` is a share of the time.
fn decoding_limits(waiting: f64) -> String {
    match (waiting * 100.0).round() as u32 {
        ..10 => String::new(),
        percent @ 10..50 => format!(", {percent} % of it waiting for photos to be decoded"),
        percent => format!(", decoding photos is the limit ({percent} % of the time)"),
    }
}

impl Progressing<'_> {
    /// Tells a finding of the watch; of a rule that fires in many tensors the first alone, since they have one cause.
    fn finding(&mut self, finding: &Finding) {
        let Finding { rule, tensor, step, text, advice, command, .. } = finding;
        if self.rules.insert(rule.clone()) {
            self.printer.warning(&format!("watch: {rule}: {tensor}, step {step}: {text}"));
            self.printer.hint(&format!("{advice}: {command}"));
        }
    }
}

impl Observer for Progressing<'_> {
    fn event(&mut self, event: Event<'_>) {
        let printer = self.printer;
        if self.stop.load(Ordering::Relaxed) && !self.stopping {
            self.stopping = true;
            printer.note("stopping: the step is finished and saved first (once more Ctrl-C ends at once)");
        }
        match event {
            Event::Warning(text) => printer.warning(text),
            Event::Note(text) => printer.note(text),
            Event::Start { engine, parameters, train, val, test, epochs, first_epoch } => {
                self.epochs = epochs;
                printer.note(&format!(
                    "{train} photos to train on, {val} to validate, {test} to test; {:.1} million parameters; {engine}; epochs {first_epoch} to {epochs}",
                    parameters as f64 / 1e6
                ));
            }
            Event::Features { done, total, images_per_sec, left } => {
                let left = left.map_or_else(String::new, |left| format!(", {} left", duration(left)));
                self.progress(Stage::Features, done, total, &format!("{images_per_sec:.1} photos/s{left}"));
            }
            Event::Step { epoch, step, steps, loss, images_per_sec, waiting, left, .. } => {
                let left = left.map_or_else(String::new, |left| format!(", {} left", duration(left)));
                let limit = decoding_limits(waiting);
                let message = format!("loss {loss:.4}, {images_per_sec:.1} images/s{left}{limit}");
                self.progress(Stage::Training(epoch), step, steps, &message);
            }
            Event::Looking { epoch, done, total } => self.progress(Stage::Looking(epoch), done, total, ""),
            Event::Validating { epoch, done, total } => {
                self.progress(Stage::Validating(epoch), done, total, "")
            }
            Event::Searching { step, steps, learning_rate, loss } => {
                let message = format!("learning rate {learning_rate:.1e}, loss {loss:.4}");
                self.progress(Stage::Searching, step, steps, &message);
            }
            Event::Epoch(metrics) => {
                self.bar = None;
                if let Err(error) = printer.result(&metrics.line()) {
                    printer.warning(&format!("{error:#}; the run's metrics.csv has every line"));
                }
            }
            Event::BrokenPhoto { id, reason } => {
                self.broken += 1;
                if self.broken <= BROKEN {
                    printer.warning(&format!("left out: {id}: {reason}"));
                }
                if self.broken == BROKEN {
                    printer.warning("more broken photos are listed in the run's broken.csv");
                }
            }
            Event::Finding(finding) => self.finding(finding),
            Event::Saved(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::decoding_limits;

    #[test]
    fn decoding_is_named_where_it_costs() {
        assert_eq!(decoding_limits(0.094), "");
        assert_eq!(decoding_limits(0.25), ", 25 % of it waiting for photos to be decoded");
        assert_eq!(decoding_limits(0.62), ", decoding photos is the limit (62 % of the time)");
    }
}
