//! The tables of a prepared folder, for programs, and its summary, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::form::{Form, Store};
use super::listing::{Listing, Outcome, Row};
use crate::dataset::Part;

/// Every photo but those of the test part, and those.
pub(crate) const TABLES: [&str; 2] = ["train_metadata.csv", "test_metadata.csv"];

/// A photo in a table: the columns.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct TableRow {
    pub(crate) id: String,
    pub(crate) label: Option<String>,
    pub(crate) split: Option<Part>,
    pub(crate) site: Option<String>,
    pub(crate) sequence: Option<String>,
    pub(crate) time: Option<String>,
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    pub(crate) truncated: bool,
    /// Why it cannot be decoded; it then has neither size nor place.
    pub(crate) reason: Option<String>,
    pub(crate) shard: Option<String>,
    /// Its name in the shard, without the extension.
    pub(crate) key: String,
    /// Where in the shard the photo begins, and its length.
    pub(crate) offset: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

impl TableRow {
    fn new(shard: &Listing, row: &Row) -> Self {
        let photo = row.photo.clone();
        let (packed, reason) = match &row.outcome {
            Outcome::Packed { .. } => (true, None),
            Outcome::Broken { reason } => (false, Some(reason.clone())),
        };
        let (width, height, truncated, offset, bytes) = match row.outcome {
            Outcome::Packed { width, height, truncated, offset, bytes } => {
                (Some(width as u32), Some(height as u32), truncated, Some(offset), Some(bytes))
            }
            Outcome::Broken { .. } => (None, None, false, None, None),
        };
        Self {
            id: photo.id,
            label: photo.label,
            split: photo.split,
            site: photo.site,
            sequence: photo.sequence,
            time: photo.time,
            width,
            height,
            truncated,
            reason,
            shard: packed.then(|| shard.name.clone()),
            key: photo.key,
            offset,
            bytes,
        }
    }
}

/// The tables, sorted by id.
pub(super) fn write(listings: &[Listing]) -> Vec<(&'static str, String)> {
    let mut rows: Vec<(&Listing, &Row)> =
        listings.iter().flat_map(|listing| listing.photos.iter().map(move |row| (listing, row))).collect();
    rows.sort_unstable_by(|(_, a), (_, b)| a.photo.id.cmp(&b.photo.id));
    let table = |test: bool| {
        let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        // Written by hand, so that a table without photos has one too. Writing to memory does not fail.
        let _ = csv.write_record(COLUMNS);
        for (listing, row) in &rows {
            if (row.photo.split == Some(Part::Test)) == test {
                let _ = csv.serialize(TableRow::new(listing, row));
            }
        }
        String::from_utf8(csv.into_inner().unwrap_or_default()).unwrap_or_default()
    };
    TABLES.into_iter().zip([table(false), table(true)]).collect()
}

const COLUMNS: [&str; 14] = [
    "id",
    "label",
    "split",
    "site",
    "sequence",
    "time",
    "width",
    "height",
    "truncated",
    "reason",
    "shard",
    "key",
    "offset",
    "bytes",
];

/// What was prepared, without anything that differs between two runs.
pub(super) fn summary(form: &Form, classes: &[String], listings: &[Listing]) -> String {
    let rows = || listings.iter().flat_map(|listing| &listing.photos);
    let count = |wanted: &dyn Fn(&Outcome) -> bool| rows().filter(|row| wanted(&row.outcome)).count();
    let mut text = String::from("pugmark prepare\n\n");
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<16}{value}");
    };
    line("photos", rows().count().to_string());
    line("  packed", count(&|outcome| matches!(outcome, Outcome::Packed { .. })).to_string());
    line(
        "  cut off",
        count(&|outcome| matches!(outcome, Outcome::Packed { truncated: true, .. })).to_string(),
    );
    line("  broken", count(&|outcome| matches!(outcome, Outcome::Broken { .. })).to_string());
    line("size", form.size.map_or("as the photos have".into(), |size| format!("{size} x {size}, squashed")));
    line(
        "stored as",
        match form.store {
            Store::Raw => "RGB (.npy)".into(),
            Store::Jpeg => format!("JPEG quality {}, 4:4:4", form.quality.unwrap_or(95)),
        },
    );
    line("bytes read", rows().map(|row| row.source_bytes).sum::<u64>().to_string());
    line("bytes written", listings.iter().map(|listing| listing.bytes).sum::<u64>().to_string());
    line("shards", listings.len().to_string());
    let mut counts: BTreeMap<(Option<usize>, &str), usize> = BTreeMap::new();
    for row in rows() {
        *counts.entry((row.photo.class, row.photo.split.map_or("", Part::name))).or_default() += 1;
    }
    text.push_str("\nphotos  part   class\n");
    for ((class, part), count) in counts {
        let class = class.map_or("(no label)", |class| classes[class].as_str());
        let _ = writeln!(text, "{count:>6}  {:<5}  {class}", if part.is_empty() { "-" } else { part });
    }
    text
}
