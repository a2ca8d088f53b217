//! The learning rate of every step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::Schedule;

/// PyTorch's `ReduceLROnPlateau(mode="min", factor=0.5, patience=2)` with its other defaults: the learning rate is halved
/// when the loss has not fallen by a ten-thousandth of itself for three epochs running.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    rate: f64,
    best: Option<f64>,
    bad_epochs: u32,
}

const FACTOR: f64 = 0.5;
const PATIENCE: u32 = 2;
const THRESHOLD: f64 = 1e-4;
/// A smaller change of the rate is not made.
const EPSILON: f64 = 1e-8;

impl Plateau {
    /// Starts at a learning rate.
    pub fn new(rate: f64) -> Self {
        Self { rate, best: None, bad_epochs: 0 }
    }

    /// The learning rate.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Takes the validation loss of an epoch.
    pub fn step(&mut self, loss: f64) {
        if self.best.is_none_or(|best| loss < best * (1.0 - THRESHOLD)) {
            self.best = Some(loss);
            self.bad_epochs = 0;
        } else {
            self.bad_epochs += 1;
        }
        if self.bad_epochs > PATIENCE {
            self.bad_epochs = 0;
            let lower = self.rate * FACTOR;
            if self.rate - lower > EPSILON {
                self.rate = lower;
            }
        }
    }
}

/// Share of the rate that the warm-up begins with, as in torchvision's training reference.
const WARMUP_START: f64 = 0.01;
/// The first rate of the cycle is the highest over this, the last one the first over [`CYCLE_LAST`].
const CYCLE_FIRST: f64 = 25.0;
const CYCLE_LAST: f64 = 1e4;
/// Share of the steps in which the cycle rises.
const CYCLE_RISE: f64 = 0.3;

/// A schedule laid out over the steps of a training, each as PyTorch's scheduler of that name, stepped once a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// The curve. [`Schedule::Plateau`] is constant here: its rate is handed in.
    pub schedule: Schedule,
    /// Steps in all, at least 1.
    pub steps: f64,
    /// Steps of warm-up in front of the curve (`LinearLR` in a `SequentialLR`), from a hundredth of its first rate on.
    pub warmup: f64,
    /// Steps between two drops of [`Schedule::Step`].
    pub step_length: f64,
    /// Factor of a drop.
    pub step_factor: f64,
    /// Where [`Schedule::Cosine`] ends.
    pub least: f64,
}

impl Rates {
    /// The rate of the step before which `done` steps (they may be parts of steps) were done; `rate` is the highest.
    pub fn rate(&self, rate: f64, done: f64) -> f64 {
        if done < self.warmup {
            return self.curve(rate, 0.0) * (WARMUP_START + (1.0 - WARMUP_START) * done / self.warmup);
        }
        self.curve(rate, done - self.warmup)
    }

    fn curve(&self, rate: f64, done: f64) -> f64 {
        let steps = (self.steps - self.warmup).max(1.0);
        match self.schedule {
            Schedule::Constant | Schedule::Plateau => rate,
            Schedule::Step => rate * self.step_factor.powi((done / self.step_length).floor() as i32),
            Schedule::Cosine => between(rate, self.least, done / steps),
            Schedule::OneCycle => {
                let (top, last) = (CYCLE_RISE * steps - 1.0, steps - 1.0);
                let first = rate / CYCLE_FIRST;
                if done < top {
                    between(first, rate, done / top)
                } else {
                    between(rate, first / CYCLE_LAST, (done - top) / (last - top))
                }
            }
        }
    }
}

/// From one rate to another along half a cosine; `share` of the way, at most all of it.
fn between(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * share.min(1.0)).cos()) / 2.0
}
