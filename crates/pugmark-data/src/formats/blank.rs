//! The word for an empty frame: mapped, never guessed.

use super::{Annotation, Format, Label, LabelTable, TableOptions};
use crate::dataset::{Note, counted};

/// pugmark's own word for an empty frame.
pub(crate) const BLANK: &str = "blank";

/// Words that may mean an empty frame in a file that has another word for it.
const SUSPECTS: [&str; 8] =
    ["blank", "empty", "none", "nothing", "no animal", "no_animal", "nothing_here", "nothing here"];

impl Format {
    /// What the format calls an empty frame. MegaDetector says it by an empty list of detections; "blank" is what
    /// classifiers add to its files.
    pub fn blank_word(self) -> &'static str {
        match self {
            Self::Coco => "empty",
            Self::CamtrapDp | Self::SpeciesNet | Self::OneHot | Self::Csv | Self::ZambaPredictions => BLANK,
            Self::MegaDetector | Self::PytorchWildlife | Self::Folders | Self::Prepared => BLANK,
            Self::Predictions | Self::Submission => BLANK,
        }
    }
}

/// The word that means an empty frame in a file of this format.
pub(super) fn word(format: Format, options: &TableOptions) -> String {
    options.blank_word.clone().unwrap_or_else(|| format.blank_word().to_owned())
}

/// Says what was mapped, and which classes sound as if they should have been.
pub(super) fn note(table: &mut LabelTable, options: &TableOptions) {
    let is_blank = |one: &Annotation| one.label == Some(Label::Blank);
    let blanks = table.photos.iter().filter(|photo| photo.annotations.iter().any(is_blank)).count();
    let format = table.format.title();
    let word = word(table.format, options);
    if blanks > 0 {
        let word = match table.format {
            Format::MegaDetector => "an empty list of detections".to_owned(),
            _ => format!("`{word}`"),
        };
        let text = format!("{word} ({format}) is read as an empty frame: {}", counted(blanks, "photo"));
        table.notes.push(Note { text, items: Vec::new() });
    }
    let sounds_blank =
        |class: &&str| SUSPECTS.iter().any(|suspect| class.trim().eq_ignore_ascii_case(suspect));
    let suspects: Vec<String> =
        table.class_words(false).into_iter().filter(sounds_blank).map(str::to_owned).collect();
    if let [first, ..] = suspects.as_slice() {
        let text = format!(
            "read as a class like any other, not as an empty frame, which is `{word}` here \
             (`--blank-word \"{first}\"` changes that)"
        );
        table.notes.push(Note { text, items: suspects });
    }
}
