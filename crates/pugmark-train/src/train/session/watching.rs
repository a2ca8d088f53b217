//! What a training tells its watch, and what the watch tells it.

use pugmark_engine::{StepOutput, TrainBatch};
use pugmark_graph::Graph;

use super::Session;
use crate::checkpoint::{Ended, State, Sums};
use crate::watch::{Begun, Finding, Recorder, StepSeen};
use crate::{ClassWeights, Event, TrainError, TrainSettings};

/// The watch of a session and what it found.
pub(super) struct Watching {
    recorder: Option<Recorder>,
    pub(super) findings: Vec<Finding>,
    /// What the training ends for.
    pub(super) stopped_by: Option<Finding>,
    /// Whether the next step begins an epoch, or the session.
    begins: bool,
}

impl Watching {
    pub(super) fn new(recorder: Option<Recorder>) -> Self {
        Self { recorder, findings: Vec::new(), stopped_by: None, begins: true }
    }

    /// Why the training ends, if it does.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.stopped_by.as_ref().map(|_| Ended::Watch)
    }
}

/// What the watch needs to know of a training that begins or goes on.
pub(super) fn begun(settings: &TrainSettings, state: &State, photos: Vec<u64>, epoch_steps: u64) -> Begun {
    Begun {
        time: 0.0,
        startup: 0.0,
        step: state.optimiser_steps,
        epoch: state.epochs_done + 1,
        epochs: settings.epochs,
        epoch_steps,
        warmup_steps: (settings.warmup_epochs * epoch_steps as f64) as u64,
        photos,
        classes: state.card.classes.clone(),
        balanced: settings.balanced_sampling || settings.class_weights != ClassWeights::None,
        early_stopping: settings.early_stopping > 0,
        learning_rate: crate::settings::decimal(settings.learning_rate),
        every: 0,
    }
}

impl Session<'_, '_> {
    /// Has the next step watched, where it is one to look at.
    pub(super) fn watch_next(&mut self) {
        let step = self.training.steps() + 1;
        let sampled = self.watching.recorder.as_ref().is_some_and(|recorder| recorder.samples(step));
        self.training.watch(sampled);
    }

    /// Tells the watch of a step; `before` are the sums before it.
    pub(super) fn watch_step(
        &mut self,
        output: Option<&StepOutput>,
        before: &Sums,
    ) -> Result<(), TrainError> {
        let (Some(recorder), Some(output)) = (&mut self.watching.recorder, output) else { return Ok(()) };
        let graph: &Graph = &self.graph;
        recorder.step(
            graph,
            StepSeen {
                step: self.training.steps(),
                epoch: self.state.epochs_done + 1,
                begins: std::mem::take(&mut self.watching.begins),
                output,
                learning_rate: self.state.learning_rate.unwrap_or_default(),
                seconds: self.state.sums.seconds - before.seconds,
                waiting: self.state.sums.waiting - before.waiting,
                statistics: self.training.statistics(),
            },
        )?;
        self.tell_findings()
    }

    /// Tells the watch of an epoch that is validated.
    pub(super) fn watch_epoch(&mut self, confusion: &[Vec<u64>]) -> Result<(), TrainError> {
        self.watching.begins = true;
        let (Some(recorder), Some(row)) = (&mut self.watching.recorder, self.state.rows.last()) else {
            return Ok(());
        };
        let losses = (row.train_loss, row.val_loss);
        recorder.epoch((row.epoch, self.state.optimiser_steps), losses, confusion)?;
        self.tell_findings()?;
        // After the last epoch there is nothing to end.
        if self.state.epochs_done < self.settings.epochs {
            self.state.ended = self.state.ended.or(self.watching.ended());
        }
        Ok(())
    }

    /// A sign of life.
    pub(super) fn watch_beat(&mut self) -> Result<(), TrainError> {
        let (step, epoch) = (self.state.optimiser_steps, self.number());
        match &mut self.watching.recorder {
            Some(recorder) => recorder.beat(step, epoch),
            None => Ok(()),
        }?;
        self.tell_findings()
    }

    /// Runs a step that failed once more, which changes nothing, to see where it does.
    pub(super) fn watch_failure(
        &mut self,
        parts: &[TrainBatch<'_>],
        rate: f64,
        what: &str,
    ) -> Result<(), TrainError> {
        let (epoch, step) = (self.number(), self.state.optimiser_steps + 1);
        let Some(recorder) = &mut self.watching.recorder else { return Ok(()) };
        self.training.watch(true);
        let again = self.training.accumulated_step(parts, rate as f32, self.settings.weight_decay);
        let statistics = self.training.statistics().filter(|_| again.is_err());
        recorder.not_finite((epoch, step), statistics.as_ref(), what)?;
        self.tell_findings()
    }

    /// Writes everything that the watch knows.
    pub(super) fn save_watch(&mut self) -> Result<(), TrainError> {
        let Some(recorder) = &mut self.watching.recorder else { return Ok(()) };
        recorder.flush(self.state.optimiser_steps)?;
        recorder.save_reports()?;
        self.tell_findings()
    }

    fn tell_findings(&mut self) -> Result<(), TrainError> {
        let Some(recorder) = &mut self.watching.recorder else { return Ok(()) };
        for finding in recorder.findings() {
            self.report.event(Event::Finding(&finding))?;
            if self.watching.stopped_by.is_none() && recorder.stops(&finding) {
                self.watching.stopped_by = Some(finding.clone());
            }
            self.watching.findings.push(finding);
        }
        Ok(())
    }
}
