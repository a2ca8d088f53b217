//! Photo files in, one prediction a file out, in order.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use image::RgbImage;
use pugmark_data::{Digest, Item, Limits, Recipe, decode_file};
use pugmark_engine::Cpu;
use pugmark_graph::Architecture;
use pugmark_model::{Classifier, FORMAT, Look, Model, ModelCard, ModelError, Panel, Prediction};

fn classifier(batch: usize) -> Classifier {
    let classes = vec!["a".to_string(), "b".to_string()];
    let card = ModelCard {
        format: FORMAT,
        version: String::new(),
        architecture: Architecture::SimpleCnn,
        recipe: Recipe::imagenet(32),
        temperature: 1.0,
        calibration: None,
        data_hash: String::new(),
        split_hash: String::new(),
        split_how: String::new(),
        metrics: BTreeMap::new(),
        epoch: 1,
        classes,
    };
    let tensors = Architecture::SimpleCnn.graph(2).initialise(1);
    Classifier::from_model(Model { card, tensors }, &Cpu::new(1).unwrap(), batch).unwrap()
}

/// Seven files; the second is no photo and the fifth is not there.
fn items(folder: &Path) -> Vec<Item> {
    (0..7_u32)
        .map(|number| {
            let path = folder.join(format!("{number}.png"));
            match number {
                1 => fs::write(&path, "not a photo").unwrap(),
                4 => {}
                _ => RgbImage::from_fn(40, 30, |x, y| {
                    image::Rgb([(x * 6) as u8, (y * 8) as u8, (number * 30) as u8])
                })
                .save(&path)
                .unwrap(),
            }
            Item {
                id: format!("photo {number}"),
                path,
                stored: None,
                crop: None,
                class: (number > 2).then_some(1),
            }
        })
        .collect()
}

fn predict(batch: usize, threads: usize, items: &[Item]) -> Vec<Prediction> {
    let mut all = Vec::new();
    classifier(batch)
        .predict(items.to_vec(), threads, &mut |prediction| {
            all.push(prediction);
            ControlFlow::Continue(())
        })
        .unwrap();
    all
}

#[test]
fn one_prediction_a_file_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let items = items(folder.path());
    let mut reference = classifier(1);
    for (batch, threads) in [(1, 1), (3, 1), (3, 4), (7, 2), (50, 2)] {
        let predictions = predict(batch, threads, &items);
        assert_eq!(predictions.len(), items.len());
        for (item, prediction) in items.iter().zip(predictions) {
            assert_eq!(
                (&prediction.id, &prediction.path, prediction.class),
                (&item.id, &item.path, item.class)
            );
            match decode_file(&item.path, &Limits::default()) {
                Err(error) => assert_eq!(prediction.outcome, Err(error.reason())),
                Ok(photo) => {
                    let pixels = reference.card().recipe.apply(&photo);
                    let expected = reference.probabilities(1, &pixels).unwrap();
                    let row = prediction.outcome.unwrap();
                    // The batch may change the order of sums.
                    let near = row.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5);
                    assert!(near, "{}: {row:?}, by itself {expected:?}", item.id);
                }
            }
        }
    }
}

#[test]
fn the_caller_may_stop() {
    let folder = tempfile::tempdir().unwrap();
    let items = items(folder.path());
    let mut seen = 0;
    classifier(2)
        .predict(items, 2, &mut |_| {
            seen += 1;
            if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(seen, 3);
}

/// A model file of two classes in this order, whose photos have this many pixels a side.
fn model_file(folder: &Path, name: &str, classes: [&str; 2], side: usize, seed: u64) -> PathBuf {
    let card = ModelCard {
        classes: classes.map(String::from).into(),
        recipe: Recipe::imagenet(side),
        ..classifier(1).card().clone()
    };
    let path = folder.join(name);
    Model { card, tensors: Architecture::SimpleCnn.graph(2).initialise(seed) }.write(&path).unwrap();
    path
}

#[test]
fn a_panel_says_what_its_members_say_alone() {
    let folder = tempfile::tempdir().unwrap();
    let items = items(folder.path());
    let file = |name: &str, classes, side, seed| model_file(folder.path(), name, classes, side, seed);
    let files = [
        file("one", ["a", "b"], 32, 1),
        file("turned", ["b", "a"], 32, 2),
        file("smaller", ["a", "b"], 24, 3),
        file("again", ["b", "a"], 24, 4),
    ];
    let engine = Cpu::new(1).unwrap();
    for batch in [1, 3, 16] {
        let mut all = Vec::new();
        let mut panel = Panel::open(&files, &engine, batch).unwrap();
        assert_eq!(panel.cards().count(), 4);
        panel
            .predict(&mut items.iter().cloned(), Look { threads: 2, ..Look::default() }, &mut |opinions| {
                all.push(opinions);
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(all.len(), items.len());
        for (member, file) in files.iter().enumerate() {
            let turned = member % 2 == 1;
            let mut alone = Vec::new();
            Classifier::open(file, &engine, batch)
                .unwrap()
                .predict(items.clone(), 1, &mut |prediction| {
                    alone.push(prediction);
                    ControlFlow::Continue(())
                })
                .unwrap();
            for (opinions, alone) in all.iter().zip(alone) {
                assert_eq!((&opinions.id, opinions.class), (&alone.id, alone.class));
                assert_eq!(opinions.truncated, alone.truncated);
                let row = opinions.outcome.clone().map(|rows| rows[member].clone());
                let expected = alone.outcome.map(|row| if turned { vec![row[1], row[0]] } else { row });
                assert_eq!(row, expected, "{} of {}", opinions.id, file.display());
            }
        }
    }
}

/// Whether the panel's mirror is one: the mean of the answers to a photo and to its mirror image, which is saved as a file here.
/// Means of the same two numbers are the same.
#[test]
fn a_mirrored_look_is_the_mean_of_two() {
    let folder = tempfile::tempdir().unwrap();
    let item = items(folder.path()).swap_remove(0);
    let mut photo = image::open(&item.path).unwrap();
    image::imageops::flip_horizontal_in_place(&mut photo);
    let path = folder.path().join("mirrored.png");
    photo.save(&path).unwrap();
    let both = [item.clone(), Item { id: "mirrored".into(), path, ..item }];
    let files = [model_file(folder.path(), "one", ["a", "b"], 32, 1)];
    let mut panel = Panel::open(&files, &Cpu::new(1).unwrap(), 2).unwrap();
    let mut rows = |mirrored| {
        let mut rows = Vec::new();
        let look = Look { threads: 1, mirrored, digests: true };
        panel
            .predict(&mut both.iter().cloned(), look, &mut |opinions| {
                assert_eq!(opinions.digest, Digest::of_file(&opinions.path).ok());
                rows.push(opinions.outcome.unwrap().remove(0));
                ControlFlow::Continue(())
            })
            .unwrap();
        rows
    };
    let (plain, mirrored) = (rows(false), rows(true));
    assert_ne!(plain[0], plain[1], "the photo is not its own mirror image");
    let mean: Vec<f32> = plain[0].iter().zip(&plain[1]).map(|(a, b)| (a + b) / 2.0).collect();
    assert_eq!(mirrored, [mean.clone(), mean]);
}

#[test]
fn more_photos_than_loaders_are_made_for_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let few = items(folder.path());
    let many: Vec<Item> =
        (0..600).map(|number| Item { id: number.to_string(), ..few[number % few.len()].clone() }).collect();
    let files = [model_file(folder.path(), "one", ["a", "b"], 32, 1)];
    let mut panel = Panel::open(&files, &Cpu::new(1).unwrap(), 2).unwrap();
    let mut all = Vec::new();
    panel
        .predict(&mut many.into_iter(), Look { threads: 2, ..Look::default() }, &mut |opinions| {
            all.push(opinions);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(all.len(), 600);
    for (number, opinions) in all.iter().enumerate() {
        assert_eq!(opinions.id, number.to_string());
        assert_eq!(opinions.outcome, all[number % few.len()].outcome, "photo {number}");
    }
}

#[test]
fn a_panel_needs_the_same_classes() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        model_file(folder.path(), "one", ["a", "b"], 32, 1),
        model_file(folder.path(), "other", ["a", "c"], 32, 2),
    ];
    let error = Panel::open(&files, &Cpu::new(1).unwrap(), 1).err().unwrap();
    assert!(matches!(error, ModelError::OtherClasses { .. }) && error.hint().is_some());
    let text = error.to_string();
    assert!(text.contains("one has b") && text.contains("other has c"), "{text}");
}
