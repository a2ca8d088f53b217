//! `observations.csv` out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use chrono::{DateTime, FixedOffset};

use super::package::Package;
use super::write::{Medium, text};
use crate::error::DataError;
use crate::formats::file::{Watch, write_csv};
use crate::formats::{Annotation, Label, Method};

const OBSERVATIONS: [&str; 28] = [
    "observationID",
    "deploymentID",
    "mediaID",
    "eventID",
    "eventStart",
    "eventEnd",
    "observationLevel",
    "observationType",
    "cameraSetupType",
    "scientificName",
    "count",
    "lifeStage",
    "sex",
    "behavior",
    "individualID",
    "individualPositionRadius",
    "individualPositionAngle",
    "individualSpeed",
    "bboxX",
    "bboxY",
    "bboxWidth",
    "bboxHeight",
    "classificationMethod",
    "classifiedBy",
    "classificationTimestamp",
    "classificationProbability",
    "observationTags",
    "observationComments",
];

/// What the observations are about.
pub(super) struct Observed {
    /// Scientific names, each with the class it was written for.
    pub(super) taxa: BTreeMap<String, String>,
    /// Classes that the project gives no scientific name.
    pub(super) unnamed: Vec<String>,
    /// Whether there are observations of events.
    pub(super) events: bool,
}

type Span = (DateTime<FixedOffset>, DateTime<FixedOffset>);

/// One observation of an event: said of every photo of it, written once.
type EventKey<'a> = (&'a str, &'a str, Option<&'a Label>, Option<u32>, Option<&'a str>);

pub(super) fn write_observations(
    file: &Path,
    media: &[Medium<'_>],
    package: &Package,
    watch: &Watch<'_, '_>,
) -> Result<Observed, DataError> {
    let mut spans: HashMap<(&str, &str), Span> = HashMap::new();
    for medium in media {
        if let Some(sequence) = medium.photo.sequence.as_deref() {
            let span = spans.entry((medium.deployment, sequence)).or_insert((medium.time, medium.time));
            *span = (span.0.min(medium.time), span.1.max(medium.time));
        }
    }
    let mut observed = Observed { taxa: BTreeMap::new(), unnamed: Vec::new(), events: false };
    let mut said: HashSet<EventKey<'_>> = HashSet::new();
    write_csv(file, watch, |csv| {
        csv.write_record(OBSERVATIONS)?;
        for medium in media {
            let sequence = medium.photo.sequence.as_deref();
            for (index, one) in medium.photo.annotations.iter().enumerate() {
                let event = sequence.filter(|_| one.of_sequence);
                if let Some(event) = event
                    && !said.insert((
                        medium.deployment,
                        event,
                        one.label.as_ref(),
                        one.count,
                        one.by.as_deref(),
                    ))
                {
                    continue;
                }
                let span =
                    event.map_or((medium.time, medium.time), |event| spans[&(medium.deployment, event)]);
                observed.events |= event.is_some();
                let (kind, name) = observed.kind_and_name(one, package);
                let [start, end] = [span.0, span.1].map(text);
                let id = format!("{}/{index}", medium.id);
                let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
                let [x, y, width, height] = match one.area {
                    Some(area) => [area.x, area.y, area.width, area.height].map(|side| side.to_string()),
                    None => Default::default(),
                };
                let sure = match &one.label {
                    Some(_) => one.confidence,
                    None => one.detection.as_ref().map(|found| found.confidence),
                };
                let (count, probability) =
                    (one.count.map_or_else(String::new, |count| count.to_string()), number(sure));
                let row = OBSERVATIONS.map(|column| match column {
                    "observationID" => id.as_str(),
                    "deploymentID" => medium.deployment,
                    "mediaID" if event.is_none() => medium.id,
                    "eventID" => sequence.unwrap_or_default(),
                    "eventStart" => &start,
                    "eventEnd" => &end,
                    "observationLevel" => {
                        if event.is_some() {
                            "event"
                        } else {
                            "media"
                        }
                    }
                    "observationType" => kind,
                    "scientificName" => name,
                    "count" => &count,
                    "bboxX" => &x,
                    "bboxY" => &y,
                    "bboxWidth" => &width,
                    "bboxHeight" => &height,
                    "classificationMethod" => match one.method {
                        Some(Method::Human) => "human",
                        Some(Method::Machine) => "machine",
                        None => "",
                    },
                    "classifiedBy" => one.by.as_deref().unwrap_or_default(),
                    "classificationProbability" => &probability,
                    _ => "",
                });
                csv.write_record(row)?;
            }
        }
        Ok(())
    })?;
    observed.unnamed.sort_unstable();
    observed.unnamed.dedup();
    Ok(observed)
}

impl Observed {
    /// `observationType` and `scientificName` of an annotation.
    fn kind_and_name<'a>(&mut self, one: &'a Annotation, package: &'a Package) -> (&'static str, &'a str) {
        let word = match &one.label {
            Some(Label::Blank) => return ("blank", ""),
            Some(Label::Class(word)) => word,
            None => match one.detection.as_ref().map(|found| &*found.category) {
                Some("person" | "human") => return ("human", ""),
                Some("vehicle") => return ("vehicle", ""),
                Some(_) => return ("animal", ""),
                None => return ("unclassified", ""),
            },
        };
        match &**word {
            "person" | "human" => ("human", ""),
            "vehicle" => ("vehicle", ""),
            "animal" => ("animal", ""),
            word => {
                let name = package.taxa.get(word).map_or(word, String::as_str);
                if !self.taxa.contains_key(name) {
                    self.taxa.insert(name.to_owned(), word.to_owned());
                    // A scientific name has a genus with a capital and no underscore.
                    let scientific = name.starts_with(char::is_uppercase) && !name.contains('_');
                    if name == word && !scientific {
                        self.unnamed.push(word.to_owned());
                    }
                }
                ("animal", name)
            }
        }
    }
}
