use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use pugmark_eval::Combine;

/// Several models that answer together.
#[derive(Args, Debug)]
#[command(next_help_heading = "Ensemble")]
pub(crate) struct EnsembleFlags {
    /// Another run or model file that answers together with RUN; may be given several times
    #[arg(long, value_name = "RUN")]
    pub(crate) with: Vec<PathBuf>,

    /// How their probabilities become one: `mean`, or `geometric` (the mean of the logarithms)
    #[arg(long, value_name = "HOW", default_value = Combine::Mean.name(), requires = "with")]
    #[arg(value_parser = PossibleValuesParser::new(Combine::MODELS.map(Combine::name)))]
    pub(crate) combine: String,

    /// How much each model counts, RUN first: `0.5,0.3,0.2` [default: all the same]
    #[arg(
        long,
        value_name = "W,W,...",
        value_delimiter = ',',
        requires = "with",
        conflicts_with = "fit_weights"
    )]
    pub(crate) weights: Vec<f64>,

    /// Let the validation part of RUN's own data decide how much each model counts: the lowest log loss
    #[arg(long, requires = "with")]
    pub(crate) fit_weights: bool,

    /// Look at each photo mirrored as well and take the mean: better by a little, at half the speed
    #[arg(long)]
    pub(crate) mirrored: bool,
}
