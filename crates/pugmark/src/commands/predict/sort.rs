//! Photos into a folder a class.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use pugmark_data::Digest;
use pugmark_model::{Prediction, write_atomic_with};

use super::boxes::{NO_ANIMAL, UNNAMED};
use super::outputs::Each;
use super::rows::ranked;
use crate::arguments::{PredictArguments, SortHow};
use crate::commands::data;
use crate::error::{ExitStatus, WrongCall};
use crate::printer::Printer;

/// Where photos go whose class is not sure enough, those that cannot be read, and those in which a detector found nothing.
const UNSURE: &str = "unsure";
const BROKEN: &str = "cannot-read";
const EMPTY: &str = "no-animal";
/// Photos that the detector was not asked about.
const UNASKED: &str = "no-detection";

/// Where photos go and how.
pub(super) struct Sorting<'a> {
    folder: &'a Path,
    how: SortHow,
    sure: f32,
}

/// What became of a photo.
enum Came {
    Sorted,
    /// The same bytes were there already.
    Known,
    /// Another file is there, and stays.
    InTheWay,
    /// The photo is not there any more.
    Gone,
}

impl<'a> Sorting<'a> {
    /// Of a call; none where it asks for none.
    pub(super) fn new(arguments: &'a PredictArguments) -> Result<Option<Self>, WrongCall> {
        let Some(folder) = &arguments.sort.sort_into else { return Ok(None) };
        if folder.exists() && !folder.is_dir() {
            return Err(WrongCall::new(format!("{} is no folder", folder.display()))
                .with_hint("name a folder for `--sort-into`"));
        }
        let resolved = resolved(folder);
        if arguments
            .sources
            .iter()
            .any(|source| fixed(source).is_some_and(|source| resolved.starts_with(source)))
        {
            return Err(WrongCall::new(format!("{} is among the photos", folder.display()))
                .with_hint("sort them into a folder outside: a later call would find them there again"));
        }
        Ok(Some(Self { folder, how: arguments.sort.sort_how, sure: arguments.sort.sort_sure }))
    }

    /// Whether photos leave their place.
    pub(super) fn moves(&self) -> bool {
        self.how == SortHow::Move
    }

    /// Sorts the photos that `each` hands over.
    pub(super) fn sort(
        &self,
        classes: &[String],
        photos: usize,
        each: Each<'_>,
        stop: &AtomicBool,
        printer: &Printer,
    ) -> anyhow::Result<ExitStatus> {
        let mut progress = printer.progress("photos sorted", photos as u64);
        let (mut done, mut sorted, mut known, mut gone) = (0, 0, 0, 0);
        let (mut in_the_way, mut failed) = (Vec::new(), Vec::new());
        each(&mut |prediction| {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let target = self.folder.join(self.place(classes, &prediction));
            match self.put(&prediction.path, &target) {
                Ok(Came::Sorted) => sorted += 1,
                Ok(Came::Known) => known += 1,
                Ok(Came::Gone) => gone += 1,
                Ok(Came::InTheWay) => in_the_way.push(target.display().to_string()),
                Err(error) => failed.push(format!("{}: {error}", target.display())),
            }
            done += 1;
            progress.set_with_rate(done, "photos");
            Ok(())
        })?;
        drop(progress);
        let how = match self.how {
            SortHow::Copy => "copied",
            SortHow::HardLink | SortHow::Symlink => "linked",
            SortHow::Move => "moved",
        };
        let counted = |count: usize, what: &str| match count {
            0 => String::new(),
            count => format!(", {count} {what}"),
        };
        let (known, gone) = (counted(known, "were there"), counted(gone, "are gone"));
        printer.note(&format!("{sorted} photos {how} into {}{known}{gone}", self.folder.display()));
        let told = [
            ("left as they are, being other photos of these names", &in_the_way),
            ("cannot be sorted", &failed),
        ];
        for (what, names) in told.into_iter().filter(|(_, names)| !names.is_empty()) {
            printer.warning(&format!("{what}: {}", data::some(names)));
        }
        if !(in_the_way.is_empty() && failed.is_empty()) {
            return Ok(ExitStatus::Failed);
        }
        Ok(if stop.load(Ordering::Relaxed) { ExitStatus::Interrupted } else { ExitStatus::Done })
    }

    /// A class, and the photo's path below it.
    fn place(&self, classes: &[String], prediction: &Prediction) -> PathBuf {
        let class = match &prediction.outcome {
            Err(reason) if reason == NO_ANIMAL => EMPTY,
            Err(reason) if reason == UNNAMED => UNASKED,
            Err(_) => BROKEN,
            Ok(row) => match ranked(row).first() {
                Some(&best) if row[best] >= self.sure => &classes[best],
                _ => UNSURE,
            },
        };
        let class = class.replace(['/', '\\'], "_");
        // Ids of several folders may begin at the root or step upwards.
        let names =
            Path::new(&prediction.id).components().filter(|part| matches!(part, Component::Normal(_)));
        Path::new(&class).join(names.collect::<PathBuf>())
    }

    fn put(&self, from: &Path, to: &Path) -> io::Result<Came> {
        if !from.exists() {
            return Ok(Came::Gone);
        }
        if to.symlink_metadata().is_ok() {
            return Ok(if same_bytes(from, to)? { Came::Known } else { Came::InTheWay });
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        match self.how {
            SortHow::Copy => copy(from, to)?,
            // Of a link, what it leads to.
            SortHow::HardLink => fs::hard_link(from.canonicalize()?, to)?,
            SortHow::Symlink => symlink(&from.canonicalize()?, to)?,
            SortHow::Move if from.is_symlink() => {
                return Err(io::Error::new(
                    ErrorKind::InvalidInput,
                    "the photo is a link, which is not moved",
                ));
            }
            SortHow::Move => match fs::rename(from, to) {
                Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                    copy(from, to)?;
                    fs::remove_file(from)?;
                }
                moved => moved?,
            },
        }
        Ok(Came::Sorted)
    }
}

/// The folder that a source names, as the disk has it: of a pattern what stands before its first wildcard.
fn fixed(source: &Path) -> Option<PathBuf> {
    let wild = |part: &Component<'_>| part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let exists = source.exists();
    let before: PathBuf = source.components().take_while(|part| exists || !wild(part)).collect();
    let before = if before.as_os_str().is_empty() { PathBuf::from(".") } else { before };
    before.canonicalize().ok().filter(|folder| folder.is_dir())
}

/// A path as the disk has it, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for there in path.ancestors() {
        if let (Ok(found), Ok(rest)) = (there.canonicalize(), path.strip_prefix(there)) {
            return found.join(rest);
        }
    }
    path
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    write_atomic_with(to, |to| io::copy(&mut from, to).map(drop))
}

#[cfg(unix)]
fn symlink(from: &Path, to: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(from, to)
}

#[cfg(windows)]
fn symlink(from: &Path, to: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(from, to)
}

fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let same = || -> io::Result<bool> {
        let same_length = fs::metadata(one)?.len() == fs::metadata(other)?.len();
        Ok(same_length && Digest::of_file(one)? == Digest::of_file(other)?)
    };
    match same() {
        // A link that leads nowhere.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        same => same,
    }
}
