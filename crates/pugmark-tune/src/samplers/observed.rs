//! What a history says of a space.

use crate::{Settings, Space, State, Trial};

/// The trials of a history that lie in the space.
pub(crate) struct Observed {
    /// Those that have ended. Without a finite value a trial counts as bad as the worst, so that its surroundings are avoided.
    pub(crate) ended: Vec<(Settings, f64)>,
    /// Those that still run.
    pub(crate) running: Vec<Settings>,
}

impl Observed {
    pub(crate) fn new(space: &Space, history: &[Trial]) -> Self {
        let finite =
            |trial: &Trial| trial.value.filter(|value| value.is_finite() && trial.state != State::Failed);
        let known: Vec<&Trial> = history.iter().filter(|trial| space.contains(&trial.settings)).collect();
        let (running, ended): (Vec<&Trial>, Vec<&Trial>) =
            known.into_iter().partition(|trial| trial.state == State::Running);
        let worst = ended.iter().filter_map(|trial| finite(trial)).reduce(f64::max).unwrap_or(0.0);
        let ended =
            ended.into_iter().map(|trial| (trial.settings.clone(), finite(trial).unwrap_or(worst))).collect();
        Self { ended, running: running.into_iter().map(|trial| trial.settings.clone()).collect() }
    }

    /// Whether a trial already has these settings.
    pub(crate) fn has(&self, settings: &Settings) -> bool {
        self.ended.iter().map(|(known, _)| known).chain(&self.running).any(|known| known == settings)
    }
}
