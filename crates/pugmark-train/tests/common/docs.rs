//! `docs/watch.md`.

use std::fmt::Write as _;

use pugmark_train::watch_rules;

/// The page around a table of precision and recall.
pub fn page(table: &str, sound: usize, machines: usize, cases: usize) -> String {
    let mut text = format!(
        "# The watch

`pugmark train` watches itself. Every step it keeps the loss and the time; every tenth to fiftieth step (`--watch-every`) it
looks at all weights, gradients and activations behind them; every ten seconds at cores, memory and discs; after every epoch
at the losses and at what is taken for what. Twenty-one rules judge that, most of them SageMaker Debugger's. What they find is
told once with a command to try, and kept in the run: `watch.jsonl` holds what was seen, `watch.json` what the rules came to,
in SageMaker's fields, `report.html` shows both.

- `--watch warn` is the default. `--watch off` looks at nothing. `--watch stop` ends the training after the step: the epoch is
  validated, everything is saved, the report drawn, and the exit status is 1. Rules marked \"tells only\" never end one: they depend
  on the machine or are for a person to judge. `pugmark train --resume RUN --watch warn` goes on after all.
- A look costs 4.9 % of a step of a small CNN and 3.5 % of a ResNet18's (224 px, batch 32, bf16: `bench/watch.py`), so at most half
  a percent of the time.
- Watching changes no bit of a result, whatever the threads: the engine reads values where they lie. A resumed run reads
  `watch.jsonl` up to its checkpoint and judges it again, so that it knows what a run that was not interrupted knows; rules of
  time and memory begin anew.
- `--watch-thresholds overfit.ratio=0.2,confusion.photos=50` changes thresholds, also in a settings file
  (`watch_thresholds = \"...\"`). `pugmark watch RUN --threshold overfit.ratio=0.2` tries them on a run that is there; while it
  trains, too, and it tells one that hangs. `--json` gives SageMaker's fields.

## How well they tell

Measured by a test (`cargo test -p pugmark-train --test watch_rules`), which also writes this page: {sound} sound trainings of
six architectures with other optimisers, schedules, augmentations and freezing, {machines} sound records of a machine, and each rule
on a training that is broken in its way; {cases} in all. Rules of time and memory are given records instead. A rule's precision
is the share of its alarms that are right; where one fault rightly alarms several rules (a layer of zeros has dead ReLUs),
all of them are right.

{table}
## The rules
"
    );
    for info in watch_rules() {
        let _ = writeln!(text, "\n### {}\n\nSageMaker's {}. {}\n", info.id, info.sagemaker, info.about);
        if !info.thresholds.is_empty() {
            text.push_str("| threshold | default | |\n|---|---|---|\n");
            for threshold in info.thresholds {
                let (name, default, about) = (threshold.name, threshold.default, threshold.about);
                let default = if default.abs() < 1e-3 && default != 0.0 {
                    format!("{default:e}")
                } else {
                    default.to_string()
                };
                let _ = writeln!(text, "| `{}.{name}` | {default} | {about} |", info.id);
            }
            text.push('\n');
        }
        let only = if info.stops { "" } else { " Tells only." };
        let _ = writeln!(text, "{} Try: {}: `{}`.{only}", info.why, info.advice, info.command);
    }
    text
}
