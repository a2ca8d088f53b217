//! `model.tar.gz` and `output.tar.gz`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path};

use anyhow::{Context, bail};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use pugmark_model::write_atomic_with;
use tar::{Archive, Builder, EntryType, HeaderMode};

use super::tree::keys;
use crate::error::WrongCall;

/// Packs the files below a folder, always into the same bytes. Links are passed over.
pub(super) fn pack(folder: &Path, archive: &Path) -> anyhow::Result<()> {
    let write = |file: &mut dyn Write| {
        let mut tar = Builder::new(GzEncoder::new(file, Compression::fast()));
        tar.mode(HeaderMode::Deterministic);
        for key in keys(folder)? {
            tar.append_path_with_name(folder.join(&key), &key)?;
        }
        tar.into_inner()?.finish().map(drop)
    };
    write_atomic_with::<io::Error>(archive, write)
        .with_context(|| format!("cannot pack {} into {}", folder.display(), archive.display()))
}

/// Whether there is a model's archive, before anything is made.
pub(super) fn is_there(archive: &Path) -> Result<(), WrongCall> {
    match archive.is_file() {
        true => Ok(()),
        false => Err(WrongCall::new(format!("--model {} is no file", archive.display()))
            .with_hint("a training job leaves it as JOB/output/model.tar.gz")),
    }
}

/// Unpacks a model's archive: files and folders that stay below `folder`, and nothing else.
pub(super) fn unpack(archive: &Path, folder: &Path) -> anyhow::Result<()> {
    let file = File::open(archive)
        .map_err(|error| WrongCall::new(format!("cannot open {}: {error}", archive.display())))?;
    let unpacked = || -> anyhow::Result<usize> {
        let mut files = 0;
        for entry in Archive::new(MultiGzDecoder::new(&file)).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
            if !path.components().all(plain) {
                bail!("{} would lie outside of the model's folder", path.display());
            }
            let to = folder.join(&path);
            match entry.header().entry_type() {
                EntryType::Directory => fs::create_dir_all(&to)?,
                EntryType::Regular | EntryType::Continuous => {
                    fs::create_dir_all(to.parent().unwrap_or(folder))?;
                    io::copy(&mut entry, &mut File::create(&to)?)?;
                    files += 1;
                }
                EntryType::XGlobalHeader => {}
                _ => bail!("{} is neither a file nor a folder", path.display()),
            }
        }
        Ok(files)
    };
    let hint = "`tar -czf model.tar.gz -C RUN best.safetensors` packs a run's model";
    match unpacked() {
        Ok(0) => {
            Err(WrongCall::new(format!("{} has no file in it", archive.display())).with_hint(hint).into())
        }
        Ok(_) => Ok(()),
        Err(error) => {
            Err(WrongCall::new(format!("{} is no archive of a model: {error:#}", archive.display()))
                .with_hint(hint)
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_the_same_bytes_and_unpacks_them() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::create_dir_all(path("model/code")).unwrap();
        fs::write(path("model/best.safetensors"), vec![7; 100_000]).unwrap();
        fs::write(path("model/code/x.txt"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/hosts", path("model/link")).unwrap();
        pack(&path("model"), &path("a.tar.gz")).unwrap();
        fs::write(path("model/code/x.txt"), "x").unwrap();
        pack(&path("model"), &path("b.tar.gz")).unwrap();
        assert_eq!(fs::read(path("a.tar.gz")).unwrap(), fs::read(path("b.tar.gz")).unwrap());
        fs::create_dir(path("out")).unwrap();
        unpack(&path("a.tar.gz"), &path("out")).unwrap();
        assert_eq!(keys(&path("out")).unwrap(), ["best.safetensors", "code/x.txt"]);
        assert_eq!(fs::read(path("out/best.safetensors")).unwrap(), vec![7; 100_000]);
    }

    /// A tar with one entry whose name and kind are what `tar` itself would refuse to write.
    fn archive_with(path: &Path, name: &[u8], kind: EntryType) {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o644);
        header.set_cksum();
        let gzip = GzEncoder::new(File::create(path).unwrap(), Compression::fast());
        let mut tar = Builder::new(gzip);
        tar.append(&header, io::empty()).unwrap();
        tar.into_inner().unwrap().finish().unwrap();
    }

    #[test]
    fn nothing_gets_out_of_the_folder() {
        let place = tempfile::tempdir().unwrap();
        let (archive, out) = (place.path().join("a.tar.gz"), place.path().join("out"));
        fs::create_dir(&out).unwrap();
        for (name, kind, why) in [
            (&b"../evil"[..], EntryType::Regular, "outside"),
            (b"/tmp/evil", EntryType::Regular, "outside"),
            (b"a/../../evil", EntryType::Regular, "outside"),
            (b"link", EntryType::Symlink, "neither a file"),
            (b"link", EntryType::Link, "neither a file"),
            (b"pipe", EntryType::Fifo, "neither a file"),
            (b"folder", EntryType::Directory, "no file in it"),
        ] {
            archive_with(&archive, name, kind);
            let error = unpack(&archive, &out).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        fs::write(&archive, "no archive").unwrap();
        assert!(unpack(&archive, &out).unwrap_err().to_string().contains("no archive of a model"));
        assert!(unpack(&place.path().join("absent"), &out).unwrap_err().to_string().contains("cannot open"));
        assert!(!place.path().join("evil").exists());
    }
}
