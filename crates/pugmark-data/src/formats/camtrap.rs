//! Camtrap DP 1.0 (<https://camtrap-dp.tdwg.org>): a folder of `datapackage.json`, `deployments.csv`, `media.csv` and
//! `observations.csv`.

mod describe;
mod events;
mod observations;
mod package;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::blank;
use super::file::folder_of;
use super::table::{Words, label};
use super::{
    Annotation, Area, Format, FormatError, Label, LabelTable, LabelledPhoto, Method, TableOptions, Word,
};
use crate::dataset::{Note, counted};
use crate::error::DataError;
use crate::read::{Row, Rows, as_id};
use crate::time::CaptureTime;

use events::{Event, Events};
pub use package::{Contributor, Package};
pub(super) use package::{DESIGNS, Description, METHODS, ROLES, resource};
pub(super) use write::{is_path, write};

/// One time that a camera stood at a place.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Deployment {
    /// The place's id.
    pub location: Option<Word>,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// When it was put up.
    pub start: Option<CaptureTime>,
    /// When it was taken down.
    pub end: Option<CaptureTime>,
}

/// Reads a package, given as its folder or its `datapackage.json`.
///
/// Observations of media are labels of those photos. Observations of events are labels of the photos that the
/// deployment took during the event and that have no observation of their own.
pub(super) fn read(path: &Path, options: &TableOptions) -> Result<LabelTable, DataError> {
    let file = if path.is_dir() { path.join("datapackage.json") } else { path.to_owned() };
    let description = Description::read(&file)?;
    let own = folder_of(&file);
    let folder = options.photos.clone().unwrap_or_else(|| own.clone());
    let mut table = LabelTable::new(path, &folder, Format::CamtrapDp);
    let mut words = Words::default();
    let blank = blank::word(Format::CamtrapDp, options);
    table.deployments =
        read_deployments(&resource(&description, &own, "deployments"), &["deploymentID"], &mut words)?;
    let media = read_media(&resource(&description, &own, "media"), &mut table, &mut words)?;
    table.check_unique("media")?;
    let mut reader =
        Observations { media: &media, words, blank, nameless: 0, of_videos: 0, events: Vec::new() };
    reader.read(&resource(&description, &own, "observations"), &mut table)?;
    let Observations { nameless, of_videos, events, .. } = reader;
    let of_events = Events::new(&table.photos).apply(events, &mut table.photos);
    table.notes.extend(of_events);
    for (count, what) in [(nameless, "unknown or unclassified"), (of_videos, "of files that are no photos")] {
        if count > 0 {
            let text = format!("left out, being {what}: {}", counted(count, "observation"));
            table.notes.push(Note { text, items: Vec::new() });
        }
    }
    table.package = description.package();
    Ok(table)
}

/// A value; the words that the format has for a missing one are none.
fn value(row: &Row, column: Option<usize>) -> Option<&str> {
    let text = row.value(column?);
    (!matches!(text, "" | "NA" | "NaN" | "nan")).then_some(text)
}

/// A value that is written as a number or a time.
fn parsed<T: std::str::FromStr>(
    rows: &Rows,
    row: &Row,
    column: Option<usize>,
) -> Result<Option<T>, DataError> {
    let (Some(column), Some(text)) = (column, value(row, column)) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let at = format!("row {}, column `{}`", row.line, rows.header[column]);
        let problem = format!("`{text}` cannot be read");
        let hint = "numbers have a decimal point, times look like 2022-12-31T09:52:50+02:00";
        FormatError::Entry { file: rows.file.clone(), at, problem, hint }.into()
    })
}

/// A column that the table must have.
fn must_have(rows: &Rows, name: &'static str) -> Result<usize, DataError> {
    Rows::column(&rows.header, &[name]).ok_or_else(|| DataError::MissingColumns {
        file: rows.file.clone(),
        wanted: name,
        found: rows.header.clone(),
    })
}

/// The deployments of a table whose ids are in the first of the columns `names` that it has.
fn read_deployments(
    file: &Path,
    names: &[&str],
    words: &mut Words,
) -> Result<BTreeMap<Word, Deployment>, DataError> {
    let mut rows = Rows::open_ragged(file)?;
    let column = |names: &[&str]| Rows::column(&rows.header, names);
    let Some(id) = column(names) else {
        let (file, found) = (file.to_owned(), rows.header);
        return Err(DataError::MissingColumns { file, wanted: "deploymentID", found });
    };
    let [location_id, location_name] = [column(&["locationID"]), column(&["locationName"])];
    let [latitude, longitude] = [column(&["latitude"]), column(&["longitude"])];
    let [start, end] = [column(&["deploymentStart", "start"]), column(&["deploymentEnd", "end"])];
    let mut deployments = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let deployment = Deployment {
            location: words.known(value(&row, location_id).or_else(|| value(&row, location_name))),
            latitude: parsed(&rows, &row, latitude)?,
            longitude: parsed(&rows, &row, longitude)?,
            start: parsed(&rows, &row, start)?,
            end: parsed(&rows, &row, end)?,
        };
        let id = words.get(rows.required(&row, id)?);
        let problem = format!("a second deployment `{id}`");
        if deployments.insert(id, deployment).is_some() {
            let at = format!("row {}", row.line);
            let hint = "each deployment has one row";
            return Err(FormatError::Entry { file: file.to_owned(), at, problem, hint }.into());
        }
    }
    Ok(deployments)
}

/// Reads the media; where each id is in the table, none for those that are no photos.
fn read_media(
    file: &Path,
    table: &mut LabelTable,
    words: &mut Words,
) -> Result<HashMap<String, Option<usize>>, DataError> {
    let mut rows = Rows::open_ragged(file)?;
    let [id, deployment, path] =
        [must_have(&rows, "mediaID")?, must_have(&rows, "deploymentID")?, must_have(&rows, "filePath")?];
    let column = |name: &str| Rows::column(&rows.header, &[name]);
    let [time, kind] = [column("timestamp"), column("fileMediatype")];
    let mut places = HashMap::new();
    let mut no_photos = Vec::new();
    while let Some(row) = rows.next()? {
        let media = rows.required(&row, id)?.to_owned();
        let path = as_location(rows.required(&row, path)?);
        let place = match value(&row, kind).is_none_or(|kind| kind.starts_with("image/")) {
            true => Some(table.photos.len()),
            false => None,
        };
        if places.insert(media.clone(), place).is_some() {
            let (at, problem) = (format!("row {}", row.line), format!("a second medium `{media}`"));
            let hint = "each mediaID has one row";
            return Err(FormatError::Entry { file: file.to_owned(), at, problem, hint }.into());
        }
        if place.is_none() {
            no_photos.push(path);
            continue;
        }
        let deployment = words.get(rows.required(&row, deployment)?);
        let location = table.deployments.get(&deployment).and_then(|known| known.location.clone());
        table.photos.push(LabelledPhoto {
            key: (media != path).then_some(media),
            id: path,
            // A deployment without a location is a place of its own.
            site: Some(location.unwrap_or_else(|| deployment.clone())),
            deployment: Some(deployment),
            time: parsed(&rows, &row, time)?,
            ..LabelledPhoto::default()
        });
    }
    if !no_photos.is_empty() {
        let text = format!("left out, being no photo: {}", counted(no_photos.len(), "file"));
        table.notes.push(Note { text, items: no_photos });
    }
    Ok(places)
}

/// A path as an identity; an address stays as it is.
fn as_location(path: &str) -> String {
    if path.contains("://") { path.to_owned() } else { as_id(path) }
}

struct Observations<'a> {
    media: &'a HashMap<String, Option<usize>>,
    words: Words,
    blank: String,
    nameless: usize,
    of_videos: usize,
    events: Vec<Event>,
}

impl Observations<'_> {
    fn read(&mut self, file: &Path, table: &mut LabelTable) -> Result<(), DataError> {
        let mut rows = Rows::open_ragged(file)?;
        let kind = must_have(&rows, "observationType")?;
        let column = |name: &str| Rows::column(&rows.header, &[name]);
        let [media, event, deployment] = [column("mediaID"), column("eventID"), column("deploymentID")];
        let [start, end] = [column("eventStart"), column("eventEnd")];
        let [name, count] = [column("scientificName"), column("count")];
        let [method, by, probability] =
            [column("classificationMethod"), column("classifiedBy"), column("classificationProbability")];
        let bbox = ["bboxX", "bboxY", "bboxWidth", "bboxHeight"].map(column);
        while let Some(row) = rows.next()? {
            let numbers = [0, 1, 2, 3].map(|side| parsed::<f64>(&rows, &row, bbox[side]));
            let [x, y, width, height] = numbers;
            let area = match (x?, y?, width?, height?) {
                (Some(x), Some(y), Some(width), Some(height)) => Some(Area { x, y, width, height }),
                _ => None,
            };
            let label = self.label(&rows, &row, kind, name)?;
            let method = match value(&row, method) {
                Some("human") => Some(Method::Human),
                Some("machine") => Some(Method::Machine),
                _ => None,
            };
            let annotation = Annotation {
                label,
                confidence: parsed(&rows, &row, probability)?,
                area,
                count: parsed(&rows, &row, count)?,
                method,
                by: self.words.known(value(&row, by)),
                ..Annotation::default()
            };
            let sequence = self.words.known(value(&row, event));
            match value(&row, media) {
                Some(id) => match self.media.get(id) {
                    Some(Some(place)) => self.of_medium(&mut table.photos[*place], annotation, sequence),
                    Some(None) => self.of_videos += 1,
                    None => {
                        let problem = format!("mediaID `{id}` is not in the table of media");
                        let (file, at) = (file.to_owned(), format!("row {}", row.line));
                        let hint = "add the medium, or remove the observation";
                        return Err(FormatError::Entry { file, at, problem, hint }.into());
                    }
                },
                None if annotation.label.is_none() => self.nameless += 1,
                None => self.events.push(Event {
                    row: row.line,
                    deployment: self.words.known(value(&row, deployment)),
                    from: parsed(&rows, &row, start)?,
                    to: parsed(&rows, &row, end)?,
                    sequence,
                    annotation,
                }),
            }
        }
        Ok(())
    }

    fn of_medium(&mut self, photo: &mut LabelledPhoto, annotation: Annotation, sequence: Option<Word>) {
        photo.sequence = photo.sequence.take().or(sequence);
        if annotation.label.is_none() && annotation.area.is_none() {
            self.nameless += 1;
        } else {
            photo.say(annotation);
        }
    }

    /// What is seen; none for what the format calls unknown or unclassified.
    fn label(
        &mut self,
        rows: &Rows,
        row: &Row,
        kind: usize,
        name: Option<usize>,
    ) -> Result<Option<Label>, DataError> {
        Ok(match rows.required(row, kind)? {
            "blank" => Some(Label::Blank),
            "unknown" | "unclassified" => None,
            "animal" => Some(label(value(row, name).unwrap_or("animal"), &self.blank, &mut self.words)),
            // Of people and vehicles the kind says more than a scientific name.
            kind @ ("human" | "vehicle") => Some(Label::Class(self.words.get(kind))),
            other => {
                let at = format!("row {}, column `{}`", row.line, rows.header[kind]);
                let problem = format!("`{other}` is no kind of observation");
                let hint = "the kinds are animal, human, vehicle, blank, unknown and unclassified";
                return Err(FormatError::Entry { file: rows.file.clone(), at, problem, hint }.into());
            }
        })
    }
}
