//! Jobs and endpoints on AWS SageMaker. Requests are made by `plan`, signed and sent by `api`.

mod account;
mod api;
mod arguments;
mod cost;
mod delete;
mod endpoint;
mod job;
mod jobs;
mod kinds;
mod logs;
mod names;
mod plan;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let Arguments { command, account } = Arguments::parse();
    // A log that is read no further, as by `head`, ends the program quietly.
    #[cfg(unix)]
    if let Err(error) = signal_hook::flag::register_conditional_default(
        signal_hook::consts::SIGPIPE,
        std::sync::Arc::new(true.into()),
    ) {
        eprintln!("warning: {error}");
    }
    match run(&command, &account) {
        Ok(code) => code,
        Err(error) => {
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            eprintln!("error: {}", causes.join(": "));
            if error.is::<names::WrongName>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn run(command: &Command, account: &account::Account) -> anyhow::Result<ExitCode> {
    let asks = matches!(
        command,
        Command::Invoke(_) | Command::List(_) | Command::Describe(_) | Command::Logs(_) | Command::Cost(_)
    );
    if account.dry_run && asks {
        return Err(names::wrong("--dry-run is for verbs that make, stop or delete something").into());
    }
    match command {
        Command::Train(arguments) => job::train(arguments, account),
        Command::Prepare(arguments) => job::process(arguments, account),
        Command::Tune(arguments) => job::tune(arguments, account),
        Command::Predict(arguments) => job::transform(arguments, account),
        Command::Deploy(arguments) => endpoint::deploy(arguments, account),
        Command::Invoke(arguments) => endpoint::invoke(arguments, account),
        Command::DeleteEndpoint(arguments) => delete::delete(arguments, account),
        Command::Dashboard(arguments) => endpoint::dashboard(arguments, account),
        Command::Image(arguments) => endpoint::image(arguments),
        Command::List(arguments) => jobs::list(arguments, account),
        Command::Describe(arguments) => jobs::describe(arguments, account),
        Command::Stop(arguments) => jobs::stop(arguments, account),
        Command::Logs(arguments) => logs::logs(arguments, account),
        Command::Cost(arguments) => cost::cost(arguments, account),
    }
}
