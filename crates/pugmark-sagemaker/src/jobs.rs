//! What runs and what has run: lists, descriptions, ends.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::account::Account;
use crate::api::{Api, Refused, Service};
use crate::arguments::{ListArguments, NamedArguments, StopArguments};
use crate::kinds::Kind;
use crate::names::{check_name, wrong};

/// The most that SageMaker gives at once.
const PAGE: usize = 100;

pub(crate) fn list(arguments: &ListArguments, account: &Account) -> anyhow::Result<ExitCode> {
    if let Some(part) = &arguments.contains
        && !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return Err(
            wrong(format!("no name contains `{part}`: names have letters, digits and hyphens")).into()
        );
    }
    let api = account.open()?;
    let kinds = arguments.kind.map_or_else(|| Kind::ALL.to_vec(), |kind| vec![kind]);
    let mut found = Vec::new();
    for kind in kinds {
        let contains = arguments.contains.as_deref();
        let items = match arguments.kind {
            Some(_) => all(&api, kind, None, contains, arguments.most)?,
            None => running(&api, kind, contains, arguments.most)?,
        };
        found.extend(items.into_iter().map(|item| (kind, item)));
    }
    if arguments.json {
        println!("{:#}", found.into_iter().map(|(_, item)| item).collect::<Value>());
        return Ok(ExitCode::SUCCESS);
    }
    for (kind, item) in &found {
        let text = |member: &str| item[format!("{}{member}", kind.noun())].as_str().unwrap_or("?");
        println!(
            "{:<10}  {:<63}  {:<11}  {}",
            kind.name(),
            text("Name"),
            text("Status"),
            time(&item["CreationTime"])
        );
    }
    if found.is_empty() {
        eprintln!("there is nothing{}", if arguments.kind.is_none() { " that runs" } else { "" });
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest items of a kind, page by page; `filter` is a member of the request and what it is to be.
pub(crate) fn all(
    api: &Api,
    kind: Kind,
    filter: Option<(&str, &str)>,
    contains: Option<&str>,
    most: usize,
) -> anyhow::Result<Vec<Value>> {
    let operation = format!("List{}s", kind.noun());
    let mut request =
        json!({"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": most.clamp(1, PAGE)});
    for (member, value) in filter.into_iter().chain(contains.map(|part| ("NameContains", part))) {
        request[member] = value.into();
    }
    let mut found = Vec::new();
    while found.len() < most {
        let mut page = api.call(Service::SageMaker, &operation, &request)?;
        if let Value::Array(items) = page[kind.items()].take() {
            found.extend(items);
        }
        match page["NextToken"].take() {
            Value::String(token) => request["NextToken"] = token.into(),
            _ => break,
        }
    }
    found.truncate(most);
    Ok(found)
}

/// What holds instances. Those of an endpoint do so from the first on, whatever its state.
pub(crate) fn running(
    api: &Api,
    kind: Kind,
    contains: Option<&str>,
    most: usize,
) -> anyhow::Result<Vec<Value>> {
    if kind != Kind::Endpoint {
        return all(api, kind, Some(("StatusEquals", "InProgress")), contains, most);
    }
    let mut found = all(api, kind, None, contains, usize::MAX)?;
    found.retain(|item| {
        !matches!(item["EndpointStatus"].as_str(), Some("Failed" | "OutOfService" | "Deleting"))
    });
    found.truncate(most);
    Ok(found)
}

/// Seconds since 1970, as the JSON protocol has times, in words.
fn time(value: &Value) -> String {
    let time = value.as_f64().and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds as i64, 0));
    time.map_or_else(|| "?".into(), |time| time.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// What SageMaker says of one; none where it does not know it.
pub(crate) fn described(api: &Api, kind: Kind, name: &str) -> anyhow::Result<Option<Value>> {
    let operation = format!("Describe{}", kind.noun());
    let request = json!({format!("{}Name", kind.noun()): name});
    match api.call(Service::SageMaker, &operation, &request) {
        Ok(description) => Ok(Some(description)),
        // A job that is not there is a ValidationException, a tuning job a ResourceNotFound.
        Err(error) => match error.downcast_ref::<Refused>() {
            Some(Refused { code, .. })
                if code == "ValidationException" || code.starts_with("ResourceNotFound") =>
            {
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

pub(crate) fn describe(arguments: &NamedArguments, account: &Account) -> anyhow::Result<ExitCode> {
    let NamedArguments { kind, name } = arguments;
    check_name(name, 63)?;
    match described(&account.open()?, *kind, name)? {
        Some(description) => println!("{description:#}"),
        None => return Err(wrong(format!("there is no {} called `{name}`", noun(*kind))).into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn noun(kind: Kind) -> String {
    if kind == Kind::Endpoint { "endpoint".into() } else { format!("{} job", kind.name()) }
}

pub(crate) fn stop(arguments: &StopArguments, account: &Account) -> anyhow::Result<ExitCode> {
    arguments.names.iter().try_for_each(|name| check_name(name, 63))?;
    let api = account.open()?;
    // A tuning job begins new trainings for those that are stopped.
    let jobs = [Kind::Tuning, Kind::Training, Kind::Processing, Kind::Transform];
    let mut found: Vec<(Kind, String)> = Vec::new();
    for kind in jobs {
        if arguments.all {
            let running = running(&api, kind, None, usize::MAX)?;
            let names = running.iter().filter_map(|item| item[format!("{}Name", kind.noun())].as_str());
            found.extend(names.map(|name| (kind, name.to_owned())));
            continue;
        }
        for name in &arguments.names {
            if described(&api, kind, name)?.is_some() {
                found.push((kind, name.clone()));
            }
        }
    }
    if let Some(name) = arguments.names.iter().find(|name| !found.iter().any(|(_, known)| known == *name)) {
        return Err(wrong(format!(
            "there is no job called `{name}`: `pugmark sagemaker list` shows what runs"
        ))
        .into());
    }
    if found.is_empty() {
        eprintln!("nothing runs");
        return Ok(ExitCode::SUCCESS);
    }
    for (kind, name) in &found {
        println!("{:<10}  {name}", kind.name());
    }
    if account.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.all && !arguments.yes && !confirmed(&format!("Stop {} jobs?", found.len()))? {
        return Ok(ExitCode::FAILURE);
    }
    let mut failed = false;
    for (kind, name) in &found {
        let operation = format!("Stop{}", kind.noun());
        let request = json!({format!("{}Name", kind.noun()): name});
        // One that has ended meanwhile must not keep the others running.
        if let Err(error) = api.call(Service::SageMaker, &operation, &request) {
            eprintln!("warning: {name}: {error:#}");
            failed = true;
        }
    }
    eprintln!("asked to stop; a training saves within two minutes");
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Asks a person. Where nobody can be asked, the answer is no, and how to give it otherwise.
pub(crate) fn confirmed(question: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(wrong(format!("{question} Nobody is there to be asked: `--yes` says so")).into());
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
