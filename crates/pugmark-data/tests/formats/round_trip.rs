//! What is written is read back: random tables through every format that is both read and written.

use std::collections::BTreeMap;

use pugmark_data::formats::{
    Annotation, Area, Deployment, Detection, Format, Label, LabelTable, LabelledPhoto, Method, Single,
    WriteOptions, Written, validate,
};
use pugmark_data::{Part, Random};
use tempfile::TempDir;

use crate::{METADATA, folder, write};

/// Words that are hard on writers.
const WORDS: [&str; 8] = [
    "leopard",
    "羚羊 (antelope)",
    "chèvre, \"bleue\"",
    "back\\slash",
    "it's",
    "Panthera pardus",
    "a:b|c",
    "0",
];

/// Parts of paths.
const STEPS: [&str; 6] = ["north", "été 2020", "a,b", "\"quoted\"", "100%", "it's"];

fn pick(random: &mut Random, from: &[&'static str]) -> &'static str {
    from[random.below(from.len())]
}

/// True once in `n` times.
fn one_in(random: &mut Random, n: usize) -> bool {
    random.below(n) == 0
}

/// A share with few digits, as people and detectors write them.
fn share(random: &mut Random) -> f64 {
    random.below(1000) as f64 / 1000.0
}

/// A table with everything that a table can hold, but labels of whole sequences.
fn table(seed: u64) -> LabelTable {
    let random = &mut Random::new(seed, 0, "table");
    let start = folder(&[("labels.csv", "filepath,label\na.jpg,x\n")]);
    let mut table = crate::read(&start.path().join("labels.csv")).unwrap();
    table.photos.clear();
    table.classes = None;
    for index in 0..40_u32 {
        let site = pick(random, &STEPS);
        let mut photo = LabelledPhoto {
            id: format!("{site}/{}/IMG_{index:04}.JPG", pick(random, &STEPS)),
            key: one_in(random, 3).then(|| format!("key {index}, \"{}\"", pick(random, &STEPS))),
            size: one_in(random, 2).then_some((1920, 1080 + index)),
            site: (!one_in(random, 5)).then(|| site.into()),
            sequence: one_in(random, 2).then(|| format!("{site} {}", index / 3).into()),
            time: (!one_in(random, 6)).then(|| {
                let zone = if one_in(random, 2) { "+05:30" } else { "" };
                format!("2021-03-{:02}T10:{:02}:09{zone}", 1 + index % 28, index).parse().unwrap()
            }),
            part: [None, Some(Part::Train), Some(Part::Val), Some(Part::Test)][random.below(4)],
            ..LabelledPhoto::default()
        };
        photo.frame = photo.sequence.is_some().then_some(index % 3);
        match random.below(8) {
            0 => photo.failure = Some(format!("cannot read \"{index}\", at all")),
            1 => {}
            2 => photo.annotations.push(Annotation::of(Label::Blank)),
            _ => {
                for _ in 0..1 + random.below(3) {
                    photo.annotations.push(annotation(random));
                }
            }
        }
        table.photos.push(photo);
    }
    table
}

fn annotation(random: &mut Random) -> Annotation {
    let label = Label::Class(pick(random, &WORDS).into());
    let machine = one_in(random, 2);
    let area = one_in(random, 2).then(|| {
        let (x, y) = (share(random) / 2.0, share(random) / 2.0);
        Area { x, y, width: 0.001 + share(random) / 2.0, height: 0.001 + share(random) / 2.0 }
    });
    let confidence = machine.then(|| share(random));
    Annotation {
        detection: (machine && area.is_some()).then(|| Detection {
            category: pick(random, &["animal", "person"]).into(),
            confidence: share(random),
        }),
        confidence,
        area,
        count: one_in(random, 3).then(|| 1 + random.below(9) as u32),
        method: machine.then_some(Method::Machine),
        ..Annotation::of(label)
    }
}

/// Writes, checks, reads back.
fn there_and_back(table: &LabelTable, format: Format, name: &str, place: &TempDir) -> (LabelTable, Written) {
    let path = place.path().join(name);
    let metadata = place.path().join("metadata.toml");
    std::fs::write(&metadata, METADATA).unwrap();
    let options =
        WriteOptions { offset_minutes: Some(-210), metadata: Some(metadata), ..WriteOptions::default() };
    let written = write(table, format, &path, &options).unwrap();
    let report = validate(&path, format).unwrap();
    assert!(report.is_valid(), "{report}");
    assert_eq!(report.entries, written.photos, "{format}");
    (crate::read(&path).unwrap(), written)
}

/// Compares tables; boxes may differ by what a division costs.
fn assert_same(mut found: Vec<LabelledPhoto>, mut expected: Vec<LabelledPhoto>, format: Format) {
    let round = |photos: &mut Vec<LabelledPhoto>| {
        for area in
            photos.iter_mut().flat_map(|photo| &mut photo.annotations).filter_map(|one| one.area.as_mut())
        {
            for side in [&mut area.x, &mut area.y, &mut area.width, &mut area.height] {
                *side = (*side * 1e9).round() / 1e9;
            }
        }
    };
    round(&mut found);
    round(&mut expected);
    assert_eq!(found.len(), expected.len(), "{format}");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{format}");
    }
}

/// A photo with what every format keeps: its path.
fn bare(photo: &LabelledPhoto) -> LabelledPhoto {
    LabelledPhoto { id: photo.id.clone(), ..LabelledPhoto::default() }
}

fn local(photo: &LabelledPhoto) -> Option<pugmark_data::CaptureTime> {
    photo.time.map(|time| pugmark_data::CaptureTime { offset_minutes: None, ..time })
}

const SEEDS: std::ops::Range<u64> = 0..12;

#[test]
fn coco() {
    for seed in SEEDS {
        let (table, place) = (table(seed), TempDir::new().unwrap());
        let (found, written) = there_and_back(&table, Format::Coco, "labels.json", &place);
        assert_eq!(written.notes, []);
        let expected = table.photos.iter().map(|photo| LabelledPhoto {
            part: None,
            time: local(photo),
            failure: photo.failure.as_ref().map(|_| "marked as corrupt".to_owned()),
            annotations: photo
                .annotations
                .iter()
                .map(|one| Annotation {
                    area: one.area,
                    count: one.count,
                    ..Annotation::of(one.label.clone().unwrap())
                })
                .collect(),
            ..photo.clone()
        });
        assert_same(found.photos, expected.collect(), Format::Coco);
    }
}

#[test]
fn megadetector() {
    for seed in SEEDS {
        let (table, place) = (table(seed), TempDir::new().unwrap());
        let (found, _) = there_and_back(&table, Format::MegaDetector, "results.json", &place);
        let said =
            table.photos.iter().filter(|photo| photo.failure.is_some() || !photo.annotations.is_empty());
        let expected = said.map(|photo| LabelledPhoto {
            size: photo.size,
            time: local(photo),
            failure: photo.failure.clone(),
            annotations: photo.annotations.iter().map(as_result).collect(),
            ..bare(photo)
        });
        assert_same(found.photos, expected.collect(), Format::MegaDetector);
    }
}

/// A label as MegaDetector results have it: a machine's, sure where nobody says how sure, a box being a detection.
fn as_result(one: &Annotation) -> Annotation {
    let blank = one.label == Some(Label::Blank);
    let found = || Detection { category: "animal".into(), confidence: 1.0 };
    Annotation {
        confidence: (!blank).then(|| one.confidence.unwrap_or(1.0)),
        detection: one.detection.clone().or_else(|| one.area.map(|_| found())),
        count: None,
        method: Some(Method::Machine),
        ..one.clone()
    }
}

#[test]
fn speciesnet() {
    for seed in SEEDS {
        let (table, place) = (table(seed), TempDir::new().unwrap());
        let (found, written) = there_and_back(&table, Format::SpeciesNet, "predictions.json", &place);
        let single = |photo: &LabelledPhoto| photo.single(0.2).clone_label();
        let kept: Vec<_> =
            table.photos.iter().filter(|photo| !matches!(photo.single(0.2), Single::Several(_))).collect();
        assert_eq!(written.photos, kept.len());
        assert!(kept.len() < table.photos.len(), "the table has photos with several things");
        for (found, photo) in found.photos.iter().zip(kept) {
            assert_eq!(found.id, photo.id);
            assert_eq!(found.failure.is_some(), photo.failure.is_some());
            assert_eq!(
                found.annotations.iter().find_map(|one| one.label.clone()),
                single(photo),
                "{photo:?}"
            );
            let areas = |photo: &LabelledPhoto| {
                photo.annotations.iter().filter_map(|one| one.area).collect::<Vec<_>>()
            };
            assert_eq!(areas(found), areas(photo));
        }
    }
}

trait CloneLabel {
    fn clone_label(self) -> Option<Label>;
}

impl CloneLabel for Single<'_> {
    fn clone_label(self) -> Option<Label> {
        match self {
            Self::Label(label) => Some(label),
            _ => None,
        }
    }
}

/// The photos with one label, and their notes name the others.
fn singles(table: &LabelTable, written: &Written) -> Vec<(LabelledPhoto, Annotation)> {
    let kept: Vec<_> = table
        .photos
        .iter()
        .filter(|photo| photo.failure.is_none())
        .filter_map(|photo| Some((photo.clone(), Annotation::of(photo.single(0.2).clone_label()?))))
        .collect();
    let left_out: usize = written.notes.iter().map(|note| note.items.len()).sum();
    assert_eq!(kept.len() + left_out, table.photos.len(), "{:?}", written.notes);
    kept
}

#[test]
fn csv() {
    for seed in SEEDS {
        let (table, place) = (table(seed), TempDir::new().unwrap());
        let (found, written) = there_and_back(&table, Format::Csv, "labels.csv", &place);
        let expected = singles(&table, &written).into_iter().map(|(photo, label)| LabelledPhoto {
            site: photo.site.clone(),
            part: photo.part,
            annotations: vec![label],
            ..bare(&photo)
        });
        assert_same(found.photos, expected.collect(), Format::Csv);

        let (found, written) = there_and_back(&table, Format::PytorchWildlife, "wildlife.csv", &place);
        let expected = singles(&table, &written).into_iter().map(|(photo, label)| LabelledPhoto {
            site: photo.site.clone(),
            time: local(&photo),
            annotations: vec![label],
            ..bare(&photo)
        });
        assert_same(found.photos, expected.collect(), Format::PytorchWildlife);

        let (found, written) = there_and_back(&table, Format::OneHot, "train_labels.csv", &place);
        let expected = singles(&table, &written).into_iter().map(|(photo, label)| LabelledPhoto {
            site: photo.site.clone(),
            key: photo.key.clone(),
            annotations: vec![label],
            ..bare(&photo)
        });
        assert_same(found.photos, expected.collect(), Format::OneHot);
    }
}

#[test]
fn camtrap_dp() {
    for seed in SEEDS {
        let (mut table, place) = (table(seed), TempDir::new().unwrap());
        table.photos.iter_mut().for_each(|photo| {
            photo.site.get_or_insert_with(|| "elsewhere".into());
        });
        table.deployments = deployments(&table);
        let (found, written) = there_and_back(&table, Format::CamtrapDp, "package", &place);
        let timed = table.photos.iter().filter(|photo| photo.time.is_some());
        let expected = timed.map(|photo| LabelledPhoto {
            deployment: photo.site.clone(),
            // An event is named by the observations: without any, nothing names it.
            sequence: photo.sequence.clone().filter(|_| !photo.annotations.is_empty()),
            time: photo.time.map(|time| pugmark_data::CaptureTime {
                offset_minutes: time.offset_minutes.or(Some(-210)),
                ..time
            }),
            size: None,
            frame: None,
            part: None,
            failure: None,
            annotations: photo
                .annotations
                .iter()
                .map(|one| Annotation { detection: None, ..one.clone() })
                .collect(),
            ..photo.clone()
        });
        assert_same(found.photos, expected.collect(), Format::CamtrapDp);
        let side = std::fs::read_to_string(place.path().join("package/without-time.csv")).unwrap();
        assert_eq!(side.lines().count() - 1, table.photos.len() - written.photos);
        assert!(
            written.notes.iter().any(|note| note.text.contains("for want of a time")),
            "{:?}",
            written.notes
        );
    }
}

/// Coordinates for every site.
fn deployments(table: &LabelTable) -> BTreeMap<pugmark_data::formats::Word, Deployment> {
    let at = |number: usize| Deployment {
        latitude: Some(5.5 + number as f64 / 100.0),
        longitude: Some(-7.25),
        ..Deployment::default()
    };
    let mut sites: Vec<_> = table.photos.iter().filter_map(|photo| photo.site.clone()).collect();
    sites.sort_unstable();
    sites.dedup();
    sites.into_iter().enumerate().map(|(number, site)| (site, at(number))).collect()
}

#[test]
fn labels_of_sequences() {
    let mut table = table(1);
    table.photos.truncate(4);
    for (index, photo) in table.photos.iter_mut().enumerate() {
        let of_sequence = index < 3;
        *photo = LabelledPhoto {
            id: format!("{index}.jpg"),
            site: Some("north".into()),
            deployment: Some("north".into()),
            sequence: of_sequence.then(|| "burst 1".into()),
            time: Some(format!("2021-03-01T10:00:0{index}Z").parse().unwrap()),
            annotations: vec![Annotation {
                count: Some(2),
                of_sequence,
                ..Annotation::of(Label::Class("hog".into()))
            }],
            ..LabelledPhoto::default()
        };
    }
    table.deployments = deployments(&table);
    for (format, name) in [(Format::CamtrapDp, "package"), (Format::Coco, "labels.json")] {
        let place = TempDir::new().unwrap();
        let (found, _) = there_and_back(&table, format, name, &place);
        let expected = table.photos.iter().map(|photo| LabelledPhoto {
            deployment: photo.deployment.clone().filter(|_| format == Format::CamtrapDp),
            time: if format == Format::Coco { local(photo) } else { photo.time },
            ..photo.clone()
        });
        assert_same(found.photos, expected.collect(), format);
    }
}
