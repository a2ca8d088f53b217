//! Jobs: created once, looked at until they end, stopped.

use serde_json::{Value, json};

use super::Refusal;
use super::state::{State, Step, arn, step};

/// Nouns of jobs, with the member that their lists have.
const JOBS: [(&str, &str); 4] = [
    ("TrainingJob", "TrainingJobSummaries"),
    ("ProcessingJob", "ProcessingJobSummaries"),
    ("TransformJob", "TransformJobSummaries"),
    ("HyperParameterTuningJob", "HyperParameterTuningJobSummaries"),
];

impl State {
    pub(super) fn job(&mut self, verb: &str, noun: &str, request: &Value) -> Result<Value, Refusal> {
        let known = JOBS
            .iter()
            .find(|job| job.0 == noun || (verb == "List" && noun.strip_suffix('s') == Some(job.0)));
        let Some((noun, items)) = known else { return Err(Refusal::new("UnknownOperationException", noun)) };
        let name = request[format!("{noun}Name")].as_str().unwrap_or_default();
        match verb {
            "Create" => self.create_job(noun, name, request),
            "Describe" => {
                let mut answer = self.look(noun, name)?;
                finish(noun, &mut answer);
                Ok(answer)
            }
            "List" => self.list(noun, items, request),
            "Stop" => self.stop_job(noun, name),
            _ => Err(Refusal::new("UnknownOperationException", format!("{verb}{noun}"))),
        }
    }

    fn create_job(&mut self, noun: &'static str, name: &str, request: &Value) -> Result<Value, Refusal> {
        if self.get(noun, name).is_ok() {
            let message = format!(
                "{noun} names must be unique within an AWS account and region, and one with this name already exists ({})",
                arn(noun, name)
            );
            return Err(Refusal::new("ResourceInUse", message));
        }
        if noun == "TransformJob" {
            self.get("Model", request["ModelName"].as_str().unwrap_or_default())?;
        }
        let condition = &request["StoppingCondition"];
        if request["EnableManagedSpotTraining"] == true
            && condition["MaxWaitTimeInSeconds"].as_u64() < condition["MaxRuntimeInSeconds"].as_u64()
        {
            return Err(Refusal::validation("MaxWaitTimeInSeconds must be at least MaxRuntimeInSeconds"));
        }
        let steps = self.scripts.remove(name).unwrap_or_else(|| usual(noun).into());
        self.add(noun, name, request.clone(), steps);
        let mut answer = json!({});
        answer[format!("{noun}Arn")] = arn(noun, name).into();
        Ok(answer)
    }

    fn stop_job(&mut self, noun: &'static str, name: &str) -> Result<Value, Refusal> {
        let job = self.get(noun, name)?;
        if job.status() != "InProgress" {
            let message =
                format!("The request was rejected because the {noun} is in status {}.", job.status());
            return Err(Refusal::validation(message));
        }
        job.steps = [step("Stopping").detail("Stopping"), step("Stopped").detail("Stopped")].into();
        job.seen = false;
        Ok(json!({}))
    }
}

/// What becomes of a job without a script.
fn usual(noun: &str) -> Vec<Step> {
    let running = || step("InProgress");
    match noun {
        "TrainingJob" => vec![
            running().detail("Starting"),
            running().detail("Downloading"),
            running().detail("Training").line("algo-1", "[METRICS] epoch=1; train_loss=0.5; val_loss=0.6;"),
            running().detail("Uploading"),
            step("Completed").detail("Completed"),
        ],
        _ => vec![running(), step("Completed")],
    }
}

/// Members that SageMaker adds to what was asked for.
fn finish(noun: &str, answer: &mut Value) {
    match noun {
        "TrainingJob" => {
            let output = answer["OutputDataConfig"]["S3OutputPath"].as_str().unwrap_or_default();
            let name = answer["TrainingJobName"].as_str().unwrap_or_default();
            let model = format!("{}/{name}/output/model.tar.gz", output.trim_end_matches('/'));
            answer["ModelArtifacts"] = json!({"S3ModelArtifacts": model});
        }
        "HyperParameterTuningJob" => {
            answer["TrainingJobStatusCounters"] = json!({});
            answer["ObjectiveStatusCounters"] = json!({});
        }
        _ => {}
    }
}
