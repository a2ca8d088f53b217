//! Settings: defaults, files, and values that make no sense.

use std::fs;

use pugmark_graph::Architecture;
use pugmark_train::{
    BestBy, CacheFeatures, ClassWeights, OptimiserKind, Schedule, TrainError, TrainSettings,
};

#[test]
fn the_defaults_make_sense() {
    TrainSettings::default().validate().unwrap();
}

#[test]
fn every_senseless_value_is_named() {
    type Change = fn(&mut TrainSettings);
    let cases: [(&str, &str, Change); 25] = [
        ("epochs", "0", |s| s.epochs = 0),
        ("batch_size", "0", |s| s.batch_size = 0),
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
        ("label_smoothing", "1", |s| s.label_smoothing = 1.0),
        ("label_smoothing", "NaN", |s| s.label_smoothing = f32::NAN),
        ("val", "0", |s| s.val = 0.0),
        ("val", "1", |s| s.val = 1.0),
        ("val", "25", |s| s.val = 25.0),
        ("test", "-0.1", |s| s.test = -0.1),
        ("test", "0.8", |s| s.test = 0.8),
        ("seed", "9223372036854775808", |s| s.seed = 1 << 63),
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
fn files_leave_out_what_is_the_default_and_name_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(
        &path,
        "model = \"simple_cnn\"\nlearning_rate = 0.01\noptimiser = \"sgd\"\nschedule = \"plateau\"\n\
         class_weights = \"balanced\"\nbest_by = \"log-loss\"\nfreeze = \"backbone\"\nsplit = \"site\"\n",
    )
    .unwrap();
    let settings = TrainSettings::read(&path).unwrap();
    assert_eq!(settings.model, Architecture::SimpleCnn);
    assert_eq!(settings.learning_rate, 0.01);
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
