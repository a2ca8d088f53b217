//! Bayesian optimisation: a Gaussian process and the logarithm of the expected improvement.

mod acquisition;
pub(crate) mod layout;
pub(crate) mod regression;

use super::{observed::Observed, random::Generator, sobol::Sobol};
use crate::{Sampler, Settings, Space, Trial};
use acquisition::{Acquisition, search};
use layout::Layout;
use regression::Process;

/// Trials before there is enough to fit a process to.
const STARTUP: usize = 10;
/// Trials a process is fitted to: the best half and the latest half of more. Its time grows with the cube.
pub(crate) const MOST: usize = 300;
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
        let layout = Layout { space };
        let mut order: Vec<usize> = (0..observed.ended.len()).collect();
        order.sort_by(|a, b| observed.ended[*a].1.total_cmp(&observed.ended[*b].1));
        let best: Vec<Vec<f64>> =
            order.iter().take(BEST).map(|i| positions(space, &observed.ended[*i].0)).collect();
        if order.len() > MOST {
            let latest = order.len() - MOST / 2;
            let kept = order.iter().enumerate().filter(|(rank, i)| *rank < MOST / 2 || **i >= latest);
            let mut kept: Vec<usize> = kept.map(|(_, i)| *i).collect();
            kept.sort_unstable();
            order = kept;
        } else {
            order.sort_unstable();
        }
        let mut points: Vec<Vec<f64>> =
            order.iter().map(|i| layout.of_settings(&observed.ended[*i].0)).collect();
        let mut values = standardised(&order.iter().map(|i| observed.ended[*i].1).collect::<Vec<_>>());
        let categorical = layout.categorical();
        let mut process = Process::fit(&points, &values, &categorical);
        // What is best without its noise.
        let least = points.iter().map(|point| process.mean(point)).fold(f64::INFINITY, f64::min);
        if !observed.running.is_empty() {
            for settings in &observed.running {
                points.push(layout.of_settings(settings));
                values.push(process.mean(&points[points.len() - 1]));
            }
            let mut hyperparameters = process.hyperparameters.clone();
            process = loop {
                match Process::new(&points, &values, &categorical, hyperparameters.clone()) {
                    Some(process) => break process,
                    None => hyperparameters.noise *= 10.0,
                }
            };
        }
        let mut random = Generator::new(self.seed, number, 20);
        search(&layout, &Acquisition { process: &process, best: least }, &observed, &best, &mut random)
    }
}

/// The settings' position in every parameter; an inactive one's is the middle.
fn positions(space: &Space, settings: &Settings) -> Vec<f64> {
    space.to_unit(settings).into_iter().map(|unit| unit.unwrap_or(0.5)).collect()
}

/// With mean 0 and variance 1; all 0 where they are all the same.
pub(crate) fn standardised(values: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    // Divided first: values as large as the largest number have no sum.
    let largest = values.iter().fold(0.0f64, |a, x| a.max(x.abs())).max(f64::MIN_POSITIVE);
    let mean = values.iter().map(|x| x / largest / n).sum::<f64>();
    let deviation = (values.iter().map(|x| (x / largest - mean).powi(2)).sum::<f64>() / n).sqrt();
    values.iter().map(|x| if deviation > 1e-15 { (x / largest - mean) / deviation } else { 0.0 }).collect()
}
