//! One pass over photo files: each is read and decoded once, and small facts about it are kept.

mod format;
mod hash;
mod picture;

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::exif::{ExifFacts, TimeTag};
use crate::photo::{Limits, PhotoError, decode};
use crate::time::CaptureTime;

pub use format::PhotoFormat;
pub use hash::PerceptualHash;
pub use picture::{PictureFacts, STATISTICS};

/// How to look at photos.
#[derive(Clone, Debug)]
pub struct ScanSettings {
    /// Threads that read and decode, at least one; each holds one photo at a time.
    pub threads: usize,
    /// What is not decoded.
    pub limits: Limits,
    /// Take the date of the file for the capture time of a photo that does not say it itself.
    pub file_dates: bool,
}

/// What is wrong with a photo file.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
#[serde(tag = "problem", content = "reason", rename_all = "snake_case")]
pub enum Problem {
    /// There is no such file.
    Missing,
    /// It has no bytes.
    Empty,
    /// Nothing of it can be decoded, in a sentence.
    Undecodable(String),
    /// It ends early or is damaged on the way; a part of the picture is there.
    Truncated,
}

/// What a pass over one photo file found.
#[derive(Clone, PartialEq, Debug)]
pub struct PhotoFacts {
    /// Size of the file; 0 where there is none.
    pub bytes: u64,
    /// SHA-256 of the bytes; none where they could not be read, or are none.
    pub content: Option<[u8; 32]>,
    /// What the content is.
    pub format: Option<PhotoFormat>,
    /// Whether the name ends as that of another format.
    pub wrong_extension: bool,
    /// What the camera wrote.
    pub exif: ExifFacts,
    /// What the picture looks like; none where it cannot be decoded.
    pub picture: Option<PictureFacts>,
    /// What is wrong with the file.
    pub problem: Option<Problem>,
}

impl PhotoFacts {
    /// Looks at one photo file.
    pub fn of_file(path: &Path, settings: &ScanSettings) -> Self {
        let mut facts = Self {
            bytes: 0,
            content: None,
            format: None,
            wrong_extension: false,
            exif: ExifFacts::default(),
            picture: None,
            problem: None,
        };
        facts.problem = match facts.look(path, &settings.limits) {
            Ok(problem) => problem,
            Err(PhotoError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Some(Problem::Missing),
            Err(PhotoError::Empty) => Some(Problem::Empty),
            Err(error) => Some(Problem::Undecodable(error.reason())),
        };
        if settings.file_dates && facts.exif.time.is_none() {
            facts.exif.time = file_date(path).map(|time| (time, TimeTag::File));
        }
        facts
    }

    fn look(&mut self, path: &Path, limits: &Limits) -> Result<Option<Problem>, PhotoError> {
        let metadata = fs::metadata(path)?;
        // A pipe would wait for ever.
        if !metadata.is_file() {
            return Err(PhotoError::NotAFile);
        }
        self.bytes = metadata.len();
        if self.bytes > limits.max_bytes {
            return Err(PhotoError::TooManyBytes { bytes: self.bytes, max_bytes: limits.max_bytes });
        }
        let bytes = fs::read(path)?;
        self.bytes = bytes.len() as u64;
        if bytes.is_empty() {
            return Err(PhotoError::Empty);
        }
        self.content = Some(Sha256::digest(&bytes).into());
        self.format = PhotoFormat::of(&bytes);
        self.wrong_extension = self.format.is_some_and(|format| format.contradicts(path));
        self.exif = ExifFacts::read(&bytes);
        let photo = decode(&bytes, limits)?;
        self.picture = Some(PictureFacts::of(&photo));
        Ok(photo.truncated.then_some(Problem::Truncated))
    }
}

/// When a file was last written, in UTC.
fn file_date(path: &Path) -> Option<CaptureTime> {
    let written = DateTime::<Utc>::from(fs::metadata(path).ok()?.modified().ok()?);
    Some(CaptureTime { local: written.naive_utc(), offset_minutes: Some(0) })
}

/// How far a scan has come.
#[derive(Clone, Copy, Debug)]
pub struct ScanProgress {
    /// Photos that were looked at.
    pub photos: usize,
    /// Bytes of their files.
    pub bytes: u64,
}

/// Looks at every file of `paths`, in parallel; the facts are in the order of the paths whatever the number of threads.
///
/// `progress` is told after each photo and may break the pass off, which then gives nothing. What is held is one
/// photo a thread and some 300 bytes for each that was seen.
pub fn scan<P: AsRef<Path> + Sync>(
    paths: &[P],
    settings: &ScanSettings,
    progress: &mut dyn FnMut(ScanProgress) -> ControlFlow<()>,
) -> Option<Vec<PhotoFacts>> {
    let threads = settings.threads.clamp(1, paths.len().max(1));
    let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut found: Vec<Option<PhotoFacts>> = Vec::new();
    found.resize_with(paths.len(), || None);
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(threads);
        for _ in 0..threads {
            let sender = sender.clone();
            let (next, stopped) = (&next, &stopped);
            scope.spawn(move || {
                while !stopped.load(Ordering::Relaxed)
                    && let index = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(path) = paths.get(index)
                {
                    let facts = PhotoFacts::of_file(path.as_ref(), settings);
                    if sender.send((index, facts)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut done = ScanProgress { photos: 0, bytes: 0 };
        for (index, facts) in receiver {
            done.photos += 1;
            done.bytes += facts.bytes;
            found[index] = Some(facts);
            if progress(done).is_break() {
                // Leaving the loop drops the receiver, so that no thread waits to send.
                stopped.store(true, Ordering::Relaxed);
                break;
            }
        }
    });
    if stopped.into_inner() { None } else { found.into_iter().collect() }
}
