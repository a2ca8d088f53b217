//! What an instance sees: `opt/ml` in a folder of its own.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use crate::error::WrongCall;

/// What the tree stands for.
pub(super) const ML: &str = "/opt/ml";

/// An instance's folder.
#[derive(Debug)]
pub(super) struct Tree {
    /// `algo-1` and so on.
    pub(super) host: String,
    /// Where the container is at home.
    pub(super) folder: PathBuf,
    /// What stands for `/opt/ml`.
    pub(super) base: PathBuf,
}

impl Tree {
    /// The tree of a new instance of a job, with these folders in `/opt/ml`.
    pub(super) fn create(job: &Path, host: &str, folders: &[&str]) -> anyhow::Result<Self> {
        let folder = job.join(host);
        let tree = Self { host: host.to_owned(), base: folder.join("opt/ml"), folder };
        for folder in folders {
            let path = tree.base.join(folder);
            fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        Ok(tree)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    pub(super) fn write_json(&self, name: &str, value: &Value) -> anyhow::Result<()> {
        let path = self.path(name);
        let write = || fs::write(&path, serde_json::to_vec(value)?);
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Links an input to `name` in the tree: a folder as it is, a file as the only one of its folder.
    pub(super) fn link(&self, name: &str, input: &Path) -> anyhow::Result<()> {
        let place = self.path(name);
        let link = || match (input.is_dir(), input.file_name()) {
            (false, Some(file)) => {
                fs::create_dir_all(&place)?;
                symlink(input, place.join(file))
            }
            _ => symlink(input, &place),
        };
        link().with_context(|| format!("cannot link {} to {}", input.display(), place.display()))
    }

    /// Links some objects of an input to `name` in the tree.
    pub(super) fn link_objects<'a>(
        &self,
        name: &str,
        input: &Path,
        keys: impl Iterator<Item = &'a String>,
    ) -> anyhow::Result<()> {
        let place = self.path(name);
        fs::create_dir_all(&place)?;
        for key in keys {
            let path = place.join(key);
            let link = || {
                fs::create_dir_all(path.parent().unwrap_or(&place))?;
                symlink(input.join(key), &path)
            };
            link().with_context(|| format!("cannot link {}", path.display()))?;
        }
        Ok(())
    }

    /// The bytes of a file, where it is there.
    pub(super) fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path(name)).ok()
    }

    /// What the container says, as it would say it on the platform.
    pub(super) fn said(&self, text: &str) -> String {
        text.replace(&*self.base.to_string_lossy(), ML)
    }

    /// Throws the instance away; what it links to stays.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.folder.display()))
            }
            _ => Ok(()),
        }
    }
}

/// An input by its name in the tree.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) name: String,
    /// Absolute, without links.
    pub(super) path: PathBuf,
}

/// The inputs that a flag names, each once and there.
pub(super) fn inputs(flag: &str, given: &[(String, PathBuf)]) -> Result<Vec<Input>, WrongCall> {
    for (place, (name, _)) in given.iter().enumerate() {
        if given[..place].iter().any(|(earlier, _)| earlier == name) {
            return Err(WrongCall::new(format!("{flag} {name} stands twice")));
        }
    }
    let input = |(name, path): &(String, PathBuf)| match path.canonicalize() {
        Ok(path) => Ok(Input { name: name.clone(), path }),
        Err(error) => Err(WrongCall::new(format!("{flag} {name}: {}: {error}", path.display()))
            .with_hint("what stands for S3 is this machine's disk: name a folder or a file")),
    };
    given.iter().map(input).collect()
}

/// The keys of the files below a folder, sorted; links are passed over, as SageMaker's uploads do.
pub(super) fn keys(folder: &Path) -> io::Result<Vec<String>> {
    let mut keys = Vec::new();
    walk(folder, "", &mut |key, kind| {
        if kind.is_file() {
            keys.push(key);
        }
    })?;
    keys.sort();
    Ok(keys)
}

/// The keys of the objects that a folder of a person's own holds, sorted; a link to a file is one.
pub(super) fn objects(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut keys = Vec::new();
    let mut linked = None;
    let mut object = |key: String, kind: fs::FileType| {
        if kind.is_file() || kind.is_symlink() && folder.join(&key).is_file() {
            keys.push(key);
        } else if folder.join(&key).is_dir() {
            linked = Some(key);
        }
    };
    walk(folder, "", &mut object).with_context(|| format!("cannot list {}", folder.display()))?;
    if let Some(key) = linked {
        return Err(WrongCall::new(format!("{} is a link to a folder", folder.join(key).display()))
            .with_hint("S3 has no links: put the folder itself there")
            .into());
    }
    keys.sort();
    Ok(keys)
}

/// Calls `each` for everything below a folder that is no folder. What vanishes meanwhile is passed over.
pub(super) fn walk(
    folder: &Path,
    prefix: &str,
    each: &mut dyn FnMut(String, fs::FileType),
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let key = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let below = match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), &format!("{key}/"), each),
            Ok(kind) => {
                each(key, kind);
                Ok(())
            }
            Err(error) => Err(error),
        };
        match below {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
