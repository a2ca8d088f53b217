use std::str::FromStr;

use clap::Args;
use clap::builder::BoolishValueParser;
use pugmark_train::TimeBudget;
use serde::Serialize;

/// How the steps of a training go, and where they end.
#[derive(Args, Serialize, Debug, Default)]
#[command(next_help_heading = "Steps")]
pub(crate) struct StepFlags {
    /// Epochs in which the learning rate rises to where the schedule begins; may be a part of one
    #[arg(long, value_name = "EPOCHS")]
    warmup_epochs: Option<f64>,

    /// Where the schedule `cosine` ends
    #[arg(long, value_name = "X")]
    min_learning_rate: Option<f64>,

    /// Epochs between two drops of the schedule `step`
    #[arg(long, value_name = "EPOCHS")]
    step_epochs: Option<u32>,

    /// What such a drop leaves of the learning rate
    #[arg(long, value_name = "X")]
    step_factor: Option<f64>,

    /// Each block of the model learns at this share of the rate of the next one; 1 is off
    #[arg(long, value_name = "X")]
    layer_decay: Option<f64>,

    /// Weight decay pulls at norms and biases too
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new())]
    decay_norms: Option<bool>,

    /// Largest norm of all gradients together; 0 is off
    #[arg(long, value_name = "X")]
    clip_norm: Option<f64>,

    /// Largest value of a gradient; 0 is off
    #[arg(long, value_name = "X")]
    clip_value: Option<f64>,

    /// Largest norm of a gradient as a share of its weights', such as 0.01; 0 is off
    #[arg(long, value_name = "X")]
    clip_adaptive: Option<f64>,

    /// Batches in a step of the optimiser
    #[arg(long, value_name = "N")]
    accumulate: Option<u32>,

    /// Show every class equally often: draw the photos of an epoch with replacement
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new())]
    balanced_sampling: Option<bool>,

    /// Evaluate and save a running average of the weights with this decay, such as 0.999; 0 is off
    #[arg(long, value_name = "X")]
    ema: Option<f64>,

    /// Average the N best epochs at the end, one after the other, where validation does not get worse; 0 is off
    #[arg(long, value_name = "N")]
    average_best: Option<u32>,

    /// End after so many epochs without a better one; 0 is off
    #[arg(long, value_name = "EPOCHS")]
    early_stopping: Option<u32>,

    /// End in time, validation included: 30m, 1h30m; a schedule is cut to it
    #[arg(long, value_name = "TIME", value_parser = word::<TimeBudget>)]
    time_budget: Option<String>,

    /// End after so many steps of the optimiser; 0 is off
    #[arg(long, value_name = "N")]
    max_steps: Option<u64>,

    /// Train the whole model after so many epochs with `--freeze`; 0 is off
    #[arg(long, value_name = "EPOCHS")]
    unfreeze_after: Option<u32>,

    /// Memory that `--batch-size auto` may fill; 0 takes most of what is free
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
}

/// A word that means a `T`.
pub(in crate::arguments) fn word<T: FromStr>(text: &str) -> Result<String, T::Err> {
    text.parse::<T>().map(|_| text.to_owned())
}

/// `auto`, or a number of photos.
pub(super) fn batch_size(text: &str) -> Result<String, String> {
    match text.parse::<u32>() {
        Err(_) if text != "auto" => Err(format!("`{text}` is no number of photos, nor auto")),
        Ok(0) => Err("it must be 1 or more, or auto".into()),
        _ => Ok(text.to_owned()),
    }
}
