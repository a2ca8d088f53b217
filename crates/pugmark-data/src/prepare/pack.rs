//! From photos to shards: threads that read, threads that decode, and one that writes in order.
//!
//! Photo `i` is decoded by thread `i % threads` and read for it by one of that thread's own readers, each in turn. Every hand
//! over is a channel of one, so that the order comes without sorting and memory does not grow with the number of photos.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::form::Packed;
use super::input::Origin;
use super::listing::{Described, FileRead, Listing, Outcome, Row, object_version};
use super::plan::Shard;
use super::tar::Tar;
use super::{PrepareError, PrepareSettings, Progress};
use crate::formats::CropBox;
use crate::photo::PhotoError;
use crate::storage::{Spool, Storage, StorageError};

/// Readers for each thread that decodes: a disk answers at once, a bucket after a tenth of a second.
const READERS_OF_DISK: usize = 1;
const READERS_OF_BUCKET: usize = 8;

pub(super) struct Packer<'a> {
    pub(super) out: &'a Storage,
    pub(super) settings: &'a PrepareSettings,
    pub(super) stop: &'a AtomicBool,
    pub(super) progress: &'a mut Progress,
    pub(super) observe: &'a mut dyn FnMut(&Progress),
}

/// A photo that was read: its size, version and bytes, or why there are none; and the part of it that is wanted.
type Read = Result<(FileRead, Option<CropBox>), StorageError>;

/// A photo that was decoded.
struct Done {
    size: u64,
    version: String,
    packed: Result<Packed, String>,
}

/// A shard that is being written.
struct Open {
    tar: Tar<Spool>,
    rows: Vec<Row>,
}

impl Packer<'_> {
    /// Makes shards, in order; `on` gets the place of each in `shards` and its listing, once it is there. Breaks off where
    /// it was stopped.
    pub(super) fn pack(
        &mut self,
        shards: &[&Shard<'_>],
        on: &mut dyn FnMut(usize, Listing),
    ) -> Result<ControlFlow<()>, PrepareError> {
        let photos: Vec<&(Described, &Origin)> = shards.iter().flat_map(|shard| &shard.photos).collect();
        let threads = self.settings.threads.clamp(1, photos.len().max(1));
        let remote = photos.iter().any(|(_, origin)| matches!(origin, Origin::Object { .. }));
        let readers = if remote { READERS_OF_BUCKET } else { READERS_OF_DISK };
        thread::scope(|scope| {
            let (photos, settings, stop) = (&photos, self.settings, self.stop);
            let decoded: Vec<Receiver<Result<Done, StorageError>>> = (0..threads)
                .map(|thread| {
                    let read: Vec<Receiver<Read>> = (0..readers)
                        .map(|reader| {
                            let (sender, receiver) = sync_channel(1);
                            let turns = (thread + reader * threads..photos.len()).step_by(threads * readers);
                            scope
                                .spawn(move || read_all(turns.map(|at| photos[at]), settings, stop, &sender));
                            receiver
                        })
                        .collect();
                    let (sender, receiver) = sync_channel(1);
                    scope.spawn(move || decode_all(&read, settings, &sender));
                    receiver
                })
                .collect();
            self.write(shards, &decoded, on)
        })
    }

    fn write(
        &mut self,
        shards: &[&Shard<'_>],
        decoded: &[Receiver<Result<Done, StorageError>>],
        on: &mut dyn FnMut(usize, Listing),
    ) -> Result<ControlFlow<()>, PrepareError> {
        let mut turns = decoded.iter().cycle();
        for (at, shard) in shards.iter().enumerate() {
            let mut open = Open { tar: Tar::new(self.out.spool(&shard.tar())?), rows: Vec::new() };
            for (photo, _) in &shard.photos {
                let done = turns.next().and_then(|receiver| receiver.recv().ok());
                // Readers end early when they are stopped.
                let (Some(done), false) = (done, self.stop.load(Ordering::Relaxed)) else {
                    return Ok(ControlFlow::Break(()));
                };
                let done = done?;
                self.count(&done);
                self.add(&mut open, shard, photo, done)?;
                (self.observe)(self.progress);
            }
            on(at, self.publish(open, shard)?);
            (self.observe)(self.progress);
        }
        Ok(ControlFlow::Continue(()))
    }

    fn count(&mut self, done: &Done) {
        self.progress.done += 1;
        self.progress.bytes_read += done.size;
        match &done.packed {
            Err(_) => self.progress.broken += 1,
            Ok(packed) => self.progress.truncated += usize::from(packed.truncated),
        }
    }

    fn add(
        &self,
        open: &mut Open,
        shard: &Shard<'_>,
        photo: &Described,
        done: Done,
    ) -> Result<(), PrepareError> {
        let Done { size: source_bytes, version, packed } = done;
        let outcome = match packed {
            Err(reason) => Outcome::Broken { reason },
            Ok(packed) => {
                let extension = self.settings.form.extension();
                let offset = add_to(&mut open.tar, photo, extension, &packed.bytes)
                    .map_err(|error| self.io(shard, error))?;
                let Packed { width, height, truncated, bytes, header } = packed;
                let (offset, bytes) = (offset + header as u64, (bytes.len() - header) as u64);
                Outcome::Packed { width, height, truncated, offset, bytes }
            }
        };
        open.rows.push(Row { photo: photo.clone(), source_bytes, version, outcome });
        Ok(())
    }

    /// The shard appears, then its listing: a shard without one is made again.
    fn publish(&mut self, open: Open, shard: &Shard<'_>) -> Result<Listing, PrepareError> {
        let (mut spool, bytes, sha256) = open.tar.end().map_err(|error| self.io(shard, error))?;
        spool.flush().map_err(|error| self.io(shard, error))?;
        // One of an earlier version of the photos must not be taken for this shard's.
        self.out.delete(&shard.listing())?;
        spool.finish()?;
        let form = self.settings.form.clone();
        let listing = Listing { name: shard.name.clone(), form, bytes, sha256, photos: open.rows };
        self.out.write(&shard.listing(), listing.to_json().as_bytes())?;
        self.progress.bytes_written += bytes;
        self.progress.shards_written += 1;
        Ok(listing)
    }

    fn io(&self, shard: &Shard<'_>, source: io::Error) -> StorageError {
        StorageError::Io { path: self.out.place(&shard.tar()).into(), source }
    }
}

/// Packs a photo: its file, its class and what is known of it, which WebDataset's readers take together by the key. The
/// offset of its file.
fn add_to(tar: &mut Tar<Spool>, photo: &Described, extension: &str, bytes: &[u8]) -> io::Result<u64> {
    let name = |extension: &str| format!("{}.{extension}", photo.key);
    let offset = tar.add(&name(extension), bytes)?;
    if let Some(class) = photo.class {
        tar.add(&name("cls"), class.to_string().as_bytes())?;
    }
    tar.add(&name("json"), serde_json::to_string(photo)?.as_bytes())?;
    Ok(offset)
}

fn read_all<'a>(
    photos: impl Iterator<Item = &'a (Described, &'a Origin)>,
    settings: &PrepareSettings,
    stop: &AtomicBool,
    sender: &SyncSender<Read>,
) {
    for (photo, origin) in photos {
        // The other end hangs up when something failed.
        let read = || read(origin, settings).map(|read| (read, photo.crop));
        if stop.load(Ordering::Relaxed) || sender.send(read()).is_err() {
            return;
        }
    }
}

fn read(origin: &Origin, settings: &PrepareSettings) -> Result<FileRead, StorageError> {
    let limits = &settings.limits;
    match origin {
        Origin::File(path) => Ok(FileRead::new(path, limits)),
        Origin::Object { storage, entry } => {
            let version = object_version(entry.etag.as_deref());
            let bytes = if entry.size > limits.max_bytes {
                let (bytes, max_bytes) = (entry.size, limits.max_bytes);
                Err(PhotoError::TooManyBytes { bytes, max_bytes }.reason())
            } else {
                Ok(storage.read_version(&entry.key, entry.etag.as_deref())?)
            };
            Ok(FileRead { size: entry.size, version, bytes })
        }
    }
}

fn decode_all(
    read: &[Receiver<Read>],
    settings: &PrepareSettings,
    sender: &SyncSender<Result<Done, StorageError>>,
) {
    for receiver in read.iter().cycle() {
        let Ok(read) = receiver.recv() else { return };
        let done = read.map(|(FileRead { size, version, bytes }, crop)| {
            let packed = bytes.and_then(|bytes| {
                let packed = settings.form.apply(&bytes, crop.as_ref(), &settings.limits);
                packed.map_err(|error| error.reason())
            });
            Done { size, version, packed }
        });
        if sender.send(done).is_err() {
            return;
        }
    }
}
