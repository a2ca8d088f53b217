//! Splits: sequences, bursts, folders, columns, duplicates and folds stay whole.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use pugmark_data::{
    DataError, Dataset, Part, ReadOptions, Sample, Split, SplitBy, SplitError, SplitOptions, SplitSettings,
    read_column, read_labels, split, split_with,
};

const SETTINGS: SplitSettings = SplitSettings { by: SplitBy::Auto, val: 0.25, test: 0.1, seed: 3 };

/// A data set of three classes; `make` completes the sample of a number, which lies in the folder of its class.
fn dataset(count: usize, make: impl Fn(usize, Sample) -> Sample) -> Dataset {
    let samples = (0..count)
        .map(|number| {
            let class = number * 7 % 3;
            let id = format!("class {class}/{number:05}.jpg");
            make(number, Sample { class: Some(class), ..Sample::new(id.clone(), id) })
        })
        .collect();
    let classes = (0..3).map(|class| format!("class {class}")).collect();
    Dataset { root: PathBuf::from("made up"), classes, samples, format: "made up", notes: Vec::new() }
}

/// Where each sample is: part and fold.
fn places(split: &Split) -> Vec<(Option<Part>, Option<u32>)> {
    let fold = |index| split.folds.get(index).copied().flatten();
    split.parts.iter().enumerate().map(|(index, &part)| (part, fold(index))).collect()
}

/// How many keys are in more than one place.
fn divided<K: std::hash::Hash + Eq>(split: &Split, key: impl Fn(usize) -> Option<K>) -> usize {
    let mut found: HashMap<K, HashSet<_>> = HashMap::new();
    for (index, place) in places(split).into_iter().enumerate() {
        if let Some(key) = key(index) {
            found.entry(key).or_default().insert(place);
        }
    }
    found.values().filter(|places| places.len() > 1).count()
}

fn seconds(number: usize, every: usize) -> Option<pugmark_data::CaptureTime> {
    let at = number * every;
    let text =
        format!("2024-05-{:02} {:02}:{:02}:{:02}", 1 + at / 86400, at / 3600 % 24, at / 60 % 60, at % 60);
    Some(text.parse().unwrap())
}

#[test]
fn auto_takes_the_best_that_is_known() {
    let sequence = |number: usize, sample| Sample { sequence: Some(format!("s{}", number / 4)), ..sample };
    // Photos of a camera are in one folder below each class.
    let camera = |number: usize, sample: Sample| {
        let id = format!("class {}/camera {}/{number}.jpg", sample.class.unwrap(), number % 20);
        Sample { id, ..sample }
    };
    // Three photos a minute apart, then a pause.
    let time = |number: usize, sample| Sample { time: seconds(number / 3 * 40 + number % 3, 50), ..sample };
    let site = |number: usize, sample| Sample { site: Some(format!("site {}", number % 20)), ..sample };

    let data = dataset(240, |number, sample| site(number, camera(number, time(number, sample))));
    let by_site = split(&data, &SETTINGS).unwrap();
    assert_eq!((by_site.how.as_str(), by_site.shared_sites(&data)), ("site", 0));

    let data = dataset(240, |number, sample| camera(number, time(number, sequence(number, sample))));
    let by_sequence = split(&data, &SETTINGS).unwrap();
    assert_eq!(by_sequence.how, "sequence");
    assert_eq!(divided(&by_sequence, |index| Some(index / 4)), 0);
    assert!(by_sequence.warning.unwrap().starts_with("Split by sequence: no burst is in two parts"));

    let data = dataset(240, |number, sample| camera(number, time(number, sample)));
    let by_folder = split(&data, &SETTINGS).unwrap();
    assert_eq!((by_folder.how.as_str(), divided(&by_folder, |index| Some(index % 20))), ("folder", 0));
    assert!(by_folder.warning.unwrap().contains("each folder is taken for a camera"));

    // A class is a folder: what the folder tells is the class, so it does not count.
    let data = dataset(240, time);
    let by_burst = split(&data, &SETTINGS).unwrap();
    assert_eq!(by_burst.how, "burst");
    let burst = |index: usize| Some((data.samples[index].class, index / 3));
    assert_eq!(divided(&by_burst, burst), 0);
    assert!(by_burst.warning.unwrap().starts_with("Split by burst"));

    assert_eq!(split(&dataset(240, |_, sample| sample), &SETTINGS).unwrap().how, "random");
}

#[test]
fn a_folder_is_a_camera_only_where_it_can_be() {
    let how = |make: &dyn Fn(usize, &Sample) -> String| {
        let data = dataset(60, |number, sample| Sample { id: make(number, &sample), ..sample });
        split(&data, &SETTINGS).unwrap().how
    };
    // A table whose paths begin with what all share.
    assert_eq!(how(&|number, _| format!("DCIM/all/camera {}/{number}.jpg", number % 9)), "folder");
    // Another word for the class.
    assert_eq!(how(&|number, sample| format!("n{}/{number}.jpg", sample.class.unwrap())), "random");
    // Everything in one.
    assert_eq!(how(&|number, _| format!("photos/{number}.jpg")), "random");
    // The part's name is no camera.
    let data = dataset(60, |number, sample| Sample {
        id: format!("train/class {}/{number}.jpg", sample.class.unwrap()),
        part: Some(Part::Train),
        ..sample
    });
    assert_eq!(split(&data, &SETTINGS).unwrap().how, "given, val random");
}

#[test]
fn bursts_end_at_the_gap_and_at_the_camera() {
    // Two cameras that take turns every 30 seconds: 60 seconds between the photos of one.
    let data = dataset(120, |number, sample| Sample {
        id: format!("camera {}/{number}.jpg", number % 2),
        time: seconds(number, 30),
        ..sample
    });
    let groups = |gap: u64| {
        let options = SplitOptions { burst_gap: Duration::from_secs(gap), ..SplitOptions::default() };
        let settings = SplitSettings { by: SplitBy::Sequence, test: 0.0, ..SETTINGS };
        let split = split_with(&data, &settings, &options).unwrap();
        split.groups.iter().flatten().collect::<HashSet<_>>().len()
    };
    assert_eq!((groups(59), groups(60)), (120, 2));
}

#[test]
fn what_the_caller_names_stays_together() {
    let data = dataset(300, |number, sample| Sample {
        site: (number < 200).then(|| format!("site {}", number % 40)),
        ..sample
    });
    // A duplicate at two sites joins them; two photos without a site.
    let together = [vec![0, 1], vec![41, 2], vec![250, 260, 270], vec![299]];
    for by in [SplitBy::Site, SplitBy::Random] {
        for seed in 0..20 {
            let settings = SplitSettings { by, seed, ..SETTINGS };
            let options = SplitOptions { keep_together: &together, ..SplitOptions::default() };
            let split = split_with(&data, &settings, &options).unwrap();
            for group in &together {
                let parts: HashSet<_> = group.iter().map(|&index| split.parts[index]).collect();
                assert_eq!(parts.len(), 1, "{by:?} {seed}: {group:?}");
            }
            if by == SplitBy::Site {
                // 0, 1 and 41, 2 are of the sites 0, 1, 1 and 2: all three go one way.
                let parts: HashSet<_> = (0..200).filter(|i| i % 40 < 3).map(|i| split.parts[i]).collect();
                assert_eq!((parts.len(), split.shared_sites(&data)), (1, 0));
            }
        }
    }
    // A given split is kept, and told where it divides them.
    let given = dataset(40, |number, sample| Sample {
        part: Some(if number < 20 { Part::Train } else { Part::Val }),
        ..sample
    });
    let options = SplitOptions { keep_together: &[vec![1, 2], vec![3, 30]], ..SplitOptions::default() };
    let split = split_with(&given, &SETTINGS, &options).unwrap();
    assert_eq!(split.how, "given");
    assert!(split.warning.unwrap().contains("1 group of photos that belong together"));
}

#[test]
fn a_column_is_a_group() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("labels.csv");
    let rows: String = (0..90)
        .map(|n| {
            format!(
                "{n}.jpg,{},{}\n",
                ["duiker", "hog"][n % 2],
                if n < 80 { format!("night {}", n % 16) } else { String::new() }
            )
        })
        .collect();
    std::fs::write(&file, format!("filepath,label,Night\n{rows}")).unwrap();
    let data = read_labels(&file, &ReadOptions::default()).unwrap();
    let column = read_column(&file, &data, "night").unwrap();
    assert_eq!((column[17].as_deref(), column[85].as_deref()), (Some("night 1"), None));
    let settings = SplitSettings { by: SplitBy::Column, ..SETTINGS };
    let options = SplitOptions { column: Some(&column), ..SplitOptions::default() };
    let split = split_with(&data, &settings, &options).unwrap();
    assert_eq!((split.how.as_str(), divided(&split, |index| column[index].clone())), ("column", 0));
    let warning = split.warning.unwrap();
    assert!(
        warning.starts_with("No value of the column is known of 10 photos: each counts as a group"),
        "{warning}"
    );

    let error = read_column(&file, &data, "moon").unwrap_err();
    assert!(
        error.to_string().ends_with("no column `moon` (its columns are `filepath`, `label`, `Night`)"),
        "{error}"
    );
    let error = read_column(folder.path(), &data, "night").map(|column| column.len());
    assert_eq!(error.unwrap(), 90, "the folder of the CSV will do");
    let error = split_with(&data, &settings, &SplitOptions::default()).unwrap_err();
    assert!(matches!(error, DataError::Split(SplitError::NoColumn { .. })), "{error}");
}

#[test]
fn a_column_may_be_beside_one_hot_labels() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("train_labels.csv", "id,hog,bird\na,1,0\nb,0,1\n");
    write("train_features.csv", "id,filepath,site,season\nb,b.jpg,s1,dry\na,a.jpg,s2,wet\n");
    let data = read_labels(folder.path(), &ReadOptions::default()).unwrap();
    let seasons = read_column(folder.path(), &data, "season").unwrap();
    assert_eq!(seasons, [Some("wet".to_owned()), Some("dry".to_owned())]);
    std::fs::remove_file(folder.path().join("train_labels.csv")).unwrap();
    let error = read_column(folder.path(), &data, "season").unwrap_err();
    assert!(matches!(error, DataError::Split(SplitError::NoTable { .. })), "{error}");
}

#[test]
fn folds_divide_what_is_not_test() {
    let data =
        dataset(1000, |number, sample| Sample { site: Some(format!("site {}", number % 50)), ..sample });
    let options = SplitOptions { folds: 4, ..SplitOptions::default() };
    for by in [SplitBy::Site, SplitBy::Random] {
        let split = split_with(&data, &SplitSettings { by, test: 0.2, ..SETTINGS }, &options).unwrap();
        assert_eq!(split.fold_count(), 4);
        let evenness = split.evenness(&data);
        let names: Vec<&str> = evenness.parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["fold 1", "fold 2", "fold 3", "fold 4", "test"]);
        assert!(evenness.parts.iter().all(|part| (190..=210).contains(&part.photos)), "{evenness:?}");
        for (part, fold) in places(&split) {
            assert!(matches!((part, fold), (Some(Part::Test), None) | (Some(Part::Train), Some(1..=4))));
        }
        for fold in 1..=4 {
            let chosen = split.fold(fold).unwrap();
            let val: Vec<usize> = (0..1000).filter(|&index| split.folds[index] == Some(fold)).collect();
            assert_eq!(chosen.indices(Part::Val), val);
            assert_eq!(chosen.indices(Part::Test), split.indices(Part::Test));
            assert_eq!(chosen.indices(Part::Train).len(), 1000 - val.len() - split.indices(Part::Test).len());
            assert!(chosen.how.ends_with(&format!(", fold {fold}")), "{}", chosen.how);
        }
        assert_eq!((split.fold(0), split.fold(5)), (None, None));
        assert!(by == SplitBy::Random || split.shared_sites(&data) == 0);
    }
}

#[test]
fn what_cannot_be_divided() {
    let plain = dataset(30, |_, sample| sample);
    let error = |data: &Dataset, by, folds| {
        let options = SplitOptions { folds, ..SplitOptions::default() };
        let error = split_with(data, &SplitSettings { by, ..SETTINGS }, &options).unwrap_err();
        assert!(error.hint().is_some());
        error.to_string()
    };
    assert_eq!(error(&plain, SplitBy::Sequence, 0), "made up names no sequences and no times to split by");
    assert_eq!(error(&plain, SplitBy::Folder, 0), "made up has no folders of cameras to split by");
    assert_eq!(error(&plain, SplitBy::Random, 1), "one fold is no cross-validation");
    let sites = dataset(30, |number, sample| Sample { site: Some((number % 3).to_string()), ..sample });
    assert_eq!(error(&sites, SplitBy::Site, 5), "made up: 3 sites cannot be split into 6 parts");
    let part = |number: usize| Some(if number < 20 { Part::Train } else { Part::Val });
    let given = dataset(30, |number, sample| Sample { part: part(number), ..sample });
    assert!(error(&given, SplitBy::Auto, 5).starts_with("made up gives a val part itself"));
}

#[test]
fn folds_of_a_given_train_part() {
    let part = |number: usize| Some(if number < 90 { Part::Train } else { Part::Test });
    let data = dataset(120, |number, sample| Sample { part: part(number), ..sample });
    let options = SplitOptions { folds: 3, ..SplitOptions::default() };
    let split = split_with(&data, &SETTINGS, &options).unwrap();
    assert_eq!(split.how, "given, folds random");
    assert!((0..120).all(|index| (split.parts[index] == Some(Part::Test)) == (index >= 90)));
    assert_eq!((1..=3).map(|fold| split.fold(fold).unwrap().indices(Part::Val).len()).sum::<usize>(), 90);
}

#[test]
fn evenness_names_the_largest_deviation() {
    let data = dataset(12, |number, sample| Sample {
        class: Some(usize::from(number % 4 == 0)),
        part: Some(if number < 8 { Part::Train } else { Part::Val }),
        site: Some("only".to_owned()),
        ..sample
    });
    let mut data = data;
    data.samples[1].class = Some(1);
    let evenness = split(&data, &SETTINGS).unwrap().evenness(&data);
    // Class 1: 3 of 8 in train, 1 of 4 in val, 4 of 12 in all.
    // And class 0 as much the other way, which comes first.
    let largest = evenness.largest.unwrap();
    assert_eq!((largest.class.as_str(), largest.part.as_str()), ("class 0", "val"));
    assert!((largest.size() - 1.0 / 12.0).abs() < 1e-12, "{largest:?}");
    assert_eq!((evenness.all.sites, evenness.all.counts.as_slice()), (1, &[8, 4, 0][..]));
}

#[test]
fn conser_vision_with_a_test_part_and_in_folds() {
    let Some(path) = common::test_data("conser-vision") else { return };
    let data = read_labels(&path, &ReadOptions::default()).unwrap();
    let mut worst = [0.0_f64; 2];
    for seed in 0..10 {
        for (which, folds) in [0, 5].into_iter().enumerate() {
            let settings = SplitSettings { by: SplitBy::Site, val: 0.25, test: [0.1, 0.0][which], seed };
            let options = SplitOptions { folds, ..SplitOptions::default() };
            let split = split_with(&data, &settings, &options).unwrap();
            assert_eq!((split.shared_sites(&data), split.warning.as_deref()), (0, None));
            assert!(split.parts.iter().all(Option::is_some));
            let evenness = split.evenness(&data);
            assert_eq!((evenness.all.photos, evenness.all.sites), (16_488, 148));
            assert_eq!(evenness.parts.iter().map(|part| part.sites).sum::<usize>(), 148);
            worst[which] = worst[which].max(evenness.largest.unwrap().size().abs());
        }
    }
    println!("largest deviation: with a test part {:.4}, of five folds {:.4}", worst[0], worst[1]);
    // Measured: 0.0196 and 0.1304. One site has 0.396 of a class, which no fold of a fifth can be even with.
    assert!(worst[0] < 0.025 && worst[1] < 0.15, "{worst:?}");
}

#[test]
fn no_fold_is_empty_however_large_the_sites() {
    // Each site has a class of its own: it is too large for every fold.
    for (sites, folds) in [(2, 2), (4, 2), (5, 4), (3, 3)] {
        let mut data = dataset(sites * 10, |number, sample| Sample {
            class: Some(number % sites),
            site: Some(format!("site {}", number % sites)),
            ..sample
        });
        data.classes = (0..sites).map(|class| format!("class {class}")).collect();
        for seed in 0..20 {
            let settings = SplitSettings { by: SplitBy::Site, test: 0.0, seed, ..SETTINGS };
            let options = SplitOptions { folds, ..SplitOptions::default() };
            let split = split_with(&data, &settings, &options).unwrap();
            let found: HashSet<u32> = split.folds.iter().copied().flatten().collect();
            assert_eq!(found.len(), folds as usize, "{sites} sites in {folds} folds, seed {seed}");
        }
    }
}
