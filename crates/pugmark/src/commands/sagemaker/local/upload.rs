//! Checkpoints on their way to S3 and back.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;
use pugmark_model::write_atomic_with;

use super::tree::keys;

/// What tells that a file is another one.
type Stamp = (u64, Option<SystemTime>);

/// A folder of an instance whose files are copied to S3 as they change, each whole or not at all. What is deleted here is
/// deleted there.
#[derive(Debug)]
pub(super) struct Upload {
    local: PathBuf,
    remote: PathBuf,
    known: BTreeMap<String, Stamp>,
}

impl Upload {
    /// Copies what is in S3 down, as the platform does before a container starts.
    pub(super) fn begin(local: PathBuf, remote: PathBuf) -> anyhow::Result<Self> {
        let down = || -> io::Result<BTreeMap<String, Stamp>> {
            fs::create_dir_all(&remote)?;
            let mut known = BTreeMap::new();
            for key in keys(&remote)? {
                let to = local.join(&key);
                fs::create_dir_all(to.parent().unwrap_or(&local))?;
                fs::copy(remote.join(&key), &to)?;
                known.insert(key, stamp(&fs::metadata(&to)?));
            }
            Ok(known)
        };
        let known = down().with_context(|| format!("cannot copy {} down", remote.display()))?;
        Ok(Self { local, remote, known })
    }

    /// Copies what is new or has changed, and deletes what is gone.
    pub(super) fn pass(&mut self) -> anyhow::Result<()> {
        self.copy().with_context(|| format!("cannot copy {} to S3's folder", self.local.display()))
    }

    fn copy(&mut self) -> io::Result<()> {
        let mut seen = BTreeMap::new();
        for key in keys(&self.local)? {
            // Replaced or deleted meanwhile: the next pass sees to it.
            let Some((file, stamp)) = open(&self.local.join(&key))? else { continue };
            if self.known.get(&key) != Some(&stamp) {
                copy_whole(file, &self.remote.join(&key))?;
            }
            seen.insert(key, stamp);
        }
        for gone in self.known.keys().filter(|key| !seen.contains_key(*key)) {
            match fs::remove_file(self.remote.join(gone)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.known = seen;
        Ok(())
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.len(), metadata.modified().ok())
}

fn open(path: &Path) -> io::Result<Option<(File, Stamp)>> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        file => {
            let file = file?;
            let stamp = stamp(&file.metadata()?);
            Ok(Some((file, stamp)))
        }
    }
}

fn copy_whole(mut file: File, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    write_atomic_with(to, |copy| io::copy(&mut file, copy).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_copied_changed_and_deleted() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::create_dir_all(path("s3/run")).unwrap();
        fs::create_dir(path("local")).unwrap();
        fs::write(path("s3/run/old"), "old").unwrap();
        let mut upload = Upload::begin(path("local"), path("s3")).unwrap();
        assert_eq!(fs::read_to_string(path("local/run/old")).unwrap(), "old");
        fs::write(path("local/run/new"), "new").unwrap();
        upload.pass().unwrap();
        assert_eq!(keys(&path("s3")).unwrap(), ["run/new", "run/old"]);
        fs::write(path("local/run/new"), "newer").unwrap();
        fs::remove_file(path("local/run/old")).unwrap();
        // What others put there is not the job's.
        fs::write(path("s3/run/other"), "other").unwrap();
        upload.pass().unwrap();
        assert_eq!(keys(&path("s3")).unwrap(), ["run/new", "run/other"]);
        assert_eq!(fs::read_to_string(path("s3/run/new")).unwrap(), "newer");
    }
}
