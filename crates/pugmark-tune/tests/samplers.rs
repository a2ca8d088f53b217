//! What holds for every sampler.

use pugmark_tune::{SAMPLERS, Sampler, SamplerKind, Settings, Space, State, Trial, Value};

const SPACES: [&[&str]; 6] = [
    &["x=0.0..1.0"],
    &["one=a"],
    &["n=1..3", "c=a,b,c"],
    &["lr=log(1e-5,1.0)", "beta=reverse-log(0.9,0.9999)", "n=log(1,1000)", "fixed=3.5..3.5", "k=7..7"],
    &[
        "optimiser=sgd,adam",
        "lr=log(1e-5,1e-1)",
        "momentum=0.0..0.99 if optimiser=sgd",
        "nesterov=yes,no if optimiser=sgd",
        "damping=0.1..0.9 if nesterov=yes",
        "layers=1..40",
        "units=log(16,512) if layers=3,4,5",
    ],
    &["a=0..1", "b=0..1 if a=1", "c=0..1 if b=1", "d=0.0..1.0 if c=1"],
];

fn kinds() -> impl Iterator<Item = SamplerKind> {
    SAMPLERS.iter().map(|name| name.parse().expect("a name of the list"))
}

/// Some number that depends on all settings.
fn objective(settings: &Settings) -> f64 {
    let part = |(i, value): (usize, &Value)| match value {
        Value::Number(x) => (x - 0.3) * (x - 0.3),
        Value::Integer(n) => (*n as f64 - 2.0).abs() / 10.0,
        Value::Text(text) => (text.len() + i) as f64 / 10.0,
    };
    settings.values().enumerate().map(part).sum()
}

/// A study whose trials end as `end` says, from the number and the value.
fn study(
    sampler: &dyn Sampler,
    space: &Space,
    trials: u32,
    end: impl Fn(u32, f64) -> (State, Option<f64>),
) -> Vec<Trial> {
    let mut history: Vec<Trial> = Vec::new();
    for number in 0..trials {
        let settings = sampler.propose(space, &history, number);
        assert!(space.contains(&settings), "{settings:?}");
        let (state, value) = end(number, objective(&settings));
        let reported = value.filter(|_| number % 2 == 0).into_iter().collect();
        history.push(Trial { number, settings, state, reported, value });
    }
    history
}

fn complete(_: u32, value: f64) -> (State, Option<f64>) {
    (State::Complete, Some(value))
}

/// Inside the space, with the conditions kept, whatever the trials end with.
#[test]
fn proposals_are_settings_of_the_space() {
    let rough = |number: u32, value: f64| match number % 7 {
        0 => (State::Running, None),
        1 => (State::Failed, None),
        2 => (State::Complete, Some(f64::NAN)),
        3 => (State::Complete, Some(f64::INFINITY)),
        4 => (State::Pruned, Some(1e300 * value)),
        5 => (State::Pruned, None),
        _ => (State::Complete, Some(value)),
    };
    for flags in SPACES {
        let space = Space::from_flags(flags).unwrap();
        for kind in kinds() {
            study(&*kind.sampler(0), &space, 14, complete);
            study(&*kind.sampler(1), &space, 21, rough);
        }
    }
}

/// No value at all, or always the same, tells nothing and must not stop the search.
#[test]
fn trials_that_say_nothing() {
    let space = Space::from_flags(SPACES[4]).unwrap();
    for kind in kinds() {
        study(&*kind.sampler(1), &space, 14, |_, _| (State::Failed, None));
        study(&*kind.sampler(1), &space, 14, |_, _| (State::Complete, Some(f64::NAN)));
        study(&*kind.sampler(1), &space, 14, |_, _| (State::Complete, Some(-0.25)));
    }
}

/// The same trial again and again, and trials of another space.
#[test]
fn histories_of_others() {
    let space = Space::from_flags(&["x=0.0..1.0", "c=a,b"]).unwrap();
    let settings = |x: f64| {
        Settings::from([("x".to_owned(), Value::Number(x)), ("c".to_owned(), Value::Text("a".to_owned()))])
    };
    let trial = |number, x| Trial {
        number,
        settings: settings(x),
        state: State::Complete,
        reported: vec![],
        value: Some(1.0),
    };
    let same: Vec<Trial> = (0..30).map(|number| trial(number, 0.5)).collect();
    let outside: Vec<Trial> = (0..30).map(|number| trial(number, 1.5)).collect();
    for kind in kinds() {
        for history in [&same, &outside] {
            assert!(space.contains(&kind.sampler(0).propose(&space, history, 30)));
        }
    }
}

/// By seed, number and history alone: a sampler made anew goes on as the old one would have.
#[test]
fn the_same_again() {
    for flags in SPACES {
        let space = Space::from_flags(flags).unwrap();
        for kind in kinds() {
            let history = study(&*kind.sampler(5), &space, 13, complete);
            for number in 0..13 {
                let again = kind.sampler(5).propose(&space, &history[..number as usize], number);
                assert_eq!(again, history[number as usize].settings, "{kind}");
            }
        }
    }
}

#[test]
fn seeds_and_numbers_differ() {
    let space = Space::from_flags(&["x=0.0..1.0"]).unwrap();
    for kind in kinds().filter(|kind| !matches!(kind, SamplerKind::Grid(_))) {
        let history = study(&*kind.sampler(0), &space, 12, complete);
        let first = kind.sampler(0).propose(&space, &history[..3], 3);
        assert_ne!(first, kind.sampler(1).propose(&space, &history[..3], 3), "{kind}");
        for (i, trial) in history.iter().enumerate() {
            assert!(history[..i].iter().all(|other| other.settings != trial.settings), "{kind}");
        }
    }
}

/// Nine settings, of which those that learn try none twice before all are tried.
#[test]
fn no_trial_twice() {
    let space = Space::from_flags(SPACES[2]).unwrap();
    for name in ["auto", "gp", "grid"] {
        let kind: SamplerKind = name.parse().unwrap();
        // The first ten are Sobol's, which may repeat: an even history of seven instead.
        let grid = SamplerKind::Grid(3).sampler(0);
        let mut history = study(&*grid, &space, 7, complete);
        history.extend(study(&*grid, &space, 7, complete));
        for number in [7, 8] {
            let settings = kind.sampler(3).propose(&space, &history, number);
            assert!(history.iter().all(|trial| trial.settings != settings), "{name}");
            history.push(Trial { number, settings, state: State::Running, reported: vec![], value: None });
        }
    }
}

/// Four workers at once, which know of each other's trials, do not go to the same place.
#[test]
fn running_trials_keep_apart() {
    let space = Space::from_flags(&["x=0.0..1.0", "y=0.0..1.0"]).unwrap();
    let place = |settings: &Settings| space.to_unit(settings).into_iter().flatten().collect::<Vec<_>>();
    let sobol = SamplerKind::Sobol.sampler(1);
    for name in ["gp", "tpe"] {
        let sampler = name.parse::<SamplerKind>().unwrap().sampler(2);
        let trial = |number| {
            let settings = sobol.propose(&space, &[], number);
            let at = place(&settings);
            let value = Some((7.0 * at[0]).sin() * (9.0 * at[1]).cos());
            Trial { number, settings, state: State::Complete, reported: vec![], value }
        };
        let mut history: Vec<Trial> = (0..12).map(trial).collect();
        for number in 12..16 {
            let settings = sampler.propose(&space, &history, number);
            let here = place(&settings);
            for other in &history[12..] {
                let there = place(&other.settings);
                let distance = (here[0] - there[0]).hypot(here[1] - there[1]);
                assert!(distance > 0.02, "{name}: {distance}");
            }
            history.push(Trial { number, settings, state: State::Running, reported: vec![], value: None });
        }
    }
}

/// (x - 0.7)^2 + (y - 0.2)^2 and a category that costs 1: chance alone comes within 0.1 of the least in one of 64 trials. The
/// process is within 0.01 after 25, the Parzen estimator within 0.1 after 40, on the median of nine seeds.
#[test]
fn samplers_learn() {
    let space = Space::from_flags(&["x=0.0..1.0", "y=0.0..1.0", "c=a,b"]).unwrap();
    let value = |settings: &Settings| match (&settings["x"], &settings["y"], &settings["c"]) {
        (Value::Number(x), Value::Number(y), Value::Text(c)) => {
            (x - 0.7).powi(2) + (y - 0.2).powi(2) + f64::from(u8::from(c == "b"))
        }
        _ => panic!("{settings:?}"),
    };
    for (name, trials, enough) in [("gp", 25, 0.01), ("auto", 25, 0.01), ("tpe", 40, 0.1)] {
        let best = |seed| {
            let sampler = name.parse::<SamplerKind>().unwrap().sampler(seed);
            let mut history: Vec<Trial> = Vec::new();
            for number in 0..trials {
                let settings = sampler.propose(&space, &history, number);
                let value = Some(value(&settings));
                history.push(Trial { number, settings, state: State::Complete, reported: vec![], value });
            }
            history.iter().filter_map(|trial| trial.value).fold(f64::INFINITY, f64::min)
        };
        let mut distances: Vec<f64> = (0..9).map(|seed| best(seed).sqrt()).collect();
        distances.sort_by(f64::total_cmp);
        assert!(distances[4] < enough, "{name}: {distances:?}");
    }
}

#[test]
fn names() {
    for name in SAMPLERS {
        let kind: SamplerKind = name.parse().unwrap();
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert_eq!("grid=5".parse(), Ok(SamplerKind::Grid(5)));
    let error = |text: &str| text.parse::<SamplerKind>().unwrap_err();
    assert_eq!(error("cma"), "there is no sampler cma: take one of auto, gp, tpe, sobol, random, grid");
    assert_eq!(error("grid=0"), "a grid has at least 1 value of a range, not 0");
    assert_eq!(error("tpe=5"), "tpe takes no count: only grid does, as in grid=5");
}
