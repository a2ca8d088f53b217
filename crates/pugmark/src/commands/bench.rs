//! The speed of one step on a batch that stays in memory.

mod operators;
mod photos;

use std::time::Instant;

use pugmark_data::{Random, Recipe};
use pugmark_engine::{
    DeviceChoice, Engine, Inference, InputSpec, OperatorTime, PrecisionChoice, TrainBatch, Training,
    TrainingSpec,
};
use pugmark_graph::Architecture;
use serde::Serialize;

use crate::arguments::BenchArguments;
use crate::engine;
use crate::error::{ExitStatus, WrongCall};
use crate::memory;
use crate::printer::Printer;
use operators::Operators;

#[derive(Serialize)]
struct Figures {
    version: &'static str,
    model: Architecture,
    mode: &'static str,
    engine: String,
    batch: u32,
    image_size: u32,
    classes: u32,
    warmup: u32,
    /// Batch over the median step.
    images_per_sec: f64,
    step_seconds_median: f64,
    /// In the order they were measured.
    step_seconds: Vec<f64>,
    peak_memory_bytes: Option<u64>,
    #[serde(flatten)]
    operators: Option<Operators>,
}

pub(crate) fn run(arguments: &BenchArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let model: Architecture = arguments.model.parse()?;
    let precision: PrecisionChoice = arguments.precision.parse().map_err(WrongCall::new)?;
    let (device, threads) = (arguments.device, arguments.threads as usize);
    if arguments.operators && device != DeviceChoice::Cpu {
        return Err(WrongCall::new("`--operators` measures the processor's limits beside the times")
            .with_hint("leave `--device` or `--operators` away")
            .into());
    }
    let engine = engine::open(device, threads, precision, printer)?;
    if let Some(folder) = &arguments.photos {
        return photos::run(arguments, model, &*engine, folder, printer);
    }
    let (step_seconds, times) = measure(arguments, model, &*engine, printer)?;
    let step_seconds_median = median(&step_seconds);
    // Before the peak is measured, which has arrays of its own.
    let peak_memory_bytes = memory::peak();
    let operators = if arguments.operators {
        let threads = arguments.threads as usize;
        Some(Operators::new(times, step_seconds.len(), threads, precision.precision())?)
    } else {
        None
    };
    let figures = Figures {
        version: env!("CARGO_PKG_VERSION"),
        model,
        mode: if arguments.infer { "infer" } else { "train" },
        engine: engine.name(),
        batch: arguments.batch,
        image_size: arguments.image_size,
        classes: arguments.classes,
        warmup: arguments.warmup,
        images_per_sec: f64::from(arguments.batch) / step_seconds_median,
        step_seconds_median,
        step_seconds,
        peak_memory_bytes,
        operators,
    };
    if arguments.json {
        printer.json(&figures)?;
    } else {
        printer.result(&line(&figures))?;
        if let Some(operators) = &figures.operators {
            let mean = figures.step_seconds.iter().sum::<f64>() / figures.step_seconds.len() as f64;
            printer.result(&operators.table(mean))?;
        }
    }
    Ok(ExitStatus::Done)
}

/// Seconds of each measured step, and the operators of all of them if they are asked for.
fn measure(
    arguments: &BenchArguments,
    model: Architecture,
    engine: &dyn Engine,
    printer: &Printer,
) -> anyhow::Result<(Vec<f64>, Vec<OperatorTime>)> {
    let Resident { pixels, labels } = Resident::new(arguments);
    let mut plan = Plan::new(arguments, model, engine)?;
    plan.time_operators(arguments.operators);

    let all = arguments.warmup + arguments.steps;
    let mut progress = printer.progress("steps", all.into());
    let (mut seconds, mut operators) = (Vec::new(), Vec::new());
    for number in 0..all {
        let start = Instant::now();
        plan.step(&pixels, &labels, number.into())?;
        if number >= arguments.warmup {
            seconds.push(start.elapsed().as_secs_f64());
            operators.extend(plan.operator_times());
        }
        progress.set_with_rate(u64::from(number) + 1, "steps");
    }
    Ok((seconds, operators))
}

/// A random batch that stays in memory.
struct Resident {
    /// `batch * size * size * 3` bytes.
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Resident {
    fn new(arguments: &BenchArguments) -> Self {
        let (batch, size) = (arguments.batch as usize, arguments.image_size as usize);
        let mut random = Random::new(0, 0, "bench");
        let pixels = (0..batch * size * size * 3).map(|_| random.below(256) as u8).collect();
        let labels = (0..batch).map(|_| random.below(arguments.classes as usize) as u32).collect();
        Self { pixels, labels }
    }
}

/// What is measured.
enum Plan {
    Inference(Box<dyn Inference>),
    Training(Box<dyn Training>),
}

impl Plan {
    fn new(arguments: &BenchArguments, model: Architecture, engine: &dyn Engine) -> anyhow::Result<Self> {
        let graph = model.graph(arguments.classes as usize);
        let tensors = graph.initialise(0);
        let Recipe { width, height, mean, std, .. } = Recipe::imagenet(arguments.image_size as usize);
        let input = InputSpec { batch: arguments.batch as usize, height, width, mean, std };
        if arguments.infer {
            return Ok(Self::Inference(engine.inference(&graph, &tensors, &input, &[])?));
        }
        Ok(Self::Training(engine.training(&graph, &tensors, &input, &TrainingSpec::default())?))
    }

    /// One step on a batch.
    fn step(&mut self, pixels: &[u8], labels: &[u32], seed: u64) -> anyhow::Result<()> {
        match self {
            Self::Inference(plan) => drop(plan.logits(labels.len(), pixels)?),
            Self::Training(plan) => drop(plan.step(
                &TrainBatch { pixels, features: &[], labels, mixed: None, seed },
                1e-4,
                0.01,
            )?),
        }
        Ok(())
    }

    fn time_operators(&mut self, on: bool) {
        match self {
            Self::Inference(plan) => plan.time_operators(on),
            Self::Training(plan) => plan.time_operators(on),
        }
    }

    fn operator_times(&self) -> Vec<OperatorTime> {
        match self {
            Self::Inference(plan) => plan.operator_times(),
            Self::Training(plan) => plan.operator_times(),
        }
    }
}

/// The middle value, or the mean of the two in the middle; there is at least one.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

fn line(figures: &Figures) -> String {
    let memory = figures
        .peak_memory_bytes
        .map_or_else(String::new, |bytes| format!(", peak memory {} MiB", bytes >> 20));
    format!(
        "{} {} on {}, batch {} at {} px: {:.1} images/s (median of {} steps, {:.1} ms each){memory}",
        figures.model,
        figures.mode,
        figures.engine,
        figures.batch,
        figures.image_size,
        figures.images_per_sec,
        figures.step_seconds.len(),
        figures.step_seconds_median * 1e3,
    )
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle() {
        for (values, middle) in [(vec![3.0], 3.0), (vec![4.0, 1.0], 2.5), (vec![9.0, 1.0, 2.0], 2.0)] {
            assert_eq!(median(&values), middle);
        }
    }
}
