//! From a data set to a run.

mod find;
mod folds;
mod observer;

use std::path::{Path, PathBuf};

use anyhow::Context;
use pugmark_data::ReadOptions;
use pugmark_engine::{DeviceChoice, Freeze};
use pugmark_model::{RunFolder, hub, write_atomic};
use pugmark_train::profile::PhaseTime;
use pugmark_train::{Finding, Mode, Outcome, Profile, ShippedRecipe, TrainSettings, train};

use super::{data, report};
use crate::arguments::{TrainArguments, TrainFlags};
use crate::container::TrainingJob;
use crate::engine;
use crate::error::{ExitStatus, Stopped, WrongCall};
use crate::interrupt;
use crate::printer::Printer;
use crate::settings::{Resolved, Sources};
use folds::Folds;
pub(super) use observer::Progressing;

/// The recipe for pretrained weights where no other is named.
const FINE_TUNING: &str = "finetune";

pub(crate) fn run(arguments: &TrainArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    // A container's first process gets no signal that it does not listen for: before anything that takes long.
    let stop = interrupt::stop_flag()?;
    let job = if arguments.resume.is_some() { None } else { TrainingJob::find()? };
    if job.is_some() && (arguments.folds.is_some() || arguments.find_learning_rate) {
        return Err(WrongCall::new(
            "a training job makes one model: it takes no --folds and no --find-learning-rate",
        )
        .with_hint("a processing job runs `pugmark train DATA --out ... --folds 5`")
        .into());
    }
    let resumed = match &job {
        Some(job) => job.has_begun().then(|| Resumed::of(job.run())).transpose()?,
        None => resumed(arguments)?,
    };
    let TrainArguments { training, config, dataset, .. } = arguments;
    let run = resumed.as_ref().map(|run| run.config.as_path());
    let sources = || -> Result<Sources, WrongCall> {
        let file = Sources::new(run.or(config.config.as_deref()))?;
        Ok(file.with_job(job.as_ref().map(TrainingJob::settings)))
    };
    let dataset = match &job {
        Some(job) if !(arguments.names_data() || job.names_data()) => Some(job.data()?),
        _ => dataset.clone(),
    };
    let mut settings = settings(training, sources()?, dataset.as_deref(), run, printer)?;
    if arguments.use_cuda == Some(true) && settings.device == DeviceChoice::Cpu {
        settings.device = DeviceChoice::Auto;
    }
    let data = settings.data.clone().ok_or_else(|| {
        WrongCall::new("no data set is named").with_hint(
            "name one: `pugmark train DATA`, `PUGMARK_DATA`, or `data = \"...\"` in the configuration file",
        )
    })?;
    let options = ReadOptions {
        photos: settings.photos.clone(),
        skip_missing: settings.skip_missing,
        allow_empty_class: settings.allow_empty_class,
        crop: None,
    };
    let storage = sources()?.resolve(&arguments.storage)?.settings;
    let dataset = data::read(&data, &options, &storage, printer)?;
    let (out, mode) = match (&resumed, &arguments.out) {
        (Some(Resumed { folder, .. }), _) => (folder.clone(), Mode::Resume),
        (None, Some(out)) => (out.clone(), if arguments.overwrite { Mode::Overwrite } else { Mode::New }),
        (None, None) => match &job {
            Some(job) => (job.run(), Mode::New),
            None => (free_folder(&data, ""), Mode::New),
        },
    };
    let engine = engine::open(settings.device, settings.threads, settings.precision, printer)?;
    // The run keeps what was chosen here, wherever it goes on.
    settings.precision = engine.precision().into();
    if arguments.find_learning_rate {
        return find::run(&dataset, &settings, &out, arguments.overwrite, &*engine, &stop, printer);
    }
    let resumed_folds = resumed.as_ref().is_some_and(|resumed| resumed.is_folds);
    if arguments.folds.is_some() || resumed_folds {
        if arguments.model_dir.is_some() {
            printer.warning("--model-dir is for one model: the folds' models stay in their runs");
        }
        let folds = Folds { data: &dataset, settings, out, engine: &*engine, stop: &stop, printer };
        return match arguments.folds {
            Some(count) if !resumed_folds => folds.start(count, arguments.overwrite),
            _ => folds.resume(),
        };
    }
    let mut observer = Progressing::new(printer, &stop);
    let outcome = train(&dataset, &settings, &out, mode, &*engine, &stop, &mut observer)?;
    drop(observer);

    if outcome.interrupted
        && let Some(job) = &job
    {
        job.deliver(&RunFolder::open(&out)?)?;
        printer.note("the platform ends the job: everything is saved, with the best model so far");
        return Ok(ExitStatus::Done);
    }
    if outcome.interrupted {
        printer.note(&format!(
            "interrupted after {} of {} epochs; everything is saved\ngo on with: pugmark train --resume {}",
            outcome.epochs_done,
            settings.epochs,
            out.display()
        ));
        return Ok(ExitStatus::Interrupted);
    }
    let folder = RunFolder::open(&out)?;
    if let Some(models) = &arguments.model_dir {
        copy_best(&folder, models)?;
    }
    draw(&folder, printer);
    if let Some(job) = &job {
        job.deliver(&folder)?;
    }
    if settings.profile && folder.profile().exists() {
        tell_profile(&folder, printer);
    }
    printer.result(&summary(&outcome, &settings, &folder))?;
    match &outcome.stopped_by {
        Some(finding) => Err(stopped(finding)),
        None => Ok(ExitStatus::Done),
    }
}

/// Why a training that the watch ended did not do what it was to do.
fn stopped(finding: &Finding) -> anyhow::Error {
    let Finding { rule, tensor, step, text, advice, command, .. } = finding;
    Stopped {
        message: format!("the watch ended the training in step {step}: {rule}: {tensor}: {text}"),
        hint: format!("{advice}: {command}"),
    }
    .into()
}

/// Draws the run's page. The training is done and saved, and the page can be made again: an error is but a warning.
pub(super) fn draw(run: &RunFolder, printer: &Printer) {
    if let Err(error) = report::of_run(run) {
        printer.warning(&format!("no page was drawn: {error:#}"));
    }
}

/// Says in a few lines where the time went; an error is but a warning.
fn tell_profile(run: &RunFolder, printer: &Printer) {
    let profile = match Profile::read(&run.profile()) {
        Ok(profile) => profile,
        Err(error) => return printer.warning(&error.to_string()),
    };
    let mut phases = profile.phases.clone();
    phases.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let part = |time: &PhaseTime| {
        format!(
            "{} {} ({:.0} %)",
            time.phase.name(),
            report::time(time.seconds),
            100.0 * time.seconds / profile.seconds
        )
    };
    let longest: Vec<String> = phases.iter().take(5).map(part).collect();
    printer.note(&format!("profile: {} in all: {}", report::time(profile.seconds), longest.join(", ")));
    printer.note(&format!("profile: {}", profile.verdict));
    if let Some(outlier) = profile.steps.as_ref().and_then(|steps| steps.outliers.first()) {
        printer.note(&format!(
            "profile: the longest step, {} of epoch {}, took {} because of {}",
            outlier.step,
            outlier.epoch,
            report::time(outlier.seconds),
            outlier.cause.name()
        ));
    }
    printer.note(&format!("profile: {} opens in ui.perfetto.dev", run.trace().display()));
}

/// What `--resume` goes on with.
struct Resumed {
    folder: PathBuf,
    /// Where its settings are.
    config: PathBuf,
    /// It holds the runs of all folds.
    is_folds: bool,
}

impl Resumed {
    /// A run that is no folder of folds.
    fn of(folder: PathBuf) -> anyhow::Result<Self> {
        let config = RunFolder::open(&folder)?.config();
        Ok(Self { folder, config, is_folds: false })
    }
}

/// The run that `--resume` names, itself or through `--out`.
fn resumed(arguments: &TrainArguments) -> anyhow::Result<Option<Resumed>> {
    let run = match (&arguments.resume, &arguments.out) {
        (None, _) => return Ok(None),
        (Some(Some(run)), Some(out)) if run != out => {
            return Err(WrongCall::new(format!(
                "--resume names {} and --out names {}",
                run.display(),
                out.display()
            ))
            .with_hint("a run goes on in its own folder: leave --out out")
            .into());
        }
        (Some(Some(run)), _) | (Some(None), Some(run)) => run,
        (Some(None), None) => {
            return Err(WrongCall::new("--resume names no run")
                .with_hint("`pugmark train --resume RUN`")
                .into());
        }
    };
    Ok(Some(match folds::settings_file(run) {
        Some(config) => Resumed { folder: run.clone(), config, is_folds: true },
        None => Resumed::of(run.clone())?,
    }))
}

/// The training's settings, checked; a bad value is told with the place it stands in. A run that goes on has all of them in
/// its `config.toml`, `resumed`, which is among the sources.
pub(super) fn settings(
    training: &TrainFlags,
    sources: Sources,
    dataset: Option<&Path>,
    resumed: Option<&Path>,
    printer: &Printer,
) -> anyhow::Result<TrainSettings> {
    let recipe = training.recipe();
    let (sources, open) = match resumed {
        Some(_) => (sources, false),
        None => {
            let open = sources.leave_the_recipe_open(recipe);
            (sources.with_recipe(recipe)?, open)
        }
    };
    let resolve = |sources: &Sources| sources.resolve::<_, TrainSettings>(training);
    let mut resolved = resolve(&sources)?;
    // A frozen backbone is for speed: its features are computed once, which the recipe's augmentation would undo.
    let from_weights =
        resolved.settings.weights.as_ref().is_some_and(|weights| weights.as_os_str() != "none");
    if open && from_weights && resolved.settings.freeze != Freeze::Backbone {
        printer.note(&format!("recipe {FINE_TUNING}, since there are weights to start from; `--recipe none` takes plain settings"));
        resolved = resolve(&sources.with_recipe(Some(FINE_TUNING))?)?;
        resolved.settings.recipe = Some(FINE_TUNING.to_owned());
    }
    let Resolved { mut settings, origins } = resolved;
    // A shipped recipe's warm-up is for its own number of epochs; whoever asks for fewer still gets some of both.
    if origins.get("warmup_epochs").is_some_and(|origin| origin.to_string().starts_with("recipe ")) {
        settings.warmup_epochs = settings.warmup_epochs.min(f64::from(settings.epochs) / 2.0);
    }
    settings.validate().map_err(|error| {
        let origin = origins.get(error.name).map_or_else(|| error.name.to_owned(), ToString::to_string);
        WrongCall::new(format!("{origin} is {}: {}", error.value, error.why))
    })?;
    settings.data = dataset.map(Path::to_owned).or(settings.data);
    settings.feature_folder = hub::cache_dir().ok().map(|weights| weights.with_file_name("features"));
    if let Some(recipe) = &mut settings.recipe
        && ShippedRecipe::find(recipe).is_none()
        && Path::new(recipe).exists()
    {
        *recipe = std::path::absolute(&*recipe)?.to_string_lossy().into_owned();
    }
    // A resumed run has its weights in its checkpoint; the file they came from may be gone.
    let started_from = resumed.map(TrainSettings::read).transpose()?;
    if let Some(run) = &started_from {
        settings.recipe.clone_from(&run.recipe);
    }
    if let Some(weights) = &settings.weights
        && started_from.is_none_or(|run| run.weights.as_ref() != Some(weights))
    {
        let source = hub::resolve(&weights.to_string_lossy(), None)?;
        settings.weights = source.path().map(std::path::absolute).transpose()?;
    }
    Ok(settings)
}

/// `runs/NAME-N` with the first free number, and what it is behind the name.
pub(super) fn free_folder(data: &Path, kind: &str) -> PathBuf {
    // `.` and `..` have no name before they are resolved.
    let resolved = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let name = resolved.file_stem().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned());
    let mut numbered = (1_u32..).map(|number| Path::new("runs").join(format!("{name}{kind}-{number}")));
    numbered.find(|folder| !folder.exists()).unwrap_or_default()
}

fn copy_best(run: &RunFolder, folder: &Path) -> anyhow::Result<()> {
    let copy = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        write_atomic(&folder.join("best.safetensors"), &std::fs::read(run.best())?)
    };
    copy().with_context(|| format!("cannot copy the best model to {}", folder.display()))
}

fn summary(outcome: &Outcome, settings: &TrainSettings, run: &RunFolder) -> String {
    let mut lines = Vec::new();
    if let Some(best) = &outcome.best {
        lines.push(format!(
            "best epoch {} of {}: validation accuracy {:.4}, log loss {:.4}",
            best.epoch, settings.epochs, best.val_acc, best.val_loss
        ));
    }
    if let Some(test) = &outcome.test {
        lines.push(format!(
            "test part: accuracy {:.4}, log loss {:.4} after calibration ({} photos)",
            test.accuracy, test.log_loss, test.images
        ));
    }
    let folder = run.path().display();
    lines.push(format!("model  {}", run.best().display()));
    lines.push(format!("next   pugmark eval {folder}"));
    lines.push(format!("       pugmark predict {folder} PHOTOS --out predictions.csv"));
    lines.join("\n")
}
