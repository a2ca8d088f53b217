//! Training on the kept features of a frozen backbone: the same as without, and nothing is computed twice.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;

use common::{Watch, World, result, settings};
use pugmark_engine::Freeze;
use pugmark_model::Model;
use pugmark_train::{CacheFeatures, Event, Mode, TrainSettings};

/// Photos of the world: 12 of each of 3 classes, one of them broken and one cut off.
fn world() -> World {
    let world = World::new(12);
    let cut = world.photos().join("red/cut.jpg");
    image::open(world.photos().join("red/000.png")).unwrap().to_rgb8().save(&cut).unwrap();
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() * 3 / 4]).unwrap();
    fs::write(world.photos().join("blue/broken.png"), "no photo").unwrap();
    world
}

fn frozen(world: &World) -> TrainSettings {
    TrainSettings {
        freeze: Freeze::Backbone,
        epochs: 4,
        test: 0.2,
        feature_folder: Some(world.out("features")),
        ..settings()
    }
}

/// Features computed in a training.
fn computed(watch: &Watch<'_>) -> usize {
    watch
        .events
        .iter()
        .filter_map(|event| event.strip_prefix("Features { done: "))
        .fold(0, |most, event| most.max(event.split(',').next().unwrap().parse().unwrap()))
}

/// Everything but times and paths that a run says of itself.
fn said(run: &Path) -> (Vec<Vec<String>>, String, String) {
    let read = |name: &str| fs::read_to_string(run.join(name)).unwrap();
    (result(run).2, read("predictions.csv"), read("broken.csv"))
}

/// The same arithmetic on the same features: no tolerance is needed.
#[test]
fn kept_features_change_nothing() {
    let world = world();
    let data = world.read();
    let settings = frozen(&world);
    let mut slow = Watch::quiet();
    let off = TrainSettings { cache_features: CacheFeatures::Off, ..settings.clone() };
    slow.train(&data, &off, &world.out("slow"), Mode::New).unwrap();
    let mut fast = Watch::quiet();
    let outcome = fast.train(&data, &settings, &world.out("fast"), Mode::New).unwrap();
    assert_eq!((computed(&slow), computed(&fast)), (0, data.samples.len()));
    assert!(fast.heard("features of 38 photos, 256 values each") && outcome.test.is_some());
    assert_eq!(said(&world.out("slow")), said(&world.out("fast")));
    for model in ["best.safetensors", "last.safetensors"] {
        let read = |run: &str| Model::read(&world.out(run).join(model)).unwrap();
        assert!(read("slow") == read("fast"), "{model}");
    }
    let said = |watch: &Watch<'_>| watch.events.iter().filter(|e| e.starts_with("BrokenPhoto")).count();
    assert_eq!((said(&slow), said(&fast)), (1, 1));
}

#[test]
fn nothing_is_computed_twice() {
    let world = world();
    let data = world.read();
    let settings = frozen(&world);
    let train = |settings: &TrainSettings, out: &str| {
        let mut watch = Watch::quiet();
        watch.train(&data, settings, &world.out(out), Mode::New).unwrap();
        computed(&watch)
    };
    assert_eq!(train(&settings, "first"), 38);
    let other = TrainSettings { learning_rate: 0.1, epochs: 2, test: 0.0, ..settings.clone() };
    assert_eq!(
        train(&other, "rate"),
        1,
        "another learning rate and another split; the broken photo is tried again"
    );
    let broken = fs::read_to_string(world.out("rate").join("broken.csv")).unwrap();
    assert!(broken.contains("blue/broken.png") && broken.contains("red/cut.jpg"), "{broken}");
    assert_eq!(train(&TrainSettings { seed: 4, ..settings.clone() }, "seed"), 38, "other random weights");
    assert_eq!(train(&TrainSettings { image_size: 20, ..settings.clone() }, "size"), 38);
    assert_eq!(train(&TrainSettings { feature_folder: None, ..settings.clone() }, "memory"), 38);
    assert_eq!(train(&TrainSettings { cache_mib: 0, ..settings.clone() }, "room"), 0, "nothing is kept");
    let flipped = TrainSettings { flip: true, ..settings.clone() };
    assert_eq!(train(&flipped, "flip"), 0, "random changes are not kept unasked");

    world.photo("red/000.png", 1);
    let mut watch = Watch::quiet();
    watch.train(&world.read(), &settings, &world.out("changed"), Mode::New).unwrap();
    assert_eq!(computed(&watch), 2, "the photo that changed and the broken one");
}

#[test]
fn views_are_those_of_the_first_epochs() {
    let world = world();
    let data = world.read();
    let settings = TrainSettings { flip: true, rotation: 20.0, jitter: 0.3, epochs: 3, ..frozen(&world) };
    let train = |cache_features, out: &str| {
        let mut watch = Watch::quiet();
        let settings = TrainSettings { cache_features, ..settings.clone() };
        watch.train(&data, &settings, &world.out(out), Mode::New).unwrap();
        (computed(&watch), said(&world.out(out)))
    };
    let (none, slow) = train(CacheFeatures::Off, "slow");
    let (all, three) = train(CacheFeatures::Views(3), "three");
    let (kept, one) = train(CacheFeatures::Views(1), "one");
    assert!(slow == three, "as many views as epochs are what is seen without keeping them");
    assert_eq!(slow.0[..2], one.0[..2], "the first epoch has the first view");
    assert_ne!(slow.0[2], one.0[2], "the second has it again");
    assert!(none == 0 && kept <= 1, "nothing but the broken photo");
    // 38 photos of which 8 are validated and 8 tested.
    assert!(all > 3 * 20 && all < 3 * 38, "{all}");
}

#[test]
fn interrupted_and_resumed() {
    let world = world();
    let data = world.read();
    let settings = TrainSettings { cache_features: CacheFeatures::Views(2), jitter: 0.2, ..frozen(&world) };
    let undisturbed = TrainSettings { feature_folder: None, ..settings.clone() };
    Watch::quiet().train(&data, &undisturbed, &world.out("undisturbed"), Mode::New).unwrap();
    let total = {
        let mut watch = Watch::quiet();
        let memory = TrainSettings { feature_folder: None, epochs: 1, ..settings.clone() };
        watch.train(&data, &memory, &world.out("count"), Mode::New).unwrap();
        computed(&watch)
    };

    // In the first batch of features.
    let out = world.out("interrupted");
    let mut watch = Watch::new(|event, stop| {
        stop.store(matches!(event, Event::Features { .. }), std::sync::atomic::Ordering::Relaxed);
    });
    assert!(watch.train(&data, &settings, &out, Mode::New).unwrap().interrupted);
    let first = computed(&watch);
    assert!(first > 0 && first < total);
    // After a step of the third epoch.
    let steps = watch_steps(&world.out("undisturbed"));
    let mut watch = Watch::stop_after(2 * steps + 1);
    assert!(watch.train(&data, &settings, &out, Mode::Resume).unwrap().interrupted);
    let again = computed(&watch) + first;
    assert!(
        (total..=total + 2).contains(&again),
        "what was computed was kept, but for both views of a broken photo"
    );
    let mut watch = Watch::quiet();
    watch.train(&data, &settings, &out, Mode::Resume).unwrap();
    assert!(computed(&watch) <= 2 && watch.heard("resumed in epoch 3 after step 1"));
    let (one, other) = (result(&world.out("undisturbed")), result(&out));
    assert_eq!(one.2, other.2);
    assert!(one.0 == other.0 && one.1 == other.1);
}

/// Steps of an epoch, from the photos of the training part.
fn watch_steps(run: &Path) -> usize {
    let split = fs::read_to_string(run.join("split.csv")).unwrap();
    split.lines().filter(|line| line.contains(",train,")).count().div_ceil(settings().batch_size)
}

#[test]
fn what_can_not_be_kept_is_refused() {
    let world = World::new(4);
    let data = world.read();
    let refused = |settings: TrainSettings, texts: &[&str]| {
        let error =
            Watch::quiet().train(&data, &settings, &world.out("run"), Mode::New).unwrap_err().to_string();
        assert!(texts.iter().all(|text| error.contains(text)), "{error}");
    };
    let views = TrainSettings { cache_features: CacheFeatures::Views(2), ..frozen(&world) };
    refused(
        TrainSettings { freeze: Freeze::None, ..views.clone() },
        &["setting `cache_features` is 2: it contradicts `freeze`", "\"backbone\"", "\"off\""],
    );
    refused(TrainSettings { cache_mib: 0, ..views }, &["take 1 MiB and `cache_mib` is 0", "fewer views"]);
}
