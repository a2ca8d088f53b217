//! What samplers, pruners, metrics and values are called.

use pugmark_train::{EpochMetrics, TrainSettings};
use pugmark_tune::{
    Direction, Domain, Ending, Grid, Hyperband, Median, Metrics, Objective, Plan, Pruner, Run, Sampler,
    SamplerKind, Settings, Space, State, SuccessiveHalving, Value,
};

use crate::error::WrongCall;

pub(super) const LOG_LOSS: &str = "log-loss";
pub(super) const ACCURACY: &str = "accuracy";
pub(super) const MACRO_F1: &str = "macro-f1";
/// Every metric of a trial.
pub(super) const METRICS: [&str; 3] = [LOG_LOSS, ACCURACY, MACRO_F1];

/// One of so many trials goes on at each rung of successive halving.
const REDUCTION: u32 = 3;

/// The objective of that name.
pub(super) fn objective(metric: &str) -> Objective {
    let direction = if metric == LOG_LOSS { Direction::Minimise } else { Direction::Maximise };
    Objective { metric: metric.to_owned(), direction }
}

/// What a trial measured in an epoch.
pub(super) fn metrics(row: &EpochMetrics) -> Metrics {
    let values = [row.val_loss, row.val_acc, row.val_macro_f1];
    METRICS.into_iter().map(str::to_owned).zip(values).collect()
}

/// The sampler's name in the plan. A grid has as many values of a range as the trials allow; where nobody asked for a number
/// of trials, there are as many as it needs.
pub(super) fn sampler_name(asked: &str, space: &Space, trials: &mut u32, free: bool) -> String {
    if asked != "grid" {
        return asked.to_owned();
    }
    let size = |count: u32| Grid::new(count).size(space);
    let count = (2..=64).take_while(|&count| size(count) <= u64::from(*trials)).last().unwrap_or(2);
    // The fewest that come to the same.
    let count = (2..count).find(|&fewer| size(fewer) == size(count)).unwrap_or(count);
    let size = u32::try_from(size(count)).unwrap_or(u32::MAX);
    *trials = if free { size } else { size.min(*trials) };
    SamplerKind::Grid(count).to_string()
}

/// The sampler of a plan.
pub(super) fn sampler(name: &str, seed: u64) -> Result<Box<dyn Sampler>, WrongCall> {
    let kind: SamplerKind = name.parse().map_err(|why: String| {
        WrongCall::new(why).with_hint("go on with the version of pugmark that began the study")
    })?;
    Ok(kind.sampler(seed))
}

/// The pruner of a plan.
pub(super) fn pruner(plan: &Plan, base: &TrainSettings) -> Result<Option<Box<dyn Pruner>>, WrongCall> {
    let epochs = plan.space.parameters.iter().find(|parameter| parameter.name == "epochs");
    let max_epochs = match epochs.map(|parameter| &parameter.domain) {
        Some(Domain::Integer { max, .. }) => u32::try_from(*max).unwrap_or(base.epochs),
        Some(Domain::Categorical(words)) => {
            words.iter().filter_map(|word| word.parse().ok()).max().unwrap_or(base.epochs)
        }
        _ => base.epochs,
    };
    Ok(match plan.pruner.as_str() {
        "none" => None,
        "median" => Some(Box::new(Median)),
        "halving" => Some(Box::new(SuccessiveHalving { min_epochs: 1, reduction: REDUCTION })),
        "hyperband" => Some(Box::new(Hyperband { min_epochs: 1, max_epochs, reduction: REDUCTION })),
        other => {
            return Err(WrongCall::new(format!("there is no pruner {other}"))
                .with_hint("go on with the version of pugmark that began the study"));
        }
    })
}

/// A value as people read it: four digits are enough.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Number(x) if *x != 0.0 && (x.abs() < 1e-3 || x.abs() >= 1e5) => {
            let text = format!("{x:.3e}");
            let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
            format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.'))
        }
        Value::Number(x) => {
            let whole = x.abs().max(1e-9).log10().floor();
            let text = format!("{x:.*}", (3.0 - whole).clamp(1.0, 7.0) as usize);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        other => other.to_string(),
    }
}

/// Settings as people read them.
pub(super) fn settings(settings: &Settings) -> String {
    let words: Vec<String> =
        settings.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
    words.join(" ")
}

/// How many trials ended in which way.
pub(super) fn counts(runs: &[Run]) -> String {
    let states = [
        (State::Complete, "complete"),
        (State::Pruned, "pruned"),
        (State::Failed, "failed"),
        (State::Running, "unfinished"),
    ];
    let count = |state| runs.iter().filter(|run| run.state() == state).count();
    let words: Vec<String> = states
        .into_iter()
        .filter(|&(state, _)| count(state) > 0)
        .map(|(state, word)| format!("{} {word}", count(state)))
        .collect();
    words.join(", ")
}

/// The metrics of a trial, the objective first.
pub(super) fn measured(metrics: &Metrics, objective: &Objective) -> String {
    let names = std::iter::once(objective.metric.as_str());
    let names = names.chain(METRICS.into_iter().filter(|name| *name != objective.metric));
    let words: Vec<String> =
        names.filter_map(|name| Some(format!("{name} {:.4}", metrics.get(name)?))).collect();
    words.join(", ")
}

/// A trial that has ended, in one line.
pub(super) fn line(run: &Run, is_best: bool, objective: &Objective) -> String {
    let Run { number, settings: values, ending, .. } = run;
    let Some(Ending { state, metrics, why, seconds }) = ending else { return String::new() };
    let why = why.as_deref().unwrap_or_default();
    let what = match state {
        State::Failed => format!("failed: {why}"),
        State::Pruned => format!("pruned {why}: {}", measured(metrics, objective)),
        State::Complete | State::Running => {
            format!("{}{}", measured(metrics, objective), if is_best { " (best)" } else { "" })
        }
    };
    format!("trial {number}: {what}; {}; {seconds:.1} s", settings(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short() {
        for (value, text) in [
            (0.012345678, "0.01235"),
            (0.001, "0.001"),
            (0.00012345, "1.234e-4"),
            (0.0001, "1e-4"),
            (12.3456, "12.35"),
            (0.0, "0"),
            (100.0, "100"),
        ] {
            assert_eq!(shown(&Value::Number(value)), text);
        }
        assert_eq!(shown(&Value::Integer(32)), "32");
    }
}
