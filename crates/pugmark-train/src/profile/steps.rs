//! Steps: how long they took, which stand out, and why.

use pugmark_data::Stage;
use serde::{Deserialize, Serialize};

use super::spread::{median, quantile};
use super::{Phase, Spread, StepTimes};

/// Steps that are kept; of more every second one, and so on.
const KEPT: usize = 1 << 16;
/// Outliers that are named.
const NAMED: usize = 20;
/// SageMaker's StepOutlier is for more than so many steps: longer than the mean and so many standard deviations.
pub(super) const MANY: usize = 100;
pub(super) const DEVIATIONS: f64 = 3.0;
/// Of fewer steps, those that a normal distribution gives once in two million times, and that are half as long again as the median.
const FEW: usize = 8;
const ROBUST_DEVIATIONS: f64 = 5.0;
const LONGER: f64 = 1.5;
/// The standard deviation of a normal distribution over its median absolute deviation.
const MAD: f64 = 1.4826;
const BINS: usize = 30;

/// One step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub(super) epoch: u32,
    /// From 1, in the epoch.
    pub(super) number: usize,
    /// Seconds in each of [`Phase::ALL`].
    pub(super) phases: [f64; Phase::ALL.len()],
    /// Thread-seconds in each of [`Stage::ALL`] for its batches.
    pub(super) stages: [f64; Stage::ALL.len()],
}

impl Step {
    pub(super) fn seconds(&self) -> f64 {
        self.phases.iter().sum()
    }
}

/// What made a step long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A file was slow to read.
    Reading,
    /// A photo was slow to decode.
    Decoding,
    /// A photo was slow to resize.
    Resizing,
    /// The random changes were slow.
    Augmenting,
    /// The batch was late, though none of these took longer than elsewhere: too few were made ahead.
    Loading,
    /// The forward pass.
    Forward,
    /// The backward pass.
    Backward,
    /// The optimiser.
    Optimiser,
    /// A checkpoint.
    Saving,
    /// Whatever is in none of these.
    Other,
}

impl Cause {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading a photo",
            Self::Decoding => "decoding a photo",
            Self::Resizing => "resizing a photo",
            Self::Augmenting => "augmenting a photo",
            Self::Loading => "waiting for photos",
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Optimiser => "optimiser",
            Self::Saving => "saving",
            Self::Other => "other",
        }
    }

    pub(super) fn of_stage(stage: Stage) -> Self {
        match stage {
            Stage::Read => Self::Reading,
            Stage::Decode => Self::Decoding,
            Stage::Resize => Self::Resizing,
            Stage::Augment => Self::Augmenting,
        }
    }
}

/// A step that took longer than the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outlier {
    /// From 1.
    pub epoch: u32,
    /// From 1, in the epoch.
    pub step: usize,
    /// How long it took.
    pub seconds: f64,
    /// What took longer than in the median step.
    pub cause: Cause,
    /// How much longer.
    pub excess: f64,
}

/// How many steps took how long.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Seconds at which the first bin begins and the others end: one more than there are bins.
    pub edges: Vec<f64>,
    /// Steps in each.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// In bins of equal width from the smallest to the largest value.
    fn of(values: &[f64]) -> Self {
        let Spread { min, max, .. } = Spread::of(values.iter().copied());
        let width = (max - min) / BINS as f64;
        let mut counts = vec![0; BINS];
        for value in values {
            let bin = if width > 0.0 { ((value - min) / width) as usize } else { 0 };
            counts[bin.min(BINS - 1)] += 1;
        }
        Self { edges: (0..=BINS).map(|bin| min + width * bin as f64).collect(), counts }
    }
}

/// The steps so far.
#[derive(Debug, Default)]
pub(super) struct Steps {
    kept: Vec<Step>,
    /// One of so many is kept.
    every: u64,
    count: u64,
    images: u64,
    /// Over all steps, also those that are not kept.
    seconds: f64,
    waiting: f64,
}

impl Steps {
    pub(super) fn add(&mut self, step: Step, images: usize) {
        self.every = self.every.max(1);
        if self.count.is_multiple_of(self.every) {
            self.kept.push(step);
        }
        self.count += 1;
        self.images += images as u64;
        self.seconds += step.seconds();
        self.waiting += step.phases[Phase::Loading as usize];
        if self.kept.len() >= KEPT {
            let mut number = 0_usize;
            self.kept.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.every *= 2;
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Share of the steps' time that was spent waiting for photos.
    pub(super) fn waiting(&self) -> f64 {
        if self.seconds > 0.0 { self.waiting / self.seconds } else { 0.0 }
    }

    pub(super) fn lengths(&self) -> Vec<f64> {
        self.kept.iter().map(Step::seconds).collect()
    }

    pub(super) fn summary(&self) -> Option<StepTimes> {
        if self.count == 0 || self.seconds <= 0.0 {
            return None;
        }
        let lengths = self.lengths();
        let (outlier_above, outlier_rule) = threshold(&lengths);
        let above = outlier_above.unwrap_or(f64::INFINITY);
        let normal: Vec<f64> = lengths.iter().copied().filter(|&seconds| seconds <= above).collect();
        let typical = Typical::of(&self.kept);
        let longer = self.kept.iter().filter(|step| step.seconds() > above);
        let mut outliers: Vec<Outlier> = longer.map(|step| typical.outlier(step)).collect();
        let outlier_count = outliers.len() as u64 * self.every;
        outliers.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        outliers.truncate(NAMED);
        let images = self.images as f64;
        Some(StepTimes {
            count: self.count,
            images: self.images,
            seconds: Spread::of(lengths),
            images_per_sec: images / self.seconds,
            images_per_sec_without_loading: images / (self.seconds - self.waiting).max(f64::MIN_POSITIVE),
            histogram: Histogram::of(&normal),
            outlier_above,
            outlier_rule,
            outlier_count,
            outliers,
        })
    }
}

/// How long a step must be to be an outlier, and why.
fn threshold(lengths: &[f64]) -> (Option<f64>, String) {
    let count = lengths.len() as f64;
    if lengths.len() > MANY {
        let mean = lengths.iter().sum::<f64>() / count;
        let variance = lengths.iter().map(|seconds| (seconds - mean).powi(2)).sum::<f64>() / count;
        let rule = format!("longer than the mean and {DEVIATIONS} standard deviations");
        return (Some(mean + DEVIATIONS * variance.sqrt()), rule);
    }
    if lengths.len() < FEW {
        return (None, format!("fewer than {FEW} steps say nothing"));
    }
    let mut sorted = lengths.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = quantile(&sorted, 0.5);
    let deviation = MAD * median(sorted.iter().map(|seconds| (seconds - middle).abs()));
    let above = (middle + ROBUST_DEVIATIONS * deviation).max(LONGER * middle);
    let rule = format!(
        "longer than the median and {ROBUST_DEVIATIONS} deviations ({MAD} median absolute ones) and than {LONGER} medians, \
         for there are no more than {MANY} steps"
    );
    (Some(above), rule)
}

/// The median step, part by part.
struct Typical {
    phases: [f64; Phase::ALL.len()],
    stages: [f64; Stage::ALL.len()],
}

impl Typical {
    fn of(steps: &[Step]) -> Self {
        Self {
            phases: std::array::from_fn(|at| median(steps.iter().map(|step| step.phases[at]))),
            stages: std::array::from_fn(|at| median(steps.iter().map(|step| step.stages[at]))),
        }
    }

    fn outlier(&self, step: &Step) -> Outlier {
        let excess = |phase: Phase| step.phases[phase as usize] - self.phases[phase as usize];
        let longest = Phase::ALL.into_iter().max_by(|a, b| excess(*a).total_cmp(&excess(*b)));
        let phase = longest.unwrap_or(Phase::Other);
        let cause = match phase {
            Phase::Loading => self.stage(step).map_or(Cause::Loading, Cause::of_stage),
            Phase::Forward => Cause::Forward,
            Phase::Backward => Cause::Backward,
            Phase::Optimiser => Cause::Optimiser,
            Phase::Saving => Cause::Saving,
            _ => Cause::Other,
        };
        let Step { epoch, number, .. } = *step;
        Outlier { epoch, step: number, seconds: step.seconds(), cause, excess: excess(phase) }
    }

    /// The stage that makes the batch late: the one that took longest beyond the median, if that is a good part of the wait.
    fn stage(&self, step: &Step) -> Option<Stage> {
        let excess = |stage: Stage| step.stages[stage as usize] - self.stages[stage as usize];
        let longest = Stage::ALL.into_iter().max_by(|a, b| excess(*a).total_cmp(&excess(*b)))?;
        let wait = step.phases[Phase::Loading as usize] - self.phases[Phase::Loading as usize];
        (excess(longest) > wait / 4.0).then_some(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 ms waiting, 10 ms forward, 20 ms backward; what the loader did took 4 ms a stage.
    fn step(number: usize) -> Step {
        let mut phases = [0.0; Phase::ALL.len()];
        for (phase, seconds) in [(Phase::Loading, 0.002), (Phase::Forward, 0.01), (Phase::Backward, 0.02)] {
            phases[phase as usize] = seconds * (1.0 + (number % 5) as f64 / 100.0);
        }
        Step { epoch: 1, number, phases, stages: [0.004; 4] }
    }

    fn with(number: usize, phase: Phase, stage: Option<Stage>, seconds: f64) -> Step {
        let mut step = step(number);
        step.phases[phase as usize] += seconds;
        if let Some(stage) = stage {
            step.stages[stage as usize] += seconds;
        }
        step
    }

    fn summary(steps: impl IntoIterator<Item = Step>) -> StepTimes {
        let mut all = Steps::default();
        steps.into_iter().for_each(|step| all.add(step, 8));
        all.summary().unwrap()
    }

    #[test]
    fn each_cause_is_named() {
        let cases = [
            (Phase::Loading, Some(Stage::Read), Cause::Reading),
            (Phase::Loading, Some(Stage::Decode), Cause::Decoding),
            (Phase::Loading, Some(Stage::Resize), Cause::Resizing),
            (Phase::Loading, Some(Stage::Augment), Cause::Augmenting),
            (Phase::Loading, None, Cause::Loading),
            (Phase::Forward, None, Cause::Forward),
            (Phase::Backward, None, Cause::Backward),
            (Phase::Optimiser, None, Cause::Optimiser),
            (Phase::Saving, None, Cause::Saving),
            (Phase::Other, None, Cause::Other),
        ];
        // Few steps and many go by two rules.
        for count in [20, 400] {
            for (phase, stage, cause) in cases {
                let slow = with(7, phase, stage, 0.5);
                let times = summary((1..=count).map(|at| if at == 7 { slow } else { step(at) }));
                let [outlier] = &times.outliers[..] else { panic!("{count}, {cause:?}: {times:?}") };
                assert_eq!((outlier.epoch, outlier.step, outlier.cause), (1, 7, cause));
                assert!((outlier.excess - 0.5).abs() < 0.01 && outlier.seconds > 0.5);
                assert_eq!(times.histogram.counts.iter().sum::<u64>(), count as u64 - 1);
            }
        }
    }

    #[test]
    fn steps_that_are_alike_have_no_outlier() {
        for count in [3, 20, 400] {
            let times = summary((1..=count).map(step));
            assert_eq!((times.outlier_count, times.outlier_above.is_some()), (0, count >= FEW));
        }
        // Equal to the last bit.
        assert_eq!(summary((0..50).map(|_| step(0))).outlier_count, 0);
    }

    #[test]
    fn many_steps_have_sagemakers_threshold() {
        // The variance by its other formula, E[x^2] - E[x]^2.
        let lengths: Vec<f64> = [(0.05, 100), (0.1, 10), (0.065, 90)]
            .into_iter()
            .flat_map(|(seconds, count)| std::iter::repeat_n(seconds, count))
            .collect();
        let mean = (5.0 + 1.0 + 5.85) / 200.0;
        let square = (100.0 * 0.0025 + 10.0 * 0.01 + 90.0 * 0.004_225) / 200.0;
        let (above, _) = threshold(&lengths);
        assert!((above.unwrap() - (mean + 3.0 * f64::sqrt(square - mean * mean))).abs() < 1e-12);
    }

    #[test]
    fn without_the_loader_it_is_faster() {
        let times = summary((0..10).map(|_| with(0, Phase::Loading, None, 0.028)));
        // 30 ms of 60 are waited.
        assert!((times.images_per_sec - 8.0 / 0.06).abs() < 1e-6);
        assert!((times.images_per_sec_without_loading - 8.0 / 0.03).abs() < 1e-6);
    }

    #[test]
    fn a_long_training_keeps_a_bounded_number_of_steps() {
        let mut steps = Steps::default();
        for number in 0..3 * KEPT {
            steps.add(step(number), 1);
        }
        assert!(steps.kept.len() < KEPT && steps.kept.len() > KEPT / 4);
        assert_eq!(steps.count(), 3 * KEPT as u64);
        let numbers: Vec<usize> = steps.kept.iter().map(|step| step.number).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] == steps.every as usize), "evenly spaced");
    }
}
