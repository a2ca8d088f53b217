//! `datapackage.json`, and what a person says of a project in TOML.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::formats::{FormatError, json};

/// The words of `samplingDesign`.
pub(in crate::formats) const DESIGNS: [&str; 6] =
    ["simpleRandom", "systematicRandom", "clusteredRandom", "experimental", "targeted", "opportunistic"];

/// The words of `captureMethod`.
pub(in crate::formats) const METHODS: [&str; 2] = ["activityDetection", "timeLapse"];

/// The words of a contributor's `role`.
pub(in crate::formats) const ROLES: [&str; 5] =
    ["contact", "principalInvestigator", "rightsHolder", "publisher", "contributor"];

/// What Camtrap DP wants to know of a project; read from TOML (see `docs/formats.md`) or from another package.
#[derive(Clone, PartialEq, Deserialize, Default, Debug)]
#[serde(default, deny_unknown_fields)]
pub struct Package {
    /// The project's title.
    pub title: Option<String>,
    /// `simpleRandom`, `systematicRandom`, `clusteredRandom`, `experimental`, `targeted` or `opportunistic`.
    pub sampling_design: Option<String>,
    /// `activityDetection`, `timeLapse` or both.
    pub capture_method: Vec<String>,
    /// Whether animals can be told apart.
    pub individual_animals: Option<bool>,
    /// The people behind it.
    pub contributors: Vec<Contributor>,
    /// Whether anybody may look at the photos.
    pub file_public: bool,
    /// How far the cameras' clocks were ahead of UTC, such as `+02:00`.
    pub timezone: Option<String>,
    /// Scientific names of classes that are not called so.
    pub taxa: BTreeMap<String, String>,
}

/// Somebody who contributed to a project.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Default, Debug)]
#[serde(default)]
pub struct Contributor {
    /// The name.
    pub title: String,
    /// An address to write to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// `contact`, `principalInvestigator`, `rightsHolder`, `publisher` or `contributor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Where the person works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
}

impl Package {
    /// The words that the format does not know, each with what it would have.
    pub(super) fn unknown_words(&self) -> Vec<String> {
        let roles = self.contributors.iter().filter_map(|who| who.role.as_ref());
        let design = self.sampling_design.iter().map(|word| ("sampling_design", word, &DESIGNS[..]));
        let methods = self.capture_method.iter().map(|word| ("capture_method", word, &METHODS[..]));
        let every = design.chain(methods).chain(roles.map(|word| ("role", word, &ROLES[..])));
        let unknown = every.filter(|(_, word, known)| !known.contains(&word.as_str()));
        unknown.map(|(key, word, known)| format!("{key} `{word}` (one of {})", known.join(", "))).collect()
    }

    /// Reads TOML.
    pub(super) fn read(file: &Path) -> Result<Self, DataError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| DataError::Io { path: file.to_owned(), source })?;
        toml::from_str(&text).map_err(|error| {
            let at = error.span().map_or("the file".to_owned(), |span| {
                format!("line {}", 1 + text[..span.start.min(text.len())].matches('\n').count())
            });
            let (problem, hint) = (error.message().to_owned(), "docs/formats.md has an example");
            FormatError::Entry { file: file.to_owned(), at, problem, hint }.into()
        })
    }
}

/// As much of a `datapackage.json` as is read.
#[derive(Deserialize)]
pub(in crate::formats) struct Description {
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    contributors: Vec<Contributor>,
    project: Option<Project>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    path: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Project {
    title: Option<String>,
    sampling_design: Option<String>,
    #[serde(default)]
    capture_method: Vec<String>,
    individual_animals: Option<bool>,
}

impl Description {
    pub(in crate::formats) fn read(file: &Path) -> Result<Self, DataError> {
        if !file.is_file() {
            return Err(DataError::NotFound { path: file.to_owned() });
        }
        json::read(file)
    }

    /// What it says of the project, if anything.
    pub(super) fn package(self) -> Option<Package> {
        let project = self.project?;
        Some(Package {
            title: project.title,
            sampling_design: project.sampling_design,
            capture_method: project.capture_method,
            individual_animals: project.individual_animals,
            contributors: self.contributors,
            ..Package::default()
        })
    }
}

/// Where the table called `name` is: what the description says, else `NAME.csv`.
pub(in crate::formats) fn resource(description: &Description, folder: &Path, name: &str) -> PathBuf {
    let named = description.resources.iter().find(|resource| resource.name == name);
    let path = named.and_then(|resource| resource.path.as_deref());
    folder.join(path.map_or_else(|| format!("{name}.csv"), str::to_owned))
}
