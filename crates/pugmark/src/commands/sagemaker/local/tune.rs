//! `local tune`: a tuning job and its trainings.

mod config;
mod search;

use serde_json::{Value, json};

use super::attendant::Foreground;
use super::job::{Job, Kind, first};
use super::plan::{Plan, check};
use super::train::shown;
use crate::arguments::LocalTuneArguments;
use crate::error::{ExitStatus, WrongCall};
use crate::interrupt::Requests;
use crate::printer::Printer;
use config::Config;
use search::{Search, counters, summary};

pub(super) fn run(arguments: &LocalTuneArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let mut plan = Plan::new(&arguments.training, &arguments.job)?;
    let config = Config::read(&arguments.config, &plan.hyperparameters)?;
    let metric = &config.objective.metric_name;
    if !plan.metrics.definitions().any(|definition| definition.name == *metric) {
        let names: Vec<&str> =
            plan.metrics.definitions().map(|definition| definition.name.as_str()).collect();
        return Err(WrongCall::new(format!("no metric is called {metric}"))
            .with_hint(format!("the log tells {}", names.join(", ")))
            .into());
    }
    plan.hyperparameters.insert("_tuning_objective_metric".to_owned(), metric.clone());
    let mut all = plan.hyperparameters.clone();
    all.extend(config.space.parameters.iter().map(|parameter| (parameter.name.clone(), String::new())));
    check(&all)?;
    share_the_machine(&mut plan, config.parallel);
    let requests = Requests::listen()?;
    let mut job = Job::create(&arguments.job, Kind::Tuning)?;
    job.set("HyperParameterTuningJobConfig", config.json.clone());
    job.set("TrainingJobDefinition", json!({"StaticHyperParameters": plan.hyperparameters}));
    let attendant = Foreground { printer, requests: &requests };
    let mut search = Search::new(&config, &plan, &attendant, &arguments.job.out);
    let ended = search.run(&mut job);
    if let Err(error) = ended {
        job.set("FailureReason", first(&format!("{error:#}"), 1024));
        job.status("Failed")?;
        return Err(error);
    }
    tell(&search, &job, arguments.json, printer)?;
    match job.description()["HyperParameterTuningJobStatus"].as_str() {
        Some("Completed") => Ok(ExitStatus::Done),
        Some("Stopped") => Ok(ExitStatus::Interrupted),
        _ => Err(job.failed("no training reported the objective")),
    }
}

/// Trainings at once share the processor, where nothing says how; on AWS each has its own.
fn share_the_machine(plan: &mut Plan, parallel: u32) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = (cores / parallel as usize).max(1).to_string();
    let given: Vec<String> = plan.hyperparameters.keys().map(|key| key.replace('-', "_")).collect();
    for (name, variable) in [("threads", "PUGMARK_THREADS"), ("loader_threads", "PUGMARK_LOADER_THREADS")] {
        if parallel > 1 && !given.iter().any(|key| key == name) {
            plan.environment.entry(variable.to_owned()).or_insert_with(|| share.clone());
        }
    }
}

fn tell(search: &Search<'_>, job: &Job, as_json: bool, printer: &Printer) -> anyhow::Result<()> {
    if as_json {
        return printer.json(job.description());
    }
    let counters = counters(&search.trials);
    let counts: Vec<String> = ["Completed", "Stopped", "NonRetryableError"]
        .into_iter()
        .filter_map(|name| Some((name, counters[name].as_u64().filter(|&count| count > 0)?)))
        .map(|(name, count)| format!("{count} {}", if name == "NonRetryableError" { "Failed" } else { name }))
        .collect();
    let mut lines = vec![format!("{}: {} trainings: {}", job.name, search.trials.len(), counts.join(", "))];
    if let Some(best) = search.best() {
        let metric: &Value = &summary(best, search.config)["FinalHyperParameterTuningJobObjectiveMetric"];
        let settings: Vec<String> =
            best.trial.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        lines.push(format!(
            "best   {}: {} {}; {}",
            best.name,
            search.config.objective.metric_name,
            metric["Value"],
            settings.join(" ")
        ));
        let model = best.folder.join("output/model.tar.gz");
        lines.push(format!("model  {}", shown(&model)));
    }
    lines.push(format!("job    {}", shown(&job.folder)));
    printer.result(&lines.join("\n"))
}
