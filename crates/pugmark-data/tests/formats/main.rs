//! Label formats: what is read, written and found wrong.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

#[path = "../common/mod.rs"]
mod common;
mod ena24;
mod reading;
mod round_trip;
mod rules;
mod writing;

use std::fs;
use std::path::Path;

use pugmark_data::DataError;
use pugmark_data::formats::{
    Format, LabelTable, TableOptions, WriteOptions, Written, read_table, write_table,
};
use tempfile::TempDir;

/// What Camtrap DP demands of a project.
const METADATA: &str = "title = \"A test\"\nsampling_design = \"opportunistic\"\n\
    capture_method = [\"activityDetection\"]\nindividual_animals = false\n\n\
    [[contributors]]\ntitle = \"A. Person\"\nrole = \"contact\"\n";

/// A folder with files, each a name and its content.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn read(path: &Path) -> Result<LabelTable, DataError> {
    read_table(path, None, &TableOptions::default())
}

fn write(
    table: &LabelTable,
    format: Format,
    path: &Path,
    options: &WriteOptions,
) -> Result<Written, DataError> {
    write_table(table, format, path, options, &mut |_| true)
}

/// Each photo's id with its labels in words, for comparison; a blank is `-`.
fn words(table: &LabelTable) -> Vec<(&str, Vec<&str>)> {
    table
        .photos
        .iter()
        .map(|photo| {
            let named = photo.annotations.iter().filter_map(|one| one.label.as_ref());
            (photo.id.as_str(), named.map(|label| label.word("-")).collect())
        })
        .collect()
}
