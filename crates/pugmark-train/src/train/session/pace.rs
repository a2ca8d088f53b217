//! How far a training has come: its learning rate, and whether it ends here.

use std::time::{Duration, Instant};

use crate::checkpoint::{Ended, State};
use crate::settings::decimal;
use crate::{Rates, TrainSettings};

/// Steps and time against what the settings allow.
pub(super) struct Pace {
    rates: Rates,
    /// Optimiser steps of a whole epoch.
    epoch: u64,
    accumulate: usize,
    most_steps: Option<u64>,
    /// In seconds.
    budget: Option<f64>,
    started: Instant,
    /// Seconds of the run before that.
    before: f64,
}

impl Pace {
    /// `batches` make an epoch.
    pub(super) fn new(settings: &TrainSettings, batches: usize, state: &State) -> Self {
        let epoch = batches.div_ceil(settings.accumulate) as u64;
        let of = |epochs: f64| epochs * epoch as f64;
        let most_steps = (settings.max_steps > 0).then_some(settings.max_steps);
        let whole = u64::from(settings.epochs) * epoch;
        let rates = Rates {
            schedule: settings.schedule,
            steps: whole.min(most_steps.unwrap_or(whole)) as f64,
            // A warm-up that fills the training would leave nothing of the schedule.
            warmup: most_steps
                .map_or(f64::INFINITY, |most| most as f64 / 2.0)
                .min(of(settings.warmup_epochs)),
            step_length: of(settings.step_epochs.max(1).into()),
            step_factor: decimal(settings.step_factor),
            least: decimal(settings.min_learning_rate),
        };
        let budget = settings.time_budget.seconds().map(|seconds| seconds as f64);
        let (accumulate, before) = (settings.accumulate, state.elapsed);
        Self { rates, epoch, accumulate, most_steps, budget, started: Instant::now(), before }
    }

    /// Seconds that the run took so far, over all its resumes.
    pub(super) fn elapsed(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    /// Optimiser steps of a whole epoch.
    pub(super) fn epoch_steps(&self) -> u64 {
        self.epoch
    }

    /// Optimiser steps that are done, those counted that had no photo.
    fn done(&self, state: &State) -> u64 {
        u64::from(state.epochs_done) * self.epoch + state.step.div_ceil(self.accumulate) as u64
    }

    /// The learning rate of the next step. Where time is short, the schedule follows the clock instead of the steps, so that
    /// it ends with the training; in whole steps, so that a run for which there is time enough can be repeated.
    pub(super) fn rate(&self, state: &State) -> f64 {
        let steps = self.rates.steps;
        let by_time = self.budget.map_or(0.0, |budget| (self.elapsed() / budget * steps).floor());
        self.rates.rate(state.schedule.rate(), by_time.clamp(self.done(state) as f64, steps))
    }

    /// Why there is no further step, if there is none; `closing` seconds are needed after the last one.
    pub(super) fn ended(&self, state: &State, closing: f64) -> Option<Ended> {
        if self.most_steps.is_some_and(|most| self.done(state) >= most) {
            return Some(Ended::MaxSteps);
        }
        let late = self.budget.is_some_and(|budget| self.elapsed() + closing >= budget);
        late.then_some(Ended::TimeBudget)
    }

    /// At most the time that is left of the budget.
    pub(super) fn within_budget(&self, left: Option<Duration>) -> Option<Duration> {
        let budget = self.budget.and_then(|budget| Duration::try_from_secs_f64(budget - self.elapsed()).ok());
        left.into_iter().chain(budget).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_time_is_short_the_schedule_follows_the_clock() {
        let settings = TrainSettings {
            epochs: 10,
            schedule: crate::Schedule::Cosine,
            time_budget: "1h".parse().unwrap(),
            ..TrainSettings::default()
        };
        let card = crate::checkpoint::tests::state().card;
        let mut state = State::new(card, 1.0);
        // Ten steps an epoch; of the first one five are done.
        state.step = 5;
        let at = |elapsed: f64| {
            let mut begun = state.clone();
            begun.elapsed = elapsed;
            Pace::new(&settings, 10, &begun)
        };
        let cosine = |share: f64| (1.0 + (std::f64::consts::PI * share).cos()) / 2.0;
        assert_eq!(at(60.0).rate(&state), cosine(0.05));
        assert_eq!(at(1810.0).rate(&state), cosine(0.5));
        assert_eq!(at(60.0).ended(&state, 10.0), None);
        assert_eq!(at(3550.0).ended(&state, 60.0), Some(Ended::TimeBudget));
        assert!(at(1800.0).within_budget(None).is_some_and(|left| left <= Duration::from_secs(1800)));
    }

    #[test]
    fn a_warm_up_leaves_room_for_the_schedule() {
        let settings = TrainSettings {
            schedule: crate::Schedule::OneCycle,
            warmup_epochs: 2.0,
            max_steps: 100,
            ..TrainSettings::default()
        };
        let mut state = State::new(crate::checkpoint::tests::state().card, 1.0);
        let pace = Pace::new(&settings, 100, &state);
        // Three tenths of the fifty steps behind the warm-up, less one: the top of the cycle.
        state.step = 50 + 14;
        assert_eq!(pace.rate(&state), 1.0);
    }

    #[test]
    fn steps_are_counted_over_epochs_and_parts_of_steps() {
        let settings = TrainSettings { accumulate: 2, max_steps: 5, ..TrainSettings::default() };
        let mut state = State::new(crate::checkpoint::tests::state().card, 1.0);
        // Three batches are two steps an epoch.
        let pace = Pace::new(&settings, 3, &state);
        for (epochs_done, step, ended) in
            [(0, 2, false), (1, 3, false), (2, 0, false), (2, 2, true), (2, 3, true)]
        {
            (state.epochs_done, state.step) = (epochs_done, step);
            assert_eq!(pace.ended(&state, 0.0).is_some(), ended, "{epochs_done} epochs and {step} batches");
        }
    }
}
