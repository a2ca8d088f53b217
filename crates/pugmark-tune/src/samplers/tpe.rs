//! The tree-structured Parzen estimator (Bergstra et al., 2011), over all parameters at once as in Optuna's `multivariate`.

mod parzen;

use super::{observed::Observed, random::Generator, sobol::Sobol};
use crate::{Sampler, Settings, Space, Trial};
use parzen::Parzen;

/// Trials before there is enough to estimate densities from.
const STARTUP: usize = 10;
const CANDIDATES: usize = 24;

/// Candidates come from the density of the best trials; taken is the one at which it is largest against that of the others, to which
/// trials that still run belong ("constant liar"), so that workers keep apart.
pub(super) struct Tpe {
    pub(super) seed: u64,
}

/// How many of `trials` count as good.
fn good(trials: usize) -> usize {
    trials.div_ceil(10).min(25)
}

impl Sampler for Tpe {
    fn propose(&self, space: &Space, history: &[Trial], number: u32) -> Settings {
        let observed = Observed::new(space, history);
        if observed.ended.len() < STARTUP {
            return Sobol { seed: self.seed }.propose(space, history, number);
        }
        let mut order = observed.order();
        let (good, bad) = order.split_at_mut(good(observed.ended.len()));
        // Later trials weigh more.
        good.sort_unstable();
        bad.sort_unstable();
        let point = |i: &usize| space.to_unit(&observed.ended[*i].settings);
        let good = Parzen::new(space, &good.iter().map(point).collect::<Vec<_>>());
        let running = observed.running.iter().map(|settings| space.to_unit(settings));
        let bad = Parzen::new(space, &bad.iter().map(point).chain(running).collect::<Vec<_>>());

        let mut random = Generator::new(self.seed, number, 10);
        let mut best: Option<(bool, f64, Settings)> = None;
        for _ in 0..CANDIDATES {
            let settings = space.from_unit(&good.sample(&mut random));
            let point = space.to_unit(&settings);
            let score = good.log_density(&point) - bad.log_density(&point);
            let new = !observed.has(&settings);
            if best.as_ref().is_none_or(|best| (new, score) > (best.0, best.1)) {
                best = Some((new, score, settings));
            }
        }
        best.map(|best| best.2).unwrap_or_default()
    }
}
