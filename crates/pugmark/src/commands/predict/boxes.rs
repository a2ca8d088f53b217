//! A detector's boxes: each animal is looked at by itself, and a photo's answer is that of its surest box.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use pugmark_data::formats::{
    Format, Label, LabelTable, LabelledPhoto, Method, TableOptions, Word, read_table,
};
use pugmark_data::{Digest, Item, Stored};
use pugmark_model::Prediction;

use super::files::OnPrediction;
use super::outputs::Each;
use crate::arguments::BoxFlags;
use crate::commands::data;
use crate::error::WrongCall;
use crate::printer::Printer;

/// What the detector calls animals.
const ANIMAL: &str = "animal";

/// Why a photo without a box has no probabilities.
pub(super) const NO_ANIMAL: &str = "the detector found no animal";

/// Why one that the detector was not asked about has none.
pub(super) const UNNAMED: &str = "the detector's file says nothing of it";

/// The boxes of a call's photos.
pub(super) struct Boxes {
    /// Tells one file and how it is used from another.
    key: String,
    table: LabelTable,
    photos: Vec<Boxed>,
}

/// A photo, and where its boxes are among the items.
struct Boxed {
    id: String,
    path: PathBuf,
    /// Its row in the table.
    row: Option<usize>,
    /// The boxes' places among the items, and what they are in the row.
    boxes: Range<usize>,
    annotations: Vec<usize>,
    /// The place of the surest.
    surest: usize,
    /// Why it has none.
    without: String,
}

/// The file decides which parts of the photos count, how sure the detector must be, and what is around them.
impl fmt::Debug for Boxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)
    }
}

impl Boxes {
    /// Those of a call, and an item for each of them; none where it names no file.
    pub(super) fn new(
        flags: &BoxFlags,
        items: &[Item],
        printer: &Printer,
    ) -> anyhow::Result<Option<(Self, Vec<Item>)>> {
        let Some(file) = &flags.boxes else { return Ok(None) };
        if let Some(item) = items.iter().find(|item| matches!(item.stored, Some(Stored::Range { .. }))) {
            let message =
                format!("{} lies in a shard, where it is another picture than the detector's", item.id);
            let hint = "name the folder that the photos were prepared from";
            return Err(WrongCall::new(message).with_hint(hint).into());
        }
        data::exists(file, "file for `--boxes`")?;
        let table = read_table(file, Some(Format::MegaDetector), &TableOptions::default())?;
        let threshold = flags.box_threshold.unwrap_or_else(|| table.threshold());
        let margin = flags.box_margin;
        let digest = Digest::of_file(file)?;
        let rows: HashMap<&str, usize> =
            table.photos.iter().enumerate().map(|(row, photo)| (photo.id.as_str(), row)).collect();
        let (mut photos, mut crops) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items {
            let row = rows.get(item.id.as_str()).or_else(|| rows.get(&*path_of(&item.path))).copied();
            let mut photo = Boxed {
                id: item.id.clone(),
                path: item.path.clone(),
                row,
                boxes: crops.len()..crops.len(),
                annotations: Vec::new(),
                surest: crops.len(),
                without: NO_ANIMAL.to_owned(),
            };
            match row.map(|row| &table.photos[row]) {
                None => UNNAMED.clone_into(&mut photo.without),
                Some(LabelledPhoto { failure: Some(why), .. }) => {
                    photo.without = format!("the detector could not read it: {why}");
                }
                Some(row) => photo.find(item, row, threshold, margin, &mut crops),
            }
            photos.push(photo);
        }
        if photos.iter().all(|photo| photo.row.is_none()) {
            let known = table.photos.first().map_or("nothing", |photo| &photo.id);
            let message = format!("{} is of none of these photos: it names {known}", file.display());
            let hint = format!("name the folder that its paths are below; a photo here is {}", items[0].id);
            return Err(WrongCall::new(message).with_hint(hint).into());
        }
        let with = photos.iter().filter(|photo| !photo.boxes.is_empty()).count();
        printer.note(&format!(
            "{} boxes of animals at {threshold} or more, on {with} of {} photos",
            crops.len(),
            photos.len()
        ));
        let unknown: Vec<String> =
            photos.iter().filter(|photo| photo.row.is_none()).map(|photo| photo.id.clone()).collect();
        if !unknown.is_empty() {
            printer.warning(&format!("{} says nothing of {}", file.display(), data::some(&unknown)));
        }
        let key = format!("boxes {digest} {threshold} {margin}");
        Ok(Some((Self { key, table, photos }, crops)))
    }

    /// How many photos there are.
    pub(super) fn photos(&self) -> usize {
        self.photos.len()
    }

    /// One prediction a photo, from those of its boxes, which `each` hands over in the order of the items.
    pub(super) fn predictions(&self, each: Each<'_>, on: OnPrediction<'_>) -> anyhow::Result<()> {
        let mut photos = self.photos.iter().peekable();
        let mut place = 0;
        each(&mut |prediction| {
            while let Some(photo) = photos.next_if(|photo| photo.boxes.end <= place) {
                photo.without(on)?;
            }
            if let Some(photo) = photos.peek().filter(|photo| photo.surest == place) {
                on(Prediction { id: photo.id.clone(), ..prediction })?;
            }
            place += 1;
            Ok(())
        })?;
        photos.try_for_each(|photo| photo.without(on))
    }

    /// The detector's table of these photos, with what the boxes were found to be.
    pub(super) fn table(
        &self,
        classes: &[String],
        model: &str,
        each: Each<'_>,
    ) -> anyhow::Result<LabelTable> {
        let words: Vec<Word> = classes.iter().map(|class| Word::from(class.as_str())).collect();
        let model = Word::from(model);
        let row = |photo: &Boxed| match photo.row {
            Some(row) => self.table.photos[row].clone(),
            None => LabelledPhoto { id: photo.id.clone(), ..LabelledPhoto::default() },
        };
        let mut table = LabelTable { photos: Vec::new(), notes: Vec::new(), ..self.table.clone() };
        table.classes = Some(classes.to_vec());
        table.photos = self.photos.iter().map(row).collect();
        let places = self.photos.iter().enumerate();
        let mut places =
            places.flat_map(|(number, photo)| photo.annotations.iter().map(move |&one| (number, one)));
        let mut failures: Vec<Option<String>> = vec![None; self.photos.len()];
        let mut answered = vec![false; self.photos.len()];
        each(&mut |prediction| {
            let Some((number, annotation)) = places.next() else { return Ok(()) };
            let photo = &mut table.photos[number];
            match prediction.outcome {
                Err(reason) => failures[number] = Some(reason),
                Ok(row) => {
                    answered[number] = true;
                    let mut scores: Vec<(Label, f64)> =
                        words.iter().cloned().map(Label::Class).zip(row.into_iter().map(f64::from)).collect();
                    scores.sort_by(|(_, one), (_, other)| other.total_cmp(one));
                    let annotation = &mut photo.annotations[annotation];
                    (annotation.label, annotation.confidence) = scores.first().cloned().unzip();
                    annotation.scores = scores;
                    annotation.method = Some(Method::Machine);
                    annotation.by = Some(Word::clone(&model));
                }
            }
            Ok(())
        })?;
        // A failure takes the place of all boxes: where one has an answer, the others stay the detector's.
        for ((photo, failure), answered) in table.photos.iter_mut().zip(failures).zip(answered) {
            if !answered && failure.is_some() {
                photo.failure = failure;
            }
        }
        Ok(table)
    }
}

impl Boxed {
    /// Takes the boxes of its row that count as items.
    fn find(&mut self, item: &Item, row: &LabelledPhoto, threshold: f64, margin: f64, crops: &mut Vec<Item>) {
        let (mut number, mut most) = (0, f64::NEG_INFINITY);
        for (place, annotation) in row.annotations.iter().enumerate() {
            let (Some(crop), Some(found)) = (annotation.crop(margin), &annotation.detection) else {
                continue;
            };
            number += 1;
            if &*found.category != ANIMAL || found.confidence < threshold {
                continue;
            }
            if found.confidence > most {
                (most, self.surest) = (found.confidence, crops.len());
            }
            self.annotations.push(place);
            crops.push(Item { id: format!("{}#{number}", item.id), crop: Some(crop.into()), ..item.clone() });
        }
        self.boxes.end = crops.len();
    }

    /// What is said of it where it has no box.
    fn without(&self, on: OnPrediction<'_>) -> anyhow::Result<()> {
        if !self.boxes.is_empty() {
            return Ok(());
        }
        on(Prediction {
            id: self.id.clone(),
            path: self.path.clone(),
            class: None,
            outcome: Err(self.without.clone()),
            truncated: false,
            digest: None,
        })
    }
}

/// As such files write it.
fn path_of(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}
