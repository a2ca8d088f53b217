//! The table that every label format is read into and written from.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::camtrap::{Deployment, Package};
use super::{Format, FormatError};
use crate::dataset::{Dataset, Note, Part, counted};
use crate::error::DataError;
use crate::time::CaptureTime;

/// A word that many photos share: a class, a site, a model. Equal words of one table share their memory.
pub type Word = Arc<str>;

/// Photos and what is said of each: several animals, boxes and probabilities a photo, where a
/// [`Dataset`](crate::Dataset) has one class. [`LabelTable::into_dataset`] makes one of the other.
#[derive(Clone, PartialEq, Debug)]
pub struct LabelTable {
    /// The file or folder that was read.
    pub root: PathBuf,
    /// The folder that the ids are paths below.
    pub folder: PathBuf,
    /// The format it was read from.
    pub format: Format,
    /// Class names in the order that the file gives them; none where it gives no order.
    pub classes: Option<Vec<String>>,
    /// One row a photo, in the file's order; ids are unique.
    pub photos: Vec<LabelledPhoto>,
    /// Detections below this confidence are doubtful, as the file itself says (MegaDetector).
    pub threshold: Option<f64>,
    /// Where cameras stood and when, by deployment id (Camtrap DP).
    pub deployments: BTreeMap<Word, Deployment>,
    /// What is known of the project (Camtrap DP).
    pub package: Option<Package>,
    /// Things a person should know: what was mapped, what was passed over.
    pub notes: Vec<Note>,
}

/// A photo with all that is said of it.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct LabelledPhoto {
    /// The photo's path below the table's folder, with forward slashes: its identity.
    pub id: String,
    /// What the file calls the photo, where that is not its path.
    pub key: Option<String>,
    /// Width and height in pixels.
    pub size: Option<(u32, u32)>,
    /// The place of the camera.
    pub site: Option<Word>,
    /// One time that a camera stood at a site (Camtrap DP).
    pub deployment: Option<Word>,
    /// The burst or event it belongs to; unique in the table.
    pub sequence: Option<Word>,
    /// Its place in that sequence, from 0.
    pub frame: Option<u32>,
    /// When it was taken.
    pub time: Option<CaptureTime>,
    /// The part of a split that the file fixes.
    pub part: Option<Part>,
    /// Why nothing can be said of it: the file is broken.
    pub failure: Option<String>,
    /// What is said of it; nothing where it was not looked at.
    pub annotations: Vec<Annotation>,
}

/// What somebody or something says of a photo or of a part of it.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Annotation {
    /// What is seen; none for a detection that nobody named.
    pub label: Option<Label>,
    /// How sure the label is, in [0, 1].
    pub confidence: Option<f64>,
    /// The probability of each class, falling, where a machine gives more than that of the label.
    pub scores: Vec<(Label, f64)>,
    /// Where in the photo; the whole of it where there is none.
    pub area: Option<Area>,
    /// What a detector found there, before anything named it.
    pub detection: Option<Detection>,
    /// How many animals.
    pub count: Option<u32>,
    /// Whether a person or a machine says so.
    pub method: Option<Method>,
    /// The person or model that says so.
    pub by: Option<Word>,
    /// Said of the photo's sequence, not of the photo alone.
    pub of_sequence: bool,
}

/// What is seen: a class, or for certain nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Label {
    /// An empty frame. Formats have words of their own for it: [`Format::blank_word`].
    Blank,
    /// An animal, person or thing, in the file's word.
    Class(Word),
}

impl Label {
    /// The class, or `blank` for an empty frame.
    pub fn word<'a>(&'a self, blank: &'a str) -> &'a str {
        match self {
            Self::Blank => blank,
            Self::Class(word) => word,
        }
    }

    /// The class; none for an empty frame.
    pub(super) fn class(&self) -> Option<&str> {
        self.named().map(|word| &**word)
    }

    /// [`Label::class`] as a word of its table.
    pub(super) fn named(&self) -> Option<&Word> {
        match self {
            Self::Blank => None,
            Self::Class(word) => Some(word),
        }
    }
}

/// A detector's answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Detection {
    /// "animal", "person", "vehicle" or what else the detector knows.
    pub category: Word,
    /// Confidence in [0, 1].
    pub confidence: f64,
}

/// A rectangle in a photo, in shares of its width and height: (0, 0) is the upper left corner.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
pub struct Area {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// Who says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// A person.
    Human,
    /// A model.
    Machine,
}

/// What a photo is, when one class is to be said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Single<'a> {
    /// One class, or blank.
    Label(Label),
    /// Different things are on it.
    Several(Vec<&'a str>),
    /// Nothing is said of it.
    Unlabelled,
    /// Nothing but detections below the threshold.
    Doubtful,
}

/// Photos with the one label that each has.
pub(super) type Labelled<'a> = Vec<(&'a LabelledPhoto, Label)>;

impl LabelledPhoto {
    /// Adds what is said of the photo. Mostly that is one thing, where a first push would make room for four.
    pub(super) fn say(&mut self, annotation: Annotation) {
        if self.annotations.is_empty() {
            self.annotations.reserve_exact(1);
        }
        self.annotations.push(annotation);
    }

    /// What the file calls the photo.
    pub(super) fn name(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.id)
    }

    /// The one thing that the photo's annotations say. Detections that nobody named count only where nothing has a
    /// name, and only from `threshold` on; a person's word goes before a machine's.
    pub fn single(&self, threshold: f64) -> Single<'_> {
        let people =
            self.annotations.iter().any(|one| one.label.is_some() && one.method == Some(Method::Human));
        let certain = |one: &&Annotation| {
            let machine = people && one.method == Some(Method::Machine);
            !machine && one.detection.as_ref().is_none_or(|found| found.confidence >= threshold)
        };
        let mut labels: Vec<&Label> = Vec::new();
        for annotation in self.annotations.iter().filter(certain) {
            if let Some(label) = &annotation.label
                && !labels.contains(&label)
            {
                labels.push(label);
            }
        }
        match labels.as_slice() {
            [] => {}
            [label] => return Single::Label((*label).clone()),
            // Empty but for what somebody else saw: that is no agreement either.
            several => return Single::Several(several.iter().map(|label| label.word("no animal")).collect()),
        }
        let mut found: Vec<&Word> = Vec::new();
        for detection in self.annotations.iter().filter(certain).filter_map(|one| one.detection.as_ref()) {
            if !found.contains(&&detection.category) {
                found.push(&detection.category);
            }
        }
        match found.as_slice() {
            [] if self.annotations.is_empty() => Single::Unlabelled,
            [] if self.annotations.iter().all(|one| one.label.is_none() && one.detection.is_none()) => {
                Single::Unlabelled
            }
            [] => Single::Doubtful,
            [category] => Single::Label(Label::Class(Word::clone(category))),
            several => Single::Several(several.iter().map(|word| &***word).collect()),
        }
    }
}

impl LabelTable {
    /// An empty table.
    pub(super) fn new(root: &Path, folder: &Path, format: Format) -> Self {
        Self {
            root: root.to_owned(),
            folder: folder.to_owned(),
            format,
            classes: None,
            photos: Vec::new(),
            threshold: None,
            deployments: BTreeMap::new(),
            package: None,
            notes: Vec::new(),
        }
    }

    /// A data set as a table: one label a photo.
    pub(super) fn of_dataset(dataset: Dataset, folder: &Path, format: Format, blank: &str) -> Self {
        let mut table = Self::new(&dataset.root, folder, format);
        let mut words = Words::default();
        let labels: Vec<Label> =
            dataset.classes.iter().map(|class| label(class, blank, &mut words)).collect();
        table.photos.reserve(dataset.samples.len());
        for sample in dataset.samples {
            // A photo of a prepared folder lies in a shard, and its id is the path it had.
            let path = if sample.stored.is_some() { Path::new(&sample.id) } else { &sample.path };
            let below = path.strip_prefix(folder).unwrap_or(path);
            let names: Vec<_> = below.iter().map(|name| name.to_string_lossy()).collect();
            let id = crate::read::as_id(&names.join("/"));
            table.photos.push(LabelledPhoto {
                key: (sample.id != id).then_some(sample.id),
                id,
                site: words.known(sample.site.as_deref()),
                sequence: words.known(sample.sequence.as_deref()),
                time: sample.time,
                part: sample.part,
                annotations: sample
                    .class
                    .map(|class| Annotation::of(labels[class].clone()))
                    .into_iter()
                    .collect(),
                ..LabelledPhoto::default()
            });
        }
        table.classes = Some(dataset.classes);
        table.notes = dataset.notes;
        table
    }

    /// The confidence from which a detection counts: what the file says, else MegaDetector's usual 0.2.
    pub fn threshold(&self) -> f64 {
        self.threshold.unwrap_or(0.2)
    }

    /// The classes of all annotations, without blank: in the file's order where it gives one, else sorted. With
    /// `found_too`, also the categories of detections that nobody named.
    pub(super) fn class_words(&self, found_too: bool) -> Vec<&str> {
        let mut found: HashSet<&str> = HashSet::new();
        for annotation in self.photos.iter().flat_map(|photo| &photo.annotations) {
            let named = annotation.label.iter().chain(annotation.scores.iter().map(|(label, _)| label));
            found.extend(named.filter_map(Label::class));
            if found_too && annotation.label.is_none() {
                found.extend(annotation.detection.iter().map(|detection| &*detection.category));
            }
        }
        let ordered = self.classes.iter().flatten().filter(|class| found.remove(class.as_str()));
        let mut classes: Vec<&str> = ordered.map(String::as_str).collect();
        let mut others: Vec<&str> = found.into_iter().collect();
        others.sort_unstable();
        classes.append(&mut others);
        classes
    }

    /// Every photo that has one label, with it, and notes that list the others.
    pub(super) fn singles(&self) -> (Labelled<'_>, Vec<Note>) {
        let mut kept = Vec::with_capacity(self.photos.len());
        let [mut several, mut unlabelled, mut doubtful, mut broken] = [const { Vec::new() }; 4];
        for photo in &self.photos {
            if let Some(why) = &photo.failure {
                broken.push(format!("{} ({why})", photo.id));
                continue;
            }
            match photo.single(self.threshold()) {
                Single::Label(label) => kept.push((photo, label)),
                Single::Several(words) => several.push(format!("{} ({})", photo.id, words.join(", "))),
                Single::Unlabelled => unlabelled.push(photo.id.clone()),
                Single::Doubtful => doubtful.push(photo.id.clone()),
            }
        }
        let doubt = format!("detections below {} alone", self.threshold());
        let notes = [
            ("several things being on them", several),
            ("for want of a label", unlabelled),
            (doubt.as_str(), doubtful),
            ("broken", broken),
        ]
        .into_iter()
        .filter(|(_, items)| !items.is_empty())
        .map(|(why, items)| Note {
            text: format!("not used, {why}: {}", counted(items.len(), "photo")),
            items,
        })
        .collect();
        (kept, notes)
    }

    /// What the file that was read calls each photo, where that tells them apart; their paths where not.
    pub(super) fn keys(&self) -> Vec<&str> {
        let keys: Vec<&str> = self.photos.iter().map(LabelledPhoto::name).collect();
        if keys.iter().collect::<HashSet<_>>().len() == keys.len() {
            return keys;
        }
        self.photos.iter().map(|photo| photo.id.as_str()).collect()
    }

    /// Fails where two entries of `list` are about one photo.
    pub(super) fn check_unique(&self, list: &str) -> Result<(), DataError> {
        let mut places: HashMap<&str, usize> = HashMap::with_capacity(self.photos.len());
        for (index, photo) in self.photos.iter().enumerate() {
            if let Some(first) = places.insert(&photo.id, index) {
                let (file, at) = (self.root.clone(), format!("{list}[{index}]"));
                let problem = format!("`{}` is already {list}[{first}]", photo.id);
                let hint = "one photo has one entry: keep one of the two";
                return Err(FormatError::Entry { file, at, problem, hint }.into());
            }
        }
        Ok(())
    }
}

impl Annotation {
    /// A label of the whole photo.
    pub fn of(label: Label) -> Self {
        Self { label: Some(label), ..Self::default() }
    }

    /// What is seen, in a format that calls an empty frame `blank`: the label, else what the detector found.
    pub(super) fn word<'a>(&'a self, blank: &'a str) -> Option<&'a str> {
        let found = || self.detection.as_ref().map(|found| &*found.category);
        self.label.as_ref().map(|label| label.word(blank)).or_else(found)
    }
}

/// A word of a file as a label.
pub(super) fn label(word: &str, blank: &str, words: &mut Words) -> Label {
    if word.trim().eq_ignore_ascii_case(blank) { Label::Blank } else { Label::Class(words.get(word)) }
}

/// Every word once.
#[derive(Default, Debug)]
pub(super) struct Words(HashSet<Word>);

impl Words {
    pub(super) fn get(&mut self, text: &str) -> Word {
        if let Some(word) = self.0.get(text) {
            return Word::clone(word);
        }
        let word = Word::from(text);
        self.0.insert(Word::clone(&word));
        word
    }

    /// A word that may be missing; an empty one is.
    pub(super) fn known(&mut self, text: Option<&str>) -> Option<Word> {
        text.filter(|text| !text.is_empty()).map(|text| self.get(text))
    }
}
