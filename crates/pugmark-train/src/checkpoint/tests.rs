use std::fs;

use pugmark_data::Recipe;
use pugmark_graph::{Architecture, Tensor, Tensors};
use pugmark_model::{Model, RunFolder};
use tempfile::TempDir;

use super::*;
use crate::TrainError;

pub(crate) fn state() -> State {
    let card = ModelCard {
        format: 1,
        version: "0".into(),
        architecture: Architecture::ResNet18,
        classes: vec!["a".into()],
        recipe: Recipe::imagenet(224),
        temperature: 1.0,
        calibration: None,
        data_hash: "d".into(),
        split_hash: "s".into(),
        split_how: "site".into(),
        metrics: BTreeMap::new(),
        epoch: 0,
    };
    State { sums: Sums { loss: 0.1 + 0.2, ..Sums::default() }, ..State::new(card, 1.0 / 3.0) }
}

fn run() -> (TempDir, RunFolder) {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(&folder.path().join("run")).unwrap();
    (folder, run)
}

fn files(run: &RunFolder) -> Vec<String> {
    let entries = fs::read_dir(run.checkpoint()).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn row(epoch: u32) -> EpochMetrics {
    EpochMetrics {
        epoch,
        train_loss: 0.5,
        train_acc: 0.5,
        val_loss: 0.5,
        val_acc: 0.5,
        val_macro_f1: 0.5,
        learning_rate: 0.1,
        images_per_sec: 1.0,
        seconds: 1.0,
        peak_memory_mib: None,
    }
}

fn tensors(name: &str, value: f32) -> Tensors {
    [(name.to_string(), Tensor { shape: vec![1], values: vec![value] })].into()
}

#[test]
fn what_is_saved_is_read_to_the_bit() {
    let (_folder, run) = run();
    assert!(Checkpoint::read(&run).unwrap().is_none());
    let mut state = state();
    for step in 1..4 {
        state.step = step;
        let optimiser = if step == 1 { Tensors::new() } else { tensors("adamw.m.w", 0.5) };
        let saliency = if step == 2 { tensors("grids", 3.0) } else { Tensors::new() };
        let path = run.checkpoint();
        state.save(&path, tensors("w", step as f32), optimiser.clone(), saliency.clone()).unwrap();
        let read = Checkpoint::read(&run).unwrap().unwrap();
        assert_eq!((read.state, read.tensors), (state.clone(), tensors("w", step as f32)));
        assert_eq!((read.optimiser, read.saliency, read.setback), (optimiser, saliency, None));
    }
    assert_eq!(
        files(&run),
        ["previous.json", "state.json", "tensors-2.safetensors", "tensors-3.safetensors"],
        "the last save and the one before"
    );
}

#[test]
fn a_kill_before_the_rename_leaves_the_earlier_state() {
    let (_folder, run) = run();
    let mut saved = state();
    saved.save(&run.checkpoint(), tensors("w", 1.0), Tensors::new(), Tensors::new()).unwrap();
    for leftover in ["tensors-2.safetensors", ".tensors-2.safetensors.new", ".state.json.new"] {
        fs::write(run.checkpoint().join(leftover), "half").unwrap();
    }
    let read = Checkpoint::read(&run).unwrap().unwrap();
    assert_eq!((&read.state, read.tensors), (&saved, tensors("w", 1.0)));
    assert_eq!(files(&run), ["state.json", "tensors-1.safetensors"], "leftovers are gone");
}

/// Whatever of the last save did not come along, the one before it takes over, and no name is given twice.
#[test]
fn the_save_before_takes_over() {
    let (_folder, run) = run();
    let path = run.checkpoint();
    let mut state = state();
    for step in 1..=3 {
        state.step = step;
        state.save(&path, tensors("w", step as f32), Tensors::new(), Tensors::new()).unwrap();
    }
    let third = path.join("tensors-3.safetensors");
    let lost = fs::read(&third).unwrap();
    fs::remove_file(&third).unwrap();
    let goes_back = |to: usize, file: &str| {
        let read = Checkpoint::read(&run).unwrap().unwrap();
        assert_eq!((read.state.step, read.tensors), (to, tensors("w", to as f32)));
        assert!(read.setback.unwrap().contains(file));
        read.state
    };
    goes_back(2, "tensors-3");
    fs::write(&third, &lost[..lost.len() - 1]).unwrap();
    state = goes_back(2, "tensors-3");
    state.step = 4;
    state.save(&path, tensors("w", 4.0), Tensors::new(), Tensors::new()).unwrap();
    let read = Checkpoint::read(&run).unwrap().unwrap();
    assert_eq!((read.state.step, read.tensors, read.setback), (4, tensors("w", 4.0), None));
    // A copy of the lost file that turns up late has the name of the new one.
    fs::write(&third, lost).unwrap();
    goes_back(2, "it is of 0 epochs and 3 steps");
    fs::write(path.join("state.json"), "{").unwrap();
    goes_back(2, "state.json");
    fs::remove_file(path.join("state.json")).unwrap();
    goes_back(2, "state.json");
    for name in ["state.json", "previous.json"] {
        fs::write(path.join(name), "{").unwrap();
    }
    assert!(matches!(Checkpoint::read(&run), Err(TrainError::Checkpoint { .. })));
}

/// A best model that is older than the state says did not come along with it.
#[test]
fn the_best_model_belongs_to_the_save() {
    let (_folder, run) = run();
    let mut state = state();
    let card = state.card.clone();
    let tensors = Architecture::ResNet18.graph(1).initialise(0);
    let write_best = |epoch: u32| {
        let card = ModelCard { epoch, ..card.clone() };
        Model { card, tensors: tensors.clone() }.write(&run.best()).unwrap();
    };
    for epoch in 1..=2 {
        state.epochs_done = epoch;
        state.rows.push(row(epoch));
        state.best = Some(epoch);
        write_best(epoch);
        state.save(&run.checkpoint(), self::tensors("w", 0.0), Tensors::new(), Tensors::new()).unwrap();
    }
    write_best(1);
    let read = Checkpoint::read(&run).unwrap().unwrap();
    assert!(read.state.best == Some(1) && read.setback.unwrap().contains("best.safetensors"));
    // A later one than the state's is made again on the way.
    write_best(3);
    let read = Checkpoint::read(&run).unwrap().unwrap();
    assert!(read.state.best == Some(2) && read.setback.is_none());
    // Without any, the training goes on all the same.
    // The state has an average that the file is not.
    state.averaged = Some(EpochMetrics { val_acc: 0.75, ..row(2) });
    write_best(2);
    state.save(&run.checkpoint(), self::tensors("w", 0.0), Tensors::new(), Tensors::new()).unwrap();
    let read = Checkpoint::read(&run).unwrap().unwrap();
    assert!(read.state.averaged.is_none() && read.setback.unwrap().contains("best.safetensors"));
    fs::remove_file(run.best()).unwrap();
    let read = Checkpoint::read(&run).unwrap().unwrap();
    assert!(read.state.best.is_none() && read.state.rows.len() == 2);
    assert!(read.setback.unwrap().contains("the best of the epochs that come"));
}

#[test]
fn a_state_of_an_earlier_version_is_read() {
    let (_folder, run) = run();
    let mut saved = state();
    saved.save(&run.checkpoint(), tensors("w", 1.0), Tensors::new(), Tensors::new()).unwrap();
    let path = run.checkpoint().join("state.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let fields = json.as_object_mut().unwrap();
    for later in ["class_weights", "ended", "elapsed", "learning_rate", "candidates", "averaged"] {
        fields.remove(later).unwrap();
    }
    fs::write(&path, json.to_string()).unwrap();
    assert_eq!(Checkpoint::read(&run).unwrap().unwrap().state, saved);
}

#[test]
fn candidates_stay_while_the_state_names_them() {
    let (_folder, run) = run();
    let path = run.checkpoint();
    let mut state = state();
    for epoch in 1..=4 {
        keep_candidate(&path, epoch, &tensors("w", epoch as f32)).unwrap();
        state.candidates = if epoch > 2 { vec![3, 1] } else { (1..=epoch).collect() };
        state.save(&path, tensors("w", 0.0), Tensors::new(), Tensors::new()).unwrap();
        assert_eq!(path.join("epoch-2.safetensors").exists(), [2, 3].contains(&epoch), "one save longer");
    }
    assert_eq!(read_candidate(&path, 1).unwrap(), tensors("w", 1.0));
    let error = read_candidate(&path, 2).unwrap_err().to_string();
    assert!(error.contains("epoch-2.safetensors"), "{error}");
    assert_eq!(Checkpoint::read(&run).unwrap().unwrap().state.candidates, [3, 1]);
    fs::remove_file(path.join("epoch-3.safetensors")).unwrap();
    assert!(matches!(Checkpoint::read(&run), Err(TrainError::Checkpoint { .. })));
}

#[test]
fn a_damaged_candidate_sends_a_run_back_and_a_refusal_does_not() {
    let (_folder, run) = run();
    let path = run.checkpoint();
    let mut state = state();
    for epoch in 1..=2 {
        keep_candidate(&path, epoch, &tensors("w", epoch as f32)).unwrap();
        state.candidates = (1..=epoch).collect();
        state.save(&path, tensors("w", 0.0), Tensors::new(), Tensors::new()).unwrap();
    }
    let kept = path.join("epoch-2.safetensors");
    let whole = fs::read(&kept).unwrap();
    fs::write(&kept, &whole[..whole.len() - 1]).unwrap();
    let read = Checkpoint::read(&run).unwrap().unwrap();
    assert!(read.state.candidates == [1] && read.setback.unwrap().contains("epoch-2.safetensors"));
    // What can't be read now may be whole.
    fs::remove_file(path.join("state.json")).unwrap();
    fs::create_dir(path.join("state.json")).unwrap();
    let error = Checkpoint::read(&run).err().unwrap().to_string();
    assert!(error.contains("state.json") && kept.exists(), "{error}");
}

#[test]
fn a_later_format_is_refused() {
    let (_folder, run) = run();
    let mut later = State { format: FORMAT + 1, ..state() };
    later.save(&run.checkpoint(), Tensors::new(), Tensors::new(), Tensors::new()).unwrap();
    // Nothing is lost, so the save before must not take over.
    state().write(&run.checkpoint().join("previous.json")).unwrap();
    let error = Checkpoint::read(&run).err().unwrap();
    assert!(error.to_string().contains("format 2"), "{error}");
}
