//! Camtrap DP out: nothing that is required is invented.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use chrono::{DateTime, FixedOffset};

use super::describe::write_description;
use super::observations::write_observations;
use super::package::Package;
use super::{Deployment, read_deployments};
use crate::dataset::{Note, counted};
use crate::error::DataError;
use crate::formats::file::{Watch, write_csv};
use crate::formats::table::Words;
use crate::formats::{FormatError, LabelTable, LabelledPhoto, Word, WriteOptions, Written};
use crate::time::CaptureTime;

const FORMAT: &str = "Camtrap DP";

const DESCRIPTION: &str = "datapackage.json";

/// The photos that can't be in a package.
const UNTIMED: &str = "without-time.csv";

const DEPLOYMENTS: [&str; 24] = [
    "deploymentID",
    "locationID",
    "locationName",
    "latitude",
    "longitude",
    "coordinateUncertainty",
    "deploymentStart",
    "deploymentEnd",
    "setupBy",
    "cameraID",
    "cameraModel",
    "cameraDelay",
    "cameraHeight",
    "cameraDepth",
    "cameraTilt",
    "cameraHeading",
    "detectionDistance",
    "timestampIssues",
    "baitUse",
    "featureType",
    "habitat",
    "deploymentGroups",
    "deploymentTags",
    "deploymentComments",
];

const MEDIA: [&str; 11] = [
    "mediaID",
    "deploymentID",
    "captureMethod",
    "timestamp",
    "filePath",
    "filePublic",
    "fileName",
    "fileMediatype",
    "exifData",
    "favorite",
    "mediaComments",
];

/// A photo that can be written, with all that the format demands of it.
pub(super) struct Medium<'a> {
    pub(super) photo: &'a LabelledPhoto,
    pub(super) id: &'a str,
    pub(super) deployment: &'a str,
    pub(super) time: DateTime<FixedOffset>,
}

/// Writes a package to the folder `path`. Photos without a time cannot be in one: they are listed in
/// `without-time.csv` beside the tables.
pub(in crate::formats) fn write(
    table: &LabelTable,
    path: &Path,
    options: &WriteOptions,
    watch: &Watch<'_, '_>,
) -> Result<Written, DataError> {
    let package = known_of_project(table, options)?;
    let offset = offset(&package, options)?;
    let places = known_deployments(table, options)?;
    let media = media(table, &places, offset)?;
    let mut notes = Vec::new();
    let deployments = deployments(&media, &places, offset, &mut notes)?;

    let untimed: Vec<&LabelledPhoto> = table.photos.iter().filter(|photo| photo.time.is_none()).collect();
    let mut names = vec!["deployments.csv", "media.csv", "observations.csv"];
    // A package that is there stays as it is until the new one is whole.
    let new = path.join(".new");
    let file = |name: &str| new.join(name);
    let write_all = || {
        fs::create_dir_all(&new).map_err(|source| FormatError::Write { path: new.clone(), source })?;
        write_deployments(&file("deployments.csv"), &deployments, watch)?;
        write_media(&file("media.csv"), &media, &package, watch)?;
        let observed = write_observations(&file("observations.csv"), &media, &package, watch)?;
        let description = file(DESCRIPTION);
        write_description(&description, &package, &deployments, &observed.taxa, observed.events, watch)?;
        if !untimed.is_empty() {
            write_untimed(&file(UNTIMED), &untimed, watch)?;
        }
        Ok(observed)
    };
    let observed = write_all().inspect_err(|_: &DataError| {
        // The first error is the one to tell.
        let _ = fs::remove_dir_all(&new);
    })?;
    if !untimed.is_empty() {
        names.push(UNTIMED);
        let side = path.join(UNTIMED);
        let count = counted(untimed.len(), "photo");
        let text = format!("not in the package for want of a time, listed in {}: {count}", side.display());
        notes.push(Note { text, items: untimed.iter().map(|photo| photo.id.clone()).collect() });
    }
    // The description comes last: without it there is no package.
    names.push(DESCRIPTION);
    publish(&new, path, &names).map_err(|source| FormatError::Write { path: path.to_owned(), source })?;
    let files = names.iter().rev().map(|name| path.join(name)).collect();
    if !observed.unnamed.is_empty() {
        let text = "written as scientificName as they are (`[taxa]` in the metadata gives them other names)";
        notes.push(Note { text: text.to_owned(), items: observed.unnamed });
    }
    Ok(Written { files, photos: media.len(), notes })
}

/// Moves files from `new` to `path` and removes `new`.
fn publish(new: &Path, path: &Path, names: &[&str]) -> io::Result<()> {
    for name in names {
        fs::rename(new.join(name), path.join(name))?;
    }
    fs::remove_dir_all(new)?;
    // The renames are to last through a power cut; only Unix lets a folder be synced.
    if cfg!(unix) { fs::File::open(path)?.sync_all() } else { Ok(()) }
}

/// What is said of the project: in the metadata file, else in the package that was read.
fn known_of_project(table: &LabelTable, options: &WriteOptions) -> Result<Package, DataError> {
    let package = match &options.metadata {
        Some(file) => Package::read(file)?,
        None => table.package.clone().unwrap_or_default(),
    };
    let missing: Vec<&str> = [
        ("title", package.title.is_none()),
        ("sampling_design", package.sampling_design.is_none()),
        ("capture_method", package.capture_method.is_empty()),
        ("individual_animals", package.individual_animals.is_none()),
        ("contributors", package.contributors.is_empty()),
    ]
    .into_iter()
    .filter_map(|(name, missing)| missing.then_some(name))
    .collect();
    let unknown = package.unknown_words();
    if let Some(first) = unknown.first() {
        let what = format!("words of its own, not {first}");
        let hint = "correct it in the metadata; docs/formats.md has an example".to_owned();
        return Err(FormatError::Needs { format: FORMAT, what, hint }.into());
    }
    if missing.is_empty() {
        return Ok(package);
    }
    let what = format!("what only you know of the project: {}", missing.join(", "));
    let hint =
        "write it into a TOML file and name that with --metadata; docs/formats.md has an example".to_owned();
    Err(FormatError::Needs { format: FORMAT, what, hint }.into())
}

fn offset(package: &Package, options: &WriteOptions) -> Result<Option<i32>, DataError> {
    let Some(text) = &package.timezone else { return Ok(options.offset_minutes) };
    let parsed = text.parse::<FixedOffset>().map_err(|_| FormatError::Needs {
        format: FORMAT,
        what: format!("a time zone such as +02:00, which `{text}` is not"),
        hint: "correct `timezone` in the metadata".to_owned(),
    })?;
    Ok(options.offset_minutes.or(Some(parsed.local_minus_utc() / 60)))
}

fn known_deployments(
    table: &LabelTable,
    options: &WriteOptions,
) -> Result<BTreeMap<Word, Deployment>, DataError> {
    let mut places = table.deployments.clone();
    if let Some(file) = &options.deployments {
        let names = ["deploymentID", "site", "locationID", "location"];
        places.extend(read_deployments(file, &names, &mut Words::default())?);
    }
    Ok(places)
}

/// The photos that have a time, with it.
fn media<'a>(
    table: &'a LabelTable,
    places: &'a BTreeMap<Word, Deployment>,
    offset: Option<i32>,
) -> Result<Vec<Medium<'a>>, DataError> {
    let mut media = Vec::with_capacity(table.photos.len());
    let (mut zoneless, mut placeless, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());
    // With one deployment there is no choice to make.
    let only = if places.len() == 1 { places.keys().next() } else { None };
    for (photo, id) in table.photos.iter().zip(table.keys()) {
        let Some(time) = photo.time else { continue };
        let deployment = photo.deployment.as_ref().or(photo.site.as_ref()).or(only);
        match (in_zone(time, offset), deployment) {
            (None, _) => zoneless.push(photo.id.clone()),
            (_, None) => placeless.push(photo.id.clone()),
            (Some(time), Some(deployment)) => media.push(Medium { photo, id, deployment, time }),
        }
        if !is_path(&photo.id) {
            elsewhere.push(photo.id.clone());
        }
    }
    if !zoneless.is_empty() {
        let what = format!(
            "the time zone of the cameras' clocks, which {} do not say",
            counted(zoneless.len(), "photo")
        );
        let hint = "say it with --timezone +02:00".to_owned();
        return Err(FormatError::Needs { format: FORMAT, what, hint }.into());
    }
    if !placeless.is_empty() {
        let what = format!(
            "the deployment of every photo; {} have neither it nor a site",
            counted(placeless.len(), "photo")
        );
        let hint =
            "name the sites in the labels, or the only one there is in the file given with --deployments";
        return Err(FormatError::Needs { format: FORMAT, what, hint: hint.to_owned() }.into());
    }
    if !elsewhere.is_empty() {
        let (what, hint) =
            ("paths that lead out of the package", "give paths below the folder of the photos");
        return Err(FormatError::Unwritable { format: FORMAT, what, items: elsewhere, hint }.into());
    }
    if media.is_empty() {
        let why = "not one has a time";
        return Err(FormatError::NothingLeft { photos: table.photos.len(), format: FORMAT, why }.into());
    }
    Ok(media)
}

/// What the format takes for a path: nothing hidden, nothing absolute, nothing above the package.
pub(in crate::formats) fn is_path(path: &str) -> bool {
    !path.starts_with(['.', '/', '~']) && !path.contains("..") && !path.is_empty()
}

/// A time with its zone: its own, else that of `offset`.
fn in_zone(time: CaptureTime, offset: Option<i32>) -> Option<DateTime<FixedOffset>> {
    let zone = FixedOffset::east_opt(time.offset_minutes.or(offset)? * 60)?;
    time.local.and_local_timezone(zone).single()
}

/// As the format writes times: whole seconds and the offset.
pub(super) fn text(time: DateTime<FixedOffset>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// A deployment with all that the format demands of it.
pub(super) struct Place<'a> {
    id: &'a str,
    location: &'a str,
    pub(super) latitude: f64,
    pub(super) longitude: f64,
    pub(super) start: DateTime<FixedOffset>,
    pub(super) end: DateTime<FixedOffset>,
}

/// The deployments of the media, each with coordinates and times.
fn deployments<'a>(
    media: &[Medium<'a>],
    places: &'a BTreeMap<Word, Deployment>,
    offset: Option<i32>,
    notes: &mut Vec<Note>,
) -> Result<Vec<Place<'a>>, DataError> {
    let mut spans: BTreeMap<&str, (DateTime<FixedOffset>, DateTime<FixedOffset>)> = BTreeMap::new();
    for medium in media {
        let span = spans.entry(medium.deployment).or_insert((medium.time, medium.time));
        *span = (span.0.min(medium.time), span.1.max(medium.time));
    }
    let (mut found, mut without, mut by_photos) = (Vec::new(), Vec::new(), Vec::new());
    for (id, (first, last)) in spans {
        let known = places.get(id);
        let coordinates = known.and_then(|known| known.latitude.zip(known.longitude));
        let Some((latitude, longitude)) = coordinates else {
            without.push(id.to_owned());
            continue;
        };
        let given = |time: Option<CaptureTime>| time.and_then(|time| in_zone(time, offset));
        let (start, end) =
            (given(known.and_then(|known| known.start)), given(known.and_then(|known| known.end)));
        if start.is_none() || end.is_none() {
            by_photos.push(id.to_owned());
        }
        let location = known.and_then(|known| known.location.as_deref()).unwrap_or(id);
        let (start, end) = (start.unwrap_or(first), end.unwrap_or(last));
        found.push(Place { id, location, latitude, longitude, start, end });
    }
    if !without.is_empty() {
        let what = format!(
            "the coordinates of {}: {}",
            counted(without.len(), "deployment"),
            crate::error::first_few(&without)
        );
        let hint =
            "give a CSV with the columns deploymentID,latitude,longitude with --deployments".to_owned();
        return Err(FormatError::Needs { format: FORMAT, what, hint }.into());
    }
    if !by_photos.is_empty() {
        let text = format!(
            "deploymentStart and deploymentEnd are those of the first and last photo: {}",
            counted(by_photos.len(), "deployment")
        );
        notes.push(Note { text, items: by_photos });
    }
    Ok(found)
}

fn write_deployments(file: &Path, places: &[Place<'_>], watch: &Watch<'_, '_>) -> Result<(), DataError> {
    write_csv(file, watch, |csv| {
        csv.write_record(DEPLOYMENTS)?;
        for place in places {
            let [latitude, longitude] = [place.latitude, place.longitude].map(|degrees| degrees.to_string());
            let [start, end] = [place.start, place.end].map(text);
            let row = DEPLOYMENTS.map(|column| match column {
                "deploymentID" => place.id,
                "locationID" => place.location,
                "latitude" => &latitude,
                "longitude" => &longitude,
                "deploymentStart" => &start,
                "deploymentEnd" => &end,
                _ => "",
            });
            csv.write_record(row)?;
        }
        Ok(())
    })
}

fn write_media(
    file: &Path,
    media: &[Medium<'_>],
    package: &Package,
    watch: &Watch<'_, '_>,
) -> Result<(), DataError> {
    // A project of both methods does not say which photo is whose.
    let method = match package.capture_method.as_slice() {
        [only] => only.as_str(),
        _ => "",
    };
    write_csv(file, watch, |csv| {
        csv.write_record(MEDIA)?;
        for medium in media {
            watch.one_more();
            let time = text(medium.time);
            let path = &medium.photo.id;
            let row = MEDIA.map(|column| match column {
                "mediaID" => medium.id,
                "deploymentID" => medium.deployment,
                "captureMethod" => method,
                "timestamp" => &time,
                "filePath" => path,
                "filePublic" if package.file_public => "true",
                "filePublic" => "false",
                "fileName" => path.rsplit('/').next().unwrap_or(path),
                "fileMediatype" => media_type(path),
                "mediaComments" => medium.photo.failure.as_deref().unwrap_or_default(),
                _ => "",
            });
            csv.write_record(row)?;
        }
        Ok(())
    })
}

/// The media type that a file's name stands for.
fn media_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match extension.as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "bmp" => "image/bmp",
        "tif" | "tiff" => "image/tiff",
        "pgm" => "image/x-portable-graymap",
        "ppm" => "image/x-portable-pixmap",
        _ => "image/*",
    }
}

fn write_untimed(file: &Path, photos: &[&LabelledPhoto], watch: &Watch<'_, '_>) -> Result<(), DataError> {
    write_csv(file, watch, |csv| {
        csv.write_record(["filepath", "label", "site"])?;
        for photo in photos {
            let words: BTreeSet<&str> =
                photo.annotations.iter().filter_map(|one| one.word("blank")).collect();
            let words = words.into_iter().collect::<Vec<_>>().join("|");
            csv.write_record([photo.id.as_str(), &words, photo.site.as_deref().unwrap_or_default()])?;
        }
        Ok(())
    })
}
