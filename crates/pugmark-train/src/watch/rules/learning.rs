//! Rules of losses and classes.

use std::collections::VecDeque;

use super::{Context, Hit, Rule, Verdict};
use crate::watch::record::{Record, Start};
use crate::watch::thresholds::{RuleInfo, rule};

pub(super) fn rules() -> Vec<Box<dyn Rule>> {
    let mut list: Vec<Box<dyn Rule>> = Vec::new();
    list.extend(rule("class-imbalance").map(|info| Box::new(ClassImbalance(info)) as Box<dyn Rule>));
    list.extend(
        rule("confusion").map(|info| Box::new(Confusion { info, in_a_row: Vec::new() }) as Box<dyn Rule>),
    );
    list.extend(rule("loss-not-decreasing").map(|info| Box::new(Loss::new(info)) as Box<dyn Rule>));
    list.extend(
        rule("overfit")
            .map(|info| Box::new(Overfit { info, lowest: f64::INFINITY, in_a_row: 0 }) as Box<dyn Rule>),
    );
    list.extend(rule("overtraining").map(|info| {
        Box::new(Overtraining { info, training: Best::default(), validation: Best::default() })
            as Box<dyn Rule>
    }));
    list
}

struct ClassImbalance(&'static RuleInfo);

impl Rule for ClassImbalance {
    fn info(&self) -> &'static RuleInfo {
        self.0
    }

    fn record(&mut self, record: &Record, context: &Context, verdict: &mut Verdict) {
        let Record::Start(Start { photos, classes, balanced, step, epoch, .. }) = record else { return };
        let all: u64 = photos.iter().sum();
        if *balanced || (all as f64) < context.get(self.0, "photos") {
            return;
        }
        // A class without a photo has a warning of its own.
        let counts = || photos.iter().zip(classes).filter(|(count, _)| **count > 0);
        let ends = (counts().min_by_key(|(count, _)| **count), counts().max_by_key(|(count, _)| **count));
        let (Some((few, rare)), Some((many, frequent))) = ends else { return };
        let (value, threshold) = (*many as f64 / *few as f64, context.get(self.0, "ratio"));
        if verdict.point(value > threshold) {
            let text = format!("{many} photos of {frequent} and {few} of {rare} are trained on");
            let (step, epoch, tensor) = (*step, *epoch, rare.clone());
            verdict.hits.push(Hit { step, epoch, tensor, value, threshold, text });
        }
    }
}

struct Confusion {
    info: &'static RuleInfo,
    in_a_row: Vec<u32>,
}

impl Rule for Confusion {
    fn info(&self) -> &'static RuleInfo {
        self.info
    }

    fn record(&mut self, record: &Record, context: &Context, verdict: &mut Verdict) {
        let Record::Epoch { epoch, step, classes, .. } = record else { return };
        let Some(names) = context.start.as_ref().map(|start| &start.classes) else { return };
        let of = |name| context.get(self.info, name);
        let (most, least, patience) = (of("off_diagonal"), of("diagonal"), of("patience"));
        if (*step as f64) < of("steps") {
            return;
        }
        self.in_a_row.resize(classes.len(), 0);
        for (class, &[photos, right, other, taken]) in classes.iter().enumerate() {
            if (photos as f64) < of("photos") {
                continue;
            }
            let share = |count: u64| count as f64 / photos as f64;
            if !verdict.point(share(taken) >= most && share(right) <= least) {
                self.in_a_row[class] = 0;
                continue;
            }
            self.in_a_row[class] += 1;
            if f64::from(self.in_a_row[class]) >= patience {
                let name = |class: usize| names.get(class).map_or("", String::as_str);
                verdict.hits.push(Hit {
                    step: *step,
                    epoch: *epoch,
                    tensor: name(class).into(),
                    value: share(taken),
                    threshold: most,
                    text: format!(
                        "{taken} of {photos} validation photos of {} are taken for {}, {right} are found",
                        name(class),
                        name(other as usize)
                    ),
                });
            }
        }
    }
}

/// The mean losses of windows of steps.
struct Loss {
    info: &'static RuleInfo,
    sum: f64,
    count: u64,
    first: Option<f64>,
    lowest: f64,
    /// Means of the last windows since the first one.
    last: VecDeque<f64>,
    fallen: bool,
    risen: u32,
    /// Its first step was seen: else nobody knows from where the loss would have to fall.
    whole: bool,
}

/// Windows in a row that are too high.
const RISEN: u32 = 2;
/// How far above the lowest they are at least: of a loss near zero any factor is noise.
const RISE: f64 = 0.5;
/// Steps of a window at most: news should not wait for the end of a long epoch.
const LONGEST: u64 = 200;
/// A loss below this share of ln(classes), which is that of guessing, has nothing left to show.
const LEARNT: f64 = 0.1;

impl Loss {
    fn new(info: &'static RuleInfo) -> Self {
        let (sum, count, risen, last) = (0.0, 0, 0, VecDeque::new());
        Self {
            info,
            sum,
            count,
            first: None,
            lowest: f64::INFINITY,
            last,
            fallen: false,
            risen,
            whole: false,
        }
    }

    fn window(
        &mut self,
        mean: f64,
        guessing: f64,
        context: &Context,
        verdict: &mut Verdict,
    ) -> Option<Found> {
        let of = |name| context.get(self.info, name);
        let Some(first) = self.first else {
            (self.first, self.lowest) = (Some(mean), mean);
            return None;
        };
        let windows = (of("windows") as usize).max(1);
        self.last.push_back(mean);
        while self.last.len() > windows {
            self.last.pop_front();
        }
        let late = self.last.iter().sum::<f64>() / self.last.len() as f64;
        self.fallen |= late <= first * (1.0 - of("fall")) || mean < LEARNT * guessing;
        let high = mean > self.lowest * of("rise") && mean > self.lowest + RISE;
        self.risen = if high { self.risen + 1 } else { 0 };
        let lowest = self.lowest;
        self.lowest = lowest.min(mean);
        if verdict.point(high) && self.risen >= RISEN {
            let text = format!("the mean loss has risen from {lowest:.3} to {mean:.3}");
            return Some(Found { value: mean / lowest, threshold: of("rise"), text });
        }
        if verdict.point(self.whole && !self.fallen && self.last.len() == windows) {
            let text = format!("the mean loss was {first:.3} at first and is {late:.3} now");
            return Some(Found { value: 1.0 - late / first, threshold: of("fall"), text });
        }
        None
    }
}

struct Found {
    value: f64,
    threshold: f64,
    text: String,
}

impl Rule for Loss {
    fn info(&self) -> &'static RuleInfo {
        self.info
    }

    fn record(&mut self, record: &Record, context: &Context, verdict: &mut Verdict) {
        if let Record::Start(start) = record {
            self.whole |= start.step == 0;
        }
        let Record::Steps { step, epoch, losses, .. } = record else { return };
        let Some(start) = &context.start else { return };
        let shortest = context.get(self.info, "steps") as u64;
        let epoch_steps = start.epoch_steps.clamp(1, LONGEST);
        let length = shortest.div_ceil(epoch_steps).max(1).saturating_mul(epoch_steps);
        let guessing = (start.classes.len().max(2) as f64).ln();
        let before = step.saturating_sub(losses.len() as u64);
        for (step, loss) in (before + 1..).zip(losses) {
            if step <= start.warmup_steps {
                continue;
            }
            self.sum += loss.0;
            self.count += 1;
            if self.count < length {
                continue;
            }
            let mean = self.sum / self.count as f64;
            (self.sum, self.count) = (0.0, 0);
            if let Some(Found { value, threshold, text }) = self.window(mean, guessing, context, verdict) {
                let (epoch, tensor) = (*epoch, "training loss".into());
                verdict.hits.push(Hit { step, epoch, tensor, value, threshold, text });
            }
        }
    }
}

struct Overfit {
    info: &'static RuleInfo,
    lowest: f64,
    in_a_row: u32,
}

/// A gap between losses that is no matter whatever its ratio to one near zero.
const GAP: f64 = 0.1;

impl Rule for Overfit {
    fn info(&self) -> &'static RuleInfo {
        self.info
    }

    fn record(&mut self, record: &Record, context: &Context, verdict: &mut Verdict) {
        let Record::Epoch { epoch, step, train_loss, val_loss, .. } = record else { return };
        let of = |name| context.get(self.info, name);
        let (value, threshold) = ((val_loss - train_loss) / train_loss, of("ratio"));
        let apart = value > threshold && val_loss - train_loss > GAP;
        let rises = *val_loss > self.lowest * (1.0 + of("rise"));
        self.lowest = self.lowest.min(*val_loss);
        if f64::from(*epoch) <= of("start") || (*step as f64) < of("steps") {
            return;
        }
        self.in_a_row = if verdict.point(apart && rises) { self.in_a_row + 1 } else { 0 };
        if self.in_a_row > 0 && f64::from(self.in_a_row) >= of("patience") {
            let text = format!(
                "the training loss is {train_loss:.3}, the validation loss {val_loss:.3} after a lowest of {:.3}",
                self.lowest
            );
            let tensor = "validation loss".into();
            verdict.hits.push(Hit { step: *step, epoch: *epoch, tensor, value, threshold, text });
        }
    }
}

/// The lowest loss, and the epochs since.
struct Best {
    loss: f64,
    since: u32,
}

impl Default for Best {
    fn default() -> Self {
        Self { loss: f64::INFINITY, since: 0 }
    }
}

impl Best {
    fn see(&mut self, loss: f64, delta: f64) {
        if loss < self.loss * (1.0 - delta) {
            *self = Self { loss, since: 0 };
        } else {
            self.since += 1;
        }
    }
}

struct Overtraining {
    info: &'static RuleInfo,
    training: Best,
    validation: Best,
}

impl Rule for Overtraining {
    fn info(&self) -> &'static RuleInfo {
        self.info
    }

    fn record(&mut self, record: &Record, context: &Context, verdict: &mut Verdict) {
        let Record::Epoch { epoch, step, train_loss, val_loss, .. } = record else { return };
        let of = |name| context.get(self.info, name);
        self.training.see(*train_loss, of("delta"));
        self.validation.see(*val_loss, of("delta"));
        if context.start.as_ref().is_none_or(|start| start.early_stopping) {
            return;
        }
        let (training, validation) = (self.training.since, self.validation.since);
        let threshold = of("patience_validation");
        let late = f64::from(training) >= of("patience_train") && f64::from(validation) >= threshold;
        if verdict.point(late) {
            verdict.hits.push(Hit {
                step: *step,
                epoch: *epoch,
                tensor: "validation loss".into(),
                value: validation.into(),
                threshold,
                text: format!(
                    "no lower training loss for {training} epochs, no lower validation loss for {validation}"
                ),
            });
        }
    }
}
