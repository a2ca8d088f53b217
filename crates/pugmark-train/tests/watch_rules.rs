//! Every rule of the watch fires on a training that is broken in its way, and none on a sound one; `docs/watch.md` holds what
//! this finds.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;
#[path = "common/docs.rs"]
mod docs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::{CLASSES, Deaf, World, settings};
use pugmark_data::Dataset;
use pugmark_engine::{Cpu, Freeze};
use pugmark_graph::{Architecture, Role, Tensors, write_safetensors};
use pugmark_model::RunFolder;
use pugmark_train::{
    Mode, Number, OptimiserKind, Record, Rules, Schedule, Start, System, Thresholds, TrainSettings,
    read_watch, train, watch_rules,
};

/// Rules that fired in a run, from its file.
fn fired(run: &Path) -> BTreeSet<String> {
    let watched = read_watch(&RunFolder::open(run).unwrap(), &Thresholds::default()).unwrap().unwrap();
    watched.findings().into_iter().map(|finding| finding.rule.clone()).collect()
}

fn run(data: &Dataset, settings: &TrainSettings, out: &Path) -> BTreeSet<String> {
    let engine = Cpu::new(1).unwrap();
    let stop = Default::default();
    let outcome = train(data, settings, out, Mode::New, &engine, &stop, &mut Deaf);
    let fired = fired(out);
    match outcome {
        Ok(outcome) => {
            let told: BTreeSet<String> = outcome.findings.into_iter().map(|f| f.rule).collect();
            assert_eq!(told, fired, "a replay finds what the training found");
        }
        Err(error) => assert!(fired.contains("exploding-tensor"), "{error}"),
    }
    if let Some(kept) = std::env::var_os("WATCH_KEEP") {
        let number = fs::read_dir(&kept).unwrap().count();
        fs::copy(out.join("watch.jsonl"), Path::new(&kept).join(format!("{number}.jsonl"))).unwrap();
    }
    fs::remove_dir_all(out).unwrap();
    fired
}

/// A file of weights as they are drawn, and then changed.
fn weights(world: &World, model: Architecture, change: impl Fn(&str, Role, &mut [f32])) -> PathBuf {
    let graph = model.graph(3);
    let mut tensors: Tensors = graph.initialise(1);
    for param in graph.params() {
        change(&param.name, param.role, &mut tensors.get_mut(&param.name).unwrap().values);
    }
    let path = world.out("weights.safetensors");
    let mut file = fs::File::create(&path).unwrap();
    write_safetensors(&mut file, &tensors, &BTreeMap::new()).unwrap();
    path
}

/// Healthy trainings of twenty kinds.
fn healthy() -> Vec<(&'static str, TrainSettings)> {
    let of = |model| TrainSettings { model, image_size: 32, batch_size: 8, watch_every: 3, ..settings() };
    let cnn = || TrainSettings { epochs: 6, ..of(Architecture::SimpleCnn) };
    let resnet = || TrainSettings { epochs: 2, ..of(Architecture::ResNet18) };
    let sgd = |s: TrainSettings| TrainSettings { optimiser: OptimiserKind::Sgd, learning_rate: 0.01, ..s };
    vec![
        ("simple_cnn", cnn()),
        ("simple_cnn, sgd", sgd(cnn())),
        ("simple_cnn, cosine", TrainSettings { schedule: Schedule::Cosine, warmup_epochs: 1.0, ..cnn() }),
        ("simple_cnn, one-cycle", TrainSettings { schedule: Schedule::OneCycle, ..cnn() }),
        ("simple_cnn, mixup and cutmix", TrainSettings { mixup: 0.2, cutmix: 1.0, epochs: 12, ..cnn() }),
        ("simple_cnn, 15 epochs", TrainSettings { epochs: 15, ..cnn() }),
        ("simple_cnn, ema, clipped", TrainSettings { ema: 0.9, clip_norm: 0.5, ..cnn() }),
        ("simple_cnn, batches of 2", TrainSettings { batch_size: 2, learning_rate: 0.001, ..cnn() }),
        ("resnet18", resnet()),
        ("resnet18, sgd", sgd(resnet())),
        ("resnet18, head alone", TrainSettings { freeze: Freeze::Backbone, epochs: 4, ..resnet() }),
        ("resnet18, first stages frozen", TrainSettings { freeze: Freeze::Stages(3), ..resnet() }),
        ("resnet18, layer decay", TrainSettings { layer_decay: 0.65, learning_rate: 0.0003, ..resnet() }),
        (
            "resnet18, accumulated, smoothed",
            TrainSettings { accumulate: 2, label_smoothing: 0.1, ..resnet() },
        ),
        (
            "resnet18, augmented",
            TrainSettings { random_crop: 0.5, flip: true, jitter: 0.3, erasing: 0.5, ..resnet() },
        ),
        ("efficientnet_b0", TrainSettings { epochs: 2, ..of(Architecture::EfficientNetB0) }),
        ("efficientnet_b0, sgd", sgd(TrainSettings { epochs: 1, ..of(Architecture::EfficientNetB0) })),
        (
            "convnext_tiny",
            TrainSettings { epochs: 1, learning_rate: 0.0003, ..of(Architecture::ConvNextTiny) },
        ),
        ("swin_t", TrainSettings { epochs: 1, learning_rate: 0.0003, ..of(Architecture::SwinT) }),
        ("resnet50", TrainSettings { epochs: 1, ..of(Architecture::ResNet50) }),
    ]
}

/// A training that is broken in one way.
struct Broken {
    rule: &'static str,
    what: &'static str,
    /// Other rules that rightly see it too.
    belongs: &'static [&'static str],
    settings: TrainSettings,
    world: World,
}

fn cnn() -> TrainSettings {
    TrainSettings { image_size: 32, batch_size: 8, epochs: 8, ..settings() }
}

/// A tiny training for every rule of tensors, losses and classes.
fn broken() -> Vec<Broken> {
    let mut list = Vec::new();
    let mut add = |rule, what, belongs, settings, world| {
        list.push(Broken { rule, what, belongs, settings, world });
    };
    let with = |world: &World, settings: TrainSettings, change: &dyn Fn(&str, Role, &mut [f32])| {
        TrainSettings { weights: Some(weights(world, settings.model, change)), ..settings }
    };
    let sgd = || TrainSettings { optimiser: OptimiserKind::Sgd, learning_rate: 0.001, ..cnn() };

    let world = World::new(20);
    let faint = with(&world, sgd(), &|name, _, values| {
        if name.ends_with("bn.weight") && !name.starts_with("block1") {
            values.fill(1e-7);
        }
    });
    add(
        "vanishing-gradient",
        "norms of three layers with factors of 0.0000001, SGD",
        &["update-ratio", "unchanged-tensor", "poor-initialization", "dead-relu", "loss-not-decreasing"][..],
        faint,
        world,
    );

    let world = World::new(20);
    let high = TrainSettings { learning_rate: 1e30, ..sgd() };
    add(
        "exploding-tensor",
        "SGD with learning rate 1e30",
        &["update-ratio", "dead-relu", "all-zero", "loss-not-decreasing", "poor-initialization"],
        high,
        world,
    );

    let world = World::new(20);
    let dead = with(&world, cnn(), &|name, _, values| {
        if name == "block2.bn.bias" {
            let most = values.len() * 9 / 10;
            values[..most].fill(-1000.0);
        }
    });
    add("dead-relu", "biases of -1,000 in nine tenths of a layer", &[], dead, world);

    let world = World::new(12);
    let efficient = TrainSettings { model: Architecture::EfficientNetB0, epochs: 2, watch_every: 2, ..cnn() };
    let saturated = with(&world, efficient, &|name, _, values| {
        if name.ends_with("fc2.bias") {
            values.fill(60.0);
        }
    });
    add(
        "saturated-activation",
        "gates of EfficientNet with biases of 60",
        &["all-zero", "vanishing-gradient"],
        saturated,
        world,
    );

    let world = World::new(20);
    let uneven = with(&world, cnn(), &|name, _, values| {
        if name == "block2.bn.weight" {
            values.fill(10_000.0);
        }
    });
    add("poor-initialization", "a norm with factors of 10,000", &[], uneven, world);

    let world = World::new(20);
    let large = TrainSettings { model: Architecture::ResNet18, learning_rate: 10.0, epochs: 2, ..cnn() };
    add(
        "update-ratio",
        "ResNet18, AdamW with learning rate 10",
        &["exploding-tensor", "dead-relu", "all-zero", "loss-not-decreasing", "vanishing-gradient"],
        large,
        world,
    );

    let world = World::new(20);
    let zero = with(&world, cnn(), &|name, _, values| {
        if name == "block2.conv.weight" {
            values.fill(0.0);
        }
    });
    add(
        "all-zero",
        "a layer of zeros",
        &["dead-relu", "unchanged-tensor", "loss-not-decreasing"],
        zero,
        world,
    );

    let world = World::new(20);
    let still = TrainSettings { learning_rate: 1e-14, ..cnn() };
    add("unchanged-tensor", "learning rate 1e-14", &["loss-not-decreasing", "update-ratio"], still, world);

    let world = World::new(10);
    for number in 10..130 {
        world.photo(&format!("red/{number:03}.png"), 0);
    }
    add(
        "class-imbalance",
        "130 photos of a class and 10 of the others",
        &[],
        TrainSettings { epochs: 2, ..cnn() },
        world,
    );

    let world = World::new(120);
    for number in 120..400 {
        world.photo(&format!("red/{number:03}.png"), 0);
    }
    for number in 0..120 {
        world.photo(&format!("green/{number:03}.png"), 0);
    }
    // At a higher rate the share that is found swings by epochs, and with the last digits of every sum.
    let two_names = TrainSettings { val: 0.5, image_size: 16, epochs: 9, learning_rate: 0.0003, ..cnn() };
    add(
        "confusion",
        "photos of one kind with two labels, one of them three times as frequent",
        &["overfit", "class-imbalance"],
        two_names,
        world,
    );

    let world = World::new(20);
    let slow = TrainSettings { learning_rate: 1e-7, epochs: 45, ..cnn() };
    add("loss-not-decreasing", "AdamW with learning rate 0.0000001", &["overtraining"], slow, world);

    let world = World::new(0);
    for (at, class) in CLASSES.iter().cycle().take(60).enumerate() {
        world.photo(&format!("{class}/{at:03}.png"), at * 7 / 3 % 3);
    }
    add(
        "overfit",
        "labels that say nothing",
        &["confusion", "overtraining"],
        TrainSettings { epochs: 40, ..cnn() },
        world,
    );

    let world = World::new(20);
    let over =
        TrainSettings { schedule: Schedule::Step, step_epochs: 4, step_factor: 0.001, epochs: 24, ..cnn() };
    add("overtraining", "a learning rate that falls to a millionth", &["update-ratio"], over, world);

    let world = World::new(20);
    for class in CLASSES {
        for photo in fs::read_dir(world.photos().join(class)).unwrap() {
            let path = photo.unwrap().path();
            let mut picture = image::open(&path).unwrap().into_rgb8();
            picture.pixels_mut().for_each(|pixel| pixel.0 = pixel.0.map(|value| value / 40));
            picture.save(path).unwrap();
        }
    }
    add(
        "input-not-normalized",
        "photos that are nearly black",
        &["loss-not-decreasing", "overfit"],
        cnn(),
        world,
    );
    list
}

/// Twelve minutes of a training, told as Linux would, ten seconds at a time; five epochs.
fn machine(change: impl Fn(usize, &mut System)) -> Vec<Record> {
    let mut records = vec![start(60.0)];
    for at in 0..72 {
        let time = 1e9 + 10.0 * (at + 1) as f64;
        let mut system = System {
            time,
            step: 20 * (at as u64 + 1),
            epoch: at as u32 / 15 + 1,
            seconds: 10.0,
            cpu: 0.97,
            machine: 0.98,
            waiting: 0.02,
            memory_mib: 900.0,
            ..System::default()
        };
        change(at, &mut system);
        records.push(Record::System(system));
    }
    records
}

fn start(startup: f64) -> Record {
    Record::Start(Start {
        time: 1e9,
        startup,
        step: 0,
        epoch: 1,
        epochs: 5,
        epoch_steps: 300,
        warmup_steps: 0,
        photos: vec![50; 3],
        classes: CLASSES.map(String::from).to_vec(),
        balanced: false,
        early_stopping: false,
        learning_rate: 0.001,
        every: 50,
    })
}

/// 400 steps of 100 ms, of which some take longer.
fn steps(milliseconds: impl Fn(usize) -> f64) -> Vec<Record> {
    let mut records = vec![start(60.0)];
    records.extend((0..8).map(|block| Record::Steps {
        step: 50 * (block + 1),
        epoch: 1,
        begins: block == 0,
        losses: (0..50).map(|at| Number(1.0 / (block * 50 + at + 1) as f64)).collect(),
        milliseconds: (0..50).map(|at| Number(milliseconds(block as usize * 50 + at))).collect(),
    }));
    records
}

fn judged(records: &[Record]) -> BTreeSet<String> {
    let mut rules = Rules::new(Thresholds::default(), "run", "photos");
    records.iter().flat_map(|record| rules.record(record)).map(|finding| finding.rule).collect()
}

/// What time, cores and memory look like where something is wrong; rule, what, records.
fn broken_machines() -> Vec<(&'static str, &'static str, Vec<Record>)> {
    vec![
        (
            "stalled-training",
            "an interval of 40 minutes",
            machine(|at, system| {
                system.time += if at > 30 { 2400.0 } else { 0.0 };
            }),
        ),
        (
            "low-utilization",
            "half of the cores in use, by anything",
            machine(|_, system| {
                (system.cpu, system.machine) = (0.5, 0.55);
            }),
        ),
        (
            "cpu-bottleneck",
            "busy cores and 60 % of the time waiting for photos",
            machine(|_, system| {
                system.waiting = 0.6;
            }),
        ),
        (
            "io-bottleneck",
            "idle cores and 60 % of the time waiting for photos",
            machine(|_, system| {
                (system.cpu, system.machine, system.waiting, system.io_wait) = (0.3, 0.35, 0.6, 0.5);
            }),
        ),
        (
            "step-outlier",
            "every twentieth step ten times as long",
            steps(|at| if at % 20 == 7 { 1000.0 } else { 100.0 }),
        ),
        (
            "memory-growth",
            "10 MiB more in every interval",
            machine(|at, system| {
                system.memory_mib += 10.0 * at as f64;
            }),
        ),
        ("slow-start", "half an hour to the first step", vec![start(1800.0)]),
    ]
}

/// And where nothing is.
fn healthy_machines() -> Vec<Vec<Record>> {
    vec![
        machine(|_, _| {}),
        // Others use the rest of the machine.
        machine(|_, system| system.cpu = 0.5),
        // The memory of caches grows in the first epochs.
        machine(|at, system| system.memory_mib += 40.0 * at.min(29) as f64),
        // Waiting for photos now and then, and validation in between.
        machine(|at, system| system.waiting = if at % 5 == 0 { 0.5 } else { 0.05 }),
        machine(|at, system| system.cpu = if at % 10 == 0 { 0.4 } else { 0.95 }),
        // A few steps that are slow, and noise.
        steps(|at| 100.0 + (at * 37 % 41) as f64 + if at % 100 == 50 { 900.0 } else { 0.0 }),
        // The first step of an epoch waits for its photos.
        steps(|at| if at == 0 { 5000.0 } else { 100.0 }),
    ]
}

/// What is known of a rule.
#[derive(Default)]
struct Score {
    broken: Vec<&'static str>,
    found: usize,
    false_alarms: Vec<String>,
}

#[test]
fn every_rule_fires_where_it_belongs_and_nowhere_else() {
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
    for info in watch_rules() {
        scores.insert(info.id, Score::default());
    }
    let mut others = |what: &str, fired: BTreeSet<String>, expected: &[&str]| {
        for rule in fired.iter().filter(|rule| !expected.contains(&rule.as_str())) {
            scores.get_mut(rule.as_str()).unwrap().false_alarms.push(what.to_owned());
        }
        println!("{what}: {fired:?}");
        fired
    };
    let sound = World::new(20);
    let data = sound.read();
    let mut trainings = 0;
    for (name, settings) in healthy() {
        others(name, run(&data, &settings, &sound.out("run")), &[]);
        trainings += 1;
    }
    for (at, records) in healthy_machines().iter().enumerate() {
        others(&format!("sound machine {at}"), judged(records), &[]);
    }
    let mut results = Vec::new();
    for Broken { rule, what, belongs, settings, world } in broken() {
        let fired = run(&world.read(), &settings, &world.out("run"));
        let expected: Vec<&str> = belongs.iter().copied().chain([rule]).collect();
        results.push((rule, what, others(what, fired, &expected).contains(rule)));
    }
    for (rule, what, records) in broken_machines() {
        results.push((rule, what, others(what, judged(&records), &[rule]).contains(rule)));
    }
    for (rule, what, found) in results {
        let score = scores.get_mut(rule).unwrap();
        score.broken.push(what);
        score.found += usize::from(found);
    }
    let cases = trainings + healthy_machines().len() + scores.values().map(|s| s.broken.len()).sum::<usize>();
    compare(&docs::page(&table(&scores), trainings, healthy_machines().len(), cases));
    for (rule, score) in &scores {
        assert!(score.found == score.broken.len() && score.found > 0, "{rule} is silent: {:?}", score.broken);
        assert!(score.false_alarms.is_empty(), "{rule} fires on {:?}", score.false_alarms);
    }
}

fn table(scores: &BTreeMap<&str, Score>) -> String {
    let mut text = "| rule | broken on purpose | recall | precision |\n|---|---|---|---|\n".to_owned();
    for info in watch_rules() {
        let Score { broken, found, false_alarms } = &scores[info.id];
        let all = found + false_alarms.len();
        text.push_str(&format!(
            "| {} | {} | {found} of {} | {found} of {all} |\n",
            info.id,
            broken.join("; "),
            broken.len()
        ));
    }
    text
}

/// `docs/watch.md` is what the rules' own table and this test say: `UPDATE_DOCS=1 cargo test -p pugmark-train --test watch_rules`.
fn compare(page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/watch.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, page).unwrap();
    } else {
        assert!(fs::read_to_string(path).unwrap() == page, "docs/watch.md is old: UPDATE_DOCS=1 writes it");
    }
}
