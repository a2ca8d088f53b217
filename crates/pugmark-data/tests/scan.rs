//! One pass over photo files: EXIF, formats, broken files, night frames, duplicates, bursts.

mod common;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use image::{ImageFormat, Rgb, RgbImage};
use pugmark_data::exif::TimeTag;
use pugmark_data::scan::{PhotoFormat, Problem};
use pugmark_data::{
    Dataset, Limits, PhotoFacts, Sample, ScanSettings, bursts, duplicates, keep_together, photos_below, scan,
};

fn look(paths: &[PathBuf], threads: usize) -> Vec<PhotoFacts> {
    let settings = ScanSettings { threads, limits: Limits::default(), file_dates: false };
    scan(paths, &settings, &mut |_| ControlFlow::Continue(())).expect("nobody stops it")
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a name")
}

/// A picture with structure in it, different for each number.
fn drawn(number: u32) -> RgbImage {
    RgbImage::from_fn(96, 72, |x, y| {
        let wave = |phase: f32, at: u32| ((at as f32 / 9.0 + phase).sin() * 60.0 + 120.0) as u8;
        let phase = number as f32 * 1.7;
        Rgb([wave(phase, x + y), wave(phase * 2.0, x), wave(phase * 3.0, x + 2 * y)])
    })
}

#[test]
fn camtrapr_times_are_those_in_the_file_names() {
    let Some(data) = common::test_data("camtrapr") else { return };
    let photos = photos_below(&data.join("pictures/sample_images_species_dir")).unwrap();
    let photos: Vec<PathBuf> = photos.into_iter().filter(|path| name(path).starts_with("Station")).collect();
    for (path, facts) in photos.iter().zip(look(&photos, 2)) {
        // StationA__2009-04-23__00-07-00(1).JPG, as camtrapR named it from the EXIF.
        let mut steps = name(path).split("__").skip(1);
        let day = steps.next().unwrap();
        let clock = &steps.next().unwrap()[..8];
        let (time, tag) = facts.exif.time.unwrap();
        assert_eq!(time.to_string(), format!("{day}T{}", clock.replace('-', ":")), "{}", path.display());
        assert_eq!(tag, TimeTag::DateTimeOriginal);
        // These cameras write maker and model the other way round.
        assert!(["G4", "G6.1"].contains(&facts.exif.make.as_deref().unwrap()));
        assert_eq!(facts.exif.model.as_deref(), Some("CUDDEBACK"));
        assert_eq!(facts.problem, None);
    }
    assert_eq!(photos.len(), 68);
}

#[test]
fn reconyx_notes_hold_temperature_and_serial_number() {
    let Some(data) = common::test_data("speciesnet") else { return };
    // As Python's `struct` reads words 0x14 and 0x15 of the notes.
    for (end, temperature, serial, camera) in [
        ("american_black_bear.jpg", 1.0, "P800BD05003063", None),
        ("blank.jpg", 21.0, "H550HH12223408", Some("RECONYX HC550 HYPERFIRE")),
        ("domestic_cattle.jpg", 16.0, "P800BD06104674", Some("RECONYX PC800 PROFESSIONAL")),
        ("domestic_dog.jpg", 22.0, "P800HI05233973", Some("RECONYX PC800 PROFESSIONAL")),
        ("vehicle.jpg", 9.0, "H550HH12223868", Some("RECONYX HC550 HYPERFIRE")),
    ] {
        let photos = photos_below(&data).unwrap();
        let path = photos.iter().find(|path| name(path) == end).unwrap();
        let facts = PhotoFacts::of_file(
            path,
            &ScanSettings { threads: 1, limits: Limits::default(), file_dates: false },
        );
        assert_eq!(facts.exif.temperature, Some(temperature), "{end}");
        assert_eq!(facts.exif.serial.as_deref(), Some(serial), "{end}");
        assert_eq!(facts.exif.camera().as_deref(), camera, "{end}");
    }
}

#[test]
fn broken_files_have_their_problem() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    drawn(1).save(at("good.jpg")).unwrap();
    drawn(2).save_with_format(at("a-png.jpg"), ImageFormat::Png).unwrap();
    drawn(2).save_with_format(at("no-extension"), ImageFormat::Png).unwrap();
    std::fs::write(at("empty.jpg"), "").unwrap();
    std::fs::write(at("text.jpg"), "this is no photo").unwrap();
    let whole = std::fs::read(at("good.jpg")).unwrap();
    std::fs::write(at("cut.jpg"), &whole[..whole.len() * 3 / 4]).unwrap();
    let names =
        ["good.jpg", "a-png.jpg", "no-extension", "empty.jpg", "text.jpg", "cut.jpg", "none.jpg", "."];
    let facts = look(&names.map(at), 3);
    let problems: Vec<Option<Problem>> = facts.iter().map(|facts| facts.problem.clone()).collect();
    let undecodable = |reason: &str| Some(Problem::Undecodable(reason.to_owned()));
    assert_eq!(
        problems,
        [
            None,
            None,
            None,
            Some(Problem::Empty),
            undecodable("not a JPEG, PNG, WebP, BMP, TIFF, PNM or GIF file"),
            Some(Problem::Truncated),
            Some(Problem::Missing),
            undecodable("not a file"),
        ]
    );
    let wrong: Vec<bool> = facts.iter().map(|facts| facts.wrong_extension).collect();
    assert_eq!(wrong, [false, true, false, false, false, false, false, false]);
    assert_eq!(facts[1].format, Some(PhotoFormat::Png));
    assert_eq!(facts[0].bytes, whole.len() as u64);
    let picture = facts[5].picture.as_ref().unwrap();
    assert_eq!((picture.width, picture.height), (96, 72));
}

#[test]
fn nothing_depends_on_threads_and_a_stopped_pass_gives_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..30).map(|number| folder.path().join(format!("{number}.png"))).collect();
    for (number, path) in (0..).zip(&paths) {
        drawn(number).save(path).unwrap();
    }
    assert_eq!(look(&paths, 1), look(&paths, 4));
    let settings = ScanSettings { threads: 2, limits: Limits::default(), file_dates: false };
    let mut seen = 0;
    let stopped = scan(&paths, &settings, &mut |progress| {
        seen = progress.photos;
        if progress.photos == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((stopped, seen), (None, 5));
}

#[test]
fn infrared_frames_are_told_from_coloured_ones() {
    let count = |folder: &str| {
        let photos = photos_below(&common::test_data(folder)?).unwrap();
        let facts = look(&photos, 2);
        let pictures: Vec<_> = facts.iter().filter_map(|facts| facts.picture.as_ref()).collect();
        Some((pictures.iter().filter(|picture| picture.infrared).count(), pictures.len()))
    };
    // Seen by eye: the small mammals were photographed by infrared alone, the thumbnails with a white flash.
    if let Some(mammals) = count("small-mammal") {
        assert_eq!(mammals, (150, 150));
    }
    if let Some((infrared, all)) = count("camtrapr/pictures/sample_images_species_dir") {
        assert_eq!((infrared, all), (0, 68));
    }
}

#[test]
fn odd_files_cost_a_row_each_and_no_more() {
    let Some(data) = common::test_data("odd-images") else { return };
    let photos = photos_below(&data).unwrap();
    let facts = look(&photos, 2);
    assert_eq!(facts.len(), photos.len());
    let undecodable = facts.iter().filter(|facts| facts.picture.is_none()).count();
    assert!((50..300).contains(&undecodable), "{undecodable} of {}", facts.len());
    assert!(facts.iter().all(|facts| facts.picture.is_some() || facts.problem.is_some()));
}

#[test]
fn copies_and_re_encoded_photos_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (number, name) in [(1, "a.png"), (1, "copy.png"), (2, "b.png"), (3, "c.png")] {
        drawn(number).save(at(name)).unwrap();
    }
    drawn(2).save(at("b-again.jpg")).unwrap();
    let half = image::imageops::resize(&drawn(3), 48, 36, image::imageops::FilterType::Triangle);
    half.save(at("c-half.jpg")).unwrap();
    // Two lens caps are no duplicates.
    RgbImage::from_pixel(96, 72, Rgb([3, 3, 3])).save(at("dark.png")).unwrap();
    RgbImage::from_pixel(96, 72, Rgb([4, 4, 4])).save(at("darker.png")).unwrap();
    let names =
        ["a.png", "copy.png", "b.png", "c.png", "b-again.jpg", "c-half.jpg", "dark.png", "darker.png"];
    let facts = look(&names.map(at), 2);
    assert_eq!(duplicates::exact(&facts), [[0, 1]]);
    assert_eq!(duplicates::near(&facts), [[2, 4], [3, 5]]);

    let samples = names.iter().map(|name| Sample::new(*name, at(name))).collect();
    let mut data = Dataset {
        root: folder.path().to_owned(),
        classes: Vec::new(),
        samples,
        format: "test",
        notes: Vec::new(),
    };
    data.samples[1].time = "2020-05-01 10:00:00".parse().ok();
    data.samples[2].time = "2020-05-01 10:00:30".parse().ok();
    let gap = TimeDelta::seconds(60);
    assert_eq!(keep_together(&data, Some(&facts), gap), [vec![0, 1, 2, 4], vec![3, 5]]);
    assert_eq!(keep_together(&data, None, gap), [[1, 2]]);
}

#[test]
fn camtrapr_bursts_and_re_tagged_copies() {
    let Some(data) = common::test_data("camtrapr/pictures/sample_images_species_dir") else { return };
    let photos = photos_below(&data).unwrap();
    let facts = look(&photos, 2);
    let samples = photos.iter().map(|path| {
        let id = path.strip_prefix(&data).unwrap().to_str().unwrap().to_owned();
        let site = id.split('/').next().map(str::to_owned);
        Sample { site, ..Sample::new(id, path) }
    });
    let data = Dataset {
        root: data.clone(),
        classes: Vec::new(),
        samples: samples.collect(),
        format: "test",
        notes: Vec::new(),
    };
    let found = bursts::bursts(&data, Some(&facts), TimeDelta::seconds(60));
    let names = |burst: &Vec<usize>| burst.iter().map(|&index| name(&photos[index])).collect::<Vec<_>>();
    // The civet's visit: eight frames from 17:47 to 17:49, and the longest one.
    let longest = found.iter().max_by_key(|burst| burst.len()).map(names).unwrap();
    assert_eq!(longest.len(), 8, "{longest:?}");
    assert!(longest.iter().all(|name| name.starts_with("StationB__2009-04-28__17-4")), "{longest:?}");
    // No burst reaches over stations.
    assert!(found.iter().map(names).all(|names| names.iter().all(|name| name[..8] == names[0][..8])));
}

#[test]
fn the_date_of_a_file_counts_where_it_was_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.png");
    image::RgbImage::new(4, 4).save(&path).unwrap();
    let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
    let facts = |file_dates| {
        PhotoFacts::of_file(&path, &ScanSettings { threads: 1, limits: Limits::default(), file_dates })
    };
    assert_eq!(facts(false).exif.time, None);
    // `date -u -d @1600000000`.
    assert_eq!(facts(true).exif.time, Some(("2020-09-13T12:26:40Z".parse().unwrap(), TimeTag::File)));
}
