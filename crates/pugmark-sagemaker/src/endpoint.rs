//! Endpoints: made, asked and watched.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::account::Account;
use crate::api::{Answer, Api, Refused, Service};
use crate::arguments::{DashboardArguments, DeployArguments, ImageArguments, InvokeArguments};
use crate::job::stamp;
use crate::jobs::{confirmed, described};
use crate::kinds::Kind;
use crate::logs;
use crate::names::{WrongName, check_name, check_s3, wrong};
use crate::plan;

/// The most that an endpoint takes, in bytes.
const PAYLOAD: u64 = 25 << 20;

pub(crate) fn deploy(arguments: &DeployArguments, account: &Account) -> anyhow::Result<ExitCode> {
    let name = &arguments.endpoint;
    if account.dry_run {
        let mut calls = plan::deploy(arguments, &stamp(), None)?;
        calls.extend(plan::scale(arguments));
        println!("{:#}", plan::to_json(&calls));
        return Ok(ExitCode::SUCCESS);
    }
    // Wrong names are told before anybody is asked.
    plan::deploy(arguments, &stamp(), None)?;
    let api = account.open()?;
    let there = described(&api, Kind::Endpoint, name)?;
    let costs = match &arguments.serverless {
        Some(_) => "It costs by the request.".to_owned(),
        None => {
            let variants = arguments.variants.len().max(1) as u32;
            let now = there.as_ref().map(plan::instances).unwrap_or_default();
            let count = match arguments.scale {
                Some((least, most, _)) => format!("{} to {}", least * variants, most * variants),
                None => arguments.count(&now).to_string(),
            };
            format!("{count} x {} cost money until `delete-endpoint {name}`.", arguments.place.instance)
        }
    };
    let what = if there.is_some() { "Change" } else { "Make" };
    if !arguments.yes && !confirmed(&format!("{costs} {what} the endpoint {name}?"))? {
        return Ok(ExitCode::FAILURE);
    }
    let calls = plan::deploy(arguments, &stamp(), there.as_ref())?;
    plan::send_all(&calls, &api)?;
    println!("{name}");
    eprintln!("{costs}");
    let scaled = plan::scale(arguments);
    if !arguments.wait && scaled.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    // The number of instances can follow the requests of an endpoint in service alone.
    let ended = logs::until_the_end(Kind::Endpoint, name, &api);
    if matches!(ended, Ok(code) if code == ExitCode::SUCCESS) {
        // A change that failed is taken back, and the endpoint in service again.
        let config = described(&api, Kind::Endpoint, name)?.unwrap_or_default()["EndpointConfigName"].take();
        let wanted = calls.iter().find_map(|call| call.request.get("EndpointConfigName"));
        if wanted != Some(&config) {
            eprintln!("{name} is in service as it was before: the change was taken back");
            return Ok(ExitCode::FAILURE);
        }
        scaled.iter().try_for_each(|call| call.send(&api).map(drop))?;
    } else if !scaled.is_empty() {
        eprintln!("the number of instances does not follow the requests yet: the same call sets that too");
    }
    ended
}

pub(crate) fn invoke(arguments: &InvokeArguments, account: &Account) -> anyhow::Result<ExitCode> {
    check_name(&arguments.endpoint, 63)?;
    arguments.variant.as_deref().map(|variant| check_name(variant, 63)).transpose()?;
    for place in arguments.photos.iter().filter_map(|photo| in_s3(photo)) {
        check_s3(place)?;
        if arguments.variant.is_some() {
            return Err(wrong(format!("{place} is answered later, by no variant in particular")).into());
        }
    }
    let api = account.open()?;
    let mut failed = false;
    for photo in &arguments.photos {
        let place = photo.display();
        let answer = match ask(&api, arguments, photo).and_then(|answer| answer) {
            Ok(answer) => answer,
            Err(wrong) if wrong.is::<WrongName>() => return Err(wrong),
            // One photo that can't be read or sent is no reason not to ask about the others.
            Err(error) => {
                eprintln!("error: {place}: {error:#}");
                failed = true;
                continue;
            }
        };
        let text = String::from_utf8_lossy(&answer.body);
        match answer.status {
            200 => {
                if let Some(variant) = answer.variant.filter(|_| arguments.photos.len() == 1) {
                    eprintln!("answered by the variant {variant}");
                }
                println!("{}", text.trim_end());
            }
            202 => println!("{}", answer.output.unwrap_or_default()),
            status => {
                eprintln!("error: {place}: status {status}: {}", reason(&text));
                failed = true;
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A photo that an asynchronous endpoint is to fetch itself.
fn in_s3(photo: &Path) -> Option<&str> {
    photo.to_str().filter(|place| place.starts_with("s3://"))
}

/// Sends a photo, or where it is. The outer error is the photo's, the inner one that of the way.
fn ask(api: &Api, arguments: &InvokeArguments, photo: &Path) -> anyhow::Result<anyhow::Result<Answer>> {
    if let Some(place) = in_s3(photo) {
        let headers = [
            ("x-amzn-sagemaker-content-type", "application/x-image"),
            ("x-amzn-sagemaker-accept", arguments.accept.as_str()),
            ("x-amzn-sagemaker-inputlocation", place),
        ];
        return Ok(api.invoke(&arguments.endpoint, "async-invocations", &headers, b""));
    }
    let mut headers = vec![("content-type", "application/x-image"), ("accept", arguments.accept.as_str())];
    let place = photo.display();
    let bytes = fs::read(photo).with_context(|| format!("cannot read {place}"))?;
    let size = bytes.len() as u64;
    ensure!(
        size <= PAYLOAD,
        "{place} has {} MiB, and an endpoint takes 25: `pugmark prepare` makes it smaller",
        size >> 20
    );
    if let Some(variant) = &arguments.variant {
        headers.push(("x-amzn-sagemaker-target-variant", variant));
    }
    Ok(api.invoke(&arguments.endpoint, "invocations", &headers, &bytes))
}

/// What the container said, which SageMaker wraps.
fn reason(text: &str) -> String {
    let said: Value = serde_json::from_str(text).unwrap_or_default();
    let original = ["OriginalMessage", "Message", "message"].iter().find_map(|key| said[*key].as_str());
    original.unwrap_or(text).chars().take(500).collect()
}

/// A configuration; none where it is gone, which does not keep its endpoint from running.
pub(crate) fn configuration(api: &Api, name: &str) -> anyhow::Result<Option<Value>> {
    match api.call(Service::SageMaker, "DescribeEndpointConfig", &json!({"EndpointConfigName": name})) {
        Ok(description) => Ok(Some(description)),
        Err(error) => match error.downcast_ref::<Refused>() {
            Some(Refused { code, .. }) if code == "ValidationException" => Ok(None),
            _ => Err(error),
        },
    }
}

pub(crate) fn dashboard(arguments: &DashboardArguments, account: &Account) -> anyhow::Result<ExitCode> {
    check_name(&arguments.endpoint, 63)?;
    let api = account.open()?;
    let Some(endpoint) = described(&api, Kind::Endpoint, &arguments.endpoint)? else {
        return Err(wrong(format!("there is no endpoint called `{}`", arguments.endpoint)).into());
    };
    let variants = endpoint["ProductionVariants"].as_array().into_iter().flatten();
    let variants: Vec<String> =
        variants.filter_map(|variant| variant["VariantName"].as_str().map(str::to_owned)).collect();
    let calls = plan::dashboard(arguments, &variants, &api.region)?;
    if account.dry_run {
        println!("{:#}", plan::to_json(&calls));
        return Ok(ExitCode::SUCCESS);
    }
    for call in &calls {
        call.send(&api)?;
    }
    let (region, name) = (&api.region, &arguments.endpoint);
    println!(
        "https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#dashboards/dashboard/pugmark-{name}"
    );
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn image(arguments: &ImageArguments) -> anyhow::Result<ExitCode> {
    let ImageArguments { account_id, repository_region: region, repository } = arguments;
    if account_id.len() != 12 || !account_id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong(format!("`{account_id}` is no account: twelve digits")).into());
    }
    let end = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let registry = format!("{account_id}.dkr.ecr.{region}.{end}");
    println!("docker build -f deploy/Dockerfile -t {repository} .");
    println!("aws ecr create-repository --region {region} --repository-name {repository}");
    println!(
        "aws ecr get-login-password --region {region} | docker login --username AWS --password-stdin {registry}"
    );
    println!("docker tag {repository} {registry}/{repository}:latest");
    println!("docker push {registry}/{repository}:latest");
    println!("export PUGMARK_SAGEMAKER_IMAGE={registry}/{repository}:latest");
    Ok(ExitCode::SUCCESS)
}
