//! When a trial is ended before its last epoch.

use std::cmp::Ordering;

use crate::{State, Trial};

/// Ends trials that do badly. A pure function: the same trials give the same answer.
pub trait Pruner: Send {
    /// Whether `trial`, which has just reported, should end. `history` may hold the trial itself, which is passed over.
    fn prune(&self, trial: &Trial, history: &[Trial]) -> bool;
}

/// A value that is not finite is worse than any that is.
fn rank(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::INFINITY }
}

/// The trials but this one that reported at least `epochs` times.
fn others<'a>(trial: &Trial, history: &'a [Trial], epochs: usize) -> impl Iterator<Item = &'a Trial> {
    let number = trial.number;
    history.iter().filter(move |other| other.number != number && other.reported.len() >= epochs)
}

/// The rule of SageMaker's automatic tuning (`TrainingJobEarlyStoppingType: Auto`): a trial ends if its value is worse than the median,
/// over the trials that have ended before, of their running averages up to the same epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Median;

impl Pruner for Median {
    fn prune(&self, trial: &Trial, history: &[Trial]) -> bool {
        let Some(value) = trial.reported.last() else { return false };
        let epochs = trial.reported.len();
        let ended = others(trial, history, epochs)
            .filter(|other| matches!(other.state, State::Complete | State::Pruned));
        let mut averages: Vec<f64> =
            ended.map(|other| rank(other.reported[..epochs].iter().sum::<f64>() / epochs as f64)).collect();
        averages.sort_by(f64::total_cmp);
        let (Some(low), Some(high)) =
            (averages.get(averages.len().saturating_sub(1) / 2), averages.get(averages.len() / 2))
        else {
            return false;
        };
        rank(*value) > (low + high) / 2.0
    }
}

/// Asynchronous successive halving (Li et al., 2018, "stopping" as in Optuna): after `min_epochs * reduction^k` epochs, k = 0, 1, ..,
/// only the best of every `reduction` trials that have come so far go on, and always the best one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuccessiveHalving {
    /// The epochs of the first rung, at least 1.
    pub min_epochs: u32,
    /// One of so many goes on, at least 2.
    pub reduction: u32,
}

impl SuccessiveHalving {
    fn is_rung(&self, epochs: usize) -> bool {
        let mut rung = u64::from(self.min_epochs.max(1));
        while rung < epochs as u64 {
            rung *= u64::from(self.reduction.max(2));
        }
        rung == epochs as u64
    }

    /// Whether the trial is not among those of `others` that go on.
    fn prune_among<'a>(&self, trial: &Trial, others: impl Iterator<Item = &'a Trial>) -> bool {
        let epochs = trial.reported.len();
        if !self.is_rung(epochs) {
            return false;
        }
        let value = rank(trial.reported[epochs - 1]);
        let (mut better, mut all) = (0, 1);
        for other in others {
            all += 1;
            better += usize::from(rank(other.reported[epochs - 1]).total_cmp(&value) == Ordering::Less);
        }
        better >= (all / self.reduction.max(2) as usize).max(1)
    }
}

impl Pruner for SuccessiveHalving {
    fn prune(&self, trial: &Trial, history: &[Trial]) -> bool {
        self.prune_among(trial, others(trial, history, trial.reported.len()))
    }
}

/// Hyperband (Li et al., 2018) as SageMaker (`HyperbandStrategyConfig`) and Optuna have it: trials are dealt to brackets of successive
/// halving, of which each starts to judge `reduction` times as late as the one before, and are compared within their bracket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hyperband {
    /// `MinResource`: the epochs after which the first bracket judges, at least 1.
    pub min_epochs: u32,
    /// `MaxResource`: the epochs of a whole trial.
    pub max_epochs: u32,
    /// One of so many goes on, at least 2.
    pub reduction: u32,
}

impl Hyperband {
    /// With one of three going on, as in the paper.
    pub fn new(min_epochs: u32, max_epochs: u32) -> Self {
        Self { min_epochs, max_epochs, reduction: 3 }
    }

    /// The trials of each bracket, relative to each other.
    fn shares(&self) -> Vec<f64> {
        let (reduction, mut brackets) = (f64::from(self.reduction.max(2)), 1u32);
        while f64::from(self.min_epochs.max(1)) * reduction.powi(brackets as i32)
            <= f64::from(self.max_epochs)
        {
            brackets += 1;
        }
        (0..brackets)
            .rev()
            .map(|s| (f64::from(brackets) * reduction.powi(s as i32) / f64::from(s + 1)).ceil())
            .collect()
    }

    /// The bracket of a trial, from 0, the one that judges first. Brackets are dealt evenly: the golden ratio spreads the numbers.
    pub fn bracket(&self, number: u32) -> u32 {
        let shares = self.shares();
        let mut left = (f64::from(number) * 0.618_033_988_749_894_9).fract() * shares.iter().sum::<f64>();
        let reached = |share: &f64| {
            left -= share;
            left < 0.0
        };
        shares.iter().position(reached).unwrap_or(shares.len() - 1) as u32
    }
}

impl Pruner for Hyperband {
    fn prune(&self, trial: &Trial, history: &[Trial]) -> bool {
        let bracket = self.bracket(trial.number);
        let min_epochs = self.min_epochs.max(1).saturating_mul(self.reduction.max(2).saturating_pow(bracket));
        let halving = SuccessiveHalving { min_epochs, reduction: self.reduction };
        let beside = others(trial, history, trial.reported.len())
            .filter(|other| self.bracket(other.number) == bracket);
        halving.prune_among(trial, beside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, samplers::random::Generator};

    fn trial(number: u32, reported: &[f64], state: State) -> Trial {
        Trial {
            number,
            settings: Settings::new(),
            state,
            reported: reported.to_vec(),
            value: reported.last().copied(),
        }
    }

    #[test]
    fn the_median_of_running_averages() {
        // The running averages after two epochs are 3, 1.5 and 6: the median is 3.
        let history = [
            trial(0, &[4.0, 2.0, 1.0], State::Complete),
            trial(1, &[2.0, 1.0, 0.5], State::Complete),
            trial(2, &[7.0, 5.0], State::Pruned),
            trial(3, &[0.0], State::Pruned),
            trial(4, &[0.0, 0.0], State::Running),
            trial(5, &[0.0, 0.0], State::Failed),
        ];
        let prune = |reported: &[f64]| Median.prune(&trial(9, reported, State::Running), &history);
        assert!(!prune(&[9.0, 3.0]), "as good as the median");
        assert!(prune(&[0.0, 3.001]), "only the present value counts");
        // After three epochs 7/3 and 3.5/3: the median of two is their mean, 1.75.
        assert!(!prune(&[9.0, 9.0, 1.75]) && prune(&[0.0, 0.0, 1.76]));
        assert!(!prune(&[9.0, 9.0, 9.0, 9.0]), "no trial came so far");
        assert!(prune(&[1.0, f64::NAN]) && !prune(&[]));
    }

    #[test]
    fn one_of_three_goes_on() {
        let halving = SuccessiveHalving { min_epochs: 2, reduction: 3 };
        let history: Vec<Trial> = (0..5).map(|i| trial(i, &[0.0, f64::from(i)], State::Running)).collect();
        let prune = |reported: &[f64]| halving.prune(&trial(9, reported, State::Running), &history);
        // The best two of six.
        assert!(!prune(&[9.0, 0.5]) && prune(&[9.0, 1.5]) && prune(&[9.0, f64::NAN]));
        assert!(!prune(&[9.0]) && !prune(&[0.0, 0.0, 9.0]), "between rungs");
        // Of two, where none of three can go on, the better one does.
        let prune = |value| halving.prune(&trial(9, &[0.0, value], State::Running), &history[1..2]);
        assert!(!prune(0.5) && prune(1.5));
        assert!([2, 6, 18].into_iter().all(|epochs| halving.is_rung(epochs)));
        assert!([0, 1, 3, 4, 8, 12].into_iter().all(|epochs| !halving.is_rung(epochs)));
    }

    #[test]
    fn brackets_of_the_paper() {
        let hyperband = Hyperband::new(1, 81);
        // Table 1 of the paper (R = 81, reduction 3), whose brackets have 81, 34, 15, 8 and 5 configurations.
        assert_eq!(hyperband.shares(), [81.0, 34.0, 15.0, 8.0, 5.0]);
        let dealt = |bracket| (0..1430).filter(|number| hyperband.bracket(*number) == bracket).count() as f64;
        for (bracket, share) in [81.0, 34.0, 15.0, 8.0, 5.0].into_iter().enumerate() {
            assert!(
                (dealt(bracket as u32) / 10.0 - share).abs() < 1.0,
                "bracket {bracket}: {}",
                dealt(bracket as u32)
            );
        }
        assert_eq!(Hyperband::new(5, 3).shares(), [1.0]);
    }

    #[test]
    fn trials_are_compared_within_their_bracket() {
        let hyperband = Hyperband::new(1, 9);
        let number = |bracket| (1..).find(|number| hyperband.bracket(*number) == bracket).unwrap();
        let history = [trial(0, &[0.1; 9], State::Complete)];
        assert_eq!(hyperband.bracket(0), 0);
        assert!(hyperband.prune(&trial(number(0), &[0.2], State::Running), &history));
        assert!(!hyperband.prune(&trial(number(1), &[0.2; 3], State::Running), &history));
    }

    /// Curves that fall and never cross: whatever the order, the best is never ended.
    #[test]
    fn the_best_curve_is_never_ended() {
        let pruners: [&dyn Pruner; 3] =
            [&Median, &SuccessiveHalving { min_epochs: 1, reduction: 3 }, &Hyperband::new(1, 9)];
        for pruner in pruners {
            let mut ended = 0;
            for seed in 0..50 {
                let mut random = Generator::new(seed, 0, 0);
                let levels: Vec<f64> = (0..30).map(|_| random.uniform()).collect();
                let best = levels.iter().copied().fold(f64::INFINITY, f64::min);
                let mut history = Vec::new();
                for (number, level) in levels.iter().enumerate() {
                    let mut one = trial(number as u32, &[], State::Running);
                    for epoch in 1..=9 {
                        one.reported.push(level + 1.0 / f64::from(epoch));
                        if pruner.prune(&one, &history) {
                            one.state = State::Pruned;
                            break;
                        }
                    }
                    if one.state == State::Pruned {
                        ended += 1;
                        assert!(*level > best);
                    } else {
                        one.state = State::Complete;
                    }
                    history.push(one);
                }
            }
            assert!(ended > 50 * 5, "only {ended} of 1500 were ended");
        }
    }
}
