//! A search by JSON lines, for the bench (`bench/tune.py`), which has the objectives.
//!
//! The first line is `{"space": ParameterRanges, "sampler": "gp", "seed": 0, "pruner": null, "epochs": 27}`. Then `{"ask": true}` is
//! answered with settings, `{"report": 0.5}` with `{"prune": false}`, `{"tell": 0.5, "pruned": false}` ends the trial.

use std::io::{BufRead, Write, stdin, stdout};

use pugmark_tune::{Hyperband, Median, Pruner, SamplerKind, Space, State, Trial};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut lines = stdin().lock().lines();
    let start: Value = serde_json::from_str(&lines.next().ok_or("no first line")??)?;
    let space = Space::from_ranges(&start["space"].to_string())?;
    let kind: SamplerKind = start["sampler"].as_str().unwrap_or("auto").parse()?;
    let sampler = kind.sampler(start["seed"].as_u64().unwrap_or(0));
    let pruner: Option<Box<dyn Pruner>> = match start["pruner"].as_str() {
        Some("median") => Some(Box::new(Median)),
        Some("hyperband") => Some(Box::new(Hyperband::new(1, start["epochs"].as_u64().unwrap_or(27) as u32))),
        _ => None,
    };
    answer(&json!({}))?;

    let mut history: Vec<Trial> = Vec::new();
    let mut running: Option<Trial> = None;
    for line in lines {
        let message: Value = serde_json::from_str(&line?)?;
        if message.get("ask").is_some() {
            let number = history.len() as u32;
            let settings = sampler.propose(&space, &history, number);
            answer(&serde_json::to_value(&settings)?)?;
            running =
                Some(Trial { number, settings, state: State::Running, reported: Vec::new(), value: None });
            continue;
        }
        let trial = running.as_mut().ok_or("ask first")?;
        if let Some(value) = message["report"].as_f64() {
            trial.reported.push(value);
            let prune = pruner.as_ref().is_some_and(|pruner| pruner.prune(trial, &history));
            answer(&json!({ "prune": prune }))?;
        } else {
            trial.value = message["tell"].as_f64();
            trial.state = if message["pruned"] == true { State::Pruned } else { State::Complete };
            history.extend(running.take());
            answer(&json!({}))?;
        }
    }
    Ok(())
}

fn answer(json: &Value) -> std::io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{json}")?;
    out.flush()
}
