//! `datapackage.json` out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, FixedOffset};
use serde::Serialize;

use super::package::{Contributor, Package};
use super::write::Place;
use crate::error::DataError;
use crate::formats::file::Watch;
use crate::formats::json;

/// The version that is written, and where its schemas are.
const SCHEMAS: &str = "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.2";

#[derive(Serialize)]
struct Description<'a> {
    resources: Vec<Resource>,
    profile: String,
    created: String,
    contributors: &'a [Contributor],
    project: Project<'a>,
    spatial: Spatial,
    temporal: Temporal,
    taxonomic: Vec<Taxon<'a>>,
}

#[derive(Serialize)]
struct Resource {
    name: &'static str,
    path: String,
    profile: &'static str,
    format: &'static str,
    mediatype: &'static str,
    encoding: &'static str,
    schema: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Project<'a> {
    title: &'a str,
    sampling_design: &'a str,
    capture_method: &'a [String],
    individual_animals: bool,
    observation_level: Vec<&'static str>,
}

/// GeoJSON.
#[derive(Serialize)]
#[serde(tag = "type", content = "coordinates")]
enum Spatial {
    MultiPoint(Vec<[f64; 2]>),
    Polygon([[[f64; 2]; 5]; 1]),
}

#[derive(Serialize)]
struct Temporal {
    start: String,
    end: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Taxon<'a> {
    scientific_name: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    vernacular_names: BTreeMap<&'static str, &'a str>,
}

pub(super) fn write_description(
    file: &Path,
    package: &Package,
    places: &[Place<'_>],
    taxa: &BTreeMap<String, String>,
    events: bool,
    watch: &Watch<'_, '_>,
) -> Result<(), DataError> {
    let resource = |name| Resource {
        name,
        path: format!("{name}.csv"),
        profile: "tabular-data-resource",
        format: "csv",
        mediatype: "text/csv",
        encoding: "utf-8",
        schema: format!("{SCHEMAS}/{name}-table-schema.json"),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let created = DateTime::from_timestamp(now, 0).unwrap_or_default();
    // Known to be there: see `known_of_project`, and a package has media, so it has deployments.
    let starts = places.iter().map(|place| place.start).min();
    let ends = places.iter().map(|place| place.end).max();
    let date = |time: Option<DateTime<FixedOffset>>| time.map(|time| time.format("%Y-%m-%d").to_string());
    let description = Description {
        resources: ["deployments", "media", "observations"].map(resource).into_iter().collect(),
        profile: format!("{SCHEMAS}/camtrap-dp-profile.json"),
        created: created.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        contributors: &package.contributors,
        project: Project {
            title: package.title.as_deref().unwrap_or_default(),
            sampling_design: package.sampling_design.as_deref().unwrap_or_default(),
            capture_method: &package.capture_method,
            individual_animals: package.individual_animals.unwrap_or_default(),
            observation_level: if events { vec!["media", "event"] } else { vec!["media"] },
        },
        spatial: spatial(places),
        temporal: Temporal { start: date(starts).unwrap_or_default(), end: date(ends).unwrap_or_default() },
        taxonomic: taxa
            .iter()
            .map(|(name, word)| Taxon {
                scientific_name: name,
                vernacular_names: (name != word).then_some(("eng", word.as_str())).into_iter().collect(),
            })
            .collect(),
    };
    json::write(file, watch, &description)
}

/// The rectangle around all deployments; the points themselves where that has no area.
fn spatial(places: &[Place<'_>]) -> Spatial {
    let bounds = |degrees: fn(&Place<'_>) -> f64| {
        let values = places.iter().map(degrees);
        (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max))
    };
    let (west, east) = bounds(|place| place.longitude);
    let (south, north) = bounds(|place| place.latitude);
    if west < east && south < north {
        return Spatial::Polygon([[
            [west, south],
            [east, south],
            [east, north],
            [west, north],
            [west, south],
        ]]);
    }
    Spatial::MultiPoint(places.iter().map(|place| [place.longitude, place.latitude]).collect())
}
