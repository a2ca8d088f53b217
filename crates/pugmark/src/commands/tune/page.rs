//! A study as a page.

use std::time::Duration;

use pugmark_page::{
    Align, Axis, Bar, Html, Point, Strand, Tile, Tone, bars, fold, page as document, paragraph, parallel,
    scatter, section, side_by_side, table, tiles, verdict,
};
use pugmark_tune::{Domain, Parameter, Plan, Run, State, Trial, importance};

use super::outcome::{Retrained, Seen};
use super::words::{METRICS, counts, measured, settings, shown};
use crate::printer::duration;

/// Trials in the table that is not folded up.
const ROWS: usize = 20;

/// A trial with a value, and where it stands among them.
struct Shown<'a> {
    run: &'a Run,
    trial: Trial,
    value: f64,
    /// 1 for the best and 0 for the worst.
    rank: f64,
    best: bool,
}

pub(super) fn page(seen: &Seen<'_>, retrained: Option<&Retrained>) -> String {
    let Seen { folder, plan, runs, best, .. } = seen;
    let shown = trials(plan, runs, *best);
    let mut pieces = vec![verdict(Tone::Plain, &sentences(seen, retrained)), tiles(&numbers(seen, &shown))];
    if let Some(scale) = Scale::new(plan, &shown) {
        pieces.push(section("Best so far", &history(plan, &shown, &scale)));
        pieces.push(section("Which settings did well", &strands(plan, &shown, &scale)));
        if let Some(bars) = matters(plan, runs) {
            pieces.push(section("What matters", &bars));
        }
        let slices: Vec<Html> =
            plan.space.parameters.iter().map(|parameter| slice(parameter, plan, &shown, &scale)).collect();
        pieces.push(side_by_side(&slices));
    }
    pieces.push(section("Trials", &listed(plan, runs)));
    let subtitle = format!(
        "{}, {}",
        folder.display(),
        plan.fixed.get("model").and_then(|model| model.as_str()).unwrap_or_default()
    );
    document("What the search found", &subtitle, &pieces, concat!("pugmark ", env!("CARGO_PKG_VERSION")))
}

/// Trials with a value, the best last.
fn trials<'a>(plan: &Plan, runs: &'a [Run], best: Option<u32>) -> Vec<Shown<'a>> {
    let mut shown: Vec<Shown<'a>> = runs
        .iter()
        .filter_map(|run| {
            let trial = run.trial(&plan.objective);
            let value = plan.objective.cost(trial.value?);
            Some(Shown { run, trial, value, rank: 0.0, best: best == Some(run.number) })
        })
        .collect();
    // What a pruned trial had is no match for the best, whatever it is.
    shown.sort_by(|a, b| {
        a.best
            .cmp(&b.best)
            .then(b.trial.value.partial_cmp(&a.trial.value).unwrap_or(std::cmp::Ordering::Equal))
    });
    let last = shown.len().saturating_sub(1).max(1) as f64;
    for (at, trial) in shown.iter_mut().enumerate() {
        trial.rank = at as f64 / last;
    }
    shown
}

fn sentences(seen: &Seen<'_>, retrained: Option<&Retrained>) -> Vec<String> {
    let Seen { plan, runs, best, .. } = seen;
    let Some(best) = best.and_then(|best| runs.get(best as usize)) else {
        return vec!["No trial has a result yet.".into()];
    };
    let values =
        best.ending.as_ref().map(|ending| measured(&ending.metrics, &plan.objective)).unwrap_or_default();
    let mut sentences = vec![
        format!("Trial {} is the best of {}: {values}.", best.number, runs.len()),
        format!("Its settings: {}. best.toml has all of them.", settings(&best.settings)),
        "These photos chose it: the best of many trials looks better than it is.".into(),
    ];
    match retrained {
        Some(again) => sentences.push(again.sentence(&plan.objective)),
        None => sentences
            .push("--retrain-best trains it with another seed and measures it on the test part.".into()),
    }
    sentences
}

fn numbers(seen: &Seen<'_>, shown: &[Shown<'_>]) -> Vec<Tile> {
    let Seen { plan, runs, limits, .. } = seen;
    let tile = |label: &str, value: String, note: String| Tile {
        label: label.into(),
        value,
        note,
        tone: Tone::Plain,
    };
    let seconds: f64 = runs.iter().filter_map(|run| Some(run.ending.as_ref()?.seconds)).sum();
    let best = shown.last().filter(|trial| trial.best);
    let mut list = vec![
        tile("trials", format!("{}", runs.len()), format!("of {}: {}", limits.trials, counts(runs))),
        tile("training", duration(Duration::from_secs_f64(seconds)), format!("{} at once", plan.workers)),
        tile("sampler", plan.sampler.clone(), format!("pruner {}, seed {}", plan.pruner, plan.seed)),
    ];
    if let Some(best) = best {
        let note = format!("trial {}", best.run.number);
        list.insert(0, tile(&plan.objective.metric, format!("{:.4}", best.value), note));
    }
    list
}

/// The values that the plots reach over.
struct Scale {
    low: f64,
    high: f64,
    /// Trials beyond its ends.
    beyond: usize,
}

impl Scale {
    /// From the best trial to where the bad ones thin out: a loss of hundreds would leave nothing to see of the others.
    fn new(plan: &Plan, shown: &[Shown<'_>]) -> Option<Self> {
        let mut costs: Vec<f64> = shown.iter().map(|trial| plan.objective.cost(trial.value)).collect();
        costs.sort_by(f64::total_cmp);
        let (best, worst) = (*costs.first()?, *costs.last()?);
        let quartile = costs[(costs.len() - 1) * 3 / 4];
        let end = worst.min(quartile + 1.5 * (quartile - best));
        let end = if end > best { end } else { best + best.abs().max(1e-6) * 0.1 };
        let beyond = costs.iter().filter(|&&cost| cost > end).count();
        let (a, b) = (plan.objective.cost(best), plan.objective.cost(end));
        Some(Self { low: a.min(b), high: a.max(b), beyond })
    }

    fn unit(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn axis(&self, plan: &Plan) -> Axis {
        let at = |unit: f64| self.low + (self.high - self.low) * unit;
        let digits = if self.high - self.low >= 0.2 { 2 } else { 4 };
        let ticks = [0.0, 0.5, 1.0].map(|unit| (unit, format!("{:.digits$}", at(unit))));
        Axis { name: plan.objective.metric.clone(), ticks: ticks.into() }
    }

    fn note(&self) -> String {
        match self.beyond {
            0 => String::new(),
            1 => " One trial is worse than the scale shows, and stands at its end.".into(),
            some => format!(" {some} trials are worse than the scale shows, and stand at its end."),
        }
    }
}

fn history(plan: &Plan, shown: &[Shown<'_>], scale: &Scale) -> [Html; 2] {
    let last = shown.iter().map(|trial| trial.run.number).max().unwrap_or(0).max(1);
    let x = |number: u32| f64::from(number) / f64::from(last);
    let point = |trial: &Shown<'_>| Point {
        x: x(trial.run.number),
        y: scale.unit(trial.value),
        heat: trial.rank,
        best: trial.best,
        hollow: trial.run.state() == State::Pruned,
    };
    let points: Vec<Point> = shown.iter().map(point).collect();
    let mut complete: Vec<&Shown<'_>> =
        shown.iter().filter(|trial| trial.run.state() == State::Complete).collect();
    complete.sort_by_key(|trial| trial.run.number);
    let (mut steps, mut best) = (Vec::new(), f64::INFINITY);
    for trial in complete {
        if let Some(&(_, y)) = steps.last() {
            steps.push((x(trial.run.number), y));
        }
        best = best.min(plan.objective.cost(trial.value));
        steps.push((x(trial.run.number), scale.unit(plan.objective.cost(best))));
    }
    if let Some(&(_, y)) = steps.last() {
        steps.push((1.0, y));
    }
    let ticks = [0, last / 2, last].map(|number| (x(number), number.to_string()));
    let across = Axis { name: "trial".into(), ticks: ticks.into() };
    let words = format!(
        "Each trial, and the best up to it. Rings are pruned trials, with what they had then.{}",
        scale.note()
    );
    [scatter("the objective of each trial", [&across, &scale.axis(plan)], &points, &steps), paragraph(&words)]
}

/// A parameter's axis: on its own scale.
fn axis(parameter: &Parameter) -> Axis {
    let domain = &parameter.domain;
    let few = domain.count().is_some_and(|count| count <= 6);
    let ticks = match domain {
        Domain::Categorical(words) => words
            .iter()
            .enumerate()
            .map(|(at, word)| ((at as f64 + 0.5) / words.len() as f64, clipped(word)))
            .collect(),
        &Domain::Integer { min, max, .. } if few => (min..=max)
            .filter_map(|value| {
                let value = pugmark_tune::Value::Integer(value);
                Some((domain.to_unit(&value)?, value.to_string()))
            })
            .collect(),
        _ => [0.0, 0.5, 1.0].map(|unit| (unit, shown(&domain.from_unit(unit)))).into(),
    };
    Axis { name: parameter.name.clone(), ticks }
}

fn clipped(word: &str) -> String {
    match word.char_indices().nth(12) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_owned(),
    }
}

fn strands(plan: &Plan, shown: &[Shown<'_>], scale: &Scale) -> [Html; 2] {
    let mut axes: Vec<Axis> = plan.space.parameters.iter().map(axis).collect();
    axes.push(scale.axis(plan));
    let strand = |trial: &Shown<'_>| {
        let place =
            |parameter: &Parameter| parameter.domain.to_unit(trial.run.settings.get(&parameter.name)?);
        let mut values: Vec<Option<f64>> = plan.space.parameters.iter().map(place).collect();
        values.push(Some(scale.unit(trial.value)));
        Strand { values, heat: trial.rank, best: trial.best }
    };
    let strands: Vec<Strand> = shown.iter().map(strand).collect();
    let words = "Each trial crosses every setting where its value is; the darker, the better; the best is in another colour.";
    [parallel("the settings of each trial and its objective", &axes, &strands), paragraph(words)]
}

fn matters(plan: &Plan, runs: &[Run]) -> Option<[Html; 2]> {
    let trials: Vec<Trial> = runs.iter().map(|run| run.trial(&plan.objective)).collect();
    let shares = importance(&plan.space, &trials);
    if shares.iter().all(|&share| share <= 0.0) {
        return None;
    }
    let mut named: Vec<(&str, f64)> =
        plan.space.parameters.iter().map(|parameter| parameter.name.as_str()).zip(shares).collect();
    named.sort_by(|a, b| b.1.total_cmp(&a.1));
    let bar = |(name, share): (&str, f64)| Bar {
        label: name.to_owned(),
        value: share,
        text: format!("{:.0} %", share * 100.0),
        tone: Tone::Plain,
    };
    let words = "The share of the objective's variation that goes with each setting, with what it does together with others, in a model of these trials: a hint, the surer the more trials there are.";
    Some([bars(&named.into_iter().map(bar).collect::<Vec<_>>(), Some(1.0), None), paragraph(words)])
}

fn slice(parameter: &Parameter, plan: &Plan, shown: &[Shown<'_>], scale: &Scale) -> Html {
    let point = |trial: &Shown<'_>| {
        let x = parameter.domain.to_unit(trial.run.settings.get(&parameter.name)?)?;
        let hollow = trial.run.state() == State::Pruned;
        Some(Point { x, y: scale.unit(trial.value), heat: trial.rank, best: trial.best, hollow })
    };
    let points: Vec<Point> = shown.iter().filter_map(point).collect();
    let mut across = axis(parameter);
    let name = std::mem::take(&mut across.name);
    let title = format!("{} by {name}", plan.objective.metric);
    section(&name, &[scatter(&title, [&across, &scale.axis(plan)], &points, &[])])
}

fn listed(plan: &Plan, runs: &[Run]) -> Vec<Html> {
    let names: Vec<&str> = plan.space.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let mut header = vec![("trial", Align::Right)];
    header.extend(names.iter().map(|&name| (name, Align::Right)));
    header.extend(METRICS.map(|metric| (metric, Align::Right)));
    header.extend([("epochs run", Align::Right), ("seconds", Align::Right), ("end", Align::Left)]);
    let row = |run: &Run| {
        let ending = run.ending.as_ref();
        let mut cells = vec![run.number.to_string()];
        cells.extend(names.iter().map(|&name| run.settings.get(name).map_or_else(|| "–".to_owned(), shown)));
        let value = |metric: &str| {
            ending.and_then(|ending| ending.metrics.get(metric)).map(|value| format!("{value:.4}"))
        };
        cells.extend(METRICS.map(|metric| value(metric).unwrap_or_else(|| "–".to_owned())));
        cells.push(run.reported.len().to_string());
        cells.push(ending.map_or_else(|| "–".to_owned(), |ending| format!("{:.1}", ending.seconds)));
        let why = ending.and_then(|ending| ending.why.as_deref()).unwrap_or_default();
        cells.push(match run.state() {
            State::Running => "unfinished".to_owned(),
            State::Complete => "complete".to_owned(),
            State::Pruned => format!("pruned {why}"),
            State::Failed => format!("failed: {why}"),
        });
        cells
    };
    let mut order: Vec<&Run> = runs.iter().collect();
    let cost = |run: &&Run| {
        let complete = run.state() == State::Complete;
        (!complete, run.trial(&plan.objective).value.unwrap_or(f64::INFINITY))
    };
    order.sort_by(|a, b| {
        let ((a, x), (b, y)) = (cost(a), cost(b));
        a.cmp(&b).then(x.total_cmp(&y))
    });
    let rows: Vec<Vec<String>> = order.into_iter().map(row).collect();
    let (first, rest) = rows.split_at(rows.len().min(ROWS));
    let mut pieces = vec![table(&header, first)];
    if !rest.is_empty() {
        pieces.push(fold(&format!("{} more", rest.len()), &[table(&header, rest)]));
    }
    pieces
}
