//! `pugmark recipes`, and training with one.

use crate::harness::Place;

fn config(place: &Place, run: &str) -> toml::Table {
    std::fs::read_to_string(place.path(run).join("config.toml")).unwrap().parse().unwrap()
}

#[test]
fn listed_and_printed() {
    let place = Place::new();
    place.snapshot("recipes", &["recipes"]);
    place.snapshot("recipes_one", &["recipes", "cats-dogs"]);
    place.snapshot("recipes_unknown", &["recipes", "cat-dogs"]);
}

#[test]
fn a_recipe_comes_after_everything_that_a_person_says() {
    let place = Place::new();
    place.photos(4);
    place.write(
        "mine.toml",
        place.done(&["recipes", "cats-dogs"]).stdout.replace("epochs = 15", "epochs = 1"),
    );
    place.write("set.toml", "seed = 3\nimage_size = 32\n");
    let call =
        ["train", "photos", "--recipe", "mine.toml", "--config", "set.toml", "--out", "run", "--flip=false"];
    let mut command = place.command(&call);
    let ended = crate::harness::ended(command.env("PUGMARK_BATCH_SIZE", "4"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let table = config(&place, "run");
    assert_eq!(table["model"].as_str(), Some("simple_cnn"), "the recipe");
    assert_eq!(table["epochs"].as_integer(), Some(1), "the recipe as it was changed");
    assert_eq!(table["val"].as_float(), Some(0.2), "the recipe");
    assert_eq!(table["image_size"].as_integer(), Some(32), "the file");
    assert_eq!(table["batch_size"].as_integer(), Some(4), "the variable");
    assert_eq!(table["flip"].as_bool(), Some(false), "the flag");
    assert_eq!(table["rotation"].as_float(), Some(0.0), "the default");
    assert_eq!(table["recipe"].as_str(), place.path("mine.toml").to_str());

    // The run's configuration has everything, whatever becomes of the recipe.
    place.write("mine.toml", "epochs = 7\nfold = 3\n");
    place.done(&["train", "--config", "run/config.toml", "--out", "again"]);
    let last = |run: &str| std::fs::read(place.path(run).join("last.safetensors")).unwrap();
    assert_eq!(last("run"), last("again"));
    assert_eq!(config(&place, "run"), config(&place, "again"));
    place.done(&["train", "--resume", "run"]);
    place.snapshot(
        "recipe_beside_a_whole_config",
        &["train", "--config", "run/config.toml", "--recipe", "cats-dogs", "--out", "other"],
    );

    // A file may name the recipe; `none` is none.
    place.write("named.toml", "recipe = \"cats-dogs\"\nepochs = 1\nimage_size = 32\n");
    place.done(&["train", "photos", "--config", "named.toml", "--out", "named"]);
    assert_eq!(config(&place, "named")["val"].as_float(), Some(0.2));
    assert_eq!(config(&place, "named")["recipe"].as_str(), Some("cats-dogs"));
    let none = ["train", "photos", "--config", "named.toml", "--recipe", "none", "--model", "simple_cnn"];
    place.done(&[&none[..], &["--out", "none"]].concat());
    assert_eq!(config(&place, "none")["val"].as_float(), Some(0.25));
}

#[test]
fn pretrained_weights_take_the_recipe_for_them() {
    let place = Place::new();
    place.photos(4);
    let quick = ["train", "photos", "--model", "simple_cnn", "--image-size", "32", "--epochs", "1"];
    place.done(&[&quick[..], &["--out", "first"]].concat());
    assert!(!config(&place, "first").contains_key("recipe"), "there was nothing to start from");
    let call = |more: &[&'static str], out: &str| {
        let weights =
            if more.contains(&"--weights") { &[][..] } else { &["--weights", "first/best.safetensors"] };
        let ended = place.done(&[&quick[..], weights, &["--out", out], more].concat());
        (config(&place, out), ended.stderr)
    };
    let (tuned, told) = call(&[], "tuned");
    assert_eq!(tuned["recipe"].as_str(), Some("finetune"));
    assert_eq!(tuned["layer_decay"].as_float(), Some(0.75));
    assert_eq!(tuned["warmup_epochs"].as_float(), Some(0.5), "of one epoch half");
    assert!(told.contains("recipe finetune, since there are weights"), "{told}");
    for (out, more) in [
        ("none", &["--recipe", "none"][..]),
        ("frozen", &["--freeze", "backbone"]),
        ("nothing", &["--weights", "none"]),
        ("other", &["--recipe", "cats-dogs"]),
        ("repeated", &["--config", "first/config.toml"]),
    ] {
        let (plain, told) = call(more, out);
        assert_eq!(plain["layer_decay"].as_float(), Some(1.0), "{out}");
        assert!(!told.contains("finetune"), "{out}: {told}");
    }
}

#[test]
fn wrong_recipes() {
    let place = Place::new();
    place.write("photos/day/a.png", "");
    place.write("key.toml", "# Mine.\n\nepochs = 3\nlearning_rat = 0.1\n");
    place.write("value.toml", "optimiser = \"adam\"\n");
    place.write("range.toml", "epochs = 0\n");
    place.write("nested.toml", "recipe = \"finetune\"\n");
    place.write("twice.toml", "epochs = 1\nepochs = 2\n");
    let cases = [
        ("recipe_unknown", "wild-resnet81"),
        ("recipe_unlike_any", "zebra"),
        ("recipe_no_file", "my/recipe.toml"),
        ("recipe_unknown_key", "key.toml"),
        ("recipe_not_a_choice", "value.toml"),
        ("recipe_out_of_range", "range.toml"),
        ("recipe_in_a_recipe", "nested.toml"),
        ("recipe_key_twice", "twice.toml"),
    ];
    for (name, recipe) in cases {
        place.snapshot(name, &["train", "photos", "--recipe", recipe]);
    }
    place.write("views.toml", "cache_features = 3\n");
    place.snapshot("recipe_contradiction", &["train", "photos", "--recipe", "views.toml"]);
    place.snapshot("cache_features_no_such", &["train", "photos", "--cache-features", "some"]);
}
