//! Published weights: which there are, fetching and checking them, and what `--weights` names.
//!
//! Files are kept in [`cache_dir`] under their published names, so that one fetched elsewhere can be put there by hand. A
//! file's sha256 is checked before it gets its name there and again whenever it is asked for.

mod error;
mod fetch;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use pugmark_graph::Architecture;
use sha2::{Digest, Sha256};

pub use error::HubError;
pub use fetch::{Progress, fetch};

/// A weight file that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What `--weights` and `pugmark weights fetch` call it.
    pub name: &'static str,
    /// The model it is for, with the head of its training.
    pub architecture: Architecture,
    /// Its file's name, in the cache and on the server.
    pub file: &'static str,
    /// Checksum of the file, as 64 lower-case hexadecimal digits.
    pub sha256: &'static str,
    /// Size of the file.
    pub bytes: u64,
    /// Terms of use.
    pub licence: &'static str,
    /// How good it is, as its publisher states it.
    pub accuracy: &'static str,
}

const TORCHVISION: &str = "BSD-3-Clause (torchvision); trained on ImageNet-1k, whose own terms may apply";

// torchvision publishes the first eight digits of each sha256, in the file's name (`torch.hub` checks those). The full
// digests and the sizes are those that independent public projects pin, in agreement: for the V1 models zspacelabs/bunsen
// (`kits/bimm/resnet`) among others. Accuracies are from torchvision's documentation.
static PUBLISHED: [Published; 7] = [
    Published {
        name: "resnet18",
        architecture: Architecture::ResNet18,
        file: "resnet18-f37072fd.pth",
        sha256: "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        bytes: 46_830_571,
        licence: TORCHVISION,
        accuracy: "ImageNet-1k top-1 69.758 %, top-5 89.078 % (IMAGENET1K_V1)",
    },
    Published {
        name: "resnet34",
        architecture: Architecture::ResNet34,
        file: "resnet34-b627a593.pth",
        sha256: "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
        bytes: 87_319_819,
        licence: TORCHVISION,
        accuracy: "ImageNet-1k top-1 73.314 %, top-5 91.420 % (IMAGENET1K_V1)",
    },
    Published {
        name: "resnet50",
        architecture: Architecture::ResNet50,
        file: "resnet50-0676ba61.pth",
        sha256: "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        bytes: 102_530_333,
        licence: TORCHVISION,
        accuracy: "ImageNet-1k top-1 76.130 %, top-5 92.862 % (IMAGENET1K_V1)",
    },
    Published {
        name: "resnet50-v2",
        architecture: Architecture::ResNet50,
        file: "resnet50-11ad3fa6.pth",
        sha256: "11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
        bytes: 102_540_417,
        licence: TORCHVISION,
        accuracy: "ImageNet-1k top-1 80.858 %, top-5 95.434 % (IMAGENET1K_V2)",
    },
    Published {
        name: "swin_t",
        architecture: Architecture::SwinT,
        file: "swin_t-704ceda3.pth",
        sha256: "704ceda373461b0a224fcdddd75cd2a5e9f8064512ed47adbddef7f343fd147b",
        bytes: 113_445_839,
        licence: TORCHVISION,
        accuracy: "ImageNet-1k top-1 81.474 %, top-5 95.776 % (IMAGENET1K_V1)",
    },
    Published {
        name: "convnext_tiny",
        architecture: Architecture::ConvNextTiny,
        file: "convnext_tiny-983f1562.pth",
        sha256: "983f1562536e84ff750a1576fb08e54de751dbf2e17c0d8a4a13704341fdcd3d",
        bytes: 114_419_221,
        licence: TORCHVISION,
        accuracy: "ImageNet-1k top-1 82.520 %, top-5 96.146 % (IMAGENET1K_V1)",
    },
    Published {
        name: "efficientnet_b0",
        architecture: Architecture::EfficientNetB0,
        file: "efficientnet_b0_rwightman-7f5810bc.pth",
        sha256: "7f5810bc96def8f7552d5b7e68d53c4786f81167d28291b21c0d90e1fca14934",
        bytes: 21_444_401,
        licence: TORCHVISION,
        accuracy: "ImageNet-1k top-1 77.692 %, top-5 93.532 % (IMAGENET1K_V1)",
    },
];

/// Every weight file that can be fetched.
pub fn published() -> &'static [Published] {
    &PUBLISHED
}

/// Where torchvision's files are; `PUGMARK_WEIGHTS_URL` names another place that has them, such as a mirror.
const BASE_URL: &str = "https://download.pytorch.org/models";

impl Published {
    /// The file called `name`.
    ///
    /// # Errors
    /// [`HubError::UnknownName`].
    pub fn find(name: &str) -> Result<&'static Self, HubError> {
        PUBLISHED.iter().find(|published| published.name == name).ok_or_else(|| HubError::UnknownName {
            name: name.into(),
            known: PUBLISHED.each_ref().map(|published| published.name).join(", "),
        })
    }

    /// Its address below `base`; without one, below `PUGMARK_WEIGHTS_URL` or else torchvision's server.
    pub fn url(&self, base: Option<&str>) -> String {
        let variable = std::env::var("PUGMARK_WEIGHTS_URL").ok().filter(|url| !url.is_empty());
        let base = base.or(variable.as_deref()).unwrap_or(BASE_URL);
        format!("{}/{}", base.trim_end_matches('/'), self.file)
    }
}

/// The folder of fetched weights: `weights` below `PUGMARK_CACHE`, or else below `pugmark` in the platform's cache folder
/// (`~/.cache`, `~/Library/Caches`, `%LOCALAPPDATA%`).
///
/// # Errors
/// [`HubError::NoCache`] where the system names no home folder.
pub fn cache_dir() -> Result<PathBuf, HubError> {
    if let Some(cache) = std::env::var_os("PUGMARK_CACHE").filter(|cache| !cache.is_empty()) {
        return Ok(Path::new(&cache).join("weights"));
    }
    let platform = etcetera::base_strategy::choose_native_strategy().map_err(|_| HubError::NoCache)?;
    Ok(platform.cache_dir().join("pugmark").join("weights"))
}

/// What a file is, by its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Its checksum, as 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// The published file that has this checksum.
    pub published: Option<&'static Published>,
}

/// Computes a file's checksum and looks it up among the published ones, whatever the file is called.
///
/// # Errors
/// [`HubError::Io`].
pub fn verify(path: &Path) -> Result<Verification, HubError> {
    let at = |source| HubError::Io { path: path.into(), source };
    let mut file = File::open(path).map_err(at)?;
    let (sha256, bytes) = checksum(&mut file).map_err(at)?;
    let published = PUBLISHED.iter().find(|published| published.sha256 == sha256);
    Ok(Verification { sha256, bytes, published })
}

/// Checksum and length of what is left to read.
fn checksum(file: &mut impl io::Read) -> io::Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            break;
        }
        hasher.update(piece);
        let length = piece.len();
        bytes += length as u64;
        reader.consume(length);
    }
    let digits = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((digits, bytes))
}

/// Checks a file that lies in the cache.
fn check(published: &Published, path: &Path) -> Result<(), HubError> {
    let found = verify(path)?.sha256;
    if found == published.sha256 {
        return Ok(());
    }
    Err(HubError::Corrupt { path: path.into(), expected: published.sha256.into(), found })
}

/// What `--weights` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `none`: initial values.
    None,
    /// Any file.
    File(PathBuf),
    /// A published file in the cache, its checksum verified.
    Published {
        /// Which one.
        published: &'static Published,
        /// Where it lies.
        path: PathBuf,
    },
}

impl Source {
    /// The file to read, if any.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::None => None,
            Self::File(path) | Self::Published { path, .. } => Some(path),
        }
    }
}

/// Finds what `--weights` names: `none`, a file that exists, or a published name in `cache` ([`cache_dir`] if not given).
/// Nothing is fetched.
///
/// # Errors
/// [`HubError::NotFetched`] for a published file that is not in the cache, [`HubError::Corrupt`] for one whose checksum is
/// wrong, [`HubError::UnknownName`] for anything else.
pub fn resolve(spec: &str, cache: Option<&Path>) -> Result<Source, HubError> {
    if spec == "none" {
        return Ok(Source::None);
    }
    if Path::new(spec).is_file() {
        return Ok(Source::File(spec.into()));
    }
    let published = Published::find(spec)?;
    let path = cache.map_or_else(cache_dir, |cache| Ok(cache.into()))?.join(published.file);
    if !path.exists() {
        return Err(HubError::NotFetched { name: published.name, path, url: published.url(None) });
    }
    check(published, &path)?;
    Ok(Source::Published { published, path })
}
