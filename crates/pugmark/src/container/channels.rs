//! The data of a training job: a folder each channel.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pugmark_data::Part;
use serde::Deserialize;

use super::{pipe, read_json};
use crate::error::WrongCall;

/// Channels that hold weights to start from; `model` is what incremental training calls it.
const WEIGHTS: [&str; 3] = ["weights", "model", "pretrained"];

/// How `inputdataconfig.json` describes a channel, as far as it matters here.
#[derive(Deserialize, Default)]
struct Described {
    #[serde(default, rename = "TrainingInputMode")]
    mode: String,
}

/// Where each channel lies.
#[derive(Debug)]
pub(super) struct Channels {
    base: PathBuf,
    folders: BTreeMap<String, PathBuf>,
}

impl Channels {
    /// The channels that the platform describes, or else the folders it has made; `SM_CHANNEL_*` goes before both.
    pub(super) fn read(base: &Path) -> Result<Self, WrongCall> {
        let data = base.join("input/data");
        let described: Option<BTreeMap<String, Described>> =
            read_json(&base.join("input/config/inputdataconfig.json"))?;
        let described = match described {
            Some(described) => described,
            None => folders_in(&data),
        };
        let mut folders = BTreeMap::new();
        for (name, channel) in described {
            let folder = match channel.mode.as_str() {
                "Pipe" => pipe::read(&data.join(format!("{name}_0")), &base.join("piped").join(&name))?,
                _ => data.join(&name),
            };
            folders.insert(name, folder);
        }
        for (name, folder) in std::env::vars_os() {
            let Some(name) = name.to_str().and_then(|name| name.strip_prefix("SM_CHANNEL_")) else {
                continue;
            };
            // Variables are in capitals, whatever the channel's name.
            let known = folders.keys().find(|known| known.eq_ignore_ascii_case(name)).cloned();
            folders.insert(known.unwrap_or_else(|| name.to_lowercase()), PathBuf::from(folder));
        }
        for (name, folder) in &folders {
            if !folder.is_dir() {
                return Err(WrongCall::new(format!("channel `{name}`: there is no {}", folder.display()))
                    .with_hint("is its S3Uri a prefix with something below it?"));
            }
        }
        Ok(Self { base: base.to_owned(), folders })
    }

    /// The data set of the training: the one channel there is, or a folder with the channels `train`, `validation` and
    /// `test` in it.
    pub(super) fn data(&self) -> Result<PathBuf, WrongCall> {
        let photos = || self.folders.iter().filter(|(name, _)| !WEIGHTS.contains(&name.as_str()));
        let parts: Vec<(Part, &PathBuf)> =
            photos().filter_map(|(name, folder)| Some((name.parse().ok()?, folder))).collect();
        let has_train = parts.iter().any(|(part, _)| *part == Part::Train);
        let names: Vec<&str> = photos().map(|(name, _)| name.as_str()).collect();
        match (parts.as_slice(), names.len()) {
            (_, 0) => Err(WrongCall::new("the job has no channel with photos")
                .with_hint("give it one, `train`, or `train` and `validation`")),
            (_, 1) => Ok(photos().map(|(_, folder)| folder.clone()).next().unwrap_or_default()),
            (parts, all) if has_train && parts.len() == all => self.together(parts),
            _ => Err(WrongCall::new(format!(
                "which channel is to be trained on? There are {}",
                names.join(", ")
            ))
            .with_hint("one channel with photos, whatever its name; or `train`, `validation` and `test`")),
        }
    }

    /// The folder that holds exactly these channels under the names of their parts. Where the platform has put something beside
    /// them it is one of links.
    fn together(&self, parts: &[(Part, &PathBuf)]) -> Result<PathBuf, WrongCall> {
        if let Some((part, folder)) = parts.iter().enumerate().find_map(|(at, (part, folder))| {
            parts[..at].iter().any(|(earlier, _)| earlier == part).then_some((part, folder))
        }) {
            let text = format!("two channels are the {part} part, one of them {}", folder.display());
            return Err(WrongCall::new(text).with_hint("`validation` and `val` mean the same"));
        }
        check_alike(parts)?;
        let place = self.base.join("input/data");
        let there = parts.iter().all(|(_, folder)| folder.parent() == Some(&place));
        let nothing_else = self.folders.len() == parts.len();
        if there && nothing_else {
            return Ok(place);
        }
        let links = self.base.join("channels");
        let remove = |part: Part| match fs::remove_file(links.join(part.name())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let link = |(part, folder): &(Part, &PathBuf)| symlink(folder, &links.join(part.name()));
        fs::create_dir_all(&links)
            .and_then(|()| Part::ALL.into_iter().try_for_each(remove))
            .and_then(|()| parts.iter().try_for_each(link))
            .map_err(|error| WrongCall::new(format!("{}: {error}", links.display())))?;
        Ok(links)
    }

    /// The one file in the channel that holds weights, where there is such a channel.
    pub(super) fn weights(&self) -> Result<Option<PathBuf>, WrongCall> {
        let Some((name, folder)) = self.folders.iter().find(|(name, _)| WEIGHTS.contains(&name.as_str()))
        else {
            return Ok(None);
        };
        let wrong = |text: String| WrongCall::new(format!("channel `{name}`: {text}"));
        let entries = fs::read_dir(folder).map_err(|error| wrong(error.to_string()))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|end| end == "pth" || end == "safetensors"));
        match files.as_slice() {
            [only] => Ok(Some(only.clone())),
            files => Err(wrong(format!("it holds {} files of weights, and one is wanted", files.len()))
                .with_hint("one .pth or .safetensors file, not packed")),
        }
    }
}

/// Refuses channels that would be read as something else together: each holds class folders, or each is a prepared folder.
fn check_alike(parts: &[(Part, &PathBuf)]) -> Result<(), WrongCall> {
    let is_prepared = |folder: &Path| folder.join("prepare.json").is_file();
    if parts.iter().all(|(_, folder)| is_prepared(folder)) {
        return Ok(());
    }
    let is_table = |path: &Path| path.extension().is_some_and(|end| end == "csv" || end == "json");
    for (part, folder) in parts {
        let entries: Vec<PathBuf> =
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        if !entries.iter().any(|path| path.is_dir()) || entries.iter().any(|path| is_table(path)) {
            let text = format!(
                "channel `{part}` is no folder of class folders, and not all channels are prepared folders"
            );
            return Err(WrongCall::new(text).with_hint(
                "with a table of labels there is one channel: its `split` column says what is trained on",
            ));
        }
    }
    Ok(())
}

/// The folders that the platform has made, each a channel.
fn folders_in(data: &Path) -> BTreeMap<String, Described> {
    let entries = fs::read_dir(data).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.map(|entry| (entry.file_name().to_string_lossy().into_owned(), Described::default())).collect()
}

#[cfg(unix)]
fn symlink(folder: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(std::path::absolute(folder)?, link)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::Error::other("channels in several places need a Unix system"))
}
