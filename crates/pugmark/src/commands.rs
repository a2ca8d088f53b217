//! One function a verb: arguments in, exit status out.

mod bench;
mod check;
mod convert;
mod data;
mod doctor;
mod ensemble;
mod eval;
mod explain;
mod export;
mod photos;
pub(crate) mod predict;
pub(crate) mod predictions;
mod prepare;
mod recipes;
pub(crate) mod report;
mod sagemaker;
mod serve;
mod split;
mod thumbnails;
mod train;
mod tune;
mod watch;
mod weights;

use crate::arguments::{Command, DemoArguments};
use crate::container::name_by_host;
use crate::demo::{self, DemoSettings, WorldSettings};
use crate::error::ExitStatus;
use crate::printer::Printer;

/// Does what was asked.
pub(crate) fn run(mut command: Command, printer: &Printer) -> anyhow::Result<ExitStatus> {
    name_by_host(&mut command)?;
    match command {
        Command::Demo(DemoArguments { out, overwrite, world_only, sites, animals, seed }) => {
            let world = WorldSettings { seed, animals, ..WorldSettings::default() };
            let world = if world_only { world.with_sites(sites.into()) } else { world };
            demo::run(&DemoSettings { world_only, world, ..DemoSettings::new(out, overwrite) }, printer)
        }
        Command::Split(arguments) => split::run(&arguments, printer),
        Command::Check(arguments) => check::run(&arguments, printer),
        Command::Prepare(arguments) => prepare::run(&arguments, printer),
        Command::Train(arguments) => train::run(&arguments, printer),
        Command::Tune(arguments) => tune::run(&arguments, printer),
        Command::Recipes(arguments) => recipes::run(&arguments, printer),
        Command::Report(arguments) => report::run(&arguments, printer),
        Command::Watch(arguments) => watch::run(&arguments, printer),
        Command::Eval(arguments) => eval::run(&arguments, printer),
        Command::Predict(arguments) => predict::run(&arguments, printer),
        Command::Explain(arguments) => explain::run(&arguments, printer),
        Command::Serve(arguments) => serve::run(&arguments, printer),
        Command::Export(arguments) => export::run(&arguments, printer),
        Command::Convert(arguments) => convert::run(&arguments, printer),
        Command::Weights(arguments) => weights::run(&arguments, printer),
        Command::Sagemaker(arguments) => sagemaker::run(&arguments, printer),
        Command::Doctor(arguments) => doctor::run(&arguments, printer),
        Command::Bench(arguments) => bench::run(&arguments, printer),
    }
}
