//! A table as a data set to train on: one class a photo.

use std::collections::{HashMap, HashSet};

use super::blank::BLANK;
use super::{Format, Label, LabelTable};
use crate::dataset::{Dataset, Note, Sample, counted};

impl LabelTable {
    /// The photos that have one class, with an empty frame as the class `blank`.
    ///
    /// Photos with several different classes, without a label, broken, or with doubtful detections alone are left out
    /// and listed in notes. Classes are sorted, unless the file orders them. Paths are below [`LabelTable::folder`];
    /// nothing is looked for there.
    pub fn into_dataset(mut self) -> Dataset {
        let mut notes = std::mem::take(&mut self.notes);
        let (kept, left_out) = self.singles();
        notes.extend(left_out);
        let words: HashSet<&str> = kept.iter().map(|(_, label)| label.word(BLANK)).collect();
        let is = |wanted: Label| kept.iter().any(|(_, label)| *label == wanted);
        if is(Label::Blank) && is(Label::Class(BLANK.into())) {
            let text = format!("empty frames and the file's class `{BLANK}` are one class here");
            notes.push(Note { text, items: Vec::new() });
        }
        let mut classes: Vec<String> = words.into_iter().map(str::to_owned).collect();
        classes.sort_unstable();
        if let Some(order) = &self.classes {
            let place = |class: &String| order.iter().position(|known| known == class).unwrap_or(order.len());
            classes.sort_by_key(place);
        }
        let numbers: HashMap<&str, usize> = classes.iter().map(String::as_str).zip(0..).collect();
        let samples = kept
            .iter()
            .map(|(photo, label)| Sample {
                class: numbers.get(label.word(BLANK)).copied(),
                site: photo.site.as_deref().map(str::to_owned),
                sequence: photo.sequence.as_deref().map(str::to_owned),
                time: photo.time,
                part: photo.part,
                ..Sample::new(photo.id.clone(), self.folder.join(&photo.id))
            })
            .collect();
        let boxes =
            kept.iter().filter(|(photo, _)| photo.annotations.iter().any(|one| one.area.is_some())).count();
        if boxes > 0 && self.format != Format::SpeciesNet {
            let text = format!("boxes are not used, the whole photo is: {}", counted(boxes, "photo"));
            notes.push(Note { text, items: Vec::new() });
        }
        Dataset { root: self.root, classes, samples, format: self.format.title(), notes }
    }
}
