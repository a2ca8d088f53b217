//! The journal of a prediction: what is done is on disk, so that the same call goes on where it was after any kill.
//!
//! One JSON object a line: first who answers, then a line for each photo, and marks that tell whether the output is written. A kill
//! leaves at most half a line, which is cut off. Of several lines for one photo the last counts. It stays when all is done: it knows the answers to a folder that has
//! grown since, or that is wanted in another format.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::Context;
use pugmark_data::formats::CropBox;
use pugmark_data::{Digest, Item, Stored};
use pugmark_model::Prediction;
use serde::{Deserialize, Serialize};

use super::Count;
use crate::error::WrongCall;

/// How long answers may wait for the disk: that much work is done again after a power cut. A kill loses less.
const SYNC: Duration = Duration::from_secs(1);

/// A photo's line.
#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    /// Bytes and time of change of the file: a photo that was replaced is looked at again.
    file: Stamp,
    /// The part that was looked at, where it was not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crop: Option<CropBox>,
    /// By which it is known under another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    /// One a class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    probabilities: Vec<f32>,
    truncated: bool,
    /// Why there are no probabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// How far the output is that the lines before it are for.
#[derive(Serialize, Deserialize)]
struct Mark {
    /// Whether it is all there; else it was begun.
    written: bool,
    /// What the output depends on besides the answers.
    call: String,
    /// How many photos it is of.
    photos: usize,
}

/// Bytes and time of change (nanoseconds since 1970), in a bucket what the version is known by; none where the file can't be
/// asked.
type Stamp = Option<(u64, u64)>;

/// An open journal.
pub(super) struct Journal {
    path: PathBuf,
    file: BufWriter<File>,
    synced: Instant,
    lines: Lines,
    /// Each photo's file as it was before it was looked at.
    stamps: Vec<Stamp>,
    end: u64,
}

/// What is known of the output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// Nothing, or it is of another call or of earlier answers.
    Other,
    /// This very call has begun to write it.
    Begun,
    /// It is written.
    Written,
}

/// Where lines begin.
#[derive(Default)]
struct Lines {
    /// Of each item, by its place among them.
    of: Vec<Option<u64>>,
    /// Of photos that are no item any more, by what their files hold and by the part looked at, as text.
    others: HashMap<(Digest, Option<String>), u64>,
    /// How many bytes those files have.
    sizes: HashSet<u64>,
    /// Where no answer came after it.
    mark: Option<Mark>,
}

impl Journal {
    /// The journal of `out`.
    pub(super) fn path(out: &Path) -> PathBuf {
        let mut name = out.file_name().map_or_else(OsString::new, ToOwned::to_owned);
        name.push(".journal");
        out.with_file_name(name)
    }

    /// Opens the journal of `out`, or begins it. `who` answers, with so many `classes`: a journal of anybody else is refused,
    /// unless it is to be replaced. Photos that could not be read are missing again if they are to be `retried`.
    pub(super) fn open(
        out: &Path,
        who: &str,
        classes: usize,
        items: &[Item],
        replace: bool,
        retried: bool,
    ) -> anyhow::Result<Self> {
        let path = Self::path(out);
        let context = || format!("cannot write {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(context)?;
        // Some network file systems have no locks; Windows's would keep the journal from being read.
        if cfg!(unix)
            && let Err(TryLockError::WouldBlock) = file.try_lock()
        {
            return Err(WrongCall::new(format!("another call is writing {}", path.display()))
                .with_hint("wait for it, or name another `--out`")
                .into());
        }
        let stamps: Vec<Stamp> = items.iter().map(stamp).collect();
        let mut lines = Lines { of: vec![None; items.len()], ..Lines::default() };
        let found = lines.find(&mut file, who, classes, items, &stamps, retried).with_context(context)?;
        if let Found::Foreign = found {
            return Err(WrongCall::new(format!("{} is in the way and is no journal", path.display()))
                .with_hint("move it, or name another `--out`")
                .into());
        }
        if let Found::Nothing | Found::Other = found {
            if matches!(found, Found::Other) && !replace {
                return Err(WrongCall::new(format!("{} has the answers of another model", path.display()))
                    .with_hint("`--overwrite` begins anew, another `--out` keeps both")
                    .into());
            }
            if file.metadata().with_context(context)?.len() > 0 {
                file.set_len(0).with_context(context)?;
            }
            file.seek(SeekFrom::Start(0)).with_context(context)?;
            file.write_all(format!("{who}\n").as_bytes()).with_context(context)?;
        }
        let end = if let Found::Until(end) = found { end } else { who.len() as u64 + 1 };
        file.set_len(end).with_context(context)?;
        file.seek(SeekFrom::Start(end)).with_context(context)?;
        Ok(Self { path, file: BufWriter::new(file), synced: Instant::now(), lines, stamps, end })
    }

    /// Items that are not in it, by their place.
    pub(super) fn missing(&self) -> Vec<usize> {
        (0..self.lines.of.len()).filter(|&place| self.lines.of[place].is_none()).collect()
    }

    /// Finds missing items that are in it under another name, by the content of their files. `go_on` is told how many of
    /// the missing ones were looked at, and may end it.
    pub(super) fn recognise(
        &mut self,
        items: &[Item],
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> anyhow::Result<()> {
        for (looked_at, place) in self.missing().into_iter().enumerate() {
            if self.lines.others.is_empty() || !go_on(looked_at) {
                break;
            }
            let Some((bytes, _)) = self.stamps[place] else { continue };
            if !self.lines.sizes.contains(&bytes) {
                continue;
            }
            // One that can't be read will say so when it is looked at.
            let Ok(digest) = Digest::of_file(&items[place].path) else { continue };
            if let Some(&at) = self.lines.others.get(&(digest, as_text(items[place].crop.as_deref()))) {
                let line = self.read(at)?;
                let (id, file) = (items[place].id.clone(), self.stamps[place]);
                self.append(place, &Line { id, file, ..line })?;
            }
        }
        Ok(())
    }

    /// Adds the answer to an item, the one at `place`.
    pub(super) fn add(&mut self, place: usize, item: &Item, prediction: Prediction) -> anyhow::Result<()> {
        let Prediction { id, outcome, truncated, digest, .. } = prediction;
        let (probabilities, reason) = match outcome {
            // JSON has no such numbers.
            Ok(row) if row.iter().any(|value| !value.is_finite()) => {
                (Vec::new(), Some("the model's answer is not a number".to_owned()))
            }
            Ok(row) => (row, None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        let (file, crop, sha256) = (self.stamps[place], item.crop.as_deref().copied(), digest);
        let line = Line { id, file, crop, sha256, probabilities, truncated, reason };
        self.append(place, &line)
    }

    /// What is known of the output of such a call. Of `fewer` photos it may be whose others were moved away since.
    pub(super) fn output(&self, call: &str, photos: usize, fewer: bool) -> Output {
        match &self.lines.mark {
            Some(mark) if mark.call != call => Output::Other,
            Some(mark) if mark.photos == photos || (fewer && mark.written && mark.photos > photos) => {
                if mark.written { Output::Written } else { Output::Begun }
            }
            _ => Output::Other,
        }
    }

    /// Marks the output as begun or as written.
    pub(super) fn mark(&mut self, call: &str, photos: usize, written: bool) -> anyhow::Result<()> {
        let mark = Mark { written, call: call.to_owned(), photos };
        self.line(&serde_json::to_string(&mark)?)?;
        self.lines.mark = Some(mark);
        Ok(())
    }

    fn append(&mut self, place: usize, line: &Line) -> anyhow::Result<()> {
        let at = self.line(&serde_json::to_string(line)?)?;
        self.lines.of[place] = Some(at);
        self.lines.mark = None;
        Ok(())
    }

    /// Adds a line and gives its place.
    fn line(&mut self, line: &str) -> anyhow::Result<u64> {
        let at = self.end;
        let mut write = || {
            self.file.write_all(line.as_bytes())?;
            self.file.write_all(b"\n")?;
            // A kill takes what is in this process; the disk waits for the next turn.
            self.file.flush()?;
            if self.synced.elapsed() > SYNC {
                self.file.get_ref().sync_data()?;
                self.synced = Instant::now();
            }
            io::Result::Ok(())
        };
        write().with_context(|| format!("cannot write {}: what is in it is kept", self.path.display()))?;
        self.end += line.len() as u64 + 1;
        Ok(at)
    }

    fn read(&self, at: u64) -> anyhow::Result<Line> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(at))?;
        let mut text = String::new();
        BufReader::new(file).read_line(&mut text)?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Hands over the answers to all items that are in it, in their order.
    pub(super) fn predictions(
        &self,
        items: &[Item],
        on: &mut dyn FnMut(Prediction) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let context = || format!("cannot read {}", self.path.display());
        let mut file = BufReader::new(File::open(&self.path).with_context(context)?);
        let mut at = 0;
        let mut text = String::new();
        for (item, &place) in items.iter().zip(&self.lines.of) {
            let Some(place) = place else { continue };
            file.seek_relative(place as i64 - at as i64).with_context(context)?;
            text.clear();
            at = place + file.read_line(&mut text).with_context(context)? as u64;
            let line: Line = serde_json::from_str(&text).with_context(context)?;
            if line.id != item.id {
                return Err(WrongCall::new(format!("{} has changed meanwhile", self.path.display()))
                    .with_hint("something else writes it; delete it to begin anew")
                    .into());
            }
            on(Prediction {
                id: line.id,
                path: item.path.clone(),
                class: None,
                outcome: line.reason.map_or(Ok(line.probabilities), Err),
                truncated: line.truncated,
                digest: line.sha256,
            })?;
        }
        Ok(())
    }

    /// Of what is in it.
    pub(super) fn count(&self, items: &[Item]) -> anyhow::Result<Count> {
        let mut count = Count::default();
        self.predictions(items, &mut |prediction| {
            count.add(&prediction);
            Ok(())
        })?;
        Ok(count)
    }
}

/// What a journal is.
enum Found {
    /// Empty, or a beginning that was cut off.
    Nothing,
    /// Another model's.
    Other,
    /// A file that pugmark has not written.
    Foreign,
    /// The same one's, whole up to there.
    Until(u64),
}

impl Lines {
    /// Finds the lines of a journal of `who`.
    fn find(
        &mut self,
        file: &mut File,
        who: &str,
        classes: usize,
        items: &[Item],
        stamps: &[Stamp],
        retried: bool,
    ) -> io::Result<Found> {
        let numbers: HashMap<&str, usize> =
            items.iter().enumerate().map(|(place, item)| (item.id.as_str(), place)).collect();
        let mut reader = BufReader::new(file);
        let mut first = Vec::new();
        reader.by_ref().take(who.len() as u64 + 1).read_to_end(&mut first)?;
        if first.strip_suffix(b"\n") != Some(who.as_bytes()) {
            return Ok(match first {
                _ if who.as_bytes().starts_with(&first) => Found::Nothing,
                _ if first.starts_with(b"{\"pugmark\":") => Found::Other,
                _ => Found::Foreign,
            });
        }
        let mut end = first.len() as u64;
        loop {
            let mut bytes = Vec::new();
            reader.read_until(b'\n', &mut bytes)?;
            if bytes.last() != Some(&b'\n') {
                return Ok(Found::Until(end));
            }
            let at = end;
            end += bytes.len() as u64;
            self.mark = serde_json::from_slice(&bytes).ok();
            // Marks, and what a broken disk has left: photos without an answer are looked at.
            let Ok(line) = serde_json::from_slice::<Line>(&bytes) else { continue };
            if line.reason.is_none() && line.probabilities.len() != classes {
                continue;
            }
            let same = |&&place: &&usize| {
                line.file == stamps[place] && line.crop.as_ref() == items[place].crop.as_deref()
            };
            let place = numbers.get(line.id.as_str()).filter(same);
            match (place, line.file.zip(line.sha256)) {
                _ if retried && line.reason.is_some() => {}
                (Some(&place), _) => self.of[place] = Some(at),
                (None, Some(((size, _), digest))) => {
                    self.others.insert((digest, as_text(line.crop.as_ref())), at);
                    self.sizes.insert(size);
                }
                (None, None) => {}
            }
        }
    }
}

fn as_text(crop: Option<&CropBox>) -> Option<String> {
    crop.map(|crop| format!("{crop:?}"))
}

fn stamp(item: &Item) -> Stamp {
    if let Some(Stored::Object(object)) = &item.stored {
        let entry = object.entry();
        let version = entry.etag.as_deref().map_or(0, |etag| Digest::of(etag.as_bytes()).short());
        return Some((entry.size, version));
    }
    let facts = fs::metadata(&item.path).ok()?;
    let changed = facts.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((facts.len(), changed.as_nanos() as u64))
}
