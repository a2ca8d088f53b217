//! What the server is and how it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use pugmark_data::Recipe;
use serde::Serialize;

use crate::app::App;
use crate::drift;
use crate::error::RequestError;
use crate::models::Models;
use crate::page::PAGE;

/// The page may run what it holds and ask this server, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

pub(super) async fn page() -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)];
    (headers, PAGE.as_str()).into_response()
}

/// Ready to answer.
pub(super) async fn ping(State(app): State<Arc<App>>) -> Result<(), RequestError> {
    match app.ready.load(Ordering::Relaxed) {
        true => Ok(()),
        false => Err(RequestError::Unavailable("the server is stopping")),
    }
}

/// Alive, ready or not.
pub(super) async fn alive() {}

pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let loaded = app.models().map_or_else(|_| Vec::new(), Models::variants);
    let text = app.metrics.text(app.waiting(), loaded.len());
    let variants = [app.variants(), loaded].concat();
    let drift = drift::text(variants.iter().map(|variant| (&*variant.name, variant.worker.drift())));
    (headers, text + &drift).into_response()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ExecutionParameters {
    max_concurrent_transforms: usize,
    batch_strategy: &'static str,
    #[serde(rename = "MaxPayloadInMB")]
    max_payload_in_mb: usize,
}

/// What a batch transform of SageMaker asks first. It refuses where the product of both is above 100.
pub(super) async fn execution_parameters(State(app): State<Arc<App>>) -> Response {
    let max_payload_in_mb = (app.settings.limits.body >> 20).clamp(1, 100);
    let max_concurrent_transforms = app.settings.batch.clamp(1, 100 / max_payload_in_mb);
    json(&ExecutionParameters {
        max_concurrent_transforms,
        batch_strategy: "SINGLE_RECORD",
        max_payload_in_mb,
    })
}

#[derive(Serialize)]
struct ModelFacts {
    name: String,
    architecture: String,
    classes: Vec<String>,
    recipe: Recipe,
    temperature: f32,
    epoch: u32,
    data: String,
    /// Models that answer together.
    models: usize,
}

#[derive(Serialize)]
struct LimitFacts {
    body_bytes: usize,
    photo_pixels: u64,
    photo_bytes: u64,
    photos: usize,
}

#[derive(Serialize)]
struct Facts {
    pugmark: &'static str,
    models: Vec<ModelFacts>,
    limits: LimitFacts,
}

pub(super) async fn model(State(app): State<Arc<App>>) -> Response {
    let facts = |variant: crate::app::Variant| {
        let card = variant.worker.cards()[0].clone();
        ModelFacts {
            name: variant.name.to_string(),
            architecture: card.architecture.to_string(),
            classes: card.classes,
            recipe: card.recipe,
            temperature: card.temperature,
            epoch: card.epoch,
            data: card.data_hash,
            models: variant.worker.cards().len(),
        }
    };
    let limits = &app.settings.limits;
    json(&Facts {
        pugmark: env!("CARGO_PKG_VERSION"),
        models: app.variants().into_iter().map(facts).collect(),
        limits: LimitFacts {
            body_bytes: limits.body,
            photo_pixels: limits.photo.max_pixels,
            photo_bytes: limits.photo.max_bytes.min(limits.body as u64),
            photos: app.settings.photos,
        },
    })
}

pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(error) => RequestError::Internal(error.to_string()).into_response(),
    }
}
