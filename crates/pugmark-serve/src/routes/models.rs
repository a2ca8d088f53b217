//! Loading, unloading and asking models: SageMaker's multi-model contract.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::Name;
use super::invocations::respond;
use super::state::json;
use crate::app::App;
use crate::body;
use crate::error::RequestError;
use crate::models::{self, not_loaded};

/// Models on a page of the list, where nothing else is asked for.
const PAGE: usize = 100;

#[derive(Deserialize)]
struct Load {
    model_name: String,
    url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    model_name: String,
    model_url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    models: Vec<Facts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Options {
    limit: Option<usize>,
    next_page_token: Option<String>,
}

pub(super) async fn load(State(app): State<Arc<App>>, request: Request) -> Result<Response, RequestError> {
    app.models()?;
    let (parts, body) = request.into_parts();
    let held = body::read(&app, &parts.headers, body).await?;
    let Load { model_name, url } = serde_json::from_slice(&held.bytes)
        .map_err(|error| RequestError::Bad(format!("the JSON cannot be read: {error}")))?;
    models::load(&app, model_name.clone(), url.clone()).await?;
    Ok(json(&Facts { model_name, model_url: url }))
}

pub(super) async fn list(State(app): State<Arc<App>>, request: Request) -> Result<Response, RequestError> {
    let models = app.models()?;
    let Query(Options { limit, next_page_token }) = Query::try_from_uri(request.uri()).map_err(|_| {
        RequestError::Bad("`limit` is a number, and `next_page_token` comes from an answer".into())
    })?;
    let limit = limit.unwrap_or(PAGE);
    if limit == 0 {
        return Err(RequestError::Bad("`limit` is 1 or more".into()));
    }
    // The token is the last name that was told: whatever is loaded or unloaded between two pages, no other is left out.
    let (page, more) = models.page(&next_page_token.unwrap_or_default(), limit);
    let next_page_token = page.last().filter(|_| more).map(|(name, _)| name.clone());
    let models = page.into_iter().map(|(model_name, model_url)| Facts { model_name, model_url }).collect();
    Ok(json(&List { models, next_page_token }))
}

pub(super) async fn one(State(app): State<Arc<App>>, Name(name): Name) -> Result<Response, RequestError> {
    let url = app.models()?.url(&name).ok_or_else(|| not_loaded(&name))?;
    Ok(json(&Facts { model_name: name, model_url: url }))
}

pub(super) async fn unload(State(app): State<Arc<App>>, Name(name): Name) -> Result<Response, RequestError> {
    let url = models::unload(&app, &name).await?;
    Ok(json(&Facts { model_name: name, model_url: url }))
}

pub(super) async fn invoke(
    State(app): State<Arc<App>>,
    Name(name): Name,
    request: Request,
) -> Result<Response, RequestError> {
    let model = app.models()?.get(&name).ok_or_else(|| not_loaded(&name))?;
    respond(&app, model, request, None).await
}
