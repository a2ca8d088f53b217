//! Writing files whole or not at all.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::FormatError;
use crate::error::DataError;

/// Told how many photos are done; false ends the work.
pub type Step<'a> = dyn FnMut(usize) -> bool + 'a;

/// Photos between two calls of a [`Step`].
const EVERY: usize = 1024;

/// Counts the photos that are written and asks now and then whether to go on.
pub(super) struct Watch<'a, 'b> {
    photos: Cell<usize>,
    stopped: Cell<bool>,
    step: RefCell<&'a mut Step<'b>>,
}

impl<'a, 'b> Watch<'a, 'b> {
    pub(super) fn new(step: &'a mut Step<'b>) -> Self {
        Self { photos: Cell::new(0), stopped: Cell::new(false), step: RefCell::new(step) }
    }

    /// One photo more. After a request to stop, the next write fails.
    pub(super) fn one_more(&self) {
        let photos = self.photos.get() + 1;
        self.photos.set(photos);
        if photos.is_multiple_of(EVERY) && !(self.step.borrow_mut())(photos) {
            self.stopped.set(true);
        }
    }
}

/// A file that takes nothing more once the work was stopped.
pub(super) struct Watched<'a> {
    file: File,
    stopped: &'a Cell<bool>,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stopped.get() { Err(io::Error::other("stopped")) } else { self.file.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The file that a writer fills.
pub(super) type Out<'a> = BufWriter<Watched<'a>>;

/// The folder a file is in.
pub(super) fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Writes a file: under a temporary name, synced, then renamed. Whatever happens, `path` is whole or as it was.
pub(super) fn write_file(
    path: &Path,
    watch: &Watch<'_, '_>,
    write: impl FnOnce(&mut Out<'_>) -> io::Result<()>,
) -> Result<(), DataError> {
    let failed = |source| match watch.stopped.get() {
        true => DataError::from(FormatError::Interrupted { path: path.to_owned() }),
        false => FormatError::Write { path: path.to_owned(), source }.into(),
    };
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?);
    name.push(".new");
    let temporary = path.with_file_name(name);
    let fill = || {
        let file = Watched { file: File::create(&temporary)?, stopped: &watch.stopped };
        let mut file = BufWriter::with_capacity(1 << 16, file);
        write(&mut file)?;
        file.flush()?;
        file.get_ref().file.sync_all()?;
        fs::rename(&temporary, path)
    };
    fill().map_err(|error| {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
        failed(error)
    })?;
    // The rename itself is to last through a power cut; only Unix lets a folder be synced.
    if cfg!(unix) {
        File::open(folder_of(path)).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    Ok(())
}

/// [`write_file`] for a CSV.
pub(super) fn write_csv(
    path: &Path,
    watch: &Watch<'_, '_>,
    write: impl FnOnce(&mut csv::Writer<&mut Out<'_>>) -> csv::Result<()>,
) -> Result<(), DataError> {
    write_file(path, watch, |file| {
        let mut csv = csv::Writer::from_writer(file);
        write(&mut csv)?;
        csv.flush()
    })
}
