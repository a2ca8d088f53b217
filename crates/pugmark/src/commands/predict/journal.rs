//! The journal of a prediction: what is done is on disk, so that the same call goes on where it was after any kill.
//!
//! One JSON object a line: first who answers, then a line for each photo. A kill leaves at most half a line, which is cut off.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::Context;
use pugmark_data::Item;
use pugmark_model::Prediction;
use serde::{Deserialize, Serialize};

use super::Count;
use crate::error::WrongCall;

/// How long answers may wait for the disk: that much work is done again after a power cut. A kill loses less.
const SYNC: Duration = Duration::from_secs(1);

/// A photo's line. The row is what the output has of it.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    id: &'a str,
    /// Bytes and time of change of the file: a photo that was replaced is looked at again.
    file: Stamp,
    row: &'a str,
    broken: bool,
    truncated: bool,
}

/// As [`Line`], read.
#[derive(Deserialize)]
struct Owned {
    id: String,
    file: Stamp,
    row: String,
    broken: bool,
    truncated: bool,
}

/// An open journal.
pub(super) struct Journal {
    path: PathBuf,
    file: BufWriter<File>,
    synced: Instant,
    /// Where each photo's line is, by its place among the items.
    places: Vec<Option<u64>>,
    /// Each photo's file as it was before it was looked at.
    stamps: Vec<Stamp>,
    end: u64,
    /// Of what is in it.
    pub(super) count: Count,
}

impl Journal {
    /// The journal of `out`.
    pub(super) fn path(out: &Path) -> PathBuf {
        let mut name = out.file_name().map_or_else(OsString::new, ToOwned::to_owned);
        name.push(".journal");
        out.with_file_name(name)
    }

    /// Opens the journal of `out`, or begins it. `who` answers: a journal of anybody else is refused, unless it is to be
    /// replaced.
    pub(super) fn open(out: &Path, who: &str, items: &[Item], replace: bool) -> anyhow::Result<Self> {
        let path = Self::path(out);
        let context = || format!("cannot write {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(context)?;
        let stamps: Vec<Stamp> = items.iter().map(stamp).collect();
        let mut places = vec![None; items.len()];
        let mut count = Count::default();
        let found = known(&mut file, who, items, &stamps, &mut places, &mut count).with_context(context)?;
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
        Ok(Self { path, file: BufWriter::new(file), synced: Instant::now(), places, stamps, end, count })
    }

    /// Items that are not in it, by their place.
    pub(super) fn missing(&self) -> Vec<usize> {
        (0..self.places.len()).filter(|&place| self.places[place].is_none()).collect()
    }

    /// Adds the answer to the item at `place`.
    pub(super) fn add(&mut self, place: usize, row: &str, prediction: &Prediction) -> anyhow::Result<()> {
        let (broken, truncated) = (prediction.outcome.is_err(), prediction.truncated);
        let file = self.stamps[place];
        let mut line = serde_json::to_string(&Line { id: &prediction.id, file, row, broken, truncated })?;
        line.push('\n');
        let mut write = || {
            self.file.write_all(line.as_bytes())?;
            // A kill takes what is in this process; the disk waits for the next turn.
            self.file.flush()?;
            if self.synced.elapsed() > SYNC {
                self.file.get_ref().sync_data()?;
                self.synced = Instant::now();
            }
            io::Result::Ok(())
        };
        write().with_context(|| format!("cannot write {}: what is in it is kept", self.path.display()))?;
        self.places[place] = Some(self.end);
        self.end += line.len() as u64;
        self.count.add(broken, truncated);
        Ok(())
    }

    /// Writes the rows of all items that are in it, in their order.
    pub(super) fn rows(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let mut file = BufReader::new(File::open(&self.path)?);
        let mut at = 0;
        let mut text = String::new();
        for &place in self.places.iter().flatten() {
            file.seek_relative(place as i64 - at as i64)?;
            text.clear();
            at = place + file.read_line(&mut text)? as u64;
            let line: Owned = serde_json::from_str(&text)?;
            writeln!(out, "{}", line.row)?;
        }
        Ok(())
    }

    /// Removes it: everything in it is in the output.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        fs::remove_file(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))
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

/// Reads what is in a journal of `who`.
fn known(
    file: &mut File,
    who: &str,
    items: &[Item],
    stamps: &[Stamp],
    places: &mut [Option<u64>],
    count: &mut Count,
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
        let Ok(line) = serde_json::from_slice::<Owned>(&bytes) else { return Ok(Found::Until(end)) };
        if bytes.last() != Some(&b'\n') {
            return Ok(Found::Until(end));
        }
        if let Some(&place) = numbers.get(line.id.as_str())
            && places[place].is_none()
            && line.file == stamps[place]
        {
            places[place] = Some(end);
            count.add(line.broken, line.truncated);
        }
        end += bytes.len() as u64;
    }
}

/// Bytes and time of change (nanoseconds since 1970); none where the file can't be asked.
type Stamp = Option<(u64, u64)>;

fn stamp(item: &Item) -> Stamp {
    let facts = fs::metadata(&item.path).ok()?;
    let changed = facts.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((facts.len(), changed.as_nanos() as u64))
}
