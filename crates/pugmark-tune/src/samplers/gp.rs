//! Bayesian optimisation: a Gaussian process and the logarithm of the expected improvement.

mod acquisition;
pub(crate) mod layout;
pub(crate) mod regression;
mod warp;

use super::{observed::Observed, random::Generator, sobol::Sobol};
use crate::{Sampler, Settings, Space, Trial};
use acquisition::{Acquisition, search};
use layout::Layout;
use regression::Process;
pub(crate) use warp::{standardised, warped};

/// Trials before there is enough to fit a process to.
const STARTUP: usize = 10;
/// Trials a process is fitted to: the best half and the latest half of more. Its time grows with the cube.
const MOST: usize = 100;
/// Best trials around which the search looks closely.
const BEST: usize = 3;

/// Trials that still run are taken to end with what the process expects ("kriging believer"), so that workers keep apart.
pub(super) struct GaussianProcess {
    pub(super) seed: u64,
}

impl Sampler for GaussianProcess {
    fn propose(&self, space: &Space, history: &[Trial], number: u32) -> Settings {
        let observed = Observed::new(space, history);
        if observed.ended.len() < STARTUP {
            return Sobol { seed: self.seed }.propose(space, history, number);
        }
        let (layout, mut process) = fit(space, &observed, warped);
        let best: Vec<Vec<f64>> = observed
            .order()
            .iter()
            .take(BEST)
            .map(|i| positions(space, &observed.ended[*i].settings))
            .collect();
        // What is best without its noise, of the trials that were trained to the end or will be.
        let complete =
            observed.ended.iter().filter(|trial| trial.progress == 1.0).map(|trial| &trial.settings);
        let whole: Vec<Vec<f64>> =
            complete.chain(&observed.running).map(|settings| layout.of_settings(settings)).collect();
        let least = whole.iter().map(|point| process.mean(point)).fold(f64::INFINITY, f64::min);
        if !observed.running.is_empty() {
            process =
                process.with_beliefs(observed.running.iter().map(|settings| layout.of_settings(settings)));
        }
        let mut random = Generator::new(self.seed, number, 20);
        search(&layout, &Acquisition { process: &process, best: least }, &observed, &best, &mut random)
    }
}

/// A process fitted to the ended trials, whose values `scaled` brings to mean 0 and variance 1.
pub(crate) fn fit<'a>(
    space: &'a Space,
    observed: &Observed,
    scaled: fn(&[f64]) -> Vec<f64>,
) -> (Layout<'a>, Process) {
    let ended = &observed.ended;
    let layout = Layout { space, progress: ended.iter().any(|trial| trial.progress < 1.0) };
    let mut kept = observed.order();
    if kept.len() > MOST {
        let latest = kept.len() - MOST / 2;
        kept = kept
            .iter()
            .enumerate()
            .filter(|(rank, i)| *rank < MOST / 2 || **i >= latest)
            .map(|(_, i)| *i)
            .collect();
    }
    kept.sort_unstable();
    let point = |i: &usize| {
        let mut point = layout.of_settings(&ended[*i].settings);
        if layout.progress {
            point[space.parameters.len()] = ended[*i].progress;
        }
        point
    };
    let points: Vec<Vec<f64>> = kept.iter().map(point).collect();
    let values = scaled(&kept.iter().map(|i| ended[*i].value).collect::<Vec<_>>());
    let process = Process::fit(&points, &values, &layout.categorical());
    (layout, process)
}

/// The settings' position in every parameter; an inactive one's is the middle.
fn positions(space: &Space, settings: &Settings) -> Vec<f64> {
    space.to_unit(settings).into_iter().map(|unit| unit.unwrap_or(0.5)).collect()
}
