//! Spaces: both ways to write one, and everything that is wrong with one.

use pugmark_tune::{Condition, Domain, Parameter, Scale, Settings, Space, Value};

const FLAGS: [&str; 7] = [
    "optimiser=sgd,adam",
    "lr=log(1e-3,1e-1)",
    "momentum=0.8..0.99 if optimiser=sgd",
    "beta2=reverse-log(0.9,0.9999) if optimiser=adam",
    "layers=1..4",
    "units=log(16,512) if layers=3,4",
    "batch=16,32,64",
];

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn flags_are_read() {
    let space = Space::from_flags(&FLAGS).unwrap();
    let domains: Vec<&Domain> = space.parameters.iter().map(|parameter| &parameter.domain).collect();
    assert_eq!(domains[1], &Domain::Continuous { min: 1e-3, max: 1e-1, scale: Scale::Logarithmic });
    assert_eq!(domains[3], &Domain::Continuous { min: 0.9, max: 0.9999, scale: Scale::ReverseLogarithmic });
    assert_eq!(domains[4], &Domain::Integer { min: 1, max: 4, scale: Scale::Linear });
    assert_eq!(domains[5], &Domain::Integer { min: 16, max: 512, scale: Scale::Logarithmic });
    assert_eq!(domains[6], &Domain::Categorical(vec!["16".into(), "32".into(), "64".into()]));
    let condition =
        Condition { parameter: "layers".to_owned(), values: vec![Value::Integer(3), Value::Integer(4)] };
    assert_eq!(space.parameters[5].condition, Some(condition));
}

#[test]
fn ranges_keep_everything() {
    let space = Space::from_flags(&FLAGS).unwrap();
    let json = serde_json::to_string(&space.to_ranges()).unwrap();
    assert_eq!(Space::from_ranges(&json).unwrap(), space);
    let journal = serde_json::to_string(&space).unwrap();
    assert_eq!(serde_json::from_str::<Space>(&journal).unwrap(), space);
    // Where the lists have the order, SageMaker gets no key of ours.
    let plain = Space::from_flags(&["batch=16,32", "epochs=2..5", "lr=0.1..0.3"]).unwrap().to_ranges();
    assert!(plain.get("Order").is_none());
}

#[test]
fn a_file_of_sagemaker_is_read() {
    let space = Space::from_ranges(
        r#"{"ParameterRanges": {
            "ContinuousParameterRanges": [
                {"Name": "lr", "MinValue": "0.001", "MaxValue": "0.1", "ScalingType": "Logarithmic"},
                {"Name": "dropout", "MinValue": "0", "MaxValue": "0.5", "ScalingType": "Auto",
                 "Condition": {"Name": "batch", "Values": ["64"]}}],
            "IntegerParameterRanges": [{"Name": "epochs", "MinValue": "2", "MaxValue": "5"}],
            "CategoricalParameterRanges": [{"Name": "batch", "Values": ["16", "32", "64", "128"]}]}}"#,
    );
    let expected = ["batch=16,32,64,128", "epochs=2..5", "lr=log(0.001,0.1)", "dropout=0.0..0.5 if batch=64"];
    assert_eq!(space.unwrap(), Space::from_flags(&expected).unwrap());
}

/// A condition may stand before its parameter in the lists, which have no order of their own.
#[test]
fn lists_are_ordered_by_their_conditions() {
    let space = Space::from_ranges(
        r#"{"CategoricalParameterRanges": [{"Name": "norm", "Values": ["a", "b"], "Condition": {"Name": "layers", "Values": [2]}}],
            "IntegerParameterRanges": [{"Name": "layers", "MinValue": "1", "MaxValue": "2"}]}"#,
    );
    assert_eq!(space.unwrap(), Space::from_flags(&["layers=1..2", "norm=a,b if layers=2"]).unwrap());
}

#[test]
fn wrong_flags_say_what_to_do() {
    let cases: [(&[&str], &str, &str); 21] = [
        (&[], "the search space: it is empty", "name what is searched, as in lr=log(1e-4,1e-1)"),
        (&["lr"], "lr: it has no values", "write 0.1..0.5"),
        (&["=1..2"], "the search space: \"\" is no name", "name the parameter with one word"),
        (&["lr=0.5..0.1"], "lr: the range is empty: 0.5 lies above 0.1", "give the least value first"),
        (&["n=5..2"], "n: the range is empty: 5 lies above 2", "give the least value first"),
        (
            &["lr=log(0,0.1)"],
            "lr: a logarithmic range can't start at 0",
            "start above 0, as in log(1e-5,1e-1)",
        ),
        (&["n=log(0,8)"], "n: a logarithmic range can't start at 0", "start above 0"),
        (
            &["m=reverse-log(0.9,1)"],
            "m: a reverse logarithmic range lies in [0, 1), not in 0.9 to 1",
            "it is for values that come",
        ),
        (&["lr=lgo(1e-3,1e-1)"], "lr: lgo(..) is not known", "did you mean log?"),
        (&["lr=quantum(1,2)"], "lr: quantum(..) is not known", "write 0.1..0.5"),
        (&["lr=log(1e-3 1e-1)"], "lr: log(1e-3 1e-1) is no range", "write 0.1..0.5"),
        (&["lr=0.1..a"], "lr: \"a\" is no number", "write it as 0.001 or 1e-3"),
        (&["lr=0.1..inf"], "lr: 0.1 to inf is no finite range", "give two finite numbers"),
        (
            &["n=0..9223372036854775807"],
            "n: 0 to 9223372036854775807 has integers beyond 2^53",
            "give smaller integers",
        ),
        (&["a=1..2", "a=x,y"], "a: it is named twice", "name every parameter once"),
        (&["a=x,y,x"], "a: the category x stands twice", "name every category once"),
        (&["a=x,,y"], "a: a category is empty", "name at least one"),
        (
            &["optimiser=sgd,adam", "m=0.1..0.9 if optimizer=sgd"],
            "m: its condition is on optimizer, which is not searched",
            "did you mean optimiser?",
        ),
        (
            &["m=0.1..0.9 if o=sgd", "o=sgd,adam"],
            "m: its condition is on o, which does not stand before it",
            "name o first",
        ),
        (
            &["o=sgd,adam", "m=0.1..0.9 if o=rmsprop"],
            "m: its condition is never met: o is never rmsprop",
            "take a value from its range",
        ),
        (
            &["x=0.1..0.2", "m=0.1..0.9 if x=0.15"],
            "m: its condition is on x, whose values have no end",
            "a condition can be on",
        ),
    ];
    for (flags, what, hint) in cases {
        let error = Space::from_flags(flags).unwrap_err();
        assert_eq!(error.to_string(), what);
        assert!(error.hint().starts_with(hint), "{flags:?}: {}", error.hint());
    }
}

#[test]
fn wrong_files_say_what_to_do() {
    let cases = [
        (
            "{",
            "the search space: it is no JSON: EOF while parsing an object at line 1 column 1",
            "give SageMaker's",
        ),
        ("{}", "the search space: it is empty", "name what is searched"),
        ("[]", "the search space: it is no object", "give an object with CategoricalParameterRanges"),
        (
            r#"{"ContinousParameterRanges": []}"#,
            "the search space: the key ContinousParameterRanges is not known",
            "did you mean ContinuousParameterRanges?",
        ),
        (r#"{"IntegerParameterRanges": 3}"#, "IntegerParameterRanges: it is no list", "write a list"),
        (
            r#"{"IntegerParameterRanges": [{"Name": "n", "MinValu": "1"}]}"#,
            "IntegerParameterRanges[0]: the key MinValu is not known",
            "did you mean MinValue?",
        ),
        (
            r#"{"IntegerParameterRanges": [{"Name": "n", "MinValue": "1"}]}"#,
            "IntegerParameterRanges[0]: MaxValue is missing",
            "add MaxValue",
        ),
        (
            r#"{"IntegerParameterRanges": [{"Name": "n", "MinValue": "1.5", "MaxValue": "2"}]}"#,
            "n: \"1.5\" is not an integer",
            "give an integer",
        ),
        (
            r#"{"IntegerParameterRanges": [{"Name": "n", "MinValue": "0", "MaxValue": "2", "ScalingType": "Log"}]}"#,
            "n: the scaling type Log is not known",
            "take one of Auto",
        ),
        (
            r#"{"IntegerParameterRanges": [{"Name": "n", "MinValue": "0", "MaxValue": "2", "ScalingType": "logarithmic"}]}"#,
            "n: the scaling type logarithmic is not known",
            "did you mean Logarithmic?",
        ),
        (
            r#"{"IntegerParameterRanges": [{"Name": "n", "MinValue": "0", "MaxValue": "2", "ScalingType": "ReverseLogarithmic"}]}"#,
            "n: only continuous parameters have a reverse logarithmic range",
            "take Linear",
        ),
        (
            r#"{"CategoricalParameterRanges": [{"Name": "a", "Values": []}]}"#,
            "a: a category is empty",
            "name at least one",
        ),
        (
            r#"{"CategoricalParameterRanges": [{"Name": "a", "Values": [{}]}]}"#,
            "a: {} is no text",
            "write it as",
        ),
        (
            r#"{"CategoricalParameterRanges": [{"Name": "a", "Values": ["x"]}], "Order": ["b"]}"#,
            "Order: there is no b",
            "did you mean a?",
        ),
        (
            r#"{"CategoricalParameterRanges": [
            {"Name": "a", "Values": ["x"], "Condition": {"Name": "b", "Values": ["x"]}},
            {"Name": "b", "Values": ["x"], "Condition": {"Name": "a", "Values": ["x"]}}]}"#,
            "a: its condition is on b, which does not stand before it",
            "name b first",
        ),
    ];
    for (json, what, hint) in cases {
        let error = Space::from_ranges(json).unwrap_err();
        assert_eq!(error.to_string(), what, "{json}");
        assert!(error.hint().starts_with(hint), "{json}: {}", error.hint());
    }
}

#[test]
fn positions_and_values() {
    let space = Space::from_flags(&FLAGS).unwrap();
    // From the middle of each parameter back to the value.
    let settings = space.from_unit(&[0.75, 0.5, 0.5, 0.5, 0.99, 0.5, 0.5]);
    assert_eq!(settings["optimiser"], text("adam"));
    assert!(matches!(settings["lr"], Value::Number(lr) if (lr - 1e-2).abs() < 1e-15));
    // The middle of 1 - 0.9 and 1 - 0.9999 on a logarithmic scale.
    assert!(
        matches!(settings["beta2"], Value::Number(beta) if (beta - (1.0 - 10f64.powf(-2.5))).abs() < 1e-12)
    );
    assert!(!settings.contains_key("momentum"));
    assert_eq!((&settings["layers"], &settings["batch"]), (&Value::Integer(4), &text("32")));
    for parameter in &space.parameters {
        for i in 0..=1000 {
            let value = parameter.domain.from_unit(f64::from(i) / 1000.0);
            assert!(parameter.domain.contains(&value), "{} = {value}", parameter.name);
            let unit = parameter.domain.to_unit(&value).unwrap();
            // No further than the value's share of the interval; a number has none, 16 of the units has 0.01.
            let share = parameter.domain.count().map_or(1e-9, |count| 1.0 / count as f64);

            assert!(
                (unit - f64::from(i) / 1000.0).abs()
                    <= share.max(if parameter.name == "units" { 0.01 } else { 0.0 }),
                "{value} at {unit}"
            );
            match (parameter.domain.from_unit(unit), value) {
                (Value::Number(back), Value::Number(value)) => assert!((back / value - 1.0).abs() < 1e-12),
                (back, value) => assert_eq!(back, value),
            }
        }
    }
    let integers = Domain::Integer { min: 1, max: 4, scale: Scale::Linear };
    assert_eq!(
        (1..=4).map(|n| integers.to_unit(&Value::Integer(n)).unwrap()).collect::<Vec<_>>(),
        [0.125, 0.375, 0.625, 0.875]
    );
    assert_eq!(integers.to_unit(&Value::Integer(5)), None);
}

#[test]
fn settings_of_a_space() {
    let space =
        Space::from_flags(&["optimiser=sgd,adam", "momentum=0.8..0.99 if optimiser=sgd", "n=1..4"]).unwrap();
    let settings = |pairs: &[(&str, Value)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Settings>()
    };
    let adam = [("optimiser", text("adam")), ("n", Value::Integer(2))];
    assert!(space.contains(&settings(&adam)));
    // An inactive parameter, one that is missing, one too many, one outside, one of another type.
    let wrong = [
        vec![("momentum", Value::Number(0.9))],
        vec![("optimiser", text("sgd"))],
        vec![("lr", Value::Number(0.1))],
        vec![("n", Value::Integer(5))],
        vec![("n", Value::Number(2.0))],
        vec![("optimiser", text("lion"))],
    ];
    for change in wrong {
        assert!(!space.contains(&settings(&[&adam[..], &change].concat())), "{change:?}");
    }
    let sgd = [("optimiser", text("sgd")), ("n", Value::Integer(2)), ("momentum", Value::Number(0.9))];
    assert!(space.contains(&settings(&sgd)));
    assert!(!space.contains(&settings(&sgd[..2])));
    assert!(!space.contains(&settings(&[&sgd[..2], &[("momentum", Value::Number(f64::NAN))]].concat())));
}

/// What the struct says that a flag can't.
#[test]
fn a_condition_needs_values() {
    let other = Parameter {
        name: "a".to_owned(),
        domain: Domain::Categorical(vec!["x".to_owned()]),
        condition: None,
    };
    let condition = Some(Condition { parameter: "a".to_owned(), values: vec![] });
    let error =
        Space::new(vec![other.clone(), Parameter { name: "b".to_owned(), condition, ..other }]).unwrap_err();
    assert_eq!(error.to_string(), "b: its condition on a has no value");
}
