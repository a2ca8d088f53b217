//! Settings: defaults, files, and values that make no sense.

use std::fs;

use pugmark_data::{Augment, AutoAugment, Resize};
use pugmark_engine::Freeze;
use pugmark_graph::Architecture;
use pugmark_train::{
    AutoAugmentKind, BestBy, CacheFeatures, ClassWeights, OptimiserKind, ResizeKind, Schedule, TrainError,
    TrainSettings,
};

#[test]
fn the_defaults_make_sense() {
    TrainSettings::default().validate().unwrap();
}

#[test]
fn every_senseless_value_is_named() {
    type Change = fn(&mut TrainSettings);
    let cases: [(&str, &str, Change); 70] = [
        ("epochs", "0", |s| s.epochs = 0),
        ("warmup_epochs", "5", |s| s.warmup_epochs = 5.0),
        ("warmup_epochs", "NaN", |s| s.warmup_epochs = f64::NAN),
        ("min_learning_rate", "0.1", |s| (s.min_learning_rate, s.schedule) = (0.1, Schedule::Cosine)),
        ("min_learning_rate", "0.0001", |s| s.min_learning_rate = 1e-4),
        ("step_epochs", "2", |s| s.step_epochs = 2),
        ("step_epochs", "0", |s| s.schedule = Schedule::Step),
        ("step_factor", "1", |s| s.step_factor = 1.0),
        ("layer_decay", "0", |s| s.layer_decay = 0.0),
        ("layer_decay", "1.1", |s| s.layer_decay = 1.1),
        ("clip_norm", "-1", |s| s.clip_norm = -1.0),
        ("clip_value", "NaN", |s| s.clip_value = f32::NAN),
        ("clip_value", "1", |s| (s.clip_norm, s.clip_value) = (1.0, 1.0)),
        ("clip_adaptive", "0.01", |s| (s.clip_norm, s.clip_adaptive) = (1.0, 0.01)),
        ("accumulate", "0", |s| s.accumulate = 0),
        ("batch_size", "32", |s| s.accumulate = usize::MAX),
        ("ema", "1", |s| s.ema = 1.0),
        ("average_best", "1", |s| s.average_best = 1),
        ("freeze", "0", |s| s.freeze = Freeze::Stages(0)),
        ("freeze", "6", |s| s.freeze = Freeze::Stages(6)),
        ("unfreeze_after", "2", |s| s.unfreeze_after = 2),
        ("unfreeze_after", "5", |s| (s.freeze, s.unfreeze_after) = (Freeze::Backbone, 5)),
        ("memory", "100", |s| s.memory = 100),
        ("average_best", "101", |s| s.average_best = 101),
        ("learning_rate", "0", |s| s.learning_rate = 0.0),
        ("learning_rate", "-0.1", |s| s.learning_rate = -0.1),
        ("learning_rate", "NaN", |s| s.learning_rate = f32::NAN),
        ("learning_rate", "inf", |s| s.learning_rate = f32::INFINITY),
        ("weight_decay", "-0.01", |s| s.weight_decay = -0.01),
        ("momentum", "1", |s| s.momentum = 1.0),
        ("image_size", "0", |s| s.image_size = 0),
        ("image_size", "5000", |s| s.image_size = 5000),
        ("image_size", "12", |s| (s.image_size, s.model) = (12, Architecture::SimpleCnn)),
        ("rotation", "181", |s| s.rotation = 181.0),
        ("rotation", "-1", |s| s.rotation = -1.0),
        ("jitter", "1.5", |s| s.jitter = 1.5),
        ("resize_short_side", "256", |s| s.resize_short_side = Some(256)),
        ("resize_short_side", "200", |s| {
            (s.resize, s.resize_short_side) = (ResizeKind::CentreCrop, Some(200))
        }),
        ("random_crop", "0", |s| s.random_crop = 0.0),
        ("random_crop", "1.1", |s| s.random_crop = 1.1),
        ("random_crop_ratio", "0.75", |s| s.random_crop_ratio = 0.75),
        ("random_crop_ratio", "NaN", |s| s.random_crop_ratio = f32::NAN),
        ("hue", "0.6", |s| s.hue = 0.6),
        ("random_grayscale", "2", |s| s.random_grayscale = 2.0),
        ("randaugment_ops", "0", |s| s.randaugment_ops = 0),
        ("randaugment_ops", "15", |s| s.randaugment_ops = 15),
        ("randaugment_magnitude", "31", |s| s.randaugment_magnitude = 31),
        ("erasing", "-0.1", |s| s.erasing = -0.1),
        ("erasing", "25", |s| s.erasing = 25.0),
        ("keep_share", "1", |s| s.keep_share = 1.0),
        ("keep_augment", "true", |s| (s.keep_augment, s.mixup, s.flip) = (true, 0.2, true)),
        ("mixup", "-1", |s| s.mixup = -1.0),
        ("mixup", "inf", |s| s.mixup = f32::INFINITY),
        ("cutmix", "NaN", |s| s.cutmix = f32::NAN),
        ("cutmix", "-0.5", |s| s.cutmix = -0.5),
        ("label_smoothing", "1", |s| s.label_smoothing = 1.0),
        ("label_smoothing", "NaN", |s| s.label_smoothing = f32::NAN),
        ("dropout", "1", |s| s.dropout = Some(1.0)),
        ("stochastic_depth", "-0.1", |s| s.stochastic_depth = Some(-0.1)),
        ("stochastic_depth", "0.2", |s| (s.stochastic_depth, s.model) = (Some(0.2), Architecture::ResNet18)),
        ("val", "0", |s| s.val = 0.0),
        ("val", "1", |s| s.val = 1.0),
        ("val", "25", |s| s.val = 25.0),
        ("test", "-0.1", |s| s.test = -0.1),
        ("test", "0.8", |s| s.test = 0.8),
        ("seed", "9223372036854775808", |s| s.seed = 1 << 63),
        ("cache_features", "2", |s| {
            (s.freeze, s.cache_features) = (Freeze::Backbone, CacheFeatures::Views(2));
            (s.balanced_sampling, s.flip) = (true, true);
        }),
        ("cache_features", "3", |s| s.cache_features = CacheFeatures::Views(3)),
        ("checkpoint_minutes", "-1", |s| s.checkpoint_minutes = -1.0),
        ("checkpoint_minutes", "NaN", |s| s.checkpoint_minutes = f64::NAN),
    ];
    for (name, value, change) in cases {
        let mut settings = TrainSettings::default();
        change(&mut settings);
        let error = settings.validate().unwrap_err();
        assert_eq!((error.name, error.value.as_str()), (name, value), "{error}");
        assert!(error.to_string().starts_with(&format!("setting `{name}` is {value}: ")), "{error}");
    }
}

#[test]
fn augmentation_and_resize_are_as_the_settings_say() {
    let plain = TrainSettings::default();
    assert_eq!((plain.augment(), plain.recipe().resize), (Augment::default(), Resize::Squash));
    let centre = TrainSettings { resize: ResizeKind::CentreCrop, ..plain.clone() };
    assert_eq!(
        centre.recipe().resize,
        Resize::CentreCrop { short_side: 256 },
        "as torchvision's presets for 224"
    );
    let wide = TrainSettings { resize_short_side: Some(300), ..centre };
    assert_eq!(wide.recipe().resize, Resize::CentreCrop { short_side: 300 });
    wide.validate().unwrap();
    let rand = TrainSettings {
        random_crop: 0.35,
        auto_augment: AutoAugmentKind::RandAugment,
        randaugment_magnitude: 7,
        erasing: 0.25,
        keep_augment: true,
        mixup: 0.2,
        ..plain
    };
    rand.validate().unwrap();
    let expected = Augment {
        crop: 0.35,
        auto: AutoAugment::RandAugment { ops: 2, magnitude: 7 },
        erasing: 0.25,
        keep: Some(0.6),
        mixup: 0.2,
        ..Augment::default()
    };
    assert_eq!(rand.augment(), expected);
}

#[test]
fn words_of_the_steps_are_read_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        TrainSettings::read(&path)
    };
    let settings = read(
        "schedule = \"one-cycle\"\nfreeze = 2\nbatch_size = \"auto\"\ntime_budget = \"1h30m\"\n\
         class_weights = \"effective-number\"\n",
    )
    .unwrap();
    assert_eq!((settings.schedule, settings.freeze), (Schedule::OneCycle, Freeze::Stages(2)));
    assert_eq!((settings.batch_size, settings.time_budget.seconds()), (0, Some(5400)));
    assert_eq!(settings.class_weights, ClassWeights::EffectiveNumber);
    // As flags hand them over.
    let words = read("freeze = \"2\"\nbatch_size = \"16\"\nclass_weights = \"a/b.csv\"\n").unwrap();
    assert_eq!((words.freeze, words.batch_size), (Freeze::Stages(2), 16));
    assert_eq!(words.class_weights, ClassWeights::File("a/b.csv".into()));
    for (text, expected) in [
        ("batch_size = 0\n", "1 or more, or `auto`"),
        ("batch_size = \"all\"\n", "1 or more, or `auto`"),
        ("freeze = \"head\"\n", "`head` is none of none, backbone and a number of stages"),
        ("time_budget = \"soon\"\n", "`soon` is no time such as 30m"),
        ("schedule = \"linear\"\n", "`one-cycle`"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn files_leave_out_what_is_the_default_and_name_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(
        &path,
        "resize = \"centre-crop\"\nauto_augment = \"trivialaugment\"\nmodel = \"simple_cnn\"\nlearning_rate = 0.01\noptimiser = \"sgd\"\nschedule = \"plateau\"\n\
         class_weights = \"balanced\"\nbest_by = \"log-loss\"\nfreeze = \"backbone\"\nsplit = \"site\"\n",
    )
    .unwrap();
    let settings = TrainSettings::read(&path).unwrap();
    assert_eq!(settings.model, Architecture::SimpleCnn);
    assert_eq!(settings.learning_rate, 0.01);
    assert_eq!(
        (settings.resize, settings.auto_augment),
        (ResizeKind::CentreCrop, AutoAugmentKind::TrivialAugment)
    );
    assert_eq!((settings.optimiser, settings.schedule), (OptimiserKind::Sgd, Schedule::Plateau));
    assert_eq!((settings.class_weights, settings.best_by), (ClassWeights::Balanced, BestBy::LogLoss));
    assert_eq!(settings.epochs, TrainSettings::default().epochs);

    let cases = [
        ("epochs = 3\nlearning_rat = 0.1\n", "line 2"),
        ("learning_rat = 0.1\n", "unknown field `learning_rat`"),
        ("epochs = \"many\"\n", "invalid type"),
        ("epochs = -1\n", "invalid value"),
        ("optimiser = \"lion\"\n", "unknown variant `lion`, expected `adamw` or `sgd`"),
        ("epochs = \n", "line 1"),
    ];
    for (text, expected) in cases {
        fs::write(&path, text).unwrap();
        let error = TrainSettings::read(&path).unwrap_err();
        assert!(matches!(error, TrainError::Config { .. }) && error.hint().is_some());
        let error = error.to_string();
        assert!(error.contains("config.toml") && error.contains(expected), "{text}: {error}");
    }
}
