//! A training for each fold: every photo is measured by the run that did not see it.

mod summary;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use pugmark_data::{Dataset, Item, Part, Split, SplitOptions, split_with};
use pugmark_engine::Engine;
use pugmark_model::{Classifier, ModelError, RunFolder, write_atomic};
use pugmark_train::{Mode, TrainSettings, train};

use super::observer::Progressing;
use crate::commands::predictions;
use crate::error::{ExitStatus, WrongCall};
use crate::printer::Printer;
use summary::{OutOfFold, Summary};

/// The settings of all folds; it makes a folder one that `--resume` goes on with.
const SETTINGS: &str = "folds.toml";
const SPLIT: &str = "split.csv";
const PREDICTIONS: &str = "predictions.csv";
const SUMMARY: &str = "summary.json";

/// The runs of all folds, in one folder.
pub(super) struct Folds<'a> {
    pub(super) data: &'a Dataset,
    pub(super) settings: TrainSettings,
    pub(super) out: PathBuf,
    pub(super) engine: &'a dyn Engine,
    pub(super) stop: &'a AtomicBool,
    pub(super) printer: &'a Printer,
}

/// The settings file of a folder of folds; none where it is none.
pub(super) fn settings_file(folder: &Path) -> Option<PathBuf> {
    Some(folder.join(SETTINGS)).filter(|file| file.is_file())
}

impl Folds<'_> {
    /// Trains all folds in a new folder, or in place of the runs that are there.
    pub(super) fn start(mut self, folds: u32, overwrite: bool) -> anyhow::Result<ExitStatus> {
        let split = self.split(folds)?;
        let csv = split.to_csv(self.data);
        self.check_folder(&csv, folds, overwrite)?;
        if let Some(warning) = &split.warning {
            self.printer.warning(warning);
        }
        let save = |name: &str, text: &str| {
            let path = self.out.join(name);
            write_atomic(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
        };
        fs::create_dir_all(&self.out).with_context(|| format!("cannot make {}", self.out.display()))?;
        if overwrite {
            // All at once: a resume must not take a fold of before for one of these.
            for run in (1..=folds).map(|fold| self.run(fold)).filter(|run| RunFolder::open(run).is_ok()) {
                RunFolder::overwrite(&run)?;
            }
        }
        save(SPLIT, &csv)?;
        let split_file = self.out.join(SPLIT);
        self.settings.split_file = Some(std::path::absolute(&split_file).unwrap_or(split_file));
        self.settings = self.settings.resolved(self.data);
        let head = "# The settings of all folds; `pugmark train --resume` with this folder goes on.\n\n";
        save(SETTINGS, &(head.to_owned() + &toml::to_string(&self.settings)?))?;
        self.train(folds)
    }

    /// Goes on where the folds were left.
    pub(super) fn resume(self) -> anyhow::Result<ExitStatus> {
        let folds = Split::from_csv(&self.out.join(SPLIT), self.data)?.fold_count();
        self.train(folds)
    }

    /// The split in folds: that of the file, or a new one.
    fn split(&self, folds: u32) -> anyhow::Result<Split> {
        let Some(file) = &self.settings.split_file else {
            let options = SplitOptions { folds, ..SplitOptions::default() };
            return Ok(split_with(self.data, &self.settings.split_settings(), &options)?);
        };
        let (split, _) = Split::earlier(file, self.data)?;
        let wrong = match split.fold_count() {
            found if found == folds => {
                // Reads it as every fold will, to find what is wrong with it now.
                Split::exactly(file, self.data, Some(1), self.settings.skip_missing)?;
                return Ok(split);
            }
            0 => WrongCall::new(format!("{} has no folds", file.display())).with_hint(format!(
                "`pugmark split DATA --folds {folds}` makes some, as does leaving --split-file out"
            )),
            found => WrongCall::new(format!("--folds is {folds} and {} has {found} folds", file.display()))
                .with_hint(format!("`--folds {found}` takes them as they are")),
        };
        Err(wrong.into())
    }

    /// Refuses a folder that holds anything else, or folds that are not to be replaced.
    fn check_folder(&self, split: &str, folds: u32, overwrite: bool) -> anyhow::Result<()> {
        if self.out.join(SETTINGS).is_file() && !overwrite {
            return Err(ModelError::HoldsRun { path: self.out.clone() }.into());
        }
        let entries = match fs::read_dir(&self.out) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.with_context(|| format!("cannot read {}", self.out.display()))?,
        };
        let ours = self.out.join(SETTINGS).is_file();
        // A kill before the settings were written leaves the very same split.
        let half = fs::read(self.out.join(SPLIT)).is_ok_and(|bytes| bytes == split.as_bytes());
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        let known = |name: &str| match name {
            SPLIT => ours || half,
            SETTINGS | PREDICTIONS | SUMMARY => ours,
            _ => ours && (1..=folds).any(|fold| name == format!("fold-{fold}")),
        };
        match names.into_iter().find(|name| !known(name)) {
            Some(name) => Err(ModelError::HoldsOtherFiles { path: self.out.clone(), name }.into()),
            None => Ok(()),
        }
    }

    fn train(&self, folds: u32) -> anyhow::Result<ExitStatus> {
        let split = Split::from_csv(&self.out.join(SPLIT), self.data)?;
        for name in [PREDICTIONS, SUMMARY] {
            // They are of other runs, or made again from the same.
            let _ = fs::remove_file(self.out.join(name));
        }
        for fold in 1..=folds {
            self.printer.note(&format!("fold {fold} of {folds}"));
            let settings = TrainSettings { fold: Some(fold), ..self.settings.clone() };
            let run = self.run(fold);
            let mode = match RunFolder::open(&run) {
                Ok(_) => Mode::Resume,
                Err(_) => Mode::New,
            };
            let mut observer = Progressing::new(self.printer, self.stop);
            let outcome = train(self.data, &settings, &run, mode, self.engine, self.stop, &mut observer)?;
            drop(observer);
            if outcome.interrupted {
                self.printer.note(&format!(
                    "interrupted in fold {fold} of {folds}; everything is saved\ngo on with: pugmark train --resume {}",
                    self.out.display()
                ));
                return Ok(ExitStatus::Interrupted);
            }
            super::draw(&RunFolder::open(&run)?, self.printer);
            if let Some(finding) = &outcome.stopped_by {
                return Err(super::stopped(finding));
            }
        }
        self.summarise(folds, &split)
    }

    fn run(&self, fold: u32) -> PathBuf {
        self.out.join(format!("fold-{fold}"))
    }

    /// Writes what every photo was taken for by the run that did not see it, and how good that is.
    fn summarise(&self, folds: u32, split: &Split) -> anyhow::Result<ExitStatus> {
        let mut found = Vec::new();
        for fold in 1..=folds {
            let run = self.run(fold);
            let rows = match predictions::read(&run.join(PREDICTIONS), &self.data.classes)? {
                (Some(Part::Val), rows) => rows,
                // The run's own predictions are of its test part.
                _ => self.predict(&run, fold, split)?,
            };
            found.push(OutOfFold { fold, run, rows });
        }
        let save = |name: &str, bytes: Vec<u8>| {
            let path = self.out.join(name);
            write_atomic(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))
        };
        let classes = &self.data.classes;
        save(PREDICTIONS, summary::to_csv(classes, &found)?)?;
        let summary = Summary::new(classes, &split.how, &found)?;
        let mut json = serde_json::to_vec_pretty(&summary)?;
        json.push(b'\n');
        save(SUMMARY, json)?;
        self.printer.result(&summary.table(&self.out))?;
        Ok(ExitStatus::Done)
    }

    /// Shows a run the photos of its fold.
    fn predict(
        &self,
        run: &Path,
        fold: u32,
        split: &Split,
    ) -> anyhow::Result<Vec<pugmark_model::Prediction>> {
        let parts = split.fold(fold).map(|split| split.indices(Part::Val)).unwrap_or_default();
        let items: Vec<Item> = parts.iter().map(|&index| Item::from(&self.data.samples[index])).collect();
        // It was chosen by the run where it is automatic.
        let batch_size = TrainSettings::read(&RunFolder::open(run)?.config())?.batch_size;
        let mut classifier = Classifier::open(run, self.engine, batch_size)?;
        let mut rows = Vec::with_capacity(items.len());
        classifier.predict(items, self.settings.loader_threads, &mut |prediction| {
            rows.push(prediction);
            std::ops::ControlFlow::Continue(())
        })?;
        Ok(rows)
    }
}
