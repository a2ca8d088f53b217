//! The watch in a training: keeps records in the run and has them judged.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use pugmark_engine::{LayerKind, LayerStatistics, StepOutput, StepStatistics, WeightStatistics};
use pugmark_graph::{Graph, Role};
use pugmark_model::{RunFolder, write_atomic};

use super::WatchMode;
use super::record::{INACTIVE, Layer, Name, Number, Record, Sample, Start, Weight};
use super::replay::read_records;
use super::rules::{Finding, Rules, reports_to_json};
use super::system::{Meter, now_seconds};
use super::thresholds::rule;
use crate::{TrainError, TrainSettings};

/// Seconds between two looks at process and machine.
const INTERVAL: f64 = 10.0;
/// Steps between two samples unless they are set: a quarter of an epoch, within these. At 224 px and batch 32 a sample costs 4.9 % of a
/// step of a small CNN and 3.5 % of a ResNet18's (`bench/watch.py`), so at most half a percent of the time.
const EVERY: (u64, u64) = (10, 50);

/// Keeps a training's records; without one (`--watch off`) nothing is kept.
pub(crate) struct Recorder {
    mode: WatchMode,
    every: u64,
    rules: Rules,
    path: PathBuf,
    json: PathBuf,
    file: File,
    names: (Vec<Name>, Vec<Name>),
    pending: Pending,
    meter: Meter,
    /// Seconds waited for photos since the meter was read.
    waiting: f64,
    found: Vec<Finding>,
}

/// Steps that are not in the file yet.
#[derive(Default)]
struct Pending {
    epoch: u32,
    begins: bool,
    losses: Vec<Number>,
    milliseconds: Vec<Number>,
}

/// A training that begins or goes on; `every` and `time` are the recorder's.
pub(crate) type Begun = Start;

/// What there is to know of a step.
pub(crate) struct StepSeen<'a> {
    /// From 1, over all epochs.
    pub(crate) step: u64,
    pub(crate) epoch: u32,
    /// The first of its epoch, or of the process.
    pub(crate) begins: bool,
    pub(crate) output: &'a StepOutput,
    pub(crate) learning_rate: f64,
    /// With waiting for its photos.
    pub(crate) seconds: f64,
    pub(crate) waiting: f64,
    pub(crate) statistics: Option<StepStatistics>,
}

impl Recorder {
    /// Opens the run's file; what was written behind the checkpoint is cut off, and what comes before is judged again, so that
    /// a training that goes on knows what one that was not interrupted would know.
    pub(crate) fn open(
        settings: &TrainSettings,
        folder: &RunFolder,
        begun: Begun,
    ) -> Result<Option<Self>, TrainError> {
        if settings.watch == WatchMode::Off {
            return Ok(None);
        }
        let path = folder.watch();
        let earlier = match begun.step {
            0 if begun.epoch <= 1 => None,
            _ => read_records(&path)?,
        };
        let kept: Vec<Record> = earlier
            .into_iter()
            .flatten()
            .filter_map(|record| record.up_to(begun.step, begun.epoch))
            .collect();
        let data = settings.data.as_ref().map_or("DATA".into(), |data| data.display().to_string());
        let mut rules =
            Rules::new(settings.watch_thresholds.clone(), &folder.path().display().to_string(), &data);
        let mut text = String::new();
        for record in &kept {
            rules.record(record);
            text.push_str(&line(record));
        }
        let failed = |source| TrainError::Save { path: path.clone(), source };
        write_atomic(&path, text.as_bytes()).map_err(failed)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(failed)?;
        let every = match settings.watch_every {
            0 => (begun.epoch_steps / 4).clamp(EVERY.0, EVERY.1),
            every => every,
        };
        let mut recorder = Self {
            mode: settings.watch,
            every,
            rules,
            path,
            json: folder.watch_json(),
            file,
            names: Default::default(),
            pending: Pending::default(),
            meter: Meter::new(),
            waiting: 0.0,
            found: Vec::new(),
        };
        recorder.write(&Record::Start(Start { time: now_seconds(), every, ..begun }))?;
        Ok(Some(recorder))
    }

    /// Whether a step, counted from 1, is one to look at in full: the same ones wherever a training is interrupted.
    pub(crate) fn samples(&self, step: u64) -> bool {
        step == 1 || step.is_multiple_of(self.every)
    }

    /// Takes a step that is done.
    pub(crate) fn step(&mut self, graph: &Graph, seen: StepSeen<'_>) -> Result<(), TrainError> {
        let StepSeen { step, epoch, begins, output, seconds, waiting, .. } = seen;
        if begins {
            self.flush(step - 1)?;
        }
        if self.pending.losses.is_empty() {
            (self.pending.epoch, self.pending.begins) = (epoch, begins);
        }
        self.pending.losses.push(Number(output.loss));
        self.pending.milliseconds.push(Number(seconds * 1000.0));
        self.waiting += waiting;
        if let Some(statistics) = &seen.statistics {
            self.sample(graph, statistics, &seen)?;
        }
        if self.samples(step) {
            self.flush(step)?;
        }
        self.beat(step, epoch)
    }

    fn sample(
        &mut self,
        graph: &Graph,
        statistics: &StepStatistics,
        seen: &StepSeen<'_>,
    ) -> Result<(), TrainError> {
        let StepStatistics { layers, weights } = statistics;
        let activations = || layers.iter().filter(|layer| layer.kind != LayerKind::Input);
        let names = (
            activations().enumerate().map(|(at, layer)| layer_name(at, layer)).collect(),
            weights.iter().map(|weight| weight_name(graph, weight)).collect(),
        );
        if names != self.names {
            self.names = names;
            let (layers, weights) = self.names.clone();
            self.write(&Record::Names { layers, weights })?;
        }
        let input = layers.iter().find(|layer| layer.kind == LayerKind::Input);
        let input = input.map_or_else(Vec::new, |input| {
            input.mean.iter().zip(&input.std).map(|(mean, std)| [Number(*mean), Number(*std)]).collect()
        });
        self.write(&Record::Sample(Box::new(Sample {
            step: seen.step,
            epoch: seen.epoch,
            loss: Number(seen.output.loss),
            learning_rate: seen.learning_rate,
            gradient_norm: Number(seen.output.gradient_norm),
            input,
            layers: activations().map(layer).collect(),
            weights: weights.iter().map(weight).collect(),
        })))
    }

    /// Takes an epoch that is validated.
    pub(crate) fn epoch(
        &mut self,
        (epoch, step): (u32, u64),
        (train_loss, val_loss): (f64, f64),
        confusion: &[Vec<u64>],
    ) -> Result<(), TrainError> {
        self.flush(step)?;
        let of_class = |(class, row): (usize, &Vec<u64>)| {
            let others = row.iter().enumerate().filter(|(other, _)| *other != class);
            // Of several the first.
            let most = others.max_by_key(|(other, count)| (**count, std::cmp::Reverse(*other)));
            let (other, taken) = most.map_or((class, 0), |(other, count)| (other, *count));
            [row.iter().sum(), row[class], other as u64, taken]
        };
        let classes = confusion.iter().enumerate().map(of_class).collect();
        self.write(&Record::Epoch { epoch, step, train_loss, val_loss, classes })
    }

    /// Takes a step that failed for a number that is none.
    pub(crate) fn not_finite(
        &mut self,
        (epoch, step): (u32, u64),
        statistics: Option<&StepStatistics>,
        what: &str,
    ) -> Result<(), TrainError> {
        self.flush(step - 1)?;
        let finite = |layer: &&LayerStatistics| layer.mean.iter().chain(&layer.std).all(|v| v.is_finite());
        let layers = statistics.map_or(&[][..], |statistics| &statistics.layers);
        let first = layers.iter().enumerate().find(|(_, layer)| !finite(layer));
        let tensor = first.map_or_else(|| what.to_owned(), |(at, layer)| layer_name(at, layer).name);
        self.write(&Record::NotFinite { step, epoch, tensor })?;
        self.save_reports()
    }

    /// A sign of life, where it is time for one.
    pub(crate) fn beat(&mut self, step: u64, epoch: u32) -> Result<(), TrainError> {
        if self.meter.seconds().is_none_or(|seconds| seconds < INTERVAL) {
            return Ok(());
        }
        let Some(system) = self.meter.read() else { return Ok(()) };
        let waiting = (std::mem::take(&mut self.waiting) / system.seconds).clamp(0.0, 1.0);
        self.write(&Record::System(super::System { step, epoch, waiting, ..system }))
    }

    /// Writes the steps that are not in the file yet; `step` is the last one done.
    pub(crate) fn flush(&mut self, step: u64) -> Result<(), TrainError> {
        let Pending { epoch, begins, losses, milliseconds } = std::mem::take(&mut self.pending);
        if losses.is_empty() {
            return Ok(());
        }
        self.write(&Record::Steps { step, epoch, begins, losses, milliseconds })
    }

    /// Saves what the rules came to.
    pub(crate) fn save_reports(&self) -> Result<(), TrainError> {
        let json = format!("{:#}\n", reports_to_json(&self.rules.reports()));
        write_atomic(&self.json, json.as_bytes())
            .map_err(|source| TrainError::Save { path: self.json.clone(), source })
    }

    /// What was found since this was asked last.
    pub(crate) fn findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.found)
    }

    /// Whether the training is to end for it.
    pub(crate) fn stops(&self, finding: &Finding) -> bool {
        self.mode == WatchMode::Stop && rule(&finding.rule).is_some_and(|info| info.stops)
    }

    fn write(&mut self, record: &Record) -> Result<(), TrainError> {
        let line = line(record);
        self.file
            .write_all(line.as_bytes())
            .map_err(|source| TrainError::Save { path: self.path.clone(), source })?;
        // What is judged is what was written, digit by digit: a replay finds the same.
        if let Ok(record) = serde_json::from_str(&line) {
            self.found.extend(self.rules.record(&record));
        }
        Ok(())
    }
}

fn line(record: &Record) -> String {
    // A record is numbers and names: nothing of it can't be written.
    serde_json::to_string(record).unwrap_or_default() + "\n"
}

fn layer_name(at: usize, layer: &LayerStatistics) -> Name {
    let kind = layer.kind.name();
    let name = match layer.name.as_str() {
        "" => format!("{kind} #{}", at + 1),
        name => format!("{name} ({kind})"),
    };
    Name { name, kind: kind.into(), block: 0, values: layer.mean.len() }
}

fn weight_name(graph: &Graph, weight: &WeightStatistics) -> Name {
    let param = graph.param(weight.param);
    let kind = if param.role == Role::LayerScale { "layer scale" } else { "weight" };
    Name { name: param.name.clone(), kind: kind.into(), block: param.block, values: param.len() }
}

fn layer(layer: &LayerStatistics) -> Layer {
    let channels = layer.mean.len().max(1) as f64;
    let mean = layer.mean.iter().sum::<f64>() / channels;
    let square = layer.mean.iter().zip(&layer.std).map(|(m, s)| m * m + s * s).sum::<f64>() / channels;
    let share = match layer.kind {
        LayerKind::Relu => layer.share.iter().filter(|share| **share < INACTIVE).count() as f64 / channels,
        _ => layer.share.iter().sum::<f64>() / channels,
    };
    // Rounding may leave the mean square below the squared mean; NaN stays what it is.
    let variance = square - mean * mean;
    Layer { mean, std: if variance < 0.0 { 0.0 } else { variance.sqrt() }, share }
}

fn weight(weight: &WeightStatistics) -> Weight {
    let WeightStatistics { gradient_mean, gradient_norm, gradient_zeros, norm, zeros, update_norm, .. } =
        *weight;
    // Only what is all zero is written as 1.
    let floor = |share: f64| (share * 1e4).floor() / 1e4;
    let (gradient_zeros, zeros) = (floor(gradient_zeros), floor(zeros));
    Weight { gradient_mean, gradient_norm, gradient_zeros, norm, zeros, update_norm }
}
