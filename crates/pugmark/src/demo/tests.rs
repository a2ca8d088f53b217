use tempfile::tempdir;

use super::*;

/// A demo that takes a second.
fn small(out: PathBuf) -> DemoSettings {
    let mut settings = DemoSettings::new(out, false);
    settings.world =
        WorldSettings { seed: 0, sites: [6, 4], photos: [120, 60], size: [64, 48], animals: 1.0 };
    settings.training.image_size = 32;
    settings.training.epochs = 1;
    settings
}

#[test]
fn compares_both_splits_and_uses_the_photos_again() {
    let folder = tempdir().unwrap();
    let settings = small(folder.path().join("demo"));
    let printer = Printer::new(true);
    let run =
        |settings: &DemoSettings| compare(settings, &printer, &AtomicBool::new(false)).unwrap().unwrap();
    let first = run(&settings);
    assert_eq!(first.iter().map(|c| c.name).collect::<Vec<_>>(), ["random split", "split by site"]);
    // One of the 60 photos is empty.
    assert!(first.iter().all(|c| c.gave.images == 59));
    let drawn = settings.out.join("world").join(README);
    let time = || fs::metadata(&drawn).and_then(|file| file.modified()).unwrap();
    let before = time();
    let second = run(&settings);
    assert_eq!(time(), before, "the world was drawn again");
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(first.gave, second.gave);
    }
    run(&DemoSettings { overwrite: true, ..settings });
    assert!(time() > before, "the world was not drawn again");
}

#[test]
fn stops_when_asked_and_goes_on_the_next_time() {
    let folder = tempdir().unwrap();
    let settings = small(folder.path().to_owned());
    let printer = Printer::new(true);
    assert!(compare(&settings, &printer, &AtomicBool::new(true)).unwrap().is_none());
    assert!(!settings.out.join("world").join(README).exists());
    assert!(compare(&settings, &printer, &AtomicBool::new(false)).unwrap().is_some());
}

#[test]
fn a_world_alone_is_drawn_as_asked_and_not_in_place_of_another() {
    let folder = tempdir().unwrap();
    let mut settings = small(folder.path().join("demo"));
    settings.world_only = true;
    let photo = || fs::read(settings.out.join("world/train_features/PM000003.jpg")).unwrap();
    let printer = Printer::new(true);
    let draw = |settings: &DemoSettings| compare(settings, &printer, &AtomicBool::new(false));
    assert!(draw(&settings).unwrap().is_some_and(|runs| runs.is_empty()));
    let before = photo();
    assert!(!settings.out.join("site-split").exists());
    let smaller = WorldSettings { animals: 0.5, ..settings.world.clone() };
    let mut other = DemoSettings { world: smaller, ..small(settings.out.clone()) };
    other.world_only = true;
    let error = draw(&other).err().expect("a refusal");
    assert!(error.to_string().contains("holds another world"), "{error}");
    assert!(photo() == before);
    other.overwrite = true;
    assert!(draw(&other).unwrap().is_some());
    assert!(photo() != before, "the animals are smaller now");
}

#[test]
fn leaves_a_folder_of_others_alone() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("README.txt");
    fs::write(&file, "my photos").unwrap();
    let error = compare(&small(folder.path().to_owned()), &Printer::new(true), &AtomicBool::new(false))
        .err()
        .expect("a refusal");
    assert!(error.is::<WrongCall>(), "{error}");
    assert_eq!(error.to_string(), format!("{} exists and is not an earlier demo's", folder.path().display()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(file).unwrap(), "my photos");
}

#[test]
fn the_report_lines_up() {
    let evaluation = |predicted: [f32; 2]| {
        evaluate(&["a".into(), "b".into()], &[0, 1], &[predicted, predicted].concat()).unwrap()
    };
    let promised = |accuracy, log_loss| Evaluation { accuracy, log_loss, ..evaluation([0.5, 0.5]) };
    let comparisons = [
        Comparison { name: "random split", promised: promised(0.79, 0.68), gave: evaluation([0.9, 0.1]) },
        Comparison { name: "split by site", promised: promised(0.53, 1.5), gave: evaluation([0.5, 0.5]) },
    ];
    let report = report(&small("demo".into()), &comparisons);
    let table = "
                   validation promised      4 new sites gave
                   accuracy  log loss     accuracy  log loss
random split          0.790     0.680        0.500     1.204
split by site         0.530     1.500        0.500     0.693
most common class                            0.500
1/2 for each class                                     0.693
";
    assert!(report.starts_with(table), "{report}");
    assert!(report.lines().all(|line| line.len() <= 100), "{report}");
}
