//! Tables of labels out: `filepath,label[,split][,site]` and PyTorch-Wildlife's.

use std::collections::HashMap;
use std::path::Path;

use super::file::{Watch, write_csv};
use super::table::Labelled;
use super::{Format, FormatError, Label, LabelTable, LabelledPhoto, Written};
use crate::dataset::{Note, Part};
use crate::error::DataError;

/// The photos that have one label, with their notes; an error if none has.
pub(super) fn singles(table: &LabelTable, format: Format) -> Result<(Labelled<'_>, Vec<Note>), DataError> {
    let (kept, notes) = table.singles();
    if kept.is_empty() {
        let why = "not one has one label";
        return Err(
            FormatError::NothingLeft { photos: table.photos.len(), format: format.title(), why }.into()
        );
    }
    Ok((kept, notes))
}

/// Writes `filepath,label`, with `split` and `site` where any photo has one.
pub(super) fn write(table: &LabelTable, path: &Path, watch: &Watch<'_, '_>) -> Result<Written, DataError> {
    let (kept, notes) = singles(table, Format::Csv)?;
    let has_parts = kept.iter().any(|(photo, _)| photo.part.is_some());
    let has_sites = kept.iter().any(|(photo, _)| photo.site.is_some());
    let blank = Format::Csv.blank_word();
    let chosen = |split: &'static str, site: &'static str| {
        ["filepath", "label"].into_iter().chain(has_parts.then_some(split)).chain(has_sites.then_some(site))
    };
    write_csv(path, watch, |csv| {
        csv.write_record(chosen("split", "site"))?;
        for (photo, label) in &kept {
            watch.one_more();
            let part = has_parts.then(|| photo.part.map_or("", Part::name));
            let site = has_sites.then(|| photo.site.as_deref().unwrap_or_default());
            csv.write_record([photo.id.as_str(), label.word(blank)].into_iter().chain(part).chain(site))?;
        }
        Ok(())
    })?;
    Ok(Written { files: vec![path.to_owned()], photos: kept.len(), notes })
}

/// Writes `path,classification,label`, with `Location` and `Photo_time` where any photo has one. The number of a
/// class is its place in the order of classes, blank first.
pub(super) fn write_pytorch_wildlife(
    table: &LabelTable,
    path: &Path,
    watch: &Watch<'_, '_>,
) -> Result<Written, DataError> {
    let (kept, notes) = singles(table, Format::PytorchWildlife)?;
    let has_sites = kept.iter().any(|(photo, _)| photo.site.is_some());
    let has_times = kept.iter().any(|(photo, _)| photo.time.is_some());
    let blank = Format::PytorchWildlife.blank_word();
    let numbers = numbers(table, &kept, blank);
    write_csv(path, watch, |csv| {
        let columns = has_sites.then_some("Location").into_iter().chain(has_times.then_some("Photo_time"));
        csv.write_record(["path", "classification", "label"].into_iter().chain(columns))?;
        for (photo, label) in &kept {
            watch.one_more();
            let word = label.word(blank);
            let time = photo.time.map(|time| time.local.format("%Y-%m-%d %H:%M:%S").to_string());
            let site = has_sites.then(|| photo.site.as_deref().unwrap_or_default());
            let time = has_times.then(|| time.as_deref().unwrap_or_default());
            let number = numbers[word].to_string();
            csv.write_record([photo.id.as_str(), &number, word].into_iter().chain(site).chain(time))?;
        }
        Ok(())
    })?;
    Ok(Written { files: vec![path.to_owned()], photos: kept.len(), notes })
}

/// Every class that is written, in order: the file's order where it gives one, else blank and then by name.
pub(super) fn classes<'a>(
    table: &'a LabelTable,
    kept: &'a [(&LabelledPhoto, Label)],
    blank: &'a str,
) -> Vec<&'a str> {
    let mut found: Vec<&str> = kept.iter().map(|(_, label)| label.word(blank)).collect();
    found.sort_unstable_by_key(|&word| (word != blank, word));
    found.dedup();
    let ordered =
        table.classes.iter().flatten().map(|class| match class.trim().eq_ignore_ascii_case(blank) {
            true => blank,
            false => class.as_str(),
        });
    let mut classes: Vec<&str> = ordered.filter(|class| found.contains(class)).collect();
    found.retain(|class| !classes.contains(class));
    classes.append(&mut found);
    classes
}

fn numbers<'a>(
    table: &'a LabelTable,
    kept: &'a [(&LabelledPhoto, Label)],
    blank: &'a str,
) -> HashMap<&'a str, usize> {
    classes(table, kept, blank).into_iter().zip(0..).collect()
}
