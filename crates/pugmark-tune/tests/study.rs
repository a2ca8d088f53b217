//! A study comes to what its plan prescribes, whatever becomes of its workers.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pugmark_tune::{
    Direction, Domain, Ending, Limits, Metrics, Next, Objective, Over, Parameter, Plan, Run, Sampler, Scale,
    Settings, Space, State, Study, StudyError, Trial, Value,
};

/// Goes half of the way from where the number points to the best value known, so that what is known shows in a proposal.
struct Nearer;

impl Sampler for Nearer {
    fn propose(&self, _: &Space, history: &[Trial], number: u32) -> Settings {
        let best = history.iter().filter(|trial| trial.value.is_some());
        let best = best.min_by(|a, b| a.value.unwrap().total_cmp(&b.value.unwrap()));
        let here = f64::from(number.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24);
        let running = history.iter().filter(|trial| trial.state == State::Running).count() as f64;
        let x = best.map_or(here, |best| (here + x(&best.settings)) / 2.0) + running * 1e-3;
        [("x".to_owned(), Value::Number(x.min(1.0)))].into()
    }
}

fn x(settings: &Settings) -> f64 {
    match settings["x"] {
        Value::Number(x) => x,
        _ => panic!("{settings:?}"),
    }
}

fn plan(workers: u32) -> Plan {
    let domain = Domain::Continuous { min: 0.0, max: 1.0, scale: Scale::Linear };
    Plan {
        space: Space { parameters: vec![Parameter { name: "x".into(), domain, condition: None }] },
        objective: Objective { metric: "loss".into(), direction: Direction::Minimise },
        sampler: "nearer".into(),
        pruner: "none".into(),
        seed: 7,
        workers,
        fixed: BTreeMap::from([("epochs".into(), 3.into())]),
        earlier: Vec::new(),
    }
}

const TRIALS: Limits = Limits { trials: 25, target: None, patience: None };

fn begin(folder: &Path, workers: u32) -> Study {
    Study::begin(folder, plan(workers), TRIALS, || Ok(())).unwrap()
}

fn measured(settings: &Settings, epoch: u32) -> Metrics {
    [("loss".into(), (x(settings) - 0.3).abs() + 1.0 / f64::from(epoch)), ("accuracy".into(), 0.5)].into()
}

fn ending(settings: &Settings) -> Ending {
    Ending { state: State::Complete, metrics: measured(settings, 3), why: None, seconds: 0.0 }
}

/// Runs a trial to its end, or up to the epoch in which the worker dies.
fn run(study: &mut Study, number: u32, settings: &Settings, dies: Option<u32>) -> bool {
    for epoch in 1..=3 {
        if dies == Some(epoch) {
            return false;
        }
        study.report(number, epoch, measured(settings, epoch)).unwrap();
    }
    study.end(number, ending(settings)).unwrap();
    true
}

/// Without what differs from run to run.
fn result(folder: &Path) -> Vec<Run> {
    Study::open(folder).unwrap().runs().to_vec()
}

fn undisturbed(workers: u32) -> Vec<Run> {
    let folder = tempfile::tempdir().unwrap();
    let mut study = begin(folder.path(), workers);
    while let Next::Trial { number, settings, .. } = study.next(&Nearer).unwrap() {
        run(&mut study, number, &settings, None);
    }
    assert_eq!(study.is_over(), Some(Over::Trials));
    study.runs().to_vec()
}

#[test]
fn timing_and_deaths_do_not_matter() {
    let whole = undisturbed(3);
    assert_eq!(whole.len(), 25);
    assert_ne!(whole, undisturbed(1), "fewer workers know more");
    let folder = tempfile::tempdir().unwrap();
    let (deaths, turns) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                // Each time around is another process: only what is on disk is left of the one before.
                'process: loop {
                    let mut study = begin(folder.path(), 3);
                    loop {
                        match study.next(&Nearer).unwrap() {
                            Next::Over => break 'process,
                            Next::Wait => std::thread::sleep(Duration::from_micros(200)),
                            Next::Trial { number, settings, .. } => {
                                let turn = turns.fetch_add(1, Ordering::Relaxed);
                                std::thread::sleep(Duration::from_micros(u64::from(turn * 7919 % 1500)));
                                let dies = (turn % 3 == 1).then_some(1 + turn % 4);
                                if !run(&mut study, number, &settings, dies) {
                                    deaths.fetch_add(1, Ordering::Relaxed);
                                    continue 'process;
                                }
                            }
                        }
                    }
                }
            });
        }
    });
    assert!(deaths.into_inner() >= 5);
    assert_eq!(result(folder.path()), whole);
    let begun =
        fs::read_to_string(folder.path().join("journal.jsonl")).unwrap().matches("{\"begun\"").count();
    assert_eq!(begun, 25, "each trial once");
}

#[test]
fn a_trial_is_one_workers_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (begin(folder.path(), 2), begin(folder.path(), 2));
    let Next::Trial { number: 0, settings, taken_up: false } = one.next(&Nearer).unwrap() else { panic!() };
    assert!(matches!(two.next(&Nearer).unwrap(), Next::Trial { number: 1, taken_up: false, .. }));
    assert_eq!(one.next(&Nearer).unwrap(), Next::Wait, "trial 2 waits for trial 0");
    assert_eq!(two.next(&Nearer).unwrap(), Next::Wait);
    drop(one);
    let Next::Trial { number: 0, settings: again, taken_up: true } = two.next(&Nearer).unwrap() else {
        panic!()
    };
    assert_eq!(settings, again);
    two.release(1);
    assert!(matches!(two.next(&Nearer).unwrap(), Next::Trial { number: 1, taken_up: true, .. }));
}

#[test]
fn a_torn_line_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut study = begin(folder.path(), 1);
    let Next::Trial { number, settings, .. } = study.next(&Nearer).unwrap() else { panic!() };
    run(&mut study, number, &settings, None);
    drop(study);
    let journal = folder.path().join("journal.jsonl");
    let bytes = fs::read(&journal).unwrap();
    for cut in [1, 20, 60] {
        fs::write(&journal, &bytes[..bytes.len() - cut]).unwrap();
        let mut study = begin(folder.path(), 1);
        let Next::Trial { number: 0, settings, taken_up: true } = study.next(&Nearer).unwrap() else {
            panic!()
        };
        run(&mut study, 0, &settings, None);
        assert_eq!(fs::read(&journal).unwrap(), bytes, "{cut}");
    }
    // Half of the very first line is no study yet.
    fs::write(&journal, &bytes[..40]).unwrap();
    assert!(matches!(Study::open(folder.path()), Err(StudyError::NotAStudy { .. })));
    assert!(begin(folder.path(), 1).runs().is_empty());
    // A line that is whole and makes no sense is another's.
    OpenOptions::new().append(true).open(&journal).unwrap().write_all(b"{\"begun\":\n").unwrap();
    let error = Study::open(folder.path()).err().unwrap();
    assert!(error.to_string().contains("journal.jsonl, line 3: EOF"), "{error}");
    fs::write(&journal, [&bytes[..], b"{\"reported\":{\"number\":9,\"epoch\":1,\"metrics\":{}}}\n"].concat())
        .unwrap();
    let error = Study::open(folder.path()).err().unwrap();
    assert!(error.to_string().contains("a line before it is missing"), "{error}");
}

#[test]
fn another_study_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    begin(folder.path(), 2);
    let with = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan(2);
        change(&mut plan);
        Study::begin(folder.path(), plan, TRIALS, || panic!("it is prepared")).err().map(|e| e.to_string())
    };
    assert_eq!(with(&|_| {}), None);
    type Change<'a> = &'a dyn Fn(&mut Plan);
    let cases: [(Change<'_>, &str); 5] = [
        (&|plan| plan.seed = 8, "`seed` is 7, and 8"),
        (&|plan| plan.workers = 1, "`workers` is 2, and 1"),
        (&|plan| plan.objective.metric = "accuracy".into(), "`objective` is"),
        (&|plan| plan.space.parameters[0].name = "y".into(), "`space` is"),
        (&|plan| drop(plan.fixed.insert("epochs".into(), 4.into())), "`epochs` is 3, and 4"),
    ];
    for (change, part) in cases {
        let error = with(change).unwrap();
        assert!(error.contains(part), "{error}");
    }
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("notes.txt"), "mine").unwrap();
    let error = Study::begin(other.path(), plan(1), TRIALS, || Ok(())).err().unwrap();
    assert!(error.to_string().contains("notes.txt") && error.hint().is_some(), "{error}");
    assert!(matches!(Study::open(other.path()), Err(StudyError::NotAStudy { .. })));
}

#[test]
fn ends_by_target_patience_and_failures() {
    let finish = |limits: Limits, fails: &dyn Fn(u32) -> bool| {
        let folder = tempfile::tempdir().unwrap();
        let mut study = Study::begin(folder.path(), plan(1), limits, || Ok(())).unwrap();
        while let Next::Trial { number, settings, .. } = study.next(&Nearer).unwrap() {
            let ending = match fails(number) {
                true => Ending { metrics: [("speed".into(), 1.0)].into(), ..ending(&settings) },
                false => ending(&settings),
            };
            study.end(number, ending).unwrap();
        }
        let best = study.best().map(|run| run.number);
        (study.runs().len(), study.is_over().unwrap(), best, study.runs()[0].ending.clone().unwrap().why)
    };
    let (trials, over, best, _) = finish(Limits { target: Some(0.35), ..TRIALS }, &|_| false);
    assert_eq!((over, best), (Over::Target, Some(trials as u32 - 1)));
    let (trials, over, best, _) = finish(Limits { patience: Some(4), ..TRIALS }, &|_| false);
    assert_eq!((over, best), (Over::Patience, Some(trials as u32 - 5)));
    let (trials, over, best, why) = finish(TRIALS, &|_| true);
    assert_eq!((trials, over, best), (25, Over::Trials, None));
    assert_eq!(why.unwrap(), "it measured no `loss`, but speed");
}

#[test]
fn a_study_can_be_made_longer() {
    let folder = tempfile::tempdir().unwrap();
    let mut study = Study::begin(folder.path(), plan(1), Limits { trials: 2, ..TRIALS }, || Ok(())).unwrap();
    let all = |study: &mut Study| {
        while let Next::Trial { number, settings, .. } = study.next(&Nearer).unwrap() {
            run(study, number, &settings, None);
        }
        study.runs().to_vec()
    };
    assert_eq!(all(&mut study).len(), 2);
    study.set_limits(TRIALS).unwrap();
    assert_eq!(all(&mut study), undisturbed(1));
}

#[test]
fn another_study_knows_what_lies_inside_its_space() {
    let folder = tempfile::tempdir().unwrap();
    let mut study = begin(folder.path(), 1);
    while let Next::Trial { number, settings, .. } = study.next(&Nearer).unwrap() {
        run(&mut study, number, &settings, None);
    }
    let inside = |flags: &[&str]| study.inside(&Space::from_flags(flags).unwrap(), &plan(1).objective);
    let lower = study.runs().iter().filter(|run| x(&run.settings) <= 0.4).count();
    assert!(lower > 0 && lower < 25);
    assert_eq!(inside(&["x=0.0..0.4"]).len(), lower);
    // What was fixed counts with its value, in the words of the space.
    let with_epochs = inside(&["x=0.0..1.0", "epochs=1,3", "momentum=0.1..0.9 if epochs=1"]);
    assert_eq!(with_epochs.len(), 25);
    assert_eq!(with_epochs[0].settings["epochs"], Value::Text("3".into()));
    assert_eq!(with_epochs[0].value, study.runs()[0].trial(&plan(1).objective).value);
    assert!(inside(&["x=0.0..1.0", "epochs=4..5"]).is_empty(), "it was another value");
    assert!(inside(&["x=0.0..1.0", "momentum=0.1..0.9"]).is_empty(), "it is not known");
    let accuracy = Objective { metric: "f1".into(), direction: Direction::Maximise };
    assert!(study.inside(&plan(1).space, &accuracy).is_empty(), "it was not measured");
}
