//! The folder that explanations are written to: a picture a photo, and `explain.jsonl`.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use pugmark_eval::explain::Picture;
use pugmark_model::write_atomic;
use serde::Deserialize;

use super::row::Row;
use crate::error::WrongCall;

const ROWS: &str = "explain.jsonl";

/// Characters of a photo's name in that of its picture.
const NAME: usize = 60;

/// A folder that may be written to.
pub(super) struct Vacant {
    path: PathBuf,
    /// What is replaced.
    earlier: Vec<PathBuf>,
}

/// A folder that is written to.
pub(super) struct Folder {
    path: PathBuf,
    rows: File,
}

/// What a row of an earlier explanation must have.
#[derive(Deserialize)]
struct Earlier {
    picture: Option<String>,
    #[serde(rename = "map")]
    _map: serde_json::Value,
    #[serde(rename = "reason")]
    _reason: serde_json::Value,
}

impl Folder {
    /// Looks whether the folder may be written to, and changes nothing.
    pub(super) fn check(path: &Path, overwrite: bool) -> anyhow::Result<Vacant> {
        let names = match fs::read_dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                return Err(WrongCall::new(format!("{} is a file", path.display()))
                    .with_hint("name a folder with `--out`")
                    .into());
            }
            entries => entries.with_context(|| format!("cannot read {}", path.display()))?.count(),
        };
        if names == 0 {
            return Ok(Vacant { path: path.to_owned(), earlier: Vec::new() });
        }
        let Some(pictures) = earlier(&path.join(ROWS)) else {
            return Err(WrongCall::new(format!("{} holds other files", path.display()))
                .with_hint("name a new or empty folder with `--out`; nothing was changed")
                .into());
        };
        if !overwrite {
            return Err(WrongCall::new(format!("{} holds an explanation already", path.display()))
                .with_hint("`--overwrite` replaces it, another `--out` keeps it")
                .into());
        }
        let earlier = pictures.into_iter().map(|name| path.join(name)).collect();
        Ok(Vacant { path: path.to_owned(), earlier })
    }

    /// Adds a photo's row.
    pub(super) fn add(&mut self, row: &Row) -> anyhow::Result<()> {
        let line = serde_json::to_string(row)? + "\n";
        let context = || format!("cannot write {}", self.path.join(ROWS).display());
        self.rows.write_all(line.as_bytes()).with_context(context)
    }

    /// Saves a photo's picture; its name in the folder. The number keeps photos of one name apart.
    pub(super) fn draw(&mut self, index: usize, id: &str, picture: &Picture) -> anyhow::Result<String> {
        let last = id.rsplit('/').next().unwrap_or(id);
        let stem = last.rsplit_once('.').map_or(last, |(stem, _)| stem);
        let safe = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
        let stem: String = stem.chars().take(NAME).map(safe).collect();
        let name = format!("{:04}-{stem}.png", index + 1);
        let mut png = Vec::new();
        let (width, height) = (picture.width as u32, picture.height as u32);
        PngEncoder::new(&mut png).write_image(&picture.rgb, width, height, ExtendedColorType::Rgb8)?;
        let path = self.path.join(&name);
        write_atomic(&path, &png).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(name)
    }

    /// Makes what is written last.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.rows.sync_all().with_context(|| format!("cannot write {}", self.path.join(ROWS).display()))
    }
}

impl Vacant {
    /// Makes the folder, without what was there.
    pub(super) fn begin(self) -> anyhow::Result<Folder> {
        let Self { path, earlier } = self;
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        for picture in earlier {
            match fs::remove_file(&picture) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", picture.display()));
                }
                _ => {}
            }
        }
        let rows = path.join(ROWS);
        let rows = File::create(&rows).with_context(|| format!("cannot write {}", rows.display()))?;
        Ok(Folder { path, rows })
    }
}

/// The pictures of an earlier explanation; none where the file is no such thing. A kill leaves at most half a last line.
fn earlier(rows: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(rows).ok()?;
    let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
    let mut pictures = Vec::new();
    for line in whole.lines() {
        let Earlier { picture, .. } = serde_json::from_str(line).ok()?;
        // Names of ours are those of files right in the folder.
        let own = |name: &String| name.ends_with(".png") && !name.contains(['/', '\\']);
        pictures.extend(picture.filter(own));
    }
    Some(pictures)
}
