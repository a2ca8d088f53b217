//! A processing job: any verb, on paths below `/opt/ml/processing`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Hosts, base, read_json};
use crate::arguments::Command;
use crate::error::WrongCall;

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Job {
    processing_inputs: Vec<Input>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Input {
    s3_input: S3Input,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct S3Input {
    local_path: PathBuf,
    s3_data_distribution_type: String,
}

/// Whether the tree is that of a processing job.
pub(super) fn is_job(base: &Path) -> bool {
    base.join("config/processingjobconfig.json").is_file()
}

/// Gives what a command writes on one of several machines names of the machine's own: all outputs of a job are put together.
pub(crate) fn name_by_host(command: &mut Command) -> Result<(), WrongCall> {
    let (photos, outputs): (Vec<&Path>, Vec<&mut PathBuf>) = match command {
        Command::Prepare(arguments) => {
            (vec![arguments.read.photos().unwrap_or(&arguments.data)], vec![&mut arguments.out])
        }
        Command::Split(arguments) => {
            (vec![arguments.photos.as_deref().unwrap_or(&arguments.data)], vec![&mut arguments.out])
        }
        Command::Check(arguments) => {
            let outputs = [&mut arguments.html, &mut arguments.drop_list, &mut arguments.preview_out];
            let photos = arguments.photos.as_deref().unwrap_or(&arguments.data);
            (vec![photos], outputs.into_iter().flatten().collect())
        }
        Command::Predict(arguments) => {
            let photos = arguments.sources.iter().map(PathBuf::as_path).collect();
            (photos, arguments.out.iter_mut().collect())
        }
        Command::Explain(arguments) => {
            (arguments.sources.iter().map(PathBuf::as_path).collect(), vec![&mut arguments.out])
        }
        _ => return Ok(()),
    };
    for out in outputs {
        *out = named_by_host(out, &photos)?;
    }
    Ok(())
}

/// Where this machine writes `out` of what it makes of `photos`: `prepared/algo-1`, `predictions-algo-1.csv`.
fn named_by_host(out: &Path, photos: &[&Path]) -> Result<PathBuf, WrongCall> {
    let base = base();
    let below = |path: &Path| path.starts_with(base.join("processing"));
    let config = base.join("config");
    let hosts: Hosts = read_json(&config.join("resourceconfig.json"))?.unwrap_or_default();
    if !is_job(&base) || hosts.hosts.len() < 2 || !below(out) {
        return Ok(out.to_owned());
    }
    let job: Job = read_json(&config.join("processingjobconfig.json"))?.unwrap_or_default();
    let is_of = |input: &S3Input, path: &Path| {
        input.local_path.strip_prefix("/opt/ml").is_ok_and(|below| path.starts_with(base.join(below)))
    };
    let is_shared_out = |photos: &&&Path| {
        let inputs = job.processing_inputs.iter().map(|input| &input.s3_input);
        inputs
            .filter(|input| is_of(input, photos))
            .any(|input| input.s3_data_distribution_type == "ShardedByS3Key")
    };
    if let Some(photos) = photos.iter().find(|photos| !is_shared_out(photos)) {
        let text = format!("each of the {} machines has all of {}", hosts.hosts.len(), photos.display());
        return Err(WrongCall::new(text).with_hint(
            "share it out: `\"S3DataDistributionType\": \"ShardedByS3Key\"`, and name that input; or take one machine",
        ));
    }
    let host = &hosts.current_host;
    Ok(match (out.file_stem(), out.extension()) {
        (Some(stem), Some(extension)) => {
            let (stem, extension) = (stem.to_string_lossy(), extension.to_string_lossy());
            out.with_file_name(format!("{stem}-{host}.{extension}"))
        }
        _ => out.join(host),
    })
}
