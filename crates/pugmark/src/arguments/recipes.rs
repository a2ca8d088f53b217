use clap::Args;

/// List the recipes of a training, or print one to copy and change
///
/// A recipe is a TOML file of settings. `pugmark recipes NAME > mine.toml` makes one of your own, which `pugmark train DATA
/// --recipe mine.toml` takes.
#[derive(Args, Debug)]
pub(crate) struct RecipesArguments {
    /// The recipe to print
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}
