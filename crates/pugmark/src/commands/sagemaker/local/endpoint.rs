//! `local endpoint`.

use std::collections::BTreeMap;

use serde_json::json;

use super::archive;
use super::attendant::{Attendant, Foreground, Stop};
use super::isolate;
use super::job::{Job, Kind, environment, first};
use super::server::Server;
use super::train::shown;
use crate::arguments::LocalEndpointArguments;
use crate::error::ExitStatus;
use crate::interrupt::Requests;
use crate::printer::Printer;

pub(super) fn run(arguments: &LocalEndpointArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    archive::is_there(&arguments.model)?;
    let variables = environment(&arguments.job)?;
    if arguments.job.isolate {
        isolate::check(std::iter::empty())?;
    }
    let requests = Requests::listen()?;
    let mut job = Job::create(&arguments.job, Kind::Endpoint)?;
    job.set("ProductionVariants", json!([{"VariantName": "main", "CurrentInstanceCount": 1}]));
    job.set("ModelDataUrl", json!(arguments.model.to_string_lossy()));
    job.status("Creating")?;
    let attendant = Foreground { printer, requests: &requests };
    let ended = serve(arguments, &variables, &mut job, &attendant);
    if let Err(error) = &ended {
        job.set("FailureReason", first(&format!("{error:#}"), 1024));
        job.status("Failed")?;
    }
    ended
}

fn serve(
    arguments: &LocalEndpointArguments,
    variables: &BTreeMap<String, String>,
    job: &mut Job,
    attendant: &Foreground<'_>,
) -> anyhow::Result<ExitStatus> {
    let printer = attendant.printer;
    let mut server = Server::start(job, &arguments.model, arguments.port, variables, arguments.job.isolate)?;
    if server.wait(attendant)? {
        job.status("InService")?;
        printer.result(&server.address)?;
        printer.note(&format!("{} is in service, Ctrl-C deletes it", job.name));
    }
    let status = loop {
        if let Some(status) = server.look(attendant)? {
            return Err(job.failed(&format!("the container ended: {}", super::container::how(status))));
        }
        if attendant.stop() > Stop::No {
            job.status("Deleting")?;
            break server.stop(attendant)?;
        }
    };
    if !arguments.job.keep {
        server.tree.remove()?;
    }
    if !status.success() {
        let how = super::container::how(status);
        return Err(job.failed(&format!("the container did not end in time: {how}")));
    }
    job.status("Deleted")?;
    printer.note(&format!("{} is deleted; {} has what it said", job.name, shown(&job.folder.join("logs"))));
    Ok(ExitStatus::Done)
}
