//! What a file is by its content, and what its name says.

use std::path::Path;

use image::ImageFormat;
use serde::Serialize;

/// The formats that are read.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PhotoFormat {
    /// JPEG.
    #[serde(rename = "JPEG")]
    Jpeg,
    /// PNG.
    #[serde(rename = "PNG")]
    Png,
    /// WebP.
    WebP,
    /// BMP.
    #[serde(rename = "BMP")]
    Bmp,
    /// TIFF.
    #[serde(rename = "TIFF")]
    Tiff,
    /// PPM, PGM, PBM, PAM.
    #[serde(rename = "PNM")]
    Pnm,
    /// GIF.
    #[serde(rename = "GIF")]
    Gif,
}

impl PhotoFormat {
    const ALL: [Self; 7] = [Self::Jpeg, Self::Png, Self::WebP, Self::Bmp, Self::Tiff, Self::Pnm, Self::Gif];

    /// The format of a file's bytes, by its first ones.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match image::guess_format(bytes).ok()? {
            ImageFormat::Jpeg => Some(Self::Jpeg),
            ImageFormat::Png => Some(Self::Png),
            ImageFormat::WebP => Some(Self::WebP),
            ImageFormat::Bmp => Some(Self::Bmp),
            ImageFormat::Tiff => Some(Self::Tiff),
            ImageFormat::Pnm => Some(Self::Pnm),
            ImageFormat::Gif => Some(Self::Gif),
            _ => None,
        }
    }

    /// The name people give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Pnm => "PNM",
            Self::Gif => "GIF",
        }
    }

    fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Jpeg => &["jpg", "jpeg", "jpe", "jfif"],
            Self::Png => &["png"],
            Self::WebP => &["webp"],
            Self::Bmp => &["bmp", "dib"],
            Self::Tiff => &["tif", "tiff"],
            Self::Pnm => &["ppm", "pgm", "pbm", "pnm", "pam"],
            Self::Gif => &["gif"],
        }
    }

    /// Whether the extension is that of another format; one that is unknown contradicts nothing.
    pub(super) fn contradicts(self, path: &Path) -> bool {
        let Some(extension) = path.extension().and_then(|extension| extension.to_str()) else { return false };
        let is_of =
            |format: Self| format.extensions().iter().any(|known| known.eq_ignore_ascii_case(extension));
        Self::ALL.into_iter().any(|format| format != self && is_of(format))
    }
}
