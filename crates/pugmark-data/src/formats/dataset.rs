//! A table as a data set to train on: one class a photo.

use std::collections::{HashMap, HashSet};

use super::blank::BLANK;
use super::{Format, Label, LabelTable, LabelledPhoto, Word};
use crate::dataset::{Dataset, Note, Sample, counted};

impl LabelTable {
    /// The photos that have one class, with an empty frame as the class `blank`.
    ///
    /// Photos with several different classes, without a label, broken, or with doubtful detections alone are left out
    /// and listed in notes. Classes are sorted, unless the file orders them. Paths are below [`LabelTable::folder`];
    /// nothing is looked for there.
    pub fn into_dataset(self) -> Dataset {
        self.into_dataset_with(None)
    }

    /// [`LabelTable::into_dataset`], or where a margin is given, each box as a photo of its own, `ID#1`, `ID#2` and so on:
    /// the crops that a detector's results are for. A box that nobody named has what the detector found as its class;
    /// doubtful ones are left out.
    pub(crate) fn into_dataset_with(mut self, margin: Option<f64>) -> Dataset {
        if let Some(margin) = margin {
            return self.into_crops(margin);
        }
        let mut notes = std::mem::take(&mut self.notes);
        let (kept, left_out) = self.singles();
        notes.extend(left_out);
        let is = |wanted: Label| kept.iter().any(|(_, label)| *label == wanted);
        if is(Label::Blank) && is(Label::Class(BLANK.into())) {
            let text = format!("empty frames and the file's class `{BLANK}` are one class here");
            notes.push(Note { text, items: Vec::new() });
        }
        let classes = self.ordered(kept.iter().map(|(_, label)| label.word(BLANK)));
        let numbers: HashMap<&str, usize> = classes.iter().map(String::as_str).zip(0..).collect();
        let samples = kept
            .iter()
            .map(|(photo, label)| Sample {
                class: numbers.get(label.word(BLANK)).copied(),
                ..self.sample(photo, photo.id.clone())
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

    fn into_crops(mut self, margin: f64) -> Dataset {
        let mut notes = std::mem::take(&mut self.notes);
        let threshold = self.threshold();
        let mut kept: Vec<(Sample, Word)> = Vec::new();
        let (mut doubtful, mut boxless, mut unnamed) = (Vec::new(), Vec::new(), Vec::new());
        for photo in &self.photos {
            let mut boxes = 0;
            for annotation in &photo.annotations {
                let Some(crop) = annotation.crop(margin) else { continue };
                boxes += 1;
                let id = format!("{}#{boxes}", photo.id);
                let detection = annotation.detection.as_ref();
                if detection.is_some_and(|found| found.confidence < threshold) {
                    doubtful.push(id);
                    continue;
                }
                let name = annotation
                    .label
                    .as_ref()
                    .and_then(Label::named)
                    .or(detection.map(|found| &found.category));
                let Some(name) = name.cloned() else {
                    unnamed.push(id);
                    continue;
                };
                let mut sample = Sample { crop: Some(crop), ..self.sample(photo, id) };
                // The boxes of one photo stay together; their time does that where it is known.
                if sample.sequence.is_none() && sample.time.is_none() {
                    sample.sequence = Some(photo.id.clone());
                }
                kept.push((sample, name));
            }
            if boxes == 0 {
                boxless.push(photo.id.clone());
            }
        }
        let classes = self.ordered(kept.iter().map(|(_, name)| &**name));
        let numbers: HashMap<&str, usize> = classes.iter().map(String::as_str).zip(0..).collect();
        let number =
            |(sample, name): (Sample, Word)| Sample { class: numbers.get(&*name).copied(), ..sample };
        let samples = kept.into_iter().map(number).collect();
        for (text, thing, items) in [
            ("left out for want of a box", "photo", boxless),
            ("left out for being doubtful", "box", doubtful),
            ("left out for want of a name", "box", unnamed),
        ] {
            if !items.is_empty() {
                let thing = if thing == "box" && items.len() > 1 { "boxe" } else { thing };
                let text = format!("{text}: {}", counted(items.len(), thing));
                notes.push(Note { text, items });
            }
        }
        Dataset { root: self.root, classes, samples, format: self.format.title(), notes }
    }

    /// What is known of a photo besides its class.
    fn sample(&self, photo: &LabelledPhoto, id: String) -> Sample {
        Sample {
            site: photo.site.as_deref().map(str::to_owned),
            sequence: photo.sequence.as_deref().map(str::to_owned),
            time: photo.time,
            part: photo.part,
            ..Sample::new(id, self.folder.join(&photo.id))
        }
    }

    /// Class names sorted, unless the file orders them.
    fn ordered<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<String> {
        let names: HashSet<&str> = names.collect();
        let mut classes: Vec<String> = names.into_iter().map(str::to_owned).collect();
        classes.sort_unstable();
        if let Some(order) = &self.classes {
            let place = |class: &String| order.iter().position(|known| known == class).unwrap_or(order.len());
            classes.sort_by_key(place);
        }
        classes
    }
}
