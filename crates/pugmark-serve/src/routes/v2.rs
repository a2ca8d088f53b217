//! The Open Inference Protocol, version 2, as KServe and Triton speak it over REST.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;

use super::Name;
use super::invocations::look;
use super::state::json;
use crate::answer::most_likely;
use crate::app::{App, Variant};
use crate::body;
use crate::error::RequestError;
use crate::input::Inference;
use crate::log::Notes;

const PROBABILITIES: &str = "probabilities";
const CLASS: &str = "class";

#[derive(Serialize)]
struct ServerFacts {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 0],
}

pub(super) async fn server() -> Response {
    json(&ServerFacts { name: "pugmark", version: env!("CARGO_PKG_VERSION"), extensions: [] })
}

#[derive(Serialize)]
struct TensorFacts {
    name: &'static str,
    datatype: &'static str,
    shape: Vec<i64>,
}

#[derive(Serialize)]
struct ModelFacts<'a> {
    name: &'a str,
    versions: [String; 1],
    platform: &'static str,
    inputs: [TensorFacts; 1],
    outputs: [TensorFacts; 2],
    /// Names of the probabilities.
    parameters: Parameters<'a>,
}

#[derive(Serialize)]
struct Parameters<'a> {
    classes: &'a [String],
}

pub(super) async fn model(State(app): State<Arc<App>>, Name(name): Name) -> Result<Response, RequestError> {
    let variant = app.variant(Some(&name))?;
    let classes = variant.worker.classes();
    let tensor = |name, datatype, shape| TensorFacts { name, datatype, shape };
    Ok(json(&ModelFacts {
        name: &variant.name,
        versions: [version(&variant)],
        platform: "pugmark",
        inputs: [tensor("photos", "BYTES", vec![-1])],
        outputs: [
            tensor(PROBABILITIES, "FP32", vec![-1, classes.len() as i64]),
            tensor(CLASS, "BYTES", vec![-1]),
        ],
        parameters: Parameters { classes },
    }))
}

/// The epoch, which is what tells models of one run apart.
fn version(variant: &Variant) -> String {
    variant.worker.cards()[0].epoch.to_string()
}

pub(super) async fn ready(State(app): State<Arc<App>>, Name(name): Name) -> Result<(), RequestError> {
    app.variant(Some(&name))?;
    super::state::ping(State(app)).await
}

#[derive(Serialize)]
struct Inferred<'a> {
    model_name: &'a str,
    model_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: Vec<Tensor<'a>>,
}

#[derive(Serialize)]
struct Tensor<'a> {
    name: &'static str,
    datatype: &'static str,
    shape: Vec<usize>,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Numbers(Vec<f32>),
    Texts(Vec<&'a str>),
}

/// The protocol has one error for the whole of a request: that of the first photo that has one.
pub(super) async fn infer(
    State(app): State<Arc<App>>,
    Name(name): Name,
    request: Request,
) -> Result<Response, RequestError> {
    let variant = app.variant(Some(&name))?;
    let notes = Notes::of(&request);
    let (parts, body) = request.into_parts();
    let held = body::read(&app, &parts.headers, body).await?;
    notes.write(|noted| noted.bytes_in = Some(held.bytes.len()));
    let mut asked = Inference::read(&held.bytes)?;
    let wanted =
        |name: &str| asked.outputs.is_empty() || asked.outputs.iter().any(|output| output.name == name);
    let (probabilities, class) = (wanted(PROBABILITIES), wanted(CLASS));
    if let Some(unknown) =
        asked.outputs.iter().find(|output| ![PROBABILITIES, CLASS].contains(&&*output.name))
    {
        return Err(RequestError::Bad(format!("the model has no output `{}`", unknown.name)));
    }
    let photos = asked.photos(&app.settings.limits.photo)?;
    let (answers, times) = look(&app, &variant, photos).await?;
    notes.write(|noted| noted.looked = Some(times.noted(&variant, answers.len())));
    let mut rows = Vec::with_capacity(answers.len());
    for answer in answers {
        rows.push(answer.outcome?.probabilities);
    }
    let classes = variant.worker.classes();
    let mut outputs = Vec::new();
    if probabilities {
        let (shape, data) = (vec![rows.len(), classes.len()], Data::Numbers(rows.concat()));
        outputs.push(Tensor { name: PROBABILITIES, datatype: "FP32", shape, data });
    }
    if class {
        let names = rows.iter().map(|row| &*classes[most_likely(row)[0]]).collect();
        outputs.push(Tensor {
            name: CLASS,
            datatype: "BYTES",
            shape: vec![rows.len()],
            data: Data::Texts(names),
        });
    }
    Ok(json(&Inferred { model_name: &variant.name, model_version: version(&variant), id: asked.id, outputs }))
}
