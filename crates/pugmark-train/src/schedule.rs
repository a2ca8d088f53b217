use serde::{Deserialize, Serialize};

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
