//! Small pictures of the photos that a page shows.

use std::collections::HashMap;
use std::path::Path;

use pugmark_data::check::{Group, Report, Subject};
use pugmark_page::Figure;

use crate::commands::thumbnails::small;

/// Groups of duplicates that a page shows, and photos of each.
pub(super) const GROUPS: usize = 6;
pub(super) const OF_EACH: usize = 4;

/// Cut-off photos that a page shows.
pub(super) const BROKEN: usize = 8;

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
