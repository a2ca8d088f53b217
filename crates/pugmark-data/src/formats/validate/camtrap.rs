//! Rules of Camtrap DP 1.0: the package's description and its three tables with their keys.

mod fields;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::Value;

use super::csv_files::{Line, Sheet};
use super::{Findings, shown};
use crate::error::DataError;
use crate::formats::camtrap::{DESIGNS, Description, METHODS, ROLES, resource};
use crate::formats::file::folder_of;
use crate::formats::json::{Item, walk};

use fields::{Field, Kind, TABLES};

/// What the description must have.
const REQUIRED: [&str; 8] =
    ["resources", "profile", "created", "contributors", "project", "spatial", "temporal", "taxonomic"];

const LEVELS: [&str; 2] = ["media", "event"];
pub(super) fn check(path: &Path, findings: &mut Findings) -> Result<usize, DataError> {
    let file = if path.is_dir() { path.join("datapackage.json") } else { path.to_owned() };
    let mut keys: HashMap<String, Value> = HashMap::new();
    let file_name = "datapackage.json";
    if !file.is_file() {
        let hint = "a package has a file of this name that describes it";
        findings.error("description", file_name, "there is none", hint);
        return Ok(0);
    }
    walk(&file, &mut |key, item| match item {
        Item::Element(_, value) => {
            if let Value::Array(list) = keys.entry(key.to_owned()).or_insert_with(|| Value::Array(Vec::new()))
            {
                list.push(value);
            }
        }
        Item::End(0) => drop(keys.insert(key.to_owned(), Value::Array(Vec::new()))),
        Item::End(_) => {}
        Item::Whole(value) => drop(keys.insert(key.to_owned(), value)),
    })?;
    description(&keys, findings);
    let (description, folder) = (Description::read(&file)?, folder_of(&file));
    let mut tables = Tables::default();
    let mut media = 0;
    for (name, fields) in TABLES {
        let file = resource(&description, &folder, name);
        if !file.is_file() {
            let problem = format!("there is no table {}", file.display());
            findings.error(
                "table-missing",
                name,
                problem,
                "a package has deployments, media and observations",
            );
            continue;
        }
        let rows = table(name, fields, &file, &mut tables, findings)?;
        media += if name == "media" { rows } else { 0 };
    }
    Ok(media)
}

fn description(keys: &HashMap<String, Value>, findings: &mut Findings) {
    let at = |key: &str| format!("datapackage.json: {key}");
    for key in REQUIRED {
        if !keys.contains_key(key) {
            let hint = "Camtrap DP demands it, beyond what a Data Package does";
            findings.error("required-keys", at(key), format!("`{key}` is missing"), hint);
        }
    }
    let text = |key: &str| keys.get(key).and_then(Value::as_str);
    if keys.contains_key("profile")
        && !text("profile").is_some_and(|url| url.contains("camtrap-dp-profile.json"))
    {
        let problem = format!("the profile is {}", shown(&keys["profile"]));
        findings.error("profile", at("profile"), problem, "it is the address of camtrap-dp-profile.json");
    }
    if let Some(contributors) = keys.get("contributors").and_then(Value::as_array) {
        for (index, who) in contributors.iter().enumerate() {
            let at = at(&format!("contributors[{index}]"));
            if who.get("title").and_then(Value::as_str).is_none_or(str::is_empty) {
                findings.error(
                    "contributor-title",
                    at.as_str(),
                    "a contributor without a name",
                    "give a title",
                );
            }
            one_of(who.get("role"), &ROLES, "contributor-role", &at, findings);
        }
        if contributors.is_empty() {
            findings.error("contributors", at("contributors"), "nobody", "name at least one contributor");
        }
    }
    if let Some(resources) = keys.get("resources").and_then(Value::as_array) {
        for (name, _) in TABLES {
            let at = at("resources");
            let Some(found) =
                resources.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(name))
            else {
                let hint = "the resources are deployments, media and observations";
                findings.error("resources", at, format!("no resource `{name}`"), hint);
                continue;
            };
            if found.get("profile").and_then(Value::as_str) != Some("tabular-data-resource") {
                let hint = "write \"profile\": \"tabular-data-resource\"";
                findings.error(
                    "resource-profile",
                    at.as_str(),
                    format!("`{name}` has another profile"),
                    hint,
                );
            }
            let wanted = format!("{name}-table-schema.json");
            if !found.get("schema").and_then(Value::as_str).is_some_and(|url| url.ends_with(&wanted)) {
                let hint = "write the address of the table schema of Camtrap DP 1.0";
                findings.error("resource-schema", at, format!("the schema of `{name}` is no {wanted}"), hint);
            }
        }
    }
    if let Some(project) = keys.get("project") {
        for key in ["title", "samplingDesign", "captureMethod", "individualAnimals", "observationLevel"] {
            if project.get(key).is_none() {
                let hint =
                    "a project says its title, design, method, level, and whether animals are told apart";
                findings.error("project", at(&format!("project.{key}")), "it is missing", hint);
            }
        }
        one_of(project.get("samplingDesign"), &DESIGNS, "sampling-design", &at("project"), findings);
        for (key, known) in [("captureMethod", METHODS), ("observationLevel", LEVELS)] {
            let at = at(&format!("project.{key}"));
            match project.get(key).map(Value::as_array) {
                Some(Some(list)) if !list.is_empty() => {
                    list.iter().for_each(|one| one_of(Some(one), &known, "project-list", &at, findings));
                }
                None => {}
                _ => findings.error(
                    "project-list",
                    at,
                    "it is no list with anything in it",
                    "write a list of words",
                ),
            }
        }
    }
    for key in ["start", "end"] {
        let date = keys.get("temporal").and_then(|temporal| temporal.get(key)).and_then(Value::as_str);
        if keys.contains_key("temporal")
            && date.is_none_or(|date| chrono::NaiveDate::parse_from_str(date, "%Y-%m-%d").is_err())
        {
            findings.error(
                "temporal",
                at(&format!("temporal.{key}")),
                "it is no date",
                "write it as 2022-12-31",
            );
        }
    }
    if keys.get("spatial").is_some_and(|spatial| spatial.get("type").and_then(Value::as_str).is_none()) {
        findings.error("spatial", at("spatial"), "it is no GeoJSON", "GeoJSON has a type and coordinates");
    }
    for (index, taxon) in keys.get("taxonomic").and_then(Value::as_array).into_iter().flatten().enumerate() {
        if taxon.get("scientificName").and_then(Value::as_str).is_none() {
            let at = at(&format!("taxonomic[{index}]"));
            findings.error("taxonomic", at, "a taxon without scientificName", "each taxon has one");
        }
    }
}

/// A word of a list, where there is one.
fn one_of(value: Option<&Value>, known: &[&str], rule: &'static str, at: &str, findings: &mut Findings) {
    if let Some(value) = value
        && !value.as_str().is_some_and(|word| known.contains(&word))
    {
        let problem = format!("{} is none of {}", shown(value), known.join(", "));
        findings.error(rule, at, problem, "choose one of these words");
    }
}

/// Keys of the tables that were read.
#[derive(Default)]
struct Tables {
    deployments: HashSet<String>,
    media: HashSet<String>,
}

fn table(
    name: &'static str,
    fields: &[Field],
    file: &Path,
    tables: &mut Tables,
    findings: &mut Findings,
) -> Result<usize, DataError> {
    let mut sheet = Sheet::open(file, findings)?;
    let columns: Vec<(Option<usize>, &Field)> =
        fields.iter().map(|field| (sheet.column(&[field.name]), field)).collect();
    for (column, field) in &columns {
        if column.is_none() {
            let (at, problem) = (format!("{name}, row 1"), format!("no column `{}`", field.name));
            if field.required {
                findings.error("column-missing", at, problem, "add it: its values are required");
            } else {
                let hint =
                    "the schema lists it: strict readers want every column, empty where nothing is known";
                findings.warning("column-absent", at, problem, hint);
            }
        }
    }
    let mut ids = HashSet::new();
    let column =
        |name: &str| columns.iter().find(|(_, field)| field.name == name).and_then(|(column, _)| *column);
    let (deployment, medium) = (column("deploymentID"), column("mediaID"));
    let (level, from, to) = (column("observationLevel"), column("eventStart"), column("eventEnd"));
    while let Some(line) = sheet.next(findings)? {
        let at = |column: &str| format!("{name}, row {}, column `{column}`", line.number);
        for (column, field) in &columns {
            let Some(column) = column else { continue };
            match known(&line, *column) {
                None if field.required => {
                    findings.error(
                        "value-missing",
                        at(field.name),
                        "a required value is missing",
                        "fill it in",
                    );
                }
                None => {}
                Some(text) => {
                    if let Err((rule, problem, hint)) = field.check(text) {
                        findings.error(rule, at(field.name), problem, hint);
                    }
                }
            }
        }
        let value = |column: Option<usize>| column.and_then(|column| known(&line, column));
        let own = columns[0].0.and_then(|column| known(&line, column));
        if let Some(own) = own
            && !ids.insert(own.to_owned())
        {
            findings.error(
                "id-twice",
                at(columns[0].1.name),
                format!("`{own}` is there twice"),
                "ids are unique",
            );
        }
        if name != "deployments"
            && let Some(id) = value(deployment)
            && !tables.deployments.contains(id)
        {
            let problem = format!("`{id}` is no deployment");
            findings.error("deployment-unknown", at("deploymentID"), problem, "add it to deployments.csv");
        }
        if name == "observations" {
            match value(medium) {
                Some(id) if !tables.media.contains(id) => {
                    findings.error(
                        "media-unknown",
                        at("mediaID"),
                        format!("`{id}` is no medium"),
                        "add it to media.csv",
                    );
                }
                None if value(level) == Some("media") => {
                    let hint = "an observation of a medium says which; one of an event has the level `event`";
                    findings.error("media-missing", at("mediaID"), "an observation of no medium", hint);
                }
                _ => {}
            }
            let times = [from, to].map(|column| value(column).and_then(fields::time));
            if let [Some(from), Some(to)] = times
                && from > to
            {
                findings.error(
                    "event-span",
                    at("eventEnd"),
                    "the event ends before it starts",
                    "swap the two",
                );
            }
        }
    }
    match name {
        "deployments" => tables.deployments = ids,
        "media" => tables.media = ids,
        _ => {}
    }
    Ok(sheet.rows)
}

/// A value that is not missing in the format's words.
fn known(line: &Line, column: usize) -> Option<&str> {
    let text = line.value(column);
    (!matches!(text, "" | "NA" | "NaN" | "nan")).then_some(text)
}

impl Field {
    /// What is wrong with a value: rule, problem, hint.
    fn check(&self, text: &str) -> Result<(), (&'static str, String, &'static str)> {
        let wrong = |rule, hint| Err((rule, format!("`{text}` is no {}", self.kind.name()), hint));
        match self.kind {
            Kind::Text => Ok(()),
            Kind::Bool => match text {
                "true" | "false" | "True" | "False" | "TRUE" | "FALSE" | "1" | "0" => Ok(()),
                _ => wrong("bool", "write true or false"),
            },
            Kind::Time if fields::time(text).is_some() => Ok(()),
            Kind::Time => wrong("time", "write 2022-12-31T09:52:50+02:00: the time zone must be there"),
            Kind::Number { from, to } => match text.parse::<f64>() {
                Ok(number) if (from..=to).contains(&number) => Ok(()),
                _ => wrong("number", "the specification gives its range"),
            },
            Kind::Integer { from, to } => match text.parse::<i64>() {
                Ok(number) if (from..=to).contains(&number) => Ok(()),
                _ => wrong("integer", "the specification gives its range"),
            },
            Kind::Word(known) if known.contains(&text) => Ok(()),
            Kind::Word(known) => Err((
                "word",
                format!("`{text}` is none of {}", known.join(", ")),
                "choose one of these words",
            )),
            Kind::Path if crate::formats::camtrap::is_path(text) => Ok(()),
            Kind::Path => wrong("path", "it must not begin with . / ~ nor hold two dots in a row"),
            Kind::MediaType => match text.split_once('/') {
                Some(("image" | "video" | "audio", kind)) if !kind.is_empty() => Ok(()),
                _ => wrong("media-type", "write image/jpeg or the like"),
            },
        }
    }
}
