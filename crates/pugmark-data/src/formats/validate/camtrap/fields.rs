//! The fields of the three tables of Camtrap DP 1.0.2: names, types and limits.

use chrono::{DateTime, FixedOffset};

/// A column.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) kind: Kind,
}

/// What a value may be.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Bool,
    /// Date and time with a time zone.
    Time,
    Number {
        from: f64,
        to: f64,
    },
    Integer {
        from: i64,
        to: i64,
    },
    Word(&'static [&'static str]),
    /// A relative path or an address.
    Path,
    MediaType,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Bool => "truth value",
            Self::Time => "time with a time zone",
            Self::Number { .. } => "number within its range",
            Self::Integer { .. } => "whole number within its range",
            Self::Word(_) => "word of the list",
            Self::Path => "path",
            Self::MediaType => "media type",
        }
    }
}

/// Reads a time as the specification wants it: `%Y-%m-%dT%H:%M:%S%z`.
pub(super) fn time(text: &str) -> Option<DateTime<FixedOffset>> {
    // Z is a time zone too.
    let zoned = text.strip_suffix('Z').map_or_else(|| text.to_owned(), |clock| format!("{clock}+0000"));
    DateTime::parse_from_str(&zoned, "%Y-%m-%dT%H:%M:%S%z").ok()
}

const fn must(name: &'static str, kind: Kind) -> Field {
    Field { name, required: true, kind }
}

const fn may(name: &'static str, kind: Kind) -> Field {
    Field { name, required: false, kind }
}

const fn number(from: f64, to: f64) -> Kind {
    Kind::Number { from, to }
}

const fn integer(from: i64, to: i64) -> Kind {
    Kind::Integer { from, to }
}

/// The tables; the first field of each is its key.
pub(super) const TABLES: [(&str, &[Field]); 3] =
    [("deployments", &DEPLOYMENTS), ("media", &MEDIA), ("observations", &OBSERVATIONS)];

const DEPLOYMENTS: [Field; 24] = [
    must("deploymentID", Kind::Text),
    may("locationID", Kind::Text),
    may("locationName", Kind::Text),
    must("latitude", number(-90.0, 90.0)),
    must("longitude", number(-180.0, 180.0)),
    may("coordinateUncertainty", integer(1, i64::MAX)),
    must("deploymentStart", Kind::Time),
    must("deploymentEnd", Kind::Time),
    may("setupBy", Kind::Text),
    may("cameraID", Kind::Text),
    may("cameraModel", Kind::Text),
    may("cameraDelay", integer(0, i64::MAX)),
    may("cameraHeight", number(0.0, f64::MAX)),
    may("cameraDepth", number(0.0, f64::MAX)),
    may("cameraTilt", integer(-90, 90)),
    may("cameraHeading", integer(0, 360)),
    may("detectionDistance", number(0.0, f64::MAX)),
    may("timestampIssues", Kind::Bool),
    may("baitUse", Kind::Bool),
    may(
        "featureType",
        Kind::Word(&[
            "roadPaved",
            "roadDirt",
            "trailHiking",
            "trailGame",
            "roadUnderpass",
            "roadOverpass",
            "roadBridge",
            "culvert",
            "burrow",
            "nestSite",
            "carcass",
            "waterSource",
            "fruitingTree",
        ]),
    ),
    may("habitat", Kind::Text),
    may("deploymentGroups", Kind::Text),
    may("deploymentTags", Kind::Text),
    may("deploymentComments", Kind::Text),
];

const MEDIA: [Field; 11] = [
    must("mediaID", Kind::Text),
    must("deploymentID", Kind::Text),
    may("captureMethod", Kind::Word(&["activityDetection", "timeLapse"])),
    must("timestamp", Kind::Time),
    must("filePath", Kind::Path),
    must("filePublic", Kind::Bool),
    may("fileName", Kind::Text),
    must("fileMediatype", Kind::MediaType),
    may("exifData", Kind::Text),
    may("favorite", Kind::Bool),
    may("mediaComments", Kind::Text),
];

const OBSERVATIONS: [Field; 28] = [
    must("observationID", Kind::Text),
    must("deploymentID", Kind::Text),
    may("mediaID", Kind::Text),
    may("eventID", Kind::Text),
    must("eventStart", Kind::Time),
    must("eventEnd", Kind::Time),
    must("observationLevel", Kind::Word(&["media", "event"])),
    must("observationType", Kind::Word(&["animal", "human", "vehicle", "blank", "unknown", "unclassified"])),
    may("cameraSetupType", Kind::Word(&["setup", "calibration"])),
    may("scientificName", Kind::Text),
    may("count", integer(1, i64::MAX)),
    may("lifeStage", Kind::Word(&["adult", "subadult", "juvenile"])),
    may("sex", Kind::Word(&["female", "male"])),
    may("behavior", Kind::Text),
    may("individualID", Kind::Text),
    may("individualPositionRadius", number(0.0, f64::MAX)),
    may("individualPositionAngle", number(-90.0, 90.0)),
    may("individualSpeed", number(0.0, f64::MAX)),
    may("bboxX", number(0.0, 1.0)),
    may("bboxY", number(0.0, 1.0)),
    may("bboxWidth", number(1e-15, 1.0)),
    may("bboxHeight", number(1e-15, 1.0)),
    may("classificationMethod", Kind::Word(&["human", "machine"])),
    may("classifiedBy", Kind::Text),
    may("classificationTimestamp", Kind::Time),
    may("classificationProbability", number(0.0, 1.0)),
    may("observationTags", Kind::Text),
    may("observationComments", Kind::Text),
];
