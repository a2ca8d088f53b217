//! The recipes of a training.

use pugmark_train::shipped_recipes;

use crate::arguments::RecipesArguments;
use crate::error::ExitStatus;
use crate::printer::Printer;
use crate::settings::shipped_recipe;

pub(crate) fn run(arguments: &RecipesArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    match &arguments.name {
        Some(name) => printer.result(shipped_recipe(name)?.text)?,
        None => printer.result(&list())?,
    }
    Ok(ExitStatus::Done)
}

/// Name, summary and origin of every recipe.
fn list() -> String {
    let width = shipped_recipes().iter().map(|recipe| recipe.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for recipe in shipped_recipes() {
        text.push_str(&format!(
            "{:<width$}  {}\n{:<width$}  {}\n",
            recipe.name,
            recipe.summary(),
            "",
            recipe.origin()
        ));
    }
    text + "\nnext   pugmark train DATA --recipe NAME\n       pugmark recipes NAME > mine.toml"
}
