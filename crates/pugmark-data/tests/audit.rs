//! The leakage audit and the report, on real labels and on small worlds whose answer is known.

mod common;

use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use pugmark_data::audit::{Evidence, Sees, audit};
use pugmark_data::check::{CheckSettings, Report, check, subject};
use pugmark_data::{Dataset, Part, Sample, Split, SplitSettings, split};

fn settings(seed: u64) -> CheckSettings {
    let now = "2026-05-01T12:00:00".parse().expect("a time");
    CheckSettings { burst_gap: TimeDelta::seconds(60), seed, val: 0.25, split: None, now }
}

fn of_labels(data: &Path, seed: u64) -> Report {
    let subject = subject(data, None, false).expect("labels");
    check(&subject, None, &settings(seed)).expect("a report")
}

#[test]
fn conser_vision_leaks_its_sites() {
    let Some(data) = common::test_data("conser-vision") else { return };
    for seed in 0..10 {
        let report = of_labels(&data, seed);
        assert_eq!(report.photos, 16_488);
        let [random, by_site] = report.audits.as_slice() else { panic!("{:?}", report.audits) };
        let [random, by_site] = [random, by_site].map(|audit| &audit.parts[0]);
        assert_eq!((random.part, by_site.part), (Part::Val, Part::Val));
        let site = random.score(Sees::Site).unwrap();
        assert!((0.50..=0.52).contains(&site.accuracy), "seed {seed}: {site:?}");
        // 2492 of 16488, the majority class; its log loss is the entropy of the class shares.
        assert!((random.majority.accuracy - 0.1511).abs() < 0.0005, "seed {seed}: {:?}", random.majority);
        assert!((random.majority.log_loss - 2.0475).abs() < 0.001, "seed {seed}: {:?}", random.majority);
        assert!(site.log_loss < 1.4, "seed {seed}: {site:?}");
        assert!(random.sites.unwrap().groups > 130);
        // What is known of no site of val is no more than the majority.
        assert_eq!(by_site.sites.unwrap().groups, 0);
        assert_eq!(by_site.score(Sees::Site).unwrap(), by_site.majority);
        assert!(report.verdict[0].starts_with("Split by site. A random split of these photos leaks"));
    }
}

#[test]
fn conser_vision_as_its_source_counts_it() {
    let Some(data) = common::test_data("conser-vision") else { return };
    let report = of_labels(&data, 0);
    let counts: Vec<(&str, usize)> =
        report.classes.iter().map(|class| (class.name.as_str(), class.photos)).collect();
    assert_eq!(
        counts,
        [
            ("antelope_duiker", 2474),
            ("bird", 1641),
            ("blank", 2213),
            ("civet_genet", 2423),
            ("hog", 978),
            ("leopard", 2254),
            ("monkey_prosimian", 2492),
            ("rodent", 2013),
        ]
    );
    assert_eq!(report.sites.as_ref().map(|sites| (sites.count, sites.photos_without)), Some((148, 0)));
    let held_out = report.held_out.as_ref().unwrap();
    assert_eq!((held_out.photos, held_out.sites, held_out.shared_sites), (4464, 51, 0));
    assert!((report.imbalance.unwrap() - 2492.0 / 978.0).abs() < 1e-9);
    let text = serde_json::to_string(&report).unwrap();
    assert!(text.contains("\"shared_sites\":0") && text.contains("\"sees\":\"site\""));
}

#[test]
fn a_missing_file_is_a_row_and_a_photo_named_twice_a_note() {
    let Some(data) = common::test_data("ena24/assets") else { return };
    let subject = subject(&data.join("images/labels.csv"), Some(&data), true).unwrap();
    let paths: Vec<&PathBuf> = subject.dataset.samples.iter().map(|sample| &sample.path).collect();
    let scan_settings =
        pugmark_data::ScanSettings { threads: 1, limits: Default::default(), file_dates: false };
    let facts =
        pugmark_data::scan(&paths, &scan_settings, &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    let report = check(&subject, Some(&facts), &settings(0)).unwrap();
    assert_eq!(report.labels_without_file, ["images/this_file_does_not_exist.jpg"]);
    assert_eq!(report.photos, 4);
    assert!(report.notes[0].contains("2 rows"), "{:?}", report.notes);
    assert!(report.files_without_label.contains(&"images/equid.webp".to_owned()));
    let drop = report.to_drop();
    assert_eq!(drop.len(), 1);
    assert_eq!(drop[0].reason, "there is no such file");
}

/// A data set of (site, class, part, hour).
fn world(rows: &[(&str, usize, Part, u32)]) -> (Dataset, Split) {
    let samples = rows.iter().enumerate().map(|(index, &(site, class, part, hour))| Sample {
        class: Some(class),
        site: Some(site.to_owned()),
        part: Some(part),
        time: format!("2020-05-{:02} {hour:02}:00:00", index + 1).parse().ok(),
        ..Sample::new(format!("{index}.jpg"), "")
    });
    let data = Dataset {
        root: PathBuf::new(),
        classes: vec!["blank".to_owned(), "hog".to_owned()],
        samples: samples.collect(),
        format: "test",
        notes: Vec::new(),
    };
    let split = split(&data, &SplitSettings::default()).expect("a split");
    assert_eq!(split.how, "given");
    (data, split)
}

#[test]
fn scores_are_those_worked_out_by_hand() {
    use Part::{Train, Val};
    let (data, split) = world(&[
        ("A", 0, Train, 6),
        ("A", 0, Train, 6),
        ("A", 0, Train, 18),
        ("B", 1, Train, 18),
        ("A", 0, Val, 6),
        ("B", 1, Val, 18),
        ("B", 0, Val, 18),
        ("C", 1, Val, 12),
    ]);
    let times: Vec<_> = data.samples.iter().map(|sample| sample.time).collect();
    let bursts = [vec![0, 4], vec![2, 3], vec![5, 6]];
    let evidence = Evidence { times: &times, facts: None, bursts: &bursts, exact: &[], near: &[] };
    let found = audit(&data, &split, &evidence, 0);
    assert_eq!(found.train, 4);
    let part = &found.parts[0];
    // Three blanks and one hog, one more each: shares of 4/6 and 2/6.
    let loss = |probabilities: [f64; 4]| probabilities.iter().map(|p| -p.ln()).sum::<f64>() / 4.0;
    let (blank, hog) = (4.0 / 6.0, 2.0 / 6.0);
    assert_eq!(part.majority.accuracy, 0.5);
    assert!((part.majority.log_loss - loss([blank, hog, blank, hog])).abs() < 1e-12);
    // A: three blanks; B: one hog; C: not seen. Two photos with the shares of train are added.
    let site = part.score(Sees::Site).unwrap();
    assert_eq!(site.accuracy, 0.5);
    let at_b = |count: f64, share: f64| (count + 2.0 * share) / 3.0;
    let expected = loss([(3.0 + 2.0 * blank) / 5.0, at_b(1.0, hog), at_b(0.0, blank), hog]);
    assert!((site.log_loss - expected).abs() < 1e-12, "{site:?} {expected}");
    // At 18 there is one of each: the more common of all is named.
    assert_eq!(part.score(Sees::Hour).unwrap().accuracy, 0.5);
    assert_eq!(part.score(Sees::Colours), None);
    let sites = part.sites.unwrap();
    assert_eq!((sites.groups, sites.of, sites.photos), (2, 3, 3));
    assert_eq!((part.bursts.groups, part.bursts.of, part.bursts.photos), (1, 2, 1));
    assert!(found.verdict.contains("1 burst (1 photo of val)"), "{}", found.verdict);
}

#[test]
fn the_order_of_the_rows_does_not_matter() {
    let Some(data) = common::test_data("conser-vision") else { return };
    let forward = subject(&data, None, false).unwrap();
    let mut backward = forward.clone();
    backward.dataset.samples.reverse();
    let reports = [forward, backward].map(|subject| check(&subject, None, &settings(3)).unwrap());
    let [forward, backward] = &reports;
    // Sums of many logarithms may differ in the last digit.
    for (a, b) in forward.audits.iter().zip(&backward.audits) {
        assert_eq!(a.verdict, b.verdict);
        assert_eq!(a.parts[0].majority.accuracy, b.parts[0].majority.accuracy);
    }
    assert_eq!(forward.sites, backward.sites);
    assert_eq!(forward.verdict, backward.verdict);
}

#[test]
fn a_train_part_of_one_site_is_audited_as_it_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = ["1.jpg,hog,train,S1", "2.jpg,blank,train,S1", "3.jpg,hog,test,S2", "4.jpg,blank,test,S2"];
    let labels = folder.path().join("labels.csv");
    std::fs::write(&labels, format!("filepath,label,split,site\n{}\n", rows.join("\n"))).expect("written");
    let report = of_labels(&labels, 0);
    assert_eq!(report.audits.len(), 1);
    assert_eq!(report.audits[0].parts.iter().map(|part| part.part).collect::<Vec<_>>(), [Part::Test]);
}
