//! Splits that stay: the order of the samples does not matter, and more photos change little or nothing.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use pugmark_data::{
    DataError, Dataset, Part, Random, ReadOptions, Sample, Split, SplitBy, SplitError, SplitOptions,
    SplitSettings, read_labels, split, split_with,
};

/// Made-up photos of sites that are small beside every part, each with its favourite class.
fn world(sites: usize, seed: u64) -> Dataset {
    let mut random = Random::new(seed, 0, "world");
    let mut samples = Vec::new();
    for site in 0..sites {
        let favourite = random.below(5);
        for photo in 0..5 + random.below(20) {
            let class = if random.below(3) == 0 { favourite } else { random.below(5) };
            let id = format!("site {site}/{photo}.jpg");
            samples.push(Sample {
                class: Some(class),
                site: Some(format!("site {site}")),
                sequence: Some(format!("{site}.{}", photo / 3)),
                ..Sample::new(id.clone(), id)
            });
        }
    }
    of(samples, 5)
}

fn of(samples: Vec<Sample>, classes: usize) -> Dataset {
    let classes = (0..classes).map(|class| format!("class {class}")).collect();
    Dataset { root: PathBuf::from("made up"), classes, samples, format: "made up", notes: Vec::new() }
}

/// The samples for which `keep` holds.
fn some(data: &Dataset, keep: impl Fn(&Sample) -> bool) -> Dataset {
    let samples = data.samples.iter().filter(|&sample| keep(sample)).cloned().collect();
    Dataset { samples, ..data.clone() }
}

/// About this share of names, the same ones whatever else there is.
fn among(share: f32, seed: u64, name: &str) -> bool {
    Random::new(seed, 1, name).uniform() < share
}

/// Part and fold of every photo by its id.
fn places(data: &Dataset, split: &Split) -> HashMap<String, (Option<Part>, Option<u32>)> {
    let fold = |index| split.folds.get(index).copied().flatten();
    let place = |(index, sample): (usize, &Sample)| (sample.id.clone(), (split.parts[index], fold(index)));
    data.samples.iter().enumerate().map(place).collect()
}

/// Old photos that are elsewhere in the new split.
fn changed(old: (&Dataset, &Split), new: (&Dataset, &Split)) -> HashSet<String> {
    let now = places(new.0, new.1);
    let old = places(old.0, old.1);
    old.into_iter().filter(|(id, place)| now.get(id) != Some(place)).map(|(id, _)| id).collect()
}

#[test]
fn the_order_of_the_samples_does_not_matter() {
    let data = world(60, 1);
    let mut random = Random::new(5, 0, "order");
    for by in [SplitBy::Site, SplitBy::Sequence, SplitBy::Folder, SplitBy::Random] {
        for folds in [0, 3] {
            let settings = SplitSettings { by, val: 0.2, test: 0.15, seed: 9 };
            let together = [vec![0, 40], vec![7, 300, 90]];
            let options = SplitOptions { folds, keep_together: &together, ..SplitOptions::default() };
            let one = split_with(&data, &settings, &options).unwrap();
            let mut order: Vec<usize> = (0..data.samples.len()).collect();
            random.shuffle(&mut order);
            let shuffled = of(order.iter().map(|&index| data.samples[index].clone()).collect(), 5);
            let position = |index: usize| order.iter().position(|&at| at == index).unwrap();
            let together = together.map(|group| group.into_iter().rev().map(position).collect());
            let options = SplitOptions { folds, keep_together: &together, ..SplitOptions::default() };
            let other = split_with(&shuffled, &settings, &options).unwrap();
            assert_eq!(places(&data, &one), places(&shuffled, &other), "{by:?} {folds}");
            assert_eq!((one.how, one.warning, one.moved), (other.how, other.warning, other.moved));
        }
    }
}

/// What `docs/decisions/0006-splits-that-stay.md` promises of small groups: one that the balance moved in neither of two
/// versions of the data is in the same part of both.
#[test]
fn only_groups_that_were_moved_can_change() {
    for seed in 0..10 {
        let data = world(150, seed);
        let settings = SplitSettings { by: SplitBy::Site, val: 0.25, test: 0.1, seed };
        let now = split(&data, &settings).unwrap();
        for share in [0.5, 0.9, 0.99] {
            for by_site in [false, true] {
                let before = some(&data, |sample| {
                    let name = if by_site { sample.site.as_deref().unwrap() } else { &sample.id };
                    among(share, seed, name)
                });
                let then = split(&before, &settings).unwrap();
                let site = |id: &String| id.split('/').next().unwrap().to_owned();
                let sites: HashSet<String> =
                    changed((&before, &then), (&data, &now)).iter().map(site).collect();
                assert!(
                    sites.len() <= then.moved + now.moved,
                    "seed {seed}: {} sites changed, {} and {} were moved",
                    sites.len(),
                    then.moved,
                    now.moved
                );
            }
        }
    }
}

#[test]
fn a_random_split_changes_at_the_edges_alone() {
    // A hundredth more photos shifts each edge by about as much, and chance by a few.
    let data = of(
        (0..10_000)
            .map(|number| Sample { class: Some(number % 4), ..Sample::new(number.to_string(), "") })
            .collect(),
        4,
    );
    for seed in 0..10 {
        let settings = SplitSettings { by: SplitBy::Random, val: 0.25, test: 0.1, seed };
        let before = some(&data, |sample| among(0.99, seed, &sample.id));
        let (then, now) = (split(&before, &settings).unwrap(), split(&data, &settings).unwrap());
        let changed = changed((&before, &then), (&data, &now)).len();
        assert!(changed < 100, "seed {seed}: {changed} of {}", before.samples.len());
    }
}

#[test]
fn with_an_earlier_split_no_old_photo_changes() {
    for seed in 0..5 {
        let data = world(80, seed);
        for by in [SplitBy::Site, SplitBy::Sequence, SplitBy::Random] {
            for folds in [0, 4] {
                for by_site in [false, true] {
                    let before = some(&data, |sample| {
                        let name = if by_site { sample.site.as_deref().unwrap() } else { &sample.id };
                        among(0.6, seed, name)
                    });
                    let settings = SplitSettings { by, val: 0.3, test: 0.1, seed };
                    let options = SplitOptions { folds, ..SplitOptions::default() };
                    let then = split_with(&before, &settings, &options).unwrap();
                    let folder = tempfile::tempdir().unwrap();
                    let file = folder.path().join("old.csv");
                    std::fs::write(&file, then.to_csv(&before)).unwrap();

                    let (earlier, gone) = Split::earlier(&file, &data).unwrap();
                    assert_eq!(gone, 0);
                    let options = SplitOptions { earlier: Some(&earlier), ..options };
                    // Another seed: what is old does not depend on it.
                    let settings = SplitSettings { seed: seed + 100, ..settings };
                    let now = split_with(&data, &settings, &options).unwrap();
                    assert_eq!(changed((&before, &then), (&data, &now)), HashSet::new(), "{by:?} {folds}");
                    assert!(now.parts.iter().all(Option::is_some));
                    if by == SplitBy::Site {
                        assert_eq!(now.shared_sites(&data), 0, "new photos follow their sites");
                    }
                }
            }
        }
    }
}

#[test]
fn an_earlier_split_may_be_of_other_parts() {
    let data = world(40, 3);
    let settings = SplitSettings { by: SplitBy::Random, val: 0.25, test: 0.25, seed: 1 };
    let earlier = split(&data, &settings).unwrap();
    // It had a test part, and the sites of a random split are on both sides.
    let settings = SplitSettings { by: SplitBy::Site, val: 0.25, test: 0.0, seed: 1 };
    let options = SplitOptions { earlier: Some(&earlier), ..SplitOptions::default() };
    let now = split_with(&data, &settings, &options).unwrap();
    assert_eq!(now.parts, earlier.parts);
    let warning = now.warning.unwrap();
    assert!(
        warning.contains("belong together in more than one part, and they stay there: 40 groups."),
        "{warning}"
    );

    let options = SplitOptions { folds: 3, ..options };
    let error = split_with(&data, &settings, &options).unwrap_err();
    assert_eq!(error.to_string(), "the earlier split has no folds and 3 folds are asked for");
}

#[test]
fn a_file_is_used_exactly_or_not_at_all() {
    let data = world(30, 4);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("split.csv");
    let made = split(&data, &SplitSettings::default()).unwrap();
    let csv = made.to_csv(&data);
    std::fs::write(&file, &csv).unwrap();
    let read = Split::exactly(&file, &data, None, false).unwrap();
    assert_eq!((&read.parts, read.how.as_str(), read.warning), (&made.parts, "file", None));

    let fails = |data: &Dataset, fold| {
        let error = Split::exactly(&file, data, fold, false).unwrap_err();
        assert!(error.hint().is_some());
        error.to_string().replace(&*folder.path().to_string_lossy(), "")
    };
    assert_eq!(fails(&data, Some(1)), "/split.csv has no folds and no fold 1");
    let fewer = some(&data, |sample| sample.site.as_deref() != Some("site 3"));
    let rows = data.samples.len() - fewer.samples.len();
    let message = fails(&fewer, None);
    let start = format!(
        "/split.csv is not a split of made up: {rows} of its photos are not in the data set: `site 3/0.jpg`,"
    );
    assert!(
        message.starts_with(&start) && message.ends_with(&format!(" and {} more", rows - 5)),
        "{message}"
    );
    // Photos that are skipped as missing are in the split all the same.
    let skipped = Split::exactly(&file, &fewer, None, true).unwrap();
    assert!(skipped.warning.unwrap().contains(&format!("not in the data set: {rows} photos")));

    let mut other = data.clone();
    other.samples[7].id = "new.jpg".to_owned();
    let id = &data.samples[7].id;
    assert_eq!(
        fails(&other, None),
        format!(
            "/split.csv is not a split of made up: 1 of its photos is not in the data set: `{id}`; 1 labelled photo \
             of the data set is not in it: `new.jpg`"
        )
    );
    assert!(Split::exactly(&file, &other, None, true).is_err(), "a new photo is in no part");

    let options = SplitOptions { folds: 3, ..SplitOptions::default() };
    let made = split_with(&data, &SplitSettings::default(), &options).unwrap();
    let csv = made.to_csv(&data);
    assert!(csv.starts_with("id,split,class,site,fold\nsite 0/0.jpg,train,"), "{csv}");
    std::fs::write(&file, &csv).unwrap();
    let read = Split::exactly(&file, &data, Some(2), false).unwrap();
    assert_eq!((read.parts, read.how.as_str()), (made.fold(2).unwrap().parts, "file, fold 2"));
    assert_eq!(fails(&data, None), "/split.csv has 3 folds and none is chosen");
    assert_eq!(fails(&data, Some(4)), "/split.csv has 3 folds and no fold 4");
    std::fs::write(&file, "id,split,fold\nsite 0/0.jpg,train,0\n").unwrap();
    assert_eq!(fails(&data, None), "/split.csv, row 2, column `fold`: `0` is not a fold");
}

#[test]
fn a_file_whose_parts_share_sites_is_told() {
    let data = world(20, 6);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("split.csv");
    let random = split(&data, &SplitSettings { by: SplitBy::Random, ..SplitSettings::default() }).unwrap();
    std::fs::write(&file, random.to_csv(&data)).unwrap();
    let warning = Split::exactly(&file, &data, None, false).unwrap().warning.unwrap();
    let shared = random.shared_sites(&data);
    let told = format!("split.csv: {shared} sites. The model can recognise the place");
    assert!(shared > 10 && warning.contains(&told), "{warning}");
}

/// A plain greedy split, as scikit-learn's `StratifiedGroupKFold` makes them: the largest sites first, each where it
/// fits best then.
fn greedy(data: &Dataset, shares: &[(Part, f64)]) -> Split {
    let mut sites: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, sample) in data.samples.iter().enumerate() {
        sites.entry(sample.site.as_deref().unwrap()).or_default().push(index);
    }
    let mut sites: Vec<_> = sites.into_iter().collect();
    sites.sort_by_key(|(site, members)| (std::cmp::Reverse(members.len()), *site));
    let total = data.class_counts(&(0..data.samples.len()).collect::<Vec<_>>());
    let mut counts = vec![vec![0.0; total.len()]; shares.len()];
    let mut split = split(data, &SplitSettings { val: 0.0, ..SplitSettings::default() }).unwrap();
    for (_, members) in sites {
        let more = data.class_counts(&members);
        let cost = |part: usize| -> f64 {
            let classes = (0..total.len()).filter(|&class| more[class] > 0);
            classes
                .map(|class| {
                    let wanted = total[class] as f64 * shares[part].1;
                    let off = |count: f64| (count - wanted).powi(2) / wanted;
                    off(counts[part][class] + more[class] as f64) - off(counts[part][class])
                })
                .sum()
        };
        let best = (0..shares.len()).min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap();
        for (class, more) in more.iter().enumerate() {
            counts[best][class] += *more as f64;
        }
        members.iter().for_each(|&index| split.parts[index] = Some(shares[best].0));
    }
    split
}

/// The figures of `docs/decisions/0006-splits-that-stay.md`, printed with `--nocapture`.
#[test]
fn conser_vision_grows() {
    let Some(path) = common::test_data("conser-vision") else { return };
    let data = read_labels(&path, &ReadOptions::default()).unwrap();
    for (val, test) in [(0.25, 0.0), (0.25, 0.1)] {
        let shares = [(Part::Train, 1.0 - val - test), (Part::Val, val), (Part::Test, test)];
        let shares = &shares[..if test > 0.0 { 3 } else { 2 }];
        for (what, growth) in [("photos", 0.01), ("photos", 0.1), ("sites", 0.01), ("sites", 0.1)] {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for seed in 0..10 {
                let settings = SplitSettings { by: SplitBy::Site, val, test, seed };
                let before = some(&data, |sample| {
                    let name = if what == "sites" { sample.site.as_deref().unwrap() } else { &sample.id };
                    among(1.0 / (1.0 + growth), seed, name)
                });
                let old = before.samples.len() as f64;
                let (then, now) = (split(&before, &settings).unwrap(), split(&data, &settings).unwrap());
                ours.push(changed((&before, &then), (&data, &now)).len() as f64 / old);
                let (early, late) = (greedy(&before, shares), greedy(&data, shares));
                theirs.push(changed((&before, &early), (&data, &late)).len() as f64 / old);

                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), then.to_csv(&before)).unwrap();
                let (earlier, _) = Split::earlier(file.path(), &data).unwrap();
                let options = SplitOptions { earlier: Some(&earlier), ..SplitOptions::default() };
                let kept = split_with(&data, &settings, &options).unwrap();
                assert_eq!(changed((&before, &then), (&data, &kept)).len(), 0);
                assert_eq!(kept.shared_sites(&data), 0);
            }
            let told = |values: &[f64]| {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                format!("{mean:.3} (at most {:.3})", values.iter().copied().fold(0.0, f64::max))
            };
            println!(
                "val {val}, test {test}, {growth} more {what}: {} of the old photos change part, greedy {}",
                told(&ours),
                told(&theirs)
            );
        }
    }
}

#[test]
fn an_earlier_file_is_checked() {
    let data = world(5, 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old.csv");
    std::fs::write(&file, "id,split\ngone.jpg,val\nsite 0/0.jpg,val\n").unwrap();
    let (earlier, gone) = Split::earlier(&file, &data).unwrap();
    assert_eq!((gone, earlier.indices(Part::Val)), (1, vec![0]));
    std::fs::write(&file, "id,split\nsite 0/0.jpg,both\n").unwrap();
    assert!(matches!(Split::earlier(&file, &data).unwrap_err(), DataError::UnknownPart { .. }));
    std::fs::write(&file, "id,split,fold\nsite 0/0.jpg,train,x\n").unwrap();
    let error = Split::earlier(&file, &data).unwrap_err();
    assert!(matches!(error, DataError::Split(SplitError::NotAFold { row: 2, .. })), "{error}");
}
