//! What a history says of a space.

use crate::{Settings, Space, State, Trial};

/// A trial that has ended.
pub(crate) struct Ended {
    pub(crate) settings: Settings,
    /// Its value. Without a finite one it counts as bad as the worst, so that its surroundings are avoided. That of a pruned trial is its
    /// last, less what the median of the complete trials still gained after as many epochs.
    pub(crate) value: f64,
    /// How far it came, from 0 to 1: the logarithm of its epochs against that of the longest trial's.
    pub(crate) progress: f64,
}

/// The trials of a history that lie in the space.
pub(crate) struct Observed {
    pub(crate) ended: Vec<Ended>,
    /// Those that still run.
    pub(crate) running: Vec<Settings>,
}

impl Observed {
    pub(crate) fn new(space: &Space, history: &[Trial]) -> Self {
        let value = |trial: &Trial| {
            let value = trial.value.filter(|value| value.is_finite() && trial.state != State::Failed)?;
            Some(if trial.state == State::Pruned {
                value - gain_behind(trial.reported.len(), history)
            } else {
                value
            })
        };
        let known: Vec<&Trial> = history.iter().filter(|trial| space.contains(&trial.settings)).collect();
        let (running, ended): (Vec<&Trial>, Vec<&Trial>) =
            known.into_iter().partition(|trial| trial.state == State::Running);
        let worst = ended.iter().filter_map(|trial| value(trial)).reduce(f64::max).unwrap_or(0.0);
        let most = ended.iter().map(|trial| trial.reported.len()).max().unwrap_or(0);
        let progress = |trial: &Trial| match trial.state {
            State::Pruned => (trial.reported.len() as f64).ln_1p() / (most.max(1) as f64).ln_1p(),
            _ => 1.0,
        };
        let ended = ended.into_iter().map(|trial| Ended {
            settings: trial.settings.clone(),
            value: value(trial).unwrap_or(worst),
            progress: progress(trial),
        });
        Self {
            ended: ended.collect(),
            running: running.into_iter().map(|trial| trial.settings.clone()).collect(),
        }
    }

    /// Whether a trial already has these settings.
    pub(crate) fn has(&self, settings: &Settings) -> bool {
        self.ended.iter().map(|trial| &trial.settings).chain(&self.running).any(|known| known == settings)
    }

    /// The indices of the ended trials, the best first.
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.ended.len()).collect();
        order.sort_by(|a, b| self.ended[*a].value.total_cmp(&self.ended[*b].value));
        order
    }
}

/// What complete trials gained on the median after so many epochs.
fn gain_behind(epochs: usize, history: &[Trial]) -> f64 {
    let gain = |trial: &Trial| {
        let then = *trial.reported.get(epochs.checked_sub(1)?)?;
        (trial.state == State::Complete).then_some(then - trial.value?).filter(|gain| gain.is_finite())
    };
    let mut gains: Vec<f64> = history.iter().filter_map(gain).collect();
    gains.sort_by(f64::total_cmp);
    gains.get(gains.len() / 2).map_or(0.0, |gain| gain.max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    #[test]
    fn values_of_trials() {
        let space = Space::from_flags(&["x=0.0..1.0"]).unwrap();
        let trial = |number: u32, state, reported: &[f64], value| Trial {
            number,
            settings: Settings::from([("x".to_owned(), Value::Number(f64::from(number) / 10.0))]),
            state,
            reported: reported.to_vec(),
            value,
        };
        let history = [
            trial(0, State::Complete, &[5.0, 3.0, 2.0], Some(2.0)),
            trial(1, State::Complete, &[6.0, 5.0, 1.0], Some(1.0)),
            trial(2, State::Complete, &[4.0, 3.0, 3.0], Some(3.0)),
            // After one epoch the others gained 3, 5 and 1.
            trial(3, State::Pruned, &[7.0], Some(7.0)),
            trial(4, State::Failed, &[0.0], Some(0.0)),
            trial(5, State::Complete, &[0.0], Some(f64::NAN)),
            trial(6, State::Running, &[0.0], None),
            trial(20, State::Complete, &[0.0], Some(0.0)),
        ];
        let observed = Observed::new(&space, &history);
        assert_eq!(
            observed.ended.iter().map(|trial| trial.value).collect::<Vec<_>>(),
            [2.0, 1.0, 3.0, 4.0, 4.0, 4.0]
        );
        let progress: Vec<f64> = observed.ended.iter().map(|trial| trial.progress).collect();
        assert_eq!(progress, [1.0, 1.0, 1.0, 0.5, 1.0, 1.0]);
        assert_eq!(observed.order()[..3], [1, 0, 2]);
        assert!(observed.has(&history[6].settings) && !observed.has(&history[7].settings));
    }
}
