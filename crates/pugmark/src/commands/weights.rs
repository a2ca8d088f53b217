//! Published weights: what there is, fetching it, and what a file is.

use std::path::Path;

use anyhow::bail;
use pugmark_graph::read_weights;
use pugmark_model::hub::{self, Published, Verification};
use serde::Serialize;

use super::data;
use crate::arguments::{WeightsArguments, WeightsCommand};
use crate::error::ExitStatus;
use crate::printer::Printer;

#[derive(Serialize)]
struct Entry {
    name: &'static str,
    architecture: &'static str,
    file: &'static str,
    bytes: u64,
    sha256: &'static str,
    accuracy: &'static str,
    licence: &'static str,
    url: String,
    /// Whether the file is in the cache; its checksum is checked when it is used.
    here: bool,
}

pub(crate) fn run(arguments: &WeightsArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    match &arguments.command {
        WeightsCommand::List { json } => list(*json, printer)?,
        WeightsCommand::Fetch { name } => fetch(name, printer)?,
        WeightsCommand::Verify { file } => verify(file, printer)?,
    }
    Ok(ExitStatus::Done)
}

fn list(json: bool, printer: &Printer) -> anyhow::Result<()> {
    let cache = hub::cache_dir()?;
    let entry = |published: &Published| Entry {
        name: published.name,
        architecture: published.architecture.name(),
        file: published.file,
        bytes: published.bytes,
        sha256: published.sha256,
        accuracy: published.accuracy,
        licence: published.licence,
        url: published.url(None),
        here: cache.join(published.file).is_file(),
    };
    let entries: Vec<Entry> = hub::published().iter().map(entry).collect();
    if json {
        return printer.json(&entries);
    }
    let mut text = format!("{:<17}{:<17}{:>6}  {:<5}{}\n", "name", "architecture", "MB", "here", "accuracy");
    for entry in &entries {
        let Entry { name, architecture, bytes, accuracy, .. } = entry;
        let here = if entry.here { "yes" } else { "no" };
        text.push_str(&format!(
            "{name:<17}{architecture:<17}{:>6.1}  {here:<5}{accuracy}\n",
            *bytes as f64 / 1e6
        ));
    }
    printer.result(&text)
}

fn fetch(name: &str, printer: &Printer) -> anyhow::Result<()> {
    let published = Published::find(name)?;
    let mut progress = printer.progress(name, published.bytes >> 20);
    let path =
        hub::fetch(published, None, &hub::cache_dir()?, &mut |now| progress.set(now.bytes >> 20, "MiB"))?;
    drop(progress);
    printer.note(&format!(
        "{name} is here: `pugmark train DATA --model {} --weights {name}`",
        published.architecture
    ));
    printer.result(&path.display().to_string())
}

fn verify(file: &Path, printer: &Printer) -> anyhow::Result<()> {
    data::exists(file, "file")?;
    let Verification { sha256, bytes, published } = hub::verify(file)?;
    let claims =
        hub::published().iter().find(|published| file.file_name().is_some_and(|name| name == published.file));
    let what = match (published, claims) {
        (Some(published), _) => format!("the published {}", published.name),
        (None, Some(claims)) => bail!(
            "{} is not the published {}: its sha256 is {sha256} and should be {}",
            file.display(),
            claims.name,
            claims.sha256
        ),
        (None, None) => "none of the published files".to_owned(),
    };
    let tensors = read_weights(file)?;
    let values: usize = tensors.values().map(|tensor| tensor.values.len()).sum();
    printer.result(&format!(
        "{}: {what}\nsha256   {sha256}\nbytes    {bytes}\ntensors  {} with {:.1} million values",
        file.display(),
        tensors.len(),
        values as f64 / 1e6
    ))
}
