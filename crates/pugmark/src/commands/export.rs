//! A model for other tools.

use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::Context;
use pugmark_engine::Cpu;
use pugmark_model::{ExportError, ExportFormat, Model, export, write_atomic};
use serde::Serialize;

use super::data;
use crate::arguments::{ExportArguments, Format};
use crate::error::{ExitStatus, Interrupted, WrongCall};
use crate::interrupt;
use crate::printer::Printer;

/// What was written, for `--json`.
#[derive(Serialize)]
struct Written<'a> {
    file: &'a Path,
    format: &'a str,
    bytes: usize,
    architecture: &'a str,
    classes: &'a [String],
    with_preprocessing: bool,
    /// Of a logit, as a share of the largest.
    largest_difference: f64,
    tolerance: f64,
    /// Share of the bytes of prepared pictures that are a level or two from the recipe's; none without preprocessing.
    different_bytes: Option<f64>,
}

pub(crate) fn run(arguments: &ExportArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let &ExportArguments { ref run, format, ref out, overwrite, with_preprocessing, json } = arguments;
    let (to, name) = match format {
        Format::Onnx => (ExportFormat::Onnx { with_preprocessing }, "onnx"),
        Format::Safetensors => (ExportFormat::Safetensors, "safetensors"),
        Format::Pth => (ExportFormat::Pth, "pth"),
    };
    if with_preprocessing && format != Format::Onnx {
        return Err(WrongCall::new(format!("a {name} file has tensors alone, and no preprocessing"))
            .with_hint("leave out `--with-preprocessing`, or take `--format onnx`")
            .into());
    }
    data::exists(run, "run or model")?;
    if out.is_dir() {
        return Err(WrongCall::new(format!("{} is a folder", out.display()))
            .with_hint(format!("name a file in it: `--out {}`", out.join(format!("model.{name}")).display()))
            .into());
    }
    if out.exists() && !overwrite {
        return Err(WrongCall::new(format!("{} exists", out.display()))
            .with_hint("`--overwrite` replaces it, another `--out` keeps it")
            .into());
    }
    // Before the work, not after it.
    if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        return Err(WrongCall::new(format!("there is no folder {}", folder.display()))
            .with_hint("make it, or name another `--out`")
            .into());
    }
    let stop = interrupt::stop_flag()?;
    let model = Model::open(run)?;
    let engine = Cpu::new(0)?;
    let mut progress = printer.progress("check", 100);
    let exported = export(&model, to, &engine, &mut |done, all| {
        progress.set((100 * done / all) as u64, "% of the operators");
        !stop.load(Ordering::Relaxed)
    });
    drop(progress);
    let exported = match exported {
        Err(ExportError::Interrupted) => {
            return Err(Interrupted("nothing was written; the same call begins again").into());
        }
        exported => exported?,
    };
    write_atomic(out, &exported.bytes).with_context(|| format!("cannot write {}", out.display()))?;

    let (bytes, difference, tolerance) = (exported.bytes.len(), exported.difference, to.tolerance());
    let check = match (to, difference.bytes) {
        (ExportFormat::Onnx { .. }, bytes) => {
            let logits = difference.logits;
            let logits = format!(
                "its logits differ from the model's by {logits:.1e} of the largest (at most {tolerance:.0e})"
            );
            let bytes = bytes.map(|share| format!(", its pictures in {:.2} % of the bytes", 100.0 * share));
            logits + &bytes.unwrap_or_default()
        }
        (ExportFormat::Safetensors | ExportFormat::Pth, _) => {
            "its tensors are the model's, bit for bit".to_owned()
        }
    };
    printer.note(&format!("{} is written, {:.1} MB; {check}", out.display(), bytes as f64 / 1e6));
    if json {
        printer.json(&Written {
            file: out,
            format: name,
            bytes,
            architecture: model.card.architecture.name(),
            classes: &model.card.classes,
            with_preprocessing,
            largest_difference: difference.logits,
            tolerance,
            different_bytes: difference.bytes,
        })?;
    }
    Ok(ExitStatus::Done)
}
