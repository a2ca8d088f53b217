//! What runs, and what it costs an hour.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use crate::account::Account;
use crate::api::Api;
use crate::arguments::CostArguments;
use crate::endpoint::configuration;
use crate::jobs::{all, described, running};
use crate::kinds::Kind;
use crate::names::{WrongName, wrong};

/// Instances that a job or a variant of an endpoint holds.
struct Held {
    kind: Kind,
    name: String,
    instance: String,
    count: u64,
}

pub(crate) fn cost(arguments: &CostArguments, account: &Account) -> anyhow::Result<ExitCode> {
    let prices = arguments.prices.as_deref().map(read).transpose()?.unwrap_or_default();
    let api = account.open()?;
    let mut held = Vec::new();
    // The trainings of a tuning job are training jobs too.
    for kind in [Kind::Training, Kind::Processing, Kind::Transform, Kind::Endpoint] {
        let mut items = running(&api, kind, None, usize::MAX)?;
        if kind != Kind::Endpoint {
            items.extend(all(&api, kind, Some(("StatusEquals", "Stopping")), None, usize::MAX)?);
        }
        for name in names(kind, &items) {
            let Some(description) = described(&api, kind, name)? else { continue };
            held.extend(instances(&api, kind, name, &description)?);
        }
    }
    // Trainings that have ended and whose instances wait for the next one.
    let warm = all(&api, Kind::Training, Some(("WarmPoolStatusEquals", "Available")), None, usize::MAX)?;
    for name in names(Kind::Training, &warm) {
        let Some(description) = described(&api, Kind::Training, name)? else { continue };
        let kept = instances(&api, Kind::Training, name, &description)?;
        held.extend(kept.into_iter().map(|kept| Held { name: format!("{name} (kept warm)"), ..kept }));
    }
    let mut sum = 0.0;
    let mut unknown = false;
    for Held { kind, name, instance, count } in &held {
        let price = prices.get(instance).map(|price| price * *count as f64);
        sum += price.unwrap_or(0.0);
        unknown |= price.is_none() && instance != SERVERLESS;
        let price = price.map_or_else(|| "?".into(), |price| format!("{price:.3}"));
        println!("{:<10}  {name:<63}  {count:>3} x {instance:<20}  {price:>8}", kind.name());
    }
    match held.as_slice() {
        [] => eprintln!("no job and no endpoint holds an instance"),
        _ if unknown => {
            eprintln!("`--prices FILE` says what an instance costs: lines such as \"ml.c7i.2xlarge\" = 0.428")
        }
        _ => println!("{sum:.3} an hour"),
    }
    Ok(ExitCode::SUCCESS)
}

fn names(kind: Kind, items: &[Value]) -> impl Iterator<Item = &str> {
    items.iter().filter_map(move |item| item[format!("{}Name", kind.noun())].as_str())
}

const SERVERLESS: &str = "serverless";

fn instances(api: &Api, kind: Kind, name: &str, description: &Value) -> anyhow::Result<Vec<Held>> {
    let resources = match kind {
        Kind::Training => &description["ResourceConfig"],
        Kind::Processing => &description["ProcessingResources"]["ClusterConfig"],
        Kind::Transform => &description["TransformResources"],
        Kind::Tuning => return Ok(Vec::new()),
        Kind::Endpoint => return variants(api, name, description),
    };
    let instance = resources["InstanceType"].as_str().unwrap_or("?").to_owned();
    let count = resources["InstanceCount"].as_u64().unwrap_or(1);
    Ok(vec![Held { kind, name: name.to_owned(), instance, count }])
}

/// An endpoint says how many instances it has, its configuration which.
fn variants(api: &Api, name: &str, description: &Value) -> anyhow::Result<Vec<Held>> {
    let config = description["EndpointConfigName"].as_str().unwrap_or_default();
    let Some(config) = configuration(api, config)? else {
        let variants = description["ProductionVariants"].as_array().into_iter().flatten();
        let count = variants.filter_map(|variant| variant["CurrentInstanceCount"].as_u64()).sum();
        return Ok(vec![Held { kind: Kind::Endpoint, name: name.to_owned(), instance: "?".into(), count }]);
    };
    let counts: BTreeMap<&str, u64> = description["ProductionVariants"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|variant| {
            Some((variant["VariantName"].as_str()?, variant["CurrentInstanceCount"].as_u64()?))
        })
        .collect();
    let variants = config["ProductionVariants"].as_array().into_iter().flatten();
    Ok(variants
        .map(|variant| {
            let variant_name = variant["VariantName"].as_str().unwrap_or("?");
            let first = variant["InitialInstanceCount"].as_u64().unwrap_or(1);
            Held {
                kind: Kind::Endpoint,
                name: format!("{name}/{variant_name}"),
                instance: variant["InstanceType"].as_str().unwrap_or(SERVERLESS).to_owned(),
                count: counts.get(variant_name).copied().unwrap_or(first),
            }
        })
        .collect())
}

fn read(path: &Path) -> Result<BTreeMap<String, f64>, WrongName> {
    let place = path.display();
    let text = fs::read_to_string(path).map_err(|error| wrong(format!("{place}: {error}")))?;
    toml::from_str(&text).map_err(|error| wrong(format!("{place}: {}", error.to_string().trim_end())))
}
