//! Small pictures of the photos that a page shows.

use std::collections::HashMap;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use pugmark_data::check::{Group, Report, Subject};
use pugmark_data::{Limits, decode_file, resize_bilinear};
use pugmark_page::Figure;

/// Groups of duplicates that a page shows, and photos of each.
pub(super) const GROUPS: usize = 6;
pub(super) const OF_EACH: usize = 4;

/// Cut-off photos that a page shows.
pub(super) const BROKEN: usize = 8;

/// Pixels of the short side: sharp on a screen with two pixels for one.
const SIDE: usize = 200;
const QUALITY: u8 = 72;

/// The pictures by the photo's id.
pub(super) type Figures = HashMap<String, Figure>;

/// Decodes the photos that are shown once more: to keep a small picture of every one would take gigabytes for a million.
pub(super) fn of(report: &Report, subject: &Subject) -> Figures {
    let paths: HashMap<&str, &Path> =
        subject.dataset.samples.iter().map(|sample| (sample.id.as_str(), sample.path.as_path())).collect();
    let mut ids: Vec<&String> = Vec::new();
    if let Some(duplicates) = &report.duplicates {
        let shown = |groups: &'_ [Group]| groups.len().min(GROUPS);
        let exact = &duplicates.exact[..shown(&duplicates.exact)];
        let near = &duplicates.near[..shown(&duplicates.near)];
        ids.extend(exact.iter().chain(near).flat_map(|group| group.ids.iter().take(OF_EACH)));
    }
    ids.extend(report.files.iter().flat_map(|files| files.truncated.iter().take(BROKEN)));
    let figure = |id: &String| {
        let jpeg = small(paths.get(id.as_str())?)?;
        Some((id.clone(), Figure { jpeg, caption: id.clone() }))
    };
    ids.into_iter().filter_map(figure).collect()
}

/// A small JPEG; none if the photo has gone or broken since.
fn small(path: &Path) -> Option<Vec<u8>> {
    let photo = decode_file(path, &Limits::default()).ok()?;
    let shrink = (SIDE as f64 / photo.width.min(photo.height) as f64).min(1.0);
    // A long strip is cut to what fits, not made as long as it is.
    let side = |pixels: usize| ((pixels as f64 * shrink).round() as usize).clamp(1, SIDE * 3);
    let (width, height) = (side(photo.width), side(photo.height));
    let rgb = resize_bilinear(&photo.rgb, photo.width, photo.height, width, height);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .write_image(&rgb, width as u32, height as u32, ExtendedColorType::Rgb8)
        .ok()?;
    Some(jpeg)
}
